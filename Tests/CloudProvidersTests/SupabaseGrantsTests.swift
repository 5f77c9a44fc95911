import CloudProviders
import Testing

struct SupabaseGrantsTests {
    @Test func `a deployed schema is opened to the API's roles, now and for what comes`() {
        let statements = SupabaseGrants.statements(schemas: ["a\"b"])
        #expect(statements.count == 7)
        #expect(
            statements.first
                == #"grant usage on schema "a""b" to anon, authenticated, service_role"#)
        #expect(statements.filter { $0.hasPrefix("alter default privileges") }.count == 3)
        #expect(statements.allSatisfy { !$0.contains(";") })
    }

    @Test(arguments: ["auth", "storage", "pgshare", "pg_catalog", "information_schema", "vault"])
    func `a schema of the provider's, the system's or ours is left alone`(schema: String) {
        #expect(SupabaseGrants.statements(schemas: [schema]).isEmpty)
    }

    @Test(arguments: [
        ("ACTIVE_HEALTHY", SupabaseStatus.ready), ("INACTIVE", .paused), ("INIT_FAILED", .failed),
        ("REMOVED", .failed), ("RESTORE_FAILED", .failed), ("PAUSE_FAILED", .failed),
        ("COMING_UP", .waiting), ("RESTORING", .waiting), ("UNHEARD_OF", .waiting),
    ])
    func `a status means what the table says`(word: String, status: SupabaseStatus) {
        #expect(SupabaseStatus(word) == status)
    }
}
