// The engine in Node: node --test web/tests/engine.test.mjs, after scripts/pglite-engine.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Engine, EngineFault } from '../engine/engine.js';
import { File, FileSystem } from '../engine/filesystem.js';
import { ReplyScanner } from '../engine/output.js';
import { readTar } from '../engine/tar.js';
import { concat, DatabaseError, frontend, messages, readResults } from '../engine/wire.js';

const FILES = new URL('../../.build-test-tools/pglite/', import.meta.url);
const SOURCES = { wasm: new URL('pglite.wasm', FILES), data: new URL('data.tar.gz', FILES) };
const utf8 = new TextEncoder();

/** The types of a reply's messages, as letters. */
function types(reply) {
  return [...messages(reply)].map(({ type }) => String.fromCharCode(type)).join('');
}

async function one(engine, sql, parameters) {
  const { rows } = await engine.query(sql, parameters);
  return Object.values(rows[0])[0];
}

/** An engine whose module is compiled once for all tests. */
let compiled;
async function start(options = {}) {
  compiled ??= await WebAssembly.compile(
    await (await import('node:fs/promises')).readFile(SOURCES.wasm));
  return Engine.create({ ...SOURCES, wasm: compiled, ...options });
}

describe('an engine', () => {
  let engine;
  before(async () => {
    engine = await start();
  });
  after(() => engine.close());

  test('answers a query', async () => {
    const { rows, fields, affectedRows } = await engine.query(
      'select $1::int + 1 as n, $2::text as t, $3::int[] as a, $4::jsonb as j, null as nothing',
      [41, 'naïve', [1, 2], { deep: [true] }],
    );
    assert.deepEqual(rows, [{ n: 42, t: 'naïve', a: '{1,2}', j: { deep: [true] }, nothing: null }]);
    assert.equal(fields[0].dataTypeID, 23);
    assert.equal(affectedRows, 1);
  });

  test('is the Postgres that pg_dump and its users expect', async () => {
    assert.match(await one(engine, 'show server_version'), /^17\./);
    assert.equal(await one(engine, 'select current_database()'), 'postgres');
    assert.equal(await one(engine, 'show search_path'), 'public');
    assert.equal(await one(engine, 'show enable_seqscan'), 'on');
  });

  test('knows the time zones', async () => {
    const text = "select to_char(timestamptz '2026-07-01 12:00Z' at time zone 'Europe/Berlin', 'HH24')";
    assert.equal(await one(engine, text), '14');
  });

  for (const bytes of [1, 131_072, 1_048_575, 2_097_152, 3_000_001, 24_000_000]) {
    test(`gives a value of ${bytes} bytes whole`, async () => {
      const sql = `select repeat('0123456789', ${Math.ceil(bytes / 10)})`;
      const reply = await engine.execProtocolRaw(frontend.query(`${sql.slice(0, -1)})`));
      assert.equal(types(reply), 'TDCZ');
      const value = Object.values(readResults(reply).results[0].rows[0])[0];
      assert.equal(value, '0123456789'.repeat(Math.ceil(bytes / 10)));
    });

    test(`takes a parameter of ${bytes} bytes`, async () => {
      const { rows } = await engine.query('select length($1) as n, md5($1) = md5($2) as same',
        ['x'.repeat(bytes), 'x'.repeat(bytes)]);
      assert.deepEqual(rows, [{ n: bytes, same: true }]);
    });
  }

  test('tells of an error with its SQLSTATE and goes on', async () => {
    await assert.rejects(engine.query('select 1/0'), (error) => {
      assert.ok(error instanceof DatabaseError);
      assert.equal(error.code, '22012');
      return true;
    });
    assert.equal(await one(engine, 'select 1'), 1);
  });

  test('skips messages after an extended error until Sync', async () => {
    const reply = await engine.execProtocolRaw(concat(
      frontend.parse('selekt'), frontend.bind([]), frontend.execute(), frontend.sync(),
      frontend.parse('select 7'), frontend.bind([]), frontend.execute(), frontend.sync(),
    ));
    assert.equal(types(reply), 'EZ12DCZ');
  });

  test('rolls a transaction back where its work throws', async () => {
    await engine.exec('create table kept (n int)');
    await engine.transaction(({ exec }) => exec('insert into kept values (1)'));
    const wrong = new Error('changed my mind');
    await assert.rejects(engine.transaction(async ({ exec }) => {
      await exec('insert into kept values (2)');
      throw wrong;
    }), wrong);
    assert.deepEqual((await engine.query('select n from kept')).rows, [{ n: 1 }]);
  });

  test('takes a COPY in one call', async () => {
    await engine.exec('create table copied (n int, t text)');
    const lines = Array.from({ length: 50_000 }, (_, n) => `${n}\tline ${n}\n`).join('');
    const reply = await engine.execProtocolRaw(concat(
      frontend.query('copy copied from stdin'),
      frontend.copyData(utf8.encode(lines)),
      frontend.copyDone(),
    ));
    assert.equal(types(reply), 'GCZ');
    assert.equal(await one(engine, 'select sum(n)::int from copied'), 1_249_975_000);
  });

  test("refuses a COPY from the page's own queries and survives it", async () => {
    await engine.exec('create table never (n int)');
    await assert.rejects(engine.exec('copy never from stdin'), { code: '57014' });
    await assert.rejects(engine.query('copy never from stdin'), { code: '57014' });
    assert.equal(await one(engine, 'select count(*)::int from never'), 0);
  });

  test('has pgvector with an index', async () => {
    await engine.exec(`create extension vector;
      create table items (id int, e vector(3));
      insert into items select n, array[n, n % 7, n % 3]::vector from generate_series(1, 500) n;
      create index on items using hnsw (e vector_l2_ops);
      set enable_seqscan = off`);
    const plan = await engine.query("explain select id from items order by e <-> '[42,0,0]' limit 1");
    assert.match(JSON.stringify(plan.rows), /Index Scan using items_e_idx/);
    assert.equal(await one(engine, "select id from items order by e <-> '[42,0,0]' limit 1"), 42);
    await engine.exec('reset enable_seqscan');
  });

  test('streams a long reply in pieces that make the same reply', async () => {
    const query = frontend.query("copy (select repeat('x', 90) || n from generate_series(1, 60000) n) to stdout");
    const whole = await engine.execProtocolRaw(query);
    const pieces = [];
    await engine.execProtocolRawStream(query, { onRawData: (piece) => void pieces.push(piece) });
    assert.ok(pieces.length > 10);
    assert.ok(pieces.every(({ length }) => length <= 256 * 1024));
    assert.ok(Buffer.compare(concat(...pieces), whole) === 0);
  });

  test('gives a piece after the promise of the one before', async () => {
    let underWay = 0;
    let most = 0;
    let bytes = 0;
    await engine.execProtocolRawStream(frontend.query("select repeat('x', 5000000)"), {
      onRawData: async (piece) => {
        underWay += 1;
        most = Math.max(most, underWay);
        bytes += piece.length;
        // As a worker does that sends it to its page.
        structuredClone(piece, { transfer: [piece.buffer] });
        await new Promise((resolve) => setImmediate(resolve));
        underWay -= 1;
      },
    });
    assert.ok(bytes > 5_000_000);
    // Without a way to suspend the engine, each of its own writes has a piece under way.
    assert.ok(most <= (engine.canSuspend ? 1 : 4), `${most} at once`);
  });

  test('survives a reader of pieces that throws', async () => {
    const wrong = new Error('the reader is gone');
    const query = frontend.query("select repeat('x', 100) from generate_series(1, 60000)");
    const onRawData = () => {
      throw wrong;
    };
    await assert.rejects(engine.execProtocolRawStream(query, { onRawData }), wrong);
    await assert.rejects(
      engine.execProtocolRawStream(query, { onRawData: () => Promise.reject(wrong) }), wrong);
    assert.equal(await one(engine, 'select 1'), 1);
  });

  test('tells of notifications before the call that brought them is over', async () => {
    const heard = [];
    const end = engine.onNotification((channel, payload) => heard.push([channel, payload]));
    await engine.listen('Mixed Case', (payload) => heard.push(payload));
    await engine.query("select pg_notify('Mixed Case', 'hello')");
    assert.deepEqual(heard, [['Mixed Case', 'hello'], 'hello']);
    end();
    await engine.unlisten('Mixed Case');
    await engine.query("select pg_notify('Mixed Case', 'again')");
    assert.equal(heard.length, 2);
  });

  test('gives the lock to one after the other, in order', async () => {
    const order = [];
    const works = [1, 2, 3].map((n) => engine.runExclusive(async () => {
      order.push(`${n} begins`);
      await engine.execProtocolRaw(frontend.query('select 1'));
      order.push(`${n} ends`);
    }));
    await Promise.all(works);
    assert.deepEqual(order,
      ['1 begins', '1 ends', '2 begins', '2 ends', '3 begins', '3 ends']);
  });

  test('sleeps as long as it is told to', async () => {
    const began = performance.now();
    await engine.query('select pg_sleep(0.05)');
    assert.ok(performance.now() - began >= 50);
  });

  test('takes no startup packet, and answers nothing to a Terminate', async () => {
    await assert.rejects(engine.execProtocolRaw(frontend.startup({ user: 'x' })), TypeError);
    assert.equal((await engine.execProtocolRaw(new Uint8Array([0x58, 0, 0, 0, 4]))).length, 0);
    assert.equal(await one(engine, 'select 1'), 1);
  });
});

