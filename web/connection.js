/**
 * Keeps a tunnel up for as long as the page lives: dials, resumes what was cut, dials anew when
 * the link is gone, and says why when it cannot.
 *
 *                   HELLO_OK             cut                grace is over, or ERROR with retry
 *     connecting ─────────────▶ online ───────▶ resuming ───────────────────▶ connecting
 *         │                       ▲                │                              │
 *         │                       └── RESUME_OK ───┘                              │
 *         └── a refusal that is final, close() ──────────▶ closed ◀───────────────┘
 *
 * Timers of hidden tabs fire once a second, later once a minute. So nothing here needs one to be
 * on time: bytes that come, and events of the page, drive everything that cannot wait.
 *
 * @module
 */

import {
    AgentHandshake, FrameType, LinkError, ResetCode, Violation, jsonFrame, readJSON,
} from "./frames.js";
import { Backoff } from "./backoff.js";
import { DialError, bytesOf, detach, notOpened, shake, whyNotOpened } from "./dial.js";
import { LinkMachine } from "./tunnel.js";

/** Bytes that may wait in the WebSocket before no more data is given to it. */
const bufferedBytes = 256 * 1024;
/** How soon a full WebSocket is looked at again, if nothing comes before. */
const pollAfter = 10;
/** A dial that has waited for so long when the network changes belongs to the old one. */
const hungAfter = 1_000;
/** A tunnel that stood for less counts as a try that failed. */
const steadyAfter = 10_000;
const backoffFirst = 1_000;
const backoffLast = 30_000;
const resumeBackoffLast = 5_000;
/** How often a relay that answers may refuse a dial before its refusal counts. */
const refusalsWithString = 2;
const refusalsWithFunction = 4;

/**
 * What surrounds the tunnel; tests bring their own.
 *
 * @typedef {object} Environment
 * @property {typeof WebSocket} WebSocket
 * @property {typeof fetch | undefined} fetch
 * @property {() => number} now Milliseconds, of a clock that goes on while the machine sleeps.
 * @property {typeof setTimeout} setTimeout
 * @property {typeof clearTimeout} clearTimeout
 * @property {() => number} random
 *
 * @typedef {object} Delegate
 * @property {(welcome: object) => void} welcomed A link stands, new to the relay.
 * @property {(port: object, open: object) => object} openEngine Returns what takes the stream's
 *     bytes: `receive(bytes)` and `end()`.
 * @property {object} engineFacts What OPEN_OK says of the engine.
 * @property {(event: object) => void} happened
 * @property {(error: {code: string, message: string}) => void} closed For good; told once.
 */

/** One tunnel with one link. */
export class Tunnel {
    #url;
    #token;
    #makeHello;
    #limits;
    #environment;
    #delegate;
    #socket = null;
    #machine = null;
    #engine = null;
    #engineID = 0;
    #drains = [];
    #timers = { tick: null, poll: null, acknowledge: null };
    /** What ends the wait for something to happen to the link, or the sleep between two dials. */
    #onLinkChange = null;
    #onWake = null;
    #abortDial = null;
    #dialSince = 0;
    /** The next dial waits for nothing. */
    #isHurried = false;
    #isSuspended = false;
    #closing = null;
    #refusals = 0;
    #state = "connecting";

    /**
     * @param {object} setup
     * @param {string} setup.url `wss://…/v1/tunnel`.
     * @param {string | (() => string | Promise<string>)} setup.token
     * @param {() => object} setup.makeHello The `share` of HELLO, as it is now.
     * @param {typeof import("./tunnel.js").browserLimits} setup.limits
     * @param {Environment} setup.environment
     * @param {Delegate} setup.delegate
     */
    constructor({ url, token, makeHello, limits, environment, delegate }) {
        this.#url = url;
        this.#token = token;
        this.#makeHello = makeHello;
        this.#limits = limits;
        this.#environment = environment;
        this.#delegate = delegate;
    }

    /** `connecting`, `online`, `resuming` or `closed`. */
    get state() {
        return this.#state;
    }

