import Foundation
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

struct ShareDirectoryTests {
    private let now = Date()

    private func share(_ change: (inout Share) -> Void = { _ in }) throws -> Share {
        var share = try Fixture().share
        change(&share)
        return share
    }

    private func online(_ directory: ShareDirectory, _ share: Share) -> AcceptorDouble {
        let acceptor = AcceptorDouble()
        _ = directory.tunnelUp(share, acceptor: acceptor, generation: 1, now: self.now)
        return acceptor
    }

    @Test func `a share is found by its id and by its name`() throws {
        let directory = ShareDirectory()
        let share = try self.share()
        #expect(directory.load([share], now: self.now).isEmpty)
        let name = try #require(share.name)

        #expect(directory.find(.id(share.id))?.share == share)
        #expect(directory.find(.name(name))?.share == share)
        #expect(directory.find(.id(share.id))?.acceptor == nil)
    }

    @Test func `a newer tunnel displaces an older one, and an older one is stale`() throws {
        let directory = ShareDirectory()
        let share = try self.share()
        let first = self.online(directory, share)
        let second = AcceptorDouble()
        let up = directory.tunnelUp(share, acceptor: second, generation: 2, now: self.now)
        guard case .serving(let displaced) = up else {
            Issue.record("the newer tunnel does not serve")
            return
        }
        #expect(displaced === first)

        let late = directory.tunnelUp(share, acceptor: first, generation: 1, now: self.now)
        guard case .stale = late else {
            Issue.record("an older tunnel took over")
            return
        }
        #expect(!directory.tunnelDown(share.id, generation: 1))
        #expect(directory.find(.id(share.id))?.acceptor === second)
        #expect(directory.tunnelDown(share.id, generation: 2))
        #expect(directory.find(.id(share.id))?.acceptor == nil)
    }

    @Test func `tunnels that another one follows end with the share, until they are down`() throws {
        let share = try self.share()
        var revoked = share
        revoked.revokedAt = self.now
        let ends: [(ShareDirectory) -> [ShareDirectory.Ending]] = [
            { $0.ended(share.id, .shareEnded) },
            { $0.load([revoked], now: self.now) },
            { $0.load([], now: self.now) },
        ]
        for end in ends {
            let directory = ShareDirectory()
            let first = self.online(directory, share)
            let (second, third) = (AcceptorDouble(), AcceptorDouble())
            _ = directory.tunnelUp(share, acceptor: second, generation: 2, now: self.now)
            _ = directory.tunnelUp(share, acceptor: third, generation: 3, now: self.now)
            #expect(!directory.tunnelDown(share.id, generation: 2))
            #expect(directory.load([share], now: self.now).isEmpty)
            let ended = end(directory).map { ObjectIdentifier($0.acceptor) }
            #expect(Set(ended) == [ObjectIdentifier(first), ObjectIdentifier(third)])
            #expect(end(directory).isEmpty)
        }
    }

    @Test func `revocation returns the tunnel to tell, once`() throws {
        let directory = ShareDirectory()
        let share = try self.share()
        let acceptor = self.online(directory, share)

        let endings = directory.ended(share.id, .shareEnded)
        #expect(endings.map(\.reason) == [.shareEnded])
        #expect(endings.first?.acceptor === acceptor)
        #expect(directory.ended(share.id, .shareEnded).isEmpty)
        #expect(directory.find(.id(share.id))?.isLive(now: self.now) == false)
    }

    @Test func `a store that was read too early does not bring an ended share back`() throws {
        let directory = ShareDirectory()
        let share = try self.share()
        _ = self.online(directory, share)
        _ = directory.ended(share.id, .shareEnded)
        _ = directory.load([share], now: self.now)

        #expect(directory.find(.id(share.id))?.isLive(now: self.now) == false)
    }

    @Test func `expiry ends the live tunnel`() throws {
        let directory = ShareDirectory()
        let share = try self.share { $0.expiresAt = self.now.addingTimeInterval(60) }
        let acceptor = self.online(directory, share)

        #expect(directory.expire(now: self.now.addingTimeInterval(59)).isEmpty)
        let endings = directory.expire(now: self.now.addingTimeInterval(60))
        #expect(endings.first?.acceptor === acceptor)
        #expect(directory.expire(now: self.now.addingTimeInterval(61)).isEmpty)
    }

    @Test func `a share that the store lost ends its tunnel, others keep theirs`() throws {
        let directory = ShareDirectory()
        let kept = try self.share { $0.name = nil }
        let lost = try self.share { $0.name = nil }
        let keptTunnel = self.online(directory, kept)
        let lostTunnel = self.online(directory, lost)

        let endings = directory.load([kept], now: self.now)
        #expect(endings.map(\.reason) == [.shareEnded])
        #expect(endings.first?.acceptor === lostTunnel)
        #expect(directory.find(.id(kept.id))?.acceptor === keptTunnel)
        #expect(directory.find(.id(lost.id)) == nil)
    }

    @Test func `a renamed share is found by its new name alone`() throws {
        let directory = ShareDirectory()
        var share = try self.share()
        _ = self.online(directory, share)
        let old = try #require(share.name)
        let new = try #require(ShareName(rawValue: "green"))
        share.name = new
        _ = directory.tunnelUp(share, acceptor: AcceptorDouble(), generation: 2, now: self.now)

        #expect(directory.find(.name(old)) == nil)
        #expect(directory.find(.name(new))?.share.id == share.id)
    }

    @Test func `a share claimed while the store was read is not taken for lost`() throws {
        let directory = ShareDirectory()
        let claims = directory.claims
        let share = try self.share()
        let tunnel = self.online(directory, share)

        #expect(directory.load([], readAt: claims, now: self.now).isEmpty)
        #expect(directory.find(.id(share.id))?.acceptor === tunnel)
        #expect(directory.load([], readAt: directory.claims, now: self.now).count == 1)
    }

    @Test(arguments: [false, true])
    func `a share that is over does not hide the live one of its name`(overFirst: Bool) throws {
        let over = try self.share { $0.revokedAt = self.now }
        let live = try self.share { $0.name = over.name }
        let directory = ShareDirectory()
        let name = try #require(live.name)

        _ = directory.load(overFirst ? [over, live] : [live, over], now: self.now)
        #expect(directory.find(.name(name))?.share.id == live.id)
        _ = directory.ended(over.id, .shareEnded)
        #expect(directory.find(.name(name))?.share.id == live.id)
    }

    @Test func `the gauge shows how many shares have a tunnel`() throws {
        let online = RelayMetrics().sharesOnline
        let directory = ShareDirectory(online: online)
        let first = try self.share { $0.name = nil }
        let second = try self.share { $0.name = nil }
        _ = directory.load([first, second], now: self.now)
        #expect(online.value == 0)
        _ = self.online(directory, first)
        _ = self.online(directory, second)
        #expect(online.value == 2)
        _ = directory.tunnelUp(first, acceptor: AcceptorDouble(), generation: 2, now: self.now)
        #expect(online.value == 2)
        _ = directory.tunnelDown(first.id, generation: 2)
        _ = directory.ended(second.id, .shareEnded)
        #expect(online.value == 0)
    }
}
