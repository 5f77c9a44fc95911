// A page with a Postgres of its own and a button that shares it.
//
// Address: example/?relay=https://relay.example.com&token=… or the same behind a #, which never
// reaches a server's log. `database` and `share` are on window for the console and for tests.

import { WorkerEngine } from '../engine/worker-engine.js';

const SAMPLE = `
  create table planets (
    id integer generated always as identity primary key,
    name text not null unique,
    distance_au numeric not null,
    moons integer not null
  );
  insert into planets (name, distance_au, moons) values
    ('Mercury', 0.387, 0), ('Venus', 0.723, 0), ('Earth', 1, 1), ('Mars', 1.524, 2),
    ('Jupiter', 5.203, 97), ('Saturn', 9.537, 274), ('Uranus', 19.19, 28), ('Neptune', 30.07, 16);
`;
/** Lines kept on the page. */
const MAXIMUM_EVENTS = 200;
const MAXIMUM_ROWS = 500;

const element = (id) => document.getElementById(id);
let database;
let share;
const clients = new Map();

await start();

async function start() {
  readAddress();
  element('share-form').addEventListener('submit', (event) => run(event, startSharing));
  element('query-form').addEventListener('submit', (event) => run(event, runQuery));
  element('stop').addEventListener('click', () => share?.close());
  element('sql').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      element('query-form').requestSubmit();
    }
  });
  for (const button of document.querySelectorAll('[data-copy]')) {
    button.addEventListener('click', () => copy(button));
  }
  try {
    await startDatabase();
  } catch (error) {
    document.body.dataset.state = 'failed';
    element('state').textContent = `Postgres did not start: ${error.message}`;
    element('state').className = 'error';
  }
}

async function startDatabase() {
  const began = performance.now();
  database = await WorkerEngine.create({
    wasm: '/pglite/pglite.wasm',
    data: '/pglite/data.tar.gz',
  });
  window.database = database;
  await database.exec(SAMPLE);
  const { rows } = await database.query('show server_version');
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  element('state').textContent = `Postgres ${rows[0].server_version}, started in ${seconds} s.`;
  database.onRestart(({ reason }) => note(`engine restarted (${reason})`));
  element('share').disabled = false;
  element('run').disabled = false;
  document.body.dataset.state = 'ready';
}

/** Form values from the query and the hash of the address. */
function readAddress() {
  for (const part of [location.search, location.hash]) {
    const values = new URLSearchParams(part.slice(1));
    for (const id of ['relay', 'token']) {
      element(id).value = values.get(id) ?? element(id).value;
    }
  }
}

/** Runs what a form asks for, with its button disabled meanwhile. */
async function run(event, work) {
  event.preventDefault();
  const button = event.target.querySelector('button[type=submit]');
  button.disabled = true;
  try {
    await work();
  } finally {
    button.disabled = false;
  }
}

async function startSharing() {
  element('share-error').hidden = true;
  clients.clear();
  try {
    const sdk = await import('../pgshare.js');
    share = await sdk.share(database, {
      relay: element('relay').value,
      token: element('token').value,
      onEvent: hear,
    });
  } catch (error) {
    element('share-error').textContent = error.message;
    element('share-error').hidden = false;
    note(`sharing failed: ${error.message}`);
    return;
  }
  window.share = share;
  element('url').textContent = share.url;
  element('psql').textContent = share.psql;
  const expires = share.expiresAt === undefined ? undefined : new Date(share.expiresAt);
  element('expires').textContent = expires ? ` · until ${expires.toLocaleString()}` : '';
  showSharing(true);
  showClients();
}

function showSharing(isShared) {
  element('shared').hidden = !isShared;
  element('stop').hidden = !isShared;
  element('share').hidden = isShared;
  document.body.dataset.shared = isShared ? 'yes' : 'no';
}

/** An event of the share: {type, …}, see the README beside pgshare.js. */
function hear(event) {
  const known = clients.get(event.client);
  if (event.type === 'client-connected') {
    clients.set(event.client, event);
  } else if (event.type === 'client-disconnected') {
    clients.delete(event.client);
  } else if (event.type === 'tunnel-expired') {
    clients.clear();
  } else if (event.type === 'closed') {
    showSharing(false);
    share = undefined;
    window.share = undefined;
  }
  showClients();
  const { application, address, reason, message } = { ...known, ...event };
  const facts = [application, address, reason, message].filter(Boolean);
  note([event.type, ...facts].join(' · '));
}

function showClients() {
  const count = clients.size;
  element('client-count').textContent =
    count === 0 ? 'No clients' : count === 1 ? 'One client' : `${count} clients`;
  element('clients').replaceChildren(...[...clients.values()].map((client) => {
    const item = document.createElement('li');
    item.textContent = [client.application || 'unnamed', client.address].filter(Boolean).join(' · ');
    return item;
  }));
}

async function runQuery() {
  const result = element('result');
  try {
    const results = await database.exec(element('sql').value);
    result.replaceChildren(...results.map(table));
  } catch (error) {
    const line = document.createElement('p');
    line.className = 'error';
    line.textContent = [error.message, error.detail, error.hint].filter(Boolean).join('\n');
    result.replaceChildren(line);
  }
}

/** A result as a table, or the command's own words where it has no rows. */
function table({ fields, rows, command }) {
  if (fields.length === 0) {
    const line = document.createElement('p');
    line.textContent = command;
    return line;
  }
  const made = document.createElement('table');
  const head = made.createTHead().insertRow();
  for (const { name } of fields) {
    head.appendChild(document.createElement('th')).textContent = name;
  }
  const body = made.createTBody();
  for (const row of rows.slice(0, MAXIMUM_ROWS)) {
    const line = body.insertRow();
    for (const { name } of fields) {
      const cell = line.insertCell();
      cell.textContent = row[name] === null ? 'null' : shown(row[name]);
      cell.className = row[name] === null ? 'null' : '';
    }
  }
  if (rows.length > MAXIMUM_ROWS) {
    made.createCaption().textContent = `the first ${MAXIMUM_ROWS} of ${rows.length} rows`;
  }
  return made;
}

function shown(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

async function copy(button) {
  await navigator.clipboard.writeText(element(button.dataset.copy).textContent);
  button.textContent = 'Copied';
  setTimeout(() => {
    button.textContent = 'Copy';
  }, 1500);
}

function note(words) {
  const line = document.createElement('li');
  const time = document.createElement('time');
  time.textContent = new Date().toLocaleTimeString();
  line.append(time, words);
  const events = element('events');
  events.prepend(line);
  while (events.children.length > MAXIMUM_EVENTS) {
    events.lastChild.remove();
  }
}
