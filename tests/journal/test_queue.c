/* The queue that workers share, and the files in it: written against the journal's public functions only, so the same for every backend. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state) {
  *state = world_make();
  return 0;
}

static int teardown(void **state) {
  world_end(*state);
  return 0;
}

static const aon_process worker_a = {.boot_id = "boot", .pid = 101, .start_ticks = 1},
                         worker_b = {.boot_id = "boot", .pid = 102, .start_ticks = 1};

/* A byte that tells where in which file it stands. */
static unsigned char byte_at(unsigned seed, size_t at) { return (unsigned char)(seed * 31 + at * 7 + at / 251); }

static aon_result put(aon_journal *journal, const char *file, const aon_process *owner, uint32_t chunk, size_t length, unsigned seed,
                      aon_error *error) {
  unsigned char *bytes = malloc(length + 1);
  for (size_t i = 0; i < length; i++)
    bytes[i] = byte_at(seed, (size_t)chunk * AON_FILE_CHUNK_BYTES + i);
  aon_result result = aon_journal_file_put(journal, file, owner, chunk, bytes, length, error);
  free(bytes);
  return result;
}

static void put_all(aon_journal *journal, const char *file, size_t bytes, unsigned seed) {
  uint32_t chunk = 0;
  for (size_t at = 0; at < bytes; at += AON_FILE_CHUNK_BYTES)
    OK(put(journal, file, &worker_a, chunk++, bytes - at < AON_FILE_CHUNK_BYTES ? bytes - at : AON_FILE_CHUNK_BYTES, seed, error));
}

static void check_all(aon_journal *journal, const char *file, size_t bytes, unsigned seed) {
  AON_BUFFER_CLEANUP aon_buffer chunk = {0};
  size_t at = 0;
  for (uint32_t number = 0; at < bytes; number++) {
    OK(aon_journal_file_get(journal, file, number, &chunk, error));
    assert_true(chunk.length == AON_FILE_CHUNK_BYTES || at + chunk.length == bytes);
    for (size_t i = 0; i < chunk.length; i++)
      if ((unsigned char)chunk.data[i] != byte_at(seed, at + i))
        fail_msg("byte %zu of the file is another", at + i);
    at += chunk.length;
  }
  assert_int_equal(aon_journal_file_get(journal, file, (uint32_t)((bytes + AON_FILE_CHUNK_BYTES - 1) / AON_FILE_CHUNK_BYTES), &chunk, NULL),
                   AON_END);
}

static aon_result submit(aon_journal *journal, const char *id, const char *organization, const char *file, uint64_t bytes, int64_t age_ms,
                         aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_submission submission = {.id = id,
                               .digest = "d",
                               .organization = organization,
                               .user = "ann",
                               .kind = "import",
                               .source = "users.xlsx",
                               .pack = "workforce",
                               .options = "{\"format\":1}",
                               .file = file,
                               .file_bytes = bytes,
                               .state = AON_QUEUED,
                               .age_ms = age_ms};
  aon_bulk bulk;
  bool existed;
  aon_result result = aon_journal_submit(journal, &submission, &arena, &bulk, &existed, error);
  assert_true(result || existed || (bulk.epoch == 0 && !bulk.worker.boot_id[0] && !strcmp(bulk.options, "{\"format\":1}")));
  return result;
}

/* Takes the next one; "" if there is none. */
static const char *take(aon_journal *journal, const aon_process *worker, const char *organization, const char *after, char id[37],
                        int64_t *ret_epoch) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error found = AON_ERROR_INIT;
  aon_bulk bulk;
  aon_take what = {.worker = worker, .organization = organization, .after = after};
  aon_result result = aon_journal_take(journal, &what, &arena, &bulk, &found);
  if (result && result != AON_END)
    fail_msg("take: %s", found.sentence);
  if (result)
    return "";
  assert_int_equal(bulk.state, AON_QUEUED);
  assert_int_equal(bulk.worker.pid, worker->pid);
  assert_true(bulk.lease_until_ms > 0);
  if (ret_epoch)
    *ret_epoch = bulk.epoch;
  memcpy(id, bulk.id, 37);
  return id;
}

