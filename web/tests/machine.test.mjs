import assert from "node:assert/strict";
import test from "node:test";
import {
    FrameDecoder, FrameType, ResetCode, frame, jsonFrame, numberFrame, readJSON,
} from "../frames.js";
import { Backoff } from "../backoff.js";
import { LinkMachine, browserLimits } from "../tunnel.js";
import { RelayMachine } from "./support/relay-machine.mjs";

function chunks(machine, now = 0) {
    const all = [];
    for (let chunk = machine.nextChunk(now); chunk; chunk = machine.nextChunk(now)) all.push(chunk);
    return all;
}

function framesOf(bytes) {
    const input = { bytes, at: 0 };
    const decoder = new FrameDecoder();
    const frames = [];
    for (let step = decoder.next(input); step; step = decoder.next(input)) frames.push(step);
    return frames;
}

/** A machine with stream 1 open, and nothing left to write. */
function opened(window = 262_144) {
    const machine = new LinkMachine(browserLimits, 0);
    machine.receive(jsonFrame(FrameType.open, { kind: "engine", window }, 1), 0);
    machine.accept(1, { window: machine.window(1) });
    machine.granted(1, window);
    chunks(machine);
    return machine;
}

test("OPEN is told, OPEN_OK answers it with the credit that is granted", () => {
    const machine = new LinkMachine(browserLimits, 0);
    const payload = { kind: "engine", window: 1000 };
    const [event] = machine.receive(jsonFrame(FrameType.open, payload, 1), 0);
    assert.equal(event.type, "open");
    assert.deepEqual(readJSON(event.payload), payload);
    machine.accept(1, { window: machine.window(1) });
    const [, chunk] = chunks(machine);
    const [{ header, payload: answer }] = framesOf(chunk);
    assert.equal(header.type, FrameType.openOK);
    assert.deepEqual(readJSON(answer), { window: 262_144 });
});

test("DATA waits for credit, to the byte", () => {
    const machine = opened(1000);
    machine.send(1, new Uint8Array(600));
    machine.send(1, new Uint8Array(600));
    assert.deepEqual(chunks(machine).map((chunk) => chunk.length), [1008]);
    assert.equal(machine.queuedBytes(1), 200);
    machine.receive(numberFrame(FrameType.window, 1, 1000), 0);
    assert.equal(machine.nextChunk(0), null);
    machine.receive(numberFrame(FrameType.window, 1, 1100), 0);
    assert.deepEqual(chunks(machine).map((chunk) => chunk.length), [108]);
});

test("what is queued together leaves in one frame", () => {
    const machine = opened();
    for (const byte of [1, 2, 3]) machine.send(1, Uint8Array.of(byte));
    const [{ payload }] = framesOf(machine.nextChunk(0));
    assert.deepEqual([...payload], [1, 2, 3]);
});

test("a full replay buffer holds DATA back until an ACK comes", () => {
    const machine = opened(64 * 1024 * 1024);
    machine.send(1, new Uint8Array(4 * 1024 * 1024));
    let sent = 0;
    for (const chunk of chunks(machine)) sent += chunk.length;
    assert.ok(machine.unacknowledgedBytes >= browserLimits.replay);
    assert.ok(machine.unacknowledgedBytes < browserLimits.replay + 65_537);
    const acknowledged = machine.unacknowledgedBytes - 10;
    machine.receive(numberFrame(FrameType.ack, 0, acknowledged), 0);
    assert.equal(machine.unacknowledgedBytes, 10);
    assert.ok(chunks(machine).length > 0);
    assert.ok(sent < 2 * 1024 * 1024);
});

test("more bytes than credit end the stream, and the link lives", () => {
    const machine = opened();
    for (let sent = 0; sent < 262_144; sent += 32_768) {
        const events = machine.receive(frame(FrameType.data, 1, new Uint8Array(32_768)), 0);
        assert.equal(events[0].type, "data");
    }
    const [event] = machine.receive(frame(FrameType.data, 1, Uint8Array.of(1)), 0);
    assert.equal(event.type, "reset");
    assert.equal(event.code, ResetCode.flowControl);
    assert.ok(machine.isConnected);
    assert.deepEqual(machine.receive(frame(FrameType.data, 1, Uint8Array.of(1)), 0), []);
});

