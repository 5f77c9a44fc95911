import assert from "node:assert/strict";
import test from "node:test";
import {
    RecordDecoder, RecordType, errorMessage, finalStatus, jsonRecord, notificationMessage,
    queryMessage, readRows, readyMessage, record, recordHeader, sqlIdentifier, sqlLiteral,
} from "../records.js";
import { concat } from "../frames.js";

const stream = concat([
    record(RecordType.hold),
    record(RecordType.data, Uint8Array.of(1, 2, 3, 4)),
    record(0x7f, new Uint8Array(70_000)),
    record(RecordType.data),
    record(RecordType.run),
    jsonRecord(RecordType.event, { event: "client-connected", client: 7 }),
    record(RecordType.release),
]);

/** Parts of DATA as one. */
function flat(records) {
    const all = [];
    let data = [];
    for (const { type, payload } of records) {
        if (type === RecordType.data) data.push(...payload);
        else {
            if (data.length > 0) all.push([RecordType.data, data]);
            data = [];
            all.push([type, [...payload]]);
        }
    }
    return all;
}

test("records read the same, wherever they are cut", () => {
    const whole = flat(new RecordDecoder().receive(stream));
    assert.deepEqual(whole.map(([type]) => type), [
        RecordType.hold, RecordType.data, RecordType.run, RecordType.event, RecordType.release]);
    const cuts = [...Array(40).keys(), ...Array(80).keys().map((at) => stream.length - 80 + at)];
    for (const cut of cuts) {
        const decoder = new RecordDecoder();
        const parts = [stream.subarray(0, cut), stream.subarray(cut)];
        assert.deepEqual(flat(parts.flatMap((part) => decoder.receive(part))), whole);
    }
    const decoder = new RecordDecoder();
    const bytes = [...stream].map((byte) => Uint8Array.of(byte));
    assert.deepEqual(flat(bytes.flatMap((byte) => decoder.receive(byte))), whole);
});

test("a record that is gathered has a bound, DATA and unknown ones have none", () => {
    const huge = 0xffff_ffff;
    assert.throws(() => new RecordDecoder().receive(recordHeader(RecordType.event, 65_537)));
    assert.deepEqual(new RecordDecoder().receive(recordHeader(RecordType.data, huge)), []);
    assert.deepEqual(new RecordDecoder().receive(recordHeader(0x7f, huge)), []);
});

test("a record is type, length, payload", () => {
    assert.deepEqual([...record(RecordType.reply, Uint8Array.of(9))], [0x11, 0, 0, 0, 1, 9]);
});

test("the status is that of the last ReadyForQuery, if the reply ends with one", () => {
    for (const status of ["I", "T", "E"]) assert.equal(finalStatus(readyMessage(status)), status);
    assert.equal(finalStatus(readyMessage("X")), null);
    assert.equal(finalStatus(new Uint8Array(0)), null);
    assert.equal(finalStatus(concat([readyMessage("I"), Uint8Array.of(1)])), null);
});

test("messages have Postgres's form", () => {
    assert.deepEqual([...queryMessage("x")], [0x51, 0, 0, 0, 6, 0x78, 0]);
    assert.deepEqual(
        [...notificationMessage("c", "p")], [0x41, 0, 0, 0, 12, 0, 0, 0, 0, 0x63, 0, 0x70, 0]);
    const error = new TextDecoder().decode(errorMessage("54000", "no").subarray(5));
    assert.equal(error, "SERROR\0VERROR\0C54000\0Mno\0\0");
});

test("rows are read as texts, an error gives none", () => {
    const body = Uint8Array.of(0, 2, 0, 0, 0, 1, 0x61, 0xff, 0xff, 0xff, 0xff);
    const row = concat([Uint8Array.of(0x44, 0, 0, 0, 4 + body.length), body]);
    assert.deepEqual(readRows(concat([row, row, readyMessage("I")])), [["a", null], ["a", null]]);
    assert.equal(readRows(concat([row, errorMessage("42601", "no")])), null);
    assert.equal(readRows(row.subarray(0, 8)), null);
});

test("texts and names cannot leave their quotes", () => {
    assert.equal(sqlLiteral("it's"), "'it''s'");
    assert.equal(sqlLiteral("a\\'b"), " E'a\\\\''b'");
    assert.equal(sqlIdentifier('a"b'), '"a""b"');
});
