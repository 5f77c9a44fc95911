import NIOCore
import SharePolicy
import Testing

struct PendingSocketsTests {
    typealias Peer = PendingSockets.Peer
    typealias Ticket = PendingSockets.Ticket

    static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    static func peer(_ number: Int) -> Peer { .address(SourceAddress("192.0.2.\(number)")) }
    static let proxy = Peer.proxy(SourceAddress("198.51.100.1"))

    static func small(maximum: Int = 6, anAddress: Int = 4) -> PendingSockets {
        PendingSockets(maximum: maximum, maximumAnAddress: anAddress, patience: .seconds(2))
    }

    /// The ticket of what was accepted, and whose place it took.
    static func place(
        _ answer: PendingSockets.OnAccept
    ) -> (ticket: Ticket?, victim: Ticket?) {
        switch answer {
        case .proceed(let ticket): (ticket, nil)
        case .displace(let ticket, let victim): (ticket, victim)
        case .refuse: (nil, nil)
        }
    }

    /// One row: how many sockets addresses 1, 2, … have, who comes, and whose oldest must go.
    struct Row: CustomTestStringConvertible {
        var held: [Int]
        var newcomer: Int
        /// The address that gives a place up; 0: nobody, -1: the newcomer is refused.
        var loser: Int

        var testDescription: String { "\(self.held), \(self.newcomer) comes: \(self.loser)" }
    }

    @Test(arguments: [
        Row(held: [4, 1], newcomer: 3, loser: 0),  // There is room.
        Row(held: [4, 2], newcomer: 3, loser: 1),  // Who has most gives one up.
        Row(held: [2, 4], newcomer: 1, loser: 2),
        Row(held: [3, 3], newcomer: 1, loser: 1),  // With as many as anybody: one of its own.
        Row(held: [3, 3], newcomer: 2, loser: 2),
        Row(held: [3, 3], newcomer: 3, loser: 1),  // Of equals, who has had it for longest.
        Row(held: [1, 1, 1, 1, 1, 1], newcomer: 7, loser: 1),
        Row(held: [1, 1, 1, 1, 1, 1], newcomer: 4, loser: 4),
        Row(held: [2, 2, 1, 1], newcomer: 3, loser: 1),
        Row(held: [4, 2], newcomer: 1, loser: -1),  // All of its own are fresh.
    ])
    func `a newcomer displaces the oldest socket of who has most`(row: Row) throws {
        var sockets = Self.small()
        var oldest: [Int: Ticket] = [:]
        for (index, count) in row.held.enumerated() {
            for _ in 0..<count {
                let answer = sockets.accepted(from: Self.peer(index + 1), now: Self.start)
                let ticket = try #require(Self.place(answer).ticket)
                if oldest[index + 1] == nil { oldest[index + 1] = ticket }
            }
        }
        let before = sockets.count(of: Self.peer(row.newcomer))
        let answer = sockets.accepted(from: Self.peer(row.newcomer), now: Self.start)
        switch row.loser {
        case -1:
            #expect(answer == .refuse)
        case 0:
            #expect(Self.place(answer).victim == nil)
            #expect(sockets.count(of: Self.peer(row.newcomer)) == before + 1)
        default:
            #expect(Self.place(answer).victim == oldest[row.loser])
            let gained = row.loser == row.newcomer ? 0 : 1
            #expect(sockets.count(of: Self.peer(row.newcomer)) == before + gained)
        }
        #expect(sockets.count <= 6)
    }

