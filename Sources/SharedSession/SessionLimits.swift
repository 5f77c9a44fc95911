package import NIOCore

/// How long clients of one session may keep and await it, and what the relay holds for them.
///
/// Waits have keys of the relay's configuration, see README.md.
package struct SessionLimits: Hashable, Sendable {
    /// How long an exchange waits for its turn before its client is told whom it waits for (a
    /// notice). Five seconds: a person has looked up by then.
    package var noticeAfter = TimeAmount.seconds(5)
    /// How long an exchange waits for its turn at all; then it fails with 55P03. 1 s...1 h. A
    /// minute is longer than any statement of a person, and shorter than the patience of a pool.
    package var waitTimeout = TimeAmount.seconds(60)
    /// How long the holder of the session may be silent in a transaction, in the middle of a COPY
    /// or of a message, or not take its result, while others wait; then it is rolled back and
    /// ended with 25P03: a COPY is a transaction, too. 1 s...1 h.
    package var idleTimeout = TimeAmount.seconds(10)
    /// Bytes that the holder must send within ``idleTimeout``, where the engine waits for them, in
    /// order not to count as silent: 16 KiB, 1 B...1 MiB. A modem sends more; who sends less keeps
    /// everybody waiting.
    package var progressBytes = 16 * 1024
    /// How long a client that has just come waits for its turn to be greeted by the engine's own
    /// values. After that it is greeted with what is known of them.
    package var greetWithin = TimeAmount.seconds(1)
    /// How long the session stays taken after an exchange, in case another one follows. Queries of
    /// the page wait for that long.
    package var lingerFor = TimeAmount.milliseconds(20)
    /// How long clients may keep the session from the page without a break, transactions aside.
    package var holdAtMost = TimeAmount.milliseconds(250)
    /// Bytes of a client that waits for its turn before its socket is not read any more.
    package var queuedBytes = 64 * 1024
    /// Bytes of one statement's text, which is read whole: 16 MiB. Larger data go by COPY or as
    /// parameters, which are passed on as they come.
    package var statementBytes = 16 * 1024 * 1024
    /// Bytes of the statements prepared by one client that are kept to prepare them anew in an
    /// engine that was restarted. What is above is lost with the engine (26000).
    package var keptStatementBytes = 256 * 1024
    /// Bytes of the COPY … FROM STDIN statements that one client has prepared or bound, which are
    /// sent a second time with the data: 256 KiB, 1 KiB...16 MiB. Above that they are refused with
    /// 54000. In simple Queries they have no limit but ``statementBytes``.
    package var copyStatementBytes = 256 * 1024
    /// Statements that one client may have prepared at once: 10,000, 1...1,000,000. Above that it
    /// is ended with 53400. Postgres has no limit but memory, and the relay's is for all.
    package var statements = 10_000
    /// Portals of one client whose statement matters beyond its result (COPY, LISTEN, DEALLOCATE,
    /// transaction control): 1,000, 1...100,000. Above that it is ended with 53400. Others are
    /// the engine's alone.
    package var portals = 1_000
    /// Channels that one client listens to, LISTENs and savepoints of its transaction included:
    /// 10,000, 1...1,000,000. Above that it is ended with 53400.
    package var channels = 10_000

    package init() {}
}

/// What the engine on the other side can do.
package struct EngineCapabilities: Hashable, Sendable {
    /// Whether `COPY … FROM STDIN` works when all of it comes in one call.
    package var copiesIn = true
    /// Whether it can be restarted when it failed.
    package var restarts = true
    /// Whether several messages in one call take it no longer than one.
    package var batches = true
    /// Whether a page's own queries can be kept out by ``SharedSession/Action/hold``.
    package var holds = true

    package init() {}
}
