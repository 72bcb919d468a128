/* See harness.h. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HARNESS_INSTANT 1799222400000

static void *grow(void *array, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity)
    return array;
  *capacity = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(array, *capacity * size);
  assert_non_null(grown);
  return grown;
}

static uint64_t hash(const char *collection, const char *id, size_t length) {
  uint64_t h = 1469598103934665603u;
  for (const char *c = collection; *c; c++)
    h = (h ^ (unsigned char)*c) * 1099511628211u;
  h *= 31;
  for (size_t i = 0; i < length; i++)
    h = (h ^ (unsigned char)id[i]) * 1099511628211u;
  return h ^ h >> 29;
}

static size_t *slot(const harness *h, const char *collection, const char *id, size_t length) {
  size_t at = hash(collection, id, length) % h->index_size;
  for (; h->index[at]; at = (at + 1) % h->index_size) {
    const held *d = &h->documents[h->index[at] - 1];
    if (!strcmp(d->collection, collection) && strlen(d->id) == length && !memcmp(d->id, id, length))
      break;
  }
  return &h->index[at];
}

static held *held_at(harness *h, const char *collection, const char *id, size_t length) {
  size_t *at = slot(h, collection, id, length);
  if (*at)
    return &h->documents[*at - 1];
  h->documents = grow(h->documents, h->document_count, &h->document_capacity, sizeof *h->documents);
  held *d = &h->documents[h->document_count++];
  *d = (held){.collection = strdup(collection), .id = strndup(id, length)};
  *at = h->document_count;
  return d;
}

static void put(harness *h, const char *collection, aon_text id, const bson_t *document) {
  held *d = held_at(h, collection, id.data, id.length);
  if (d->document)
    bson_destroy(d->document);
  d->document = document ? bson_copy(document) : NULL;
}

void harness_put(harness *h, const char *collection, const char *id, const char *json) {
  bson_t document;
  aon_error error = AON_ERROR_INIT;
  if (aon_document_from_json(json, strlen(json), &document, &error))
    fail_msg("%s: %s", json, error.sentence);
  put(h, collection, (aon_text){id, strlen(id)}, &document);
  bson_destroy(&document);
}

const bson_t *harness_document(const harness *h, const char *collection, const char *id) {
  size_t at = *slot(h, collection, id, strlen(id));
  return at ? h->documents[at - 1].document : NULL;
}

/* ---- Source ---- */

static const uint8_t token[] = "token";

static aon_image image_of(const held *d) {
  return (aon_image){.bson = bson_get_data(d->document), .bson_length = d->document->len, .token = token, .token_length = sizeof token};
}

static aon_result source_read(void *context, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                              aon_image *images, aon_error *error) {
  harness *h = context;
  (void)arena;
  (void)error;
  assert_true(count > 0);
  h->reads++;
  for (size_t i = 0; i < count; i++) {
    size_t at = *slot(h, collection->name, ids[i].data, ids[i].length);
    images[i] = at && h->documents[at - 1].document ? image_of(&h->documents[at - 1]) : (aon_image){0};
  }
  return AON_OK;
}

static bool matches_all(const bson_t *document, const aon_match *matches, size_t count) {
  for (size_t i = 0; i < count; i++) {
    bson_iter_t at;
    if (!bson_iter_init_find(&at, document, matches[i].property) || !BSON_ITER_HOLDS_UTF8(&at) ||
        strlen(bson_iter_utf8(&at, NULL)) != matches[i].value.length ||
        memcmp(bson_iter_utf8(&at, NULL), matches[i].value.data, matches[i].value.length) != 0)
      return false;
  }
  return true;
}

/* Whatever a validation looks up, aon_pack_lookups has named: aon doctor goes by it. */
static void said_before(const harness *h, const aon_collection *collection, const char *property, const char *within) {
  aon_arena arena = {0};
  const aon_pack_lookup *lookups;
  size_t count, found = 0;
  assert_int_equal(aon_pack_lookups(h->pack, &arena, &lookups, &count, NULL), AON_OK);
  for (size_t i = 0; i < count; i++)
    if (lookups[i].collection == collection && !strcmp(lookups[i].property, property)) {
      found++;
      assert_true(within ? lookups[i].within && !strcmp(lookups[i].within, within) : !lookups[i].within);
    }
  if (found != 1)
    fail_msg("%s.%s is looked up and named %zu times", collection->name, property, found);
  aon_arena_release(&arena);
}