    @Test func `an address at its limit displaces its own silent ones and no fresh ones`() throws {
        var sockets = Self.small(maximum: 100)
        let first = try #require(
            Self.place(sockets.accepted(from: Self.peer(1), now: Self.start)).ticket)
        for _ in 0..<3 { _ = sockets.accepted(from: Self.peer(1), now: Self.start) }
        let early = Self.start + .seconds(2) - .nanoseconds(1)
        #expect(sockets.accepted(from: Self.peer(1), now: early) == .refuse)
        let answer = sockets.accepted(from: Self.peer(1), now: Self.start + .seconds(2))
        #expect(Self.place(answer).victim == first)
        #expect(sockets.count(of: Self.peer(1)) == 4)
    }

    @Test func `logging in and closing both give the place back, once`() throws {
        var sockets = Self.small()
        let tickets = try (0..<3).map { _ in
            try #require(Self.place(sockets.accepted(from: Self.peer(1), now: Self.start)).ticket)
        }
        sockets.authenticated(tickets[0])
        sockets.closed(tickets[1])
        sockets.closed(tickets[1])
        sockets.closed(tickets[0])
        #expect(sockets.count == 1)
        #expect(sockets.count(of: Self.peer(1)) == 1)
    }

    @Test func `a proxy's sockets count for its clients once it has named them`() throws {
        var sockets = Self.small(maximum: 10, anAddress: 2)
        var tickets: [Ticket] = []
        for _ in 0..<6 {
            let answer = sockets.accepted(from: Self.proxy, now: Self.start)
            tickets.append(try #require(Self.place(answer).ticket))
        }
        #expect(sockets.count(of: Self.proxy) == 6)
        for ticket in tickets[..<2] {
            let answer = sockets.identified(ticket, as: Self.peer(1), now: Self.start)
            #expect(answer == .proceed(ticket))
        }
        let third = sockets.identified(tickets[2], as: Self.peer(1), now: Self.start)
        #expect(third == .refuse)
        #expect(sockets.count(of: Self.proxy) == 3)
        #expect(sockets.count(of: Self.peer(1)) == 2)
        #expect(sockets.count == 5)
        #expect(sockets.identified(tickets[2], as: Self.peer(2), now: Self.start) == .refuse)
    }

    /// 10,000 silent sockets of as many addresses, and one client that logs in meanwhile.
    @Test func `a flood from everywhere displaces its own before a client that is quick`() throws {
        var sockets = PendingSockets(maximum: 4_096, maximumAnAddress: 64)
        func stranger(_ number: Int) -> Peer {
            .address(SourceAddress("10.\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)"))
        }
        for number in 0..<10_000 {
            _ = sockets.accepted(from: stranger(number), now: Self.start)
        }
        #expect(sockets.count == 4_096)
        let client = try #require(
            Self.place(sockets.accepted(from: Self.peer(1), now: Self.start)).ticket)
        for number in 10_000..<14_095 {
            let answer = sockets.accepted(from: stranger(number), now: Self.start)
            #expect(Self.place(answer).victim != client)
        }
        #expect(sockets.count(of: Self.peer(1)) == 1)
    }

    /// Any order of events, also such as a shell must not send.
    @Test(arguments: UInt64(0)..<200)
    func `counts stay within their limits and who has most loses`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var sockets = Self.small(maximum: 12, anAddress: 4)
        var owner: [Ticket: Peer] = [:]
        var old: [Ticket] = []
        let peers = (1...6).map(Self.peer) + [Self.proxy]
        var now = Self.start
        for _ in 0..<300 {
            now = now + .milliseconds(.random(in: 0...900, using: &random))
            let peer = peers[Int.random(in: 0..<peers.count, using: &random)]
            let before = peers.map { sockets.count(of: $0) }
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1, 2, 3:
                let (ticket, victim) = Self.place(sockets.accepted(from: peer, now: now))
                if let victim, let loser = owner.removeValue(forKey: victim) {
                    old.append(victim)
                    let had = before[peers.firstIndex(of: loser) ?? 0]
                    #expect(had >= before[peers.firstIndex(of: peer) ?? 0])
                    #expect(loser == peer || had == before.max())
                }
                if let ticket { owner[ticket] = peer }
            case 4:
                guard let ticket = owner.keys.randomElement(using: &random) else { continue }
                owner[ticket] = nil
                old.append(ticket)
                sockets.closed(ticket)
            default:
                guard let ticket = owner.keys.randomElement(using: &random) else { continue }
                switch sockets.identified(ticket, as: peer, now: now) {
                case .proceed: owner[ticket] = peer
                case .displace(_, let victim):
                    owner[victim] = nil
                    owner[ticket] = peer
                case .refuse: owner[ticket] = nil
                }
            }
            if let gone = old.randomElement(using: &random) { sockets.closed(gone) }
            for peer in peers {
                #expect(sockets.count(of: peer) == owner.values.count { $0 == peer })
            }
            #expect(peers.dropLast().allSatisfy { sockets.count(of: $0) <= 4 })
            #expect(sockets.count == owner.count)
            #expect(sockets.count <= 12)
        }
    }
}
