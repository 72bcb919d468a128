import com.scalar.db.api.DistributedTransaction;
import com.scalar.db.api.DistributedTransactionAdmin;
import com.scalar.db.api.DistributedTransactionManager;
import com.scalar.db.api.Get;
import com.scalar.db.api.Insert;
import com.scalar.db.api.Mutation;
import com.scalar.db.api.TableMetadata;
import com.scalar.db.api.Update;
import com.scalar.db.exception.transaction.TransactionException;
import com.scalar.db.io.DataType;
import com.scalar.db.io.Key;
import com.scalar.db.service.TransactionFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/**
 * The same rows by ScalarDB: one transaction (consensus commit) over two storages, each an SQLite file.
 *
 * <p>Peer FOLDER ROWS BEFORE commit|abort. Lines of ROWS and BEFORE are those of bench/floor. What was there before is loaded first, and a
 * transaction of other rows warms the virtual machine up: neither is measured. abort: the last row is one that is there already, so
 * that the transaction fails when it writes, after all others, and ScalarDB takes them back. Prints one JSON object.
 */
public final class Peer {
  private static final int LOAD_ROWS = 5_000;
  private static final int WARM_ROWS = 1_000;
  private static final int WARM_ROUNDS = 3;
  private static final String ALREADY_THERE = "there already";

  private record Row(int store, boolean update, String table, String id, String document) {}

  private final DistributedTransactionAdmin admin;
  private final DistributedTransactionManager manager;

  private Peer(Path folder) throws IOException {
    Properties settings = new Properties();
    settings.setProperty("scalar.db.transaction_manager", "consensus-commit");
    settings.setProperty("scalar.db.storage", "multi-storage");
    settings.setProperty("scalar.db.multi_storage.storages", "first,second");
    settings.setProperty("scalar.db.multi_storage.namespace_mapping", "store0:first,store1:second,coordinator:first");
    settings.setProperty("scalar.db.multi_storage.default_storage", "first");
    for (String storage : List.of("first", "second")) {
      String prefix = "scalar.db.multi_storage.storages." + storage + ".";
      settings.setProperty(prefix + "storage", "jdbc");
      settings.setProperty(
          prefix + "contact_points",
          "jdbc:sqlite:" + folder.resolve(storage + ".db") + "?busy_timeout=10000&journal_mode=WAL&synchronous=FULL");
    }
    TransactionFactory factory = TransactionFactory.create(settings);
    admin = factory.getTransactionAdmin();
    manager = factory.getTransactionManager();
  }

  private static List<Row> read(String path) throws IOException {
    List<Row> rows = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(path))) {
      String[] fields = line.split("\t", 5);
      rows.add(new Row(Integer.parseInt(fields[0]), fields[1].equals("u"), fields[2], fields[3], fields[4]));
    }
    return rows;
  }

  private void makeTables(String table) throws Exception {
    TableMetadata metadata =
        TableMetadata.newBuilder()
            .addColumn("id", DataType.TEXT)
            .addColumn("doc", DataType.TEXT)
            .addPartitionKey("id")
            .build();
    admin.createCoordinatorTables(true);
    for (String namespace : List.of("store0", "store1")) {
      admin.createNamespace(namespace, true);
      admin.createTable(namespace, table, metadata, true);
    }
  }

  private static Mutation mutation(Row row) {
    String namespace = "store" + row.store;
    Key key = Key.ofText("id", row.id);
    return row.update
        ? Update.newBuilder().namespace(namespace).table(row.table).partitionKey(key).textValue("doc", row.document).build()
        : Insert.newBuilder().namespace(namespace).table(row.table).partitionKey(key).textValue("doc", row.document).build();
  }

  private void write(List<Row> rows) throws TransactionException {
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

  private void load(List<Row> rows) throws TransactionException {
    for (int from = 0; from < rows.size(); from += LOAD_ROWS) {
      write(rows.subList(from, Math.min(from + LOAD_ROWS, rows.size())));
    }
  }

  private void warmUp(String table) throws TransactionException {
    for (int round = 0; round < WARM_ROUNDS; round++) {
      List<Row> inserts = new ArrayList<>();
      List<Row> updates = new ArrayList<>();
      for (int i = 0; i < WARM_ROWS; i++) {
        String id = "warm-" + round + "-" + i;
        inserts.add(new Row(i % 2, false, table, id, "{}"));
        updates.add(new Row(i % 2, true, table, id, "{\"again\":true}"));
      }
      write(inserts);
      write(updates);
    }
  }

  /** How many of the rows a reader sees with the document that the transaction gave them. */
  private int seen(List<Row> rows) throws TransactionException {
    int found = 0;
    DistributedTransaction transaction = manager.beginReadOnly();
    for (Row row : rows) {
      Get get = Get.newBuilder().namespace("store" + row.store).table(row.table).partitionKey(Key.ofText("id", row.id)).build();
      found += transaction.get(get).map(result -> result.getText("doc")).filter(row.document::equals).isPresent() ? 1 : 0;
    }
    transaction.commit();
    return found;
  }

  private void run(List<Row> rows, List<Row> before, boolean abort) throws Exception {
    String table = rows.get(0).table;
    makeTables(table);
    load(before);
    warmUp(table);
    List<Row> all = new ArrayList<>(rows);
    if (abort) {
      Row last = new Row(1, false, table, ALREADY_THERE, "{}");
      write(List.of(last));
      all.set(all.size() - 1, last);
    }
    long started = System.nanoTime();
    boolean committed = true;
    try {
      write(all);
    } catch (TransactionException failure) {
      committed = false;
    }
    double wall = (System.nanoTime() - started) / 1e6;
    if (committed == abort) {
      throw new IllegalStateException(abort ? "the transaction was to fail" : "the transaction failed");
    }
    System.out.printf("{\"operations\":%d,\"wall_ms\":%.3f,\"seen\":%d}%n", rows.size(), wall, seen(rows));
  }

  public static void main(String[] arguments) throws Exception {
    Peer peer = new Peer(Path.of(arguments[0]));
    try {
      peer.run(read(arguments[1]), read(arguments[2]), arguments[3].equals("abort"));
    } finally {
      peer.manager.close();
      peer.admin.close();
    }
  }
}
