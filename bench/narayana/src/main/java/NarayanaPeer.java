import com.arjuna.ats.arjuna.common.ObjectStoreEnvironmentBean;
import com.arjuna.ats.arjuna.common.arjPropertyManager;
import com.arjuna.ats.jta.resources.LastResourceCommitOptimisation;
import com.arjuna.common.internal.util.propertyservice.BeanPopulator;
import com.mongodb.ReadConcern;
import com.mongodb.TransactionOptions;
import com.mongodb.WriteConcern;
import com.mongodb.client.ClientSession;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.model.InsertOneModel;
import com.mongodb.client.model.ReplaceOneModel;
import com.mongodb.client.model.WriteModel;
import jakarta.transaction.TransactionManager;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import javax.sql.XAConnection;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.bson.Document;
import org.postgresql.xa.PGXADataSource;

/**
 * The rows by Narayana's JTA: PostgreSQL by XA, with the floor's own statements; an SQLite file or a MongoDB-compatible server, which know
 * no XA, as the last resource of the transaction (its commit is the decision).
 *
 * <p>NarayanaPeer FOLDER; the log of transactions is kept there, with the settings that Narayana comes with.
 */
public final class NarayanaPeer extends Turns {
  private static final int SECONDS = 600;

  /** One store within the transaction. */
  private interface Store {
    XAResource resource();

    void write(List<Row> rows) throws Exception;

    void close() throws Exception;
  }

  private static final class PostgreSQL implements Store {
    private final XAConnection xa;
    private final Connection connection;

    PostgreSQL(String url) throws SQLException {
      PGXADataSource source = new PGXADataSource();
      source.setUrl(jdbc(url));
      xa = source.getXAConnection();
      connection = xa.getConnection();
    }

    @Override
    public XAResource resource() {
      try {
        return xa.getXAResource();
      } catch (SQLException failure) {
        throw new IllegalStateException(failure);
      }
    }

    @Override
    public void write(List<Row> rows) throws SQLException {
      String table = rows.get(0).table();
      String arrays = " from unnest(?::text[], ?::text[]) as a(id, doc)";
      String insert = "insert into " + table + " (id, doc) select a.id, a.doc::jsonb" + arrays;
      String update = "update " + table + " t set doc = a.doc::jsonb" + arrays + " where t.id = a.id";
      boolean updates = rows.get(0).update();
      try (PreparedStatement statement = connection.prepareStatement(updates ? update : insert)) {
        for (List<Row> batch : batches(rows, BATCH)) {
          statement.setArray(1, connection.createArrayOf("text", batch.stream().map(Row::id).toArray()));
          statement.setArray(2, connection.createArrayOf("text", batch.stream().map(Row::document).toArray()));
          statement.executeUpdate();
        }
      }
    }

    @Override
    public void close() throws SQLException {
      xa.close();
    }
  }

  /** A store without XA: committed when all others are prepared. */
  private abstract static class Last implements Store, LastResourceCommitOptimisation {
    abstract void end(boolean commit) throws Exception;

    private void ended(boolean commit) throws XAException {
      try {
        end(commit);
      } catch (Exception failure) {
        throw (XAException) new XAException(XAException.XAER_RMERR).initCause(failure);
      }
    }

    @Override
    public XAResource resource() {
      return this;
    }

    @Override
    public void commit(Xid xid, boolean onePhase) throws XAException {
      ended(true);
    }

    @Override
    public void rollback(Xid xid) throws XAException {
      ended(false);
    }

    @Override
    public int prepare(Xid xid) {
      return XA_OK;
    }

    @Override
    public void start(Xid xid, int flags) {}

    @Override
    public void end(Xid xid, int flags) {}

    @Override
    public void forget(Xid xid) {}

    @Override
    public boolean isSameRM(XAResource other) {
      return other == this;
    }

    @Override
    public Xid[] recover(int flag) {
      return new Xid[0];
    }

    @Override
    public int getTransactionTimeout() {
      return 0;
    }

    @Override
    public boolean setTransactionTimeout(int seconds) {
      return false;
    }
  }

  private static final class SQLite extends Last {
    private final Connection connection;

    SQLite(String path) throws SQLException {
      connection = DriverManager.getConnection(jdbc(path));
      connection.setAutoCommit(false);
    }

