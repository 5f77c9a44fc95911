/**
 * Shares a PGlite, or anything with its `execProtocolRaw`, through a pgshare relay: psql, ORMs and
 * tools connect to the database in this page, several at once.
 *
 * ```js
 * import { share } from "./pgshare.js";
 * const shared = await share(db, { relay: "https://relay.example.com:8443", token });
 * console.log(shared.psql);
 * ```
 *
 * Runs in pages, in workers and in Node from version 22 on. No dependencies, no build step.
 *
 * @module
 */

import { Tunnel } from "./connection.js";
import { Engine, EngineHost } from "./engine-host.js";
import { queryMessage, readRows } from "./records.js";
import { makePassword, makeVerifier } from "./scram.js";
import { browserLimits } from "./tunnel.js";

const mebibyte = 1024 * 1024;
const defaultCallBytes = 256 * mebibyte;
const defaultConnections = 20;
/** How long the relay may stay away before the first `share()` gives up. Milliseconds. */
const defaultConnectTimeout = 20_000;
/** A connection is looked at sooner after the network changed than after a sleep. */
const probeAfterOnline = 3_000;
const durations = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Why sharing did not work, or ended. `code` is a stable word. */
export class ShareError extends Error {
    /**
     * @param {string} code `unauthorized`, `taken_over`, … (PROTOCOL.md, "Close reasons"),
     *     `unreachable` or `closed`.
     * @param {string} message A sentence for a person.
     */
    constructor(code, message) {
        super(message);
        this.name = "ShareError";
        this.code = code;
    }
}

/**
 * Shares a database until `close()`, or until the page goes away.
 *
 * @param {import("./pgshare.d.ts").Database} db
 * @param {import("./pgshare.d.ts").ShareOptions} options
 * @param {object} [environment] What surrounds the SDK; for tests.
 * @returns {Promise<Share>} Once clients can connect.
 * @throws {TypeError} An option cannot work.
 * @throws {ShareError} The relay refused, or could not be reached.
 */
export async function share(db, options, environment = surroundings()) {
    const settings = checked(db, options, environment);
    await db.waitReady;
    const engine = new Engine(db, options.restart);
    try {
        const facts = await inspect(engine);
        settings.password = options.password ?? makePassword();
        settings.verifier = await makeVerifier(settings.password);
        const shared = new Share(settings, facts, engine, environment);
        await shared._start();
        return shared;
    } catch (error) {
        engine.close();
        throw error;
    }
}

/** A database that is shared. */
export class Share {
    #settings;
    #facts;
    #engine;
    #environment;
    #tunnel;
    #welcome = null;
    #previousHost = Promise.resolve();
    #clients = new Map();
    #stopWatching = () => {};
    #whenDone;
    #settle = null;
    #lastTrouble = null;