static void give_back(aon_journal *journal, const char *id, int64_t epoch, const char *failure, int64_t not_before_ms) {
  aon_bulk_change change = {.free_lease = true, .failure = failure, .hold_until_ms = &not_before_ms};
  OK(aon_journal_update(journal, id, epoch, &change, error));
}

static bool file_of(aon_journal *journal, const char *id, aon_file_role role, char file[37], uint64_t *ret_bytes) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_error found = AON_ERROR_INIT;
  aon_journal_file there;
  aon_result result = aon_journal_file_find(journal, id, role, &arena, &there, &found);
  if (result && result != AON_END)
    fail_msg("find: %s", found.sentence);
  if (result)
    return false;
  memcpy(file, there.id, 37);
  *ret_bytes = there.bytes;
  return true;
}

static uint64_t sweep(aon_journal *journal) {
  uint64_t freed;
  OK(aon_journal_sweep_files(journal, &freed, error));
  return freed;
}

/* ---- files ---- */

static void a_file_comes_back_as_it_was_put(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  static const size_t sizes[] = {1, 1000, AON_FILE_CHUNK_BYTES, AON_FILE_CHUNK_BYTES + 1, 3 * AON_FILE_CHUNK_BYTES + 77};
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char id[37], file[37], found[37];
    uint64_t bytes = 0;
    put_all(journal, uuid(w, 100 + i, file), sizes[i], i);
    OK(submit(journal, uuid(w, i, id), "org1", file, sizes[i], 0, error));
    assert_true(file_of(journal, id, AON_FILE_UPLOAD, found, &bytes));
    assert_string_equal(found, file);
    assert_int_equal(bytes, sizes[i]);
    assert_false(file_of(journal, id, AON_FILE_REPORT, found, &bytes));
    check_all(journal, file, sizes[i], i);
  }
  aon_journal_close(journal);
  journal = world_open_with(w, &(aon_journal_config){.location = w->location, .key_file = w->key, .read_only = true});
  char file[37];
  aon_error found;
  check_all(journal, uuid(w, 104, file), sizes[4], 4); /* who only reads can read it, by the key */
  FAILS(aon_journal_file_put(journal, file, &worker_a, 0, "x", 1, error), AON_USAGE, "journal_read_only", found);
  aon_journal_close(journal);
}

static void nothing_of_a_file_is_in_clear(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char file[37];
  OK(aon_journal_file_put(journal, uuid(w, 1, file), &worker_a, 0, "the planted secret of a cell", 28, error));
  aon_journal_close(journal);
  assert_false(world_contains(w, "planted secret"));
}

static void a_new_key_reads_older_files(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w), *other = world_open(w);
  char before[37], after[37], id[37];
  put_all(journal, uuid(w, 1, before), 1000, 1);
  OK(submit(journal, uuid(w, 2, id), "org1", before, 1000, 0, error));
  OK(aon_journal_rotate_key(journal, error));
  put_all(journal, uuid(w, 3, after), 1000, 3);
  OK(submit(journal, uuid(w, 4, id), "org1", after, 1000, 0, error));
  check_all(other, before, 1000, 1);
  check_all(other, after, 1000, 3); /* by a key that came after it was opened */
  check_all(journal, before, 1000, 1);
  aon_journal_close(other);
  aon_journal_close(journal);
}