test("a window beyond the limit is a lie", () => {
    const machine = opened();
    const [event] = machine.receive(numberFrame(FrameType.window, 1, 2 ** 27), 0);
    assert.equal(event.code, ResetCode.flowControl);
});

test("WINDOW goes out at half, and the window doubles where it held the stream back", () => {
    const machine = opened();
    machine.receive(numberFrame(FrameType.pong, 0, 1), 40);
    assert.equal(machine.roundTrip, 40);
    machine.receive(frame(FrameType.data, 1, new Uint8Array(65_535)), 50);
    machine.receive(frame(FrameType.data, 1, new Uint8Array(65_535)), 50);
    machine.receive(frame(FrameType.data, 1, new Uint8Array(2)), 50);
    machine.consumed(1, 131_071, 60);
    chunks(machine, 60);
    machine.consumed(1, 1, 70);
    const windows = chunks(machine, 70).flatMap(framesOf)
        .filter(({ header }) => header.type === FrameType.window);
    assert.equal(windows.length, 1);
    assert.equal(Number(Buffer.from(windows[0].payload).readBigUInt64BE()), 131_072 + 524_288);
});

test("link frames go before data, and alone where the socket is full", () => {
    const machine = opened();
    machine.send(1, new Uint8Array(10));
    machine.receive(frame(FrameType.ping, 0, Uint8Array.of(9, 8, 7, 6, 5, 4, 3, 2)), 0);
    const [pong] = framesOf(machine.nextChunk(0, true));
    assert.equal(pong.header.type, FrameType.pong);
    assert.deepEqual([...pong.payload], [9, 8, 7, 6, 5, 4, 3, 2]);
    assert.equal(machine.nextChunk(0, true), null);
    assert.ok(machine.hasSomethingToWrite);
});

test("ACK goes out after 256 KiB, or with the first verb after 100 ms", () => {
    const isAck = ({ header }) => header.type === FrameType.ack;
    const machine = opened();
    chunks(machine, 1000);
    machine.receive(frame(FrameType.data, 1, new Uint8Array(10)), 2000);
    assert.equal(chunks(machine, 2099).flatMap(framesOf).some(isAck), false);
    assert.ok(machine.owesAcknowledgement);
    assert.equal(chunks(machine, 2100).flatMap(framesOf).some(isAck), true);
    assert.equal(machine.owesAcknowledgement, false);
    for (let sent = 0; sent < 4; sent += 1) {
        machine.receive(frame(FrameType.data, 1, new Uint8Array(65_000)), 3000);
        machine.consumed(1, 65_000, 3000);
    }
    assert.equal(chunks(machine, 3000).flatMap(framesOf).some(isAck), false);
    machine.receive(frame(FrameType.data, 1, new Uint8Array(65_000)), 3000);
    assert.equal(chunks(machine, 3000).flatMap(framesOf).some(isAck), true);
});

test("FIN of both ends ends the stream, and nothing is said", () => {
    const machine = opened();
    machine.send(1, Uint8Array.of(1));
    machine.finish(1);
    const [sent] = framesOf(machine.nextChunk(0));
    assert.equal(sent.header.flags, 1);
    const events = machine.receive(frame(FrameType.data, 1, Uint8Array.of(2), 1), 0);
    assert.deepEqual(events.map((event) => event.type), ["data", "finished"]);
    assert.equal(machine.has(1), false);
    assert.equal(machine.hasSomethingToWrite, false);
});

for (const [what, bytes, code] of [
    ["a stream that was never opened", frame(FrameType.data, 2, Uint8Array.of(1)),
        "stream_never_opened"],
    ["an id that was used", jsonFrame(FrameType.open, {}, 1), "stream_id_reused"],
    ["HELLO_OK behind the handshake", jsonFrame(FrameType.helloOK, {}), "unexpected_frame"],
    ["OPEN_OK for an agent", jsonFrame(FrameType.openOK, {}, 1), "unexpected_frame"],
    ["an ACK of what was never sent", numberFrame(FrameType.ack, 0, 10_000), "bad_offset"],
    ["an ERROR that cannot be read", jsonFrame(FrameType.error, { code: 1 }), "bad_payload"],
    ["a RESET without an SQLSTATE",
        frame(FrameType.reset, 1, Uint8Array.of(1, 0x61, 0x62, 0x63, 0x64, 0x65)), "bad_payload"],
]) {
    test(`${what} is the violation ${code}`, () => {
        assert.throws(() => opened().receive(bytes, 0), { name: "Violation", code });
    });
}

