import assert from "node:assert/strict";
import test from "node:test";
import { Engine, EngineHost } from "../engine-host.js";
import {
    RecordType, jsonRecord, message, queryMessage, readyMessage, record,
} from "../records.js";
import { concat } from "../frames.js";
import { FakeDB } from "./support/fake-db.mjs";

/** A host, a fake database, and the records that came out. */
function hosted({ db = new FakeDB(), restart, maximumCallBytes = 1_000_000 } = {}) {
    const engine = new Engine(db, restart);
    const out = [];
    const events = [];
    const failures = [];
    let consumed = 0;
    let onRecord = () => {};
    let bytes = new Uint8Array(0);
    const port = {
        send(part) {
            bytes = concat([bytes, part]);
            while (bytes.length >= 5) {
                const end = 5 + new DataView(bytes.buffer).getUint32(1);
                if (bytes.length < end) return;
                out.push({ type: bytes[0], payload: bytes.slice(5, end) });
                bytes = bytes.slice(end);
                onRecord();
            }
        },
        flush() {},
        consumed(count) { consumed += count; },
        queuedBytes: () => 0,
        drained: () => port.gate?.() ?? Promise.resolve(),
        fail(text) { failures.push(text); },
    };
    const host = new EngineHost({
        engine, port, maximumCallBytes, after: Promise.resolve(),
        onEvent: (event) => events.push(event),
        sleep: () => new Promise((resolve) => setImmediate(resolve)),
    });
    /** Waits until a record of that type is there, and takes all up to it. */
    const until = async (type) => {
        for (;;) {
            const at = out.findIndex((one) => one.type === type);
            if (at >= 0) return out.splice(0, at + 1);
            await new Promise((resolve) => { onRecord = resolve; });
        }
    };
    return {
        db, engine, host, port, events, failures, out, until,
        give: (...records) => host.receive(concat(records)),
        consumed: () => consumed,
    };
}

const hold = record(RecordType.hold);
const run = record(RecordType.run);
const release = record(RecordType.release);
const call = (sql) => concat([record(RecordType.data, queryMessage(sql)), run]);
const types = (records) => records.map(({ type }) => type);
const isTold = (calls) => calls.filter((sql) => !sql.startsWith("SELECT 'setting'"));

test("HOLD, a call, RELEASE: the page's own query waits until then", async () => {
    const { db, give, until, consumed } = hosted();
    give(hold, call("SELECT 1"));
    await until(RecordType.held);
    const page = db.query("SELECT page");
    const answer = await until(RecordType.done);
    assert.deepEqual(types(answer), [RecordType.reply, RecordType.done]);
    assert.deepEqual(isTold(db.calls), ["sync", "SELECT 1"]);
    give(release);
    await page;
    assert.equal(db.calls.at(-1), "SELECT page");
    assert.equal(consumed(), concat([hold, call("SELECT 1"), release]).length);
});

test("a call is what was gathered since the last; DROP forgets it", async () => {
    const { db, give, until } = hosted();
    const bytes = queryMessage("SELECT 'in two parts'");
    give(hold, record(RecordType.data, queryMessage("never")), record(RecordType.drop));
    give(record(RecordType.data, bytes.subarray(0, 9)));
    give(record(RecordType.data, bytes.subarray(9)), run, call("SELECT 2"));
    await until(RecordType.done);
    await until(RecordType.done);
    assert.deepEqual(isTold(db.calls), ["sync", "SELECT 'in two parts'", "SELECT 2"]);
});

test("a transaction of the page is not entered", async () => {
    const { db, give, until, out } = hosted();
    await db.query("BEGIN");
    give(hold);
    await new Promise((resolve) => setImmediate(resolve));
    await db.query("SELECT page");
    assert.deepEqual(out, []);
    await db.query("COMMIT");
    await until(RecordType.held);
    assert.equal(db.status, "I");
});

test("a fault ends the call, and the next one runs", async () => {
    const { give, until, events } = hosted();
    give(hold, call("TRAP"), call("SELECT 1"));
    const records = await until(RecordType.done);
    assert.deepEqual(
        types(records), [RecordType.held, RecordType.fault, RecordType.reply, RecordType.done]);
    const fault = JSON.parse(new TextDecoder().decode(records[1].payload));
    assert.deepEqual(fault, { message: "unreachable executed", restarted: false });
    assert.equal(events[0].type, "engine-fault");
});