static void chunks_come_in_order(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char file[37], id[37];
  aon_error found;
  uuid(w, 1, file);
  FAILS(put(journal, file, &worker_a, 1, 10, 1, error), AON_USAGE, "wrong_chunk", found);
  OK(put(journal, file, &worker_a, 0, AON_FILE_CHUNK_BYTES, 1, error));
  OK(put(journal, file, &worker_a, 0, AON_FILE_CHUNK_BYTES, 1, error)); /* its reply was lost */
  OK(put(journal, file, &worker_a, 1, 10, 1, error));
  FAILS(put(journal, file, &worker_a, 2, 10, 1, error), AON_USAGE, "wrong_chunk", found); /* the one before is not full */
  FAILS(put(journal, file, &worker_a, 3, 10, 1, error), AON_USAGE, "wrong_chunk", found);
  char *long_one = calloc(1, AON_FILE_CHUNK_BYTES + 1);
  FAILS(aon_journal_file_put(journal, file, &worker_a, 1, long_one, AON_FILE_CHUNK_BYTES + 1, error), AON_USAGE, "file_too_large", found);
  FAILS(aon_journal_file_put(journal, file, &worker_a, (uint32_t)(AON_FILE_LIMIT_BYTES / AON_FILE_CHUNK_BYTES), "x", 1, error), AON_USAGE,
        "file_too_large", found);
  free(long_one);
  OK(submit(journal, uuid(w, 2, id), "org1", file, AON_FILE_CHUNK_BYTES + 10, 0, error));
  FAILS(put(journal, file, &worker_a, 1, 10, 1, error), AON_USAGE, "wrong_chunk", found); /* what is named does not change */
  check_all(journal, file, AON_FILE_CHUNK_BYTES + 10, 1);
  aon_journal_close(journal);
}

static void part_of_a_file_is_never_queued(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char file[37], id[37], again[37], other[37];
  aon_error found;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_bulk bulk;
  put_all(journal, uuid(w, 1, file), AON_FILE_CHUNK_BYTES, 1);
  uuid(w, 2, id);
  FAILS(submit(journal, id, "org1", file, AON_FILE_CHUNK_BYTES + 500, 0, error), AON_USAGE, "incomplete_file", found);
  FAILS(submit(journal, id, "org1", uuid(w, 9, other), 10, 0, error), AON_USAGE, "incomplete_file", found);
  FAILS(aon_journal_get(journal, id, &arena, &bulk, error), AON_USAGE, "not_found", found); /* not even its row */
  OK(put(journal, file, &worker_a, 1, 500, 1, error));
  OK(submit(journal, id, "org1", file, AON_FILE_CHUNK_BYTES + 500, 0, error));
  FAILS(submit(journal, uuid(w, 3, again), "org1", file, AON_FILE_CHUNK_BYTES + 500, 0, error), AON_USAGE, "incomplete_file",
        found);                                                     /* another's */
  OK(submit(journal, id, "org1", uuid(w, 9, other), 10, 0, error)); /* the same again: the first one, with its file */
  uint64_t bytes;
  assert_true(file_of(journal, id, AON_FILE_UPLOAD, other, &bytes));
  assert_string_equal(other, file);
  aon_journal_close(journal);
}

static void what_nobody_named_is_swept(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char dead[37], slow[37], given_up[37], named[37], id[37], other[37];
  aon_error found;
  aon_process killed = {.boot_id = "boot", .pid = 666, .start_ticks = 1};
  OK(put(journal, uuid(w, 1, dead), &killed, 0, AON_FILE_CHUNK_BYTES, 1, error));
  OK(put(journal, uuid(w, 2, slow), &worker_a, 0, AON_FILE_CHUNK_BYTES, 2, error));
  OK(put(journal, uuid(w, 3, given_up), &worker_a, 0, 10, 3, error));
  put_all(journal, uuid(w, 4, named), 40 * AON_FILE_CHUNK_BYTES, 4);
  OK(submit(journal, uuid(w, 10, id), "org1", named, 40 * AON_FILE_CHUNK_BYTES, 0, error));
  assert_int_equal(sweep(journal), 0);
  OK(aon_journal_file_drop(journal, given_up, error));
  OK(aon_journal_file_drop(journal, named, error)); /* changes nothing */
  OK(aon_journal_file_drop(journal, uuid(w, 99, other), error));
  FAILS(submit(journal, other, "org1", given_up, 10, 0, error), AON_USAGE, "incomplete_file", found);
  assert_int_equal(sweep(journal), 1);
  w->dead_pid = killed.pid;
  assert_int_equal(sweep(journal), 1);
  w->skew_ms = AON_FILE_ORPHAN_MS - 5000;
  OK(put(journal, slow, &worker_a, 1, 10, 2, error));
  w->skew_ms += 60000;
  assert_int_equal(sweep(journal), 0); /* slow, but it goes on */
  w->skew_ms += AON_FILE_ORPHAN_MS;
  assert_int_equal(sweep(journal), 1);
  FAILS(put(journal, slow, &worker_a, 1, 10, 2, error), AON_USAGE, "wrong_chunk", found);
  FAILS(submit(journal, other, "org1", slow, AON_FILE_CHUNK_BYTES + 10, 0, error), AON_USAGE, "incomplete_file", found);
  check_all(journal, named, 40 * AON_FILE_CHUNK_BYTES, 4);
  aon_journal_close(journal);
}

