// Postgres in WebAssembly (the WASI build of PGlite) under the method names of PGlite, for pages,
// workers and Node 24. One database, one session.
//
// In a page use WorkerEngine of worker-engine.js: a query blocks the thread it runs on.

import { FileSystem } from './filesystem.js';
import { canSuspend, Instance } from './instance.js';
import { inPieces, ReplyScanner } from './output.js';
import { Session } from './session.js';
import { concat, frontend, readResults } from './wire.js';

/**
 * Heap above which the engine is restarted between two exchanges. Its memory never shrinks and
 * grows a little with each query; a renderer has about 4 GiB in all.
 */
const HEAP_LIMIT_BYTES = 768 << 20;
/** Heap above which even a session that would lose something is restarted. */
const HEAP_EMERGENCY_BYTES = 2048 * (1 << 20);
/** Growth after which a session that was kept for what it would lose is looked at again. */
const HEAP_STEP_BYTES = 64 << 20;
/** Bytes kept of what the engine writes to its log, for error messages. */
const LOG_BYTES = 16384;

/** What a new session does not have: temporary tables, WITH HOLD cursors, advisory locks. */
const SESSION_BOUND = `select exists (select from pg_class where relpersistence = 't'
    and relnamespace = pg_my_temp_schema())
  or exists (select from pg_cursors where is_holdable)
  or exists (select from pg_locks where locktype = 'advisory') as bound`;

/** The engine failed outside of SQL: it trapped, or ran out of memory or stack. */
export class EngineFault extends Error {
  /** @param {boolean} restarted a fresh engine is there; what the session had is lost */
  constructor(message, { cause, restarted }) {
    super(message, { cause });
    this.name = 'EngineFault';
    this.restarted = restarted;
  }
}

export class Engine extends Session {
  #module;
  #instance;
  #fileSystem = new FileSystem();
  #options;
  #log = [];
  #logBytes = 0;
  #restartListeners = new Set();
  /** Calls wait for the one before them here. */
  #last = Promise.resolve();
  /** The transaction status after the last call, undefined inside of an exchange. */
  #status = 'I';
  #closed;
  #heapLimit;

  /**
   * Starts an engine.
   *
   * @param {object} options
   * @param {URL | string | Response | BufferSource | WebAssembly.Module} options.wasm pglite.wasm
   * @param {URL | string | Response | Blob | BufferSource} options.data the prebuilt data
   *   directory, data.tar.gz, or what dumpDataDir() gave
   * @param {string} [options.database] default postgres
   * @param {string} [options.user] default postgres
   * @param {number} [options.heapLimitBytes] default 768 MiB
   */
  static async create(options) {
    const engine = new Engine(options);
    await engine.#start();
    return engine;
  }

  /** Use {@link Engine.create}. */
  constructor(options) {
    super();
    this.#options = { database: 'postgres', user: 'postgres', ...options };
    this.#heapLimit = options.heapLimitBytes ?? HEAP_LIMIT_BYTES;
  }

  /** Bytes of WebAssembly memory that the engine has. */
  get heapBytes() {
    return this.#instance?.heapBytes ?? 0;
  }

  /** Bytes of the files that the engine has. */
  get fileBytes() {
    return this.#fileSystem.bytes;
  }

  /** execProtocolRawStream gives pieces of at most 256 KiB and waits for onRawData's promise. */
  get streamsReplies() {
    return true;
  }

  /** Whether the engine itself waits then; otherwise pieces that are not taken wait in memory. */
  get canSuspend() {
    return canSuspend;
  }

  /**
   * Runs whole frontend messages, gives the whole reply. Takes no lock: calls run one after the
   * other, and whoever needs several in a row takes them under runExclusive.
   *
   * Errors of SQL are in the reply. Rejects with {@link EngineFault} when the engine failed; a
   * fresh one over the same files is there then if its `restarted` is true.
   *
   * @param {Uint8Array} bytes must not be changed until the promise is settled
   * @returns {Promise<Uint8Array>}
   */
  async execProtocolRaw(bytes) {
    const pieces = [];
    await this.#queue(bytes, (piece) => void pieces.push(piece), false);
    return pieces.length === 1 ? pieces[0] : concat(...pieces);
  }

