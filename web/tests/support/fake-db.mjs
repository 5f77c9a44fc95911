// A database of a few lines, in PGlite's manner: it knows the messages, not SQL.

import { concat } from "../../frames.js";
import { message, notificationMessage, readyMessage } from "../../records.js";

const encoder = new TextEncoder();
const text = (bytes) => new TextDecoder().decode(bytes);

function row(values) {
    const cells = values.map((value) => {
        const bytes = encoder.encode(value);
        const length = new Uint8Array(4);
        new DataView(length.buffer).setInt32(0, bytes.length);
        return concat([length, bytes]);
    });
    return message("D", concat([Uint8Array.of(0, values.length), ...cells]));
}

const done = (tag) => message("C", encoder.encode(`${tag}\0`));

export class FakeDB {
    /** What the calls were, as texts. */
    calls = [];
    status = "I";
    waitReady = Promise.resolve();
    rows = new Map([["SELECT pg_catalog.current_database(), session_user", ["app", "ann"]]]);
    #lock = Promise.resolve();
    #listeners = new Set();
    restarts = 0;
    syncs = 0;
    isRunning = false;

    /** One after the other, as PGlite's mutex does. */
    runExclusive(work) {
        const result = this.#lock.then(work);
        this.#lock = result.catch(() => {});
        return result;
    }

    onNotification(listener) {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    }

    notify(channel, payload) {
        for (const listener of this.#listeners) listener(channel, payload);
    }

    async syncToFs() {
        this.syncs += 1;
    }

    async restart() {
        this.restarts += 1;
        this.status = "I";
    }

    /** The page's own. */
    query(sql) {
        return this.runExclusive(() => this.#query(sql));
    }

    async execProtocolRaw(bytes) {
        if (this.isRunning) throw new Error("two calls at once");
        this.isRunning = true;
        try {
            await this.gate?.();
            return await this.#exec(bytes);
        } finally {
            this.isRunning = false;
        }
    }

    async #exec(bytes) {
        if (bytes[0] === 0x53) {
            this.calls.push("sync");
            return readyMessage(this.status);
        }
        const end = bytes.indexOf(0, 5);
        return await this.#query(text(bytes.subarray(5, end)));
    }

    async #query(sql) {
        this.calls.push(sql);
        if (sql === "BEGIN") this.status = "T";
        if (sql === "COMMIT" || sql === "ROLLBACK") this.status = "I";
        if (sql === "TRAP") throw new Error("unreachable executed");
        if (sql.startsWith("NOTIFY")) {
            this.notify("news", sql.slice(7));
            return concat([
                notificationMessage("news", sql.slice(7)), done("NOTIFY"),
                readyMessage(this.status)]);
        }
        const [, bytes] = /^BIG (\d+)$/.exec(sql) ?? [];
        if (bytes !== undefined) {
            const body = new Uint8Array(Number(bytes)).map((_, at) => at % 251);
            return concat([message("D", body), done("BIG"), readyMessage(this.status)]);
        }
        const values = this.rows.get(sql);
        const answer = values === undefined ? [] : [row(values)];
        return concat([...answer, done(sql.split(" ")[0]), readyMessage(this.status)]);
    }
}

