import Foundation
import SharePolicy
import Testing

struct IdentifierTests {
    @Test(arguments: UInt64(0)..<50)
    func `a made id can be read back and differs from the next`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let id = ShareID.make(using: &random)
        #expect(ShareID(rawValue: id.rawValue) == id)
        #expect(ShareID.make(using: &random) != id)
    }

    @Test(arguments: [
        "", "abc", "ABCDEFGHIJKLMNOP", "abcdefghijklmno-", "abcdefghijklmnopq", "äbcdefghijklmno",
    ])
    func `what has not the form of an id is none`(text: String) {
        #expect(ShareID(rawValue: text) == nil)
    }

    @Test(arguments: ["a", "shop", "my-shop-2", String(repeating: "a", count: 40)])
    func `a name has one to forty letters, digits and inner hyphens`(text: String) {
        #expect(ShareName(rawValue: text)?.rawValue == text)
    }

    @Test(arguments: [
        "", "-a", "a-", "Shop", "a.b", "a_b", "é", "abcdefghijklmnop",
        String(repeating: "a", count: 41),
    ])
    func `what has not the form of a name is none, an id's form included`(text: String) {
        #expect(ShareName(rawValue: text) == nil)
    }

    @Test(arguments: ["ci", "anna.b", "A-1_x", String(repeating: "t", count: 64)])
    func `a token's name can be an owner`(text: String) {
        #expect(OwnerID(tokenName: text)?.isAnonymous == false)
    }

    @Test(arguments: ["", ".a", "-a", "a b", "a/b", "~00", String(repeating: "t", count: 65)])
    func `what has not the form of a token's name is no owner`(text: String) {
        #expect(OwnerID(tokenName: text) == nil)
        #expect(OwnerID(rawValue: text) == nil)
    }

    @Test func `an anonymous owner follows its token and cannot be a token's name`() throws {
        var random = SeededGenerator(seed: 1)
        let token = TunnelToken.make(using: &random)
        let owner = OwnerID(anonymous: token.hash)
        #expect(owner.isAnonymous)
        #expect(owner == OwnerID(anonymous: token.hash))
        #expect(owner != OwnerID(anonymous: TunnelToken.make(using: &random).hash))
        #expect(OwnerID(tokenName: owner.rawValue) == nil)
        #expect(OwnerID(rawValue: owner.rawValue) == owner)
    }
}

struct TunnelTokenTests {
    @Test(arguments: UInt64(0)..<50)
    func `a made token can be read back`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let token = TunnelToken.make(using: &random)
        #expect(TunnelToken(token.reveal) == token)
        #expect(token.reveal.utf8.count == TunnelToken.length)
        #expect(TunnelToken.make(using: &random) != token)
    }

    @Test func `all 256 bits of a token come from the generator`() {
        struct Constant: RandomNumberGenerator {
            mutating func next() -> UInt64 { .max }
        }
        var ones = Constant()
        let text = TunnelToken.make(using: &ones).reveal
        #expect(text == "pgs_" + String(repeating: "_", count: 42) + "8")
    }

    @Test(arguments: [
        "", "pgs_", "pgs_" + String(repeating: "+", count: 43), String(repeating: "a", count: 47),
    ])
    func `what has not the form of a token is none`(text: String) {
        #expect(TunnelToken(text) == nil)
    }

    @Test func `a token and its hash never describe themselves`() {
        var random = SeededGenerator(seed: 2)
        let token = TunnelToken.make(using: &random)
        #expect("\(token)" == "…")
        #expect(String(reflecting: token) == "…")
        #expect("\(token.hash)" == "…")
    }

    /// Source: `printf pgs_AAA…A | sha256sum`, 43 times A.
    @Test func `a hash is the SHA-256 of the token's text and survives JSON`() throws {
        let text = "pgs_" + String(repeating: "A", count: 43)
        let hash = try #require(TunnelToken(text)).hash
        #expect(hash.hex == "027cf0d731ae9ff650951e4105922d62a214c700e5a43ebadffec63d7494f9af")
        let json = try JSONEncoder().encode([hash])
        #expect(try JSONDecoder().decode([TokenHash].self, from: json) == [hash])
        #expect(TokenHash(hex: hash.hex.uppercased()) == nil)
    }
}
