/// The ledger beside the catalogs: what is still ours, what is kept, who needs it. Pure.
struct LedgerSurvey: Sendable {
    var catalog: Catalog
    var records: LedgerRecords

    /// What the live deployment made and is as it left it, as the catalogs have it now.
    private(set) var objects: [DeployedObject] = []
    /// What is not.
    private(set) var changed: [ChangedObject] = []

    init(catalog: Catalog, records: LedgerRecords) {
        self.catalog = catalog
        self.records = records
        for recorded in records.objects {
            let entry = catalog.entries[recorded.address]
            if let change = Self.change(of: recorded, to: entry?.object) {
                self.changed.append(ChangedObject(object: recorded, change: change))
            } else {
                self.objects.append(recorded)
            }
        }
    }

    /// A function whose argument's type was renamed is still the same function: where there is a
    /// name, it and the schema count, else the identity does.
    static func change(
        of recorded: DeployedObject,
        to current: DeployedObject?
    ) -> ChangedObject.Change? {
        guard let current, current.kind == recorded.kind else { return .gone }
        let isSame =
            recorded.name == nil
            ? current.identity == recorded.identity
            : current.name == recorded.name && current.schema == recorded.schema
        guard isSame else { return .renamed(to: current.identity) }
        if let owner = current.owner, current.owner != recorded.owner { return .given(to: owner) }
        return nil
    }

    var ours: Set<ObjectAddress> { Set(self.objects.map(\.address)) }

    /// Of these, what can only stay where it is: extensions and their like, and schemas that hold
    /// or mean something to others.
    func stays(of addresses: Set<ObjectAddress>) -> Set<ObjectAddress> {
        let entries = addresses.compactMap { self.catalog.entries[$0] }
        let unmovable = Set(
            entries.filter { entry in
                // Functions keep to the transform that they were made with.
                ObjectSQL.way(entry.object.kind) == .none
                    || entry.object.kind == .transform
                        && self.catalog.neededBy[entry.object.address]?.isEmpty == false
            }.map(\.object.address))
        let movable = addresses.subtracting(unmovable)
        let shared = entries.filter { $0.object.kind == .schema }.map(\.object.address)
            .filter { !self.catalog.contents(of: $0).isSubset(of: movable) }
        return unmovable.union(shared)
    }

    /// Who needs one of these and is not among `allowed`. That something is in a schema is no
    /// need.
    func dependents(
        on addresses: Set<ObjectAddress>,
        allowed: Set<ObjectAddress>
    ) -> [ForeignDependent] {
        addresses.compactMap { self.catalog.entries[$0]?.object }.sorted()
            .filter { $0.kind != .schema }
            .flatMap { needed -> [ForeignDependent] in
                self.catalog.neededBy[needed.address, default: []].subtracting(allowed)
                    .compactMap { self.catalog.entries[$0]?.object }.sorted()
                    .filter { !self.catalog.isOurs($0) }
                    .map {
                        ForeignDependent(
                            dependent: $0, needs: needed, isBlocking: $0.kind != .publication)
                    }
            }
    }

    /// Everything that the deployment set aside and that is still there.
    func keptAddresses() -> Set<ObjectAddress> {
        let objects = self.records.kept.map(\.object.address)
        let schemas = self.records.keptSchemas.compactMap {
            self.catalog.schema(named: $0.kept)?.object.address
        }
        return Set(objects + schemas).filter { self.catalog.entries[$0] != nil }
    }

    /// Who is in the way of dropping what is kept: whatever needs it, or is in its schemas.
    func dependents(onKept kept: Set<ObjectAddress>) -> [ForeignDependent] {
        kept.compactMap { self.catalog.entries[$0]?.object }.sorted().flatMap { needed in
            self.catalog.neededBy[needed.address, default: []].subtracting(kept)
                .compactMap { self.catalog.entries[$0]?.object }.sorted()
                .map {
                    ForeignDependent(
                        dependent: $0, needs: needed, isBlocking: $0.kind != .publication)
                }
        }
    }

    /// For the plan.
    var state: LedgerState {
        var state = LedgerState()
        state.hasLedger = true
        state.deployments = self.records.deployments
        state.objects = self.objects.sorted()
        state.changed = self.changed
        state.largeObjects = self.records.largeObjects
        state.kept = self.records.kept
        let ours = self.ours
        let stays = self.stays(of: ours)
        state.stays = self.objects.filter { stays.contains($0.address) }.sorted()
        state.dependents =
            self.dependents(on: ours.subtracting(stays), allowed: ours)
            + self.dependents(onKept: self.keptAddresses())
        return state
    }
}