  /**
   * As {@link execProtocolRaw}, but gives the reply in pieces, a long one while it is made. Where
   * `onRawData` returns a promise, the engine waits for it (see {@link canSuspend}).
   *
   * @param {Uint8Array} bytes
   * @param {{onRawData: (piece: Uint8Array) => unknown}} options
   */
  async execProtocolRawStream(bytes, { onRawData }) {
    await this.#queue(bytes, inPieces(onRawData), true);
  }

  /** Gives the buffer of a piece back, once nobody reads it any more; it is filled again. */
  recycle(buffer) {
    this.#instance?.recycle(buffer);
  }

  /**
   * A fresh engine over the same files. Settings, prepared statements, LISTENs, temporary tables
   * and an open transaction are gone.
   */
  restart() {
    return this.#serially(async () => {
      await this.#reboot();
      this.#tellRestart('asked');
    });
  }

  /** `listener({reason})` hears of every new session: 'asked', 'memory' or 'fault'. */
  onRestart(listener) {
    this.#restartListeners.add(listener);
    return () => this.#restartListeners.delete(listener);
  }

  /** The database as a Blob (tar, gzip), for `data` of another engine. */
  dumpDataDir() {
    return this.#serially(async () => {
      await this.#plainCall(frontend.query('checkpoint'));
      const packed = new Blob(this.#fileSystem.pack('/'));
      const zipped = packed.stream().pipeThrough(new CompressionStream('gzip'));
      return new Response(zipped, { headers: { 'content-type': 'application/gzip' } }).blob();
    });
  }

  /** Ends the engine. Calls that come later reject. */
  close() {
    return this.#serially(async () => {
      this.#closed ??= new Error('the engine is closed');
      try {
        await this.#instance?.shutDown();
      } finally {
        this.#instance = undefined;
      }
    });
  }

  async #start() {
    const [module, archive] = await Promise.all([
      compile(this.#options.wasm),
      readArchive(this.#options.data),
    ]);
    this.#module = module;
    this.#fileSystem.unpack(archive);
    await this.#boot();
  }

  async #boot() {
    this.#log = [];
    this.#logBytes = 0;
    const { user, database } = this.#options;
    try {
      this.#instance = await Instance.start({
        module: this.#module,
        fileSystem: this.#fileSystem,
        user,
        database,
        log: (bytes) => this.#keepLog(bytes),
      });
    } catch (error) {
      throw this.#fault('the engine did not start', error, false);
    }
    this.#status = 'I';
  }

  async #reboot() {
    try {
      await this.#instance?.shutDown();
    } catch {
      // It is thrown away in any case; Postgres recovers from its log.
    }
    this.#instance = undefined;
    await this.#boot();
    await this.#listenAgain();
  }

  async #listenAgain() {
    for (const sql of this.listenStatements()) {
      await this.#plainCall(frontend.query(sql));
    }
  }

  #queue(bytes, sink, waits) {
    return this.#serially(async () => {
      const copy = checked(bytes);
      if (copy.length === 0) {
        return;
      }
      try {
        await this.#call(copy, sink, waits);
      } catch (error) {
        throw await this.#recover(error);
      }
      await this.#restartIfLarge();
    });
  }

  async #call(bytes, sink, waits) {
    const scanner = new ReplyScanner((channel, payload) => this.notify(channel, payload));
    let refusal;
    const look = (piece) => {
      scanner.feed(piece);
      if (refusal !== undefined) {
        return undefined;
      }
      // An error of the reader must not unwind the engine's own stack.
      try {
        const taken = sink(piece);
        return taken?.then === undefined
          ? undefined
          : Promise.resolve(taken).catch((error) => void (refusal = { error }));
      } catch (error) {
        refusal = { error };
        return undefined;
      }
    };
    await this.#instance.call(bytes, look, waits);
    this.#status = scanner.status;
    if (refusal !== undefined) {
      throw new ReaderFailed(refusal.error);
    }
  }

  /** The reply to a call of our own. */
  async #plainCall(bytes) {
    const pieces = [];
    await this.#call(bytes, (piece) => void pieces.push(piece), false);
    return readResults(concat(...pieces));
  }

  /** What to throw after a call threw; a fresh engine is started where that is needed. */
  async #recover(error) {
    if (error instanceof ReaderFailed) {
      return error.cause;
    }
    const log = this.#lastLog();
    this.#instance = undefined;
    try {
      await this.#boot();
      await this.#listenAgain();
    } catch (failure) {
      this.#closed = failure;
      return this.#fault('the engine failed and did not start again', failure, false);
    }
    this.#tellRestart('fault');
    return this.#fault('the engine failed', error, true, log);
  }

  #fault(what, cause, restarted, last = this.#lastLog()) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = last === '' ? `${what}: ${why}` : `${what}: ${why} (${last})`;
    return new EngineFault(message, { cause, restarted });
  }

  /** Between two exchanges, when the heap has grown and nothing would be lost by it. */
  async #restartIfLarge() {
    const heap = this.#instance.heapBytes;
    if (heap < this.#heapLimit || this.#status !== 'I') {
      return;
    }
    if (heap < HEAP_EMERGENCY_BYTES) {
      const { results } = await this.#plainCall(frontend.query(SESSION_BOUND));
      if (results[0]?.rows[0]?.bound !== false) {
        this.#heapLimit = heap + HEAP_STEP_BYTES;
        return;
      }
    }
    this.#heapLimit = this.#options.heapLimitBytes ?? HEAP_LIMIT_BYTES;
    await this.#reboot();
    this.#tellRestart('memory');
  }

  #tellRestart(reason) {
    for (const listener of this.#restartListeners) {
      listener({ reason });
    }
  }

  /** The log has several lines a call, so its bytes become text only when somebody reads them. */
  #keepLog(bytes) {
    this.#options.onLog?.(new TextDecoder().decode(bytes));
    this.#log.push(bytes);
    this.#logBytes += bytes.length;
    while (this.#logBytes > LOG_BYTES && this.#log.length > 1) {
      this.#logBytes -= this.#log.shift().length;
    }
  }

  #lastLog() {
    return new TextDecoder().decode(concat(...this.#log)).trimEnd().split('\n').slice(-3).join('; ');
  }

  #serially(work) {
    const result = this.#last.then(() => {
      if (this.#closed !== undefined) {
        throw this.#closed;
      }
      return work();
    });
    this.#last = result.catch(() => {});
    return result;
  }
}

