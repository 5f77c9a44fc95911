import SharePolicy
import Testing

struct ShareAddressTests {
    static let id = "abcdefghij012345"
    static let other = "zzzzzzzzzz999999"

    /// What one of the three places says: nothing, the share, or another share.
    enum Place: CaseIterable {
        case silent, names, disagrees

        var text: String? {
            switch self {
            case .silent: nil
            case .names: ShareAddressTests.id
            case .disagrees: ShareAddressTests.other
            }
        }
    }

    struct Row: Sendable {
        var serverName: Place
        var option: Place
        var user: Place
    }

    static let rows = Place.allCases.flatMap { serverName in
        Place.allCases.flatMap { option in
            Place.allCases.map { Row(serverName: serverName, option: option, user: $0) }
        }
    }

    /// All 27 combinations. What is expected is told by counting, not by the code's own order.
    @Test(arguments: rows)
    func `places that agree name the share and places that differ are refused`(row: Row) throws {
        let texts = [row.serverName, row.option, row.user].compactMap(\.text)
        let result = ShareAddress.resolve(
            serverName: row.serverName.text.map { "\($0).example.com" } ?? "example.com",
            domain: "example.com",
            option: row.option.text,
            user: row.user.text.map { "anna.\($0)" } ?? "anna"
        )
        switch Set(texts).count {
        case 0:
            #expect(result.reason == .shareNotNamed)
        case 1:
            let resolution = try result.get()
            #expect(resolution.key.text == texts.first)
            #expect(resolution.loginUser == (row.user == .silent ? nil : "anna"))
            let source: ShareAddress.Source =
                row.serverName != .silent
                ? .serverName : row.option != .silent ? .option : .user
            #expect(resolution.source == source)
        default:
            #expect(result.reason == .shareAddressDisagrees)
        }
    }

    @Test(arguments: ["SHOP.Example.COM", "shop.example.com.", "Shop.example.com"])
    func `a server name is read as DNS reads it`(serverName: String) throws {
        let resolution = try ShareAddress.resolve(
            serverName: serverName, domain: "Example.com", option: nil, user: "anna"
        ).get()
        #expect(resolution.key == ShareName(rawValue: "shop").map(ShareKey.name))
    }

    @Test(arguments: [nil, "example.com", "127.0.0.1", "shop.example.org", "shopexample.com"])
    func `a server name outside the domain names no share`(serverName: String?) {
        let result = ShareAddress.resolve(
            serverName: serverName, domain: "example.com", option: nil, user: "anna")
        #expect(result.reason == .shareNotNamed)
    }

    @Test(arguments: ["a.b.example.com", "-a.example.com", ".example.com", "a_b.example.com"])
    func `a malformed label is refused as such`(serverName: String) {
        let result = ShareAddress.resolve(
            serverName: serverName, domain: "example.com", option: id(), user: nil)
        #expect(result.reason == .badShareAddress)
    }

    @Test(arguments: ["", "a b", "-x"])
    func `a malformed option is refused as such`(option: String) {
        let result = ShareAddress.resolve(
            serverName: nil, domain: "example.com", option: option, user: nil)
        #expect(result.reason == .badShareAddress)
    }

    @Test func `a user keeps every dot but the last`() throws {
        let resolution = try ShareAddress.resolve(
            serverName: nil, domain: "localhost", option: nil, user: "anna.b.shop"
        ).get()
        #expect(resolution.loginUser == "anna.b")
        #expect(resolution.key.text == "shop")
    }

    @Test func `a user that is nothing but a share is refused`() {
        let result = ShareAddress.resolve(
            serverName: nil, domain: "localhost", option: nil, user: ".shop")
        #expect(result.reason == .badShareAddress)
    }

    @Test(arguments: ["anna", "anna.", "anna.b@corp", "anna.Ümlaut"])
    func `a user whose last part has not a share's form is a user`(user: String) throws {
        let resolution = try ShareAddress.resolve(
            serverName: "shop.localhost", domain: "localhost", option: nil, user: user
        ).get()
        #expect(resolution.loginUser == nil)
        #expect(resolution.key.text == "shop")
    }

    private func id() -> String { Self.id }
}

extension Result where Failure == Refusal {
    /// Why it failed; nil if it did not.
    var reason: Refusal.Reason? {
        guard case .failure(let refusal) = self else { return nil }
        return refusal.reason
    }
}
