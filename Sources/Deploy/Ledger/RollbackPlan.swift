/// What a rollback does, in which order. Pure.
struct RollbackPlan: Sendable {
    /// Objects of others in the schema that makes room: they wait in the schema that comes back.
    private(set) var evacuations: [String] = []
    /// What the deployment made and goes.
    private(set) var dropping: Set<ObjectAddress> = []
    /// What comes back, by itself.
    private(set) var moves: [String] = []
    /// Why something that the deployment made stays.
    private(set) var left: [String] = []
    /// What came back.
    private(set) var restored: [DeployedObject] = []

    private let survey: LedgerSurvey
    private var catalog: Catalog { self.survey.catalog }

    /// - Throws: ``LedgerFailure/dependents(_:)`` or ``LedgerFailure/impossible(_:)``.
    init(_ survey: LedgerSurvey) throws(LedgerFailure) {
        self.survey = survey
        self.left = survey.changed.filter { $0.change != .gone }.map(\.sentence)
        try self.chooseDropping()
        try self.checkKept()
        try self.checkRoom()
        self.planMoves()
    }

    private mutating func chooseDropping() throws(LedgerFailure) {
        let made = self.survey.ours.subtracting(self.survey.records.carried)
        let extensions = made.filter { self.kind($0) == .extension }
        let dependents = self.survey.dependents(on: made.subtracting(extensions), allowed: made)
        let blocking = dependents.filter(\.isBlocking)
        guard blocking.isEmpty else { throw .dependents(blocking) }
        self.left += dependents.map(\.sentence)
        self.dropping = made
        for address in extensions.sorted() {
            self.leaveIfNeeded(address, by: self.catalog.neededBy[address, default: []])
        }
        for address in made.filter({ self.kind($0) == .schema }).sorted() {
            try self.leaveOrEvacuate(address)
        }
    }

    private mutating func leaveIfNeeded(_ address: ObjectAddress, by all: Set<ObjectAddress>) {
        let others = self.titles(all.subtracting(self.dropping))
        guard !others.isEmpty, let title = self.catalog.entries[address]?.object.title
        else { return }
        self.dropping.remove(address)
        self.left.append("\(title) stays: \(others.joined(separator: ", ")) needs it")
    }

    /// A schema with objects of others stays, unless the one that it replaced is to come back.
    private mutating func leaveOrEvacuate(_ address: ObjectAddress) throws(LedgerFailure) {
        guard let schema = self.catalog.entries[address]?.object, let name = schema.name
        else { return }
        let others = self.catalog.contents(of: address).subtracting(self.dropping)
        guard !others.isEmpty else { return }
        let back = self.survey.records.keptSchemas.first {
            $0.origin == name && self.isRename($0)
        }
        guard let back else { return self.leaveIfNeeded(address, by: others) }
        let entries = others.compactMap { self.catalog.entries[$0] }
        let isMovable = entries.allSatisfy { ObjectSQL.way($0.object.kind) == .schemaChange }
        guard isMovable, entries.count == others.count else {
            throw .impossible(
                """
                schema \(name) as it was before cannot come back, because the present one holds \
                what no deploy made: \(self.titles(others).joined(separator: ", ")); move or drop \
                that first
                """)
        }
        self.evacuations += ObjectSQL.movingOrder(entries).map {
            ObjectSQL.move($0, to: back.kept)
        }
    }

    /// Everything that is to come back must be where it was put.
    private func checkKept() throws(LedgerFailure) {
        for kept in self.survey.records.kept {
            let object = kept.object
            let entry = self.catalog.entries[object.address]
            let isThere =
                entry.map { $0.object.kind == object.kind && self.isInPlace($0.object, object) }
            guard isThere == true else {
                throw .impossible(
                    """
                    \(object.title), which the deploy had set aside, was changed or dropped by \
                    somebody since: the state before cannot come back whole
                    """)
            }
        }
        for schema in self.survey.records.keptSchemas where !self.isRename(schema) {
            guard let address = self.catalog.schema(named: schema.kept)?.object.address else {
                continue
            }
            let kept = Set(self.survey.records.kept.map(\.object.address))
            let strange = self.titles(self.catalog.contents(of: address).subtracting(kept))
            guard strange.isEmpty else {
                throw .impossible(
                    """
                    schema \(schema.kept) holds what no deploy put there: \
                    \(strange.joined(separator: ", ")); move or drop that first
                    """)
            }
        }
    }

    private func isInPlace(_ current: DeployedObject, _ before: DeployedObject) -> Bool {
        if let origin = before.schema {
            return self.survey.records.keptSchemas.contains {
                $0.origin == origin && $0.kept == current.schema
            } && current.name == before.name
        }
        return ObjectSQL.way(before.kind) != .renaming
            || current.name.map(LedgerLayout.isReserved) == true
    }

    /// Nobody may have taken the names meanwhile.
    private func checkRoom() throws(LedgerFailure) {
        let back = Set(self.survey.records.kept.map(\.object.key))
        let taken = self.catalog.entries.values.map(\.object).sorted().first {
            back.contains($0.key) && !self.dropping.contains($0.address)
        }
        guard let taken else { return }
        throw .impossible(
            """
            \(taken.title) is not what the deploy made, and stands where the state before must \
            come back: rename or drop it first
            """)
    }

    private mutating func planMoves() {
        let kept = self.survey.records.kept.map(\.object)
        let entries = kept.compactMap { self.catalog.entries[$0.address] }
        let origins = Dictionary(
            self.survey.records.keptSchemas.filter { !self.isRename($0) }.map {
                ($0.kept, $0.origin)
            }
        ) { first, _ in first }
        for entry in ObjectSQL.movingOrder(entries) {
            guard let origin = entry.object.schema.flatMap({ origins[$0] }) else { continue }
            self.moves.append(ObjectSQL.move(entry, to: origin))
        }
        for name in origins.keys.sorted() {
            self.moves.append("drop schema \(SQLText.identifier(name)) restrict")
        }
        for object in kept.sorted() where ObjectSQL.way(object.kind) == .renaming {
            guard let entry = self.catalog.entries[object.address], let name = object.name
            else { continue }
            self.moves.append(ObjectSQL.rename(entry, to: name))
        }
        self.restored = kept.sorted()
    }

    /// Whether the kept schema is the very one that had the other name.
    private func isRename(_ schema: LedgerRecords.KeptSchema) -> Bool {
        self.survey.records.kept.contains {
            $0.object.kind == .schema && $0.object.name == schema.origin
        }
    }

    private func kind(_ address: ObjectAddress) -> ObjectKind? {
        self.catalog.entries[address]?.object.kind
    }

    private func titles(_ addresses: Set<ObjectAddress>) -> [String] {
        addresses.compactMap { self.catalog.entries[$0]?.object }.sorted().map(\.title)
    }
}
