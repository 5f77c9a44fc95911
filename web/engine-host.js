/**
 * Runs the calls that come over an engine stream on the page's database.
 *
 * The relay decides everything: whose turn it is, what a call is, what each client must see. Here
 * calls are gathered, run one after another, and answered. While the relay holds the engine, the
 * page's own queries wait (`runExclusive`).
 *
 * @module
 */

import { concat, encodeAtMost, printable } from "./frames.js";
import {
    RecordDecoder, RecordType, errorMessage, finalStatus, jsonRecord, notificationMessage,
    queryMessage, readRows, readyMessage, record, recordHeader, sqlIdentifier, sqlLiteral,
    syncMessage,
} from "./records.js";

/** Replies up to this size are copied, so that the engine may use its buffer again. Bytes. */
const copiedReplyBytes = 64 * 1024;
/** The next call waits until no more than this of earlier replies waits for its way out. */
const queuedReplyBytes = 128 * 1024;
/** Bytes of calls that wait for their turn before further ones get no credit. */
const waitingCallBytes = 1024 * 1024;
/** Jobs that wait for their turn. A relay sends few; more is a broken one. */
const maximumJobs = 10_000;
/** Bytes of a ReadyForQuery. */
const readyBytes = 6;
/** How long the page's transaction is left alone before it is looked at again. Milliseconds. */
const holdAgainAfter = 20;

/**
 * The page's database: its lock, its calls, its restarts. Outlives the streams that use it.
 */
export class Engine {
    #db;
    #restart;
    #letGo = null;
    #unsubscribe = null;
    #isCalling = false;
    #isRestarting = false;
    #hasRestarted = false;
    /** The transaction status after the last call; what runs outside is not seen. */
    status = "I";
    /** Told notifications that came up outside of our calls. */
    onNotification = null;
    /** Told that the engine restarted outside of our calls. */
    onRestart = null;

    /**
     * @param {object} db Anything with PGlite's `execProtocolRaw`.
     * @param {(() => unknown) | undefined} restart
     */
    constructor(db, restart) {
        this.#restart = restart;
        this.#adopt(db);
    }

    #adopt(db) {
        this.#unsubscribe?.();
        this.#db = db;
        this.#unsubscribe = null;
        const ends = [
            db.onNotification?.((channel, payload) => this.#heardNotification(channel, payload)),
            db.onRestart?.(() => this.#heardRestart()),
        ];
        this.#unsubscribe = () => {
            for (const end of ends) if (typeof end === "function") end();
        };
    }

    /** Those of our own calls are in the replies. While we hold the engine nobody else runs. */
    #heardNotification(channel, payload) {
        if (this.#letGo === null && !this.#isCalling) this.onNotification?.(channel, payload ?? "");
    }

