/// How a set of objects gets out of the way. Pure.
struct SetAsidePlan: Sendable {
    /// In order.
    private(set) var statements: [String] = []
    /// Tables whose writers must wait, though nothing else locks them.
    private(set) var locks: [String] = []
    /// What moves, by itself or with something else.
    private(set) var moved: [DeployedObject] = []
    /// What is dropped and saved as a statement.
    private(set) var saved: Set<ObjectAddress> = []
    private(set) var keptSchemas: [LedgerRecords.KeptSchema] = []

    private let catalog: Catalog
    private let deploymentID: String
    private var number: Int

    /// - Parameters:
    ///   - addresses: What is to move; nothing that must stay.
    ///   - catalog: As it is before.
    ///   - deploymentID: Of the deploy that sets aside.
    ///   - firstNumber: The first number for names of kept schemas that is free.
    init(
        moving addresses: Set<ObjectAddress>,
        catalog: Catalog,
        deploymentID: String,
        firstNumber: Int
    ) {
        self.catalog = catalog
        self.deploymentID = deploymentID
        self.number = firstNumber
        let entries = addresses.compactMap { catalog.entries[$0] }
            .sorted { $0.object < $1.object }
        let renamed = Set(entries.filter { $0.object.kind == .schema }.compactMap(\.object.name))
        self.saved = Set(
            entries.filter { self.isSaved($0.object, moving: addresses) }.map(\.object.address))
        self.moved = entries.map(\.object).filter { !self.saved.contains($0.address) }
        self.moveOneByOne(entries, except: renamed)
        self.renameAll(entries)
        self.locks = entries.filter {
            $0.object.kind == .table && $0.object.schema.map(renamed.contains) == true
        }.map(\.ddlName)
    }

    /// A cast goes with its types, a user mapping with its server, default privileges with their
    /// schema; where those stay, it cannot move.
    private func isSaved(_ object: DeployedObject, moving: Set<ObjectAddress>) -> Bool {
        guard ObjectSQL.way(object.kind) == .savedStatement else { return false }
        return !self.catalog.needs[object.address, default: []].intersection(moving)
            .compactMap { self.catalog.entries[$0]?.object.kind }
            .contains { $0 != .function && $0 != .procedure && $0 != .aggregate }
    }

    private mutating func moveOneByOne(_ entries: [Catalog.Entry], except renamed: Set<String>) {
        let alone = entries.filter {
            ObjectSQL.way($0.object.kind) == .schemaChange
                && $0.object.schema.map { !renamed.contains($0) } == true
        }
        var keptNames: [String: String] = [:]
        for origin in Set(alone.compactMap(\.object.schema)).sorted() {
            let kept = self.nextName()
            keptNames[origin] = kept
            self.keptSchemas.append(.init(kept: kept, origin: origin))
            let name = SQLText.identifier(kept)
            let words = "what pgshare deploy \(self.deploymentID) found in \(origin)"
            self.statements += [
                "create schema \(name)", "revoke all on schema \(name) from public",
                "comment on schema \(name) is \(SQLText.literal(words))",
            ]
        }
        for entry in ObjectSQL.movingOrder(alone) {
            guard let kept = entry.object.schema.flatMap({ keptNames[$0] }) else { continue }
            self.statements.append(ObjectSQL.move(entry, to: kept))
        }
    }

    private mutating func renameAll(_ entries: [Catalog.Entry]) {
        for entry in entries where ObjectSQL.way(entry.object.kind) == .renaming {
            let kept = self.nextName()
            if entry.object.kind == .schema, let origin = entry.object.name {
                self.keptSchemas.append(.init(kept: kept, origin: origin))
            }
            self.statements.append(ObjectSQL.rename(entry, to: kept))
        }
    }

    private mutating func nextName() -> String {
        defer { self.number += 1 }
        return LedgerLayout.keptName(self.deploymentID, self.number)
    }
}

extension ObjectSQL {
    /// What is named by types goes before the types.
    static func movingOrder(_ entries: [Catalog.Entry]) -> [Catalog.Entry] {
        let sorted = entries.sorted { $0.object < $1.object }
        return sorted.filter { self.isNamedByTypes($0.object.kind) }
            + sorted.filter { !self.isNamedByTypes($0.object.kind) }
    }
}
