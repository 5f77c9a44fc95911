import Foundation
import GRDB
import SharePolicy
import Testing

@testable import ShareStore

/// A folder of a test's own, gone with it.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        self.path = NSTemporaryDirectory() + "pgshare-store-\(UUID().uuidString)"
    }

    deinit {
        try? FileManager.default.removeItem(atPath: self.path)
    }

    func mode(_ name: String) throws -> Int {
        let path = name.isEmpty ? self.path : "\(self.path)/\(name)"
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        return try #require((mode as? NSNumber)?.intValue)
    }
}

struct SQLiteShareStoreTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    let folder = TemporaryFolder()

    func open() throws -> SQLiteShareStore { try SQLiteShareStore(folder: self.folder.path) }

    static func owner(_ name: String) throws -> OwnerID {
        try #require(OwnerID(tokenName: name))
    }

    static func share(_ id: Character, _ owner: String, name: String? = nil) throws -> Share {
        var limits = ShareLimits()
        limits.maximumClients = 7
        limits.allow = [try #require(CIDR("10.0.0.0/8"))]
        return Share(
            id: try #require(ShareID(rawValue: String(repeating: id, count: 16))),
            name: try name.map { try #require(ShareName(rawValue: $0)) },
            owner: try Self.owner(owner), verifier: "SCRAM-SHA-256$4096:x$y:z",
            authMethod: .password, limits: limits, createdAt: Self.now,
            expiresAt: Self.now.addingTimeInterval(3_600), generation: 3, database: "app", user: "u"
        )
    }

    @Test func `what was confirmed is there after reopening, every field of it`() async throws {
        let share = try Self.share("a", "anna", name: "shop")
        var token: TunnelToken?
        do {
            let store = try self.open()
            token = try await store.createToken(Self.owner("anna"), now: Self.now)
            _ = try await store.upsert(share, now: Self.now)
        }
        let again = try self.open()
        #expect(try await again.allShares() == [share])
        #expect(try await again.share(share.id) == share)
        #expect(try await again.owner(of: try #require(token).hash) == Self.owner("anna"))
    }

    @Test(arguments: [true, false])
    func `of many claims at once no more than the limit are kept`(ofOwner: Bool) async throws {
        let store = try self.open()
        var limits = Claim.Limits()
        if ofOwner { limits.maximumAnOwner = 3 } else { limits.maximumInTotal = 3 }
        for name in ["anna", "ben"] {
            _ = try await store.createToken(Self.owner(name), now: Self.now)
        }
        let kept = try await withThrowingTaskGroup(of: Bool.self) { [limits] group in
            for id in "abcdefgh" {
                let share = try Self.share(id, ofOwner || id < "e" ? "anna" : "ben")
                group.addTask {
                    do {
                        _ = try await store.upsert(share, limits: limits, now: Self.now)
                        return true
                    } catch ShareStoreError.tooManyShares {
                        return false
                    }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(kept == 3)
        let all = try await store.allShares()
        #expect(all.count == 3)
        // Who is in may come again, and an ended share makes room.
        let first = try #require(all.first)
        _ = try await store.upsert(first, limits: limits, now: Self.now)
        _ = try await store.revoke(first.id, owner: nil, now: Self.now)
        let other = try Self.share("x", ofOwner ? "anna" : "ben")
        _ = try await store.upsert(other, limits: limits, now: Self.now)
    }

    @Test func `a claim is judged by what is live, itself not counted`() async throws {
        let store = try self.open()
        for name in ["anna", "ben"] {
            _ = try await store.createToken(Self.owner(name), now: Self.now)
        }
        let named = try Self.share("a", "anna", name: "shop")
        for share in [named, try Self.share("b", "anna"), try Self.share("c", "ben")] {
            _ = try await store.upsert(share, now: Self.now)
        }
        let anna = try Self.owner("anna")
        let byName = try await store.claimed(
            id: nil, name: named.name, by: anna, now: Self.now)
        #expect(byName.byID == nil)
        #expect(byName.byName?.id == named.id)
        #expect(byName.occupancy == Claim.Occupancy(ofOwner: 2, inTotal: 3))
        let byID = try await store.claimed(id: named.id, name: nil, by: anna, now: Self.now)
        #expect(byID.byID?.id == named.id)
        #expect(byID.occupancy == Claim.Occupancy(ofOwner: 1, inTotal: 2))
        let later = Self.now.addingTimeInterval(3_600)
        let ended = try await store.claimed(id: nil, name: nil, by: anna, now: later)
        #expect(ended.occupancy == Claim.Occupancy(ofOwner: 0, inTotal: 0))
    }

    /// A copy of the files taken while the store is open is what a crash leaves behind.
    @Test(arguments: Share.Kind.allCases)
    func `what stands at the other end of a share is kept`(kind: Share.Kind) async throws {
        var share = try Self.share("a", "anna")
        share.kind = kind
        do {
            let store = try self.open()
            _ = try await store.createToken(Self.owner("anna"), now: Self.now)
            #expect(try await store.upsert(share, now: Self.now) == share)
        }
        #expect(try await self.open().share(share.id) == share)
    }

    @Test func `shares of before there were kinds are those of agents`() async throws {
        let share = try Self.share("a", "anna", name: "shop")
        do {
            let store = try self.open()
            _ = try await store.createToken(Self.owner("anna"), now: Self.now)
            _ = try await store.upsert(share, now: Self.now)
            try await store.queue.write { database in
                try database.execute(sql: "ALTER TABLE share DROP COLUMN kind")
                try database.execute(
                    sql: "DELETE FROM grdb_migrations WHERE identifier = '3 kinds of shares'")
            }
        }
        let again = try self.open()
        #expect(try await again.allShares() == [share])
        #expect(share.kind == .agent)
        var browser = share
        browser.kind = .browser
        #expect(try await again.upsert(browser, now: Self.now).kind == .browser)
    }

    @Test func `a crash right after a revocation does not undo it`() async throws {
        let store = try self.open()
        _ = try await store.createToken(Self.owner("anna"), now: Self.now)
        let share = try Self.share("a", "anna")
        _ = try await store.upsert(share, now: Self.now)
        _ = try await store.revoke(share.id, owner: nil, now: Self.now)

        let crashed = TemporaryFolder()
        try FileManager.default.copyItem(atPath: self.folder.path, toPath: crashed.path)
        let again = try SQLiteShareStore(folder: crashed.path)
        #expect(try await again.share(share.id)?.state(now: Self.now) == .revoked)
        let level = try await store.queue.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") }
        #expect(level == 2, "FULL, or a power failure may undo it")
    }

    @Test func `folder and files are their owner's alone`() async throws {
        let store = try self.open()
        _ = try await store.createToken(Self.owner("anna"), now: Self.now)
        #expect(try self.folder.mode("") == 0o700)
        for suffix in ["", "-wal", "-shm"] {
            #expect(try self.folder.mode(SQLiteShareStore.fileName + suffix) == 0o600)
        }
    }

    @Test func `a token is kept as its hash only`() async throws {
        let store = try self.open()
        let token = try await store.createToken(Self.owner("anna"), now: Self.now)
        try await store.queue.writeWithoutTransaction {
            _ = try $0.checkpoint(.truncate)
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: store.path))
        #expect(bytes.range(of: Data(token.hash.hex.utf8)) != nil)
        #expect(bytes.range(of: Data(token.reveal.utf8)) == nil)
    }

    @Test func `a second valid token of a name is refused`() async throws {
        let store = try self.open()
        let anna = try Self.owner("anna")
        _ = try await store.createToken(anna, now: Self.now)
        await #expect(throws: ShareStoreError.tokenNameTaken(anna)) {
            try await store.createToken(anna, now: Self.now)
        }
    }

    @Test func `revoking a token ends its owner's live shares and nobody else's`() async throws {
        let store = try self.open()
        let token = try await store.createToken(Self.owner("anna"), now: Self.now)
        _ = try await store.createToken(Self.owner("boris"), now: Self.now)
        _ = try await store.upsert(Self.share("a", "anna"), now: Self.now)
        _ = try await store.upsert(Self.share("b", "boris"), now: Self.now)

        let ended = try await store.revokeToken(Self.owner("anna"), now: Self.now)

        #expect(ended.map(\.id.rawValue) == ["aaaaaaaaaaaaaaaa"])
        #expect(try await store.owner(of: token.hash) == nil)
        let states = try await store.allShares().map { $0.state(now: Self.now) }
        #expect(states == [.revoked, .live])
        let unknown = ShareStoreError.tokenUnknown(try Self.owner("anna"))
        await #expect(throws: unknown) {
            try await store.revokeToken(Self.owner("anna"), now: Self.now)
        }
    }

    @Test func `an owner whose token is revoked gets no share`() async throws {
        let store = try self.open()
        await #expect(throws: ShareStoreError.ownerRevoked(try Self.owner("anna"))) {
            try await store.upsert(Self.share("a", "anna"), now: Self.now)
        }
    }

    @Test func `a stale copy neither revives a share nor turns its generation back`() async throws {
        let store = try self.open()
        _ = try await store.createToken(Self.owner("anna"), now: Self.now)
        var share = try Self.share("a", "anna")
        _ = try await store.upsert(share, now: Self.now)
        _ = try await store.revoke(share.id, owner: nil, now: Self.now)
        share.generation = 1
        let kept = try await store.upsert(share, now: Self.now)
        #expect(kept.revokedAt == Self.now)
        #expect(kept.generation == 3)
    }

    @Test func `nobody else can write or revoke an owner's share`() async throws {
        let store = try self.open()
        for name in ["anna", "boris"] {
            _ = try await store.createToken(Self.owner(name), now: Self.now)
        }
        let share = try Self.share("a", "anna")
        _ = try await store.upsert(share, now: Self.now)
        await #expect(throws: ShareStoreError.shareTaken(share.id)) {
            try await store.upsert(Self.share("a", "boris"), now: Self.now)
        }
        let boris = try Self.owner("boris")
        #expect(try await store.revoke(share.id, owner: boris, now: Self.now) == nil)
        #expect(try await store.share(share.id) == share)
    }

    @Test func `a live share keeps its name and an ended one gives it up`() async throws {
        let store = try self.open()
        _ = try await store.createToken(Self.owner("anna"), now: Self.now)
        let first = try Self.share("a", "anna", name: "shop")
        let second = try Self.share("b", "anna", name: "shop")
        _ = try await store.upsert(first, now: Self.now)
        await #expect(throws: ShareStoreError.shareNameTaken(try #require(second.name))) {
            try await store.upsert(second, now: Self.now)
        }
        _ = try await store.revoke(first.id, owner: nil, now: Self.now)
        #expect(try await store.upsert(second, now: Self.now).name == second.name)
        #expect(try await store.share(first.id)?.name == nil)
    }

    @Test func `another store on the file is noticed and one's own writes are not`() async throws {
        let relay = try self.open()
        let command = try self.open()
        let before = try await relay.changeCounter()
        _ = try await relay.createToken(Self.owner("own"), now: Self.now)
        #expect(try await relay.changeCounter() == before)
        let token = try await command.createToken(Self.owner("other"), now: Self.now)
        #expect(try await relay.changeCounter() != before)
        #expect(try await relay.owner(of: token.hash) == Self.owner("other"))
    }

    @Test func `two stores that write at once wait for each other`() async throws {
        let stores = [try self.open(), try self.open()]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    let name = try Self.owner("t\(number)")
                    _ = try await stores[number % 2].createToken(name, now: Self.now)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await stores[0].tokens().count == 40)
    }

    @Test func `what is long over is forgotten and what is served is kept`() async throws {
        let store = try self.open()
        _ = try await store.createToken(Self.owner("anna"), now: Self.now)
        for id in ["a", "b", "c"] as [Character] {
            var share = try Self.share(id, "anna")
            share.expiresAt = id == "a" ? share.expiresAt : nil
            _ = try await store.upsert(share, now: Self.now)
        }
        let served = try Self.share("b", "anna").id
        let later = Self.now.addingTimeInterval(SQLiteShareStore.retention + 3_601)
        let deleted = try await store.deleteStale(served: [served], now: later)
        #expect(Set(deleted.map { $0.rawValue.first }) == ["a", "c"])
        #expect(try await store.allShares().map(\.id) == [served])
        #expect(try await store.deleteStale(served: [], now: Self.now).isEmpty)
    }

    @Test func `the audit trail tells who did what, newest first`() async throws {
        let store = try self.open()
        let anna = try Self.owner("anna")
        _ = try await store.createToken(anna, now: Self.now)
        let share = try Self.share("a", "anna")
        _ = try await store.upsert(share, now: Self.now)
        _ = try await store.upsert(share, now: Self.now)
        _ = try await store.revoke(share.id, owner: anna, now: Self.now)
        let trail = try await store.auditTrail(limit: 10)
        #expect(trail.map(\.action) == [.shareRevoked, .shareCreated, .tokenCreated])
        #expect(trail.first?.owner == anna)
        #expect(try await store.delete(share.id))
        #expect(try await !store.delete(share.id))
    }
}