test("a call behind a HOLD that failed is not run", async () => {
    const db = new FakeDB();
    db.runExclusive = () => Promise.reject(new Error("no lock"));
    const { give, until } = hosted({ db });
    give(hold, call("DROP TABLE of_the_page"));
    const records = await until(RecordType.done);
    assert.deepEqual(types(records), [RecordType.fault, RecordType.done]);
    assert.deepEqual(db.calls, []);
});

test("an error of SQL that came as an exception is a reply", async () => {
    const db = new FakeDB();
    const exec = db.execProtocolRaw.bind(db);
    db.execProtocolRaw = async (bytes) => {
        if (bytes[0] === 0x53) return await exec(bytes);
        throw Object.assign(new Error("no such table"), { code: "42P01", severity: "ERROR" });
    };
    const { give, until } = hosted({ db });
    give(hold, call("SELECT x"));
    const [, reply] = await until(RecordType.done);
    assert.equal(reply.type, RecordType.reply);
    assert.match(new TextDecoder().decode(reply.payload), /C42P01\0Mno such table/);
});

test("RESTART restarts, or says that it cannot", async () => {
    const can = hosted();
    can.give(record(RecordType.restart));
    await can.until(RecordType.restarted);
    assert.equal(can.db.restarts, 1);
    const db = new FakeDB();
    db.restart = undefined;
    const cannot = hosted({ db });
    cannot.give(record(RecordType.restart));
    await cannot.until(RecordType.fault);
});

test("options.restart may bring another database, which is held like the old one", async () => {
    const fresh = new FakeDB();
    const { give, until } = hosted({ restart: async () => fresh });
    give(hold, record(RecordType.restart), call("SELECT 1"));
    await until(RecordType.done);
    const page = fresh.query("SELECT page");
    give(call("SELECT 2"), release);
    await page;
    assert.deepEqual(fresh.calls, ["SELECT 1", "SELECT 2", "SELECT page"]);
});

test("an engine that restarted by itself says so ahead of the call's end", async () => {
    const db = new FakeDB();
    let tell;
    db.onRestart = (listener) => { tell = listener; };
    const { give, until } = hosted({ db });
    give(hold);
    await until(RecordType.held);
    db.gate = async () => tell({ reason: "memory" });
    give(call("SELECT 1"));
    const records = await until(RecordType.done);
    assert.deepEqual(
        types(records), [RecordType.reply, RecordType.restarted, RecordType.done]);
    tell({ reason: "asked" });
    await until(RecordType.restarted);
});

test("more bytes than a call may have are an error of the statement", async () => {
    const { db, give, until, consumed } = hosted({ maximumCallBytes: 1000 });
    const huge = record(RecordType.data, new Uint8Array(2000));
    give(hold, huge, run, call("SELECT 1"));
    const [, reply] = await until(RecordType.done);
    assert.match(new TextDecoder().decode(reply.payload), /C54000\0/);
    assert.deepEqual([...reply.payload.slice(-6)], [...readyMessage("I")]);
    await until(RecordType.done);
    assert.equal(db.calls.at(-1), "SELECT 1");
    assert.equal(consumed(), concat([hold, huge, run, call("SELECT 1")]).length);
});

test("calls that wait get no credit beyond 1 MiB", async () => {
    const { db, give, until, consumed } = hosted();
    let open;
    db.gate = () => new Promise((resolve) => { open = resolve; });
    give(hold);
    const body = message("Q", new Uint8Array(600_000));
    const one = concat([record(RecordType.data, body), run]);
    give(one);
    give(one);
    give(one);
    const withheld = 5 + 3 * one.length - consumed();
    assert.equal(withheld, 2 * body.length);
    while (open === undefined) await new Promise((resolve) => setImmediate(resolve));
    db.gate = undefined;
    open();
    for (let count = 0; count < 3; count += 1) await until(RecordType.done);
    assert.equal(consumed(), 5 + 3 * one.length);
});

