/**
 * One end of a tunnel's link, as a browser speaks it: counting, credit, replay, keepalive.
 *
 * Pure: bytes, verbs and the time (milliseconds) go in; events and chunks to write come out. There
 * is no socket, no timer and no randomness in this file; `connection.js` has those.
 *
 * @module
 */

import {
    FrameDecoder, FrameType, LinkError, ResetCode, Violation, concat, finFlag, frame, headerBytes,
    isCounted, jsonFrame, numberFrame, readNumber, readReset, resetFrame, viewOf, writeHeader,
} from "./frames.js";
import { Keepalive } from "./keepalive.js";
import { ReplayBuffer } from "./replay.js";
import { Stream } from "./stream.js";

/** The limits of a browser's link: PROTOCOL.md, "Limits". Bytes and milliseconds. */
export const browserLimits = Object.freeze({
    initialWindow: 256 * 1024,
    maximumWindow: 1024 * 1024,
    minimumWindow: 32 * 1024,
    windowBudget: 4 * 1024 * 1024,
    replay: 1024 * 1024,
    maximumStreams: 10_000,
    acknowledgeEvery: 256 * 1024,
    acknowledgeWithin: 100,
    pingAfter: 10_000,
    deadAfter: 25_000,
    tickEvery: 2_500,
    /** A pause between two ticks from which on we were asleep, and silence proves nothing. */
    sleepGap: 10_000,
    /** Silence of a peer that has something to acknowledge, before it is asked. */
    owedAfter: 2_500,
    /** How long a peer that is asked after a sleep, or that owes, may take to answer. */
    probeWithin: 5_000,
});

const maximumClaimedWindow = 64 * 1024 * 1024;
/** Bytes of one write. Blocks of this size are used again once they are acknowledged. */
const blockBytes = 64 * 1024;
const quantum = 16 * 1024;

/**
 * The agent's end of a link: streams, credit, and what must survive a lost connection.
 *
 *                     disconnected()                 expire()
 *         connected ─────────────────▶ disconnected ──────────▶ ended
 *             ▲                            │
 *             └────────────────────────────┘ resumed(peerReceived)
 *
 * After every verb the shell writes what `nextChunk()` gives. Members that begin with an underscore
 * are for the tests' own relay, which is this machine turned round.
 *
 * @typedef {{type: "open", id: number, payload: Uint8Array}
 *     | {type: "data", id: number, bytes: Uint8Array}
 *     | {type: "finished", id: number}
 *     | {type: "reset", id: number, code: number, sqlState: string, text: string}
 *     | {type: "goAway"}
 *     | {type: "failed", error: LinkError}} LinkEvent
 */
export class LinkMachine {
    _limits;
    _phase = "connected";
    _streams = new Map();
    _lastStreamID = 0;
    _windowsInUse = 0;
    #decoder = new FrameDecoder();
    #replay;
    /** Blocks that were acknowledged, to be filled again. */
    #pool = [];
    #linkFrames = [];
    #pongDue = null;
    #isAcknowledgeDue = false;
    /** Counted bytes taken from the peer, and how many of them it knows of. */
    #received = 0;
    #receivedAcknowledged = 0;
    #owesSince = 0;
    #control = [];
    #controlBytes = 0;
    #windowsDue = new Set();
    /** The stream whose turn is next. */
    #turn = 0;
    #keepalive;

    /**
     * @param {typeof browserLimits} limits
     * @param {number} now Milliseconds, of a clock that goes on while the machine sleeps.
     */
    constructor(limits, now) {
        this._limits = limits;
        this.#replay = new ReplayBuffer(limits.replay, (chunk) => this.#free(chunk));
        this.#keepalive = new Keepalive(limits, (ping) => this.#linkFrames.push(ping));
        this.#keepalive.start(now);
    }

