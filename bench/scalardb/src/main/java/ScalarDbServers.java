import com.scalar.db.api.DistributedTransaction;
import com.scalar.db.api.DistributedTransactionAdmin;
import com.scalar.db.api.DistributedTransactionManager;
import com.scalar.db.api.Insert;
import com.scalar.db.api.Mutation;
import com.scalar.db.api.TableMetadata;
import com.scalar.db.api.Update;
import com.scalar.db.exception.transaction.TransactionException;
import com.scalar.db.io.DataType;
import com.scalar.db.io.Key;
import com.scalar.db.service.TransactionFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/**
 * The rows by ScalarDB: one transaction (consensus commit) over two storages of JDBC, with its settings as they come.
 *
 * <p>It keeps what a transaction writes until it commits, so a failure that costs it something is one that it meets when it writes: abort
 * inserts a document that is there already, after all others.
 */
public final class ScalarDbServers extends Turns {
  private static final int LOAD_ROWS = 5_000;

  private DistributedTransactionAdmin admin;
  private DistributedTransactionManager manager;

  private void connect(String first, String second) {
    Properties settings = new Properties();
    settings.setProperty("scalar.db.transaction_manager", "consensus-commit");
    settings.setProperty("scalar.db.storage", "multi-storage");
    settings.setProperty("scalar.db.multi_storage.storages", "first,second");
    settings.setProperty("scalar.db.multi_storage.namespace_mapping", "store0:first,store1:second,coordinator:first");
    settings.setProperty("scalar.db.multi_storage.default_storage", "first");
    for (int number = 0; number < 2; number++) {
      String prefix = "scalar.db.multi_storage.storages." + List.of("first", "second").get(number) + ".";
      settings.setProperty(prefix + "storage", "jdbc");
      settings.setProperty(prefix + "contact_points", jdbc(number == 0 ? first : second));
    }
    TransactionFactory factory = TransactionFactory.create(settings);
    admin = factory.getTransactionAdmin();
    manager = factory.getTransactionManager();
  }

  private void makeTables(String table) throws Exception {
    TableMetadata metadata =
        TableMetadata.newBuilder().addColumn("id", DataType.TEXT).addColumn("doc", DataType.TEXT).addPartitionKey("id").build();
    admin.createCoordinatorTables(true);
    for (String namespace : List.of("store0", "store1")) {
      admin.createNamespace(namespace, true);
      admin.createTable(namespace, table, metadata, true);
    }
  }

  private static Mutation mutation(Row row) {
    String namespace = "store" + row.store();
    Key key = Key.ofText("id", row.id());
    return row.update()
        ? Update.newBuilder().namespace(namespace).table(row.table()).partitionKey(key).textValue("doc", row.document()).build()
        : Insert.newBuilder().namespace(namespace).table(row.table()).partitionKey(key).textValue("doc", row.document()).build();
  }

  private void transact(List<Row> rows) throws TransactionException {
    DistributedTransaction transaction = manager.begin();
    try {
      for (Row row : rows) {
        transaction.mutate(List.of(mutation(row)));
      }
      transaction.commit();
    } catch (TransactionException failure) {
      transaction.rollback();
      throw failure;
    }
  }

  @Override
  void load(String first, String second, List<Row> before) throws Exception {
    connect(first, second);
    makeTables(before.get(0).table());
    for (List<Row> batch : batches(before, LOAD_ROWS)) {
      transact(batch);
    }
    close();
  }

  @Override
  void open(String first, String second, boolean abort) throws Exception {
    connect(first, second);
  }

  /** The last document that is there already becomes one that is to be inserted, at the end. */
  private static List<Row> failing(List<Row> rows) {
    List<Row> all = new ArrayList<>(rows);
    for (int at = all.size() - 1; ; at--) {
      Row row = all.get(at);
      if (row.update()) {
        all.remove(at);
        all.add(new Row(row.store(), false, row.table(), row.id(), row.document()));
        return all;
      }
    }
  }

  @Override
  boolean write(List<Row> rows, boolean abort) throws Exception {
    if (!abort) {
      transact(rows);
      return true;
    }
    try {
      transact(failing(rows));
      return true;
    } catch (TransactionException failure) {
      return false;
    }
  }

  @Override
  void close() {
    manager.close();
    admin.close();
  }

  public static void main(String[] arguments) throws Exception {
    new ScalarDbServers().serve();
    System.exit(0);
  }
}
