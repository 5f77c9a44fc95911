package import NIOCore

/// How a tunnel came to its end, for who makes the next one.
package enum TunnelEnd: Hashable, Sendable {
    /// The relay is being replaced: it said GOAWAY, or that it stops.
    case replaced
    /// The relay answers, but does not know the link any more: it was restarted, or was killed.
    case forgotten
    /// It fell for another reason, or for none that was said.
    case lost(LinkError?)

    /// Why a person should wait for the next one.
    package var error: LinkError {
        switch self {
        case .replaced:
            LinkError(code: LinkError.relayStopping, message: "the relay stops again", retry: true)
        case .lost(.some(let error)):
            error
        case .forgotten, .lost(.none):
            LinkError(
                code: "lost", message: "the connection to the relay was lost", retry: true)
        }
    }

    /// What the last ERROR of a tunnel says of its end.
    ///
    /// - Parameters:
    ///   - error: The ERROR, if there was one.
    ///   - isDraining: Whether GOAWAY came before it. The two may come together.
    package init(_ error: LinkError?, isDraining: Bool) {
        switch error {
        case .some(let error) where !error.retry: self = .lost(error)
        case .some(let error) where error.code == LinkError.relayStopping: self = .replaced
        case .some, .none:
            if isDraining {
                self = .replaced
            } else if error?.code == LinkError.resumeExpired {
                self = .forgotten
            } else {
                self = .lost(error)
            }
        }
    }
}

/// When an agent says HELLO again, after one that failed, or after a tunnel.
///
/// A relay that was restarted is there, so it is asked at once. One that takes tunnels and drops
/// them is asked less and less often, whatever it says: every HELLO costs it a write to its disk.
///
/// Pure.
package struct TunnelPace: Sendable {
    /// A tunnel that stood for so long did not fall because of what was asked for.
    package static let steadyAfter = TimeAmount.seconds(10)
    /// A relay that is restarted or replaced so soon after its HELLO_OK is suspect.
    static let hasty = TimeAmount.seconds(1)
    /// So often in a row it may be, for a person in a hurry.
    static let mostHasty = 5

    /// Of tries that nobody, or a no, answered.
    private var tries = Backoff()
    /// Of tunnels that fell.
    private var falls = Backoff()
    private var hastyEnds = 0

    package init() {}

    /// HELLO_OK came: the outage is over, and the next one begins anew.
    package mutating func stands() { self.tries.reset() }

    /// The wait after a HELLO without HELLO_OK.
    package mutating func waitAfterFailure(
        using generator: inout some RandomNumberGenerator
    ) -> TimeAmount {
        self.tries.next(using: &generator)
    }

    /// The wait after a tunnel.
    ///
    /// - Parameters:
    ///   - end: How it ended.
    ///   - stood: Since its HELLO_OK.
    ///   - generator: For the jitter.
    /// - Returns: nil for none.
    package mutating func wait(
        after end: TunnelEnd, stood: TimeAmount, using generator: inout some RandomNumberGenerator
    ) -> TimeAmount? {
        if stood >= Self.steadyAfter { self.falls.reset() }
        switch end {
        case .replaced, .forgotten:
            self.hastyEnds = stood < Self.hasty ? min(self.hastyEnds, Self.mostHasty) + 1 : 0
            return self.hastyEnds > Self.mostHasty ? self.falls.next(using: &generator) : nil
        case .lost:
            return self.falls.next(using: &generator)
        }
    }
}
