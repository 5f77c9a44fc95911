import assert from "node:assert/strict";
import test from "node:test";
import { Share, ShareError, share } from "../pgshare.js";
import { RecordType, jsonRecord, queryMessage, record } from "../records.js";
import { FrameType, jsonFrame } from "../frames.js";
import { FakeDB } from "./support/fake-db.mjs";
import { FakeRelay } from "./support/fake-relay.mjs";

const token = "pgs_token";

/** Events in order, and a way to await one. */
function listening() {
    const events = [];
    const waiting = [];
    return {
        events,
        onEvent(event) {
            events.push(event);
            for (const tell of waiting.splice(0)) tell();
        },
        async until(type, count = 1) {
            const all = () => events.filter((event) => event.type === type);
            while (all().length < count) await new Promise((resolve) => waiting.push(resolve));
            return all()[count - 1];
        },
    };
}

/** What surrounds the SDK, with a page that can be told what happens to it. */
function environment(overrides = {}) {
    return {
        WebSocket, fetch, setTimeout, clearTimeout, now: () => Date.now(), random: () => 0,
        page: new EventTarget(),
        document: Object.assign(new EventTarget(), { visibilityState: "visible" }),
        ...overrides,
    };
}

async function withRelay(work) {
    const relay = await FakeRelay.start();
    try {
        await work(relay);
    } finally {
        await relay.stop();
    }
}

/** A share, its tunnel at the relay with the engine's stream open, and its events. */
async function shared(relay, { db = new FakeDB(), surroundings, ...options } = {}) {
    const heard = listening();
    const arrival = relay.nextTunnel();
    const one = await share(
        db, { relay: relay.url, token, onEvent: heard.onEvent, ...options },
        surroundings ?? environment());
    const tunnel = await arrival;
    tunnel.open();
    await tunnel.until(() => tunnel.accepted !== undefined);
    return { db, one, tunnel, heard };
}

test("a database is shared: the relay hears what it must, the page gets an address", () =>
    withRelay(async (relay) => {
        const { one, tunnel, heard } = await shared(
            relay, { name: "shop", expires: "8h", wait: 30, idle: "5s", exclusive: true });
        assert.deepEqual(relay.dials, [
            { path: "/v1/tunnel", protocols: ["pgshare.v1", `pgshare.token.${token}`] }]);
        const { verifier, ...hello } = tunnel.hello;
        assert.match(verifier, /^SCRAM-SHA-256\$4096:/);
        assert.deepEqual(hello, {
            auth: "scram", database: "app", user: "ann", maxConnections: 20, readOnly: false,
            allow: [], sessions: 1, exclusive: true, name: "shop", waitSeconds: 30,
            idleSeconds: 5, expiresIn: 28_800,
        });
        assert.deepEqual(tunnel.accepted, {
            window: 262_144,
            engine: { name: "pgshare.js", copyIn: true, restarts: true, holds: true },
        });
        assert.ok(one instanceof Share);
        assert.equal(one.state, "online");
        assert.match(one.password, /^[A-Za-z0-9]{24}$/);
        assert.equal(
            one.url,
            `postgres://ann.shop:${one.password}@db.example.com:5432/app?sslmode=require`);
        assert.equal(one.psql, `psql '${one.url}&channel_binding=require'`);
        assert.equal(one.expiresAt.getTime(), 1_900_000_000_000);
        assert.equal(heard.events[0].type, "shared");
        await one.close();
        assert.equal(one.state, "closed");
    }));

test("a client's query is answered, and the page hears of clients", () =>
    withRelay(async (relay) => {
        const db = new FakeDB();
        db.rows.set("SELECT 1", ["1"]);
        const { one, tunnel, heard } = await shared(relay, { db });
        const event = { event: "client-connected", client: 1, address: "192.0.2.1:5" };
        tunnel.give(jsonRecord(RecordType.event, event));
        await heard.until("client-connected");
        assert.equal(one.clients, 1);
        assert.match(new TextDecoder().decode(await tunnel.query("SELECT 1")), /^D.*1C.*SELECT/s);
        await one.close();
        assert.equal(one.clients, 0);
    }));

test("close() tells the relay at once, and the database is the page's again", () =>
    withRelay(async (relay) => {
        const { db, one, tunnel, heard } = await shared(relay);
        tunnel.give(record(RecordType.hold));
        await tunnel.recordsUntil(RecordType.held);
        await one.close();
        await tunnel.until(() => tunnel.goodbye !== null);
        assert.equal(tunnel.goodbye.code, "agent_stopped");
        assert.equal(heard.events.at(-1).type, "closed");
        await db.query("SELECT page");
    }));

