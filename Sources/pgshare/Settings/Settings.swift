import Configuration
import Foundation

/// Where every setting comes from: flag, environment, config file, default, in this order.
///
/// Read once when a command starts; then plain values travel.
struct Settings: Sendable {
    private let reader: ConfigReader
    /// What the file says, for messages; nil when there is none.
    private let file: String?

    /// Opens the sources.
    ///
    /// - Parameters:
    ///   - configFile: `--config`; nil means `PGSHARE_CONFIG`, and if that is not set, no file.
    ///   - environment: Variables. Empty ones count as not set.
    /// - Throws: ``SettingsError`` if the file is unusable or has a key that nobody knows.
    init(
        configFile: String?,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) async throws(SettingsError) {
        let variables = environment.filter { !$0.value.isEmpty }
        let secrets = Set(SettingKey.allCases.filter(\.isSecret).map(\.variable))
        let provider = EnvironmentVariablesProvider(
            environmentVariables: variables, secretsSpecifier: .specific(secrets)
        ).prefixKeys(with: ConfigKey(["pgshare"]))
        self.file = configFile ?? variables[SettingKey.config.variable]
        guard let file = self.file else {
            self.reader = ConfigReader(provider: provider)
            return
        }
        try Self.checkKeys(of: file)
        do {
            let place = ConfigReader(
                provider: InMemoryProvider(values: [
                    "filePath": ConfigValue(.string(file), isSecret: false)
                ]))
            let fileProvider = try await FileProvider<JSONSnapshot>(config: place)
            self.reader = ConfigReader(providers: [provider, fileProvider])
        } catch {
            throw .unreadableFile(path: file, detail: "\(error)")
        }
    }

    /// A text; nil when nothing sets it.
    func string(_ key: SettingKey, flag: String? = nil) async throws(SettingsError) -> String? {
        if let flag { return flag }
        return try await self.fetch(key, expected: "a text") { reader, configKey in
            try await reader.fetchString(forKey: configKey, isSecret: key.isSecret)
        }
    }

    /// A text with a default.
    func string(
        _ key: SettingKey, flag: String? = nil, default fallback: String
    ) async throws(SettingsError) -> String {
        try await self.string(key, flag: flag) ?? fallback
    }

    /// A whole number; nil when nothing sets it.
    func int(_ key: SettingKey, flag: Int? = nil) async throws(SettingsError) -> Int? {
        if let flag { return flag }
        return try await self.fetch(key, expected: "a whole number") { reader, configKey in
            try await reader.fetchInt(forKey: configKey)
        }
    }

    /// A switch. A flag that is given says yes; the other sources can say either.
    func bool(_ key: SettingKey, flag: Bool = false) async throws(SettingsError) -> Bool {
        if flag { return true }
        let found = try await self.fetch(key, expected: "true or false") { reader, configKey in
            try await reader.fetchBool(forKey: configKey)
        }
        return found ?? false
    }

    /// A list: the flag repeated, a variable with commas, an array of the file. Empty when not set.
    func strings(_ key: SettingKey, flag: [String] = []) async throws(SettingsError) -> [String] {
        guard flag.isEmpty else { return flag }
        let found = try await self.fetch(key, expected: "a list of texts") { reader, configKey in
            try await reader.fetchStringArray(forKey: configKey)
        }
        return found ?? []
    }

    /// A span of time as ``Duration/init(setting:)`` reads it; nil when nothing sets it.
    func duration(_ key: SettingKey, flag: String? = nil) async throws(SettingsError) -> Duration? {
        guard let text = try await self.string(key, flag: flag) else { return nil }
        guard let duration = Duration(setting: text) else {
            throw .unusableValue(key, expected: "a time such as 90s, 30m, 8h, 7d or 1h30m")
        }
        return duration
    }

    /// One of a closed list; nil when nothing sets it.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: SettingKey, flag: String? = nil, of type: Choice.Type
    ) async throws(SettingsError) -> Choice? {
        guard let text = try await self.string(key, flag: flag) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw .unusableValue(key, expected: "one of \(all)")
        }
        return choice
    }

    private func fetch<Value>(
        _ key: SettingKey, expected: String,
        _ read: (ConfigReader, ConfigKey) async throws -> Value?
    ) async throws(SettingsError) -> Value? {
        do {
            return try await read(self.reader, ConfigKey([key.rawValue]))
        } catch {
            throw .unusableValue(key, expected: expected)
        }
    }

    /// Spelling mistakes should not become defaults.
    private static func checkKeys(of file: String) throws(SettingsError) {
        let object: [String: Any]
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: file))
            guard let found = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
                throw SettingsError.unreadableFile(path: file, detail: "it is no JSON object")
            }
            object = found
        } catch let error as SettingsError {
            throw error
        } catch {
            throw .unreadableFile(path: file, detail: "it cannot be read, or is not JSON")
        }
        let unknown = object.keys.filter { SettingKey(rawValue: $0) == nil || $0 == "config" }
        if let key = unknown.min() { throw .unknownKey(key, path: file) }
    }
}

extension Duration {
    /// The longest time a setting can say: ten years, far from any overflow.
    private static let longestSetting = 10 * 366 * 86_400

    /// Reads `90s`, `30m`, `8h`, `7d`, or several of these from the largest to the smallest unit:
    /// `1h30m`. Nil for anything else, for nothing at all, for zero and for more than ten years.
    init?(setting text: String) {
        let units: [(Character, Int)] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
        var left = units[...]
        var rest = text[...]
        var seconds = 0
        while !rest.isEmpty {
            let digits = rest.prefix { ("0"..."9").contains($0) }
            rest = rest.dropFirst(digits.count)
            guard let number = Int(digits), number <= Self.longestSetting,
                let letter = rest.popFirst(),
                let index = left.firstIndex(where: { $0.0 == letter })
            else { return nil }
            seconds += number * left[index].1
            guard seconds <= Self.longestSetting else { return nil }
            left = left[(index + 1)...]
        }
        guard seconds > 0 else { return nil }
        self = .seconds(seconds)
    }
}
