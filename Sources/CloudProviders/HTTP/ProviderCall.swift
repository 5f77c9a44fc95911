package import Foundation

/// One request of a provider's HTTP API.
package struct ProviderCall: Sendable {
    /// HTTP methods that the providers use.
    package enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// Whether a request may be sent again when nobody knows what became of it.
    package enum Safety: Sendable, Hashable {
        /// Twice is as good as once.
        case repeatable
        /// Twice might make two: sent again only after an answer that says nothing was done,
        /// which is 429 and the statuses named here.
        case once(alsoAfter: Set<Int>)
    }

    /// The method.
    package var method: Method
    /// Behind the base URL: begins with a slash, every part of it safe in a URL.
    package var path: String
    /// Name and value, neither encoded yet.
    package var query: [(name: String, value: String)]
    /// Headers beside the common ones.
    package var headers: [(name: String, value: String)]
    /// What is sent, if anything.
    package var body: Data?
    /// When it may be sent again.
    package var safety: Safety
    /// Secrets in the body, which an answer may echo and no sentence may show.
    package var secrets: [ProviderSecret]

    /// Creates a request.
    package init(
        _ method: Method,
        _ path: String,
        query: [(name: String, value: String)] = [],
        headers: [(name: String, value: String)] = [],
        body: Data? = nil,
        safety: Safety = .repeatable,
        secrets: [ProviderSecret] = []
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.safety = safety
        self.secrets = secrets
    }

    /// A request with a body of JSON.
    package static func json(
        _ method: Method,
        _ path: String,
        _ body: some Encodable,
        safety: Safety,
        secrets: [ProviderSecret] = []
    ) -> ProviderCall {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Our own bodies are strings and numbers: they always encode.
        let data = try? encoder.encode(body)
        return ProviderCall(
            method, path, headers: [("Content-Type", "application/json")], body: data,
            safety: safety, secrets: secrets)
    }

    /// Path and query, encoded: everything but unreserved characters.
    package var target: String {
        guard !self.query.isEmpty else { return self.path }
        let pairs = self.query.map { "\(Self.encoded($0.name))=\(Self.encoded($0.value))" }
        return self.path + "?" + pairs.joined(separator: "&")
    }

    /// Percent-encodes all but the unreserved characters of RFC 3986, section 2.3.
    package static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }
}

/// An answer with a good status.
package struct ProviderAnswer: Sendable {
    /// 200 to 299.
    package var status: Int
    /// All of it.
    package var body: Data
}

/// Why a request has no good answer, after every attempt that it allows.
package enum ProviderCallFailure: Error, Hashable, Sendable {
    /// The provider said no; its words, printable and bounded.
    case refused(status: Int, message: String)
    /// A request that must not be sent twice may have been carried out, or not.
    case unknown(reason: String)
    /// No answer, or none that can be read, to a request that may be repeated.
    case unanswered(reason: String)
    /// The provider wants us to wait longer than we do.
    case busy(retryAfterSeconds: Double)
    /// The task was cancelled.
    case cancelled
}
