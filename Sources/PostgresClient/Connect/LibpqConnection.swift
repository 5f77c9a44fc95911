import CLibpq
import Foundation

/// One libpq connection: the agent's settings and its own few queries. It blocks, so it never runs
/// on an event loop, and no client's byte goes through it.
package final class LibpqConnection {
    /// Rows of text; nil is NULL.
    package typealias Rows = [[String?]]

    private let connection: OpaquePointer

    /// How long a statement may take, if that is bounded: a server, or what stands before it, may
    /// hold the connection and say nothing. A connection that exceeded it is of no use any more.
    package var answersWithin: Duration?

    /// Connects, as psql would with the same keywords, in libpq's order: a later one wins over an
    /// earlier, and `dbname` may be a URL or `key=value` text.
    package init(_ keywords: [(name: String, value: String)]) throws(DatabaseSettingsError) {
        let names = CStrings(keywords.map(\.name))
        let values = CStrings(keywords.map(\.value))
        guard let connection = PQconnectdbParams(names.pointer, values.pointer, 1) else {
            throw .cannotConnect(message: "libpq is out of memory", advice: nil)
        }
        self.connection = connection
        guard PQstatus(connection) == CONNECTION_OK else {
            let message = Self.text(PQerrorMessage(connection))
            throw .cannotConnect(message: message, advice: Self.advice(message))
        }
        _ = PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    deinit {
        PQfinish(self.connection)
    }

    package var user: String { Self.text(PQuser(self.connection)) }
    package var database: String { Self.text(PQdb(self.connection)) }
    package var password: String { Self.text(PQpass(self.connection)) }
    package var host: String { Self.text(PQhost(self.connection)) }
    package var hostAddress: String { Self.text(PQhostaddr(self.connection)) }
    package var port: Int? { Int(Self.text(PQport(self.connection))) }
    package var serverVersion: Int { Int(PQserverVersion(self.connection)) }
    package var usesTLS: Bool { PQsslInUse(self.connection) == 1 }

    /// Every setting libpq ended up with, by name; what has no value is left out.
    package func settings() -> [String: String] {
        guard let options = PQconninfo(self.connection) else { return [:] }
        defer { PQconninfoFree(options) }
        return Self.values(options)
    }

    /// What the text, the environment and the service file say, without connecting.
    package static func settings(
        of conninfo: String
    ) throws(DatabaseSettingsError) -> [String: String] {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(conninfo, &message) else {
            defer { PQfreemem(message) }
            throw .cannotConnect(message: Self.text(message), advice: nil)
        }
        defer { PQconninfoFree(options) }
        return Self.values(options)
    }

    /// Runs one statement with text parameters.
    @discardableResult
    package func query(
        _ sql: String, _ parameters: [String] = []
    ) throws(DatabaseSettingsError) -> Rows {
        let values = CStrings(parameters)
        let count = Int32(parameters.count)
        let result: OpaquePointer?
        if let answersWithin {
            let isSent = PQsendQueryParams(
                self.connection, sql, count, nil, values.pointer, nil, nil, 0)
            guard isSent == 1 else { throw self.lastError }
            result = try self.answer(within: answersWithin)
        } else {
            result = PQexecParams(self.connection, sql, count, nil, values.pointer, nil, nil, 0)
        }
        defer { PQclear(result) }
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
            break
        default:
            throw self.lastError
        }
        return (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                guard PQgetisnull(result, row, column) == 0 else { return nil }
                return Self.text(PQgetvalue(result, row, column))
            }
        }
    }

    private var lastError: DatabaseSettingsError {
        .queryFailed(message: Self.text(PQerrorMessage(self.connection)))
    }

    /// The result of what was sent; that of the last statement, as `PQexecParams` has it.
    private func answer(within limit: Duration) throws(DatabaseSettingsError) -> OpaquePointer? {
        let deadline = ContinuousClock.now + limit
        var last: OpaquePointer?
        while true {
            do throws(DatabaseSettingsError) {
                try self.awaitResult(until: deadline)
            } catch {
                PQclear(last)
                throw error
            }
            guard let next = PQgetResult(self.connection) else { return last }
            PQclear(last)
            last = next
        }
    }

    private func awaitResult(
        until deadline: ContinuousClock.Instant
    ) throws(DatabaseSettingsError) {
        while PQisBusy(self.connection) == 1 {
            let left = deadline - .now
            guard left > .zero else {
                throw .queryFailed(message: "the server does not answer")
            }
            var waiting = pollfd(fd: PQsocket(self.connection), events: Int16(POLLIN), revents: 0)
            let milliseconds = min(1000, left / .milliseconds(1) + 1)
            // Interrupted or timed out, the loop looks at the clock again.
            guard poll(&waiting, 1, Int32(milliseconds)) > 0 else { continue }
            guard PQconsumeInput(self.connection) == 1 else { throw self.lastError }
        }
    }

    /// A name as SQL, quoted.
    package func identifier(_ name: String) -> String {
        "\"" + name.replacingScalars("\"", with: "\"\"") + "\""
    }

    /// What the server keeps of a password, so that the password itself is in no statement or log.
    package func verifier(password: String, user: String) throws(DatabaseSettingsError) -> String {
        let text = PQencryptPasswordConn(self.connection, password, user, "scram-sha-256")
        guard let text else {
            throw .queryFailed(message: Self.text(PQerrorMessage(self.connection)))
        }
        defer { PQfreemem(text) }
        return Self.text(text)
    }

    /// Hints for the sentences people meet first.
    private static func advice(_ message: String) -> String? {
        let hints: [(part: String, advice: String)] = [
            (
                "password authentication failed",
                "Check the role and its password: in the URL, PGPASSWORD or ~/.pgpass."
            ),
            (
                "no password supplied",
                "Give the password in the URL, PGPASSWORD or ~/.pgpass."
            ),
            ("Peer authentication failed", "Run as that system user, or use host=localhost."),
            ("no pg_hba.conf entry", "Allow this role in pg_hba.conf, or use another sslmode."),
            ("Connection refused", "Is Postgres running there? Check host and port."),
            ("No such file or directory", "Is Postgres running? Check PGHOST and PGPORT."),
            ("could not translate host name", "Check the host name."),
            ("certificate verify failed", "Check sslrootcert: it did not sign this certificate."),
            ("does not support SSL", "Use sslmode=prefer, or turn on ssl in postgresql.conf."),
            ("does not exist", "Check the names of the role and of the database."),
            ("too many clients", "Close some sessions, or raise max_connections."),
        ]
        return hints.first { message.contains($0.part) }?.advice
    }

    private static func values(
        _ options: UnsafeMutablePointer<PQconninfoOption>
    ) -> [String: String] {
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                values[String(cString: keyword)] = String(cString: value)
            }
            option = option.successor()
        }
        return values
    }

    /// libpq's text, without the line break that ends its messages.
    private static func text(_ pointer: UnsafePointer<CChar>?) -> String {
        guard let pointer else { return "" }
        var text = String(cString: pointer)
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }
}

/// A NULL-terminated array of C strings, alive as long as this value's owner.
private final class CStrings {
    private var pointers: UnsafeMutableBufferPointer<UnsafePointer<CChar>?>

    init(_ strings: [String]) {
        self.pointers = .allocate(capacity: strings.count + 1)
        self.pointers.initialize(repeating: nil)
        for (index, string) in strings.enumerated() {
            let bytes = Array(string.utf8CString)
            let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
            _ = copy.initialize(from: bytes)
            self.pointers[index] = UnsafePointer(copy.baseAddress)
        }
    }

    deinit {
        for pointer in self.pointers { pointer?.deallocate() }
        self.pointers.deallocate()
    }

    var pointer: UnsafePointer<UnsafePointer<CChar>?>? { UnsafePointer(self.pointers.baseAddress) }
}

extension String {
    /// Replaces scalars, not `Character`s: a quote with an accent behind it is one `Character`, no
    /// quote to `replacing(_:with:)`, and a quote to everybody else.
    func replacingScalars(_ old: String, with new: String) -> String {
        String(self.unicodeScalars.replacing(old.unicodeScalars, with: new.unicodeScalars))
    }
}
