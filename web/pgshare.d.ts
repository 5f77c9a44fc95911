/** What is shared: PGlite, or anything with these of its methods. */
export interface Database {
    /** Runs whole frontend messages, gives the backend's bytes. */
    execProtocolRaw(
        bytes: Uint8Array, options?: { syncToFs?: boolean; throwOnError?: boolean },
    ): Promise<Uint8Array>;
    /**
     * The same, in pieces. Used only if the database has `streamsReplies` and, where it has that,
     * `canSuspend`: PGlite's own keeps its callback. The next piece is given when the promise that
     * `onRawData` returned is fulfilled.
     */
    execProtocolRawStream?(
        bytes: Uint8Array,
        options: {
            onRawData: (piece: Uint8Array) => any;
            syncToFs?: boolean;
            throwOnError?: boolean;
            /** The buffer of a piece may be used again when `onRawData` is done with it. */
            recyclesPieces?: boolean;
        },
    ): Promise<unknown>;
    streamsReplies?: boolean;
    canSuspend?: boolean;
    /** Runs something alone. Without it the page's own queries may come between a client's. */
    runExclusive?(work: () => Promise<any>): Promise<any>;
    onNotification?(
        listener: (channel: string, payload: string) => void,
    ): (() => void) | Promise<unknown> | void;
    /** Told when the engine started a new session by itself. */
    onRestart?(listener: (...facts: any[]) => void): (() => void) | void;
    waitReady?: Promise<unknown>;
    /** Writes what was committed to the browser's storage. */
    syncToFs?(): Promise<unknown>;
    /** A fresh session over the same files. */
    restart?(): Promise<unknown>;
}

export interface ShareOptions {
    /** `https://relay.example.com:8443`, or `http://127.0.0.1:PORT` on this machine. */
    relay: string;
    /** The relay's token for its owner, or a function that gives one; asked before each dial. */
    token: string | (() => string | Promise<string>);
    /** A name for the share, part of its address: 1 to 40 of a-z, 0-9 and hyphens. */
    name?: string;
    /** The id of a share that this owner had before: it keeps its address. */
    id?: string;
    /** 12 to 1000 printable ASCII characters; default: 24 random ones. It never leaves the page. */
    password?: string;
    /** How long the share lasts: seconds, or such as `8h`; default: what the relay says. */
    expires?: number | string;
    /** One client at a time; default: several. */
    exclusive?: boolean;
    /** Clients at once, 1 to 10,000; default 20. */
    maxConnections?: number;
    /** Networks that clients may come from, such as `192.0.2.0/24`; default: all. */
    allow?: string[];
    /** How long a client waits for its turn at most: 1 s to 1 h. */
    wait?: number | string;
    /** How long a client may idle in a transaction while others wait: 1 s to 1 h. */
    idle?: number | string;
    /** Told what happens. */
    onEvent?: (event: ShareEvent) => void;
    /** Makes a fresh session after the engine failed; may give another database object. */
    restart?: () => unknown;
    /** Bytes that one call of a client may have, COPY data included; default 256 MiB. */
    maximumCallBytes?: number;
    /** Milliseconds that the relay may stay away at first; default 20,000. */
    connectTimeout?: number;
}

export type ShareEvent =
    | { type: "shared" | "reconnected"; id: string; url: string }
    | { type: "client-connected"; client: number; address?: string; application?: string }
    | { type: "client-disconnected"; client: number }
    /** The connection to the relay was lost: clients wait. */
    | { type: "tunnel-lost" }
    /** It is back, and no client noticed. */
    | { type: "tunnel-resumed" }
    /** It did not come back in time: its clients were disconnected. */
    | { type: "tunnel-expired" }
    | { type: "retrying"; reason: string; seconds: number }
    | { type: "relay-draining" }
    | { type: "engine-fault"; message: string; restarted: boolean }
    | { type: "engine-restarted" }
    | { type: "page-hidden" | "page-visible" | "page-frozen" | "page-resumed" }
    | { type: "online" | "offline" }
    /** For good. */
    | { type: "closed"; code: string; reason: string };

export class Share {
    private constructor();
    /** 16 characters; pass it as `options.id` to keep the address over a reload. */
    readonly id: string;
    readonly name: string | null;
    /** What clients connect to. Holds the password. */
    readonly url: string;
    /** A line to paste. Holds the password. */
    readonly psql: string;
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
    readonly expiresAt: Date;
    readonly state: "connecting" | "online" | "resuming" | "closed";
    /** Clients that are connected now. */
    readonly clients: number;
    /** Stops sharing: clients are told at once, open transactions are rolled back. */
    close(): Promise<void>;
}

/** Why sharing did not work, or ended. */
export class ShareError extends Error {
    constructor(code: string, message: string);
    /** A stable word: PROTOCOL.md, "Close reasons"; or `unreachable`, `closed`. */
    readonly code: string;
}

/**
 * Shares a database until `close()`, or until the page goes away.
 *
 * @returns Once clients can connect.
 * @throws TypeError if an option cannot work.
 * @throws ShareError if the relay refused, or could not be reached.
 */
export function share(db: Database, options: ShareOptions): Promise<Share>;
