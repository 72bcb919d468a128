import io.seata.rm.RMClient;
import io.seata.rm.datasource.DataSourceProxy;
import io.seata.tm.TMClient;
import io.seata.tm.api.GlobalTransaction;
import io.seata.tm.api.GlobalTransactionContext;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * The rows by Seata's AT mode: two PostgreSQL databases behind its proxies, one branch each, its undo log within each database.
 *
 * <p>Its proxies understand an insert of many rows and a batch of whole updates; both are sent {@value #STATEMENT_ROWS} rows at a time.
 * Documents are texts: it does not put jsonb back.
 */
public final class SeataPeer extends Turns {
  private static final int STATEMENT_ROWS = 500;
  private static final int MILLISECONDS = 600_000;
  private static final String APPLICATION = "bench";
  private static final String GROUP = "default_tx_group";
  private static final String UNDO_LOG =
      "create table undo_log (id serial primary key, branch_id bigint not null, xid varchar(128) not null, context varchar(128) not null,"
          + " rollback_info bytea not null, log_status int not null, log_created timestamp(0) not null, log_modified timestamp(0) not null,"
          + " unique (xid, branch_id)); create index ix_log_created on undo_log (log_created)";

  private final DataSourceProxy[] sources = new DataSourceProxy[2];
  private final Connection[] connections = new Connection[2];

  private SeataPeer() {
    TMClient.init(APPLICATION, GROUP);
    RMClient.init(APPLICATION, GROUP);
  }

  @Override
  void load(String first, String second, List<Row> before) throws SQLException {
    for (int number = 0; number < 2; number++) {
      try (Connection connection = DriverManager.getConnection(jdbc(number == 0 ? first : second));
          Statement statement = connection.createStatement()) {
        statement.execute(UNDO_LOG);
        statement.execute("create table " + before.get(0).table() + " (id text primary key, doc text not null)");
        connection.setAutoCommit(false);
        insert(connection, some(before, number, false));
        connection.commit();
      }
    }
  }

  /** Proxies know their database by its URL, which stays the same. */
  @Override
  void open(String first, String second, boolean abort) throws SQLException {
    for (int number = 0; number < 2; number++) {
      if (sources[number] == null) {
        PGSimpleDataSource source = new PGSimpleDataSource();
        source.setUrl(jdbc(number == 0 ? first : second));
        sources[number] = new DataSourceProxy(source);
      }
      connections[number] = sources[number].getConnection();
    }
  }

  private static void insert(Connection connection, List<Row> rows) throws SQLException {
    for (List<Row> batch : batches(rows, STATEMENT_ROWS)) {
      String sql = "insert into " + batch.get(0).table() + " (id, doc) values (?, ?)" + ", (?, ?)".repeat(batch.size() - 1);
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        int at = 0;
        for (Row row : batch) {
          statement.setString(++at, row.id());
          statement.setString(++at, row.document());
        }
        statement.executeUpdate();
      }
    }
  }

  private static String quoted(String text) {
    return "'" + text.replace("'", "''") + "'";
  }

  private static void update(Connection connection, List<Row> rows) throws SQLException {
    for (List<Row> batch : batches(rows, STATEMENT_ROWS)) {
      try (Statement statement = connection.createStatement()) {
        for (Row row : batch) {
          statement.addBatch("update " + row.table() + " set doc = " + quoted(row.document()) + " where id = " + quoted(row.id()));
        }
        statement.executeBatch();
      }
    }
  }

  @Override
  boolean write(List<Row> rows, boolean abort) throws Exception {
    List<Row> wanted = abort ? rows.subList(0, rows.size() - 1) : rows;
    GlobalTransaction transaction = GlobalTransactionContext.createNew();
    transaction.begin(MILLISECONDS, APPLICATION);
    for (int number = 0; number < 2; number++) {
      connections[number].setAutoCommit(false);
      insert(connections[number], some(wanted, number, false));
      update(connections[number], some(wanted, number, true));
      connections[number].commit();
    }
    if (abort) {
      transaction.rollback();
      return false;
    }
    transaction.commit();
    return true;
  }

  @Override
  void close() throws SQLException {
    for (Connection connection : connections) {
      connection.close();
    }
  }

  public static void main(String[] arguments) throws Exception {
    new SeataPeer().serve();
    System.exit(0);
  }
}
