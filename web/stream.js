/**
 * One stream of a link: what waits to be sent, and the credit of both directions.
 *
 * @module
 */

/** What the machine knows of one stream. */
export class Stream {
    /** Bytes that wait for their turn. */
    #queue = [];
    #head = 0;
    #headOffset = 0;
    queuedBytes = 0;
    /** DATA bytes handed out so far, and the peer's limit for them. */
    sent = 0;
    sendLimit = 0;
    isAccepted = false;
    finQueued = false;
    finSent = false;
    finReceived = false;
    /** The credit that this side granted: absolute offsets. */
    received = 0;
    consumed = 0;

    constructor(id, window, now) {
        this.id = id;
        this.window = window;
        this.receiveLimit = window;
        this.updated = now;
    }

    get credit() {
        return this.sendLimit - this.sent;
    }
    /** Bytes that could go now; 0 for a bare FIN; -1 for nothing. */
    get readyBytes() {
        if (this.queuedBytes > 0) {
            const bytes = Math.min(this.queuedBytes, this.credit);
            return bytes > 0 ? bytes : -1;
        }
        return this.finQueued && !this.finSent ? 0 : -1;
    }

    enqueue(bytes) {
        this.#queue.push(bytes);
        this.queuedBytes += bytes.length;
    }

    /** Copies the oldest `length` bytes to `target`, and lets go of what was copied whole. */
    dequeue(target, at, length) {
        this.queuedBytes -= length;
        while (length > 0) {
            const first = this.#queue[this.#head];
            const part = first.subarray(this.#headOffset, this.#headOffset + length);
            target.set(part, at);
            at += part.length;
            length -= part.length;
            this.#headOffset += part.length;
            if (this.#headOffset < first.length) return;
            this.#queue[this.#head] = null;
            this.#head += 1;
            this.#headOffset = 0;
        }
        if (this.#head === this.#queue.length) {
            this.#queue = [];
            this.#head = 0;
        }
    }
}
