extension PlanContext {
    /// Owners, grants and policies.
    var aboutRoles: [Finding] {
        guard self.options.content != .dataOnly else { return [] }
        let create = { (roles: [String]) in
            Phrase.sql(roles.map { "CREATE ROLE \(SQLText.identifier($0)) NOLOGIN;" })
        }
        var findings: [Finding] = []
        if self.ownership.isKept {
            findings += Self.found(
                .blocking, .roleMissing, self.ownership.missingRoles,
                { "the target lacks roles that own objects or were granted something: \($0)" },
                fix: create(self.ownership.missingRoles))
            let name = SQLText.identifier(self.target.role.name)
            findings += Self.found(
                .blocking, .ownerNotMember, self.ownership.foreignOwners,
                { "\(self.target.role.name) may not give objects to their owners: \($0)" },
                fix: Phrase.sql(
                    self.ownership.foreignOwners.map {
                        "GRANT \(SQLText.identifier($0)) TO \(name);"
                    }))
        } else {
            findings += self.aboutLostOwnership
        }
        let policyRoles = Set(
            self.source.policyRoles.filter { self.selection.contains(schema: $0.schema) }
                .map(\.role)
        ).subtracting(self.target.roles).sorted()
        return findings
            + Self.found(
                .blocking, .policyRoleMissing, policyRoles,
                { "the target lacks roles that policies are for: \($0)" },
                fix: create(policyRoles))
    }

    private var aboutLostOwnership: [Finding] {
        let why =
            switch (self.options.ownership, self.provider.leavesOutOwnership) {
            case (.leaveOut, _): "as asked"
            case (.auto, true), (.keep, true): "as \(self.provider.name) has roles of its own"
            case (.auto, false), (.keep, false):
                "as the target lacks, or \(self.target.role.name) may not act for, "
                    + Phrase.list(self.ownership.missingRoles + self.ownership.foreignOwners)
            }
        let granted = self.ownership.granted.map(\.object)
        let severity: Finding.Severity =
            granted.isEmpty || self.options.ownership == .leaveOut ? .info : .warning
        return [
            Finding(
                severity, .ownershipLeftOut,
                "owners and grants are left out, \(why): everything will belong to "
                    + "\(self.target.role.name)"
                    + (granted.isEmpty ? "" : ", and grants are lost on \(Phrase.list(granted))"),
                fix: self.options.ownership == .auto && !self.provider.leavesOutOwnership
                    ? Phrase.sql(
                        self.ownership.missingRoles.map {
                            "CREATE ROLE \(SQLText.identifier($0)) NOLOGIN;"
                        }) : nil,
                objects: granted)
        ]
    }

    /// What our role may do, at both ends.
    var aboutRights: [Finding] {
        self.aboutCreating + self.aboutReading
    }

    private var aboutCreating: [Finding] {
        guard self.method.chosen == .inPlace else { return [] }
        let role = self.target.role
        let name = SQLText.identifier(role.name)
        var findings: [Finding] = []
        if !role.canCreateInDatabase {
            let database = self.target.server.database
            findings.append(
                Finding(
                    .blocking, .noCreateOnDatabase,
                    "\(role.name) may not create schemas in \(database); the record of a deploy "
                        + "and what it replaces are kept in some",
                    fix: "As the owner of the database: GRANT CREATE ON DATABASE "
                        + "\(SQLText.identifier(database)) TO \(name);",
                    objects: [database]))
        }
        let used = Set(self.deployed.compactMap(\.schema))
        let closed = self.target.schemas.filter {
            used.contains($0.name) && !($0.canCreate && $0.canUse)
                && self.rules.existingSchemas.contains($0.name)
        }.map(\.name)
        return findings
            + Self.found(
                .blocking, .noCreateInSchema, closed,
                { "\(role.name) may not create anything in these schemas of the target: \($0)" },
                fix: "As their owner: "
                    + Phrase.sql(
                        closed.map {
                            "GRANT USAGE, CREATE ON SCHEMA \(SQLText.identifier($0)) TO \(name);"
                        }))
    }

    private var aboutReading: [Finding] {
        let kinds: Set<RelationFacts.Kind> = [.table, .partitionedTable, .sequence]
        let closed = self.source.relations.filter { relation in
            kinds.contains(relation.kind) && self.selection.contains(relation)
                && !relation.isReadable
                && (relation.extensionName == nil || relation.configurationFilter != nil)
        }.map(\.identity)
        let name = SQLText.identifier(self.source.role.name)
        return Self.found(
            .blocking, .sourceUnreadable, closed,
            { "\(self.source.role.name) may not read these tables of the source: \($0)" },
            fix: "As a superuser at the source: GRANT pg_read_all_data TO \(name);")
    }

    /// Rows that row security would hide: they would be lost without a word.
    var aboutRowSecurity: [Finding] {
        let tables = self.source.relations.filter { self.selection.contains($0) }
        let hidden = tables.filter {
            $0.rowSecurityApplies && self.options.content != .schemaOnly
        }.map(\.identity)
        let forced = tables.filter { $0.forcesRowSecurity && $0.hasRowSecurity }.map(\.identity)
        let target = self.target.role
        let isFree = target.isSuperuser || target.bypassesRowSecurity
        return Self.found(
            .blocking, .rowSecurityApplies, hidden,
            {
                "row security of the source would hide rows from "
                    + "\(self.source.role.name): \($0)"
            },
            fix: "Connect as the tables' owner or a superuser, or let a superuser "
                + "ALTER ROLE \(SQLText.identifier(self.source.role.name)) BYPASSRLS;")
            + Self.found(
                .warning, .rowSecurityForced, isFree ? [] : forced,
                {
                    "row security will apply to \(target.name) too, who owns the tables then: \($0)"
                })
    }
}
