public import NIOCore

/// Sockets that have shown nothing yet, and which of them must go where there is no room.
///
/// Strangers can open sockets faster than a deadline closes them, and from many addresses. So the
/// total is never a reason to turn a client away: a newcomer takes the place of the oldest socket
/// of an address that holds more than the newcomer's own. Who has one socket and is quick is the
/// last to be displaced, whatever the others do.
///
///     accepted ──▶ authenticated            (known by now: counts no more)
///        │  └────▶ identified               (a proxy has named the client: counts for that one)
///        └───────▶ closed
///
/// Pure: no socket, no clock, no lock. Each verb takes constant time, whatever the numbers.
public struct PendingSockets: Sendable {
    /// One socket.
    public struct Ticket: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    /// Who a new socket's peer is.
    public enum Peer: Hashable, Sendable {
        /// A stranger, of an IPv4 address or an IPv6 /64: it has its share of the places.
        case address(SourceAddress)
        /// A proxy that will name its client, or that cannot: only the total bounds it.
        case proxy(SourceAddress)
    }

    /// What a new socket, or one that was identified, gets.
    public enum OnAccept: Hashable, Sendable {
        /// A place. Call ``PendingSockets/authenticated(_:)`` or ``PendingSockets/closed(_:)``.
        case proceed(Ticket)
        /// As above, in the place of another: close that one at once. It counts no more.
        case displace(Ticket, victim: Ticket)
        /// Turn it away; it does not count.
        case refuse
    }

    /// Five round trips of 300 ms (TLS 1.2, SCRAM) and some work: who takes longer than this is
    /// slow or silent.
    public static let defaultPatience = TimeAmount.seconds(2)

    /// The most sockets, of all addresses.
    public let maximum: Int
    /// The most sockets of one address.
    public let maximumAnAddress: Int
    /// How old a socket must be to be displaced by one of its own address.
    public let patience: TimeAmount

    private struct Socket {
        var peer: Peer
        var acceptedAt: NIODeadline
    }

    private var sockets: [Ticket: Socket] = [:]
    private var byPeer: [Peer: Line<Ticket>] = [:]
    /// Peers by the number of their sockets; of these, who has had it for longest is first.
    private var byCount: [Int: Line<Peer>] = [:]
    private var largest = 0
    private var lastNumber: UInt64 = 0

    /// Creates an empty set.
    ///
    /// - Parameters:
    ///   - maximum: The most sockets, at least 1.
    ///   - maximumAnAddress: The most of one address, at least 1.
    ///   - patience: How long a socket is safe from newcomers of its own address.
    public init(
        maximum: Int, maximumAnAddress: Int, patience: TimeAmount = Self.defaultPatience
    ) {
        self.maximum = max(1, maximum)
        self.maximumAnAddress = max(1, maximumAnAddress)
        self.patience = patience
    }

    /// How many there are.
    public var count: Int { self.sockets.count }

    /// How many one peer has.
    public func count(of peer: Peer) -> Int { self.byPeer[peer]?.count ?? 0 }

    /// A socket was accepted.
    public mutating func accepted(from peer: Peer, now: NIODeadline) -> OnAccept {
        self.lastNumber += 1
        return self.place(Ticket(number: self.lastNumber), peer, acceptedAt: now, now: now)
    }

    /// A proxy has named the client: the socket counts for that one from here on, with the time of
    /// its accept. One that does not count (any more) is refused.
    public mutating func identified(
        _ ticket: Ticket, as peer: Peer, now: NIODeadline
    ) -> OnAccept {
        guard let socket = self.sockets[ticket] else { return .refuse }
        self.remove(ticket)
        return self.place(ticket, peer, acceptedAt: socket.acceptedAt, now: now)
    }

    /// A socket is a stranger's no more.
    public mutating func authenticated(_ ticket: Ticket) { self.remove(ticket) }

    /// A socket is closed. To report it twice, or after it was displaced, changes nothing.
    public mutating func closed(_ ticket: Ticket) { self.remove(ticket) }

    private mutating func place(
        _ ticket: Ticket, _ peer: Peer, acceptedAt: NIODeadline, now: NIODeadline
    ) -> OnAccept {
        let socket = Socket(peer: peer, acceptedAt: acceptedAt)
        let own = self.count(of: peer)
        var victim: Ticket?
        if case .address = peer, own >= self.maximumAnAddress {
            // Somebody silent behind the same address must not keep its others out; but who is
            // logging in right now is not thrown out by the next one of a crowd.
            guard let oldest = self.byPeer[peer]?.first,
                let age = self.sockets[oldest].map({ now - $0.acceptedAt }), age >= self.patience
            else { return .refuse }
            victim = oldest
        } else if self.sockets.count >= self.maximum {
            // With as many as any other address has, only its own may make room.
            let loser = own < self.largest ? self.byCount[self.largest]?.first : peer
            guard let oldest = loser.flatMap({ self.byPeer[$0]?.first }) else { return .refuse }
            victim = oldest
        }
        if let victim { self.remove(victim) }
        self.insert(ticket, socket)
        return victim.map { .displace(ticket, victim: $0) } ?? .proceed(ticket)
    }

    private mutating func insert(_ ticket: Ticket, _ socket: Socket) {
        let before = self.count(of: socket.peer)
        self.sockets[ticket] = socket
        self.byPeer[socket.peer, default: Line()].append(ticket)
        self.recount(socket.peer, from: before, to: before + 1)
    }

    private mutating func remove(_ ticket: Ticket) {
        guard let socket = self.sockets.removeValue(forKey: ticket) else { return }
        let before = self.count(of: socket.peer)
        self.byPeer[socket.peer]?.remove(ticket)
        if before == 1 { self.byPeer[socket.peer] = nil }
        self.recount(socket.peer, from: before, to: before - 1)
    }

    private mutating func recount(_ peer: Peer, from before: Int, to after: Int) {
        self.byCount[before]?.remove(peer)
        if self.byCount[before]?.count == 0 { self.byCount[before] = nil }
        if after > 0 { self.byCount[after, default: Line()].append(peer) }
        if after > self.largest {
            self.largest = after
        } else if before == self.largest, self.byCount[before] == nil {
            // Counts move by one, so the next smaller one is there.
            self.largest = after
        }
    }
}

/// A queue that anything can leave from the middle of, in constant time.
struct Line<Element: Hashable & Sendable>: Sendable {
    private struct Neighbours {
        var older: Element?
        var newer: Element?
    }

    private var places: [Element: Neighbours] = [:]
    private(set) var first: Element?
    private var last: Element?

    var count: Int { self.places.count }

    /// Puts an element at the end; one that is there already stays where it is.
    mutating func append(_ element: Element) {
        guard self.places[element] == nil else { return }
        self.places[element] = Neighbours(older: self.last, newer: nil)
        if let last { self.places[last]?.newer = element } else { self.first = element }
        self.last = element
    }

    mutating func remove(_ element: Element) {
        guard let place = self.places.removeValue(forKey: element) else { return }
        if let older = place.older {
            self.places[older]?.newer = place.newer
        } else {
            self.first = place.newer
        }
        if let newer = place.newer {
            self.places[newer]?.older = place.older
        } else {
            self.last = place.older
        }
    }
}