    get isConnected() {
        return this._phase === "connected";
    }
    get isEnded() {
        return this._phase === "ended";
    }
    /** Counted bytes taken: what RESUME says. */
    get received() {
        return this.#received;
    }
    /** Counted bytes that the peer has not acknowledged. */
    get unacknowledgedBytes() {
        return this.#replay.sent - this.#replay.acknowledged;
    }
    /** Bytes came that were not acknowledged: call `acknowledge()` within 100 ms if that goes. */
    get owesAcknowledgement() {
        return this.isConnected && this.#received > this.#receivedAcknowledged;
    }
    /** The last round trip that was measured, in milliseconds; null before. */
    get roundTrip() {
        return this.#keepalive.roundTrip;
    }
    /** Bytes that wait on this stream for their turn or for credit. */
    queuedBytes(id) {
        return this._streams.get(id)?.queuedBytes ?? 0;
    }
    has(id) {
        return this._streams.has(id);
    }

    // Streams, from this side. A stream that is gone does nothing.

    /** The credit that this side granted on a new stream, in bytes; for OPEN_OK. */
    window(id) {
        return this._streams.get(id)?.window ?? 0;
    }

    /** The backend is there: sends OPEN_OK. */
    accept(id, object) {
        const stream = this._streams.get(id);
        if (stream === undefined || stream.isAccepted) return;
        stream.isAccepted = true;
        this._addControl(jsonFrame(FrameType.openOK, object, id));
    }

    /** The grant in OPEN. @returns {LinkEvent | null} The end of the stream if it is a lie. */
    granted(id, limit) {
        const stream = this._streams.get(id);
        return stream === undefined ? null : this.#receiveWindow(stream, limit);
    }

    /** Queues bytes, by reference: they must not change until they have left the queue. */
    send(id, bytes) {
        const stream = this._streams.get(id);
        if (stream === undefined || stream.finQueued || bytes.length === 0) return;
        stream.enqueue(bytes);
    }

    /** Ends this direction once what is queued has gone. */
    finish(id) {
        const stream = this._streams.get(id);
        if (stream !== undefined) stream.finQueued = true;
    }

    /** Ends a stream at once, in both directions. */
    reset(id, code, sqlState, text) {
        const stream = this._streams.get(id);
        if (stream === undefined) return;
        this._addControl(resetFrame(id, code, sqlState, text));
        this._remove(stream);
    }

    /**
     * `bytes` of what came on this stream are done with.
     *
     * The window doubles when half of it went within two round trips: then the window, not the
     * network, was what held the stream back.
     */
    consumed(id, bytes, now) {
        const stream = this._streams.get(id);
        if (stream === undefined) return;
        stream.consumed = Math.min(stream.consumed + bytes, stream.received);
        if (stream.receiveLimit - stream.consumed > stream.window / 2) return;
        if (this.roundTrip !== null && now - stream.updated <= this.roundTrip * 2) {
            const room = this._limits.windowBudget - this._windowsInUse;
            const growth = Math.min(
                stream.window, this._limits.maximumWindow - stream.window, room);
            if (growth > 0) {
                stream.window += growth;
                this._windowsInUse += growth;
            }
        }
        stream.receiveLimit = stream.consumed + stream.window;
        stream.updated = now;
        // After FIN the peer sends no more: credit would be noise.
        if (!stream.finReceived) this.#windowsDue.add(stream.id);
    }

    // What comes.

    /**
     * Takes bytes of the peer. Without a connection nothing is taken: they come again.
     *
     * @param {Uint8Array} bytes
     * @param {number} now
     * @returns {LinkEvent[]}
     * @throws {Violation} End the link for good.
     */
    receive(bytes, now) {
        if (!this.isConnected) return [];
        this.#keepalive.heard(now);
        const events = [];
        const input = { bytes, at: 0 };
        for (let step = this.#decoder.next(input); step; step = this.#decoder.next(input)) {
            const { header, payload, isFirst, isLast } = step;
            if (isCounted(header.type)) {
                if (!this.owesAcknowledgement) this.#owesSince = now;
                this.#received += payload.length + (isFirst ? headerBytes : 0);
            }
            if (header.type === FrameType.data) this.#receiveData(header, payload, isLast, events);
            else this.#receiveControl(header, payload, now, events);
        }
        this.#acknowledgeIfDue(now);
        return events;
    }

