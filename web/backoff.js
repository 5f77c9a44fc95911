/**
 * Pauses between two dials.
 *
 * @module
 */

/** How long to wait before the next dial: full jitter, doubling. Milliseconds. */
export class Backoff {
    #ceiling;
    #first;
    #last;
    #random;

    /**
     * @param {number} first The first ceiling.
     * @param {number} last The last ceiling.
     * @param {() => number} random 0 to 1.
     */
    constructor(first, last, random) {
        this.#first = first;
        this.#last = last;
        this.#random = random;
        this.#ceiling = first;
    }

    next() {
        const wait = this.#random() * this.#ceiling;
        this.#ceiling = Math.min(this.#ceiling * 2, this.#last);
        return wait;
    }

    /** A dial succeeded. */
    reset() {
        this.#ceiling = this.#first;
    }
}
