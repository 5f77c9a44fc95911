/**
 * Frames of the tunnel protocol, version 1: how they are written and read, and the talk that starts
 * a link. Pure. The specification is PROTOCOL.md.
 *
 * @module
 */

/** What a frame is. The numbers are on the wire. */
export const FrameType = Object.freeze({
    hello: 0x01,
    helloOK: 0x02,
    resume: 0x03,
    resumeOK: 0x04,
    ack: 0x05,
    ping: 0x06,
    pong: 0x07,
    goAway: 0x08,
    error: 0x09,
    open: 0x10,
    openOK: 0x11,
    data: 0x12,
    window: 0x13,
    reset: 0x14,
});

/** What RESET says. */
export const ResetCode = Object.freeze({
    closed: 0,
    flowControl: 1,
    protocolError: 2,
    refused: 3,
    unreachable: 4,
    ended: 5,
    tunnelLost: 6,
    stopping: 7,
    internalFailure: 8,
});

export const headerBytes = 8;
const maximumPayload = 65_535;
const maximumControlPayload = 16_384;
export const finFlag = 0x01;
const firstExtension = 0x80;
const maximumResetText = 1024;

/** The shortest and the longest payload of each frame, in bytes. */
const payloadLengths = new Map([
    [FrameType.hello, [2, maximumControlPayload]],
    [FrameType.helloOK, [2, maximumControlPayload]],
    [FrameType.resume, [2, maximumControlPayload]],
    [FrameType.resumeOK, [2, maximumControlPayload]],
    [FrameType.ack, [8, 8]],
    [FrameType.ping, [8, 8]],
    [FrameType.pong, [8, 8]],
    [FrameType.goAway, [2, maximumControlPayload]],
    [FrameType.error, [2, maximumControlPayload]],
    [FrameType.open, [2, maximumPayload]],
    [FrameType.openOK, [2, maximumControlPayload]],
    [FrameType.data, [0, maximumPayload]],
    [FrameType.window, [8, 8]],
    [FrameType.reset, [6, 6 + maximumResetText]],
]);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The peer broke the protocol: the link ends. `code` is the stable word of PROTOCOL.md. */
export class Violation extends Error {
    /** @param {string} code */
    constructor(code) {
        super(`the other end broke the tunnel protocol (${code})`);
        this.name = "Violation";
        this.code = code;
    }
}

/** The relay ended the link, or refused it: what its ERROR frame said. */
export class LinkError extends Error {
    /**
     * @param {string} code A stable word: PROTOCOL.md, "Close reasons".
     * @param {string} message A sentence for a person.
     * @param {boolean} retry Whether the same dial may succeed later.
     */
    constructor(code, message, retry) {
        super(message);
        this.name = "LinkError";
        this.code = code;
        this.retry = retry;
    }

    /** @param {Uint8Array} payload */
    static read(payload) {
        const { code, message, retry } = readJSON(payload);
        if (typeof code !== "string" || typeof message !== "string" || typeof retry !== "boolean") {
            throw new Violation("bad_payload");
        }
        return new LinkError(code, printable(message), retry);
    }
}

/** A stranger's text for a person: no control characters, and not much of it. */
export function printable(text) {
    return text.replace(/[\p{Cc}\p{Cf}]/gu, "?").slice(0, 300);
}

export function writeHeader(view, at, type, flags, length, streamID) {
    view.setUint8(at, type);
    view.setUint8(at + 1, flags);
    view.setUint16(at + 2, length);
    view.setUint32(at + 4, streamID);
}

