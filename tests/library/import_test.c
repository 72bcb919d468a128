/* A folder of .csv goes in by a pack, through the library: into the embedded stores, and into a table of the program's own. */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zlib.h>

#include "world.h"

static const char good[] = "Contact ID,Name,Email,Newsletter\nc1,Ann,ann@example.com,yes\nc2,Bob,,no\n";
static const char wrong[] = "Contact ID,Name,Email,Newsletter\nc1,,ann@example.com,yes\nc2,Bob,not an address,maybe\n";

static int set_up(void **state) {
  const char *packs[] = {getenv("AON_PACKS"), NULL};
  if (!packs[0]) {
    print_message("skipped: library import: AON_PACKS does not name the folder of packs\n");
    exit(77);
  }
  world *w = malloc(sizeof *w);
  aon_error error = AON_ERROR_INIT;
  world_make(w);
  world_sql(w, "crm.db",
            "CREATE TABLE contacts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, phone TEXT, company TEXT, "
            "country TEXT, birthday TEXT, newsletter TEXT NOT NULL CHECK (newsletter IN ('yes', 'no')))");
  aon_session_options options = {.data_folder = w->folder, .organization = "org1", .pack_folders = packs};
  assert_int_equal(aon_session_open(&options, &w->session, &error), AON_OK);
  char *path = world_path(w, "crm.db"), *folder = world_path(w, "upload");
  aon_store_config config = {.name = "crm", .location = path};
  assert_int_equal(aon_session_store(w->session, &aon_sqlite_adapter, &config, &error), AON_OK);
  assert_int_equal(mkdir(folder, 0700), 0);
  free(folder);
  free(path);
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  world_drop(*state);
  free(*state);
  return 0;
}

static json_t *upload(world *w, const char *csv, const aon_session_run *run, int expected_exit_status) {
  aon_error error = AON_ERROR_INIT;
  char *text = NULL, *folder = world_path(w, "upload");
  int status = -1;
  world_write(w, "upload/Contacts.csv", csv);
  json_t *result = world_result(aon_session_import(w->session, folder, "contacts", NULL, run, &text, &status, &error), &text, &error);
  assert_int_equal(status, expected_exit_status);
  free(folder);
  return result;
}

static void rows_go_in(void **state) {
  world *w = *state;
  json_t *done = upload(w, good, NULL, 0);
  char *rows = world_rows(w);
  assert_int_equal(json_integer_value(json_object_get(done, "operations")), 2);
  assert_string_equal(text_of(done, "pack"), "contacts");
  assert_string_equal(rows, "crm.db contacts | c1 | Ann | ann@example.com | null | null | null | null | yes\n"
                            "crm.db contacts | c2 | Bob | null | null | null | null | null | no\n");
  json_decref(done);
  done = upload(w, good, NULL, 0);
  assert_int_equal(json_integer_value(json_object_get(done, "operations")), 0);
  json_decref(done);
  free(rows);
}

static void rows_are_read_back(void **state) {
  world *w = *state;
  json_decref(upload(w, good, NULL, 0));
  const aon_session_isolation both[] = {AON_ISOLATION_COMMITTED, AON_ISOLATION_LATEST};
  for (size_t i = 0; i < 2; i++) {
    aon_error error = AON_ERROR_INIT;
    char *text = NULL, *missing = NULL;
    json_t *bob =
        world_result(aon_session_get(w->session, "crm", "contacts", "c2", i ? NULL : "contacts", both[i], &text, &error), &text, &error);
    assert_string_equal(text_of(bob, "name"), "Bob");
    json_decref(bob);
    assert_int_equal(aon_session_get(w->session, "crm", "contacts", "c3", NULL, both[i], &missing, &error), AON_OK);
    assert_null(missing);
    assert_int_equal(aon_session_get(w->session, "crm", "letters", "c2", NULL, both[i], &missing, &error), AON_REJECTED);
    assert_string_equal(error.code, "unknown_collection");
  }
}

static void wrong_cells_are_all_named(void **state) {
  world *w = *state;
  json_t *rejected = upload(w, wrong, NULL, 2);
  const json_t *errors = json_object_get(rejected, "errors");
  assert_int_equal(json_array_size(errors), 3);
  assert_string_equal(text_of(json_array_get(errors, 0), "cell"), "B2");
  char *rows = world_rows(w);
  assert_string_equal(rows, "");
  json_decref(rejected);
  free(rows);
}

static void every_forced_failure_leaves_nothing(void **state) {
  world *w = *state;
  for (int64_t k = 0; k < 2; k++) {
    aon_session_run run = AON_SESSION_RUN_INIT;
    run.test_mode = true;
    run.fail_at = k;
    json_decref(upload(w, good, &run, 3));
    char *rows = world_rows(w);
    assert_string_equal(rows, "");
    free(rows);
  }
}

static void a_file_that_is_not_there(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL;
  int status = -1;
  assert_int_equal(aon_session_import(w->session, "/nowhere/people.xlsx", "contacts", NULL, NULL, &text, &status, &error), AON_ENVIRONMENT);
  assert_string_equal(error.code, "no_such_file");
  assert_int_equal(status, 1);
}