    /** Serves until `close()`, or until going on is pointless. Never rejects. */
    async run() {
        const backoff = new Backoff(backoffFirst, backoffLast, this.#environment.random);
        while (this.#closing === null) {
            let failure;
            try {
                await this.#hello();
                const since = this.#now();
                failure = await this.#keep();
                if (this.#now() - since >= steadyAfter) backoff.reset();
            } catch (error) {
                failure = error;
            }
            this.#endLink();
            if (this.#closing !== null) break;
            const final = this.#finalReason(failure);
            if (final !== null) {
                this.#closing = final;
                break;
            }
            this.#state = "connecting";
            const wait = backoff.next();
            this.#tell({ type: "retrying", reason: failure.message, seconds: wait / 1000 });
            await this.#sleep(wait);
        }
        this.#state = "closed";
        this.#delegate.closed(this.#closing);
    }

    /** Why no further dial makes sense; null if one does. */
    #finalReason(failure) {
        if (failure instanceof LinkError && !failure.retry) {
            return { code: failure.code, message: failure.message };
        }
        if (failure instanceof SyntaxError || failure?.name === "SyntaxError") {
            return {
                code: "unauthorized",
                message: "the token has characters that a WebSocket cannot carry",
            };
        }
        if (failure?.name === "SecurityError") {
            return {
                code: "unreachable",
                message: "the browser does not let this page connect to the relay: a page that " +
                    "came over https needs a relay with https, or one on http://127.0.0.1",
            };
        }
        const limit = typeof this.#token === "function" ? refusalsWithFunction : refusalsWithString;
        if (failure instanceof DialError && failure.isRefused && this.#refusals >= limit) {
            return { code: "unauthorized", message: failure.message };
        }
        return null;
    }

    /**
     * Ends the tunnel; the relay tells the clients at once.
     *
     * @param {string} [message] Why, for the relay's log and the page's event.
     */
    close(message = "the page stopped sharing") {
        if (this.#closing !== null) return;
        this.#closing = { code: "closed", message };
        const error = { code: "agent_stopped", message, retry: false };
        this.#hangUp(this.#machine?.isConnected ? jsonFrame(FrameType.error, error) : null);
        this.#abortDial?.(new DialError("the tunnel was closed"));
        this.#wakeUp();
        this.#onLinkChange?.({ ended: new LinkError("closed", message, false) });
    }

    /**
     * The page goes to sleep where it cannot take its connection with it: the link is cut, and
     * resumed by `check()` if the page comes back in time.
     */
    suspend() {
        if (this.#closing !== null) return;
        this.#isSuspended = true;
        this.#drop();
    }

    /**
     * The page woke up, or the network came back: asks the relay whether it is there, and dials at
     * once if a dial was being waited for, or one of the old network hangs.
     *
     * @param {number} [within] Milliseconds until the connection is given up.
     */
    check(within) {
        this.#isSuspended = false;
        this.#wakeUp();
        if (this.#abortDial !== null && this.#now() - this.#dialSince >= hungAfter) {
            this.#isHurried = true;
            this.#abortDial(new DialError("the network is another one now"));
        }
        if (this.#machine?.isConnected) {
            this.#machine.probe(this.#now(), within);
            this.#pump();
            // Looked at when the time is over, and by every tick.
            const after = (within ?? this.#limits.probeWithin) + 10;
            this.#environment.setTimeout(() => this.#tick(), after);
        }
    }

    #now() {
        return this.#environment.now();
    }

    #tell(event) {
        this.#delegate.happened(event);
    }

    #sleep(milliseconds) {
        if (this.#isHurried) {
            this.#isHurried = false;
            return Promise.resolve();
        }
        return new Promise((resolve) => {
            const timer = this.#environment.setTimeout(resolve, milliseconds);
            this.#onWake = () => {
                this.#environment.clearTimeout(timer);
                resolve();
            };
        }).finally(() => { this.#onWake = null; });
    }

    #wakeUp() {
        this.#onWake?.();
    }

    /** While the page is in the back/forward cache nothing is dialled. */
    async #whileSuspended() {
        while (this.#isSuspended && this.#closing === null) await this.#sleep(60_000);
    }

    // Dialling.

    async #currentToken() {
        if (typeof this.#token !== "function") return this.#token;
        let token;
        try {
            token = await this.#token();
        } catch (error) {
            throw new DialError(`the page has no token: ${error?.message ?? error}`);
        }
        if (typeof token !== "string") throw new DialError("the page's token() gave no string");
        return token;
    }

    async #hello() {
        const hello = { agent: "pgshare.js 1", version: 1, share: this.#makeHello() };
        let welcome;
        await this.#dial({ hello }, (answer) => {
            welcome = answer;
            this.#machine = new LinkMachine(this.#limits, this.#now());
        });
        this.welcome = welcome;
        this.#state = "online";
        this.#delegate.welcomed(welcome);
    }

