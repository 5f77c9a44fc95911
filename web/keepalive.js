/**
 * Whether the peer is still there: questions, answers and patience. Pure; times are milliseconds.
 *
 * @module
 */

import { FrameType, numberFrame } from "./frames.js";

/** The keepalive of one link. */
export class Keepalive {
    #limits;
    #ask;
    #lastHeard = 0;
    #lastTick = 0;
    #lastAsked = 0;
    #question = 0;
    #probeDeadline = null;
    /** The last round trip that was measured; null before. */
    roundTrip = null;

    /**
     * @param {typeof import("./tunnel.js").browserLimits} limits
     * @param {(ping: Uint8Array) => void} send Takes a frame for the peer.
     */
    constructor(limits, send) {
        this.#limits = limits;
        this.#ask = (now) => {
            this.#question += 1;
            this.#lastAsked = now;
            send(numberFrame(FrameType.ping, 0, this.#question));
        };
    }

    /** A connection stands. */
    start(now) {
        this.#lastHeard = now;
        this.#lastTick = now;
        this.#ask(now);
    }

    /** The connection is gone. */
    stop() {
        this.#probeDeadline = null;
    }

    /** Bytes came. */
    heard(now) {
        this.#lastHeard = now;
        this.#probeDeadline = null;
    }

    /** The peer answered that question. */
    answered(question, now) {
        if (question === this.#question) this.roundTrip = Math.max(0, now - this.#lastAsked);
    }

    /** Asks, and gives the peer that long. */
    probe(now, within = this.#limits.probeWithin) {
        if (this.#probeDeadline === null) {
            this.#ask(now);
            this.#probeDeadline = now + within;
        } else {
            this.#probeDeadline = Math.min(this.#probeDeadline, now + within);
        }
    }

    /**
     * Looks at the clock.
     *
     * A long pause between two ticks means that timers were held back or that we slept: then what
     * the peer sent may still wait to be delivered, so it is asked, and not given up at once.
     *
     * @param {number} now
     * @param {boolean} [isOwed] Whether the peer has something to acknowledge, which takes it
     *     100 ms and a round trip: its silence is then asked about early.
     * @returns {boolean} Whether the peer still counts as alive.
     */
    tick(now, isOwed = false) {
        const pause = now - this.#lastTick;
        this.#lastTick = now;
        if (now < this.#lastHeard || now < this.#lastAsked) this.#clockWentBack(now);
        if (this.#probeDeadline !== null && now >= this.#probeDeadline) return false;
        const silence = now - this.#lastHeard;
        const { pingAfter, deadAfter, sleepGap, owedAfter, probeWithin } = this.#limits;
        if (isOwed && silence >= owedAfter && this.#probeDeadline === null) {
            this.probe(now, Math.max(probeWithin, 4 * (this.roundTrip ?? 0)));
            return true;
        }
        if (silence >= pingAfter && pause > sleepGap) {
            this.probe(now);
            return true;
        }
        if (silence >= deadAfter && this.#probeDeadline === null) return false;
        if (silence >= pingAfter && now - this.#lastAsked >= pingAfter) this.#ask(now);
        return true;
    }

    #clockWentBack(now) {
        this.#lastHeard = now;
        this.#lastAsked = now;
        if (this.#probeDeadline !== null) {
            this.#probeDeadline = now + this.#limits.probeWithin;
        }
    }
}