test("a cut connection is resumed, and the answer to what ran comes whole", () =>
    withRelay(async (relay) => {
        const db = new FakeDB();
        const { one, tunnel, heard } = await shared(relay, { db });
        let open;
        db.gate = () => new Promise((resolve) => { open = resolve; });
        const reply = tunnel.query("BIG 3000000");
        while (open === undefined) await new Promise((resolve) => setImmediate(resolve));
        db.gate = undefined;
        open();
        open = undefined;
        await new Promise((resolve) => setImmediate(resolve));
        tunnel.socket.cut();
        await heard.until("tunnel-lost");
        await heard.until("tunnel-resumed");
        const bytes = await reply;
        assert.equal(bytes.length, 3_000_000 + 5 + 9 + 6);
        for (let at = 0; at < 3_000_000; at += 1) {
            if (bytes[at + 5] !== at % 251) assert.fail(`byte ${at} is wrong`);
        }
        assert.equal(one.state, "online");
        for (let count = 2; count <= 4; count += 1) {
            tunnel.socket.cut();
            await heard.until("tunnel-resumed", count);
        }
        assert.equal(tunnel.resumes, 4);
        assert.match(new TextDecoder().decode(await tunnel.query("SELECT 2")), /SELECT/);
        await one.close();
    }));

test("what cannot be resumed is shared anew, under the same id and until the same time", () =>
    withRelay(async (relay) => {
        const { db, one, tunnel, heard } = await shared(relay, { expires: 600 });
        tunnel.give(
            record(RecordType.hold), record(RecordType.data, queryMessage("BEGIN")),
            record(RecordType.run));
        await tunnel.recordsUntil(RecordType.done);
        tunnel.session = "forgotten";
        const arrival = relay.nextTunnel();
        tunnel.socket.cut();
        await heard.until("tunnel-expired");
        const next = await arrival;
        assert.equal(next.hello.id, one.id);
        assert.equal(next.hello.expiresAt, 1_900_000_000);
        assert.equal(next.hello.expiresIn, undefined);
        assert.equal(next.hello.verifier, tunnel.hello.verifier);
        await heard.until("reconnected");
        next.open();
        assert.match(new TextDecoder().decode(await next.query("SELECT 2")), /SELECT/);
        assert.equal(db.status, "I");
        assert.ok(db.calls.includes("ROLLBACK"));
        await one.close();
    }));

test("taken_over ends the share with its reason, and nothing is dialled again", () =>
    withRelay(async (relay) => {
        const { one, tunnel, heard } = await shared(relay);
        const message = "another agent has taken this share over; stop one of the two";
        tunnel.socket.send(
            jsonFrame(FrameType.error, { code: "taken_over", message, retry: false }));
        const event = await heard.until("closed");
        assert.deepEqual(event, { type: "closed", code: "taken_over", reason: message });
        assert.equal(one.state, "closed");
        assert.equal(relay.dials.length, 1);
    }));

test("an ERROR that may be retried is", () =>
    withRelay(async (relay) => {
        const { one, tunnel, heard } = await shared(relay);
        const arrival = relay.nextTunnel();
        tunnel.socket.send(jsonFrame(FrameType.error, {
            code: "relay_stopping", message: "the relay is restarting", retry: true }));
        await arrival;
        await heard.until("reconnected");
        assert.equal(
            heard.events.find(({ type }) => type === "retrying").reason,
            "the relay is restarting");
        await one.close();
    }));

test("a refusal that is final rejects share() with the relay's words", () =>
    withRelay(async (relay) => {
        relay.refusals.push({ code: "name_taken", message: "this name is taken", retry: false });
        await assert.rejects(
            share(new FakeDB(), { relay: relay.url, token }, environment()),
            (error) => error instanceof ShareError && error.code === "name_taken" &&
                error.message === "this name is taken");
    }));

test("a relay that hangs up or garbles its answer is dialled again", () =>
    withRelay(async (relay) => {
        relay.refusals.push("hang up", { code: 5 });
        const { one } = await shared(relay);
        assert.equal(relay.dials.length, 3);
        await one.close();
    }));

test("a bad token is told as what it probably is", () =>
    withRelay(async (relay) => {
        relay.isTokenGood = () => false;
        await assert.rejects(
            share(new FakeDB(), { relay: relay.url, token }, environment()),
            { code: "unauthorized", message: /most likely the token is wrong/ });
        await assert.rejects(
            share(new FakeDB(), { relay: relay.url, token: "not a token" }, environment()),
            { code: "unauthorized", message: /characters/ });
    }));

test("token() is asked anew where the last one was refused", () =>
    withRelay(async (relay) => {
        relay.isTokenGood = (shown) => shown === "fresh";
        const tokens = ["stale", "stale", "fresh"];
        const { one } = await shared(relay, { token: async () => tokens.shift() });
        assert.deepEqual(tokens, []);
        await one.close();
    }));

