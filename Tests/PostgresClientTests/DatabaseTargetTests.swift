import PostgresClient
import PostgresWire
import Testing

@Suite struct DatabaseTargetTests {
    @Test func `a target never shows its password`() {
        let target = DatabaseTarget(
            endpoint: .unixSocket(path: "/tmp/.s.PGSQL.5432"), user: "me",
            password: Secret("hidden"), database: "shop")
        #expect(!"\(target)".contains("hidden"))
    }
}