    @Override
    public void write(List<Row> rows) throws SQLException {
      String table = rows.get(0).table();
      String insert = "insert into " + table + " (doc, id) values (?, ?)";
      String update = "update " + table + " set doc = ? where id = ?";
      try (PreparedStatement statement = connection.prepareStatement(rows.get(0).update() ? update : insert)) {
        for (List<Row> batch : batches(rows, BATCH)) {
          for (Row row : batch) {
            statement.setString(1, row.document());
            statement.setString(2, row.id());
            statement.addBatch();
          }
          statement.executeBatch();
        }
      }
    }

    @Override
    void end(boolean commit) throws SQLException {
      if (commit) {
        connection.commit();
      } else {
        connection.rollback();
      }
    }

    @Override
    public void close() throws SQLException {
      connection.close();
    }
  }

  private static final class MongoDB extends Last {
    private final MongoClient client;
    private final ClientSession session;
    private final String database;

    MongoDB(String url) {
      client = MongoClients.create(url);
      session = client.startSession();
      database = url.substring(url.lastIndexOf('/') + 1, url.indexOf('?'));
      TransactionOptions options =
          TransactionOptions.builder().readConcern(ReadConcern.SNAPSHOT).writeConcern(WriteConcern.MAJORITY.withJournal(true)).build();
      session.startTransaction(options);
    }

    private static WriteModel<Document> model(Row row) {
      Document document = Document.parse(row.document());
      Document keyed = new Document("_id", row.id());
      keyed.putAll(document);
      return row.update() ? new ReplaceOneModel<>(new Document("_id", row.id()), keyed) : new InsertOneModel<>(keyed);
    }

    @Override
    public void write(List<Row> rows) {
      for (List<Row> batch : batches(rows, BATCH)) {
        List<WriteModel<Document>> models = new ArrayList<>(batch.size());
        for (Row row : batch) {
          models.add(model(row));
        }
        client.getDatabase(database).getCollection(rows.get(0).table()).bulkWrite(session, models);
      }
    }

    @Override
    void end(boolean commit) {
      if (commit) {
        session.commitTransaction();
      } else {
        session.abortTransaction();
      }
    }

    @Override
    public void close() {
      session.close();
      client.close();
    }
  }

  private final TransactionManager manager;
  private final Store[] stores = new Store[2];

  private NarayanaPeer(Path folder) throws Exception {
    arjPropertyManager.getCoreEnvironmentBean().setNodeIdentifier("bench");
    String objects = folder.resolve("objects").toString();
    BeanPopulator.getDefaultInstance(ObjectStoreEnvironmentBean.class).setObjectStoreDir(objects);
    for (String name : List.of("communicationStore", "stateStore")) {
      BeanPopulator.getNamedInstance(ObjectStoreEnvironmentBean.class, name).setObjectStoreDir(objects);
    }
    manager = com.arjuna.ats.jta.TransactionManager.transactionManager();
    manager.setTransactionTimeout(SECONDS);
  }

  private static Store store(String target) throws SQLException {
    if (target.startsWith("mongodb://")) {
      return new MongoDB(target);
    }
    return target.startsWith("postgresql://") ? new PostgreSQL(target) : new SQLite(target);
  }

  @Override
  void load(String first, String second, List<Row> before) {
    throw new UnsupportedOperationException("its tables are the floor's");
  }

  @Override
  void open(String first, String second, boolean abort) throws Exception {
    stores[0] = store(first);
    stores[1] = store(second);
  }

  private void writeAll(List<Row> rows) throws Exception {
    for (int number = 0; number < stores.length; number++) {
      for (boolean update : new boolean[] {false, true}) {
        List<Row> some = some(rows, number, update);
        if (!some.isEmpty()) {
          stores[number].write(some);
        }
      }
    }
  }

  @Override
  boolean write(List<Row> rows, boolean abort) throws Exception {
    manager.begin();
    for (Store store : stores) {
      manager.getTransaction().enlistResource(store.resource());
    }
    writeAll(abort ? rows.subList(0, rows.size() - 1) : rows);
    if (abort) {
      manager.rollback();
      return false;
    }
    manager.commit();
    return true;
  }

  @Override
  void close() throws Exception {
    for (Store store : stores) {
      store.close();
    }
  }

  public static void main(String[] arguments) throws Exception {
    new NarayanaPeer(Path.of(arguments[0])).serve();
    System.exit(0);
  }
}
