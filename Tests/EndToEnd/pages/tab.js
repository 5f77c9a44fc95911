// A page with a database in a worker, driven by the tests: every function of `tab` is theirs to call.
import { WorkerEngine } from '/engine/worker-engine.js'

const text = new TextDecoder()

// Rows of all DataRow messages in a reply, as text; an ErrorResponse is thrown with its code.
export function rowsOf(reply) {
  const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength)
  const rows = []
  let failure = null
  for (let at = 0; at + 5 <= reply.length; at += 1 + view.getInt32(at + 1)) {
    const kind = String.fromCharCode(reply[at])
    if (kind === 'D') rows.push(row(reply, view, at + 5))
    if (kind === 'E') failure ??= fields(reply.subarray(at + 5, at + 1 + view.getInt32(at + 1)))
  }
  if (failure) throw new Error(`${failure.C} ${failure.M}`)
  return rows
}

function row(reply, view, at) {
  const values = []
  const count = view.getInt16(at)
  at += 2
  for (let number = 0; number < count; number++) {
    const length = view.getInt32(at)
    at += 4
    values.push(length < 0 ? null : text.decode(reply.subarray(at, at + length)))
    at += Math.max(length, 0)
  }
  return values
}

function fields(body) {
  const found = {}
  for (const part of text.decode(body).split('\0')) if (part) found[part[0]] = part.slice(1)
  return found
}

export function message(kind, ...parts) {
  const bytes = parts.map((part) => (typeof part === 'string' ? new TextEncoder().encode(`${part}\0`) : part))
  const length = 4 + bytes.reduce((sum, part) => sum + part.length, 0)
  const whole = new Uint8Array(1 + length)
  whole[0] = kind.charCodeAt(0)
  new DataView(whole.buffer).setInt32(1, length)
  let at = 5
  for (const part of bytes) { whole.set(part, at); at += part.length }
  return whole
}

// A CopyFail stands behind every statement: the engine does not survive a COPY without data.
export function statement(sql) {
  const [query, fail] = [message('Q', sql), message('f', 'no data')]
  const whole = new Uint8Array(query.length + fail.length)
  whole.set(query)
  whole.set(fail, query.length)
  return whole
}

export function bootEngine(options) {
  return WorkerEngine.create({ wasm: '/pglite/pglite.wasm', data: '/pglite/data.tar.gz', ...options })
}

const tab = {
  db: null,
  shared: null,
  eventsSeen: [],

  async boot(options) {
    tab.db = await bootEngine(options)
  },

  // `tokens`: a token for every time that one is asked for, the last one for ever.
  async share({ tokens, ...options }) {
    const { share } = await import('/pgshare.js')
    if (tokens) options.token = async () => (tokens.length > 1 ? tokens.shift() : tokens[0])
    tab.shared = await share(tab.db, { ...options, onEvent: (event) => tab.eventsSeen.push(event) })
    const { id, url, psql, host, port, user, password, database, expiresAt } = tab.shared
    return { id, url, psql, host, port, user, password, database, expiresAt: expiresAt && String(expiresAt) }
  },

  async unshare() {
    await tab.shared.close()
  },

  state() {
    return tab.shared.state
  },

  clients() {
    const told = tab.shared.clients
    return typeof told === 'number' ? told : [...(told.values?.() ?? told)]
  },

  // The page's own query: it takes its turn beside the clients as the page's author would.
  async query(sql) {
    return rowsOf(await tab.db.runExclusive(() => tab.db.execProtocolRaw(statement(sql), {})))
  },

  async transaction(statements) {
    return tab.db.runExclusive(async () => {
      const found = []
      for (const sql of statements) found.push(rowsOf(await tab.db.execProtocolRaw(statement(sql), {})))
      return found
    })
  },

  async repeat(sql, count) {
    for (let turn = 0; turn < count; turn++) await tab.query(sql)
  },

  // For the next test: nothing of the last one is left.
  async clean() {
    const left = await tab.query(
      "select format('drop schema %I cascade', nspname) from pg_namespace" +
        " where nspname !~ '^pg_' and nspname <> 'information_schema'")
    for (const [sql] of left) await tab.query(sql)
    await tab.query('create schema public; grant all on schema public to public')
    tab.eventsSeen.length = 0
  },

  eventsText() {
    return JSON.stringify(tab.eventsSeen.map((event) => (typeof event === 'string' ? { event } : event)))
  },
}

window.tab = tab
window.isReady = true
