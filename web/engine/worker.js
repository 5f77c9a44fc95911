// A module worker that runs one Engine for the WorkerEngine of a page.
//
// From the page:  {id, method, arguments} a call; {taken: id} a piece of that call was taken, with
//                 its {buffer} where nobody needs it any more.
// To the page:    {id, result, heapBytes} or {id, error}; {id, piece}; {event, …}.

import { Engine } from './engine.js';

/** Pieces of a long reply under way to the page at once. */
const PIECES_UNDER_WAY = 2;

let engine;
/** By call: pieces under way, and who waits for one of them to be taken. */
const streams = new Map();

const METHODS = {
  async create({ sendLog, ...options }) {
    const onLog = sendLog ? (text) => postMessage({ event: 'log', text }) : undefined;
    engine = await Engine.create({ ...options, onLog });
    engine.onNotification((channel, payload) =>
      postMessage({ event: 'notification', channel, payload }));
    engine.onRestart(({ reason }) => postMessage({ event: 'restart', reason }));
    return { canSuspend: engine.canSuspend };
  },
  execProtocolRaw: (_, bytes) => engine.execProtocolRaw(bytes),
  execProtocolRawStream: async (id, bytes) => {
    streams.set(id, { underWay: 0, wake: undefined });
    try {
      await engine.execProtocolRawStream(bytes, { onRawData: (piece) => send(id, piece) });
    } finally {
      streams.delete(id);
    }
  },
  setListens: (_, statements) => void (engine.listenStatements = () => statements),
  restart: () => engine.restart(),
  dumpDataDir: () => engine.dumpDataDir(),
  fileBytes: () => engine.fileBytes,
  close: () => engine.close(),
};

addEventListener('message', async ({ data }) => {
  if (data.taken !== undefined) {
    if (data.buffer !== undefined) {
      engine.recycle(data.buffer);
    }
    const stream = streams.get(data.taken);
    if (stream !== undefined) {
      stream.underWay -= 1;
      stream.wake?.();
    }
    return;
  }
  const { id, method } = data;
  try {
    const result = await (method === 'create'
      ? METHODS.create(...data.arguments)
      : METHODS[method](id, ...data.arguments));
    const transfer = result instanceof Uint8Array ? [result.buffer] : [];
    postMessage({ id, result, heapBytes: engine.heapBytes }, transfer);
  } catch (error) {
    postMessage({ id, error: described(error), heapBytes: engine?.heapBytes ?? 0 });
  }
});

/** Sends a piece to the page. Returns a promise while too many are under way. */
function send(id, piece) {
  const stream = streams.get(id);
  postMessage({ id, piece }, [piece.buffer]);
  stream.underWay += 1;
  if (stream.underWay < PIECES_UNDER_WAY) {
    return undefined;
  }
  return new Promise((resolve) => {
    stream.wake = resolve;
  });
}

function described(error) {
  const { name, message, restarted } = error;
  return { name, message, restarted };
}
