// An Engine in a module worker, for pages: the methods of Engine, each one message there and one
// back. A query does not block the page.

import { EngineFault } from './engine.js';
import { Session } from './session.js';

export { DatabaseError } from './session.js';
export { EngineFault };

export class WorkerEngine extends Session {
  #worker;
  #calls = new Map();
  #nextCall = 1;
  #restartListeners = new Set();
  #heapBytes = 0;
  #canSuspend = false;
  #onLog;
  #ended;

  /**
   * Starts a worker and an engine in it. The options of Engine.create, with URLs taken relative
   * to the page, and `worker`: the URL of worker.js where it is not beside this file.
   */
  static async create({ worker, onLog, ...options }) {
    const engine = new WorkerEngine(worker ?? new URL('./worker.js', import.meta.url), onLog);
    try {
      const { canSuspend } = await engine.#call('create', [{
        ...options,
        sendLog: onLog !== undefined,
        wasm: absolute(options.wasm),
        data: absolute(options.data),
      }]);
      engine.#canSuspend = canSuspend;
    } catch (error) {
      engine.#worker.terminate();
      throw error;
    }
    return engine;
  }

  /** Use {@link WorkerEngine.create}. */
  constructor(url, onLog) {
    super();
    this.#onLog = onLog;
    this.#worker = new Worker(url, { type: 'module' });
    this.#worker.addEventListener('message', ({ data }) => this.#receive(data));
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#end(new Error(`the engine's worker failed: ${event.message ?? 'it did not load'}`));
    });
  }

  /** Bytes of WebAssembly memory that the engine had after the last call. */
  get heapBytes() {
    return this.#heapBytes;
  }

  /** See Engine.streamsReplies. */
  get streamsReplies() {
    return true;
  }

  /** See Engine.canSuspend. */
  get canSuspend() {
    return this.#canSuspend;
  }

  /** See Engine.execProtocolRaw. `bytes` are copied. */
  execProtocolRaw(bytes) {
    return this.#call('execProtocolRaw', [bytes]);
  }

  /**
   * See Engine.execProtocolRawStream. `bytes` are copied. With `recyclesPieces` a piece is void
   * once onRawData is done with it (its promise, if it returns one): its buffer is used again.
   */
  execProtocolRawStream(bytes, { onRawData, recyclesPieces = false }) {
    return this.#call('execProtocolRawStream', [bytes], onRawData, recyclesPieces);
  }

  /** See Engine.restart. */
  restart() {
    return this.#call('restart', []);
  }

  /** See Engine.onRestart. */
  onRestart(listener) {
    this.#restartListeners.add(listener);
    return () => this.#restartListeners.delete(listener);
  }

  /** See Engine.dumpDataDir. */
  dumpDataDir() {
    return this.#call('dumpDataDir', []);
  }

  /** Bytes of the files that the engine has. */
  fileBytes() {
    return this.#call('fileBytes', []);
  }

  /** Ends the engine and its worker, after the calls that are under way. */
  async close() {
    await this.#call('close', []);
    this.terminate();
  }

  /** Ends the worker at once, in the middle of a query, too. What is not saved is lost. */
  terminate() {
    this.#worker.terminate();
    this.#end(new Error('the engine is closed'));
  }

  async listen(channel, listener) {
    const end = await super.listen(channel, listener);
    await this.#call('setListens', [this.listenStatements()]);
    return end;
  }

  async unlisten(channel, listener) {
    await super.unlisten(channel, listener);
    await this.#call('setListens', [this.listenStatements()]);
  }

  #call(method, values, onPiece, recyclesPieces = false) {
    if (this.#ended !== undefined) {
      return Promise.reject(this.#ended);
    }
    const id = this.#nextCall;
    this.#nextCall += 1;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, {
        resolve, reject, onPiece, recyclesPieces, pieces: Promise.resolve(),
      });
      this.#worker.postMessage({ id, method, arguments: values });
    });
  }

  #receive(data) {
    if (data.event !== undefined) {
      this.#hear(data);
      return;
    }
    const call = this.#calls.get(data.id);
    if (call === undefined) {
      return;
    }
    if (data.piece !== undefined) {
      // One after the other; a piece is taken when the reader's promise is settled. After an
      // error of the reader the rest is taken and forgotten, so that the engine comes to its end.
      call.pieces = call.pieces.then(() => call.onPiece(data.piece));
      call.pieces.catch(() => {}).then(() => this.#take(data.id, call, data.piece.buffer));
      return;
    }
    this.#calls.delete(data.id);
    this.#heapBytes = data.heapBytes;
    if (data.error !== undefined) {
      call.reject(revived(data.error));
    } else {
      call.pieces.then(() => call.resolve(data.result), call.reject);
    }
  }

  /** Tells the worker that a piece was taken. */
  #take(id, call, buffer) {
    // A reader may have given the buffer away; then it is empty here.
    if (call.recyclesPieces && buffer.byteLength > 0) {
      this.#worker.postMessage({ taken: id, buffer }, [buffer]);
    } else {
      this.#worker.postMessage({ taken: id });
    }
  }

  #hear(data) {
    if (data.event === 'notification') {
      this.notify(data.channel, data.payload);
    } else if (data.event === 'restart') {
      for (const listener of this.#restartListeners) {
        listener({ reason: data.reason });
      }
    } else if (data.event === 'log') {
      this.#onLog?.(data.text);
    }
  }

  #end(error) {
    this.#ended ??= error;
    for (const { reject } of this.#calls.values()) {
      reject(this.#ended);
    }
    this.#calls.clear();
  }
}

function revived({ name, message, restarted }) {
  if (name === 'EngineFault') {
    return new EngineFault(message, { restarted });
  }
  return Object.assign(new Error(message), { name });
}

function absolute(source) {
  return typeof source === 'string' || source instanceof URL
    ? new URL(source, location.href).href
    : source;
}
