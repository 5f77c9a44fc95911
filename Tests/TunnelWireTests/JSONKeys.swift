import Foundation

/// Looks at a JSON object without knowing its type.
enum JSONKeys {
    struct NotAnObject: Error {}

    static func top(of json: String) throws -> [String] {
        try Self.object(json).keys.sorted()
    }

    static func removing(_ key: String, from json: String) throws -> String {
        var object = try Self.object(json)
        object[key] = nil
        let data = try JSONSerialization.data(withJSONObject: object)
        return String(decoding: data, as: UTF8.self)
    }

    private static func object(_ json: String) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(json.utf8))
        guard let object = value as? [String: Any] else { throw NotAnObject() }
        return object
    }
}