    #receiveData(header, payload, isLast, events) {
        const stream = this._live(header.streamID);
        // The race of a stream that this side has just reset or seen reset.
        if (stream === null) return;
        if (stream.finReceived || !this._mayReceiveData(stream)) {
            events.push(this.#break(stream, ResetCode.protocolError, "bytes out of turn"));
            return;
        }
        if (stream.received + payload.length > stream.receiveLimit) {
            events.push(this.#break(stream, ResetCode.flowControl, "more bytes than credit"));
            return;
        }
        stream.received += payload.length;
        if (payload.length > 0) events.push({ type: "data", id: stream.id, bytes: payload });
        if (isLast && (header.flags & finFlag) !== 0) {
            stream.finReceived = true;
            events.push({ type: "finished", id: stream.id });
            this.#closeIfDone(stream);
        }
    }

    #receiveControl(header, payload, now, events) {
        const id = header.streamID;
        switch (header.type) {
            case FrameType.ack:
                this.#replay.acknowledge(readNumber(payload));
                return;
            case FrameType.ping:
                // Only the last question needs an answer.
                this.#pongDue = payload.slice();
                return;
            case FrameType.pong:
                this.#keepalive.answered(readNumber(payload), now);
                return;
            case FrameType.goAway:
                events.push({ type: "goAway" });
                return;
            case FrameType.error:
                events.push({ type: "failed", error: LinkError.read(payload) });
                return;
            case FrameType.open:
                events.push(this._receiveOpen(id, payload, now));
                return;
            case FrameType.openOK:
                this._receiveOpenOK(id, payload, events);
                return;
            case FrameType.window: {
                const stream = this._live(id);
                const end = stream && this.#receiveWindow(stream, readNumber(payload));
                if (end) events.push(end);
                return;
            }
            case FrameType.reset: {
                const stream = this._live(id);
                const reset = readReset(payload);
                if (stream === null) return;
                this._remove(stream);
                events.push({ type: "reset", id, ...reset });
                return;
            }
            default:
                throw new Violation("unexpected_frame");
        }
    }

    _receiveOpen(id, payload, now) {
        if (id <= this._lastStreamID) throw new Violation("stream_id_reused");
        const isFull =
            this._streams.size >= this._limits.maximumStreams ||
            this.#controlBytes >= this._limits.replay;
        if (isFull) throw new Violation("too_many_streams");
        this._lastStreamID = id;
        this._streams.set(id, new Stream(id, this._takeWindow(), now));
        return { type: "open", id, payload };
    }

    _receiveOpenOK() {
        throw new Violation("unexpected_frame");
    }

    _mayReceiveData() {
        return true;
    }

    _takeWindow() {
        const room = this._limits.windowBudget - this._windowsInUse;
        const window = Math.max(
            this._limits.minimumWindow,
            Math.min(this._limits.initialWindow, Math.floor(room / 8)));
        this._windowsInUse += window;
        return window;
    }

