// An in-memory file system, as much of one as the engine's Postgres needs: folders, files, no
// links, no permissions. It outlives the WebAssembly instance, so a restarted engine finds its
// data directory again.

import { readTar, writeTar } from './tar.js';

/** Bytes a chunk of a file holds. A file's first chunk is smaller while the file is. */
const CHUNK_BYTES = 1 << 20;
/** Bytes a file's first chunk starts with: a page of Postgres. */
const FIRST_BYTES = 8192;

let nextInode = 1;

/** Bytes in chunks, so that a file grows without being copied. Missing chunks are zeros. */
export class File {
  kind = 'file';
  inode = nextInode++;
  modified = Date.now();
  size = 0;
  // Behind `size` every byte of a chunk is zero: growing a file then needs no work.
  #chunks = [];

  /** A file over `bytes`, which it owns from now on. */
  static over(bytes) {
    const file = new File();
    file.size = bytes.length;
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      file.#chunks.push(bytes.subarray(at, Math.min(at + CHUNK_BYTES, bytes.length)));
    }
    return file;
  }

  /** Fills `target` from `position` on. Returns how many bytes there were. */
  read(position, target) {
    const wanted = Math.min(target.length, Math.max(0, this.size - position));
    let done = 0;
    while (done < wanted) {
      const at = position + done;
      const offset = at % CHUNK_BYTES;
      const length = Math.min(wanted - done, CHUNK_BYTES - offset);
      const chunk = this.#chunks[Math.floor(at / CHUNK_BYTES)];
      const part = target.subarray(done, done + length);
      const stored = chunk === undefined ? 0 : Math.max(0, Math.min(length, chunk.length - offset));
      if (stored > 0) {
        part.set(chunk.subarray(offset, offset + stored));
      }
      part.fill(0, stored);
      done += length;
    }
    return wanted;
  }

  /** Writes `source` at `position`; the file grows where that is behind its end. */
  write(position, source) {
    let done = 0;
    while (done < source.length) {
      const at = position + done;
      const offset = at % CHUNK_BYTES;
      const length = Math.min(source.length - done, CHUNK_BYTES - offset);
      this.#chunk(Math.floor(at / CHUNK_BYTES), offset + length)
        .set(source.subarray(done, done + length), offset);
      done += length;
    }
    this.size = Math.max(this.size, position + source.length);
    this.modified = Date.now();
  }

  resize(size) {
    if (size < this.size) {
      const last = Math.ceil(size / CHUNK_BYTES);
      this.#chunks.length = Math.min(this.#chunks.length, last);
      const offset = size % CHUNK_BYTES;
      const chunk = offset === 0 ? undefined : this.#chunks[last - 1];
      chunk?.fill(0, Math.min(offset, chunk.length));
    }
    this.size = size;
    this.modified = Date.now();
  }

  /** The whole content, copied. */
  bytes() {
    const content = new Uint8Array(this.size);
    this.read(0, content);
    return content;
  }

  /** The content in pieces of at most a chunk, without copies where that is possible. */
  *pieces() {
    for (let at = 0; at < this.size; at += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, this.size - at);
      const chunk = this.#chunks[at / CHUNK_BYTES];
      if (chunk !== undefined && chunk.length >= length) {
        yield chunk.subarray(0, length);
      } else {
        const piece = new Uint8Array(length);
        this.read(at, piece);
        yield piece;
      }
    }
  }

  /** The chunk of that index with room for at least `bytes`. */
  #chunk(index, bytes) {
    const chunk = this.#chunks[index];
    if (chunk !== undefined && chunk.length >= bytes) {
      return chunk;
    }
    let capacity = CHUNK_BYTES;
    if (index === 0) {
      capacity = Math.max(FIRST_BYTES, chunk?.length ?? 0);
      while (capacity < bytes) {
        capacity *= 2;
      }
      capacity = Math.min(capacity, CHUNK_BYTES);
    }
    const larger = new Uint8Array(capacity);
    if (chunk !== undefined) {
      larger.set(chunk);
    }
    this.#chunks[index] = larger;
    return larger;
  }
}

