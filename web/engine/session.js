// What an engine in this thread and one in a worker have in common, over execProtocolRaw: the
// page's own queries, the lock they share with others, notifications.

import { concat, DatabaseError, frontend, readResults } from './wire.js';

export { DatabaseError };

/**
 * Stands behind every statement: the engine does not survive a COPY FROM STDIN that has no data
 * behind it, and ignores this message everywhere else.
 */
const NO_COPY = frontend.copyFail('the page sends no COPY data');

/** The base of Engine and WorkerEngine. */
export class Session {
  #locked = Promise.resolve();
  #notificationListeners = new Set();
  #channels = new Map();

  /** Settled when the engine can be used: create() has waited for it already. */
  get waitReady() {
    return Promise.resolve();
  }

  get ready() {
    return true;
  }

  /**
   * Runs `work` alone: everybody else who uses this lock waits, the page's own query(), exec()
   * and transaction() among them. Inside of it use execProtocolRaw, not those.
   */
  runExclusive(work) {
    const result = this.#locked.then(() => work());
    this.#locked = result.then(() => {}, () => {});
    return result;
  }

  /**
   * Runs one statement. Parameters ($1, …) are sent as text: objects as JSON, arrays as arrays
   * of Postgres, null and undefined as NULL.
   *
   * @returns {Promise<{rows: object[], fields: object[], affectedRows: number}>}
   * @throws {DatabaseError}
   */
  query(sql, parameters = []) {
    return this.runExclusive(() => this.#query(sql, parameters));
  }

  /** Runs the statements of `sql`. Gives a result for each. */
  exec(sql) {
    return this.runExclusive(() => this.#exec(sql));
  }

  /** Runs `work({query, exec})` in a transaction, which ends with a rollback where it throws. */
  transaction(work) {
    return this.runExclusive(async () => {
      await this.#exec('begin');
      try {
        const result = await work({
          query: (sql, parameters = []) => this.#query(sql, parameters),
          exec: (sql) => this.#exec(sql),
        });
        await this.#exec('commit');
        return result;
      } catch (error) {
        await this.#exec('rollback');
        throw error;
      }
    });
  }

  /**
   * `listener(channel, payload)` hears every notification, before the call that brought it
   * resolves. Returns a function that ends it.
   */
  onNotification(listener) {
    this.#notificationListeners.add(listener);
    return () => this.#notificationListeners.delete(listener);
  }

  /** LISTENs, also after a restart. Returns a function that ends it. */
  async listen(channel, listener) {
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(listener));
    await this.exec(`listen ${identifier(channel)}`);
    return () => this.unlisten(channel, listener);
  }

  /** Ends what listen() began: of one listener, or of all of that channel. */
  async unlisten(channel, listener) {
    const listeners = this.#channels.get(channel);
    listeners?.delete(listener);
    if (listener === undefined || listeners?.size === 0) {
      this.#channels.delete(channel);
      await this.exec(`unlisten ${identifier(channel)}`);
    }
  }

  /** For those who are this class: a notification came. */
  notify(channel, payload) {
    const listeners = [...this.#notificationListeners].map((listener) => () =>
      listener(channel, payload));
    for (const listener of this.#channels.get(channel) ?? []) {
      listeners.push(() => listener(payload));
    }
    for (const tell of listeners) {
      // In a task of its own an error of a listener is the page's, not the query's.
      try {
        tell();
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** For those who are this class: what a new session must run. */
  listenStatements() {
    return [...this.#channels.keys()].map((channel) => `listen ${identifier(channel)}`);
  }

  async #query(sql, parameters) {
    const bytes = concat(
      frontend.parse(sql),
      frontend.bind(parameters.map(parameterText)),
      frontend.describePortal(),
      frontend.execute(),
      frontend.sync(),
    );
    const reply = await this.execProtocolRaw(concat(bytes, NO_COPY, frontend.sync()));
    const { results, notices, error } = readResults(reply);
    if (error !== undefined) {
      throw error;
    }
    return { ...(results[0] ?? { rows: [], fields: [], affectedRows: 0 }), notices };
  }

  async #exec(sql) {
    const reply = await this.execProtocolRaw(concat(frontend.query(sql), NO_COPY));
    const { results, error } = readResults(reply);
    if (error !== undefined) {
      throw error;
    }
    return results;
  }
}

function identifier(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

function parameterText(value) {
  if (value === null || value === undefined) {
    return null;
  }
  if (Array.isArray(value)) {
    const items = value.map((item) => {
      const text = parameterText(item);
      return text === null ? 'NULL' : Array.isArray(item) ? text : quoted(text);
    });
    return `{${items.join(',')}}`;
  }
  if (value instanceof Date) {
    return value.toISOString();
  }
  if (value instanceof Uint8Array) {
    return `\\x${[...value].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function quoted(item) {
  return `"${item.replace(/["\\]/g, '\\$&')}"`;
}
