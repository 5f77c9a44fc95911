/// The statements that keep large objects: they have no schema to be moved to, so their contents
/// go into the ledger.
///
/// The server does it all, 256 KiB at a time; nothing comes here.
enum LargeObjects {
    private static let pageBytes = 262_144

    /// Remembers which are there, so that those to come are known.
    static let rememberBefore = """
        delete from pgshare.large_object_before;
        insert into pgshare.large_object_before select oid from pg_largeobject_metadata
        """

    /// Those that the live deployment made and nobody was given since.
    private static func made(by live: String) -> String {
        """
        select m.oid, m.lomowner, m.lomacl from pg_largeobject_metadata m
            join pgshare.deployed_large_object d
                on d.loid = m.oid and d.deployment = \(SQLText.literal(live))
        """
    }

    /// Copies what `live` made into the rows of the deployment that sets it aside.
    static func save(madeBy live: String, for deploymentID: String) -> [String] {
        let id = SQLText.literal(deploymentID)
        return [
            """
            insert into pgshare.kept_large_object (deployment, loid, owner, grants, comment)
            select \(id), m.oid, pg_get_userbyid(m.lomowner),
                \(Setting.grants("coalesce(m.lomacl, acldefault('L', m.lomowner))")),
                obj_description(m.oid, 'pg_largeobject')
            from (\(self.made(by: live))) m
            """,
            """
            with recursive page(loid, page, data) as (
                select loid, 0::bigint, lo_get(loid, 0, \(self.pageBytes))
                    from pgshare.kept_large_object where deployment = \(id)
                union all
                select loid, page + 1,
                        lo_get(loid, (page + 1) * \(self.pageBytes), \(self.pageBytes))
                    from page where length(data) = \(self.pageBytes)
            )
            insert into pgshare.kept_large_object_data (deployment, loid, page, data)
            select \(id), loid, page, data from page where length(data) > 0
            """,
        ]
    }

    /// One row: how many.
    static func unlink(madeBy live: String) -> String {
        "select count(lo_unlink(m.oid)) from (\(self.made(by: live))) m"
    }

    /// After a restore. With `isOneTransaction`, only those that this very transaction made.
    static func recordMade(by deploymentID: String, isOneTransaction: Bool) -> [String] {
        let isOurs =
            isOneTransaction
            ? "m.xmin::text = coalesce(pg_current_xact_id_if_assigned()::xid::text, '')" : "true"
        return [
            """
            insert into pgshare.deployed_large_object (deployment, loid)
            select \(SQLText.literal(deploymentID)), m.oid from pg_largeobject_metadata m
            where \(isOurs) and not exists (
                select from pgshare.large_object_before b where b.loid = m.oid)
            """,
            "delete from pgshare.large_object_before",
        ]
    }

    /// Makes them anew, with their old OIDs. One row: how many.
    static func restore(savedBy deploymentID: String) -> String {
        let id = SQLText.literal(deploymentID)
        return """
            select lo_create(loid) from pgshare.kept_large_object where deployment = \(id);
            select lo_put(loid, page * \(self.pageBytes), data)
                from pgshare.kept_large_object_data where deployment = \(id) order by loid, page;
            select count(*) from pgshare.kept_large_object where deployment = \(id)
            """
    }

    /// Owner, privileges and comment: as saved, and as they are after ``restore(savedBy:)``,
    /// where the two differ.
    static func settings(savedBy deploymentID: String) -> String {
        """
        select * from (
            select k.loid, k.owner, k.grants, k.comment, pg_get_userbyid(m.lomowner) as owner_now,
                \(Setting.grants("coalesce(m.lomacl, acldefault('L', m.lomowner))")) as grants_now
            from pgshare.kept_large_object k join pg_largeobject_metadata m on m.oid = k.loid
            where k.deployment = \(SQLText.literal(deploymentID))
        ) s where comment is not null or owner <> owner_now or grants <> grants_now
        """
    }

    /// The statements for one row of ``settings(savedBy:)``.
    static func restoreSettings(_ row: [String?]) -> [String] {
        guard row.count == 6, let oid = row[0], let owner = row[1], let ownerNow = row[4]
        else { return [] }
        let subject = Setting.Subject.largeObject(oid)
        let now = Setting(
            subject: subject, owner: ownerNow, grants: Setting.grants(json: row[5]), comment: nil)
        let wanted = Setting(
            subject: subject, owner: owner, grants: Setting.grants(json: row[2]), comment: row[3])
        return now.statements(to: wanted)
    }
}