static aon_result source_scan(void *context, const aon_collection *collection, const aon_match *matches, size_t count,
                              const char *const *properties, aon_scan_each each, void *each_context, aon_error *error) {
  harness *h = context;
  h->scans++;
  said_before(h, collection, properties[0], count ? matches[0].property : NULL);
  for (size_t i = 0; i < h->document_count; i++) {
    const held *d = &h->documents[i];
    if (!d->document || strcmp(d->collection, collection->name) != 0 || !matches_all(d->document, matches, count))
      continue;
    aon_found found = {.id = {d->id, strlen(d->id)}, .image = image_of(d)};
    aon_result result = each(each_context, &found, error);
    if (result)
      return result == AON_END ? AON_OK : result;
  }
  return AON_OK;
}

/* ---- Sink ---- */

static char *json_of(const aon_image *image) {
  bson_t view;
  aon_buffer out = {0};
  if (!image->bson)
    return NULL;
  assert_true(aon_image_view(image, &view));
  assert_int_equal(aon_document_to_json(&view, &out, NULL), AON_OK);
  return out.data;
}

static aon_result sink_operation(void *context, const aon_operation *operation, aon_error *error) {
  harness *h = context;
  (void)error;
  h->operations = grow(h->operations, h->operation_count, &h->operation_capacity, sizeof *h->operations);
  h->operations[h->operation_count++] = (noted){.collection = strdup(operation->collection->name),
                                                .id = strndup(operation->id.data, operation->id.length),
                                                .kind = operation->kind,
                                                .sheet = operation->origin.sheet ? strdup(operation->origin.sheet) : NULL,
                                                .row = operation->origin.row,
                                                .flags = operation->flags,
                                                .entity = operation->origin.entity ? strdup(operation->origin.entity) : NULL,
                                                .before = json_of(&operation->before),
                                                .after = json_of(&operation->after)};
  if (operation->before.bson)
    assert_int_equal(operation->before.token_length, sizeof token);
  return AON_OK;
}

static aon_result sink_claim(void *context, aon_claim claim, const aon_collection *collection, const char *property, aon_text value,
                             aon_error *error) {
  harness *h = context;
  (void)error;
  h->claims = grow(h->claims, h->claim_count, &h->claim_capacity, sizeof *h->claims);
  char *text;
  if (claim == AON_CLAIM_VALUE)
    assert_true(asprintf(&text, "value %s %s %.*s", collection->name, property, (int)value.length, value.data) > 0);
  else
    assert_true(asprintf(&text, "reference %s %.*s", collection->name, (int)value.length, value.data) > 0);
  h->claims[h->claim_count++] = text;
  return AON_OK;
}

static aon_result sink_group(void *context, const char *name, aon_error *error) {
  harness *h = context;
  (void)error;
  h->groups = grow(h->groups, h->group_count, &h->group_capacity, sizeof *h->groups);
  char *text;
  assert_true(asprintf(&text, "%zu %s", h->operation_count, name ? name : "end") > 0);
  h->groups[h->group_count++] = text;
  return AON_OK;
}

static void forget_operations(harness *h) {
  for (size_t i = 0; i < h->operation_count; i++) {
    noted *o = &h->operations[i];
    free(o->collection);
    free(o->id);
    free(o->sheet);
    free(o->entity);
    free(o->before);
    free(o->after);
  }
  for (size_t i = 0; i < h->claim_count; i++)
    free(h->claims[i]);
  for (size_t i = 0; i < h->group_count; i++)
    free(h->groups[i]);
  h->operation_count = h->claim_count = h->group_count = h->reads = h->scans = 0;
}

static void forget_results(harness *h) {
  forget_operations(h);
  aon_problems_release(&h->problems);
  aon_counts_release(&h->counts);
  h->problems = (aon_problems){0};
  h->counts = (aon_counts){0};
}

/* As a store would: the state must be the one that the operation expects, and no document comes twice. */
static void carry_out(harness *h) {
  for (size_t i = 0; i < h->operation_count; i++) {
    const noted *o = &h->operations[i];
    bson_t document;
    const bson_t *there = harness_document(h, o->collection, o->id);
    assert_int_equal(there != NULL, o->before != NULL);
    assert_true(o->kind == (!o->after ? AON_DELETE : o->before ? AON_UPDATE : AON_CREATE));
    for (size_t k = 0; k < i && h->operation_count < 500; k++)
      if (!strcmp(h->operations[k].collection, o->collection) && !strcmp(h->operations[k].id, o->id))
        fail_msg("%s/%s comes twice", o->collection, o->id);
    if (o->after)
      assert_int_equal(aon_document_from_json(o->after, strlen(o->after), &document, NULL), AON_OK);
    put(h, o->collection, (aon_text){o->id, strlen(o->id)}, o->after ? &document : NULL);
    if (o->after)
      bson_destroy(&document);
  }
}

