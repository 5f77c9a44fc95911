// What the engine answers: gathered or passed on in pieces, and looked at on the way.

import { concat, strings, TYPE } from './wire.js';

/** Bytes a piece of a long reply has, at least; the last one of a reply may have fewer. */
const PIECE_BYTES = 128 * 1024;
const MAXIMUM_PIECE_BYTES = 256 * 1024;
/** Pieces that were given back and wait to be filled again. */
const MAXIMUM_SPARE_PIECES = 8;

/**
 * The file that Postgres writes a reply to when it does not fit the window in memory. It takes
 * the bytes in pieces and hands each on as soon as it is full, so a long reply is never whole in
 * memory unless its reader wants it so.
 */
export class OutputFile {
  kind = 'file';
  inode = 0;
  modified = 0;
  size = 0;
  #sink;
  #piece = new Uint8Array(PIECE_BYTES);
  #used = 0;
  #spare = [];

  /** @param {(piece: Uint8Array) => unknown} sink may return a promise: see {@link write} */
  constructor(sink) {
    this.#sink = sink;
  }

  read() {
    return 0;
  }

  /** A new reply begins. */
  resize(size) {
    if (size !== 0) {
      throw new Error('a reply is only ever begun or continued');
    }
    this.size = 0;
    this.#used = 0;
  }

  /**
   * Takes the next bytes. Returns undefined, or a promise where the sink gave one: then whoever
   * writes should wait for it, if it can.
   */
  write(position, bytes) {
    if (position !== this.size) {
      throw new Error(`a reply goes on at byte ${this.size}, not ${position}`);
    }
    this.size += bytes.length;
    const room = PIECE_BYTES - this.#used;
    if (bytes.length < room) {
      this.#piece.set(bytes, this.#used);
      this.#used += bytes.length;
      return undefined;
    }
    const rest = bytes.length - room;
    if (rest >= PIECE_BYTES) {
      const full = concat(this.#piece.subarray(0, this.#used), bytes);
      this.#used = 0;
      return this.#sink(full);
    }
    const full = this.#piece;
    full.set(bytes.subarray(0, room), this.#used);
    this.#piece = this.#spare.pop() ?? new Uint8Array(PIECE_BYTES);
    this.#piece.set(bytes.subarray(room));
    this.#used = rest;
    return this.#sink(full);
  }

  /** Takes a piece back that nobody reads any more, to fill it again: less for the collector. */
  recycle(buffer) {
    if (buffer.byteLength === PIECE_BYTES && this.#spare.length < MAXIMUM_SPARE_PIECES) {
      this.#spare.push(new Uint8Array(buffer));
    }
  }

  /** The reply is over: what is left of it goes to the sink. */
  finish() {
    const rest = this.#piece.slice(0, this.#used);
    this.#used = 0;
    return rest.length > 0 ? this.#sink(rest) : undefined;
  }
}

/**
 * A sink that gives what it gets to `reader` in pieces of at most 256 KiB, each a buffer of its
 * own, the next when the promise of the one before is settled.
 */
export function inPieces(reader) {
  const continued = (bytes) => {
    // The reader may give a piece's buffer away, so nothing looks at it afterwards.
    const end = bytes.length;
    const whole = end <= MAXIMUM_PIECE_BYTES && end === bytes.buffer.byteLength;
    let at = 0;
    while (at < end) {
      const piece = whole ? bytes : bytes.slice(at, at + MAXIMUM_PIECE_BYTES);
      at += piece.length;
      const taken = reader(piece);
      if (taken?.then !== undefined) {
        return at >= end
          ? taken
          : Promise.resolve(taken).then(() => continued(bytes.subarray(at)));
      }
    }
    return undefined;
  };
  return continued;
}

/**
 * Reads the headers of the messages in a reply that comes in pieces: finds notifications, and
 * the transaction status that it ends with.
 */
export class ReplyScanner {
  /** The last ReadyForQuery's status letter if the reply ended with one, else undefined. */
  status;
  #onNotification;
  #header = new Uint8Array(5);
  #headerBytes = 0;
  #type = 0;
  #left = 0;
  #kept;
  #keptBytes = 0;

  /** @param {(channel: string, payload: string) => void} onNotification */
  constructor(onNotification) {
    this.#onNotification = onNotification;
  }

  feed(bytes) {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerBytes < 5) {
        const part = bytes.subarray(at, at + 5 - this.#headerBytes);
        this.#header.set(part, this.#headerBytes);
        this.#headerBytes += part.length;
        at += part.length;
        if (this.#headerBytes === 5) {
          this.#begin();
        }
      } else {
        const part = bytes.subarray(at, at + this.#left);
        this.#kept?.set(part, this.#keptBytes);
        this.#keptBytes += part.length;
        this.#left -= part.length;
        at += part.length;
      }
      if (this.#headerBytes === 5 && this.#left === 0) {
        this.#end();
      }
    }
  }

  #begin() {
    this.#type = this.#header[0];
    this.#left = new DataView(this.#header.buffer).getUint32(1) - 4;
    const wanted = this.#type === TYPE.notification || this.#type === TYPE.readyForQuery;
    this.#kept = wanted ? new Uint8Array(this.#left) : undefined;
    this.#keptBytes = 0;
  }

  #end() {
    this.status = undefined;
    if (this.#type === TYPE.readyForQuery) {
      this.status = String.fromCharCode(this.#kept[0]);
    } else if (this.#type === TYPE.notification) {
      const [channel, payload] = strings(this.#kept, 4);
      this.#onNotification(channel, payload);
    }
    this.#headerBytes = 0;
    this.#kept = undefined;
  }
}