test("a big reply goes by reference, and the next call waits until it is gone", async () => {
    const { db, give, until, port } = hosted();
    let open;
    give(hold);
    await until(RecordType.held);
    port.gate = () => new Promise((resolve) => { open = resolve; });
    give(call("BIG 300000"), call("SELECT 2"));
    const [reply] = await until(RecordType.reply);
    assert.equal(reply.payload.length, 300_000 + 5 + 9 + 6);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(db.calls.includes("SELECT 2"), false);
    port.gate = undefined;
    open();
    await until(RecordType.done);
    await until(RecordType.done);
    assert.equal(db.calls.at(-1), "SELECT 2");
});

test("an engine that waits for its reader is read in pieces", async () => {
    const db = new FakeDB();
    db.streamsReplies = true;
    let waited = 0;
    db.execProtocolRawStream = async (bytes, { onRawData }) => {
        const reply = await db.execProtocolRaw(bytes);
        for (let at = 0; at < reply.length; at += 100_000) {
            waited += onRawData(reply.subarray(at, at + 100_000)) === undefined ? 0 : 1;
        }
    };
    const { give, until } = hosted({ db });
    give(hold, call("BIG 250000"));
    const records = await until(RecordType.done);
    const replies = records.filter(({ type }) => type === RecordType.reply);
    const whole = concat(replies.map(({ payload }) => payload));
    assert.equal(whole.length, 250_000 + 5 + 8 + 6 + 1);
    assert.deepEqual([...whole.slice(-6)], [...readyMessage("I")]);
    assert.equal(waited, 2);
    assert.equal(db.syncs > 0, true);
});

test("an engine that cannot wait for its reader is not read in pieces", async () => {
    const db = new FakeDB();
    db.streamsReplies = true;
    db.canSuspend = false;
    db.execProtocolRawStream = () => Promise.reject(new Error("was read in pieces"));
    const { give, until } = hosted({ db });
    give(hold, call("BIG 250000"));
    const records = await until(RecordType.done);
    assert.deepEqual(types(records), [RecordType.held, RecordType.reply, RecordType.done]);
});

test("what is committed is on the disk before the client hears of it", async () => {
    const { db, give, until, out } = hosted();
    give(hold);
    await until(RecordType.held);
    db.syncs = 0;
    let open;
    db.syncToFs = () => new Promise((resolve) => { open = resolve; });
    give(call("BEGIN"), call("INSERT"));
    await until(RecordType.done);
    await until(RecordType.done);
    assert.equal(open, undefined);
    give(call("COMMIT"));
    while (open === undefined) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(out, []);
    open();
    await until(RecordType.done);
});

test("NOTIFY of the page is told, that of a call is in its reply only", async () => {
    const { db, give, until } = hosted();
    give(hold, call("NOTIFY theirs"));
    const records = await until(RecordType.done);
    assert.equal(types(records).includes(RecordType.notify), false);
    give(release);
    await db.query("NOTIFY ours");
    const [notification] = await until(RecordType.notify);
    assert.match(new TextDecoder().decode(notification.payload), /^A.*news\0ours\0$/s);
});

test("events of the relay reach the page, garbled ones do not", async () => {
    const { give, events } = hosted();
    give(jsonRecord(RecordType.event, { event: "client-connected", client: 3, address: "a" }));
    give(record(RecordType.event, Uint8Array.of(1)));
    assert.deepEqual(
        events, [{ event: "client-connected", type: "client-connected", client: 3, address: "a" }]);
});

test("when the relay is gone, a client is rolled back and its traces go", async () => {
    const { db, give, until, host } = hosted();
    give(hold, call("BEGIN"));
    await until(RecordType.done);
    host.end();
    await host.finished;
    assert.equal(db.status, "I");
    const told = isTold(db.calls);
    assert.deepEqual(told.slice(0, 4), ["sync", "BEGIN", "sync", "ROLLBACK"]);
    assert.ok(told.includes("RESET ALL"));
    await db.query("SELECT page");
});

test("when the relay is gone while the page is in a transaction, that one goes on", async () => {
    const { db, give, host } = hosted();
    await db.query("BEGIN");
    give(hold);
    await new Promise((resolve) => setImmediate(resolve));
    host.end();
    await host.finished;
    assert.equal(db.status, "T");
    assert.equal(db.calls.includes("ROLLBACK"), false);
});

test("garbage ends the stream", () => {
    const { give, failures } = hosted();
    give(Uint8Array.of(RecordType.hold, 0xff, 0xff, 0xff, 0xff));
    assert.deepEqual(failures, ["a record is too long"]);
});