describe('an engine that starts again', () => {
  test('keeps what was committed and loses the session', async () => {
    const engine = await start();
    const reasons = [];
    engine.onRestart(({ reason }) => reasons.push(reason));
    await engine.exec("create table kept as select 7 as n; set application_name = 'before'");
    await engine.restart();
    assert.equal(await one(engine, 'select n from kept'), 7);
    assert.equal(await one(engine, 'show application_name'), '');
    assert.deepEqual(reasons, ['asked']);
    await engine.close();
  });

  test('does so after a trap, without what was not committed', async () => {
    const engine = await start();
    const reasons = [];
    engine.onRestart(({ reason }) => reasons.push(reason));
    await engine.exec('create table kept as select 7 as n');
    await engine.exec(`create function deeper(int) returns int language plpgsql
      as 'begin return deeper($1 + 1); end'`);
    await engine.exec('begin; insert into kept values (8)');
    await assert.rejects(engine.query('select deeper(1)'), (error) => {
      assert.ok(error instanceof EngineFault, String(error));
      assert.equal(error.restarted, true);
      return true;
    });
    assert.deepEqual((await engine.query('select n from kept')).rows, [{ n: 7 }]);
    // Nothing behind the Query: the engine cannot wait for COPY data.
    await assert.rejects(engine.execProtocolRaw(frontend.query('copy kept from stdin')),
      { name: 'EngineFault', restarted: true });
    assert.deepEqual((await engine.query('select n from kept')).rows, [{ n: 7 }]);
    assert.deepEqual(reasons, ['fault', 'fault']);
    await engine.close();
  });

  test('goes on listening', async () => {
    const engine = await start();
    const heard = [];
    await engine.listen('news', (payload) => heard.push(payload));
    await engine.restart();
    await engine.exec("notify news, 'still here'");
    assert.deepEqual(heard, ['still here']);
    await engine.close();
  });

  test('does so between exchanges when its heap has grown, and tells', async () => {
    const engine = await start();
    const atFirst = engine.heapBytes;
    await engine.close();
    const small = await start({ heapLimitBytes: atFirst + (8 << 20) });
    const reasons = [];
    small.onRestart(({ reason }) => reasons.push(reason));
    await small.exec('create table kept as select 7 as n');
    await small.exec('begin');
    // In a transaction it waits, however much memory a query takes.
    await small.query("select length(repeat('x', 60000000))");
    assert.ok(small.heapBytes > atFirst + (8 << 20));
    assert.deepEqual(reasons, []);
    await small.exec('commit');
    assert.deepEqual(reasons, ['memory']);
    assert.ok(small.heapBytes < atFirst + (8 << 20));
    assert.equal(await one(small, 'select n from kept'), 7);
    await small.close();
  });

  test('does not when that would lose a temporary table', async () => {
    const engine = await start({ heapLimitBytes: 1 });
    const reasons = [];
    await engine.exec('create temporary table mine as select 7 as n');
    engine.onRestart(({ reason }) => reasons.push(reason));
    assert.equal(await one(engine, 'select n from mine'), 7);
    assert.deepEqual(reasons, []);
    await engine.close();
  });

  test('can be saved and opened elsewhere', async () => {
    const engine = await start();
    await engine.exec('create table kept as select n from generate_series(1, 1000) n');
    const saved = await engine.dumpDataDir();
    await engine.close();
    const other = await start({ data: saved });
    assert.equal(await one(other, 'select sum(n)::int from kept'), 500_500);
    await other.close();
  });

  test('rejects calls after it was closed', async () => {
    const engine = await start();
    await engine.close();
    await assert.rejects(engine.query('select 1'), /closed/);
  });
});