static void an_upload_is_kept_while_it_may_be_queued_again(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  static const aon_state way[] = {AON_QUEUED, AON_PARSING, AON_VALIDATING, AON_PLANNING, AON_LOGGED, AON_EXECUTING};
  char file[37], id[37], found[37], cancelled[37];
  uint64_t bytes;
  int64_t epoch;
  put_all(journal, uuid(w, 1, file), 40 * AON_FILE_CHUNK_BYTES, 1);
  OK(submit(journal, uuid(w, 2, id), "org1", file, 40 * AON_FILE_CHUNK_BYTES, 0, error));
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found, &epoch), id);
  for (size_t i = 0; i + 1 < sizeof way / sizeof *way; i++) {
    assert_int_equal(sweep(journal), 0);
    check_all(journal, file, 40 * AON_FILE_CHUNK_BYTES, 1);
    OK(aon_journal_move(journal, id, epoch, way[i], way[i + 1], NULL, error));
  }
  assert_int_equal(sweep(journal), 1); /* in pieces */
  assert_false(file_of(journal, id, AON_FILE_UPLOAD, found, &bytes));
  AON_BUFFER_CLEANUP aon_buffer chunk = {0};
  assert_int_equal(aon_journal_file_get(journal, file, 0, &chunk, NULL), AON_END);
  put_all(journal, uuid(w, 3, file), 10, 1);
  OK(submit(journal, uuid(w, 4, cancelled), "org1", file, 10, 0, error));
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found, &epoch), cancelled);
  OK(aon_journal_move(journal, cancelled, epoch, AON_QUEUED, AON_CANCELLED_STATE, NULL, error));
  assert_int_equal(sweep(journal), 1);
  aon_journal_close(journal);
}

static void a_report_is_kept_until_its_time(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char file[37], first[37], second[37], id[37], found_id[37];
  uint64_t bytes;
  int64_t epoch;
  aon_error found;
  put_all(journal, uuid(w, 1, file), 10, 1);
  OK(submit(journal, uuid(w, 2, id), "org1", file, 10, 0, error));
  take(journal, &worker_a, NULL, NULL, found_id, &epoch);
  put_all(journal, uuid(w, 3, first), 2000, 3);
  put_all(journal, uuid(w, 4, second), AON_FILE_CHUNK_BYTES + 5, 4);
  int64_t until = aon_now_ms(&w->env) + 1000000;
  aon_journal_file report = {.id = first, .role = AON_FILE_REPORT, .bytes = 2000, .until_ms = until};
  FAILS(aon_journal_file_attach(journal, id, epoch + 1, &report, error), AON_FENCED, "taken_over", found);
  FAILS(aon_journal_file_attach(journal, id, epoch - 1, &report, error), AON_FENCED, "taken_over", found);
  report.bytes = 2001;
  FAILS(aon_journal_file_attach(journal, id, epoch, &report, error), AON_USAGE, "incomplete_file", found);
  report.bytes = 2000;
  OK(aon_journal_file_attach(journal, id, epoch, &report, error));
  report = (aon_journal_file){.id = second, .role = AON_FILE_REPORT, .bytes = AON_FILE_CHUNK_BYTES + 5, .until_ms = until};
  OK(aon_journal_file_attach(journal, id, epoch, &report, error)); /* in place of the first */
  OK(aon_journal_move(journal, id, epoch, AON_QUEUED, AON_CANCELLED_STATE, NULL, error));
  assert_int_equal(sweep(journal), 2); /* the upload and the first report */
  assert_true(file_of(journal, id, AON_FILE_REPORT, found_id, &bytes));
  assert_string_equal(found_id, second);
  check_all(journal, second, AON_FILE_CHUNK_BYTES + 5, 4);
  w->skew_ms = 1000001;
  assert_int_equal(sweep(journal), 1);
  assert_false(file_of(journal, id, AON_FILE_REPORT, found_id, &bytes));
  aon_journal_close(journal);
}

