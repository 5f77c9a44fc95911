import Foundation

/// Everything that is worked out on the way to a plan, each from what stands above it.
struct PlanContext {
    let input: PlanInput
    let ledger: LedgerState
    let selection: Selection
    let ownership: OwnershipDecision
    let outside: OutsideNeeds
    let rules: RestoreRules
    let split: TableOfContents.Split
    /// What will be made in the target.
    let deployed: [DeployedObject]
    /// What the target holds and no deploy made, without what a provider looks after.
    let foreign: [DeployedObject]
    /// Of ``foreign``, what has the name of something that will be made.
    let inTheWay: [DeployedObject]
    let method: MethodDecision

    init(_ input: PlanInput) {
        let ledger = input.ledger ?? LedgerState()
        let selection = Selection(
            options: input.options, source: input.source, provider: input.provider)
        let ownership = OwnershipDecision(input, selection)
        let outside = OutsideNeeds(input, selection)
        let rules = Self.rules(input, ledger, selection, ownership, outside)
        let split = input.contents.split(by: rules)
        self.input = input
        self.ledger = ledger
        self.selection = selection
        self.ownership = ownership
        self.outside = outside
        self.rules = rules
        self.split = split
        self.deployed =
            input.options.content == .dataOnly
            ? [] : Self.deployed(input.source.objects, split.kept)
        self.foreign = Self.foreign(input, ledger)
        self.inTheWay = Self.clashes(self.foreign, with: self.deployed)
        self.method = MethodDecision(
            input, selection, foreign: self.foreign,
            bytes: Self.tables(input, selection, split).reduce(0) { $0 + $1.bytes })
    }

    var options: DeployOptions { self.input.options }
    var source: DatabaseFacts { self.input.source }
    var target: DatabaseFacts { self.input.target }
    var provider: ProviderProfile { self.input.provider }

    /// The first OID of what is made after initdb.
    ///
    /// Source: `FirstNormalObjectId` in PostgreSQL's `transam.h`.
    private static let firstObjectOfUsers: UInt32 = 16_384

    /// The objects of the source that entries stand for. pg_dump knows no OID of user mappings.
    private static func deployed(
        _ objects: [DeployedObject], _ kept: [TableOfContents.Entry]
    ) -> [DeployedObject] {
        let addresses = Set(kept.map { ObjectAddress(classID: $0.catalogOID, oid: $0.oid) })
        let mappings = Set(kept.filter { $0.kind == "USER MAPPING" }.map(\.tag))
        return objects.filter { object in
            guard object.kind == .userMapping else { return addresses.contains(object.address) }
            let words = object.identity.replacing(" on server ", with: " SERVER ")
            return mappings.contains("USER MAPPING " + words)
        }
    }

    /// What the target holds that neither initdb nor a deploy nor its provider made.
    private static func foreign(_ input: PlanInput, _ ledger: LedgerState) -> [DeployedObject] {
        let ours = Set(ledger.objects.map(\.address))
        return input.target.objects.filter { object in
            !ours.contains(object.address) && object.oid >= Self.firstObjectOfUsers
                && object.title != "schema public"
                && !input.provider.excludedSchemas.contains(object.schema ?? object.name ?? "")
                && !(object.kind == .extension
                    && input.provider.excludedExtensions.contains(object.identity))
        }
    }

    /// Tables, views, sequences and types of one schema share one set of names, and so do
    /// functions, procedures and aggregates. Schemas, extensions and languages are shared.
    private static func clashes(
        _ foreign: [DeployedObject],
        with deployed: [DeployedObject]
    ) -> [DeployedObject] {
        let names = Set(deployed.compactMap(Self.name))
        return foreign.filter { object in Self.name(object).map(names.contains) ?? false }
    }

    private static func name(_ object: DeployedObject) -> String? {
        switch object.kind {
        case .schema, .extension, .language, .defaultPrivileges: nil
        case .table, .view, .materializedView, .sequence, .foreignTable, .type:
            "relation " + object.identity
        case .function, .procedure, .aggregate: "routine " + object.identity
        case .operator, .operatorClass, .operatorFamily, .collation, .conversion, .statistics,
            .textSearchConfiguration, .textSearchDictionary, .textSearchParser,
            .textSearchTemplate, .foreignDataWrapper, .server, .userMapping, .cast, .transform,
            .accessMethod, .publication, .subscription, .eventTrigger:
            object.title
        }
    }

    /// What the last deploy made and the source no longer has.
    var removed: [DeployedObject] {
        guard self.options.content != .dataOnly else { return [] }
        let made = Set(self.deployed.map(\.key))
        let stays = Set(self.ledger.stays.map(\.address))
        return self.ledger.objects.filter {
            !made.contains($0.key) && !stays.contains($0.address)
        }
    }

    var lastDeployment: DeployPlan.LastDeployment? {
        self.ledger.live.map { live in
            DeployPlan.LastDeployment(
                id: live.id, at: (try? Date(live.madeAt, strategy: .iso8601)) ?? .distantPast,
                rowCounts: live.rowCounts)
        }
    }
}
