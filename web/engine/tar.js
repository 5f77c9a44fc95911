// Reads and writes tar archives (ustar: POSIX.1-1988), folders and plain files only.

const BLOCK_BYTES = 512;
const text = new TextDecoder();
const utf8 = new TextEncoder();

/**
 * The entries of an archive. `bytes` are views of it, not copies.
 *
 * Throws where a header's checksum is wrong or an entry is cut short.
 */
export function* readTar(archive) {
  let at = 0;
  while (at + BLOCK_BYTES <= archive.length) {
    const header = archive.subarray(at, at + BLOCK_BYTES);
    if (header[0] === 0) {
      return;
    }
    if (number(header, 148, 8) !== checksum(header)) {
      throw new Error(`the archive is damaged at byte ${at}`);
    }
    const size = number(header, 124, 12);
    const start = at + BLOCK_BYTES;
    if (start + size > archive.length) {
      throw new Error('the archive ends early');
    }
    const prefix = string(header, 345, 155);
    const name = (prefix === '' ? '' : `${prefix}/`) + string(header, 0, 100);
    const type = String.fromCharCode(header[156]);
    if (type === '5') {
      yield { name: name.replace(/\/$/, ''), folder: true };
    } else if (type === '0' || type === '\0') {
      yield { name, folder: false, bytes: archive.subarray(start, start + size) };
    } else {
      throw new Error(`${name}: the archive holds an entry of type ${type}, which is not read`);
    }
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

/** An archive of `entries` as a list of pieces. `modified` is in milliseconds. */
export function writeTar(entries) {
  const pieces = [];
  for (const { name, folder, size, modified, pieces: content } of entries) {
    pieces.push(header(folder ? `${name}/` : name, folder ? '5' : '0', size, modified));
    pieces.push(...content);
    const behind = (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
    if (behind > 0) {
      pieces.push(new Uint8Array(behind));
    }
  }
  pieces.push(new Uint8Array(2 * BLOCK_BYTES));
  return pieces;
}

function header(name, type, size, modified) {
  const block = new Uint8Array(BLOCK_BYTES);
  const put = (value, offset) => block.set(utf8.encode(value), offset);
  const octal = (value, digits) => Math.floor(value).toString(8).padStart(digits, '0');
  if (utf8.encode(name).length > 100) {
    throw new Error(`${name}: the name is too long for an archive`);
  }
  put(name, 0);
  put(type === '5' ? '0000700' : '0000600', 100);
  put('0000000', 108);
  put('0000000', 116);
  put(octal(size, 11), 124);
  put(octal(modified / 1000, 11), 136);
  put(type, 156);
  put('ustar\x0000', 257);
  put(octal(checksum(block), 6), 148);
  block[155] = 0x20;
  return block;
}

/** The sum of all bytes, those of the checksum itself taken as spaces. */
function checksum(block) {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK_BYTES; at += 1) {
    if (at < 148 || at >= 156) {
      sum += block[at];
    }
  }
  return sum;
}

function string(block, offset, length) {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return text.decode(end < 0 ? field : field.subarray(0, end));
}

function number(block, offset, length) {
  return parseInt(string(block, offset, length).trim() || '0', 8);
}
