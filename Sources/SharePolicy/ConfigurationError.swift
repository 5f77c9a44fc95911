/// A setting the process cannot start with.
public enum ConfigurationError: Error, Hashable, Sendable {
    /// The value is outside its range.
    case outOfRange(key: String, value: String, allowed: String)
    /// The value cannot be read as what the key needs; `expected` says what that is.
    case malformed(key: String, value: String, expected: String)
    /// Nobody knows this key. A spelling mistake should not become a default.
    case unknownKey(key: String)
}

extension ConfigurationError: CustomStringConvertible {
    /// One line for the operator: the key, the value and what would be accepted.
    public var description: String {
        switch self {
        case .outOfRange(let key, let value, let allowed):
            "\(key) is \(value); it must be within \(allowed)"
        case .malformed(let key, let value, let expected):
            "\(key) is \"\(value)\"; it must be \(expected)"
        case .unknownKey(let key):
            "there is no setting named \(key)"
        }
    }
}

/// The one range check that every `validated()` of this project uses.
enum Check {
    /// Checks that a value lies within its range.
    ///
    /// - Throws: ``ConfigurationError/outOfRange(key:value:allowed:)`` if it does not.
    static func range<Value: Comparable>(
        _ key: String,
        _ value: Value,
        in allowed: ClosedRange<Value>
    ) throws(ConfigurationError) {
        guard allowed.contains(value) else {
            throw .outOfRange(
                key: key,
                value: "\(value)",
                allowed: "\(allowed.lowerBound)...\(allowed.upperBound)"
            )
        }
    }
}