    /** The engine has started a new session by itself: after a fault, or to give memory back. */
    #heardRestart() {
        this.status = "I";
        if (this.#isRestarting) return;
        if (this.#isCalling) this.#hasRestarted = true;
        else this.onRestart?.();
    }

    /** Whether the engine restarted in the call that has just ended; told once. */
    takeRestart() {
        const hasRestarted = this.#hasRestarted;
        this.#hasRestarted = false;
        return hasRestarted;
    }

    get canHold() {
        return typeof this.#db.runExclusive === "function";
    }
    get canRestart() {
        return this.#restart !== undefined || typeof this.#db.restart === "function";
    }
    get isHeld() {
        return this.#letGo !== null;
    }

    /** Keeps the page's own queries out until `release()`. */
    hold() {
        if (this.#letGo !== null) return Promise.resolve();
        if (!this.canHold) {
            this.#letGo = () => {};
            return Promise.resolve();
        }
        return new Promise((resolve, reject) => {
            const whole = this.#db.runExclusive(() => new Promise((letGo) => {
                this.#letGo = letGo;
                resolve();
            }));
            // A lock that is refused must not leave anybody waiting.
            Promise.resolve(whole).catch(reject);
        });
    }

    release() {
        const letGo = this.#letGo;
        this.#letGo = null;
        letGo?.();
    }

    /**
     * One call.
     *
     * Nothing is written to the browser's storage in the middle of a transaction. When one is over,
     * its call waits until the file system has it, so that a client that was told COMMIT can rely
     * on it; that is what PGlite does for the page's own queries.
     *
     * @param {Uint8Array} bytes Whole messages.
     * @returns {Promise<Uint8Array>}
     */
    async call(bytes) {
        const db = this.#db;
        const syncsApart = typeof db.syncToFs === "function";
        this.#isCalling = true;
        try {
            const options = { syncToFs: !syncsApart, throwOnError: false };
            const reply = await db.execProtocolRaw(bytes, options);
            if (this.#note(finalStatus(reply)) && syncsApart) await db.syncToFs();
            return reply;
        } catch (error) {
            return await this.#errorReply(error);
        } finally {
            this.#isCalling = false;
        }
    }

    /** Whether replies can come piece by piece, each when the one before has been taken. */
    get streamsReplies() {
        const db = this.#db;
        // An engine that knows that it cannot wait would only pile its pieces up.
        const waits = db.canSuspend ?? db.streamsReplies === true;
        return waits === true && typeof db.execProtocolRawStream === "function";
    }

    /**
     * One call whose reply comes in pieces.
     *
     * PGlite's own `execProtocolRawStream` is not used: it keeps its callback for the page's later
     * queries. An engine that `streamsReplies` gives its next piece when the promise that `take`
     * returned is fulfilled.
     *
     * @param {Uint8Array} bytes
     * @param {(piece: Uint8Array) => Promise<void> | undefined} take
     */
    async callInPieces(bytes, take) {
        const db = this.#db;
        const syncsApart = typeof db.syncToFs === "function";
        let ending = new Uint8Array(0);
        let withheld = new Uint8Array(0);
        this.#isCalling = true;
        try {
            await db.execProtocolRawStream(bytes, {
                syncToFs: !syncsApart,
                throwOnError: false,
                // `take` is done with a piece when its promise is fulfilled.
                recyclesPieces: true,
                onRawData: (piece) => {
                    const whole = withheld.length > 0 ? concat([withheld, piece]) : piece;
                    ending = whole.length < readyBytes
                        ? concat([ending, whole]).slice(-readyBytes) : whole.slice(-readyBytes);
                    // The last message waits until what it says is on the disk.
                    const cut = whole.length - (syncsApart ? endingReady(whole) : 0);
                    withheld = whole.slice(cut);
                    return take(whole.subarray(0, cut));
                },
            });
            if (this.#note(finalStatus(ending)) && syncsApart) await db.syncToFs();
            await take(withheld);
        } catch (error) {
            await take(await this.#errorReply(error));
        } finally {
            this.#isCalling = false;
        }
    }

    /** @returns {boolean} Whether a transaction is over. */
    #note(status) {
        if (status !== null) this.status = status;
        return status === "I";
    }

    /** An error of SQL that came as an exception becomes a reply again; any other is a fault. */
    async #errorReply(error) {
        const isSQL = typeof error?.code === "string" && /^[0-9A-Z]{5}$/.test(error.code) &&
            typeof error.severity === "string" && typeof error.message === "string";
        if (!isSQL) throw error;
        const ready = await this.#db.execProtocolRaw(
            syncMessage, { syncToFs: false, throwOnError: false });
        this.#note(finalStatus(ready));
        return concat([errorMessage(error.code, error.message, error.detail), ready]);
    }

    /** A fresh session. `options.restart` may bring another database object. */
    async restart() {
        let answer;
        this.#isRestarting = true;
        try {
            answer = this.#restart !== undefined
                ? await this.#restart() : await this.#db.restart();
        } finally {
            this.#isRestarting = false;
        }
        this.status = "I";
        if (typeof answer?.execProtocolRaw !== "function" || answer === this.#db) return;
        const wasHeld = this.isHeld;
        this.release();
        await answer.waitReady;
        this.#adopt(answer);
        if (wasHeld) await this.hold();
    }

    close() {
        this.release();
        this.#unsubscribe?.();
        this.onNotification = null;
        this.onRestart = null;
    }
}

