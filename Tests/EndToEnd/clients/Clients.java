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

/** What a Java program does with pgjdbc. Prints "ok NAME" for each part; throws where one fails. */
public final class Clients {
    private static String url;
    private static String rootCertificate;

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[2];
        rootCertificate = arguments[3];
        System.out.println("version " + org.postgresql.util.DriverInfo.DRIVER_VERSION);
        for (String mode : new String[] {"allow", "prefer", "require", "verify-ca", "verify-full"}) {
            try (Connection connection = connect(mode)) {
                check(scalar(connection, "select 6 * 7").equals("42"), mode);
            }
            System.out.println("ok sslmode " + mode);
        }
        try (Connection connection = connect("verify-full")) {
            queries(connection);
            batch(connection);
            cursor(connection);
            copy(connection);
            cancel(connection);
            notifications(connection);
            check(scalar(connection, "select 'alive'").equals("alive"), "alive at the end");
        }
        System.out.println("done");
    }

    private static Connection connect(String mode) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGSHARE_TEST_USER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", mode);
        properties.setProperty("sslrootcert", rootCertificate);
        properties.setProperty("ApplicationName", "java");
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

    private static void queries(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("select ?::int + 1, ?::text")) {
            for (int number = 0; number < 20; number++) {
                statement.setInt(1, number);
                statement.setString(2, "ü".repeat(number * 1000));
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    check(rows.getInt(1) == number + 1, "sum");
                    check(rows.getString(2).length() == number * 1000, "length");
                }
            }
        }
        check(scalar(connection, "show application_name").equals("java"), "application_name");
        try {
            scalar(connection, "select nonsense");
            check(false, "an error");
        } catch (SQLException error) {
            check("42703".equals(error.getSQLState()), error.toString());
        }
        System.out.println("ok queries");
    }

    private static void batch(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temp table batched (a int, b text)");
        }
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
        check(scalar(connection, "select count(*) from batched").equals("5000"), "count");
        connection.rollback();
        System.out.println("ok batch");
    }

    private static void cursor(Connection connection) throws SQLException {
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
        System.out.println("ok cursor");
    }

    private static void copy(Connection connection) throws Exception {
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder text = new StringBuilder();
        for (int number = 0; number < 20_000; number++) {
            text.append(number).append("\tcopied ").append(number).append('\n');
        }
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temp table copied (a int, b text)");
        }
        check(manager.copyIn("copy copied from stdin", new StringReader(text.toString())) == 20_000, "copy in");
        StringWriter out = new StringWriter();
        manager.copyOut("copy (select * from copied order by a) to stdout", out);
        check(out.toString().contentEquals(text), "copy out");
        System.out.println("ok copy");
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("select pg_sleep(60)");
            check(false, "a timeout");
        } catch (SQLException error) {
            check("57014".equals(error.getSQLState()), error.toString());
        }
        System.out.println("ok cancel");
    }

    private static void notifications(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("listen java");
        }
        try (Connection other = connect("require"); Statement statement = other.createStatement()) {
            statement.execute("notify java, 'hello'");
        }
        PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(20_000);
        check(heard.length == 1 && heard[0].getParameter().equals("hello"), "notification");
        System.out.println("ok notifications");
    }
}