/** A reader of pieces threw: not the engine's fault. */
class ReaderFailed extends Error {
  constructor(cause) {
    super('the reader of a reply failed', { cause });
  }
}

/** The messages that go to the engine: none for a Terminate, which it does not know. */
function checked(bytes) {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError('frontend messages are a Uint8Array');
  }
  if (bytes[0] === 0) {
    throw new TypeError('the engine is logged in already: it takes no startup packet');
  }
  return bytes[0] === 0x58 ? bytes.subarray(0, 0) : bytes;
}

async function compile(source) {
  if (source instanceof WebAssembly.Module) {
    return source;
  }
  const loaded = await load(source);
  if (loaded instanceof Response) {
    return loaded.headers.get('content-type') === 'application/wasm'
      ? WebAssembly.compileStreaming(loaded)
      : WebAssembly.compile(await loaded.arrayBuffer());
  }
  return WebAssembly.compile(loaded);
}

/** The bytes of a tar archive, gzipped or not. */
async function readArchive(source) {
  const loaded = await load(source);
  const bytes = new Uint8Array(
    loaded instanceof Response || loaded instanceof Blob ? await loaded.arrayBuffer() : loaded,
  );
  const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!zipped) {
    return bytes;
  }
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** A URL's content; everything else as it is. */
async function load(source) {
  if (typeof source !== 'string' && !(source instanceof URL)) {
    return source;
  }
  if (String(source).startsWith('file:')) {
    const { readFile } = await import('node:fs/promises');
    return readFile(new URL(source));
  }
  const response = await fetch(source);
  if (!response.ok) {
    throw new Error(`${source}: the server answered ${response.status}`);
  }
  return response;
}
