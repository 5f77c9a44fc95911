// One run of the WebAssembly module over a file system: from its start to its end or its trap.
// Everything particular to how this build of Postgres talks to its host is in here.

import { OutputFile } from './output.js';
import { frontend, messages, TYPE } from './wire.js';
import { WASI } from './wasi.js';

const PREFIX = '/tmp/pglite';
export const DATA_FOLDER = `${PREFIX}/base`;
/** Calls up to this length are written into memory, longer ones into a file. */
const MEMORY_CALL_BYTES = 1 << 20;
/** Where in memory the engine reads a call. A reply in memory lies two bytes behind it. */
const CALL_ADDRESS = 1;
const CALL_FILE = `${DATA_FOLDER}/.s.PGSQL.5432.in`;
const REPLY_FILE = `${DATA_FOLDER}/.s.PGSQL.5432.out`;
/** The name that the reply's file has while it is written. */
const REPLY_FILE_OPEN = `${DATA_FOLDER}/.s.PGSQL.5432.lock.out`;
/** Bits of pgl_initdb's answer: at least one says that there is a database. */
const INITIALISED = 0b110;

/** Functions that do nothing but set or give a number. */
const PLAIN = ['use_wire', 'interactive_write', 'interactive_read', 'get_channel'];

/** Whether a call into the engine can wait for JavaScript (WebAssembly JSPI). */
export const canSuspend =
  typeof WebAssembly.Suspending === 'function' && typeof WebAssembly.promising === 'function';

/**
 * The exports. Where JavaScript can make the engine wait, every function that may write a file
 * (as good as all of them) has to be entered in a way that allows it, and gives a promise.
 */
function suspendable(exports) {
  if (!canSuspend) {
    return exports;
  }
  const wrapped = Object.entries(exports).map(([name, value]) => [
    name,
    typeof value === 'function' && !PLAIN.includes(name) ? WebAssembly.promising(value) : value,
  ]);
  return Object.fromEntries(wrapped);
}

/** A started engine, logged in. Never to be used again after one of its methods threw. */
export class Instance {
  #exports;
  #fileSystem;
  #sink;
  #output;

  /**
   * @param {object} options
   * @param {WebAssembly.Module} options.module
   * @param {FileSystem} options.fileSystem
   * @param {string} options.user
   * @param {string} options.database
   * @param {(bytes: Uint8Array) => void} options.log
   */
  static async start({ module, fileSystem, user, database, log }) {
    const instance = new Instance();
    instance.#fileSystem = fileSystem;
    instance.#output = new OutputFile((piece) => instance.#sink(piece));
    const wasi = new WASI({
      fileSystem,
      log,
      arguments: ['pglite', '--single', 'postgres'],
      preopens: ['/tmp', '/dev'],
      environment: [
        'ENVIRONMENT=wasi-embed',
        `PREFIX=${PREFIX}`,
        `PGDATA=${DATA_FOLDER}`,
        `PGUSER=${user}`,
        `PGDATABASE=${database}`,
        'PGCLIENTENCODING=UTF8',
        'REPL=N',
        'TZ=UTC',
        'LANG=C.UTF-8',
      ],
      onOpen: (path) => instance.#openOutput(path),
    });
    const imports = wasi.imports;
    if (canSuspend) {
      imports.fd_write = new WebAssembly.Suspending(imports.fd_write);
    }
    const started = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: imports });
    wasi.memory = started.exports.memory;
    instance.#exports = suspendable(started.exports);
    await instance.#boot(user, database);
    return instance;
  }

  /** Bytes of the WebAssembly memory. It never shrinks. */
  get heapBytes() {
    return this.#exports.memory.buffer.byteLength;
  }

  /**
   * Runs whole frontend messages and hands the reply on in pieces of its own. Where `sink`
   * returns a promise, the engine waits for it if {@link canSuspend} and `waits` are true.
   */
  async call(bytes, sink, waits) {
    let pieces = Promise.resolve();
    this.#sink = waits && canSuspend
      ? sink
      : (piece) => {
        const taken = sink(piece);
        pieces = Promise.all([pieces, taken]);
      };
    const { use_wire, interactive_write, interactive_one, interactive_read, get_channel } =
      this.#exports;
    use_wire(1);
    if (bytes.length <= MEMORY_CALL_BYTES) {
      interactive_write(bytes.length);
      new Uint8Array(this.#exports.memory.buffer).set(bytes, CALL_ADDRESS);
    } else {
      this.#fileSystem.writeFile(CALL_FILE, bytes);
      interactive_write(0);
    }
    await interactive_one();
    const length = interactive_read();
    const channel = get_channel();
    if (channel >= 0) {
      const at = channel < 2 ? bytes.length + 2 : channel;
      if (length > 0) {
        await sink(new Uint8Array(this.#exports.memory.buffer).slice(at, at + length));
      }
    } else {
      await this.#output.finish();
    }
    this.#fileSystem.remove(REPLY_FILE);
    this.#fileSystem.remove(REPLY_FILE_OPEN);
    await pieces;
  }

  /** Takes a piece of a reply back: see OutputFile. */
  recycle(buffer) {
    this.#output.recycle(buffer);
  }

  /** Ends the run in order; what was committed is in the file system. */
  async shutDown() {
    await this.#exports.pgl_shutdown();
  }

  async #boot(user, database) {
    await this.#exports._start();
    const status = await this.#exports.pgl_initdb();
    if ((status & INITIALISED) === 0) {
      throw new Error(`the engine could not make or find its database (status ${status})`);
    }
    await this.#exports.pgl_backend();
    await this.#login(frontend.startup({ user, database, client_encoding: 'UTF8' }));
    // The engine asks for a password and takes any.
    await this.#login(frontend.password('password'));
  }

  async #login(bytes) {
    const answer = [];
    await this.call(bytes, (piece) => void answer.push(piece), false);
    const types = answer.flatMap((piece) => [...messages(piece)].map(({ type }) => type));
    if (!types.includes(TYPE.authentication) && !types.includes(TYPE.readyForQuery)) {
      throw new Error('the engine did not let its own host log in');
    }
  }

  #openOutput(path) {
    if (path !== REPLY_FILE_OPEN) {
      return undefined;
    }
    // Postgres renames the file when it is whole, so the tree must hold it.
    const folder = this.#fileSystem.find(DATA_FOLDER);
    folder.entries.set(REPLY_FILE_OPEN.slice(DATA_FOLDER.length + 1), this.#output);
    return this.#output;
  }
}