/** A link on which nothing waits for an answer. */
function idle() {
    const machine = opened();
    machine.receive(numberFrame(FrameType.ack, 0, machine.unacknowledgedBytes), 0);
    return machine;
}

test("silence is asked about after 10 s, and ends the connection after 25 s", () => {
    const machine = idle();
    const isAsking = (now) => chunks(machine, now).flatMap(framesOf)
        .some(({ header }) => header.type === FrameType.ping);
    for (let now = 2500; now < 10_000; now += 2500) {
        assert.ok(machine.tick(now));
        assert.equal(isAsking(now), false);
    }
    assert.ok(machine.tick(10_000));
    assert.ok(isAsking(10_000));
    for (let now = 12_500; now < 25_000; now += 2500) assert.ok(machine.tick(now));
    assert.equal(machine.tick(25_000), false);
});

test("a peer that acknowledges nothing is asked after 2.5 s, and has 5 s", () => {
    const silent = opened();
    assert.ok(silent.unacknowledgedBytes > 0);
    assert.ok(silent.tick(2500));
    assert.ok(chunks(silent, 2500).flatMap(framesOf)
        .some(({ header }) => header.type === FrameType.ping));
    assert.ok(silent.tick(5000));
    assert.equal(silent.tick(7500), false);

    const heard = opened();
    for (let now = 2500; now < 60_000; now += 2500) {
        assert.ok(heard.tick(now));
        heard.receive(numberFrame(FrameType.ping, 0, now), now + 1000);
    }
});

test("a sleep is no silence: the peer is asked, and has 5 s", () => {
    const asleep = idle();
    assert.ok(asleep.tick(2500));
    assert.ok(asleep.tick(62_500));
    assert.ok(asleep.tick(65_000));
    assert.equal(asleep.tick(67_500), false);

    const answered = idle();
    answered.tick(62_500);
    answered.receive(numberFrame(FrameType.ping, 0, 1), 63_000);
    assert.ok(answered.tick(67_500));
});

test("a throttled timer does not kill a link that is heard", () => {
    const machine = opened();
    for (let now = 0; now < 600_000; now += 10_000) {
        machine.receive(numberFrame(FrameType.ping, 0, now + 1), now);
        if (now % 60_000 === 0) assert.ok(machine.tick(now + 5_000));
    }
});

test("a clock that is set back does not end a link", () => {
    const machine = opened();
    machine.receive(numberFrame(FrameType.ping, 0, 1), 1_000_000);
    assert.ok(machine.tick(1_000_500));
    assert.ok(machine.tick(500));
    assert.ok(machine.tick(3000));
});

test("after the end nothing is taken and nothing goes", () => {
    const machine = opened();
    machine.send(1, new Uint8Array(10));
    assert.deepEqual(machine.expire(), [1]);
    assert.equal(machine.nextChunk(0), null);
    assert.deepEqual(machine.receive(frame(FrameType.data, 1, Uint8Array.of(1)), 0), []);
});

test("streams take turns", () => {
    const relay = new RelayMachine();
    const ids = [relay.open({ kind: "engine" }), relay.open({ kind: "engine" })];
    for (const id of ids) {
        relay.receive(jsonFrame(FrameType.openOK, { window: 1 }, id), 0);
        relay.granted(id, 1024 * 1024);
        relay.send(id, new Uint8Array(100_000));
    }
    const sent = new Map(ids.map((id) => [id, 0]));
    for (const chunk of chunks(relay)) {
        for (const { header, payload } of framesOf(chunk)) {
            if (header.type !== FrameType.data) continue;
            sent.set(header.streamID, sent.get(header.streamID) + payload.length);
            assert.ok(Math.abs(sent.get(ids[0]) - sent.get(ids[1])) <= 16_384);
        }
    }
    assert.deepEqual([...sent.values()], [100_000, 100_000]);
});

test("back-off doubles under full jitter", () => {
    const backoff = new Backoff(1000, 5000, () => 1);
    assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [1000, 2000, 4000, 5000, 5000]);
    backoff.reset();
    assert.equal(backoff.next(), 1000);
    assert.equal(new Backoff(1000, 5000, () => 0).next(), 0);
});
