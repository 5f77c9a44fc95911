// WASI preview 1 over the in-memory file system: the 36 calls that the engine imports, no others.
//
// Source: the witx description of wasi_snapshot_preview1 (WebAssembly/WASI, legacy/preview1).
// Where a call cannot fail in a way Postgres looks at, it answers success and does nothing.

import { File, Folder } from './filesystem.js';

const SUCCESS = 0;
const EBADF = 8;
const EEXIST = 20;
const EINVAL = 28;
const EISDIR = 31;
const ENOENT = 44;
const ENOSYS = 52;
const ENOTDIR = 54;
const ENOTEMPTY = 55;
const ESPIPE = 70;

const FILE_TYPE = { device: 2, folder: 3, file: 4 };
const OPEN = { create: 1, folder: 2, exclusive: 4, truncate: 8 };
const APPEND = 1;
/** Preopened folders take the file descriptors from here on. */
const FIRST_PREOPEN = 3;
const DIRENT_BYTES = 24;

/** The program called exit. */
export class Exit extends Error {
  constructor(code) {
    super(`the engine exited with code ${code}`);
    this.name = 'Exit';
    this.code = code;
  }
}

/** One process: its arguments, environment and open files. */
export class WASI {
  /** Set when there is an instance, before its first call. */
  memory;
  #fileSystem;
  #arguments;
  #environment;
  #onOpen;
  /** Open files by descriptor: {node, path, position, flags, preopen, listing}. */
  #open = [];
  #view = new DataView(new ArrayBuffer(0));
  #bytes = new Uint8Array(0);

  /**
   * @param {object} options
   * @param {FileSystem} options.fileSystem
   * @param {string[]} options.arguments argv
   * @param {string[]} options.environment "NAME=value"
   * @param {string[]} options.preopens absolute paths of folders
   * @param {(bytes: Uint8Array) => void} options.log gets what is written to stdout and stderr
   * @param {(path: string) => object | undefined} [options.onOpen] a node to open in place of the
   *   file at that path
   */
  constructor({ fileSystem, arguments: args, environment, preopens, log, onOpen }) {
    this.#fileSystem = fileSystem;
    this.#arguments = args;
    this.#environment = environment;
    this.#onOpen = onOpen ?? (() => undefined);
    const stream = {
      kind: 'device',
      inode: 0,
      modified: 0,
      size: 0,
      read: () => 0,
      write: (_, bytes) => void log(bytes.slice()),
    };
    for (let descriptor = 0; descriptor < FIRST_PREOPEN; descriptor += 1) {
      this.#open.push({ node: stream, path: '', position: 0, flags: 0 });
    }
    for (const path of preopens) {
      const node = fileSystem.folder(path);
      this.#open.push({ node, path, position: 0, flags: 0, preopen: path });
    }
  }

  /** The import object's `wasi_snapshot_preview1`. */
  get imports() {
    return {
      args_get: (list, buffer) => this.#strings(this.#arguments, list, buffer),
      args_sizes_get: (count, size) => this.#stringSizes(this.#arguments, count, size),
      environ_get: (list, buffer) => this.#strings(this.#environment, list, buffer),
      environ_sizes_get: (count, size) => this.#stringSizes(this.#environment, count, size),
      clock_time_get: (clock, precision, out) => this.#clock(clock, out),
      poll_oneoff: (subscriptions, events, count, out) =>
        this.#poll(subscriptions, events, count, out),
      proc_exit: (code) => {
        throw new Exit(code);
      },
      sched_yield: () => SUCCESS,
      fd_advise: () => SUCCESS,
      fd_allocate: (fd, offset, length) => this.#allocate(fd, Number(offset) + Number(length)),
      fd_close: (fd) => this.#close(fd),
      fd_datasync: () => SUCCESS,
      fd_sync: () => SUCCESS,
      fd_fdstat_get: (fd, out) => this.#descriptorStatus(fd, out),
      fd_fdstat_set_flags: (fd, flags) => this.#setFlags(fd, flags),
      fd_filestat_get: (fd, out) => this.#fileStatus(this.#open[fd]?.node, out, EBADF),
      fd_filestat_set_size: (fd, size) => this.#setSize(fd, Number(size)),
      fd_pread: (fd, list, count, offset, out) => this.#read(fd, list, count, out, Number(offset)),
      fd_pwrite: (fd, list, count, offset, out) =>
        this.#write(fd, list, count, out, Number(offset)),
      fd_read: (fd, list, count, out) => this.#read(fd, list, count, out),
      fd_write: (fd, list, count, out) => this.#write(fd, list, count, out),
      fd_prestat_get: (fd, out) => this.#preopen(fd, out),
      fd_prestat_dir_name: (fd, path, length) => this.#preopenName(fd, path, length),
      fd_readdir: (fd, buffer, length, cookie, out) =>
        this.#readFolder(fd, buffer, length, Number(cookie), out),
      fd_renumber: (from, to) => this.#renumber(from, to),
      fd_seek: (fd, offset, whence, out) => this.#seek(fd, Number(offset), whence, out),
      path_create_directory: (fd, path, length) => this.#createFolder(fd, path, length),
      path_filestat_get: (fd, flags, path, length, out) => {
        const place = this.#place(fd, path, length);
        return place === undefined
          ? EBADF
          : this.#fileStatus(this.#fileSystem.find(place), out, ENOENT);
      },
      path_open: (fd, look, path, length, how, rights, inherited, flags, out) =>
        this.#openPath(fd, path, length, how, flags, out),
      path_readlink: () => EINVAL,
      path_symlink: () => ENOSYS,
      path_remove_directory: (fd, path, length) => this.#remove(fd, path, length, true),
      path_unlink_file: (fd, path, length) => this.#remove(fd, path, length, false),
      path_rename: (fd, path, length, toFd, toPath, toLength) =>
        this.#rename(fd, path, length, toFd, toPath, toLength),
    };
  }