    /**
     * Dials, asks, and attaches the link to the WebSocket as soon as the relay has answered.
     *
     * @param {{hello?: object, resume?: object}} question
     * @param {(answer: object) => void} onAnswer Called before the first byte behind the answer.
     */
    async #dial(question, onAnswer) {
        await this.#whileSuspended();
        const token = await this.#currentToken();
        if (this.#closing !== null) throw new DialError("the tunnel was closed");
        const subprotocols = ["pgshare.v1"];
        if (token !== "") subprotocols.push(`pgshare.token.${token}`);
        const socket = new this.#environment.WebSocket(this.#url, subprotocols);
        socket.binaryType = "arraybuffer";
        try {
            await shake(socket, new AgentHandshake(question), this.#environment, {
                onStart: (abort) => {
                    this.#abortDial = abort;
                    this.#dialSince = this.#now();
                },
                onAnswer: (answer) => {
                    onAnswer(answer);
                    this.#attach(socket);
                },
                onMore: (bytes) => this.#receive(bytes),
            });
            this.#refusals = 0;
        } catch (error) {
            detach(socket);
            if (error !== notOpened) throw error;
            const reason = await whyNotOpened(this.#url, this.#environment);
            if (reason.isRefused) this.#refusals += 1;
            throw reason;
        } finally {
            this.#abortDial = null;
        }
    }

    // A link that stands.

    #attach(socket) {
        this.#socket = socket;
        socket.onopen = null;
        socket.onerror = null;
        socket.onmessage = (event) => this.#receiveMessage(event.data);
        socket.onclose = () => { if (this.#socket === socket) this.#drop(); };
        this.#startTicking();
    }

    #startTicking() {
        this.#stopTimers();
        const again = () => {
            this.#timers.tick = this.#environment.setTimeout(again, this.#limits.tickEvery);
            this.#tick();
        };
        this.#timers.tick = this.#environment.setTimeout(again, this.#limits.tickEvery);
    }

    #stopTimers() {
        for (const name of Object.keys(this.#timers)) {
            this.#environment.clearTimeout(this.#timers[name]);
            this.#timers[name] = null;
        }
    }

    #tick() {
        if (!this.#machine?.isConnected) return;
        if (this.#machine.tick(this.#now())) this.#pump();
        else this.#drop();
    }

    #receiveMessage(data) {
        let bytes;
        try {
            bytes = bytesOf(data);
        } catch {
            this.#drop();
            return;
        }
        this.#receive(bytes);
    }

