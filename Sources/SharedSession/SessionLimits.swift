package import NIOCore

/// How long clients of one session may keep and await it, and what the relay holds for them.
///
/// Each has a key of the relay's configuration, see README.md.
package struct SessionLimits: Hashable, Sendable {
    /// How long an exchange waits for its turn before its client is told whom it waits for (a
    /// notice). Five seconds: a person has looked up by then.
    package var noticeAfter = TimeAmount.seconds(5)
    /// How long an exchange waits for its turn at all; then it fails with 55P03. 1 s...1 h. A
    /// minute is longer than any statement of a person, and shorter than the patience of a pool.
    package var waitTimeout = TimeAmount.seconds(60)
    /// How long the holder of the session may be silent in a transaction, in the middle of a COPY
    /// or of a message, or not take its result, while others wait; then it is rolled back and
    /// ended with 25P03. 1 s...1 h.
    package var idleTimeout = TimeAmount.seconds(10)
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