/* ---- by a worker ---- */

static void put(FILE *file, uint32_t number, int bytes) {
  for (int i = 0; i < bytes; i++)
    fputc((int)(number >> (8 * i) & 0xff), file);
}

/* A zip with one stored file (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16). */
static char *zip_of(world *w, const char *name, const char *csv) {
  static const char entry[] = "Contacts.csv";
  uint32_t length = (uint32_t)strlen(csv), sum = (uint32_t)crc32(0, (const unsigned char *)csv, length), name_length = sizeof entry - 1;
  char *path = world_path(w, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  for (int central = 0; central < 2; central++) {
    put(file, central ? 0x02014b50 : 0x04034b50, 4);
    if (central)
      put(file, 20, 2);
    put(file, 20, 2), put(file, 0, 2), put(file, 0, 2), put(file, 0x21 << 16, 4), put(file, sum, 4), put(file, length, 4),
        put(file, length, 4);
    put(file, name_length, 2), put(file, 0, 2);
    if (central)
      put(file, 0, 2), put(file, 0, 2), put(file, 0, 2), put(file, 0, 4), put(file, 0, 4);
    fwrite(entry, 1, name_length, file);
    if (!central)
      fwrite(csv, 1, length, file);
  }
  put(file, 0x06054b50, 4), put(file, 0, 4), put(file, 1, 2), put(file, 1, 2), put(file, 46 + name_length, 4),
      put(file, 30 + name_length + length, 4);
  put(file, 0, 2);
  fclose(file);
  return path;
}

typedef struct heard {
  int count;
  json_t *last;
} heard;

static void hear(void *context, const char *result) {
  heard *h = context;
  json_decref(h->last);
  h->last = json_loads(result, 0, NULL);
  h->count++;
}

static void queue(world *w, const char *name, const char *csv, const char *id) {
  aon_error error = AON_ERROR_INIT;
  aon_session_run run = AON_SESSION_RUN_INIT;
  char *text = NULL, *path = zip_of(w, name, csv);
  int status = -1;
  run.id = id;
  json_t *queued = world_result(aon_session_queue(w->session, path, "contacts", &run, &text, &status, &error), &text, &error);
  assert_string_equal(text_of(queued, "state"), "queued");
  assert_int_equal(status, 0);
  assert_int_equal(remove(path), 0); /* nobody needs it any more */
  json_decref(queued);
  free(path);
}

static void a_worker_does_what_waits(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  heard all = {0};
  uint64_t taken = 99;
  aon_session_worker work = {.until_empty = true, .ended = hear, .context = &all};
  assert_int_equal(aon_session_work(w->session, &work, &taken, &error), AON_OK);
  assert_int_equal(taken, 0);
  queue(w, "good.zip", good, "11111111-1111-4111-8111-111111111111");
  char *rows = world_rows(w);
  assert_string_equal(rows, "");
  free(rows);
  assert_int_equal(aon_session_work(w->session, &work, &taken, &error), AON_OK);
  assert_int_equal(taken, 1);
  assert_int_equal(all.count, 1);
  assert_string_equal(text_of(all.last, "state"), "committed");
  assert_string_equal(text_of(all.last, "bulkOperationId"), "11111111-1111-4111-8111-111111111111");
  assert_string_equal(text_of(all.last, "source"), "good.zip");
  queue(w, "wrong.zip", wrong, "22222222-2222-4222-8222-222222222222");
  work.organization = "org2";
  assert_int_equal(aon_session_work(w->session, &work, &taken, &error), AON_OK);
  assert_int_equal(taken, 0);
  work.organization = "org1";
  assert_int_equal(aon_session_work(w->session, &work, NULL, &error), AON_OK);
  assert_int_equal(all.count, 2); /* c1 has a name by now */
  assert_string_equal(text_of(all.last, "state"), "rejected");
  assert_int_equal(json_array_size(json_object_get(all.last, "errors")), 2);
  json_decref(all.last);
}

static void what_can_not_be_queued(void **state) {
  world *w = *state;
  aon_error error = AON_ERROR_INIT;
  char *text = NULL, *folder = world_path(w, "upload");
  int status = -1;
  assert_int_equal(aon_session_queue(w->session, folder, "contacts", NULL, &text, &status, &error), AON_USAGE);
  assert_string_equal(error.code, "is_folder");
  assert_int_equal(status, 1);
  assert_int_equal(aon_session_queue(w->session, NULL, "contacts", NULL, &text, &status, &error), AON_USAGE);
  assert_string_equal(error.code, "required");
  assert_int_equal(aon_session_queue(w->session, "/nowhere.zip", "contacts", NULL, &text, &status, &error), AON_ENVIRONMENT);
  assert_int_equal(aon_session_work(NULL, NULL, NULL, &error), AON_USAGE);
  free(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(rows_go_in, set_up, tear_down),
      cmocka_unit_test_setup_teardown(rows_are_read_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_cells_are_all_named, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_forced_failure_leaves_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_file_that_is_not_there, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_worker_does_what_waits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_can_not_be_queued, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("library import", tests, NULL, NULL);
}
