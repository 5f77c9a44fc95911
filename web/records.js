/**
 * Records of an engine stream, and the few PostgreSQL messages that the page's side must know.
 *
 * A record is `u8 type | u32 length (big-endian) | payload`; DATA frames cut it anywhere. Pure.
 *
 * @module
 */

/** What a record is. The numbers are on the wire. */
export const RecordType = Object.freeze({
    hold: 0x01,
    data: 0x02,
    run: 0x03,
    drop: 0x04,
    release: 0x05,
    restart: 0x06,
    event: 0x07,
    reply: 0x11,
    done: 0x12,
    fault: 0x13,
    notify: 0x14,
    restarted: 0x15,
    held: 0x16,
});

const headerBytes = 5;
/** The longest payload of a record that is neither DATA nor REPLY, in bytes. */
export const maximumRecordBytes = 64 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const empty = new Uint8Array(0);

/** The relay broke the rules of the stream. */
export class RecordError extends Error {}

/** The five bytes in front of a payload. */
export function recordHeader(type, length) {
    const bytes = new Uint8Array(headerBytes);
    bytes[0] = type;
    new DataView(bytes.buffer).setUint32(1, length);
    return bytes;
}

/** A whole record, its payload copied. */
export function record(type, payload = empty) {
    const bytes = new Uint8Array(headerBytes + payload.length);
    bytes.set(recordHeader(type, payload.length));
    bytes.set(payload, headerBytes);
    return bytes;
}

/** A whole record of JSON. */
export function jsonRecord(type, object) {
    return record(type, encoder.encode(JSON.stringify(object)));
}

/**
 * Takes records off a stream of bytes. DATA comes out in parts as it comes, the others whole, and
 * those of unknown types not at all.
 */
export class RecordDecoder {
    #header = new Uint8Array(headerBytes);
    #headerBytes = 0;
    #type = 0;
    #left = 0;
    #payload = null;
    #payloadBytes = 0;

    /**
     * @param {Uint8Array} bytes
     * @returns {{type: number, payload: Uint8Array}[]} A DATA is a part of one, as long as it is.
     * @throws {RecordError}
     */
    receive(bytes) {
        const records = [];
        let at = 0;
        while (at < bytes.length) {
            if (this.#headerBytes < headerBytes) {
                at += this.#readHeader(bytes.subarray(at), records);
            } else {
                const part = bytes.subarray(at, at + this.#left);
                at += part.length;
                this.#readPayload(part, records);
            }
        }
        return records;
    }

    #readHeader(bytes, records) {
        const part = bytes.subarray(0, headerBytes - this.#headerBytes);
        this.#header.set(part, this.#headerBytes);
        this.#headerBytes += part.length;
        if (this.#headerBytes < headerBytes) return part.length;
        this.#type = this.#header[0];
        this.#left = new DataView(this.#header.buffer).getUint32(1);
        if (isGathered(this.#type)) {
            if (this.#left > maximumRecordBytes) throw new RecordError("a record is too long");
            this.#payload = new Uint8Array(this.#left);
            this.#payloadBytes = 0;
        }
        if (this.#left === 0) this.#end(records);
        return part.length;
    }

    #readPayload(part, records) {
        this.#left -= part.length;
        if (this.#type === RecordType.data) {
            records.push({ type: this.#type, payload: part });
        } else if (this.#payload !== null) {
            this.#payload.set(part, this.#payloadBytes);
            this.#payloadBytes += part.length;
        }
        if (this.#left === 0) this.#end(records);
    }

    #end(records) {
        if (this.#payload !== null) records.push({ type: this.#type, payload: this.#payload });
        this.#payload = null;
        this.#headerBytes = 0;
    }
}

function isGathered(type) {
    return type >= RecordType.hold && type <= RecordType.event && type !== RecordType.data;
}

/** The message Sync. */
export const syncMessage = Uint8Array.of(0x53, 0, 0, 0, 4);

/** A message of PostgreSQL: type, length, body. */
export function message(type, body) {
    const bytes = new Uint8Array(5 + body.length);
    bytes[0] = type.charCodeAt(0);
    new DataView(bytes.buffer).setUint32(1, 4 + body.length);
    bytes.set(body, 5);
    return bytes;
}

/** The message Query. */
export function queryMessage(sql) {
    return message("Q", encoder.encode(`${sql}\0`));
}

/** NotificationResponse with process id 0. */
export function notificationMessage(channel, payload) {
    return message("A", encoder.encode(`\0\0\0\0${channel}\0${payload}\0`));
}

/** ErrorResponse: severity ERROR. */
export function errorMessage(sqlState, text, detail) {
    const fields = [["S", "ERROR"], ["V", "ERROR"], ["C", sqlState], ["M", text]];
    if (detail) fields.push(["D", detail]);
    const body = fields.map(([key, value]) => `${key}${value.replaceAll("\0", "")}\0`).join("");
    return message("E", encoder.encode(`${body}\0`));
}

/** ReadyForQuery. `status` is I, T or E. */
export function readyMessage(status) {
    return message("Z", encoder.encode(status));
}

/**
 * The transaction status that the ReadyForQuery at the end of a reply tells.
 *
 * @param {Uint8Array} reply At least its last six bytes.
 * @returns {"I" | "T" | "E" | null} null if the reply does not end with one.
 */
export function finalStatus(reply) {
    const at = reply.length - 6;
    if (at < 0 || reply[at] !== 0x5a || reply[at + 4] !== 5) return null;
    if (reply[at + 1] !== 0 || reply[at + 2] !== 0 || reply[at + 3] !== 0) return null;
    const status = String.fromCharCode(reply[at + 5]);
    return status === "I" || status === "T" || status === "E" ? status : null;
}

/**
 * The rows of a reply to a simple Query, as texts.
 *
 * @param {Uint8Array} reply
 * @returns {(string | null)[][] | null} null if the reply holds an error, or is none.
 */
export function readRows(reply) {
    const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength);
    const rows = [];
    for (let at = 0; at < reply.length;) {
        if (at + 5 > reply.length) return null;
        const end = at + 1 + view.getUint32(at + 1);
        if (end > reply.length || end < at + 5) return null;
        if (reply[at] === 0x45) return null;
        if (reply[at] === 0x44) rows.push(readRow(reply, view, at + 5));
        at = end;
    }
    return rows;
}

function readRow(reply, view, at) {
    const row = [];
    const columns = view.getUint16(at);
    at += 2;
    for (let column = 0; column < columns; column += 1) {
        const length = view.getInt32(at);
        at += 4;
        row.push(length < 0 ? null : decoder.decode(reply.subarray(at, at + length)));
        at += Math.max(length, 0);
    }
    return row;
}

/** A text as SQL, whatever standard_conforming_strings says. */
export function sqlLiteral(text) {
    const quoted = text.replaceAll("\0", "").replaceAll("'", "''");
    return quoted.includes("\\") ? ` E'${quoted.replaceAll("\\", "\\\\")}'` : `'${quoted}'`;
}

/** A name as SQL. */
export function sqlIdentifier(name) {
    return `"${name.replaceAll("\0", "").replaceAll('"', '""')}"`;
}
