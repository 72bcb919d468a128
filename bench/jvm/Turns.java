import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What the programs of others have in common: they write when it is their turn.
 *
 * <p>A line in, tabs between its words, one JSON object out: {@code load FIRST SECOND ROWS} makes the tables and writes what is there before;
 * {@code open FIRST SECOND ROWS commit|abort} connects and reads the rows; {@code go} writes them as one unit, which is all that is timed;
 * {@code close} disconnects. Rows are those of bench/floor. abort: the unit fails when all but its last row are written, and is taken back.
 */
abstract class Turns {
  static final int BATCH = 2_000;

  record Row(int store, boolean update, String table, String id, String document) {}

  private final PrintStream out = System.out;
  private List<Row> rows;
  private boolean abort;

  abstract void load(String first, String second, List<Row> before) throws Exception;

  abstract void open(String first, String second, boolean abort) throws Exception;

  /** Writes all rows in one unit; false if it was taken back. */
  abstract boolean write(List<Row> rows, boolean abort) throws Exception;

  abstract void close() throws Exception;

  static List<Row> read(String path) throws IOException {
    List<Row> rows = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(path))) {
      String[] fields = line.split("\t", 5);
      rows.add(new Row(Integer.parseInt(fields[0]), fields[1].equals("u"), fields[2], fields[3], fields[4]));
    }
    return rows;
  }

  static String jdbc(String url) {
    if (!url.startsWith("postgresql://")) {
      return "jdbc:sqlite:" + url + "?busy_timeout=10000&journal_mode=WAL&synchronous=FULL";
    }
    int at = url.indexOf('@');
    return "jdbc:postgresql://" + url.substring(at + 1) + "?user=" + url.substring("postgresql://".length(), at);
  }

  static List<Row> some(List<Row> rows, int store, boolean update) {
    return rows.stream().filter(row -> row.store == store && row.update == update).toList();
  }

  static List<List<Row>> batches(List<Row> rows, int size) {
    List<List<Row>> found = new ArrayList<>();
    for (int from = 0; from < rows.size(); from += size) {
      found.add(rows.subList(from, Math.min(from + size, rows.size())));
    }
    return found;
  }

  private String answer(String[] words) throws Exception {
    switch (words[0]) {
      case "load":
        load(words[1], words[2], read(words[3]));
        return "{}";
      case "open":
        rows = read(words[3]);
        abort = words[4].equals("abort");
        open(words[1], words[2], abort);
        System.gc();
        return "{}";
      case "go":
        long started = System.nanoTime();
        boolean committed = write(rows, abort);
        return String.format("{\"wall_ms\":%.3f,\"committed\":%b}", (System.nanoTime() - started) / 1e6, committed);
      case "close":
        close();
        return "{}";
      default:
        throw new IllegalArgumentException(words[0]);
    }
  }

  /** Until there are no more lines. */
  final void serve() throws IOException {
    System.setOut(System.err); // only answers go there
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String answer;
      try {
        answer = answer(line.split("\t"));
      } catch (Exception failure) {
        failure.printStackTrace();
        answer = "{\"failed\":\"" + failure.toString().replaceAll("[^\\p{Print}]", " ").replaceAll("[\"\\\\]", "'") + "\"}";
      }
      out.println(answer);
      out.flush();
    }
  }
}
