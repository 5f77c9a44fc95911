// What a Node program does with node-postgres. Prints "ok NAME" for each part; throws where one fails.
'use strict'
const assert = require('assert')
const fs = require('fs')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')

const [host, port, database, ca] = process.argv.slice(2)
const config = {
  host, database, port: Number(port),
  user: process.env.PGSHARE_TEST_USER, password: process.env.PGPASSWORD,
  ssl: { ca: fs.readFileSync(ca, 'utf8'), rejectUnauthorized: true, servername: host },
}

async function withClient(work) {
  const client = new Client(config)
  await client.connect()
  try { return await work(client) } finally { await client.end() }
}

async function queries(client) {
  const big = 'ü'.repeat(600000)
  const one = await client.query('select $1::int + 1 as sum, length($2::text) as long', [41, big])
  assert.deepStrictEqual(one.rows, [{ sum: 42, long: 600000 }])
  for (let n = 0; n < 10; n++) {
    const named = await client.query({ name: 'named', text: 'select $1::int as n', values: [n] })
    assert.strictEqual(named.rows[0].n, n)
  }
  await assert.rejects(client.query('select nonsense'), (error) => error.code === '42703' && error.position === '8')
  const many = await Promise.all(Array.from({ length: 50 }, (_, n) => client.query('select $1::int as n', [n])))
  assert.deepStrictEqual(many.map((result) => result.rows[0].n), Array.from({ length: 50 }, (_, n) => n))
}

async function cursors(client) {
  const cursor = client.query(new Cursor('select n from generate_series(1, 1000) n'))
  let seen = 0
  for (let rows = await cursor.read(97); rows.length > 0; rows = await cursor.read(97)) seen += rows.length
  assert.strictEqual(seen, 1000)
  await cursor.close()
  let sum = 0
  const stream = client.query(new QueryStream('select n, repeat(\'x\', 500) from generate_series(1, 5000) n'))
  for await (const row of stream) sum += row.n
  assert.strictEqual(sum, 12502500)
}

async function notifications(client) {
  const heard = new Promise((resolve) => client.once('notification', resolve))
  await client.query('listen node')
  await withClient((other) => other.query("notify node, 'hello'"))
  assert.strictEqual((await heard).payload, 'hello')
}

async function pools() {
  const pool = new Pool({ ...config, max: 5 })
  const results = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('select $1::int as n', [n])))
  assert.strictEqual(results.length, 40)
  await pool.end()
}

async function untrusted() {
  const client = new Client({ ...config, ssl: { rejectUnauthorized: true, servername: host } })
  await assert.rejects(client.connect(), /certificate/)
}

async function main() {
  console.log('version', require('pg/package.json').version)
  for (const part of [queries, cursors, notifications]) {
    await withClient(part)
    console.log('ok', part.name)
  }
  for (const part of [pools, untrusted]) {
    await part()
    console.log('ok', part.name)
  }
  console.log('done')
}

main().catch((error) => { console.error(error); process.exit(1) })