  // Memory. A memory that grew has a new buffer, so views are made anew where it changed.

  #memory() {
    if (this.#bytes.buffer !== this.memory.buffer) {
      this.#bytes = new Uint8Array(this.memory.buffer);
      this.#view = new DataView(this.memory.buffer);
    }
    return this.#view;
  }

  #setUint64(address, value) {
    this.#view.setUint32(address, value % 4294967296, true);
    this.#view.setUint32(address + 4, Math.floor(value / 4294967296), true);
  }

  /** The buffers that a list of {address u32, length u32} names. */
  *#buffers(list, count) {
    for (let index = 0; index < count; index += 1) {
      const address = this.#view.getUint32(list + 8 * index, true);
      const length = this.#view.getUint32(list + 8 * index + 4, true);
      yield this.#bytes.subarray(address, address + length);
    }
  }

  // Arguments, environment, time.

  #strings(values, list, buffer) {
    const view = this.#memory();
    let at = buffer;
    values.forEach((value, index) => {
      view.setUint32(list + 4 * index, at, true);
      const encoded = new TextEncoder().encode(`${value}\0`);
      this.#bytes.set(encoded, at);
      at += encoded.length;
    });
    return SUCCESS;
  }

  #stringSizes(values, count, size) {
    const view = this.#memory();
    const bytes = values.map((value) => new TextEncoder().encode(value).length + 1);
    view.setUint32(count, values.length, true);
    view.setUint32(size, bytes.reduce((sum, length) => sum + length, 0), true);
    return SUCCESS;
  }

  #clock(clock, out) {
    this.#memory();
    // Clock 0 is the time of day, the others count from some start. Hosts know microseconds.
    const now = performance.now() + (clock === 0 ? performance.timeOrigin : 0);
    this.#view.setBigUint64(out, BigInt(Math.floor(now * 1000)) * 1000n, true);
    return SUCCESS;
  }

  /** Waits for the first of the clocks that are subscribed to; files are always ready. */
  #poll(subscriptions, events, count, out) {
    const view = this.#memory();
    let soonest = Infinity;
    let ready = 0;
    for (let index = 0; index < count; index += 1) {
      const at = subscriptions + 48 * index;
      const type = view.getUint8(at + 8);
      if (type === 0) {
        const nanoseconds = Number(view.getBigUint64(at + 24, true));
        const absolute = (view.getUint16(at + 40, true) & 1) !== 0;
        const clock = view.getUint32(at + 16, true);
        const now = clock === 0 ? Date.now() : performance.now();
        soonest = Math.min(soonest, nanoseconds / 1e6 - (absolute ? now : 0));
      } else {
        soonest = 0;
      }
      const event = events + 32 * ready;
      this.#bytes.fill(0, event, event + 32);
      view.setBigUint64(event, view.getBigUint64(at, true), true);
      view.setUint8(event + 10, type);
      ready += 1;
    }
    pause(soonest);
    view.setUint32(out, ready, true);
    return SUCCESS;
  }

  // Descriptors.

  #allocate(fd, end) {
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    if (end > open.node.size) {
      open.node.resize(end);
    }
    return SUCCESS;
  }

  #close(fd) {
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    this.#open[fd] = undefined;
    return SUCCESS;
  }

  #renumber(from, to) {
    if (this.#open[from] === undefined) {
      return EBADF;
    }
    this.#open[to] = this.#open[from];
    this.#open[from] = undefined;
    return SUCCESS;
  }

  #descriptorStatus(fd, out) {
    const view = this.#memory();
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    this.#bytes.fill(0, out, out + 24);
    view.setUint8(out, FILE_TYPE[open.node.kind]);
    view.setUint16(out + 2, open.flags, true);
    this.#bytes.fill(0xff, out + 8, out + 24);
    return SUCCESS;
  }

  #setFlags(fd, flags) {
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    open.flags = flags;
    return SUCCESS;
  }

  #fileStatus(node, out, otherwise) {
    const view = this.#memory();
    if (node === undefined) {
      return otherwise;
    }
    this.#bytes.fill(0, out, out + 64);
    this.#setUint64(out + 8, node.inode);
    view.setUint8(out + 16, FILE_TYPE[node.kind]);
    this.#setUint64(out + 24, 1);
    this.#setUint64(out + 32, node.size);
    const nanoseconds = BigInt(node.modified) * 1000000n;
    for (const field of [40, 48, 56]) {
      view.setBigUint64(out + field, nanoseconds, true);
    }
    return SUCCESS;
  }

  #setSize(fd, size) {
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    if (open.node.kind !== 'file') {
      return EINVAL;
    }
    open.node.resize(size);
    return SUCCESS;
  }

  #seek(fd, offset, whence, out) {
    this.#memory();
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    if (open.node.kind !== 'file') {
      return ESPIPE;
    }
    const base = [0, open.position, open.node.size][whence];
    if (base === undefined || base + offset < 0) {
      return EINVAL;
    }
    open.position = base + offset;
    this.#setUint64(out, open.position);
    return SUCCESS;
  }

  #read(fd, list, count, out, offset) {
    const view = this.#memory();
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    if (open.node.kind === 'folder') {
      return EISDIR;
    }
    let position = offset ?? open.position;
    let sum = 0;
    for (const buffer of this.#buffers(list, count)) {
      const read = open.node.read(position, buffer);
      position += read;
      sum += read;
      if (read < buffer.length) {
        break;
      }
    }
    if (offset === undefined) {
      open.position = position;
    }
    view.setUint32(out, sum, true);
    return SUCCESS;
  }

  #write(fd, list, count, out, offset) {
    const view = this.#memory();
    const open = this.#open[fd];
    if (open === undefined || open.node.kind === 'folder') {
      return EBADF;
    }
    if (offset === undefined && (open.flags & APPEND) !== 0) {
      open.position = open.node.size;
    }
    let position = offset ?? open.position;
    let sum = 0;
    let taken;
    for (const buffer of this.#buffers(list, count)) {
      taken = open.node.write(position, buffer) ?? taken;
      position += buffer.length;
      sum += buffer.length;
    }
    if (offset === undefined) {
      open.position = position;
    }
    view.setUint32(out, sum, true);
    // A node that needs time gave a promise. Only a host that can suspend the engine has such.
    return taken === undefined ? SUCCESS : taken.then(() => SUCCESS);
  }

  #preopen(fd, out) {
    const view = this.#memory();
    const path = this.#open[fd]?.preopen;
    if (path === undefined) {
      return EBADF;
    }
    view.setUint32(out, 0, true);
    view.setUint32(out + 4, new TextEncoder().encode(path).length, true);
    return SUCCESS;
  }

  #preopenName(fd, address, length) {
    this.#memory();
    const path = this.#open[fd]?.preopen;
    if (path === undefined) {
      return EBADF;
    }
    this.#bytes.set(new TextEncoder().encode(path).subarray(0, length), address);
    return SUCCESS;
  }

  /** Entries from number `cookie` on; the last may be cut, which tells that there are more. */
  #readFolder(fd, buffer, length, cookie, out) {
    const view = this.#memory();
    const open = this.#open[fd];
    if (open === undefined) {
      return EBADF;
    }
    if (open.node.kind !== 'folder') {
      return ENOTDIR;
    }
    if (cookie === 0 || open.listing === undefined) {
      const own = [['.', open.node], ['..', open.node]];
      open.listing = [...own, ...open.node.entries];
    }
    let used = 0;
    for (let index = cookie; index < open.listing.length && used < length; index += 1) {
      const entry = directoryEntry(open.listing[index], index + 1);
      const part = entry.subarray(0, length - used);
      this.#bytes.set(part, buffer + used);
      used += part.length;
    }
    view.setUint32(out, used, true);
    return SUCCESS;
  }

  // Paths.

  /** The absolute path that `fd` and a relative path name, or undefined for a bad descriptor. */
  #place(fd, address, length) {
    this.#memory();
    const base = this.#open[fd];
    if (base === undefined) {
      return undefined;
    }
    const relative = new TextDecoder().decode(this.#bytes.slice(address, address + length));
    const names = [];
    for (const name of `${base.path}/${relative}`.split('/')) {
      if (name === '..') {
        names.pop();
      } else if (name !== '' && name !== '.') {
        names.push(name);
      }
    }
    return `/${names.join('/')}`;
  }

  #parent(place) {
    const cut = place.lastIndexOf('/');
    return [this.#fileSystem.find(place.slice(0, cut) || '/'), place.slice(cut + 1)];
  }

  #openPath(fd, path, length, how, flags, out) {
    const place = this.#place(fd, path, length);
    if (place === undefined) {
      return EBADF;
    }
    let node = this.#onOpen(place) ?? this.#fileSystem.find(place);
    if (node === undefined) {
      if ((how & OPEN.create) === 0) {
        return ENOENT;
      }
      const [parent, name] = this.#parent(place);
      if (parent?.kind !== 'folder') {
        return ENOENT;
      }
      node = new File();
      parent.entries.set(name, node);
    } else if ((how & OPEN.create) !== 0 && (how & OPEN.exclusive) !== 0) {
      return EEXIST;
    } else if ((how & OPEN.folder) !== 0 && node.kind !== 'folder') {
      return ENOTDIR;
    } else if ((how & OPEN.truncate) !== 0 && node.kind === 'file') {
      node.resize(0);
    }
    const descriptor = this.#freeDescriptor();
    this.#open[descriptor] = { node, path: place, position: 0, flags };
    this.#memory().setUint32(out, descriptor, true);
    return SUCCESS;
  }

  #freeDescriptor() {
    for (let descriptor = FIRST_PREOPEN; ; descriptor += 1) {
      if (this.#open[descriptor] === undefined) {
        return descriptor;
      }
    }
  }

  #createFolder(fd, path, length) {
    const place = this.#place(fd, path, length);
    if (place === undefined) {
      return EBADF;
    }
    const [parent, name] = this.#parent(place);
    if (parent?.kind !== 'folder') {
      return ENOENT;
    }
    if (name === '' || parent.entries.has(name)) {
      return EEXIST;
    }
    parent.entries.set(name, new Folder());
    return SUCCESS;
  }

  #remove(fd, path, length, folder) {
    const place = this.#place(fd, path, length);
    if (place === undefined) {
      return EBADF;
    }
    const node = this.#fileSystem.find(place);
    if (node === undefined) {
      return ENOENT;
    }
    if ((node.kind === 'folder') !== folder) {
      return folder ? ENOTDIR : EISDIR;
    }
    if (folder && node.entries.size > 0) {
      return ENOTEMPTY;
    }
    this.#fileSystem.remove(place);
    return SUCCESS;
  }

  #rename(fd, path, length, toFd, toPath, toLength) {
    const from = this.#place(fd, path, length);
    const to = this.#place(toFd, toPath, toLength);
    if (from === undefined || to === undefined) {
      return EBADF;
    }
    const node = this.#fileSystem.find(from);
    const [parent, name] = this.#parent(to);
    if (node === undefined || parent?.kind !== 'folder') {
      return ENOENT;
    }
    const replaced = parent.entries.get(name);
    if (replaced === node) {
      return SUCCESS;
    }
    if (replaced?.kind === 'folder' && replaced.entries.size > 0) {
      return ENOTEMPTY;
    }
    this.#fileSystem.remove(from);
    parent.entries.set(name, node);
    return SUCCESS;
  }
}

/** next u64 | inode u64 | name length u32 | type u8 and three of padding | name. */
function directoryEntry([name, node], next) {
  const encoded = new TextEncoder().encode(name);
  const entry = new Uint8Array(DIRENT_BYTES + encoded.length);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, BigInt(next), true);
  view.setBigUint64(8, BigInt(node.inode), true);
  view.setUint32(16, encoded.length, true);
  view.setUint8(20, FILE_TYPE[node.kind]);
  entry.set(encoded, DIRENT_BYTES);
  return entry;
}

/** Blocks this thread. Atomics.wait needs a shared buffer, which not every page may make. */
function pause(milliseconds) {
  if (!(milliseconds > 0) || milliseconds === Infinity) {
    return;
  }
  const until = performance.now() + milliseconds;
  try {
    const shared = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    Atomics.wait(new Int32Array(shared.buffer), 0, 0, milliseconds);
  } catch {
    // Not allowed on this thread: wait by looking at the clock.
  }
  while (performance.now() < until) {
    // The rest of the time, or all of it.
  }
}
