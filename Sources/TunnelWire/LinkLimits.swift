package import NIOCore

/// What one link may use. Both ends have their own; what the peer must know travels in HELLO_OK
/// and OPEN.
///
/// Source of the defaults: `PROTOCOL.md`, "Limits".
package struct LinkLimits: Sendable, Hashable {
    /// Credit a stream starts with, in bytes; 16 KiB...4 MiB.
    ///
    /// 256 KiB fills a 20 Mbit/s link at 100 ms round trip.
    package var initialWindowBytes = 256 * 1024
    /// Credit a stream may grow to, in bytes. 4 MiB is 320 Mbit/s at 100 ms.
    package var maximumWindowBytes = 4 * 1024 * 1024
    /// The least credit a stream gets when the budget is used up, in bytes.
    package var minimumWindowBytes = 32 * 1024
    /// What all windows of a link may add up to, in bytes, before new streams start smaller.
    package var windowBudgetBytes = 16 * 1024 * 1024
    /// Counted bytes kept until they are acknowledged. Full means back-pressure.
    package var replayBytes = 4 * 1024 * 1024
    /// Streams at once. A stream of a stalled client costs at least the minimum window.
    package var maximumStreams = 10_000
    /// Bytes that wait for credit on one stream before its source is paused.
    package var queueHighWaterBytes = 128 * 1024
    /// An ACK goes out when this many bytes came since the last one: a sixteenth of what the peer
    /// keeps for replay. At 64 KiB an ACK stood between every two reads of a COPY.
    package var acknowledgeEveryBytes = 256 * 1024
    /// An ACK goes out this long after the first byte that is not acknowledged.
    package var acknowledgeWithin = TimeAmount.milliseconds(100)
    /// Silence after which the peer is asked whether it is there.
    package var pingAfter = TimeAmount.seconds(10)
    /// Silence after which the connection is given up.
    package var deadAfter = TimeAmount.seconds(25)
    /// How often the shell should call ``LinkMachine/tick(now:)``.
    package var tickEvery = TimeAmount.milliseconds(2_500)

    package init() {}

    /// What a browser's link gets: less memory on both sides.
    package static let browser: LinkLimits = {
        var limits = LinkLimits()
        limits.maximumWindowBytes = 1024 * 1024
        limits.windowBudgetBytes = 4 * 1024 * 1024
        limits.replayBytes = 1024 * 1024
        return limits
    }()

    /// Payload bytes up to which a frame is copied beside its header; larger ones go by
    /// reference. A copy of 16 KiB costs less than a TLS record and a write of its own.
    package static let inlinePayloadBytes = 16 * 1024
    /// Bytes gathered into one write before it goes out.
    package static let chunkBytes = 64 * 1024
    /// What a stream may send in its turn while others wait, in bytes.
    package static let quantumBytes = 16 * 1024
    /// The largest window a peer may claim, in bytes; more is a lie about credit.
    package static let maximumClaimedWindowBytes: UInt64 = 64 * 1024 * 1024
}
