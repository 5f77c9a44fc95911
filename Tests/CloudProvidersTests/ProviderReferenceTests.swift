import CloudProviders
import Testing

struct ProviderReferenceTests {
    @Test(arguments: [
        ("supabase:", ProviderReference(provider: .supabase, place: .named)),
        (
            "supabase:abcdefghijklmnopqrst",
            ProviderReference(
                provider: .supabase,
                place: .existing(id: "abcdefghijklmnopqrst", branch: nil))
        ),
        (
            "supabase:new?name=My%20app&region=eu-central-1&org=acme",
            ProviderReference(
                provider: .supabase, place: .new,
                options: ["name": "My app", "region": "eu-central-1", "org": "acme"])
        ),
        (
            "supabase:?region=eu-west-2",
            ProviderReference(provider: .supabase, place: .named, options: ["region": "eu-west-2"])
        ),
        ("neon:", ProviderReference(provider: .neon, place: .named)),
        (
            "neon:quiet-sun-1/dev",
            ProviderReference(
                provider: .neon, place: .existing(id: "quiet-sun-1", branch: "dev"))
        ),
        (
            "neon:quiet-sun-1?database=app&role=r",
            ProviderReference(
                provider: .neon, place: .existing(id: "quiet-sun-1", branch: nil),
                options: ["database": "app", "role": "r"])
        ),
        (
            "rds:my-instance",
            ProviderReference(provider: .rds, place: .existing(id: "my-instance", branch: nil))
        ),
    ])
    func `a reference is read`(text: String, reference: ProviderReference) throws {
        #expect(try ProviderReference.parse(text) == reference)
    }

    @Test(arguments: ["postgres://h/d", "host=h", "", "supabase", "Supabase:", "mysql:x", ":"])
    func `another kind of target is none`(text: String) throws {
        #expect(try ProviderReference.parse(text) == nil)
    }

    @Test(arguments: [
        "supabase:a/b", "supabase:../x", "supabase:a b", "supabase:a%2Fb", "supabase:é",
        "neon:a/b/c", "neon:/b", "neon:a/", "neon:-a", "rds:a/b", "supabase:new?nome=x",
        "supabase:new?name", "supabase:new?name=", "supabase:new?name=%zz",
        "supabase:new?name=%1b[31m", "supabase:new?name=a&name=b", "supabase:new?database=x",
        "supabase:" + String(repeating: "a", count: 64),
        "supabase:new?name=" + String(repeating: "a", count: 256),
        "supabase:" + String(repeating: "a", count: 2_000),
    ])
    func `what cannot be read is refused`(text: String) {
        #expect(throws: ProviderFailure.self) { try ProviderReference.parse(text) }
    }

    @Test(arguments: ["supabase:", "supabase:new", "neon:p/b", "neon:p", "rds:i"])
    func `a reference reads as it was written`(text: String) throws {
        #expect(try ProviderReference.parse(text)?.description == text)
    }

    @Test func `a refusal shows no control characters`() throws {
        let failure = #expect(throws: ProviderFailure.self) {
            try ProviderReference.parse("supabase:\u{1B}[31mred\u{202E}")
        }
        let text = try #require(failure).description
        #expect(!text.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x202E })
    }
}

struct ProviderSettingsTests {
    @Test(arguments: [
        "https://api.supabase.com", "https://api.example.com/v2/", "http://127.0.0.1:1234",
        "http://localhost:1/api", "http://[::1]:1",
    ])
    func `a URL that keeps a token secret is taken`(url: String) throws {
        let settings = try ProviderSettings(provider: .neon, token: " t \n", baseURL: url)
        #expect(settings.token.reveal == "t")
        #expect(!settings.baseURL.hasSuffix("/"))
    }

    @Test(arguments: [
        "http://api.supabase.com", "ftp://127.0.0.1", "", "api.supabase.com", "https://",
        "https://user@host", "https://h/?a=b", "https://h/#f", "http://127.0.0.1.example.com",
        "http://localhost@example.com",
    ])
    func `a URL that would not is refused`(url: String) {
        #expect(throws: ProviderFailure.self) {
            try ProviderSettings(provider: .supabase, token: "t", baseURL: url)
        }
    }

    @Test(arguments: [nil, "", "  ", "a b", "a\r\nX: y", "é", String(repeating: "a", count: 5_000)])
    func `a token that is none is refused, and not shown`(token: String?) throws {
        let failure = #expect(throws: ProviderFailure.self) {
            try ProviderSettings(
                provider: .supabase, token: token, baseURL: "https://api.supabase.com")
        }
        #expect(try #require(failure).description.contains("SUPABASE_ACCESS_TOKEN"))
        #expect(try #require(failure).description.utf8.count < 300)
    }

    @Test func `a secret is shown by nothing but its reveal`() {
        let secret = ProviderSecret("hunter2")
        var dumped = ""
        dump(secret, to: &dumped)
        let shown = "\(secret) \(String(reflecting: secret)) \(dumped) \([secret])"
        #expect(!shown.contains("hunter2"))
    }

    @Test func `two new passwords differ and are of safe characters`() {
        let one = ProviderSecret.random().reveal
        #expect(one != ProviderSecret.random().reveal)
        #expect(one.wholeMatch(of: /[A-Za-z0-9]{40}/) != nil)
    }
}
