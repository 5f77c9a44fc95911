// Makes the prebuilt data directory of web/engine:
//
//   node pglite_build.mjs --init INIT.wasm --run RUN.wasm --prefix FOLDER --zones FOLDER --out FILE
//
// initdb by the first module, then a start of the second, which the database will be used with:
// the first start after initdb has odd settings. Leaves out what only initdb reads.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

import { FileSystem } from '../../web/engine/filesystem.js';
import { Instance } from '../../web/engine/instance.js';
import { concat, frontend, readResults } from '../../web/engine/wire.js';

const PREFIX = '/tmp/pglite';
const SHARE = `${PREFIX}/share/postgresql`;

/** Of share/postgresql, what nobody reads after initdb. */
const ONLY_INITDB = [
  'postgres.bki', 'information_schema.sql', 'snowball_create.sql', 'sql_features.txt',
  'system_constraints.sql', 'system_functions.sql', 'system_views.sql',
  'postgresql.conf.sample', 'pg_hba.conf.sample', 'pg_ident.conf.sample',
];

const { values: options } = parseArgs({
  options: Object.fromEntries(
    ['init', 'run', 'prefix', 'zones', 'out'].map((name) => [name, { type: 'string' }]),
  ),
});

/** Copies the files below `from` that `wanted` likes into the file system. */
async function copyTree(fileSystem, from, to, wanted) {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const bytes = new Uint8Array(await readFile(path));
    const place = `${to}${path.slice(from.length)}`;
    if (wanted(place, bytes)) {
      fileSystem.folder(place.replace(/\/[^/]*$/, ''));
      fileSystem.writeFile(place, bytes);
    }
  }
}

async function start(module, fileSystem, database) {
  const log = [];
  try {
    return await Instance.start({
      module: await WebAssembly.compile(await readFile(module)),
      fileSystem,
      database,
      user: 'postgres',
      log: (bytes) => log.push(Buffer.from(bytes).toString()),
    });
  } catch (error) {
    console.error(log.join('').split('\n').slice(-30).join('\n'));
    throw error;
  }
}

async function run(instance, sql) {
  const pieces = [];
  await instance.call(frontend.query(sql), (piece) => void pieces.push(piece), false);
  const { results, error } = readResults(concat(...pieces));
  if (error !== undefined) {
    throw new Error(`${sql}: ${error.message}`);
  }
  return results.map(({ rows }) => rows).flat();
}

function expect(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`found ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }
}

const fileSystem = new FileSystem();
// Libraries are linked into the module; of a file that names one only the name counts, and the
// conversions of character sets among them are real files of another build.
await copyTree(fileSystem, options.prefix, PREFIX, (path) =>
  !path.endsWith('.wasi') && !path.includes('/pgxs/'));
await copyTree(fileSystem, options.zones, `${SHARE}/timezone`, (_, bytes) =>
  bytes[0] === 0x54 && bytes[1] === 0x5a && bytes[2] === 0x69 && bytes[3] === 0x66);

const first = await start(options.init, fileSystem, 'template1');
await first.shutDown();

const second = await start(options.run, fileSystem, 'postgres');
expect(await run(second, `select current_database() as d, current_setting('search_path') as s,
  current_setting('enable_seqscan') as q`), [{ d: 'postgres', s: 'public', q: 'on' }]);
await run(second, 'vacuum freeze analyze');
await run(second, 'checkpoint');
await second.shutDown();

for (const name of ONLY_INITDB) {
  fileSystem.remove(`${SHARE}/${name}`);
}
// Shared memory of the runs that are over.
for (const name of fileSystem.find('/tmp').entries.keys()) {
  if (name.startsWith('PostgreSQL.')) {
    fileSystem.remove(`/tmp/${name}`);
  }
}
const archive = gzipSync(concat(...fileSystem.pack('/')), { level: 9 });

const again = new FileSystem();
again.unpack(concat(...fileSystem.pack('/')));
const third = await start(options.run, again, 'postgres');
expect(await run(third, "set timezone = 'Europe/Berlin'; select 1 as one"), [{ one: 1 }]);
await third.shutDown();
await writeFile(options.out, archive);
console.log(`data directory: ${(fileSystem.bytes / 1e6).toFixed(1)} MB, `
  + `${(archive.length / 1e6).toFixed(1)} MB compressed`);