/* ---- Uploads ---- */

static aon_result source_hides(void *context, const aon_collection *collection, const char *property, bool *ret_hidden, aon_error *error) {
  const harness *h = context;
  (void)collection;
  (void)error;
  *ret_hidden = h->hides && !strcmp(h->hides, property);
  return AON_OK;
}

static aon_result run(harness *h, aon_workbook *workbook, const char *path, const char *organization, aon_error *error) {
  char bulk[40];
  snprintf(bulk, sizeof bulk, "00000000-0000-4000-8000-%012d", ++h->uploads);
  aon_document_source source = {.context = h, .read = source_read, .scan = source_scan, .hides = source_hides};
  aon_plan_sink sink = {.context = h, .operation = sink_operation, .claim = sink_claim, .group = sink_group};
  aon_pack_input input = {.workbook = workbook,
                          .file_name = path,
                          .organization = organization,
                          .user = "tester",
                          .bulk_id = bulk,
                          .instant_ms = HARNESS_INSTANT,
                          .source = &source,
                          .problems = &h->problems};
  aon_pack_job *job;
  aon_result result = aon_pack_job_open(h->pack, &input, &job, error);
  if (result)
    return result;
  for (int times = h->again ? 2 : 1; times && !result; times--) {
    result = aon_pack_job_validate(job, error);
    if (!result && !h->problems.error_count)
      result = aon_pack_job_collect(job, &sink, &h->counts, error);
    if (times == 1)
      break;
    forget_operations(h);
    aon_problems_clear(&h->problems);
  }
  aon_pack_job_close(job);
  return result;
}

uint64_t harness_upload_as(harness *h, const char *path, const char *organization, aon_error *error) {
  aon_workbook *workbook;
  forget_results(h);
  aon_result result = aon_workbook_open(h->env, path, NULL, &workbook, error);
  if (result)
    return UINT64_MAX;
  result = run(h, workbook, path, organization, error);
  aon_workbook_close(workbook);
  if (result)
    return UINT64_MAX;
  if (!h->problems.error_count)
    carry_out(h);
  return h->problems.error_count;
}

uint64_t harness_upload_file(harness *h, const char *path) {
  aon_error error = AON_ERROR_INIT;
  uint64_t errors = harness_upload_as(h, path, "org1", &error);
  if (errors == UINT64_MAX)
    fail_msg("%s: %s %s", path, error.code, error.sentence);
  return errors;
}

void harness_begin(harness *h) {
  snprintf(h->folder, sizeof h->folder, "/tmp/aon-pack-XXXXXX");
  assert_non_null(mkdtemp(h->folder));
}

