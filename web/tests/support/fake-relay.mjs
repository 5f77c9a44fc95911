// A relay in one process: a WebSocket server by hand over node:http, and the relay's machine.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";
import { FrameDecoder, FrameType, concat, jsonFrame, readJSON } from "../../frames.js";
import { RecordDecoder, RecordType, queryMessage, record } from "../../records.js";
import { RelayMachine } from "./relay-machine.mjs";

/** The server's end of a WebSocket. Source: RFC 6455. */
class ServerSocket {
    #socket;
    #unread = new Uint8Array(0);
    onMessage = () => {};
    onClose = () => {};
    isReading = true;

    constructor(socket) {
        this.#socket = socket;
        socket.on("data", (bytes) => this.#read(bytes));
        socket.on("close", () => this.onClose());
        socket.on("error", () => {});
    }

    /** Takes nothing more, as a relay that hangs. */
    stall() { this.#socket.pause(); }
    goOn() { this.#socket.resume(); }
    cut() { this.#socket.destroy(); }
    close() { this.#socket.end(Uint8Array.of(0x88, 0)); }

    send(payload) {
        const header = payload.length < 126
            ? Buffer.of(0x82, payload.length)
            : Buffer.of(0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0);
        if (payload.length >= 126) header.writeBigUInt64BE(BigInt(payload.length), 2);
        this.#socket.write(concat([header, payload]));
    }

    #read(bytes) {
        this.#unread = concat([this.#unread, bytes]);
        for (;;) {
            const view = new DataView(this.#unread.buffer);
            if (this.#unread.length < 2) return;
            let length = this.#unread[1] & 0x7f;
            let at = 2;
            if (length === 126) {
                if (this.#unread.length < 4) return;
                length = view.getUint16(2);
                at = 4;
            } else if (length === 127) {
                if (this.#unread.length < 10) return;
                length = Number(view.getBigUint64(2));
                at = 10;
            }
            const end = at + 4 + length;
            if (this.#unread.length < end) return;
            const mask = this.#unread.subarray(at, at + 4);
            const payload = this.#unread.slice(at + 4, end);
            for (let index = 0; index < length; index += 1) payload[index] ^= mask[index & 3];
            const opcode = this.#unread[0] & 0x0f;
            this.#unread = this.#unread.slice(end);
            if (opcode === 2) this.onMessage(payload);
            if (opcode === 8) this.#socket.end(Uint8Array.of(0x88, 0));
        }
    }
}

/** What the relay knows of one tunnel. */
class FakeTunnel {
    records = [];
    #decoder = new RecordDecoder();
    #waiting = [];
    wantsCredit = true;

    constructor(relay, hello) {
        this.relay = relay;
        this.hello = hello;
        this.machine = new RelayMachine(Date.now());
        this.session = `session-${relay.tunnels.length}`;
        this.secret = "secret-0";
        this.resumes = 0;
        this.goodbye = null;
        this.stream = 0;
    }

    attach(socket) {
        this.socket = socket;
        socket.onMessage = (bytes) => this.#receive(bytes);
        socket.onClose = () => { if (this.socket === socket) this.machine.disconnected(); };
        this.pump();
    }

    pump() {
        for (;;) {
            const chunk = this.machine.nextChunk(Date.now());
            if (chunk === null) return;
            this.socket.send(chunk);
        }
    }

    /** Opens the engine's stream. */
    open(payload = { kind: "engine" }) {
        const id = this.machine.open(payload, Date.now());
        if (payload.kind === "engine") this.stream = id;
        this.pump();
        return id;
    }

    give(...records) {
        this.machine.send(this.stream, concat(records));
        this.pump();
    }

    #receive(bytes) {
        for (const event of this.machine.receive(bytes, Date.now())) {
            if (event.type === "accepted") {
                this.accepted = readJSON(event.payload);
                this.machine.granted(event.id, this.accepted.window);
            }
            if (event.type === "failed") this.goodbye = event.error;
            if (event.type === "reset") this.lastReset = event;
            if (event.type === "data") this.#takeData(event);
        }
        this.machine.acknowledge();
        this.pump();
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const tell of waiting) tell();
    }

    #takeData({ id, bytes }) {
        for (const one of splitRecords(this, bytes)) this.records.push(one);
        if (this.wantsCredit) this.machine.consumed(id, bytes.length, Date.now());
    }

    /** Waits until `isSo` is, which is looked at whenever something came. */
    async until(isSo) {
        while (!isSo()) await new Promise((resolve) => this.#waiting.push(resolve));
    }

    /** Takes the records up to the first of that type. */
    async recordsUntil(type) {
        await this.until(() => this.records.some((one) => one.type === type));
        const at = this.records.findIndex((one) => one.type === type);
        return this.records.splice(0, at + 1);
    }

    /** Runs one simple Query as a client's call. */
    async query(sql) {
        this.give(
            record(RecordType.hold), record(RecordType.data, queryMessage(sql)),
            record(RecordType.run), record(RecordType.release));
        const records = await this.recordsUntil(RecordType.done);
        const replies = records.filter(({ type }) => type === RecordType.reply);
        return concat(replies.map(({ payload }) => payload));
    }
}

/** Records of the page, whole. */
function splitRecords(tunnel, bytes) {
    tunnel.unread = concat([tunnel.unread ?? new Uint8Array(0), bytes]);
    const records = [];
    for (;;) {
        if (tunnel.unread.length < 5) return records;
        const end = 5 + new DataView(tunnel.unread.buffer).getUint32(1);
        if (tunnel.unread.length < end) return records;
        records.push({ type: tunnel.unread[0], payload: tunnel.unread.slice(5, end) });
        tunnel.unread = tunnel.unread.slice(end);
    }
}

export class FakeRelay {
    tunnels = [];
    dials = [];
    /** What the next handshakes are answered with instead: an object for ERROR, or "hang up". */
    refusals = [];
    isTokenGood = () => true;
    graceSeconds = 60;
    #server = createServer((_, response) => response.end("{}"));
    #onTunnel = [];
    #sockets = new Set();

    static async start() {
        const relay = new FakeRelay();
        relay.#server.on("upgrade", (request, socket) => relay.#upgrade(request, socket));
        relay.#server.listen(0, "127.0.0.1");
        await once(relay.#server, "listening");
        relay.port = relay.#server.address().port;
        relay.url = `http://127.0.0.1:${relay.port}`;
        return relay;
    }

    async stop() {
        for (const socket of this.#sockets) socket.destroy();
        this.#server.closeAllConnections();
        this.#server.close();
        await once(this.#server, "close");
    }

    /** The next tunnel that is welcomed. */
    nextTunnel() {
        return new Promise((resolve) => this.#onTunnel.push(resolve));
    }

    #upgrade(request, socket) {
        this.#sockets.add(socket);
        const protocols = request.headers["sec-websocket-protocol"].split(/, */);
        this.dials.push({ path: request.url, protocols });
        if (!this.isTokenGood(protocols[1]?.slice("pgshare.token.".length))) {
            socket.end(
                "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        const accept = createHash("sha1")
            .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest("base64");
        socket.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
            `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: pgshare.v1\r\n\r\n`);
        const end = new ServerSocket(socket);
        end.onMessage = (bytes) => this.#greet(end, bytes);
    }

    #greet(socket, bytes) {
        const { header, payload } = new FrameDecoder().next({ bytes, at: 0 });
        const question = readJSON(payload);
        const refusal = this.refusals.shift();
        if (refusal === "hang up") return socket.cut();
        if (refusal !== undefined) return socket.send(jsonFrame(FrameType.error, refusal));
        if (header.type === FrameType.hello) return this.#welcome(socket, question);
        const tunnel = this.tunnels.find((one) => one.session === question.session);
        if (tunnel === undefined || question.secret !== tunnel.secret) {
            const message = "the tunnel was gone for too long; connecting anew";
            return socket.send(
                jsonFrame(FrameType.error, { code: "resume_expired", message, retry: true }));
        }
        tunnel.machine.disconnected();
        tunnel.resumes += 1;
        tunnel.secret = `secret-${tunnel.resumes}`;
        socket.send(jsonFrame(FrameType.resumeOK, {
            received: tunnel.machine.received, resumeSecret: tunnel.secret }));
        tunnel.machine.resumed(question.received, Date.now());
        return tunnel.attach(socket);
    }

    #welcome(socket, question) {
        const tunnel = new FakeTunnel(this, question.share);
        this.tunnels.push(tunnel);
        socket.send(jsonFrame(FrameType.helloOK, {
            version: 1, share: question.share.id ?? "0123456789abcdef", name: question.share.name,
            host: "db.example.com", port: 5432, domain: "example.com",
            expiresAt: question.share.expiresAt ?? 1_900_000_000, generation: 1, tunnel: "t",
            tunnelSecret: "s", links: 1, isSpare: false, session: tunnel.session,
            resumeSecret: tunnel.secret, graceSeconds: this.graceSeconds, replayBytes: 1_048_576,
        }));
        tunnel.attach(socket);
        this.#onTunnel.shift()?.(tunnel);
    }
}
