// The page that `scripts/bench browser` measures: a database in a worker, shared or called directly.
// Every function of `bench` is called by the program.
import { WorkerEngine } from '/engine/worker-engine.js'
import { share } from '/pgshare.js'

let db
const shares = []

// What the share asks of the engine, seen on the way: `call` is the next one with the `wanted` words
// in it; `given` are the bytes that the engine gave, `sent` those that the page's WebSocket took.
const seen = { wanted: undefined, call: undefined, given: 0, sent: 0, socket: undefined, mostHeld: 0 }

const send = WebSocket.prototype.send
WebSocket.prototype.send = function (bytes) {
  send.call(this, bytes)
  seen.sent += bytes.byteLength
  seen.socket = this
  noteHeld()
}

/** Bytes of replies that are neither at the engine any more nor gone from the WebSocket. */
function noteHeld() {
  const held = seen.given - seen.sent + (seen.socket?.bufferedAmount ?? 0)
  seen.mostHeld = Math.max(seen.mostHeld, held)
}

/** The database as the share gets it: itself, with an eye on the calls. */
function watched(engine) {
  const direct = engine.execProtocolRawStream.bind(engine)
  engine.execProtocolRawStream = (bytes, options) => {
    if (seen.wanted !== undefined && new TextDecoder('latin1').decode(bytes).includes(seen.wanted)) {
      seen.call = bytes.slice()
      seen.wanted = undefined
    }
    return direct(bytes, {
      ...options,
      onRawData(piece) {
        seen.given += piece.length
        noteHeld()
        return options.onRawData(piece)
      },
    })
  }
  return direct
}

let stream

const bench = {
  async boot() {
    db = await WorkerEngine.create({ wasm: '/pglite/pglite.wasm', data: '/pglite/data.tar.gz' })
    stream = watched(db)
    return { canSuspend: db.canSuspend, isolated: crossOriginIsolated }
  },

  async exec(sql) {
    await db.exec(sql)
  },

  async share(options) {
    const made = await share(db, options)
    shares.push(made)
    const { host, port, user, password, database } = made
    return { host, port, user, password, database }
  },

  async unshare() {
    await Promise.all(shares.splice(0).map((made) => made.close()))
  },

  /** The next call of the share with these words is kept, to be made directly later. */
  watchFor(words) {
    seen.wanted = words
  },

  // Directly, with the bytes of that call.

  /** Microseconds of each call, one after the other for so long; alone on the database. */
  async latency(seconds) {
    const { call } = seen
    return db.runExclusive(async () => {
      const micros = []
      const end = performance.now() + seconds * 1000
      for (let began = performance.now(); began < end; ) {
        await db.execProtocolRaw(call)
        const ended = performance.now()
        micros.push((ended - began) * 1000)
        began = ended
      }
      micros.sort((a, b) => a - b)
      const at = (part) => micros[Math.floor(micros.length * part)]
      return { count: micros.length, p50_us: at(0.5), p99_us: at(0.99), call: call.length }
    })
  },

  /** The bytes of a long reply, thrown away as they come. */
  async discard() {
    const { call } = seen
    return db.runExclusive(async () => {
      let bytes = 0
      const began = performance.now()
      await stream(call, { recyclesPieces: true, onRawData: (piece) => void (bytes += piece.length) })
      return { bytes, seconds: (performance.now() - began) / 1000 }
    })
  },

  heapBytes: () => db.heapBytes,

  /** The most bytes held since the last time. */
  takeMostHeld() {
    const most = seen.mostHeld
    seen.given = 0
    seen.sent = 0
    seen.mostHeld = 0
    return most
  },
}

window.bench = bench
window.isReady = true
