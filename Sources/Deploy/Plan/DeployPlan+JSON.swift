import Foundation

extension DeployPlan {
    /// The plan as one line of JSON: keys in snake case and in order, times in ISO 8601.
    ///
    /// - Throws: `EncodingError`, which no plan of ours causes.
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Reads what ``json()`` wrote.
    ///
    /// - Throws: `DecodingError`, also for a ``formatVersion`` later than ours.
    public init(json: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.dateDecodingStrategy = .iso8601
        self = try decoder.decode(Self.self, from: Data(json.utf8))
        guard self.formatVersion <= Self.currentFormatVersion else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: [],
                    debugDescription: "a plan of format \(self.formatVersion) is not known here"))
        }
    }
}
