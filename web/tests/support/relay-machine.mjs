// The relay's end of a link: the machine under test, turned round.

import { FrameType, Violation, jsonFrame } from "../../frames.js";
import { LinkMachine, browserLimits } from "../../tunnel.js";

export class RelayMachine extends LinkMachine {
    constructor(now = 0, limits = browserLimits) {
        super(limits, now);
    }

    /** Opens a stream. @returns {number} Its id. */
    open(payload, now = 0) {
        this._lastStreamID += 1;
        const stream = this._addStream(this._lastStreamID, now);
        const object = { ...payload, window: payload.window ?? stream.window };
        this._addControl(jsonFrame(FrameType.open, object, stream.id));
        return stream.id;
    }

    _receiveOpen() {
        throw new Violation("unexpected_frame");
    }

    _receiveOpenOK(id, payload, events) {
        const stream = this._live(id);
        if (stream === null) return;
        if (stream.isAccepted) throw new Violation("unexpected_frame");
        stream.isAccepted = true;
        events.push({ type: "accepted", id, payload });
    }

    _mayReceiveData(stream) {
        return stream.isAccepted;
    }
}
