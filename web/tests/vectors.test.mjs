import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import {
    FrameDecoder, FrameType, ResetCode, frame, jsonFrame, numberFrame, readJSON, resetFrame,
} from "../frames.js";
import {
    RecordDecoder, RecordType, jsonRecord, notificationMessage, record,
} from "../records.js";

const text = readFileSync(new URL("../../PROTOCOL.md", import.meta.url), "utf8");
const vectors = new Map();
for (const [, name, hex] of text.matchAll(/```hex ([a-z-]+)\n([0-9a-f\s]+)```/g)) {
    vectors.set(name, Uint8Array.from(Buffer.from(hex.replace(/\s/g, ""), "hex")));
}

function decodeAll(decoder, bytes) {
    const input = { bytes, at: 0 };
    const steps = [];
    for (let step = decoder.next(input); step; step = decoder.next(input)) steps.push(step);
    assert.equal(input.at, bytes.length);
    return steps;
}

/** Steps as one: DATA may come in parts. */
function joined(steps) {
    const frames = [];
    for (const { header, payload, isFirst } of steps) {
        if (isFirst) frames.push({ header, payload: [...payload] });
        else frames.at(-1).payload.push(...payload);
    }
    return frames;
}

test("the document has a vector for each frame", () => {
    assert.deepEqual([...vectors.keys()], [
        "hello", "hello-browser", "hello-join", "hello-ok", "resume", "hello-join-minor",
        "hello-ok-minor", "resume-minor", "resume-ok", "ack", "ping", "pong", "go-away", "error",
        "open", "open-cancel", "open-ok", "open-engine", "open-ok-engine", "data", "data-fin",
        "window", "reset", "extension",
    ]);
});

for (const [name, bytes] of vectors) {
    test(`vector ${name} reads the same, wherever it is cut`, () => {
        const whole = joined(decodeAll(new FrameDecoder(), bytes));
        assert.equal(whole.length, name === "extension" ? 0 : 1);
        for (let cut = 0; cut <= bytes.length; cut += 1) {
            const decoder = new FrameDecoder();
            const steps = decodeAll(decoder, bytes.subarray(0, cut));
            steps.push(...decodeAll(decoder, bytes.subarray(cut)));
            assert.deepEqual(joined(steps), whole);
        }
        const decoder = new FrameDecoder();
        const steps = [];
        for (const byte of bytes) steps.push(...decodeAll(decoder, Uint8Array.of(byte)));
        assert.deepEqual(joined(steps), whole);
    });
}

test("what we write is what the document shows", () => {
    const json = (name) => readJSON(vectors.get(name).subarray(8));
    const written = {
        "hello": jsonFrame(FrameType.hello, json("hello")),
        "hello-browser": jsonFrame(FrameType.hello, json("hello-browser")),
        "resume": jsonFrame(FrameType.resume, json("resume")),
        "ack": numberFrame(FrameType.ack, 0, 600),
        "pong": frame(FrameType.pong, 0, vectors.get("ping").subarray(8)),
        "error": jsonFrame(FrameType.error, json("error")),
        "open-ok": jsonFrame(FrameType.openOK, { window: 262_144 }, 1),
        "open-ok-engine": jsonFrame(FrameType.openOK, json("open-ok-engine"), 1),
        "data": frame(FrameType.data, 1, Uint8Array.of(0x53, 0, 0, 0, 4)),
        "data-fin": frame(FrameType.data, 1, new Uint8Array(0), 1),
        "window": numberFrame(FrameType.window, 1, 393_216),
        "reset": resetFrame(
            1, ResetCode.ended, "57P01", "this share has ended; ask for a fresh link"),
    };
    for (const [name, bytes] of Object.entries(written)) {
        assert.deepEqual([...bytes], [...vectors.get(name)], name);
    }
});

const records = new Map();
for (const [, name, hex] of text.matchAll(/```record ([a-z-]+)\n([0-9a-f\s]+)```/g)) {
    records.set(name, Uint8Array.from(Buffer.from(hex.replace(/\s/g, ""), "hex")));
}

test("records are what the document shows", () => {
    const ready = Uint8Array.of(0x5a, 0, 0, 0, 5, 0x49);
    const written = {
        "reply": record(RecordType.reply, ready),
        "done": record(RecordType.done),
        "fault": jsonRecord(RecordType.fault, { message: "out of memory", restarted: false }),
        "notify": record(RecordType.notify, notificationMessage("a", "")),
        "restarted": record(RecordType.restarted),
        "held": record(RecordType.held),
    };
    for (const [name, bytes] of Object.entries(written)) {
        assert.deepEqual([...bytes], [...records.get(name)], name);
    }
    const read = {
        "hold": RecordType.hold, "data": RecordType.data, "run": RecordType.run,
        "drop": RecordType.drop, "release": RecordType.release, "restart": RecordType.restart,
        "event-connected": RecordType.event, "event-disconnected": RecordType.event,
    };
    for (const [name, type] of Object.entries(read)) {
        const [one, ...others] = new RecordDecoder().receive(records.get(name));
        assert.equal(one.type, type, name);
        assert.deepEqual(others, []);
        assert.deepEqual([...one.payload], [...records.get(name).subarray(5)], name);
    }
    assert.equal(records.size, Object.keys(written).length + Object.keys(read).length);
});

for (const [what, header, code] of [
    ["a type that is no frame", [0x0a, 0, 0, 0, 0, 0, 0, 0], "unknown_frame_type"],
    ["an extension on a stream", [0x80, 0, 0, 0, 0, 0, 0, 1], "unknown_frame_type"],
    ["a short ACK", [0x05, 0, 0, 7, 0, 0, 0, 0], "bad_length"],
    ["a long WINDOW", [0x13, 0, 0, 9, 0, 0, 0, 1], "bad_length"],
    ["a long GOAWAY", [0x08, 0, 0x40, 1, 0, 0, 0, 0], "bad_length"],
    ["a link frame on a stream", [0x06, 0, 0, 8, 0, 0, 0, 1], "bad_stream_id"],
    ["DATA without a stream", [0x12, 0, 0, 8, 0, 0, 0, 0], "bad_stream_id"],
]) {
    test(`${what} is refused before its payload is awaited`, () => {
        assert.throws(
            () => decodeAll(new FrameDecoder(), Uint8Array.from(header)),
            { name: "Violation", code });
    });
}
