import Foundation
import PostgresClient
import TestSupport

@testable import Deploy

/// Folders for one test.
enum TestFolder {
    static let parent = NSTemporaryDirectory() + "pgshare-tools-tests.\(getpid())"

    /// A run's folder; it is removed with the last reference to it.
    static func make() throws(ToolFailure) -> RunFolder {
        try RunFolder(parent: self.parent, name: UUID().uuidString)
    }
}

extension ClientTools {
    /// The tools of the server's own version.
    static func of(_ server: TestPostgres) async throws(ToolsFailure) -> ClientTools {
        try await self.find(
            environment: [Self.folderVariable: server.binaries],
            sourceMajor: server.version.rawValue)
    }
}

extension TestPostgres {
    /// A new, empty database with this in it.
    func makeDatabase(
        _ name: String = "tools_" + UUID().uuidString,
        sql: String = ""
    ) throws -> String {
        try self.sql("create database " + SQLText.identifier(name))
        if !sql.isEmpty { try self.sql(sql, database: ToolConnection.databaseArgument(name)) }
        return name
    }

    /// How tools reach one of its databases.
    func connection(
        _ database: String,
        user: String = "postgres",
        password: String? = nil,
        label: String = "source",
        in folder: RunFolder
    ) async throws -> ToolConnection {
        let resolved = try await DatabaseSettings.resolve(
            self.keywords(database, user: user, password: password))
        return try ToolConnection(target: resolved.target, label: label, in: folder)
    }

    private func keywords(_ database: String, user: String, password: String?) -> String {
        var words = ["port": "\(self.port)", "user": user, "dbname": database]
        words["host"] = password == nil ? self.socketFolder : "127.0.0.1"
        words["password"] = password
        return words.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
            return "\(name)='\(escaped)'"
        }.joined(separator: " ")
    }
}
