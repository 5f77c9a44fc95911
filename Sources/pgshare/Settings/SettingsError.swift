/// A setting the command cannot start with. The exit code is 2.
///
/// Values are not repeated: one of them may be a secret in the wrong place.
enum SettingsError: Error, Hashable, CustomStringConvertible {
    /// The config file cannot be read or is no JSON object.
    case unreadableFile(path: String, detail: String)
    /// The config file has a key that no command knows.
    case unknownKey(String, path: String)
    /// The variable or the file's value is not what the setting takes.
    case unusableValue(SettingKey, expected: String)
    /// Nothing gives the setting a value, and it has no default.
    case missing(SettingKey)

    var description: String {
        switch self {
        case .unreadableFile(let path, let detail):
            "the config file \(path) cannot be used: \(detail)"
        case .unknownKey(let key, let path):
            "the config file \(path) has an unknown key '\(key)'; see --help for the settings"
        case .unusableValue(let key, let expected):
            "\(key.flag) (\(key.variable), or '\(key.rawValue)' in the config file) takes "
                + expected
        case .missing(let key):
            "\(key.flag) is missing; it can also be set as \(key.variable)"
        }
    }
}