struct StoreFailureTests {
    let folder = TemporaryFolder()
    static let now = SQLiteShareStoreTests.now

    @Test func `a file that is no store is called damaged`() throws {
        _ = try SQLiteShareStore(folder: self.folder.path)
        let path = "\(self.folder.path)/\(SQLiteShareStore.fileName)"
        for suffix in ["-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: path))
        #expect(throws: ShareStoreError.corrupted(path: path, reason: "file is not a database")) {
            try SQLiteShareStore(folder: self.folder.path)
        }
    }

    @Test func `a full disk is called so and keeps nothing of the change`() async throws {
        let store = try SQLiteShareStore(folder: self.folder.path)
        try await store.queue.writeWithoutTransaction {
            try $0.execute(sql: "PRAGMA max_page_count = 1")
        }
        await #expect(throws: ShareStoreError.diskFull(path: store.path)) {
            for number in 0..<500 {
                let name = try SQLiteShareStoreTests.owner("t\(number)")
                _ = try await store.createToken(name, now: Self.now)
            }
        }
        let tokens = try await store.tokens().count
        #expect(try await store.auditTrail(limit: 1_000).count == tokens)
    }

    @Test func `a file that cannot be written is called so`() async throws {
        let store = try SQLiteShareStore(folder: self.folder.path)
        try await store.queue.writeWithoutTransaction {
            try $0.execute(sql: "PRAGMA query_only = 1")
        }
        let error = ShareStoreError.readOnly(path: store.path)
        await #expect(throws: error) {
            try await store.queue.writeWithoutTransaction { database in
                do {
                    try database.execute(sql: "DELETE FROM token")
                } catch {
                    throw SQLiteShareStore.storeError(error, path: store.path)
                }
            }
        }
    }

    @Test func `a folder that is a file is refused with its path`() throws {
        try Data().write(to: URL(fileURLWithPath: self.folder.path))
        #expect(throws: ShareStoreError.self) { try SQLiteShareStore(folder: self.folder.path) }
    }

    @Test func `a file of a newer pgshare is left alone`() throws {
        let path: String
        do {
            let store = try SQLiteShareStore(folder: self.folder.path)
            path = store.path
            try store.queue.write {
                try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('9 future')")
            }
        }
        #expect(throws: ShareStoreError.newerLayout(path: path)) {
            try SQLiteShareStore(folder: self.folder.path)
        }
    }

    @Test func `a row that cannot be read is called damage and not guessed at`() async throws {
        let store = try SQLiteShareStore(folder: self.folder.path)
        _ = try await store.createToken(SQLiteShareStoreTests.owner("anna"), now: Self.now)
        _ = try await store.upsert(SQLiteShareStoreTests.share("a", "anna"), now: Self.now)
        try await store.queue.write { try $0.execute(sql: "UPDATE share SET limits = '{'") }
        let expected = ShareStoreError.corrupted(
            path: store.path, reason: "a row of share cannot be read")
        await #expect(throws: expected) { try await store.allShares() }
    }
}