/** A view of bytes that may lie anywhere in their buffer. */
export function viewOf(bytes) {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A whole frame.
 *
 * @param {number} type
 * @param {number} streamID
 * @param {Uint8Array} payload
 * @param {number} [flags]
 * @returns {Uint8Array}
 */
export function frame(type, streamID, payload, flags = 0) {
    const bytes = new Uint8Array(headerBytes + payload.length);
    writeHeader(viewOf(bytes), 0, type, flags, payload.length, streamID);
    bytes.set(payload, headerBytes);
    return bytes;
}

/** A whole frame whose payload is one number of 64 bits: ACK, PING, WINDOW. */
export function numberFrame(type, streamID, number) {
    const bytes = new Uint8Array(headerBytes + 8);
    const view = viewOf(bytes);
    writeHeader(view, 0, type, 0, 8, streamID);
    writeNumber(view, headerBytes, number);
    return bytes;
}

/** A whole frame whose payload is JSON. */
export function jsonFrame(type, object, streamID = 0) {
    const payload = encoder.encode(JSON.stringify(object));
    const [least, most] = payloadLengths.get(type);
    if (payload.length < least || payload.length > most) {
        throw new RangeError("a control payload is too long");
    }
    return frame(type, streamID, payload);
}

/** A whole RESET frame. The sentence is cut to what fits. */
export function resetFrame(streamID, code, sqlState, text) {
    const sentence = encodeAtMost(text, maximumResetText);
    const payload = new Uint8Array(6 + sentence.length);
    payload[0] = code;
    payload.set(encoder.encode(sqlState), 1);
    payload.set(sentence, 6);
    return frame(FrameType.reset, streamID, payload);
}

/** UTF-8 of at most so many bytes, cut between characters. */
export function encodeAtMost(text, bytes) {
    const buffer = new Uint8Array(bytes);
    const { written } = encoder.encodeInto(text, buffer);
    return buffer.subarray(0, written);
}

export function readReset(payload) {
    const sqlState = String.fromCharCode(...payload.subarray(1, 6));
    if (!/^[0-9A-Z]{5}$/.test(sqlState)) throw new Violation("bad_payload");
    try {
        const text = printable(decoder.decode(payload.subarray(6)));
        const isKnown = payload[0] <= ResetCode.internalFailure;
        return { code: isKnown ? payload[0] : ResetCode.protocolError, sqlState, text };
    } catch {
        throw new Violation("bad_payload");
    }
}

/**
 * The object in a control payload.
 *
 * @param {Uint8Array} payload
 * @returns {Record<string, unknown>}
 */
export function readJSON(payload) {
    let value;
    try {
        value = JSON.parse(decoder.decode(payload));
    } catch {
        throw new Violation("bad_payload");
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
        throw new Violation("bad_payload");
    }
    return value;
}

function writeNumber(view, at, number) {
    view.setUint32(at, Math.floor(number / 2 ** 32));
    view.setUint32(at + 4, number % 2 ** 32);
}

/** Above 2^53 it is not exact, and then it is a lie about an offset anyway. */
export function readNumber(payload) {
    const view = viewOf(payload);
    return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

/**
 * Takes frames off a stream of bytes. DATA is passed on as it comes, never gathered.
 *
 *              8 bytes, DATA                last payload byte
 *     header ────────────────▶ data(left) ───────────────────▶ header
 *       │ 8 bytes, any other                 whole payload
 *       ├────────────────────▶ control ──────────────────────▶ header
 *       │ 8 bytes, extension                 last payload byte
 *       └────────────────────▶ skip(left) ───────────────────▶ header
 *
 * What it has *taken* is exact at any byte, so that a link can be resumed inside a DATA payload.
 */
export class FrameDecoder {
    #phase = "header";
    #header = null;
    #left = 0;
    #isFirst = false;
    #partial = null;
    #partialBytes = 0;

    /**
     * Takes at most one step's bytes from `input.bytes` at `input.at`, which it moves.
     *
     * @param {{bytes: Uint8Array, at: number}} input
     * @returns {{header: object, payload: Uint8Array, isFirst: boolean, isLast: boolean} | null}
     *     null when more bytes are needed.
     */
    next(input) {
        for (;;) {
            switch (this.#phase) {
                case "header": {
                    const word = this.#gather(headerBytes, input);
                    if (word === null) return null;
                    const step = this.#begin(word);
                    if (step !== null) return step;
                    break;
                }
                case "data": {
                    const payload = take(input, this.#left);
                    if (payload.length === 0) return null;
                    const isFirst = this.#isFirst;
                    this.#isFirst = false;
                    this.#left -= payload.length;
                    const isLast = this.#left === 0;
                    if (isLast) this.#phase = "header";
                    return { header: this.#header, payload, isFirst, isLast };
                }
                case "control": {
                    const payload = this.#gather(this.#header.length, input);
                    if (payload === null) return null;
                    this.#phase = "header";
                    return { header: this.#header, payload, isFirst: true, isLast: true };
                }
                case "skip": {
                    this.#left -= take(input, this.#left).length;
                    if (this.#left > 0) return null;
                    this.#phase = "header";
                    break;
                }
            }
        }
    }

    /** The connection is gone: forgets what was not taken, keeps the place inside a payload. */
    disconnected() {
        this.#partial = null;
        if (this.#phase !== "data" || this.#isFirst) this.#phase = "header";
    }

    #gather(length, input) {
        if (this.#partial === null) {
            if (input.bytes.length - input.at >= length) return take(input, length);
            this.#partial = new Uint8Array(length);
            this.#partialBytes = 0;
        }
        const part = take(input, length - this.#partialBytes);
        this.#partial.set(part, this.#partialBytes);
        this.#partialBytes += part.length;
        if (this.#partialBytes < length) return null;
        const whole = this.#partial;
        this.#partial = null;
        return whole;
    }

    /** Decides what a header leads to. */
    #begin(word) {
        const view = viewOf(word);
        const header = {
            type: view.getUint8(0),
            flags: view.getUint8(1),
            length: view.getUint16(2),
            streamID: view.getUint32(4),
        };
        const lengths = payloadLengths.get(header.type);
        if (lengths === undefined) {
            if (header.type < firstExtension || header.streamID !== 0) {
                throw new Violation("unknown_frame_type");
            }
            this.#left = header.length;
            this.#phase = header.length === 0 ? "header" : "skip";
            return null;
        }
        if (header.length < lengths[0] || header.length > lengths[1]) {
            throw new Violation("bad_length");
        }
        if (isCounted(header.type) !== (header.streamID !== 0)) {
            throw new Violation("bad_stream_id");
        }
        this.#header = header;
        if (header.type !== FrameType.data) {
            this.#phase = "control";
            return null;
        }
        if (header.length === 0) {
            return { header, payload: new Uint8Array(0), isFirst: true, isLast: true };
        }
        this.#phase = "data";
        this.#left = header.length;
        this.#isFirst = true;
        return null;
    }
}

function take(input, atMost) {
    const part = input.bytes.subarray(input.at, input.at + atMost);
    input.at += part.length;
    return part;
}

export function isCounted(type) {
    return type >= FrameType.open;
}

/**
 * The agent's half of the talk that starts a link, or brings it back.
 *
 *     start() HELLO  ──▶ asked ──▶ HELLO_OK / welcomed
 *     start() RESUME ──▶ asked ──▶ RESUME_OK / resumed
 *                          └─────▶ ERROR / refused
 *
 * What is behind the answer stays in the input: it is the link's.
 */
export class AgentHandshake {
    #question;
    #decoder = new FrameDecoder();

    /** @param {{hello?: object, resume?: object}} question */
    constructor(question) {
        this.#question = question;
    }

    /** The first frame. */
    start() {
        return this.#question.hello !== undefined
            ? jsonFrame(FrameType.hello, this.#question.hello)
            : jsonFrame(FrameType.resume, this.#question.resume);
    }

    /**
     * @param {{bytes: Uint8Array, at: number}} input
     * @returns {object | null} The relay's answer; null until it is there.
     * @throws {LinkError} The relay refused.
     * @throws {Violation} It answered something else.
     */
    receive(input) {
        const step = this.#decoder.next(input);
        if (step === null) return null;
        const { header, payload } = step;
        if (header.type === FrameType.error) throw LinkError.read(payload);
        if (this.#question.hello !== undefined && header.type === FrameType.helloOK) {
            return checkedHelloOK(readJSON(payload));
        }
        if (this.#question.resume !== undefined && header.type === FrameType.resumeOK) {
            const answer = readJSON(payload);
            if (!isOffset(answer.received) || typeof answer.resumeSecret !== "string") {
                throw new Violation("bad_payload");
            }
            return answer;
        }
        throw new Violation("unexpected_frame");
    }
}

function isOffset(value) {
    return Number.isSafeInteger(value) && value >= 0;
}

/** The relay's words are shown to a person, in a line that is made to be pasted: look at each. */
function checkedHelloOK(answer) {
    if (answer.version !== 1) {
        throw new LinkError(
            "protocol_version", "the relay speaks another version of the tunnel protocol", false);
    }
    const name = answer.name ?? null;
    const isPlausible =
        /^[0-9a-z]{16}$/.test(answer.share) &&
        (name === null || (typeof name === "string" && /^[0-9a-z-]{1,40}$/.test(name))) &&
        typeof answer.host === "string" && /^[0-9A-Za-z.:[\]-]{1,253}$/.test(answer.host) &&
        Number.isInteger(answer.port) && answer.port >= 1 && answer.port <= 65_535 &&
        Number.isFinite(answer.expiresAt) && answer.expiresAt >= 0 &&
        answer.expiresAt <= 7_258_118_400 &&
        typeof answer.session === "string" && typeof answer.resumeSecret === "string" &&
        Number.isInteger(answer.graceSeconds) && answer.graceSeconds >= 0 &&
        answer.graceSeconds <= 600;
    if (!isPlausible) throw new Violation("bad_payload");
    return answer;
}

/** All bytes, one behind the other. */
export function concat(parts) {
    let length = 0;
    for (const part of parts) length += part.length;
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}
