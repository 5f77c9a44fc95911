import ArgumentParser
import Foundation
import Testing

@testable import pgshare

struct SettingsTests {
    private func file(_ text: String, in folder: String) throws -> String {
        let path = "\(folder)/config.json"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test func `flag comes before environment before file before default`() async throws {
        try await withFolder { folder in
            let path = try self.file(#"{"domain":"file","max-connections":3}"#, in: folder)
            let both = try await Settings(
                configFile: path, environment: ["PGSHARE_DOMAIN": "variable"])
            let fileOnly = try await Settings(configFile: path, environment: [:])
            let none = try await Settings(configFile: nil, environment: [:])
            let found = [
                try await both.string(.domain, flag: "flag", default: "default"),
                try await both.string(.domain, default: "default"),
                try await fileOnly.string(.domain, default: "default"),
                try await none.string(.domain, default: "default"),
            ]
            #expect(found == ["flag", "variable", "file", "default"])
            let connections = try await both.int(.maxConnections)
            #expect(connections == 3)
        }
    }

    @Test func `an empty variable is as if it were not set`() async throws {
        let settings = try await Settings(configFile: nil, environment: ["PGSHARE_TOKEN": ""])
        let token = try await settings.string(.token)
        #expect(token == nil)
    }

    @Test func `the file may be named by a variable`() async throws {
        try await withFolder { folder in
            let path = try self.file(#"{"relay":"https://example.com"}"#, in: folder)
            let settings = try await Settings(
                configFile: nil, environment: ["PGSHARE_CONFIG": path])
            let relay = try await settings.string(.relay)
            #expect(relay == "https://example.com")
        }
    }

    @Test func `switches and lists come from every source`() async throws {
        try await withFolder { folder in
            let path = try self.file(
                #"{"read-only":true,"allow":["10.0.0.0/8","::1/128"]}"#, in: folder)
            let settings = try await Settings(
                configFile: path, environment: ["PGSHARE_OPEN": "true"])
            let open = try await settings.bool(.open)
            let readOnly = try await settings.bool(.readOnly)
            let allDatabases = try await settings.bool(.allDatabases)
            let allow = try await settings.strings(.allow)
            #expect([open, readOnly, allDatabases] == [true, true, false])
            #expect(allow == ["10.0.0.0/8", "::1/128"])
            let byVariable = try await Settings(
                configFile: path, environment: ["PGSHARE_ALLOW": "1.2.3.4/32,5.6.7.8/32"])
            let list = try await byVariable.strings(.allow)
            #expect(list == ["1.2.3.4/32", "5.6.7.8/32"])
        }
    }

    @Test func `an unknown key is an error that names it`() async throws {
        try await withFolder { folder in
            let path = try self.file(#"{"domain":"a","postgres-listne":"b"}"#, in: folder)
            await #expect(throws: SettingsError.unknownKey("postgres-listne", path: path)) {
                try await Settings(configFile: path, environment: [:])
            }
        }
    }

    @Test(arguments: ["", "[]", "{", "domain=a"])
    func `a file that is no JSON object is an error`(text: String) async throws {
        try await withFolder { folder in
            let path = try self.file(text, in: folder)
            await #expect(throws: SettingsError.self) {
                try await Settings(configFile: path, environment: [:])
            }
        }
    }

    @Test func `a value of the wrong kind is an error without the value`() async throws {
        try await withFolder { folder in
            let path = try self.file(#"{"token":5}"#, in: folder)
            let settings = try await Settings(
                configFile: path, environment: ["PGSHARE_MAX_CONNECTIONS": "many"])
            await #expect(
                throws: SettingsError.unusableValue(.maxConnections, expected: "a whole number")
            ) {
                try await settings.int(.maxConnections)
            }
            await #expect(throws: SettingsError.unusableValue(.token, expected: "a text")) {
                try await settings.string(.token)
            }
        }
    }

    @Test(arguments: [
        ("90s", 90), ("30m", 1_800), ("8h", 28_800), ("7d", 604_800), ("1h30m", 5_400),
        ("1d1s", 86_401),
    ])
    func `a duration reads as people write it`(text: String, seconds: Int) {
        #expect(Duration(setting: text) == .seconds(seconds))
    }

    @Test(arguments: [
        "", "8", "h", "0s", "-1s", "1.5h", "1m1h", "1s1s", "8 h", "8H", "9999999999999999999d",
        "99999d", "٣s",
    ])
    func `what is no duration is refused`(text: String) {
        #expect(Duration(setting: text) == nil)
    }

    @Test func `usage errors end with 2, failures with 1`() {
        let usage = CommandExit.answer(to: SettingsError.missing(.token), root: CertsCommand.self)
        let failure = CommandExit.answer(to: CommandFailure("no"), root: CertsCommand.self)
        let parsing = CommandExit.answer(to: ValidationError("bad"), root: CertsCommand.self)
        #expect([usage.code, failure.code, parsing.code] == [2, 1, 2])
        #expect(throws: (any Error).self) { try CertsCommand.parseAsRoot(["init", "--nonsense"]) }
    }

    @Test func `the state folder follows XDG`() {
        let home = ["HOME": "/home/a"]
        let absolute = home.merging(["XDG_STATE_HOME": "/state"]) { $1 }
        let relative = home.merging(["XDG_STATE_HOME": "state"]) { $1 }
        #expect(DefaultPlaces.stateFolder(environment: home) == "/home/a/.local/state/pgshare")
        #expect(DefaultPlaces.stateFolder(environment: absolute) == "/state/pgshare")
        #expect(DefaultPlaces.stateFolder(environment: relative) == "/home/a/.local/state/pgshare")
    }

    @Test(arguments: SettingKey.allCases)
    func `every setting has a flag and a variable of its name`(key: SettingKey) {
        #expect(key.flag == "--\(key.rawValue)")
        #expect(key.variable.hasPrefix("PGSHARE_"))
        #expect(key.variable.allSatisfy { $0.isUppercase || $0 == "_" })
    }
}