/* ---- the queue ---- */

static void the_oldest_is_taken_first(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char a[37], b[37], c[37], d[37], found[37];
  int64_t epoch;
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found, NULL), "");
  OK(submit(journal, uuid(w, 1, a), "org1", NULL, 0, 5000, error));
  OK(submit(journal, uuid(w, 2, b), "org2", NULL, 0, 4000, error));
  OK(submit(journal, uuid(w, 3, c), "org1", NULL, 0, 4000, error));
  begin_bulk(w, journal, uuid(w, 4, d));                                    /* works already: not in the queue */
  assert_string_equal(take(journal, &worker_a, NULL, b, found, &epoch), c); /* behind b */
  assert_int_equal(epoch, 1);
  give_back(journal, c, epoch, NULL, 0);
  assert_string_equal(take(journal, &worker_b, NULL, a, found, NULL), "");
  assert_string_equal(take(journal, &worker_a, "org1", NULL, found, &epoch), c);
  assert_int_equal(epoch, 2);
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found, NULL), b);
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found, NULL), a);
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found, NULL), "");
  aon_journal_close(journal);
}

static void whoever_took_it_has_its_lease(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  char id[37], found_id[37];
  int64_t first, second, third, until;
  bool cancel;
  aon_error found;
  aon_bulk_change free_lease = {.free_lease = true};
  OK(submit(journal, uuid(w, 1, id), "org1", NULL, 0, 0, error));
  take(journal, &worker_a, NULL, NULL, found_id, &first);
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found_id, NULL), "");
  w->skew_ms = 20000;
  OK(aon_journal_renew(journal, id, first, &until, &cancel, error));
  w->skew_ms = 45000;
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found_id, NULL), "");
  w->skew_ms = 51000; /* frozen for too long */
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found_id, &second), id);
  assert_int_equal(second, first + 1);
  FAILS(aon_journal_move(journal, id, first, AON_QUEUED, AON_PARSING, NULL, error), AON_FENCED, "taken_over", found);
  FAILS(aon_journal_update(journal, id, first, &free_lease, error), AON_FENCED, "taken_over", found);
  w->dead_pid = worker_b.pid; /* no lease to wait for */
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found_id, &third), id);
  OK(aon_journal_move(journal, id, third, AON_QUEUED, AON_PARSING, NULL, error));
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found_id, NULL), "");
  aon_journal_close(journal);
}

static void what_was_given_back_is_taken_again(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  char id[37], found[37];
  int64_t epoch, later = aon_now_ms(&w->env) + 5000;
  uint32_t attempt = 2;
  aon_bulk bulk;
  OK(submit(journal, uuid(w, 1, id), "org1", NULL, 0, 0, error));
  take(journal, &worker_a, NULL, NULL, found, &epoch);
  OK(aon_journal_move(journal, id, epoch, AON_QUEUED, AON_PARSING, NULL, error));
  aon_bulk_change change = {.free_lease = true, .hold_until_ms = &later, .attempt = &attempt, .failure = "{\"code\":\"locked\"}"};
  OK(aon_journal_move(journal, id, epoch, AON_PARSING, AON_QUEUED, &change, error));
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_string_equal(bulk.failure, "{\"code\":\"locked\"}"); /* why it waits */
  assert_int_equal(bulk.attempt, 2);
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found, NULL), ""); /* not yet */
  w->skew_ms = 5001;
  assert_string_equal(take(journal, &worker_b, NULL, NULL, found, &epoch), id);
  aon_bulk_change none = {.failure = ""};
  OK(aon_journal_move(journal, id, epoch, AON_QUEUED, AON_PARSING, &none, error));
  OK(aon_journal_get(journal, id, &arena, &bulk, error));
  assert_null(bulk.failure);
  aon_journal_close(journal);
}