void harness_sheet(harness *h, const char *name, const char *csv) {
  char path[300];
  if (!h->folder[0])
    harness_begin(h);
  snprintf(path, sizeof path, "%s/%s.csv", h->folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(csv, file);
  fclose(file);
}

uint64_t harness_upload(harness *h) {
  char command[200];
  uint64_t errors = harness_upload_file(h, h->folder);
  snprintf(command, sizeof command, "rm -r '%s'", h->folder);
  assert_int_equal(system(command), 0);
  h->folder[0] = 0;
  return errors;
}

void harness_open(harness *h, const char *pack) {
  aon_error error = AON_ERROR_INIT;
  *h = (harness){.index_size = 1 << 18};
  h->index = calloc(h->index_size, sizeof *h->index);
  assert_non_null(h->index);
  assert_int_equal(aon_env_open(AON_LOG_WARNING, 0, 0, &h->env, &error), AON_OK);
  if (aon_pack_load(h->env, pack, NULL, NULL, &h->pack, &error))
    fail_msg("%s %s", error.code, error.sentence);
}

void harness_close(harness *h) {
  forget_results(h);
  for (size_t i = 0; i < h->document_count; i++) {
    free(h->documents[i].collection);
    free(h->documents[i].id);
    if (h->documents[i].document)
      bson_destroy(h->documents[i].document);
  }
  free(h->documents);
  free(h->index);
  free(h->operations);
  free(h->claims);
  free(h->groups);
  aon_pack_close(h->pack);
  aon_env_close(h->env);
}

/* ---- Questions ---- */

static const aon_problem *problem_at(const aon_problem *problems, size_t count, const char *place, const char *code) {
  for (size_t i = 0; i < count; i++) {
    char letters[8] = "", here[300];
    if (problems[i].column)
      aon_column_name(problems[i].column, letters);
    if (problems[i].row)
      snprintf(here, sizeof here, "%s!%s%u", problems[i].sheet, letters, problems[i].row);
    else
      snprintf(here, sizeof here, "%s", problems[i].sheet ? problems[i].sheet : "file");
    if (!strcmp(here, place) && (!code || !strcmp(problems[i].code, code)))
      return &problems[i];
  }
  return NULL;
}

bool harness_error(const harness *h, const char *place, const char *code) {
  return problem_at(h->problems.errors, h->problems.errors_kept, place, code) != NULL;
}

bool harness_warning(const harness *h, const char *place, const char *code) {
  return problem_at(h->problems.warnings, h->problems.warnings_kept, place, code) != NULL;
}

const char *harness_sentence(const harness *h, const char *place) {
  const aon_problem *problem = problem_at(h->problems.errors, h->problems.errors_kept, place, NULL);
  return problem ? problem->sentence : "";
}

static void print_problems(const char *what, const aon_problem *problems, size_t count) {
  for (size_t i = 0; i < count; i++) {
    aon_buffer out = {0};
    assert_int_equal(aon_problem_to_json(&problems[i], &out, NULL), AON_OK);
    print_message("%s %s\n", what, out.data);
    aon_buffer_release(&out);
  }
}

void harness_print(const harness *h) {
  print_problems("error", h->problems.errors, h->problems.errors_kept);
  print_problems("warning", h->problems.warnings, h->problems.warnings_kept);
  for (size_t i = 0; i < h->operation_count; i++) {
    const noted *o = &h->operations[i];
    print_message("%zu %s %s %s (%s %u, %s)\n    %s\n    %s\n", i,
                  o->kind == AON_CREATE   ? "create"
                  : o->kind == AON_UPDATE ? "update"
                                          : "delete",
                  o->collection, o->id, o->sheet ? o->sheet : "-", o->row, o->entity, o->before ? o->before : "-",
                  o->after ? o->after : "-");
  }
  for (size_t i = 0; i < h->counts.count; i++)
    print_message("%s: %llu created, %llu edited, %llu unchanged\n", h->counts.entries[i].entity,
                  (unsigned long long)h->counts.entries[i].created, (unsigned long long)h->counts.entries[i].edited,
                  (unsigned long long)h->counts.entries[i].unchanged);
  for (size_t i = 0; i < h->group_count; i++)
    print_message("group: %s\n", h->groups[i]);
}

const struct aon_count *harness_count(const harness *h, const char *entity) {
  static const struct aon_count none;
  for (size_t i = 0; i < h->counts.count; i++)
    if (!strcmp(h->counts.entries[i].entity, entity))
      return &h->counts.entries[i];
  return &none;
}

const char *harness_at(const harness *h, const char *collection, const char *id, const char *pointer) {
  static char text[65536];
  const bson_t *document = id ? harness_document(h, collection, id) : NULL;
  bson_iter_t value;
  aon_buffer out = {0};
  text[0] = 0;
  if (!document || !aon_document_at(document, pointer, &value))
    return text;
  assert_int_equal(aon_value_to_json(&value, &out, NULL), AON_OK);
  snprintf(text, sizeof text, "%s", out.data);
  aon_buffer_release(&out);
  return text;
}

const char *harness_find(const harness *h, const char *collection, const char *property, const char *text) {
  for (size_t i = 0; i < h->document_count; i++) {
    bson_iter_t value;
    if (h->documents[i].document && !strcmp(h->documents[i].collection, collection) &&
        bson_iter_init_find(&value, h->documents[i].document, property) && BSON_ITER_HOLDS_UTF8(&value) &&
        !strcmp(bson_iter_utf8(&value, NULL), text))
      return h->documents[i].id;
  }
  return NULL;
}

size_t harness_documents(const harness *h, const char *collection) {
  size_t count = 0;
  for (size_t i = 0; i < h->document_count; i++)
    count += h->documents[i].document && !strcmp(h->documents[i].collection, collection);
  return count;
}

const noted *harness_operation(const harness *h, const char *collection, const char *id) {
  for (size_t i = 0; i < h->operation_count; i++)
    if (!strcmp(h->operations[i].collection, collection) && !strcmp(h->operations[i].id, id))
      return &h->operations[i];
  return NULL;
}

const char *harness_shared(void) {
  const char *shared = getenv("AON_SHARED");
  return shared ? shared : SOURCE_ROOT "/../shared/data";
}
