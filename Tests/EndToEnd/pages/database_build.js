// A double of database.build's page: what its browser side does with its WebSocket, no more.
// One session, one client at a time as far as it knows; frames are handled one after the other.
import { bootEngine, rowsOf, statement } from './tab.js'

const TERMINATE = 0x58

const build = {
  db: null,
  socket: null,
  active: null, // the connection that the last StartupMessage named
  startups: [],
  dropped: 0, // frames of other connections
  wrong: [], // what a relay must never do
  closes: [], // codes and reasons of closed WebSockets
  resets: 0,
  refreshes: 0,
  due: null, // the timer of the next refresh

  async boot(options) {
    build.db = await bootEngine(options)
  },

  connect(url) {
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    let last = Promise.resolve()
    socket.onclose = ({ code, reason }) => build.closes.push([code, reason])
    socket.onmessage = (event) => {
      last = last.then(() => build.frame(socket, event.data))
    }
    build.socket = socket
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve()
      socket.onerror = () => reject(new Error('the WebSocket failed'))
    })
  },

  isClosed() {
    return build.socket.readyState === WebSocket.CLOSED
  },

  disconnect() {
    build.socket.close()
  },

  async frame(socket, data) {
    if (typeof data === 'string') { build.wrong.push('a text message'); return }
    const bytes = new Uint8Array(data)
    const id = new TextDecoder().decode(bytes.subarray(0, 16))
    const payload = bytes.slice(16)
    if (!/^[\x20-\x7e]{16}$/.test(id)) build.wrong.push(`a connection id ${JSON.stringify(id)}`)
    if (payload[0] === 0) {
      build.active = id
      build.startups.push(startup(payload))
      return
    }
    if (!isOneMessage(payload)) build.wrong.push(`not one whole message: ${payload.length} bytes`)
    if (payload[0] === TERMINATE && payload.length === 5) {
      if (build.active !== null && id !== build.active) build.wrong.push('a Terminate for a stale connection')
      build.active = null
      build.resets += 1
      for (const sql of ['rollback', 'discard all', 'set search_path to public']) await build.query(sql)
      return
    }
    if (id !== build.active) { build.dropped += 1; return }
    const reply = await build.db.runExclusive(() => build.db.execProtocolRaw(payload, {}))
    build.answer(socket, id, reply)
    if (!endsIdle(reply)) return
    clearTimeout(build.due)
    build.due = setTimeout(() => build.refresh(), 50)
  },

  answer(socket, id, reply) {
    if (socket.readyState !== WebSocket.OPEN) return
    const whole = new Uint8Array(16 + reply.length)
    whole.set(new TextEncoder().encode(id))
    whole.set(reply, 16)
    socket.send(whole)
  },

  // The page shows the tables; it asks in the same session, whoever is connected.
  async refresh() {
    build.refreshes += 1
    await build.query("select table_name from information_schema.tables where table_schema = 'public'")
  },

  async query(sql) {
    return rowsOf(await build.db.runExclusive(() => build.db.execProtocolRaw(statement(sql), {})))
  },

  facts() {
    const { active, startups, dropped, wrong, closes, resets, refreshes } = build
    return { active, startups, dropped, wrong, closes, resets, refreshes }
  },
}

function startup(payload) {
  const words = new TextDecoder().decode(payload.subarray(8)).split('\0')
  const found = { length: new DataView(payload.buffer).getInt32(0), whole: payload.length }
  for (let at = 0; at + 1 < words.length && words[at] !== ''; at += 2) found[words[at]] = words[at + 1]
  return found
}

// One whole message; or a COPY with all of its data, which an engine takes in one call only.
function isOneMessage(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const kinds = []
  let at = 0
  while (at + 5 <= payload.length) {
    kinds.push(String.fromCharCode(payload[at]))
    at += 1 + view.getInt32(at + 1)
  }
  return at === payload.length && /^(.|Qd*[cf])$/.test(kinds.join(''))
}

// A ReadyForQuery at the end whose status is not T.
function endsIdle(reply) {
  return reply.length >= 6 && reply[reply.length - 6] === 0x5a && reply[reply.length - 1] !== 0x54
}

window.build = build
window.isReady = true
