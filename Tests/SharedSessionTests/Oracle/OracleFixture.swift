import NIOCore
import TestSupport

/// Two databases of one server with the same content: one for the shared engine, one for clients
/// that are alone.
///
/// Client *i* has its own tables `c<i>_…`, so that no client's writes concern another. Custom
/// settings are there from the start: Postgres cannot take back that one was ever set, so another
/// client sees it empty (`''`) and not unknown.
final class OracleFixture {
    static let engineDatabase = "oracle_engine"
    static let aloneDatabase = "oracle_alone"
    static let clients = 5

    let server: TestPostgres
    private var doors: [BackendSocket] = []

    init(_ version: TestPostgres.Version) throws {
        self.server = try TestPostgres.shared(version)
        let door = try BackendSocket(self.server)
        _ = try door.start([("user", "postgres"), ("database", "postgres")])
        _ = try Self.run("drop role if exists app_reader", on: door)
        _ = try Self.run("create role app_reader", on: door)
        for database in [Self.engineDatabase, Self.aloneDatabase] {
            _ = try Self.run("drop database if exists \(database) with (force)", on: door)
            try Self.check(Self.run("create database \(database)", on: door))
            for custom in ["app.tenant", "app.other", "my.\"Odd\""] {
                try Self.check(Self.run("alter database \(database) set \(custom) = ''", on: door))
            }
            let inside = try BackendSocket(self.server)
            _ = try inside.start([("user", "postgres"), ("database", database)])
            self.doors.append(inside)
        }
    }

    /// Both databases as at the beginning.
    func reset() throws {
        for door in self.doors { try Self.check(Self.run(Self.content, on: door)) }
    }

    /// Clients whose tables differ between the two databases, with what they hold.
    func differences(of clients: [Int]) throws -> [String] {
        var found: [String] = []
        for client in clients {
            let query = """
                select 'items', i::text from c\(client)_items i union all
                select 'lines', l::text from c\(client)_lines l order by 1, 2
                """
            let rows = try self.doors.map { door in
                try Self.run(query, on: door).filter { $0.isType("D") }
            }
            if rows[0] != rows[1] {
                found.append(
                    "client \(client) left \(rows[0].count) rows, alone \(rows[1].count)")
            }
        }
        return found
    }

    /// What an engine without clients holds of them; nothing where all is well.
    static func remains(in engine: EngineSession) throws -> [String] {
        guard engine.status == UInt8(ascii: "I") else { return ["a transaction"] }
        var reply = try engine.call(FrontendMessage.query(Self.remainsQuery))
        var found: [String] = []
        while let message = reply.readWireMessage() {
            if message.isType("E") { found.append(message.errorField("M") ?? "") }
            guard message.isType("D") else { continue }
            var body = message.body
            body.moveReaderIndex(forwardBy: 6)
            found.append(WireText.escaped(body.readableBytesView))
        }
        return found
    }

    private static let remainsQuery = """
        select 'statement ' || name from pg_catalog.pg_prepared_statements union all
        select 'setting ' || name || ' ' || setting from pg_catalog.pg_settings
            where source = 'session' and name not like 'transaction_%' union all
        select 'custom ' || x from unnest(array['app.tenant', 'app.other', 'my.Odd']) x
            where current_setting(x, true) <> '' union all
        select 'role' where current_user <> 'postgres' union all
        select 'temporary ' || relname from pg_catalog.pg_class
            where relnamespace = pg_catalog.pg_my_temp_schema() union all
        select 'lock' from pg_catalog.pg_locks
            where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() union all
        select 'cursor ' || name from pg_catalog.pg_cursors where is_holdable
        """

    /// A value that the engine's database answers, as text.
    func engineValue(_ sql: String) throws -> String {
        let rows = try Self.run(sql, on: self.doors[0])
        return rows.first { $0.isType("D") }.map { WireText.escaped($0.body.readableBytesView) }
            ?? "nothing"
    }

    static func run(_ sql: String, on door: BackendSocket) throws -> [WireMessage] {
        door.send(FrontendMessage.query(sql))
        var answer: [WireMessage] = []
        while let message = try door.next() {
            answer.append(message)
            if message.isType("Z") { break }
        }
        return answer
    }

    private static func check(_ answer: [WireMessage]) throws {
        guard let error = answer.first(where: { $0.isType("E") }) else { return }
        throw OracleFailure("the fixture: \(error.errorField("M") ?? "")")
    }

    /// Settings by a function; names of pg_catalog that a search_path can put in front.
    private static let content: String = {
        var text = """
            set client_min_messages = error;
            drop schema public cascade; create schema public;
            grant usage, create on schema public to app_reader;
            drop schema if exists shadow cascade; create schema shadow;
            create table shadow.pg_settings (name text, setting text, source text);
            create function shadow.set_config(text, text, boolean) returns text
                language sql as $$ select 'shadow' $$;
            create function shadow.current_setting(text) returns text
                language sql as $$ select 'shadow' $$;
            create function shadow.pg_notify(text, text) returns void language sql as $$ $$;
            grant usage on schema shadow to app_reader;
            create type mood as enum ('sad', 'ok', 'happy');
            create domain positive as int check (value > 0);
            create function tell(text) returns text language plpgsql as
                $$ begin raise notice 'told %', $1; return $1; end $$;
            create function set_user(text) returns text language plpgsql as
                $$ begin perform set_config('app.tenant', $1, false); return $1; end $$;
            create function set_style(text) returns void language plpgsql as
                $$ begin perform set_config('datestyle', $1, false); end $$;
            create function fail(text) returns int language plpgsql as
                $$ begin raise exception 'failed %', $1 using errcode = 'P0042'; end $$;
            """
        for client in 0..<OracleFixture.clients {
            text += """
                create table c\(client)_items (id int primary key, name text, n int,
                    at timestamptz default '2024-02-03 04:05:06+00', m mood, b bytea);
                insert into c\(client)_items (id, name, n, m, b)
                    select i, 'item ' || i, i * 10, 'ok', '\\x00ff'::bytea
                    from generate_series(1, 20) i;
                create table c\(client)_lines (a int, b text);
                create sequence c\(client)_seq;
                grant select on c\(client)_items to app_reader;
                """
        }
        return text + "reset client_min_messages"
    }()
}
