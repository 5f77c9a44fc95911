// A page that speaks the tunnel protocol by hand and says what it is told to. Source: PROTOCOL.md.
const HELLO = 1, HELLO_OK = 2, PING = 6, PONG = 7, ERROR = 9, OPEN = 0x10, OPEN_OK = 0x11, DATA = 0x12
const RUN = 3, HOLD = 1

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
const jsonBytes = (value) => new TextEncoder().encode(JSON.stringify(value))

function frame(type, payload, stream = 0, flags = 0) {
  const whole = new Uint8Array(8 + payload.length)
  const view = new DataView(whole.buffer)
  whole[0] = type
  whole[1] = flags
  view.setUint16(2, payload.length)
  view.setUint32(4, stream)
  whole.set(payload, 8)
  return whole
}

function record(type, payload = new Uint8Array()) {
  const whole = new Uint8Array(5 + payload.length)
  whole[0] = type
  new DataView(whole.buffer).setUint32(1, payload.length)
  whole.set(payload, 5)
  return whole
}

const hostile = {
  welcome: null,
  errors: [],
  closed: false,
  isOpen: false,
  heard: new Uint8Array(),
  records: new Uint8Array(),

  // `plan`: hello; openOk (JSON; none: never answered); first: raw DATA payloads at once;
  // answers: what every RUN is answered with, raw DATA payloads; holds: whether HOLD is answered.
  start(url, token, plan) {
    hostile.plan = plan
    const socket = new WebSocket(url, ['pgshare.v1', `pgshare.token.${token}`])
    socket.binaryType = 'arraybuffer'
    hostile.socket = socket
    socket.onopen = () => {
      for (const raw of plan.beforeHello ?? []) socket.send(raw.text ?? bytesOf(raw.bytes))
      if (plan.hello) socket.send(frame(HELLO, jsonBytes(plan.hello)))
    }
    socket.onclose = () => { hostile.closed = true }
    socket.onmessage = (message) => hostile.take(new Uint8Array(message.data))
  },

  take(bytes) {
    hostile.heard = joined(hostile.heard, bytes)
    while (hostile.heard.length >= 8) {
      const view = new DataView(hostile.heard.buffer, hostile.heard.byteOffset)
      const length = view.getUint16(2)
      if (hostile.heard.length < 8 + length) return
      const [type, stream] = [hostile.heard[0], view.getUint32(4)]
      const payload = hostile.heard.slice(8, 8 + length)
      hostile.heard = hostile.heard.slice(8 + length)
      hostile.frame(type, stream, payload)
    }
  },

  frame(type, stream, payload) {
    const { plan, socket } = hostile
    if (type === HELLO_OK) hostile.welcome = JSON.parse(new TextDecoder().decode(payload))
    if (type === ERROR) hostile.errors.push(new TextDecoder().decode(payload))
    if (type === PING) socket.send(frame(PONG, payload))
    if (type === OPEN) {
      hostile.stream = stream
      if (plan.openOk) socket.send(frame(OPEN_OK, plan.openOk.raw ? bytesOf(plan.openOk.raw) : jsonBytes(plan.openOk), stream))
      for (const raw of plan.first ?? []) hostile.send(raw)
      hostile.isOpen = true
    }
    if (type === DATA) hostile.data(payload)
  },

  // Anything: a frame of any type, flags and stream, or DATA of the engine's stream.
  send({ type = DATA, flags = 0, stream = hostile.stream, bytes = '', text }) {
    if (hostile.socket.readyState !== WebSocket.OPEN) return
    if (text !== undefined) hostile.socket.send(text)
    else hostile.socket.send(frame(type, bytesOf(bytes), stream, flags))
  },

  data(payload) {
    hostile.records = joined(hostile.records, payload)
    while (hostile.records.length >= 5) {
      const length = new DataView(hostile.records.buffer, hostile.records.byteOffset).getUint32(1)
      if (hostile.records.length < 5 + length) return
      const type = hostile.records[0]
      hostile.records = hostile.records.slice(5 + length)
      if (type === HOLD && hostile.plan.holds) hostile.socket.send(frame(DATA, record(0x16), hostile.stream))
      if (type === RUN) for (const raw of hostile.plan.answers ?? []) hostile.send(raw)
    }
  },
}

function joined(left, right) {
  const whole = new Uint8Array(left.length + right.length)
  whole.set(left)
  whole.set(right, left.length)
  return whole
}

hostile.facts = () => ({ welcome: hostile.welcome, errors: hostile.errors, closed: hostile.closed, isOpen: hostile.isOpen })
window.hostile = hostile
window.isReady = true
