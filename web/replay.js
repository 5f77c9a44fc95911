/**
 * What is kept of a link until its peer has acknowledged it, to be sent again after a drop.
 *
 * @module
 */

import { Violation } from "./frames.js";

/**
 * The counted bytes that the peer has not acknowledged, by reference. Offsets count the bytes of
 * stream frames since the link began.
 */
export class ReplayBuffer {
    #capacity;
    /** The first byte kept: everything before it was acknowledged. */
    acknowledged = 0;
    /** The byte after the last one handed out for the first time. */
    sent = 0;
    #chunks = [];
    /** Chunks in front that are gone already; they are cut off now and then. */
    #head = 0;
    /** Where the first chunk began. */
    #firstOffset = 0;
    /** Index of the next chunk to send again; -1 when nothing is. */
    #again = -1;
    /** Bytes of that chunk which the peer has already. */
    #againSkip = 0;
    #onFree;

    constructor(capacity, onFree) {
        this.#capacity = capacity;
        this.#onFree = onFree;
    }

    get isFull() {
        return this.sent - this.acknowledged >= this.#capacity;
    }
    get isReplaying() {
        return this.#again >= 0;
    }
    /** Whether the next bytes begin inside a frame, as far as this side can tell. */
    get isInsideFrame() {
        return this.#again >= 0 && this.#againSkip > 0;
    }

    append(chunk) {
        this.#chunks.push(chunk);
        this.sent += chunk.length;
    }

    acknowledge(offset) {
        if (offset < this.acknowledged || offset > this.sent) throw new Violation("bad_offset");
        this.acknowledged = offset;
        while (this.#head < this.#chunks.length) {
            const first = this.#chunks[this.#head];
            if (this.#firstOffset + first.length > offset) break;
            if (this.#again === this.#head) {
                this.#again += 1;
                this.#againSkip = 0;
            }
            this.#chunks[this.#head] = null;
            this.#head += 1;
            this.#firstOffset += first.length;
            this.#onFree(first);
        }
        if (this.#again >= this.#chunks.length) this.#again = -1;
        if (this.#head > 64 && this.#head * 2 > this.#chunks.length) {
            this.#chunks.splice(0, this.#head);
            if (this.#again >= 0) this.#again -= this.#head;
            this.#head = 0;
        }
    }

    /** A new connection: everything from `offset` on goes out again. */
    rewind(offset) {
        this.#again = -1;
        this.#againSkip = 0;
        this.acknowledge(offset);
        if (this.#head === this.#chunks.length) return;
        this.#again = this.#head;
        this.#againSkip = offset - this.#firstOffset;
    }

    nextReplay() {
        const chunk = this.#chunks[this.#again].subarray(this.#againSkip);
        this.#againSkip = 0;
        this.#again += 1;
        if (this.#again === this.#chunks.length) this.#again = -1;
        return chunk;
    }
}