    #receive(bytes) {
        const machine = this.#machine;
        try {
            for (const event of machine.receive(bytes, this.#now())) this.#perform(event);
        } catch (error) {
            if (!(error instanceof Violation)) throw error;
            const said = { code: error.code, message: error.message, retry: true };
            this.#hangUp(jsonFrame(FrameType.error, said));
            this.#change({ ended: new LinkError(error.code, error.message, true) });
            return;
        }
        this.#pump();
    }

    #perform(event) {
        switch (event.type) {
            case "open":
                this.#open(event.id, event.payload);
                return;
            case "data":
                if (event.id === this.#engineID) this.#engine?.receive(event.bytes);
                return;
            case "finished":
                this.#machine.reset(event.id, ResetCode.closed, "00000", "");
                if (event.id === this.#engineID) this.#endEngine();
                return;
            case "reset":
                if (event.id === this.#engineID) this.#endEngine();
                return;
            case "goAway":
                this.#tell({ type: "relay-draining" });
                return;
            case "failed":
                this.#hangUp(null);
                this.#change({ ended: event.error });
        }
    }

    #open(id, payload) {
        const machine = this.#machine;
        let open;
        try {
            open = readJSON(payload);
        } catch {
            machine.reset(id, ResetCode.protocolError, "08P01", "OPEN cannot be read");
            return;
        }
        if (open.kind !== "engine" || this.#engine !== null) {
            const text = "a database in a browser takes one stream of its relay, kind engine";
            machine.reset(id, ResetCode.refused, "0A000", text);
            return;
        }
        if (!Number.isSafeInteger(open.window) || open.window < 0) {
            machine.reset(id, ResetCode.protocolError, "08P01", "OPEN cannot be read");
            return;
        }
        machine.accept(id, { window: machine.window(id), engine: this.#delegate.engineFacts });
        if (machine.granted(id, open.window) !== null) return;
        this.#engineID = id;
        this.#engine = this.#delegate.openEngine(this.#port(machine, id), open);
    }

    /** The engine's stream, as its host sees it. Does nothing once the stream is gone. */
    #port(machine, id) {
        return {
            send: (bytes) => machine.send(id, bytes),
            flush: () => this.#pump(),
            consumed: (bytes) => machine.consumed(id, bytes, this.#now()),
            queuedBytes: () => machine.queuedBytes(id),
            drained: (atMost) => {
                if (!machine.has(id) || machine.queuedBytes(id) <= atMost) return Promise.resolve();
                return new Promise((resolve) => {
                    this.#drains.push({ machine, id, atMost, resolve });
                });
            },
            fail: (text) => {
                machine.reset(id, ResetCode.protocolError, "08P01", text);
                if (id === this.#engineID && machine === this.#machine) this.#endEngine();
                this.#pump();
            },
        };
    }

    #endEngine() {
        const engine = this.#engine;
        this.#engine = null;
        this.#engineID = 0;
        engine?.end();
        this.#tellDrained();
    }

    #tellDrained() {
        if (this.#drains.length === 0) return;
        const waiting = this.#drains;
        this.#drains = [];
        for (const drain of waiting) {
            const isOver = !drain.machine.has(drain.id) ||
                drain.machine.queuedBytes(drain.id) <= drain.atMost;
            if (isOver) drain.resolve();
            else this.#drains.push(drain);
        }
    }

    /** Writes what may go. Data stops while the WebSocket holds much, so the page stays small. */
    #pump() {
        const socket = this.#socket;
        const machine = this.#machine;
        if (socket === null || !machine.isConnected || socket.readyState !== 1) return;
        const now = this.#now();
        for (;;) {
            const isFull = socket.bufferedAmount >= bufferedBytes;
            const chunk = machine.nextChunk(now, isFull);
            if (chunk === null) break;
            socket.send(chunk);
        }
        this.#tellDrained();
        this.#wakeLater("poll", pollAfter, machine.hasSomethingToWrite, () => this.#pump());
        this.#wakeLater(
            "acknowledge", this.#limits.acknowledgeWithin, machine.owesAcknowledgement, () => {
                machine.acknowledge();
                this.#pump();
            });
    }

    #wakeLater(name, after, isWanted, verb) {
        if (!isWanted || this.#timers[name] !== null) return;
        this.#timers[name] = this.#environment.setTimeout(() => {
            this.#timers[name] = null;
            verb();
        }, after);
    }

    // Drops and ends.

    /** Lets go of the connection; says `lastWords` if there are any. */
    #hangUp(lastWords) {
        const socket = this.#socket;
        this.#socket = null;
        this.#stopTimers();
        this.#machine?.disconnected();
        if (socket === null) return;
        detach(socket, lastWords);
    }

    #drop() {
        if (!this.#machine?.isConnected) return;
        this.#hangUp(null);
        this.#change({ dropped: true });
    }

    #change(change) {
        if (this.#onLinkChange !== null) this.#onLinkChange(change);
        else this.#missedChange = change;
    }
    #missedChange = null;

    #linkChange() {
        const missed = this.#missedChange;
        this.#missedChange = null;
        if (missed !== null) return Promise.resolve(missed);
        return new Promise((resolve) => {
            this.#onLinkChange = (change) => {
                this.#onLinkChange = null;
                resolve(change);
            };
        });
    }

    #endLink() {
        this.#hangUp(null);
        this.#machine?.expire();
        this.#endEngine();
        this.#missedChange = null;
    }

    /** Keeps the link, by resuming it after each drop. @returns {Promise<Error>} Its end. */
    async #keep() {
        for (;;) {
            const change = await this.#linkChange();
            if (change.ended !== undefined) return change.ended;
            this.#state = "resuming";
            this.#tell({ type: "tunnel-lost" });
            const end = await this.#resume();
            if (end !== null) {
                if (this.#closing === null) this.#tell({ type: "tunnel-expired" });
                return end;
            }
            this.#state = "online";
            this.#tell({ type: "tunnel-resumed" });
        }
    }

    /** Dials until the link goes on. @returns {Promise<Error | null>} Why it does not. */
    async #resume() {
        const deadline = this.#now() + this.welcome.graceSeconds * 1000;
        const backoff = new Backoff(backoffFirst, resumeBackoffLast, this.#environment.random);
        // After a sleep the time may be over already. The relay knows better: it is asked once.
        do {
            try {
                await this.#resumeOnce();
                return null;
            } catch (error) {
                if (this.#closing !== null) break;
                if (error instanceof LinkError || error instanceof Violation) {
                    return resumeEnd(error);
                }
                if (this.#finalReason(error) !== null) return error;
                await this.#sleep(backoff.next());
            }
        } while (this.#now() < deadline && this.#closing === null);
        return new LinkError(
            "resume_expired", "the connection to the relay was lost for too long", true);
    }

    async #resumeOnce() {
        const machine = this.#machine;
        const { session } = this.welcome;
        const resume = {
            received: machine.received, secret: this.welcome.resumeSecret, session, version: 1,
        };
        await this.#dial({ resume }, (answer) => {
            this.welcome.resumeSecret = answer.resumeSecret;
            machine.resumed(answer.received, this.#now());
        });
    }
}

/** A link that cannot be resumed is begun anew, unless the relay said that this is pointless. */
function resumeEnd(error) {
    return error instanceof LinkError ? error : new LinkError(error.code, error.message, true);
}