/** Reads as random bytes without end; forgets what is written. */
export class RandomDevice {
  kind = 'device';
  inode = nextInode++;
  modified = 0;
  size = 0;

  read(position, target) {
    // getRandomValues fills at most 65,536 bytes a call and no view of a WebAssembly memory that
    // may be shared, hence the copy.
    for (let at = 0; at < target.length; at += 65536) {
      const random = new Uint8Array(Math.min(65536, target.length - at));
      target.set(crypto.getRandomValues(random), at);
    }
    return target.length;
  }

  write() {}
  resize() {}
}

export class Folder {
  kind = 'folder';
  inode = nextInode++;
  modified = Date.now();
  size = 0;
  entries = new Map();
}

/** The tree. Paths are absolute and have no "." or ".." left when a method gets them. */
export class FileSystem {
  root = new Folder();

  constructor() {
    this.folder('/tmp');
    this.folder('/dev').entries.set('urandom', new RandomDevice());
  }

  /** The node at `path`, or undefined. */
  find(path) {
    let node = this.root;
    for (const name of parts(path)) {
      if (node?.kind !== 'folder') {
        return undefined;
      }
      node = node.entries.get(name);
    }
    return node;
  }

  /** The folder at `path`, made with those above it where they are missing. */
  folder(path) {
    let node = this.root;
    for (const name of parts(path)) {
      if (!node.entries.has(name)) {
        node.entries.set(name, new Folder());
      }
      node = node.entries.get(name);
      if (node.kind !== 'folder') {
        throw new Error(`${path}: ${name} is not a folder`);
      }
    }
    return node;
  }

  /** Makes or replaces the file at `path`; it owns `bytes` from now on. */
  writeFile(path, bytes) {
    const { parent, name } = this.#split(path);
    parent.entries.set(name, File.over(bytes));
  }

  remove(path) {
    const { parent, name } = this.#split(path);
    parent.entries.delete(name);
  }

  /** Bytes that all files hold together. */
  get bytes() {
    let sum = 0;
    for (const { node } of this.walk('/')) {
      sum += node.size;
    }
    return sum;
  }

  /** Every node below `path`, a folder before what is in it. */
  *walk(path) {
    const node = this.find(path);
    if (node?.kind !== 'folder') {
      return;
    }
    const prefix = path === '/' ? '' : path;
    for (const [name, child] of node.entries) {
      yield { path: `${prefix}/${name}`, node: child };
      yield* this.walk(`${prefix}/${name}`);
    }
  }

  /** Unpacks a tar archive, whose bytes the files share from now on. */
  unpack(archive) {
    for (const entry of readTar(archive)) {
      if (entry.folder) {
        this.folder(`/${entry.name}`);
      } else {
        this.folder(`/${entry.name}`.replace(/\/[^/]*$/, ''));
        this.writeFile(`/${entry.name}`, entry.bytes);
      }
    }
  }

  /** What is below `path` as a tar archive: a list of pieces, for a Blob or a stream. */
  pack(path) {
    const entries = [];
    for (const { path: name, node } of this.walk(path)) {
      if (node.kind !== 'device') {
        entries.push({
          name: name.slice(1),
          folder: node.kind === 'folder',
          size: node.size,
          modified: node.modified,
          pieces: node.kind === 'file' ? node.pieces() : [],
        });
      }
    }
    return writeTar(entries);
  }

  #split(path) {
    const cut = path.lastIndexOf('/');
    const parent = this.find(path.slice(0, cut) || '/');
    if (parent?.kind !== 'folder') {
      throw new Error(`${path}: no such folder`);
    }
    return { parent, name: path.slice(cut + 1) };
  }
}

function parts(path) {
  return path.split('/').filter((name) => name !== '');
}