test("a relay that is not there is told apart from one that refuses", async () => {
    const relay = await FakeRelay.start();
    await relay.stop();
    await assert.rejects(
        share(new FakeDB(), { relay: relay.url, token, connectTimeout: 100 }, environment()),
        { code: "unreachable", message: /cannot be reached/ });
});

test("a relay that breaks the protocol is told so, and dialled again", () =>
    withRelay(async (relay) => {
        const { one, tunnel, heard } = await shared(relay);
        const arrival = relay.nextTunnel();
        const frames = [];
        tunnel.socket.onMessage = (bytes) => frames.push(bytes);
        tunnel.socket.send(Uint8Array.of(0x0a, 0, 0, 0, 0, 0, 0, 0));
        await arrival;
        await heard.until("reconnected");
        const said = Buffer.concat(frames).toString();
        assert.match(said, /"code":"unknown_frame_type"/);
        await one.close();
    }));

test("streams that a browser cannot serve are refused, a second engine too", () =>
    withRelay(async (relay) => {
        const { one, tunnel } = await shared(relay);
        for (const kind of ["session", "cancel", "engine"]) {
            tunnel.lastReset = undefined;
            tunnel.machine.open({ kind }, Date.now());
            tunnel.pump();
            await tunnel.until(() => tunnel.lastReset !== undefined);
            assert.equal(tunnel.lastReset.sqlState, "0A000");
        }
        assert.match(new TextDecoder().decode(await tunnel.query("SELECT 2")), /SELECT/);
        await one.close();
    }));

test("a client that does not read holds back its call, not the page's memory", () =>
    withRelay(async (relay) => {
        const { db, one, tunnel } = await shared(relay);
        tunnel.wantsCredit = false;
        const bytes = tunnel.query("BIG 8000000");
        const next = tunnel.query("SELECT 2");
        await tunnel.until(() => tunnel.unread?.length >= 262_144 - 100);
        assert.equal(db.calls.includes("SELECT 2"), false);
        tunnel.wantsCredit = true;
        tunnel.machine.consumed(tunnel.stream, 262_144, Date.now());
        tunnel.pump();
        assert.equal((await bytes).length, 8_000_000 + 5 + 9 + 6);
        assert.match(new TextDecoder().decode(await next), /SELECT/);
        await one.close();
    }));

test("no more than a little waits in a WebSocket that takes nothing", () =>
    withRelay(async (relay) => {
        let most = 0;
        let buffered = 0;
        class SlowSocket extends WebSocket {
            get bufferedAmount() { return buffered; }
            send(bytes) {
                super.send(bytes);
                buffered += bytes.length;
                most = Math.max(most, buffered);
            }
        }
        const drained = setInterval(() => {
            buffered = Math.max(0, buffered - 300_000);
        }, 1);
        const { one, tunnel } = await shared(
            relay, { surroundings: environment({ WebSocket: SlowSocket }) });
        assert.equal((await tunnel.query("BIG 5000000")).length, 5_000_000 + 5 + 9 + 6);
        clearInterval(drained);
        assert.ok(most <= 256 * 1024 + 65_536, `${most} bytes waited`);
        await one.close();
    }));

test("a page that goes away tells its clients; one that may come back is resumed", () =>
    withRelay(async (relay) => {
        const surroundings = environment();
        const { one, tunnel, heard } = await shared(relay, { surroundings });
        const kept = Object.assign(new Event("pagehide"), { persisted: true });
        surroundings.page.dispatchEvent(kept);
        await heard.until("tunnel-lost");
        assert.equal(tunnel.goodbye, null);
        assert.equal(relay.dials.length, 1);
        surroundings.page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
        await heard.until("tunnel-resumed");
        surroundings.page.dispatchEvent(
            Object.assign(new Event("pagehide"), { persisted: false }));
        const { reason } = await heard.until("closed");
        assert.equal(reason, "the page was closed");
        await tunnel.until(() => tunnel.goodbye !== null);
        assert.equal(tunnel.goodbye.code, "agent_stopped");
        assert.equal(one.state, "closed");
    }));