/* Takes until the queue is empty; counts. */
static int take_all(world *w, int number) {
  aon_journal *journal = NULL;
  aon_error failure = AON_ERROR_INIT;
  aon_journal_config config = {.location = w->location, .key_file = w->key};
  aon_process self = {.boot_id = "boot", .pid = 200 + number, .start_ticks = 1};
  int taken = 0;
  if (aon_journal_open(&w->env, &config, &journal, &failure))
    return 99;
  for (;;) {
    AON_ARENA_CLEANUP aon_arena arena = {0};
    aon_bulk bulk;
    aon_take what = {.worker = &self};
    aon_result result = aon_journal_take(journal, &what, &arena, &bulk, &failure);
    if (result == AON_END)
      break;
    if (result && result != AON_TRANSIENT)
      return 99;
    if (!result && aon_journal_move(journal, bulk.id, bulk.epoch, AON_QUEUED, AON_PARSING, NULL, &failure) == AON_OK)
      taken++;
  }
  aon_journal_close(journal);
  return taken;
}

/* Tells its parent what it found by memory that they share, and ends as if killed: no tool looks at what it still has of its parent's. */
static void ends_with(int *shared, int found) {
  *shared = found;
  kill(getpid(), SIGKILL);
}

static int *shared_with_children(size_t count) {
  int *shared = mmap(NULL, count * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(shared, MAP_FAILED);
  return shared;
}

static void each_is_taken_once(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  for (unsigned i = 0; i < 60; i++) {
    char id[37];
    OK(submit(journal, uuid(w, i, id), "org1", NULL, 0, 0, error));
  }
  pid_t children[4];
  int sum = 0, *taken = shared_with_children(4);
  for (int i = 0; i < 4; i++)
    if ((children[i] = fork()) == 0)
      ends_with(&taken[i], take_all(w, i));
  for (int i = 0; i < 4; i++) {
    assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    assert_int_not_equal(taken[i], 99);
    sum += taken[i];
  }
  assert_int_equal(sum, 60);
  munmap(taken, 4 * sizeof *taken);
  char found[37];
  assert_string_equal(take(journal, &worker_a, NULL, NULL, found, NULL), "");
  aon_journal_close(journal);
}

/* Who waits hears of what another handle submits; how fast is not asserted, only that it needs no second call. */
static void waiting_ends(void **state) {
  world *w = *state;
  aon_journal *journal = world_open(w);
  OK(aon_journal_wait(journal, 120, error));
  int *submitted = shared_with_children(1);
  pid_t child = fork();
  if (child == 0) {
    aon_journal *other = NULL;
    char id[37];
    aon_journal_config config = {.location = w->location, .key_file = w->key};
    usleep(100000);
    ends_with(submitted, !aon_journal_open(&w->env, &config, &other, NULL) && !submit(other, uuid(w, 1, id), "org1", NULL, 0, 0, NULL));
  }
  char found[37];
  while (!*take(journal, &worker_a, NULL, NULL, found, NULL))
    OK(aon_journal_wait(journal, 60000, error));
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_true(*submitted);
  munmap(submitted, sizeof *submitted);
  aon_journal_close(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_file_comes_back_as_it_was_put, setup, teardown),
      cmocka_unit_test_setup_teardown(nothing_of_a_file_is_in_clear, setup, teardown),
      cmocka_unit_test_setup_teardown(a_new_key_reads_older_files, setup, teardown),
      cmocka_unit_test_setup_teardown(chunks_come_in_order, setup, teardown),
      cmocka_unit_test_setup_teardown(part_of_a_file_is_never_queued, setup, teardown),
      cmocka_unit_test_setup_teardown(what_nobody_named_is_swept, setup, teardown),
      cmocka_unit_test_setup_teardown(an_upload_is_kept_while_it_may_be_queued_again, setup, teardown),
      cmocka_unit_test_setup_teardown(a_report_is_kept_until_its_time, setup, teardown),
      cmocka_unit_test_setup_teardown(the_oldest_is_taken_first, setup, teardown),
      cmocka_unit_test_setup_teardown(whoever_took_it_has_its_lease, setup, teardown),
      cmocka_unit_test_setup_teardown(what_was_given_back_is_taken_again, setup, teardown),
      cmocka_unit_test_setup_teardown(each_is_taken_once, setup, teardown),
      cmocka_unit_test_setup_teardown(waiting_ends, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
