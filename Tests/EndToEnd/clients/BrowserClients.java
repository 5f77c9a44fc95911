import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/**
 * What a Java program does with pgjdbc and a database that has one session: no temporary tables,
 * which would keep it from the others, and nothing that must be interrupted while it runs.
 * Prints "ok NAME" for each part; throws where one fails.
 */
public final class BrowserClients {
    private static String url;
    private static String rootCertificate;

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[2];
        rootCertificate = arguments[3];
        System.out.println("version " + org.postgresql.util.DriverInfo.DRIVER_VERSION);
        try (Connection connection = connect("java"); Connection other = connect("other")) {
            queries(connection, other);
            batch(connection, other);
            cursor(connection, other);
            copy(connection);
            settings(connection, other);
            notifications(connection, other);
            check(scalar(connection, "select 'alive'").equals("alive"), "alive at the end");
        }
        System.out.println("done");
    }

    private static Connection connect(String name) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGSHARE_TEST_USER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", rootCertificate);
        properties.setProperty("ApplicationName", name);
        return DriverManager.getConnection(url, properties);
    }

    private static void check(boolean good, String what) {
        if (!good) {
            throw new IllegalStateException(what);
        }
    }

    private static String scalar(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** Both name their statements S_1, S_2, …: pgjdbc prepares on the server at the fifth use. */
    private static void queries(Connection connection, Connection other) throws SQLException {
        try (PreparedStatement mine = connection.prepareStatement("select ?::int + 1, ?::text");
                PreparedStatement theirs = other.prepareStatement("select ?::int * 2")) {
            for (int number = 0; number < 20; number++) {
                mine.setInt(1, number);
                mine.setString(2, "ü".repeat(number * 1000));
                theirs.setInt(1, number);
                try (ResultSet rows = mine.executeQuery(); ResultSet others = theirs.executeQuery()) {
                    rows.next();
                    others.next();
                    check(rows.getInt(1) == number + 1, "sum");
                    check(rows.getString(2).length() == number * 1000, "length");
                    check(others.getInt(1) == number * 2, "the other's product");
                }
            }
        }
        check(scalar(connection, "show application_name").equals("java"), "application_name");
        check(scalar(other, "show application_name").equals("other"), "the other's application_name");
        try {
            scalar(connection, "select nonsense");
            check(false, "an error");
        } catch (SQLException error) {
            check("42703".equals(error.getSQLState()), error.toString());
        }
        System.out.println("ok queries");
    }

    private static void batch(Connection connection, Connection other) throws SQLException {
        execute(connection, "create table batched (a int, b text)");
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection.prepareStatement("insert into batched values (?, ?)")) {
            for (int number = 0; number < 5000; number++) {
                insert.setInt(1, number);
                insert.setString(2, "line " + number);
                insert.addBatch();
            }
            check(insert.executeBatch().length == 5000, "batch");
        }
        connection.commit();
        check(scalar(other, "select count(*) from batched").equals("5000"), "count");
        System.out.println("ok batch");
    }

    private static void cursor(Connection connection, Connection other) throws SQLException {
        long sum = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(333);
            try (ResultSet rows = statement.executeQuery("select a from batched")) {
                while (rows.next()) {
                    sum += rows.getInt(1);
                }
            }
        }
        check(sum == 12_497_500L, "sum of the cursor");
        connection.commit();
        connection.setAutoCommit(true);
        check(scalar(other, "select 1").equals("1"), "the other's turn");
        System.out.println("ok cursor");
    }

    private static void copy(Connection connection) throws Exception {
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder text = new StringBuilder();
        for (int number = 0; number < 20_000; number++) {
            text.append(number).append("\tcopied ").append(number).append('\n');
        }
        execute(connection, "create table copied (a int, b text)");
        check(manager.copyIn("copy copied from stdin", new StringReader(text.toString())) == 20_000, "copy in");
        StringWriter out = new StringWriter();
        manager.copyOut("copy (select * from copied order by a) to stdout", out);
        check(out.toString().contentEquals(text), "copy out");
        System.out.println("ok copy");
    }

    private static void settings(Connection connection, Connection other) throws SQLException {
        execute(connection, "create schema mine");
        connection.setSchema("mine");
        execute(connection, "create table here (a int)");
        check(scalar(other, "select to_regclass('here') is null").equals("t"), "the other's schema");
        check(connection.getSchema().equals("mine"), "my schema");
        execute(connection, "drop schema mine cascade");
        System.out.println("ok settings");
    }

    private static void notifications(Connection connection, Connection other) throws Exception {
        execute(connection, "listen java");
        execute(other, "notify java, 'hello'");
        PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(20_000);
        check(heard.length == 1 && heard[0].getParameter().equals("hello"), "notification");
        System.out.println("ok notifications");
    }
}
