#include "world.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/document.h"

void world_open(world *w) {
  memset(w, 0, sizeof *w);
  w->error = (aon_error)AON_ERROR_INIT;
  const char *base = getenv("TMPDIR");
  snprintf(w->folder, sizeof w->folder, "%.40s/aon-XXXXXX", base ? base : "/tmp");
  assert_non_null(mkdtemp(w->folder));
  assert_int_equal(aon_env_open(AON_LOG_ERROR, 0, 0, &w->env, NULL), AON_OK);
}

void world_close(world *w) {
  DIR *folder = opendir(w->folder);
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", w->folder, entry->d_name);
    unlink(path);
  }
  if (folder)
    closedir(folder);
  rmdir(w->folder);
  aon_arena_release(&w->arena);
  aon_env_close(w->env);
}

const char *world_path(world *w, const char *name) { return aon_arena_format(&w->arena, "%s/%s", w->folder, name); }

aon_store *world_store(world *w, const aon_store_adapter *adapter, const void *options, const char *name, const char *location,
                       bool create) {
  aon_assert *wrap = aon_arena_alloc(&w->arena, sizeof *wrap);
  *wrap = (aon_assert){.inner = adapter, .inner_options = options};
  aon_store_config config = {.name = name,
                             .location = location,
                             .create = create,
                             .timeout_ms = w->timeout_ms ? w->timeout_ms : 300,
                             .exclusive = w->exclusive,
                             .options = wrap,
                             .keys = w->keys};
  aon_store *store = NULL;
  OK(w, aon_store_open(w->env, &aon_assert_adapter, &config, &store, &w->error));
  return store;
}

void ok_(world *w, aon_result result, const char *what, const char *file, int line) {
  if (result == AON_OK)
    return;
  print_error("%s:%d: %s: %s %s: %s\n", file, line, what, aon_result_name(result), w->error.code, w->error.sentence);
  _fail(file, line);
}

void fails_(world *w, aon_result result, aon_result kind, const char *code, const char *what, const char *file, int line) {
  if (result == kind && (!code || !strcmp(w->error.code, code))) {
    w->error = (aon_error)AON_ERROR_INIT;
    return;
  }
  print_error("%s:%d: %s: wanted %s %s, got %s %s: %s\n", file, line, what, aon_result_name(kind), code ? code : "",
              aon_result_name(result), w->error.code, w->error.sentence);
  _fail(file, line);
}

aon_text text(const char *literal) { return (aon_text){literal, strlen(literal)}; }

aon_image image(world *w, const char *json) {
  bson_t document;
  aon_image made = {0};
  if (!json)
    return made;
  OK(w, aon_document_from_json(json, strlen(json), &document, &w->error));
  OK(w, aon_image_from(&document, &w->arena, &made, &w->error));
  bson_destroy(&document);
  return made;
}

aon_image normal(world *w, aon_store *store, const aon_collection *collection, const char *id, const char *json) {
  bson_t document;
  aon_image made;
  OK(w, aon_document_from_json(json, strlen(json), &document, &w->error));
  OK(w, aon_store_normalise(store, collection, text(id), &document, &w->arena, &made, &w->error));
  bson_destroy(&document);
  return made;
}

aon_image look(world *w, aon_store *store, const aon_collection *collection, const char *id) {
  aon_image found;
  aon_text asked = text(id);
  OK(w, aon_store_read(store, collection, &asked, 1, &w->arena, &found, &w->error));
  return found;
}

const char *json_of(world *w, const aon_image *of) {
  bson_t view;
  if (!of->bson)
    return "absent";
  assert_true(aon_image_view(of, &view));
  aon_buffer out = {0};
  OK(w, aon_document_to_json(&view, &out, &w->error));
  const char *kept = aon_arena_text(&w->arena, out.data, out.length);
  aon_buffer_release(&out);
  return kept;
}

void assert_same(world *w, const aon_image *a, const aon_image *b) {
  bson_t one, other;
  bool same = a->bson && b->bson ? aon_image_view(a, &one) && aon_image_view(b, &other) && aon_document_equal(&one, &other, NULL)
                                 : a->bson == b->bson;
  if (!same) {
    print_error("%s\ndiffers from\n%s\n", json_of(w, a), json_of(w, b));
    fail();
  }
}

aon_write write_of(const aon_collection *collection, const char *id, aon_image expected, aon_image wanted, int64_t operation) {
  return (aon_write){.collection = collection, .id = text(id), .expected = expected, .wanted = wanted, .operation = operation};
}

#define BULK "12345678-1234-4234-8234-123456789abc"

aon_branch branch(uint32_t attempt) { return (aon_branch){.bulk_id = BULK, .attempt = attempt}; }

aon_result apply_now(world *w, aon_store *store, const aon_write *writes, size_t count) {
  static uint32_t attempt = 1000;
  size_t failed;
  if (aon_store_capabilities(store)->store_class > AON_CLASS_BATCH) {
    aon_write_state *states = aon_arena_alloc(&w->arena, count * sizeof *states);
    return aon_store_apply(store, NULL, writes, count, states, &failed, &w->error);
  }
  aon_branch own = branch(++attempt);
  aon_transaction *transaction;
  OK(w, aon_store_begin(store, &own, AON_MARKER_COMMIT, &transaction, &w->error));
  aon_result result = aon_store_apply(store, transaction, writes, count, NULL, &failed, &w->error);
  if (!result)
    result = aon_store_flush(store, transaction, &w->error);
  if (result)
    aon_store_abort(store, transaction);
  else
    result = aon_store_commit(store, transaction, &w->error);
  return result;
}

void sql(const char *path, const char *statement) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 2000);
  char *why = NULL;
  if (sqlite3_exec(db, statement, NULL, NULL, &why)) {
    print_error("%s: %s\n", statement, why);
    fail();
  }
  sqlite3_close(db);
}

static void put_cell(sqlite3_stmt *row, int at, aon_buffer *out) {
  static const char kinds[] = "?irtbn";
  aon_result result = aon_buffer_format(out, NULL, "%s%c:", at ? "|" : "", kinds[sqlite3_column_type(row, at)]);
  if (!result && sqlite3_column_type(row, at) == SQLITE_FLOAT)
    result = aon_buffer_format(out, NULL, "%.17g", sqlite3_column_double(row, at));
  else if (!result)
    result = aon_buffer_append(out, sqlite3_column_blob(row, at), (size_t)sqlite3_column_bytes(row, at), NULL);
  assert_int_equal(result, AON_OK);
}

char *sql_text(world *w, const char *path, const char *query) {
  sqlite3 *db;
  sqlite3_stmt *row;
  aon_buffer out = {0};
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 2000);
  if (sqlite3_prepare_v2(db, query, -1, &row, NULL)) {
    print_error("%s: %s\n", query, sqlite3_errmsg(db));
    fail();
  }
  while (sqlite3_step(row) == SQLITE_ROW) {
    if (out.length)
      assert_int_equal(aon_buffer_text(&out, "\n", NULL), AON_OK);
    for (int i = 0; i < sqlite3_column_count(row); i++)
      put_cell(row, i, &out);
  }
  sqlite3_finalize(row);
  sqlite3_close(db);
  char *kept = aon_arena_text(&w->arena, out.data ? out.data : "", out.length);
  aon_buffer_release(&out);
  return kept;
}
