import NIOConcurrencyHelpers
import NIOCore

/// The listening sockets of a relay.
final class Listeners: Sendable {
    private let channels: NIOLockedValueBox<[any Channel]>

    init(_ channels: [any Channel]) { self.channels = NIOLockedValueBox(channels) }

    func add(_ channel: any Channel) { self.channels.withLockedValue { $0.append(channel) } }

    var all: [any Channel] { self.channels.withLockedValue { $0 } }

    /// Accepts nobody any more. Those who came stay.
    func close() async {
        let channels = self.channels.withLockedValue { channels in
            defer { channels = [] }
            return channels
        }
        for channel in channels { try? await channel.close().get() }
    }
}
