// As much of the Postgres protocol (version 3) as the engine and a page's own queries need: the
// messages that are sent, and a look at those that come back.

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** Types of backend messages. */
export const TYPE = Object.freeze({
  authentication: 0x52,
  commandComplete: 0x43,
  copyInResponse: 0x47,
  copyData: 0x64,
  dataRow: 0x44,
  error: 0x45,
  notice: 0x4e,
  notification: 0x41,
  readyForQuery: 0x5a,
  rowDescription: 0x54,
});

/** A message of `type` (a letter, or '' for a startup packet) and `parts`: bytes or text. */
function message(type, ...parts) {
  const pieces = parts.map((part) => (typeof part === 'string' ? utf8.encode(part) : part));
  const length = 4 + pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = new Uint8Array(type.length + length);
  if (type !== '') {
    bytes[0] = type.charCodeAt(0);
  }
  new DataView(bytes.buffer).setUint32(type.length, length);
  let at = type.length + 4;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function integers(format, ...values) {
  const view = new DataView(new ArrayBuffer(format * values.length));
  values.forEach((value, index) => {
    if (format === 2) {
      view.setInt16(2 * index, value);
    } else {
      view.setInt32(4 * index, value);
    }
  });
  return new Uint8Array(view.buffer);
}

export const frontend = Object.freeze({
  startup: (parameters) => {
    const fields = Object.entries(parameters).flat().map((field) => `${field}\0`).join('');
    return message('', integers(2, 3, 0), `${fields}\0`);
  },
  password: (password) => message('p', `${password}\0`),
  query: (sql) => message('Q', `${sql}\0`),
  parse: (sql) => message('P', '\0', `${sql}\0`, integers(2, 0)),
  /** `values` in text form; null is NULL. */
  bind: (values) => {
    const parts = values.flatMap((value) => {
      if (value === null) {
        return [integers(4, -1)];
      }
      const bytes = utf8.encode(value);
      return [integers(4, bytes.length), bytes];
    });
    return message('B', '\0\0', integers(2, 0, values.length), ...parts, integers(2, 0));
  },
  describePortal: () => message('D', 'P\0'),
  execute: () => message('E', '\0', integers(4, 0)),
  sync: () => message('S'),
  copyData: (bytes) => message('d', bytes),
  copyDone: () => message('c'),
  copyFail: (reason) => message('f', `${reason}\0`),
});

export function concat(...parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Every whole message of `bytes`: {type, start, body}. What is cut off at the end is left out. */
export function* messages(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let start = 0;
  while (start + 5 <= bytes.length) {
    const length = view.getUint32(start + 1);
    const end = start + 1 + length;
    if (length < 4 || end > bytes.length) {
      return;
    }
    yield { type: bytes[start], start, body: bytes.subarray(start + 5, end) };
    start = end;
  }
}

/** The zero-terminated strings of `body`, from `offset` on. */
export function strings(body, offset = 0) {
  return text.decode(body.subarray(offset)).split('\0').slice(0, -1);
}

/** An ErrorResponse's or NoticeResponse's fields, by their letters. */
export function fields(body) {
  const found = {};
  for (const field of strings(body)) {
    if (field !== '') {
      found[field[0]] = field.slice(1);
    }
  }
  return found;
}

/** What Postgres said was wrong. `code` is the SQLSTATE. */
export class DatabaseError extends Error {
  constructor(found) {
    super(found.M);
    this.name = 'DatabaseError';
    this.severity = found.V ?? found.S;
    this.code = found.C;
    this.detail = found.D;
    this.hint = found.H;
    this.position = found.P === undefined ? undefined : Number(found.P);
    this.where = found.W;
  }
}

/** Numbers of pg_type whose values become something else than text. */
const PARSERS = {
  16: (value) => value === 't',
  20: (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value)),
  21: Number,
  23: Number,
  26: Number,
  700: Number,
  701: Number,
  114: JSON.parse,
  3802: JSON.parse,
};

/**
 * The results of one call: a list of {rows, fields, affectedRows, command}, the notices, and the
 * first error as a DatabaseError where there was one.
 */
export function readResults(reply) {
  const results = [];
  const notices = [];
  let error;
  let current = { fields: [], rows: [] };
  for (const { type, body } of messages(reply)) {
    if (type === TYPE.rowDescription) {
      current.fields = readFields(body);
    } else if (type === TYPE.dataRow) {
      current.rows.push(readRow(body, current.fields));
    } else if (type === TYPE.commandComplete) {
      const command = strings(body)[0];
      const count = /(\d+)$/.exec(command)?.[1];
      results.push({ ...current, command, affectedRows: Number(count ?? 0) });
      current = { fields: [], rows: [] };
    } else if (type === TYPE.notice) {
      notices.push(fields(body));
    } else if (type === TYPE.error) {
      error ??= new DatabaseError(fields(body));
    }
  }
  return { results, notices, error };
}

function readFields(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const found = [];
  let at = 2;
  for (let count = view.getUint16(0); count > 0; count -= 1) {
    const end = body.indexOf(0, at);
    found.push({
      name: text.decode(body.subarray(at, end)),
      dataTypeID: view.getUint32(end + 7),
    });
    at = end + 19;
  }
  return found;
}

function readRow(body, columns) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const row = {};
  let at = 2;
  for (const { name, dataTypeID } of columns) {
    const length = view.getInt32(at);
    at += 4;
    if (length < 0) {
      row[name] = null;
    } else {
      const value = text.decode(body.subarray(at, at + length));
      row[name] = PARSERS[dataTypeID]?.(value) ?? value;
      at += length;
    }
  }
  return row;
}
