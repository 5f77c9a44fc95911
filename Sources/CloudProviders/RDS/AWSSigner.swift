import Crypto
import Foundation

/// Signs a request as AWS asks, "Signature Version 4".
///
/// Made for the query protocol: the path is "/", and there is no query string. Pure: the time
/// comes in.
/// Source: AWS General Reference, "Signing AWS API requests".
struct AWSSigner: Sendable {
    /// Who signs.
    let credentials: AWSCredentials
    /// For example "eu-central-1".
    let region: String
    /// For example "rds".
    let service: String

    /// The headers that a request must carry besides its own: the date, the session token of a
    /// temporary key, and the authorization.
    ///
    /// - Parameters:
    ///   - method: For example "POST".
    ///   - host: The value of the Host header, with the port where it is not the scheme's own.
    ///   - headers: The request's own headers that are signed too; names in any case.
    ///   - body: All of it.
    ///   - date: The time of the request; AWS refuses what is off by more than five minutes.
    /// - Returns: Names and values to add.
    func headers(
        method: String,
        host: String,
        headers: [String: String],
        body: [UInt8],
        at date: Date
    ) -> [(name: String, value: String)] {
        let time = Self.timestamp(date)
        var signed = ["host": host, "x-amz-date": time]
        for (name, value) in headers { signed[name.lowercased()] = Self.folded(value) }
        signed["x-amz-security-token"] = self.credentials.sessionToken
        let names = signed.keys.sorted()
        let list = names.joined(separator: ";")
        let lines = names.map { "\($0):\(signed[$0, default: ""])\n" }.joined()
        let request = [method, "/", "", lines, list, Self.hexDigest(body)].joined(separator: "\n")
        let day = String(time.prefix(8))
        let scope = "\(day)/\(self.region)/\(self.service)/aws4_request"
        let text = ["AWS4-HMAC-SHA256", time, scope, Self.hexDigest(Array(request.utf8))]
        let signature = Self.hex(
            Self.authenticate(text.joined(separator: "\n"), key: self.key(of: day)))
        let who = "Credential=\(self.credentials.accessKeyID)/\(scope)"
        let authorization =
            "AWS4-HMAC-SHA256 \(who), SignedHeaders=\(list), Signature=\(signature)"
        var added = [(name: "X-Amz-Date", value: time), ("Authorization", authorization)]
        if let token = self.credentials.sessionToken {
            added.append((name: "X-Amz-Security-Token", value: token))
        }
        return added
    }

    /// The key of one day, region and service.
    private func key(of day: String) -> SymmetricKey {
        var key = SymmetricKey(data: Array("AWS4\(self.credentials.secretAccessKey)".utf8))
        for word in [day, self.region, self.service, "aws4_request"] {
            key = SymmetricKey(data: Self.authenticate(word, key: key))
        }
        return key
    }

    private static func authenticate(
        _ text: String,
        key: SymmetricKey
    ) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
    }

    private static func hexDigest(_ bytes: [UInt8]) -> String {
        Self.hex(SHA256.hash(data: bytes))
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// For example "20150830T123600Z".
    private static func timestamp(_ date: Date) -> String {
        let style = Date.ISO8601FormatStyle(
            dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .gmt)
        return style.format(date)
    }

    /// Without spaces at the ends, runs of spaces inside made one.
    private static func folded(_ value: String) -> String {
        value.split(separator: " ").joined(separator: " ")
    }
}