describe('a file in memory', () => {
  /** What happens to the file happens to a plain array, too. */
  test('is what was written, wherever chunks begin and end', () => {
    const chunk = 1 << 20;
    for (const [position, length] of
      [[0, 1], [8191, 2], [chunk - 1, 2], [chunk, chunk], [chunk / 2, 2 * chunk], [3 * chunk, 5]]) {
      const file = new File();
      const model = Buffer.alloc(position + length);
      const bytes = Uint8Array.from({ length }, (_, index) => index % 251);
      file.write(position, bytes);
      model.set(bytes, position);
      assert.equal(file.size, model.length);
      assert.ok(model.equals(file.bytes()), `${length} bytes at ${position}`);
      assert.ok(model.equals(concat(...file.pieces())));
    }
  });

  test('reads as zeros where it was cut and grew again', () => {
    const file = new File();
    file.write(0, new Uint8Array(3000).fill(7));
    file.resize(10);
    file.resize(2000);
    assert.deepEqual([...file.bytes().subarray(8, 12)], [7, 7, 0, 0]);
    assert.equal(file.bytes().subarray(10).every((byte) => byte === 0), true);
  });

  test('goes through an archive and back', () => {
    const files = new FileSystem();
    files.folder('/tmp/a/b');
    files.writeFile('/tmp/a/b/empty', new Uint8Array(0));
    files.writeFile('/tmp/a/c', new Uint8Array(1500).fill(9));
    const archive = concat(...files.pack('/'));
    const copy = new FileSystem();
    copy.unpack(archive);
    assert.equal(copy.find('/tmp/a/b/empty').size, 0);
    assert.deepEqual(copy.find('/tmp/a/c').bytes(), files.find('/tmp/a/c').bytes());
    archive[600] ^= 1;
    assert.throws(() => [...readTar(archive)], /damaged/);
  });
});

test('a reply is understood wherever it is cut', () => {
  const notification = [0x41, 0, 0, 0, 12, 0, 0, 0, 0, ...utf8.encode('a\0b\0')];
  const reply = Uint8Array.from([...notification, 0x5a, 0, 0, 0, 5, 0x54]);
  for (let cut = 0; cut <= reply.length; cut += 1) {
    const heard = [];
    const scanner = new ReplyScanner((channel, payload) => heard.push(channel + payload));
    scanner.feed(reply.subarray(0, cut));
    scanner.feed(reply.subarray(cut));
    assert.deepEqual(heard, ['ab']);
    assert.equal(scanner.status, 'T');
  }
});
