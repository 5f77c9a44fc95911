import NIOConcurrencyHelpers
import NIOCore
import SharePolicy

/// The clients that have a backend each, so that a relay that stops can end every one of them where
/// nothing is cut.
final class ClientRoster: Sendable {
    private struct Member: Sendable {
        let loop: any EventLoop
        let stream: NIOLoopBound<ClientStream>

        func end(_ reason: Refusal.Reason) {
            self.loop.execute { self.stream.value.endAtRest(reason) }
        }
    }

    private struct State {
        var members: [Int: Member] = [:]
        var last = 0
        /// Why everybody is ended; nil while nobody is.
        var ending: Refusal.Reason?
    }

    private let state = NIOLockedValueBox(State())

    /// A client came. On its event loop.
    ///
    /// - Returns: Its number, for ``leave(_:)``.
    func enter(_ stream: ClientStream, on loop: any EventLoop) -> Int {
        let member = Member(loop: loop, stream: NIOLoopBound(stream, eventLoop: loop))
        let (number, ending) = self.state.withLockedValue { state in
            state.last += 1
            state.members[state.last] = member
            return (state.last, state.ending)
        }
        // It was let in just before the doors were closed.
        if let ending { member.end(ending) }
        return number
    }

    /// It is gone.
    func leave(_ number: Int) {
        let member = self.state.withLockedValue { $0.members.removeValue(forKey: number) }
        withExtendedLifetime(member) {}
    }

    /// Ends every client as soon as it is at rest, those that still come included.
    func endAll(_ reason: Refusal.Reason) {
        let members = self.state.withLockedValue { state in
            state.ending = reason
            return Array(state.members.values)
        }
        for member in members { member.end(reason) }
    }

    /// Clients here now.
    var count: Int { self.state.withLockedValue { $0.members.count } }
}