    #receiveWindow(stream, limit) {
        if (!(limit <= stream.sent + maximumClaimedWindow)) {
            return this.#break(stream, ResetCode.flowControl, "a window beyond the limit");
        }
        // Offsets are absolute: an old update, sent again, changes nothing.
        if (limit > stream.sendLimit) stream.sendLimit = limit;
        return null;
    }

    /** The live stream of that id, null for one just closed. */
    _live(id) {
        const stream = this._streams.get(id);
        if (stream !== undefined) return stream;
        if (id > this._lastStreamID) throw new Violation("stream_never_opened");
        return null;
    }

    /** The peer broke the rules of one stream: that stream ends, the link lives. */
    #break(stream, code, text) {
        this.reset(stream.id, code, "08P01", text);
        return { type: "reset", id: stream.id, code, sqlState: "08P01", text };
    }

    #closeIfDone(stream) {
        if (stream.finSent && stream.finReceived) this._remove(stream);
    }

    _remove(stream) {
        this._windowsInUse -= stream.window;
        this._streams.delete(stream.id);
        this.#windowsDue.delete(stream.id);
    }

    _addStream(id, now) {
        const stream = new Stream(id, this._takeWindow(), now);
        this._streams.set(id, stream);
        return stream;
    }

    _addControl(bytes) {
        this.#control.push(bytes);
        this.#controlBytes += bytes.length;
    }

    // What goes.

    /**
     * What to write next, as one message: link frames, what is to be sent again, control frames of
     * streams and data.
     *
     * @param {number} now
     * @param {boolean} [onlyLinkFrames] The socket is full: only what must not wait behind data.
     * @returns {Uint8Array | null} Good until the peer has acknowledged it.
     */
    nextChunk(now, onlyLinkFrames = false) {
        if (!this.isConnected) return null;
        this.#acknowledgeIfDue(now);
        if (this.#hasLinkFrames && !this.#replay.isInsideFrame) return this.#takeLinkFrames();
        if (onlyLinkFrames) return null;
        if (this.#replay.isReplaying) return this.#replay.nextReplay();
        if (this.#replay.isFull) return null;
        const chunk = this.#gatherChunk();
        if (chunk !== null) this.#replay.append(chunk);
        return chunk;
    }

    /** Whether `nextChunk()` would give something. */
    get hasSomethingToWrite() {
        if (!this.isConnected) return false;
        if (this.#hasLinkFrames || this.#replay.isReplaying) return true;
        if (this.#replay.isFull) return false;
        if (this.#control.length > 0 || this.#windowsDue.size > 0) return true;
        for (const stream of this._streams.values()) if (stream.readyBytes >= 0) return true;
        return false;
    }

    get #hasLinkFrames() {
        return this.#linkFrames.length > 0 || this.#pongDue !== null || this.#isAcknowledgeDue;
    }

    #takeLinkFrames() {
        const frames = this.#linkFrames;
        this.#linkFrames = [];
        if (this.#pongDue !== null) frames.push(frame(FrameType.pong, 0, this.#pongDue));
        this.#pongDue = null;
        if (this.#isAcknowledgeDue) {
            frames.push(numberFrame(FrameType.ack, 0, this.#received));
            this.#receivedAcknowledged = this.#received;
        }
        this.#isAcknowledgeDue = false;
        return frames.length === 1 ? frames[0] : concat(frames);
    }

    #gatherChunk() {
        const ready = this.#readyStreams();
        const share = ready.length === 1 ? blockBytes : quantum;
        let bytes = this.#controlBytes + this.#windowsDue.size * (headerBytes + 8);
        for (const stream of ready) {
            bytes += headerBytes + Math.min(stream.readyBytes, share);
        }
        if (bytes === 0) return null;
        const block = bytes * 2 > blockBytes ? this.#block() : new Uint8Array(bytes);
        let at = this.#writeControl(block);
        for (const stream of ready) {
            const room = Math.min(block.length - at - headerBytes, share);
            if (room < Math.min(stream.readyBytes, 1)) break;
            at = this.#writeData(stream, block, at, room);
            this.#turn = stream.id;
        }
        return block.subarray(0, at);
    }

    /** Streams with something to send, beginning behind the one that had the last turn. */
    #readyStreams() {
        const before = [];
        const behind = [];
        for (const stream of this._streams.values()) {
            if (stream.readyBytes >= 0) (stream.id > this.#turn ? behind : before).push(stream);
        }
        return behind.concat(before);
    }

    #writeControl(block) {
        let at = 0;
        let count = 0;
        for (const bytes of this.#control) {
            if (at + bytes.length > block.length) break;
            block.set(bytes, at);
            at += bytes.length;
            count += 1;
        }
        this.#control.splice(0, count);
        this.#controlBytes -= at;
        for (const id of this.#windowsDue) {
            if (at + headerBytes + 8 > block.length) break;
            const limit = this._streams.get(id).receiveLimit;
            block.set(numberFrame(FrameType.window, id, limit), at);
            at += headerBytes + 8;
            this.#windowsDue.delete(id);
        }
        return at;
    }

    #writeData(stream, block, at, room) {
        const length = Math.min(Math.max(stream.readyBytes, 0), room);
        const isFin = stream.finQueued && length === stream.queuedBytes;
        const flags = isFin ? finFlag : 0;
        writeHeader(viewOf(block), at, FrameType.data, flags, length, stream.id);
        stream.dequeue(block, at + headerBytes, length);
        stream.sent += length;
        if (isFin) {
            stream.finSent = true;
            this.#closeIfDone(stream);
        }
        return at + headerBytes + length;
    }

    #block() {
        return this.#pool.pop() ?? new Uint8Array(blockBytes);
    }

    /** The peer has it, so nothing will read it any more. */
    #free(chunk) {
        if (chunk.buffer.byteLength !== blockBytes) return;
        if (this.#pool.length * blockBytes < this._limits.replay) {
            this.#pool.push(new Uint8Array(chunk.buffer));
        }
    }

    // Acknowledging, keepalive, drops.

    /** Acknowledges everything that came so far. */
    acknowledge() {
        if (this.owesAcknowledgement) this.#isAcknowledgeDue = true;
    }

    /** Timers of hidden tabs are late, so every verb that knows the time looks. */
    #acknowledgeIfDue(now) {
        const owed = this.#received - this.#receivedAcknowledged;
        if (owed === 0) return;
        const isLate = now - this.#owesSince >= this._limits.acknowledgeWithin;
        if (owed >= this._limits.acknowledgeEvery || isLate) this.#isAcknowledgeDue = true;
    }

    /** Asks the peer whether it is there, and gives it little time: the tab woke up. */
    probe(now, within = this._limits.probeWithin) {
        if (this.isConnected) this.#keepalive.probe(now, within);
    }

    /**
     * Looks at the clock. Call every 2.5 s while connected; later does no harm.
     *
     * @returns {boolean} Whether the peer still counts as alive; if not, drop the connection.
     */
    tick(now) {
        if (!this.isConnected) return true;
        this.#acknowledgeIfDue(now);
        return this.#keepalive.tick(now, this.unacknowledgedBytes > 0);
    }

    /** The connection is lost, or is being replaced. Nothing of it is taken any more. */
    disconnected() {
        if (!this.isConnected) return;
        this._phase = "disconnected";
        this.#decoder.disconnected();
        this.#forgetLinkFrames();
    }

    #forgetLinkFrames() {
        this.#linkFrames = [];
        this.#pongDue = null;
        this.#isAcknowledgeDue = false;
        this.#keepalive.stop();
    }

    /**
     * A new connection stands, and the peer has taken `peerReceived` counted bytes.
     *
     * @throws {Violation} The two ends have lost count; end the link for good.
     */
    resumed(peerReceived, now) {
        this.#replay.rewind(peerReceived);
        this._phase = "connected";
        // RESUME told the peer what came.
        this.#receivedAcknowledged = this.#received;
        this.#keepalive.start(now);
    }

    /** The link is over. @returns {number[]} The streams that end with it. */
    expire() {
        if (this.isEnded) return [];
        this._phase = "ended";
        const ids = [...this._streams.keys()];
        this._streams.clear();
        this._windowsInUse = 0;
        this.#replay = new ReplayBuffer(this._limits.replay, () => {});
        this.#pool = [];
        this.#forgetLinkFrames();
        this.#control = [];
        this.#controlBytes = 0;
        this.#windowsDue.clear();
        return ids;
    }
}