    /** Use `share()`. */
    constructor(settings, facts, engine, environment) {
        this.#settings = settings;
        this.#facts = facts;
        this.#engine = engine;
        this.#environment = environment;
        this.#tunnel = new Tunnel({
            url: settings.url,
            token: settings.token,
            makeHello: () => this.#makeHello(),
            limits: browserLimits,
            environment,
            delegate: {
                engineFacts: {
                    name: "pgshare.js", copyIn: true, restarts: engine.canRestart,
                    holds: engine.canHold,
                },
                welcomed: (welcome) => this.#welcomed(welcome),
                openEngine: (port) => this.#openEngine(port),
                happened: (event) => this.#happened(event),
                closed: (reason) => this.#closed(reason),
            },
        });
    }

    /** 16 characters; pass it as `options.id` to keep the address over a reload. */
    get id() { return this.#welcome.share; }
    /** The share's name, or null. */
    get name() { return this.#welcome.name ?? null; }
    get host() { return this.#welcome.host; }
    get port() { return this.#welcome.port; }
    get password() { return this.#settings.password; }
    get database() { return this.#facts.database; }
    get expiresAt() { return new Date(this.#welcome.expiresAt * 1000); }

    /** Where the host does not name the share, the user does. */
    get user() {
        const { share: id, name, host } = this.#welcome;
        const isNamed = [id, name].some((label) => label && host.startsWith(`${label}.`));
        return isNamed ? this.#facts.user : `${this.#facts.user}.${name ?? id}`;
    }

    /** What clients connect to. Holds the password. */
    get url() {
        const login = `${escaped(this.user)}:${escaped(this.password)}`;
        const place = `${this.host}:${this.port}/${escaped(this.database)}`;
        return `postgres://${login}@${place}?sslmode=require`;
    }

    /** A line to paste. Channel binding proves the relay by the password. */
    get psql() { return `psql '${this.url}&channel_binding=require'`; }

    /** `connecting`, `online`, `resuming` or `closed`. */
    get state() { return this.#tunnel.state; }

    /** How many clients are connected. */
    get clients() { return this.#clients.size; }

    /** Stops sharing: clients are told at once, open transactions are rolled back. */
    async close() {
        this.#tunnel.close();
        await this.#whenDone;
    }

    /** @private */
    _start() {
        this.#stopWatching = watchPage(this.#tunnel, this.#environment, (event) => {
            this.#tell(event);
        });
        return new Promise((resolve, reject) => {
            const timer = this.#environment.setTimeout(() => {
                this.#settle = null;
                reject(new ShareError("unreachable",
                    this.#lastTrouble ?? "the relay did not answer in time"));
                this.#tunnel.close("the relay could not be reached in time");
            }, this.#settings.connectTimeout);
            this.#settle = (error) => {
                this.#settle = null;
                this.#environment.clearTimeout(timer);
                if (error === null) resolve();
                else reject(error);
            };
            this.#whenDone = this.#tunnel.run().then(() => this.#previousHost);
        });
    }

    #makeHello() {
        const { settings, welcome } = { settings: this.#settings, welcome: this.#welcome };
        const hello = {
            verifier: settings.verifier,
            auth: "scram",
            database: this.#facts.database,
            user: this.#facts.user,
            maxConnections: settings.maxConnections,
            readOnly: false,
            allow: settings.allow,
            sessions: 1,
            exclusive: settings.exclusive,
        };
        if (settings.name !== undefined) hello.name = settings.name;
        if (settings.wait !== undefined) hello.waitSeconds = settings.wait;
        if (settings.idle !== undefined) hello.idleSeconds = settings.idle;
        const id = welcome?.share ?? settings.id;
        if (id !== undefined) hello.id = id;
        // A reconnect does not prolong.
        if (welcome !== null && welcome.expiresAt > 0) hello.expiresAt = welcome.expiresAt;
        else if (settings.expires !== undefined) hello.expiresIn = settings.expires;
        return hello;
    }

    #welcomed(welcome) {
        const isFirst = this.#welcome === null;
        this.#welcome = welcome;
        this.#tell({ type: isFirst ? "shared" : "reconnected", id: welcome.share, url: this.url });
        this.#settle?.(null);
    }

    #openEngine(port) {
        const host = new EngineHost({
            engine: this.#engine,
            port,
            maximumCallBytes: this.#settings.maximumCallBytes,
            onEvent: (event) => this.#happened(event),
            sleep: (milliseconds) => new Promise((resolve) => {
                this.#environment.setTimeout(resolve, milliseconds);
            }),
            after: this.#previousHost,
        });
        this.#previousHost = host.finished;
        return {
            receive: (bytes) => host.receive(bytes),
            end: () => {
                host.end();
                for (const client of this.#clients.keys()) {
                    this.#happened({ type: "client-disconnected", client });
                }
            },
        };
    }

    #happened(event) {
        if (event.type === "client-connected") this.#clients.set(event.client, event);
        if (event.type === "client-disconnected") this.#clients.delete(event.client);
        if (event.type === "retrying") this.#lastTrouble = event.reason;
        this.#tell(event);
    }

    #closed({ code, message }) {
        this.#stopWatching();
        this.#previousHost = this.#previousHost.finally(() => this.#engine.close());
        this.#tell({ type: "closed", code, reason: message });
        this.#settle?.(new ShareError(code, message));
    }

    /** A mistake in the page's listener is the page's, not the tunnel's. */
    #tell(event) {
        if (this.#settings.onEvent === undefined) return;
        try {
            this.#settings.onEvent(event);
        } catch (error) {
            queueMicrotask(() => { throw error; });
        }
    }
}

/** What clients will find: the database's and the user's name. */
async function inspect(engine) {
    const facts = { database: "postgres", user: "postgres" };
    await engine.hold();
    try {
        const sql = "SELECT pg_catalog.current_database(), session_user";
        const row = readRows(await engine.call(queryMessage(sql)))?.[0];
        if (row?.[0]) facts.database = row[0];
        if (row?.[1]) facts.user = row[1];
    } finally {
        engine.release();
    }
    return facts;
}

function surroundings() {
    const timers = {
        setTimeout: (verb, after) => globalThis.setTimeout(verb, after),
        clearTimeout: (timer) => globalThis.clearTimeout(timer),
    };
    return {
        ...timers,
        WebSocket: globalThis.WebSocket,
        fetch: globalThis.fetch && ((...request) => globalThis.fetch(...request)),
        // Not performance.now(): in some browsers that stops while the machine sleeps.
        now: () => Date.now(),
        random: () => Math.random(),
        page: typeof globalThis.addEventListener === "function" ? globalThis : undefined,
        document: globalThis.document,
    };
}

// Options.

function checked(db, options, environment) {
    demand(typeof db?.execProtocolRaw === "function", "db has no execProtocolRaw()");
    demand(options !== null && typeof options === "object", "options are missing");
    demand(environment.WebSocket !== undefined, "there is no WebSocket here");
    demand(globalThis.crypto?.subtle !== undefined,
        "WebCrypto is missing: open the page over https, or from http://127.0.0.1");
    const { token, name, id, password, onEvent, restart } = options;
    demand(typeof token === "string" || typeof token === "function",
        "token must be a string or a function");
    demand(name === undefined || /^(?!-)[0-9a-z-]{1,40}(?<!-)$/.test(name),
        "name must have 1 to 40 of a-z, 0-9 and hyphens, none at the ends");
    demand(id === undefined || /^[0-9a-z]{16}$/.test(id), "id must have 16 of 0-9 and a-z");
    demand(password === undefined || /^[\x20-\x7e]{12,1000}$/.test(password),
        "password must have 12 to 1000 printable ASCII characters");
    demand(onEvent === undefined || typeof onEvent === "function", "onEvent must be a function");
    demand(restart === undefined || typeof restart === "function", "restart must be a function");
    const allow = options.allow ?? [];
    demand(Array.isArray(allow) && allow.length <= 64 &&
        allow.every((network) => typeof network === "string"),
    "allow must be a list of at most 64 networks such as 192.0.2.0/24");
    return {
        url: tunnelURL(options.relay),
        token, name, id, onEvent, allow: [...allow],
        expires: seconds("expires", options.expires, 1, 365 * durations.d),
        wait: seconds("wait", options.wait, 1, durations.h),
        idle: seconds("idle", options.idle, 1, durations.h),
        exclusive: options.exclusive === true,
        maxConnections: whole("maxConnections", options.maxConnections ?? defaultConnections,
            1, 10_000),
        maximumCallBytes: whole("maximumCallBytes", options.maximumCallBytes ?? defaultCallBytes,
            65_536, 2 ** 31 - 1),
        connectTimeout: whole("connectTimeout", options.connectTimeout ?? defaultConnectTimeout,
            1, 600_000),
    };
}

function demand(isSo, message) {
    if (!isSo) throw new TypeError(`pgshare: ${message}`);
}

function whole(name, value, least, most) {
    demand(Number.isInteger(value) && value >= least && value <= most,
        `${name} must be a whole number of ${least} to ${most}`);
    return value;
}

/** Seconds as a number, or as `90s`, `30m`, `8h`, `7d`. */
function seconds(name, value, least, most) {
    if (value === undefined) return undefined;
    const match = typeof value === "string" ? /^(\d{1,9})([smhd])$/.exec(value) : null;
    const number = match === null ? value : Number(match[1]) * durations[match[2]];
    demand(typeof number === "number" && number >= least && number <= most,
        `${name} must be ${least} s to ${most} s, as a number of seconds or such as "8h"`);
    return name === "expires" ? Math.round(number) : number;
}

/** Where the tunnel is opened. A token goes over plain HTTP to this machine only. */
function tunnelURL(relay) {
    let url;
    try {
        url = new URL(relay);
    } catch {
        throw new TypeError("pgshare: relay must be a URL such as https://relay.example.com:8443");
    }
    const isSecure = url.protocol === "https:" || url.protocol === "wss:";
    const isPlain = url.protocol === "http:" || url.protocol === "ws:";
    const isHere = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
    demand(isSecure || (isPlain && isHere),
        "relay must be an https URL; plain http goes to this machine only (http://127.0.0.1:PORT)");
    demand(url.username === "" && url.password === "", "relay must not hold a password");
    return `${isSecure ? "wss" : "ws"}://${url.host}/v1/tunnel`;
}

function escaped(text) {
    return encodeURIComponent(text).replace(
        /[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

// The page.

/**
 * Tells the tunnel what happens to the tab.
 *
 * - A page that goes away for good (closed, reloaded, left) tells its clients at once.
 * - A page that goes into the back/forward cache cuts its link, as a browser keeps no WebSocket
 *   there, and resumes it when it is shown again within the grace of 60 s.
 * - A tab that was frozen, or a machine that slept, asks the relay as soon as it wakes up.
 *
 * @returns {() => void} Stops that.
 */
function watchPage(tunnel, { page, document }, tell) {
    const ends = [];
    const listen = (target, type, verb) => {
        if (typeof target?.addEventListener !== "function") return;
        target.addEventListener(type, verb);
        ends.push(() => target.removeEventListener(type, verb));
    };
    listen(document, "visibilitychange", () => {
        const isHidden = document.visibilityState === "hidden";
        tell({ type: isHidden ? "page-hidden" : "page-visible" });
        if (!isHidden) tunnel.check();
    });
    listen(document, "freeze", () => tell({ type: "page-frozen" }));
    listen(document, "resume", () => {
        tell({ type: "page-resumed" });
        tunnel.check();
    });
    listen(page, "pagehide", (event) => {
        if (event.persisted) tunnel.suspend();
        else tunnel.close("the page was closed");
    });
    listen(page, "pageshow", (event) => { if (event.persisted) tunnel.check(); });
    listen(page, "offline", () => tell({ type: "offline" }));
    listen(page, "online", () => {
        tell({ type: "online" });
        tunnel.check(probeAfterOnline);
    });
    return () => { for (const end of ends) end(); };
}
