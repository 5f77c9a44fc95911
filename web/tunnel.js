/**
 * The tunnel protocol, version 1, as a browser speaks it: frames, counting, credit, replay.
 *
 * Pure: bytes, verbs and the time (milliseconds) go in; events and chunks to write come out. There
 * is no socket, no timer and no randomness in this file; `connection.js` has those.
 *
 * The specification is PROTOCOL.md; the words are its words.
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
    /** How long a peer that is asked after a sleep may take to answer. */
    probeWithin: 5_000,
});

const headerBytes = 8;
const maximumPayload = 65_535;
const maximumControlPayload = 16_384;
const maximumClaimedWindow = 64 * 1024 * 1024;
const finFlag = 0x01;
const firstExtension = 0x80;
/** Bytes of one write. Blocks of this size are used again once they are acknowledged. */
const blockBytes = 64 * 1024;
const quantum = 16 * 1024;
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

function writeHeader(view, at, type, flags, length, streamID) {
    view.setUint8(at, type);
    view.setUint8(at + 1, flags);
    view.setUint16(at + 2, length);
    view.setUint32(at + 4, streamID);
}

/** A view of bytes that may lie anywhere in their buffer. */
function viewOf(bytes) {
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

function readReset(payload) {
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
function readNumber(payload) {
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

function isCounted(type) {
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

/**
 * The counted bytes that the peer has not acknowledged, by reference. Offsets count the bytes of
 * stream frames since the link began.
 */
class ReplayBuffer {
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

/** What the machine knows of one stream. */
class Stream {
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
    #lastHeard;
    #lastTick;
    #lastAsked;
    #question = 0;
    #roundTrip = null;
    #probeDeadline = null;

    /**
     * @param {typeof browserLimits} limits
     * @param {number} now Milliseconds, of a clock that goes on while the machine sleeps.
     */
    constructor(limits, now) {
        this._limits = limits;
        this.#replay = new ReplayBuffer(limits.replay, (chunk) => this.#free(chunk));
        this.#lastHeard = now;
        this.#lastTick = now;
        this.#ask(now);
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
        return this.#roundTrip;
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
        if (this.#roundTrip !== null && now - stream.updated <= this.#roundTrip * 2) {
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
        this.#heard(now);
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
                if (readNumber(payload) === this.#question) {
                    this.#roundTrip = Math.max(0, now - this.#lastAsked);
                }
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

    #heard(now) {
        this.#lastHeard = now;
        this.#probeDeadline = null;
    }

    #ask(now) {
        this.#question += 1;
        this.#lastAsked = now;
        this.#linkFrames.push(numberFrame(FrameType.ping, 0, this.#question));
    }

    /** Asks the peer whether it is there, and gives it little time: the tab woke up. */
    probe(now, within = this._limits.probeWithin) {
        if (!this.isConnected) return;
        if (this.#probeDeadline === null) {
            this.#ask(now);
            this.#probeDeadline = now + within;
        } else {
            this.#probeDeadline = Math.min(this.#probeDeadline, now + within);
        }
    }

    /**
     * Looks at the clock. Call every 2.5 s while connected; later does no harm.
     *
     * A long pause between two ticks means that timers were held back or that we slept: then what
     * the peer sent may still wait to be delivered, so it is asked, and not given up at once.
     *
     * @returns {boolean} Whether the peer still counts as alive; if not, drop the connection.
     */
    tick(now) {
        if (!this.isConnected) return true;
        const pause = now - this.#lastTick;
        this.#lastTick = now;
        this.#acknowledgeIfDue(now);
        if (now < this.#lastHeard || now < this.#lastAsked) this.#clockWentBack(now);
        if (this.#probeDeadline !== null && now >= this.#probeDeadline) return false;
        const silence = now - this.#lastHeard;
        if (silence >= this._limits.pingAfter && pause > this._limits.sleepGap) {
            this.probe(now);
            return true;
        }
        if (silence >= this._limits.deadAfter && this.#probeDeadline === null) return false;
        if (silence >= this._limits.pingAfter && now - this.#lastAsked >= this._limits.pingAfter) {
            this.#ask(now);
        }
        return true;
    }

    #clockWentBack(now) {
        this.#lastHeard = now;
        this.#lastAsked = now;
        if (this.#probeDeadline !== null) this.#probeDeadline = now + this._limits.probeWithin;
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
        this.#probeDeadline = null;
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
        this.#lastHeard = now;
        this.#lastTick = now;
        this.#ask(now);
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