test("a tab that was frozen asks at once, and redials where there is no answer", () =>
    withRelay(async (relay) => {
        let skew = 0;
        const surroundings = environment({
            now: () => Date.now() + skew,
            // The five seconds of the question are over as soon as they are awaited.
            setTimeout: (verb, after) => setTimeout(() => {
                if (after > 4000 && after < 6000) skew += after;
                verb();
            }, after > 4000 && after < 6000 ? 1 : after),
        });
        const { one, tunnel, heard } = await shared(relay, { surroundings });
        const silent = tunnel.socket;
        silent.stall();
        surroundings.document.dispatchEvent(new Event("freeze"));
        // What was on its way when the relay fell silent may still count as an answer.
        while (!heard.events.some(({ type }) => type === "tunnel-lost")) {
            surroundings.document.dispatchEvent(new Event("resume"));
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        await heard.until("page-frozen");
        await heard.until("tunnel-resumed");
        assert.equal(tunnel.resumes, 1);
        surroundings.document.visibilityState = "hidden";
        surroundings.document.dispatchEvent(new Event("visibilitychange"));
        surroundings.page.dispatchEvent(new Event("offline"));
        surroundings.page.dispatchEvent(new Event("online"));
        await heard.until("page-hidden");
        await heard.until("online");
        await one.close();
    }));

test("`online` gives up a dial that hangs, and dials at once", () =>
    withRelay(async (relay) => {
        let skew = 0;
        const sockets = [];
        class Hanging extends EventTarget {
            close() {}
        }
        let hangs = false;
        const surroundings = environment({
            random: () => 1,
            now: () => Date.now() + skew,
            WebSocket: class {
                constructor(...setup) {
                    const socket = hangs ? new Hanging() : new WebSocket(...setup);
                    sockets.push(socket);
                    return socket;
                }
            },
            // Neither back-off nor the time of a dial ends by itself here.
            setTimeout: (verb, after) => setTimeout(verb, after >= 1000 ? 1_000_000 : after),
        });
        const { one, tunnel, heard } = await shared(relay, { surroundings });
        hangs = true;
        tunnel.socket.cut();
        await heard.until("tunnel-lost");
        while (sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
        hangs = false;
        skew = 2000;
        surroundings.page.dispatchEvent(new Event("online"));
        await heard.until("tunnel-resumed");
        assert.equal(sockets.length, 3);
        await one.close();
    }));

test("`online` ends the wait for the next dial", () =>
    withRelay(async (relay) => {
        const surroundings = environment({ random: () => 1 });
        const waits = [];
        surroundings.setTimeout = (verb, after) => {
            // Back-off never ends by itself here.
            if (after >= 1000 && after <= 4000) waits.push(after);
            return setTimeout(verb, after >= 1000 && after <= 4000 ? 1_000_000 : after);
        };
        const { one, tunnel, heard } = await shared(relay, { surroundings });
        relay.refusals.push("hang up", "hang up");
        tunnel.socket.cut();
        await heard.until("tunnel-lost");
        while (heard.events.at(-1).type !== "tunnel-resumed") {
            surroundings.page.dispatchEvent(new Event("online"));
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        assert.ok(waits.includes(1000) && waits.includes(2000));
        await one.close();
    }));

test("a listener of the page that throws does not hurt the tunnel", (context) =>
    withRelay(async (relay) => {
        const { promise, resolve } = Promise.withResolvers();
        const before = process.listeners("uncaughtException");
        process.removeAllListeners("uncaughtException");
        process.once("uncaughtException", resolve);
        context.after(() => {
            for (const listener of before) process.on("uncaughtException", listener);
        });
        const { one, tunnel } = await shared(
            relay, { onEvent: () => { throw new Error("the page's mistake"); } });
        assert.equal((await promise).message, "the page's mistake");
        process.on("uncaughtException", () => {});
        assert.match(new TextDecoder().decode(await tunnel.query("SELECT 2")), /SELECT/);
        await one.close();
    }));

for (const [what, options] of [
    ["a relay that is no URL", { relay: "relay" }],
    ["a relay elsewhere without TLS", { relay: "http://relay.example.com" }],
    ["a relay with a password", { relay: "https://a:b@relay.example.com" }],
    ["no token", { token: undefined }],
    ["a bad name", { name: "-a" }],
    ["a bad id", { id: "short" }],
    ["a short password", { password: "short" }],
    ["a password that needs SASLprep", { password: "pässwörd-pässwörd" }],
    ["a bad duration", { expires: "soon" }],
    ["a wait that is too long", { wait: "2h" }],
    ["no room for clients", { maxConnections: 0 }],
    ["a listener that is none", { onEvent: "log" }],
    ["networks that are no list", { allow: "192.0.2.0/24" }],
]) {
    test(`${what} is refused before anything is dialled`, async () => {
        const all = { relay: "https://relay.example.com", token, ...options };
        await assert.rejects(
            share(new FakeDB(), all, environment({ WebSocket: null })), TypeError);
    });
}

test("a db without execProtocolRaw is refused", async () => {
    await assert.rejects(share({}, { relay: "https://a.example", token }), TypeError);
});