/** How many bytes at the end may be, or begin, a ReadyForQuery. */
function endingReady(bytes) {
    const start = readyMessage("I").subarray(0, readyBytes - 1);
    for (let length = Math.min(readyBytes, bytes.length); length > 0; length -= 1) {
        const end = bytes.subarray(bytes.length - length);
        if (start.every((byte, at) => at >= length || end[at] === byte)) return length;
    }
    return 0;
}

/**
 * What the page's session was like before clients used it, and how it gets that back when the
 * relay, which would see to it, is gone.
 */
class SessionBaseline {
    static #query = `SELECT 'setting', name, setting FROM pg_catalog.pg_settings
        WHERE source = 'session' AND context IN ('user', 'superuser')
        AND name NOT LIKE 'transaction%'
        UNION ALL SELECT 'role', 'role', pg_catalog.current_setting('role')
        UNION ALL SELECT 'user', '', session_user
        UNION ALL SELECT 'has', 'temp', '' WHERE EXISTS (
            SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())
        UNION ALL SELECT 'has', 'cursor', '' FROM pg_catalog.pg_cursors WHERE is_holdable
        UNION ALL SELECT 'has', 'lock', '' FROM pg_catalog.pg_locks WHERE locktype = 'advisory'
        UNION ALL SELECT 'statement', name, '' FROM pg_catalog.pg_prepared_statements
            WHERE name ~ '^pgs[0-9]+_[0-9]+$'`;

    #rows;

    constructor(rows) {
        this.#rows = rows;
    }

    /** @returns {Promise<SessionBaseline | null>} null where the engine cannot say. */
    static async read(engine) {
        const rows = readRows(await engine.call(queryMessage(SessionBaseline.#query)));
        if (rows === null) return null;
        await SessionBaseline.#deallocate(engine, rows);
        return new SessionBaseline(rows);
    }

    /** Statements of clients of an earlier tunnel: their names will be wanted again. */
    static async #deallocate(engine, rows) {
        const names = rows.filter(([kind]) => kind === "statement").map(([, name]) => name);
        for (const name of names) {
            await engine.call(queryMessage(`DEALLOCATE ${sqlIdentifier(name)}`));
        }
    }

    #has(what) {
        return this.#rows.some(([kind, name]) => kind === "has" && name === what);
    }

    async restore(engine) {
        const statements = ["RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL"];
        if (!this.#has("cursor")) statements.push("CLOSE ALL");
        if (!this.#has("temp")) statements.push("DISCARD TEMP");
        if (!this.#has("lock")) statements.push("SELECT pg_catalog.pg_advisory_unlock_all()");
        for (const [kind, name, value] of this.#rows) {
            if (kind !== "setting" && kind !== "role") continue;
            if (kind === "role" && value === "none") continue;
            const literals = `${sqlLiteral(name)}, ${sqlLiteral(value ?? "")}`;
            statements.push(`SELECT pg_catalog.set_config(${literals}, false)`);
        }
        for (const sql of statements) await engine.call(queryMessage(sql));
        // Reading also lets go of the statements that the clients left.
        await SessionBaseline.read(engine);
    }
}

/**
 * One engine stream: records in, calls on the engine, records out.
 *
 * @typedef {object} Port The stream, as the host sees it.
 * @property {(bytes: Uint8Array) => void} send Queues; goes out with the next `flush()`.
 * @property {() => void} flush
 * @property {(bytes: number) => void} consumed Gives credit back.
 * @property {() => number} queuedBytes
 * @property {(atMost: number) => Promise<void>} drained Also when the stream has ended.
 * @property {(text: string) => void} fail Ends the stream: the relay broke its rules.
 */
export class EngineHost {
    #engine;
    #port;
    #maximumCallBytes;
    #onEvent;
    #sleep;
    #decoder = new RecordDecoder();
    /** What the next call is made of. */
    #parts = [];
    #partBytes = 0;
    #isOverflown = false;
    #jobs = [];
    /** Bytes of the calls that wait, and bytes that get credit once they are fewer. */
    #waitingBytes = 0;
    #uncredited = 0;
    #isEnded = false;
    #wake = null;
    /** HELD was said, and no RELEASE came since: an open transaction is a client's. */
    #isServing = false;
    #baseline;
    /** Fulfilled when the stream has ended and the engine is the page's again. */
    finished;

    /**
     * @param {object} setup
     * @param {Engine} setup.engine
     * @param {Port} setup.port
     * @param {number} setup.maximumCallBytes
     * @param {(event: object) => void} setup.onEvent EVENT records, faults, restarts.
     * @param {(milliseconds: number) => Promise<void>} setup.sleep
     * @param {Promise<void>} setup.after The host before this one must have finished.
     */
    constructor({ engine, port, maximumCallBytes, onEvent, sleep, after }) {
        this.#engine = engine;
        this.#port = port;
        this.#maximumCallBytes = maximumCallBytes;
        this.#onEvent = onEvent;
        this.#sleep = sleep;
        this.finished = after.then(() => this.#run());
    }

    /** Bytes of the stream. */
    receive(bytes) {
        if (this.#isEnded) return;
        let records;
        try {
            records = this.#decoder.receive(bytes);
        } catch (error) {
            this.#port.fail(error.message);
            return;
        }
        let gathered = 0;
        for (const { type, payload } of records) {
            if (type === RecordType.data) {
                gathered += payload.length;
                this.#gather(payload);
            } else {
                this.#receiveOther(type, payload);
            }
            if (this.#isEnded) return;
        }
        this.#credit(bytes.length, gathered);
        this.#wake?.();
    }

    /** Calls that wait get no more credit than they need: the relay waits, not the memory. */
    #credit(bytes, gathered) {
        const withheld = this.#waitingBytes > waitingCallBytes ? gathered : 0;
        this.#uncredited += withheld;
        this.#port.consumed(bytes - withheld);
    }

    #gather(payload) {
        this.#partBytes += payload.length;
        if (this.#isOverflown || this.#partBytes > this.#maximumCallBytes) {
            this.#isOverflown = true;
            this.#parts = [];
            return;
        }
        this.#parts.push(payload);
    }

    #dropParts() {
        this.#parts = [];
        this.#partBytes = 0;
        this.#isOverflown = false;
    }

    #receiveOther(type, payload) {
        switch (type) {
            case RecordType.run:
                this.#addCall();
                return;
            case RecordType.drop:
                this.#dropParts();
                return;
            case RecordType.event:
                this.#tellEvent(payload);
                return;
            default:
                this.#addJob({ type });
        }
    }

    #addCall() {
        const job = { type: RecordType.run, parts: this.#parts, isOverflown: this.#isOverflown };
        job.bytes = this.#isOverflown ? 0 : this.#partBytes;
        this.#waitingBytes += job.bytes;
        this.#dropParts();
        this.#addJob(job);
    }

    #addJob(job) {
        if (this.#jobs.length >= maximumJobs) {
            this.#port.fail("too many records wait");
            return;
        }
        this.#jobs.push(job);
    }

    #tellEvent(payload) {
        try {
            const event = JSON.parse(new TextDecoder().decode(payload));
            if (typeof event?.event === "string") this.#onEvent({ ...event, type: event.event });
        } catch {
            // Words for people. A relay that garbles them does no harm.
        }
    }

    /** The stream has ended. What runs cannot be interrupted; what waits is forgotten. */
    end() {
        this.#isEnded = true;
        this.#jobs = [];
        this.#dropParts();
        this.#wake?.();
    }

    // Jobs, one after another.

    async #run() {
        this.#engine.onNotification = (channel, payload) => this.#notify(channel, payload);
        this.#engine.onRestart = () => this.#tellRestarted();
        while (!this.#isEnded) {
            const job = this.#jobs.shift();
            if (job === undefined) {
                await new Promise((resolve) => { this.#wake = resolve; });
                this.#wake = null;
                continue;
            }
            await this.#perform(job);
            this.#port.flush();
        }
        this.#engine.onNotification = null;
        this.#engine.onRestart = null;
        await this.#giveBack();
    }

    async #perform(job) {
        try {
            switch (job.type) {
                case RecordType.hold: return await this.#hold();
                case RecordType.release: return this.#release();
                case RecordType.restart: return await this.#restart();
                case RecordType.run: return await this.#runCall(job);
            }
        } catch (error) {
            this.#fault(error);
        }
    }

    async #hold() {
        while (!this.#isEnded) {
            await this.#engine.hold();
            if (this.#isEnded) return;
            // A transaction of the page leaves the lock between its queries.
            const status = finalStatus(await this.#engine.call(syncMessage));
            if (status === "I" || status === null) break;
            this.#engine.release();
            await this.#sleep(holdAgainAfter);
        }
        if (this.#isEnded) return;
        if (this.#baseline === undefined) {
            this.#baseline = await SessionBaseline.read(this.#engine).catch(() => null);
        }
        this.#isServing = true;
        this.#port.send(record(RecordType.held));
    }

    #release() {
        this.#isServing = false;
        this.#engine.release();
    }

    async #restart() {
        if (!this.#engine.canRestart) throw new Error("this engine cannot be restarted");
        await this.#engine.restart();
        this.#tellRestarted();
    }

    #tellRestarted() {
        if (this.#isEnded) return;
        this.#port.send(record(RecordType.restarted));
        this.#port.flush();
        this.#onEvent({ type: "engine-restarted" });
    }

    async #runCall(job) {
        const bytes = job.parts.length === 1 ? job.parts[0] : concat(job.parts);
        job.parts = null;
        this.#waitingBytes -= job.bytes;
        if (this.#uncredited > 0 && this.#waitingBytes <= waitingCallBytes) {
            this.#port.consumed(this.#uncredited);
            this.#uncredited = 0;
        }
        // Behind a HOLD that failed the engine is the page's: its answer is void, as PROTOCOL.md says.
        const isOurs = this.#isServing || !this.#engine.canHold;
        if (isOurs && job.isOverflown) this.#refuseCall();
        else if (isOurs && bytes.length > 0) await this.#call(bytes);
        // Ahead of DONE: what the relay calls next must not count on what the session had.
        if (this.#engine.takeRestart()) this.#tellRestarted();
        this.#port.send(record(RecordType.done));
        this.#port.flush();
        await this.#port.drained(queuedReplyBytes);
    }

    async #call(bytes) {
        if (this.#engine.streamsReplies) {
            await this.#engine.callInPieces(bytes, (piece) => this.#reply(piece));
            return;
        }
        await this.#reply(await this.#engine.call(bytes));
    }

    /**
     * Small pieces are copied and leave with what comes behind them. Larger ones go by reference:
     * the engine, which may use its buffer again, gets no further call until they are on their way.
     */
    #reply(bytes) {
        if (bytes.length === 0 || this.#isEnded) return undefined;
        const port = this.#port;
        if (bytes.length <= copiedReplyBytes) {
            port.send(record(RecordType.reply, bytes));
            if (port.queuedBytes() <= queuedReplyBytes) return undefined;
            port.flush();
            return port.drained(queuedReplyBytes);
        }
        port.send(recordHeader(RecordType.reply, bytes.length));
        port.send(bytes);
        port.flush();
        return port.drained(0);
    }

    #refuseCall() {
        const limit = `a call may have ${this.#maximumCallBytes} bytes in this browser`;
        const text = "too many bytes in one statement for the database in the browser";
        this.#port.send(record(RecordType.reply, concat([
            errorMessage("54000", text, limit), readyMessage(this.#engine.status)])));
    }

    #fault(error) {
        const text = printable(String(error?.message ?? error)) || "the engine failed";
        const message = new TextDecoder().decode(encodeAtMost(text, 1024));
        const hasRestarted = this.#engine.takeRestart();
        const restarted = error?.restarted === true || hasRestarted;
        this.#port.send(jsonRecord(RecordType.fault, { message, restarted }));
        this.#onEvent({ type: "engine-fault", message, restarted });
    }

    #notify(channel, payload) {
        if (this.#isEnded) return;
        this.#port.send(record(RecordType.notify, notificationMessage(channel, payload)));
        this.#port.flush();
    }

    /** The relay is gone: a client's transaction is rolled back, and its settings are undone. */
    async #giveBack() {
        const engine = this.#engine;
        try {
            if (!this.#isServing) return;
            const status = finalStatus(await engine.call(syncMessage));
            if (status !== "I") await engine.call(queryMessage("ROLLBACK"));
            await this.#baseline?.restore(engine);
        } catch {
            // A broken engine has no session to give back.
        } finally {
            engine.release();
        }
    }
}
