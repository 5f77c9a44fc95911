/**
 * One dial: from a WebSocket to the relay's answer, or to why there is none.
 *
 * @module
 */

import { Violation } from "./frames.js";

/** From the dial to the relay's answer. Milliseconds. */
const dialWithin = 10_000;

/** Why a dial failed. `isRefused`: the relay is there and did not want the WebSocket. */
export class DialError extends Error {
    constructor(message, isRefused = false) {
        super(message);
        this.name = "DialError";
        this.isRefused = isRefused;
    }
}

/** Thrown when the WebSocket never opened: the reason is found out afterwards. */
export const notOpened = new Error("the WebSocket did not open");

/**
 * Asks the relay on a new WebSocket, and waits for its answer.
 *
 * @param {WebSocket} socket
 * @param {import("./frames.js").AgentHandshake} handshake
 * @param {import("./connection.js").Environment} environment
 * @param {object} hooks
 * @param {(abort: (error: Error) => void) => void} hooks.onStart Is given what ends the dial.
 * @param {(answer: object) => void} hooks.onAnswer Called before the first byte behind the answer.
 * @param {(bytes: Uint8Array) => void} hooks.onMore What came with the answer, behind it.
 * @returns {Promise<void>}
 */
export function shake(socket, handshake, environment, { onStart, onAnswer, onMore }) {
    return new Promise((resolve, reject) => {
        const { setTimeout, clearTimeout } = environment;
        let isOpen = false;
        const timer = setTimeout(
            () => reject(new DialError("the relay did not answer in time")), dialWithin);
        const settle = (verb) => (value) => {
            clearTimeout(timer);
            verb(value);
        };
        const succeed = settle(resolve);
        const fail = settle(reject);
        onStart(fail);
        socket.onopen = () => {
            isOpen = true;
            if (socket.protocol === "pgshare.v1") socket.send(handshake.start());
            else fail(new DialError("this does not look like a pgshare relay"));
        };
        socket.onerror = () => { if (!isOpen) fail(notOpened); };
        socket.onclose = () => {
            fail(isOpen ? new DialError("the relay hung up before it answered") : notOpened);
        };
        socket.onmessage = (event) => {
            try {
                const input = { bytes: bytesOf(event.data), at: 0 };
                const answer = handshake.receive(input);
                if (answer === null) return;
                onAnswer(answer);
                succeed();
                onMore(input.bytes.subarray(input.at));
            } catch (error) {
                fail(error);
            }
        };
    });
}

/**
 * Browsers do not show the answer to a WebSocket that was refused. Whether there is a relay at
 * all can be seen without: an answer of any kind to a plain request comes through.
 *
 * @param {string} url `wss://…/v1/tunnel`.
 * @param {import("./connection.js").Environment} environment
 * @returns {Promise<DialError>}
 */
export async function whyNotOpened(url, environment) {
    const page = url.replace(/^ws/, "http").replace(/\/v1\/tunnel$/, "/healthz");
    if (await answers(page, environment)) {
        return new DialError(
            "the relay is there but refused the tunnel; most likely the token is wrong, has " +
            "expired or was revoked (a browser does not tell the reason)", true);
    }
    return new DialError(
        `the relay at ${new URL(page).host} cannot be reached: it is not running, the ` +
        "network is away, or this browser does not trust its certificate " +
        `(open ${page} in a tab to see)`);
}

async function answers(page, { fetch, setTimeout, clearTimeout }) {
    if (fetch === undefined) return false;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), 5_000);
    try {
        await fetch(page, { mode: "no-cors", cache: "no-store", signal: abort.signal });
        return true;
    } catch {
        return false;
    } finally {
        clearTimeout(timer);
    }
}

/** Lets go of a WebSocket; says `lastWords` if there are any. */
export function detach(socket, lastWords = null) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    // A WebSocket without a listener for errors throws them in some programs.
    socket.onerror = () => {};
    try {
        if (lastWords !== null && socket.readyState === 1) socket.send(lastWords);
        socket.close();
    } catch {
        // It was closed already.
    }
}

/** The bytes of a message. @throws {Violation} It is text. */
export function bytesOf(data) {
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) {
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    }
    throw new Violation("bad_payload");
}
