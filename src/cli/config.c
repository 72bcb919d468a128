/* Configuration. The file is walked as nodes of libyaml, whose marks name lines exactly.
 *
 * Every setting is one row of a table: its path, how it reads, where it goes. File, environment and options all pass through that table, in
 * this order, so that what comes later wins; a path that no row has is an error that names its line. */
#include "cli/config.h"

#include <limits.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "model/text.h"

#define FILE_BYTES_LIMIT ((size_t)1 << 20)
#define STORES_LIMIT 64
#define PATH_BYTES 256
#define NO_INDEX (-1)
#define KEEP_NOTHING (-1)
#define POOL_LIMIT 1000
#define SPECIALS 4
#define KEYS_LIMIT 1000 /* collections of one store whose keys are named */

typedef struct place { /* where a value comes from, for sentences and relative paths */
  const char *file;    /* NULL: the environment or an option */
  size_t line;
  const char *name;
} place;

typedef struct reading {
  aon_env *env;
  aon_config *config;
  aon_error *error;
  char *const *environment;
  const char *file;   /* NULL: no file */
  const char *folder; /* relative paths of the file start here */
  aon_engine_store stores[STORES_LIMIT];
  place pool_at[STORES_LIMIT];              /* where its pool was spoken of, empty if nowhere */
  place special_at[STORES_LIMIT][SPECIALS]; /* likewise for its special settings */
  const char *bounded[STORES_LIMIT];        /* one of bounded_settings that was given, and where; NULL: none */
  place bounded_at[STORES_LIMIT];
  place keys_at[STORES_LIMIT]; /* where its keys were named, empty if nowhere */
  bool special[STORES_LIMIT][SPECIALS];
  bool create_given[STORES_LIMIT], stamp_given[STORES_LIMIT];
  place named_at[STORES_LIMIT]; /* where a store was first named */
  size_t store_count;
  const char *journal_url, *key_file;
} reading;

static aon_result wrong(reading *r, const place *at, const char *format, const char *value) {
  char text[700];
  snprintf(text, sizeof text, format, value);
  if (at->file)
    return aon_fail(r->error, AON_USAGE, "bad_configuration", "%s:%zu: %s", at->file, at->line, text);
  return aon_fail(r->error, AON_USAGE, "bad_configuration", "%s: %s", at->name ? at->name : "configuration", text);
}

/* ---- how values read ---- */

typedef enum value_kind { KIND_TEXT, KIND_PATH, KIND_DURATION, KIND_SIZE, KIND_COUNT, KIND_BOOLEAN, KIND_BEYOND } value_kind;

static char *keep(reading *r, const char *text) { return aon_arena_text(&r->config->arena, text, strlen(text)); }

static const char *absolute(reading *r, const place *at, const char *path) {
  if (*path == '/' || !at->file || !r->folder || !*r->folder || !strcmp(r->folder, "."))
    return keep(r, path);
  return aon_arena_format(&r->config->arena, "%s/%s", r->folder, path);
}

static aon_result store_value(reading *r, value_kind kind, void *to, const char *value, const place *at) {
  char *end;
  switch (kind) {
  case KIND_TEXT:
    *(const char **)to = keep(r, value);
    return *(const char **)to ? AON_OK : aon_fail_memory(r->error);
  case KIND_PATH:
    *(const char **)to = absolute(r, at, value);
    return *(const char **)to ? AON_OK : aon_fail_memory(r->error);
  case KIND_DURATION:
    return aon_duration_parse(value, to) ? AON_OK : wrong(r, at, "“%s” is no duration: write 500ms, 30s, 5m, 24h or 7d.", value);
  case KIND_SIZE:
    return aon_size_parse(value, to) ? AON_OK : wrong(r, at, "“%s” is no size: write 65536, 64KiB, 16MiB or 2GiB.", value);
  case KIND_COUNT: {
    unsigned long long count = strtoull(value, &end, 10);
    if (end == value || *end || *value == '-' || count == 0 || count > UINT32_MAX)
      return wrong(r, at, "“%s” is no number from 1.", value);
    *(uint32_t *)to = (uint32_t)count;
    return AON_OK;
  }
  case KIND_BOOLEAN:
    if (strcmp(value, "true") && strcmp(value, "false"))
      return wrong(r, at, "“%s” must be true or false.", value);
    *(bool *)to = !strcmp(value, "true");
    return AON_OK;
  case KIND_BEYOND:
    if (strcmp(value, "split") && strcmp(value, "refuse"))
      return wrong(r, at, "“%s” must be split or refuse.", value);
    *(bool *)to = !strcmp(value, "refuse");
    return AON_OK;
  }
  return AON_OK;
}

/* ---- the table ---- */

typedef struct setting {
  const char *path;
  value_kind kind;
  size_t offset; /* in aon_config; in aon_engine_store for those of a store */
} setting;

#define IN_CONFIG(member) offsetof(aon_config, member)
#define IN_STORE(member) offsetof(aon_engine_store, config.member)

static const setting settings[] = {
    {"data", KIND_PATH, IN_CONFIG(data)},
    {"organization", KIND_TEXT, IN_CONFIG(organization)},
    {"user", KIND_TEXT, IN_CONFIG(user)},
    {"hold_ms", KIND_DURATION, IN_CONFIG(engine.hold_ms)},
    {"hold_until", KIND_DURATION, IN_CONFIG(engine.hold_until_ms)},
    {"give_up", KIND_DURATION, IN_CONFIG(engine.give_up_ms)},
    {"batch", KIND_COUNT, IN_CONFIG(engine.batch)},
    {"journal.retention", KIND_DURATION, IN_CONFIG(engine.retention_ms)},
    {"journal.reserve", KIND_SIZE, IN_CONFIG(engine.journal.reserve_bytes)},
    {"journal.lease", KIND_DURATION, IN_CONFIG(engine.journal.lease_ms)},
    {"limits.entries", KIND_COUNT, IN_CONFIG(workbook.entries)},
    {"limits.unpacked_bytes", KIND_SIZE, IN_CONFIG(workbook.unpacked_bytes)},
    {"limits.rows", KIND_COUNT, IN_CONFIG(workbook.rows)},
    {"limits.columns", KIND_COUNT, IN_CONFIG(workbook.columns)},
    {"limits.cells", KIND_SIZE, IN_CONFIG(workbook.cells)},
    {"limits.string_bytes", KIND_COUNT, IN_CONFIG(workbook.string_bytes)},
    {"limits.strings_memory_bytes", KIND_SIZE, IN_CONFIG(workbook.strings_memory_bytes)},
    {"limits.stage_memory_bytes", KIND_SIZE, IN_CONFIG(pack.stage_memory_bytes)},
    {"limits.pack_memory_bytes", KIND_SIZE, IN_CONFIG(pack.memory_bytes)},
    {"limits.pack_instructions", KIND_SIZE, IN_CONFIG(pack.instructions)},
    {"limits.pack_call", KIND_DURATION, IN_CONFIG(pack.call_ms)},
};

static const setting store_settings[] = {
    {"create", KIND_BOOLEAN, IN_STORE(create)},
    {"stamp", KIND_BOOLEAN, IN_STORE(stamp)},
    {"timeout", KIND_DURATION, IN_STORE(timeout_ms)},
    {"pool.max", KIND_COUNT, IN_STORE(pool_max)},
    {"pool.idle", KIND_DURATION, IN_STORE(pool_idle_ms)},
    {"pool.connect", KIND_DURATION, IN_STORE(pool_connect_ms)},
    {"exclusive", KIND_BOOLEAN, IN_STORE(exclusive)},
    {"void_stamp", KIND_BOOLEAN, IN_STORE(void_stamp)},
    {"horizon", KIND_DURATION, IN_STORE(horizon_ms)},
    {"watch", KIND_DURATION, IN_STORE(watch_ms)},
    {"transaction.operations", KIND_COUNT, IN_STORE(transaction_operations)},
    {"transaction.bytes", KIND_SIZE, IN_STORE(transaction_bytes)},
    {"transaction.beyond", KIND_BEYOND, IN_STORE(transaction_refuse)},
};

/* Of stores that write documents singly; the others refuse them, for they would mean nothing (check_special). */
static const char *const special_settings[SPECIALS] = {"exclusive", "void_stamp", "horizon", "watch"};

/* Of stores whose transactions have limits of their own (check_bounded). */
static const char *const bounded_settings[] = {"transaction.operations", "transaction.bytes", "transaction.beyond"};

static int find_store(const reading *r, const char *name) {
  for (size_t i = 0; i < r->store_count; i++)
    if (!strcmp(r->stores[i].config.name, name))
      return (int)i;
  return NO_INDEX;
}

static aon_result add_store(reading *r, const char *name, const place *at, int *ret_index) {
  int index = find_store(r, name);
  if (index == NO_INDEX) {
    if (r->store_count == STORES_LIMIT)
      return wrong(r, at, "more stores than there may be (64); “%s” is one too many.", name);
    for (const char *c = name; *c; c++)
      if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c) || c - name > 50)
        return wrong(r, at, "“%s” is no name for a store: use letters, digits, _ and -, at most 50.", name);
    index = (int)r->store_count++;
    r->stores[index] = (aon_engine_store){.config = {.name = keep(r, name), .horizon_ms = 30000, .watch_ms = 3600000, .timeout_ms = 5000}};
    r->named_at[index] = *at;
    if (!r->stores[index].config.name)
      return aon_fail_memory(r->error);
  }
  *ret_index = index;
  return AON_OK;
}

static aon_result set_store_url(reading *r, int index, const char *url, const place *at) {
  aon_engine_store *store = &r->stores[index];
  const char *colon = strchr(url, ':');
  char scheme[40];
  if (!colon || colon - url >= (int)sizeof scheme)
    return wrong(
        r, at,
        "“%s” is no URL of a store: write sqlite:PATH, postgresql://HOST/DATABASE, mongodb://HOST/DATABASE, firebase-rtdb://HOST/, firestore://PROJECT/ or firebase-auth://PROJECT.",
        url);
  snprintf(scheme, sizeof scheme, "%.*s", (int)(colon - url), url);
  store->adapter = aon_store_adapter_find(scheme);
  if (!store->adapter)
    return wrong(
        r, at, "this build has no store of the kind “%s”; it has sqlite, postgresql, mongodb, firebase-rtdb, firestore and firebase-auth.",
        scheme);
  store->config.location =
      store->adapter == &aon_sqlite_adapter ? absolute(r, at, colon + 1) : keep(r, strchr(scheme, '+') ? strchr(url, '+') : colon + 1);
  if (!r->create_given[index])
    store->config.create = false; /* a database that somebody names is used as it is, unless create says otherwise */
  if (!r->stamp_given[index])     /* what comes late to a store without conditions is known by its stamp alone */
    store->config.stamp = store->adapter == &aon_auth_adapter;
  return store->config.location ? AON_OK : aon_fail_memory(r->error);
}

static void note_bounded(reading *r, int index, const char *name, const place *at) {
  for (size_t i = 0; i < sizeof bounded_settings / sizeof *bounded_settings; i++)
    if (!r->bounded[index] && !strcmp(bounded_settings[i], name)) {
      r->bounded[index] = bounded_settings[i];
      r->bounded_at[index] = (place){at->file, at->line, at->name ? keep(r, at->name) : NULL};
    }
}

static void note_special(reading *r, int index, const char *name, const place *at) {
  for (size_t i = 0; i < SPECIALS; i++)
    if (!strcmp(special_settings[i], name)) {
      r->special[index][i] = true;
      r->special_at[index][i] = (place){at->file, at->line, at->name ? keep(r, at->name) : NULL};
    }
}

static aon_result set_store(reading *r, const char *rest, const char *value, const place *at) {
  char name[PATH_BYTES];
  const char *dot = strrchr(rest, '.'), *pool = strstr(rest, ".pool"), *transaction = strstr(rest, ".transaction.");
  int index;
  if (pool && (!pool[5] || pool[5] == '.'))
    dot = pool;
  if (transaction)
    dot = transaction;
  if (!dot)
    return wrong(r, at, "store “%s” needs settings: at least url.", rest);
  snprintf(name, sizeof name, "%.*s", (int)(dot - rest), rest);
  aon_result result = add_store(r, name, at, &index);
  if (result)
    return result;
  if (!strcmp(dot + 1, "url"))
    return set_store_url(r, index, value, at);
  for (size_t i = 0; i < sizeof store_settings / sizeof *store_settings; i++)
    if (!strcmp(store_settings[i].path, dot + 1)) {
      if (!strcmp(dot + 1, "create"))
        r->create_given[index] = true;
      if (!strcmp(dot + 1, "stamp"))
        r->stamp_given[index] = true;
      if (dot == pool)
        r->pool_at[index] = (place){at->file, at->line, at->name ? keep(r, at->name) : NULL};
      note_special(r, index, dot + 1, at);
      note_bounded(r, index, dot + 1, at);
      return store_value(r, store_settings[i].kind, (char *)&r->stores[index] + store_settings[i].offset, value, at);
    }
  return wrong(
      r, at,
      "“%s” is no setting of a store; known are url, create, stamp, timeout, exclusive, void_stamp, horizon, watch, keys, pool with max, "
      "idle and connect, and transaction with operations, bytes and beyond.",
      dot + 1);
}

static aon_result unknown_key(reading *r, const char *path, const place *at) {
  const char *nearest = NULL;
  size_t best = 4;
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    size_t distance = aon_text_distance(path, settings[i].path, 3);
    if (distance < best) {
      best = distance;
      nearest = settings[i].path;
    }
  }
  char text[PATH_BYTES * 2];
  snprintf(text, sizeof text, "%s”%s%s%s", path, nearest ? "; did you mean “" : "", nearest ? nearest : "",
           nearest ? "”?" : " is not known.");
  return wrong(r, at, nearest ? "unknown key “%s" : "the key “%s", text);
}

static aon_result set(reading *r, const char *path, const char *value, const place *at) {
  if (!strcmp(path, "version"))
    return strcmp(value, "1") ? wrong(r, at, "version “%s” of this file is not known; this program reads version 1.", value) : AON_OK;
  if (!strcmp(path, "journal.url")) {
    char scheme[40] = ""; /* the rest may hold a password */
    size_t length = strcspn(value, ":/");
    memcpy(scheme, value, length < sizeof scheme ? length : sizeof scheme - 1);
    bool server = aon_journal_on_server(value);
    if (!server && strncmp(value, "sqlite:", 7))
      return wrong(
          r, at, "“%s…” is no journal that this build can keep: write sqlite:PATH, postgresql://HOST/DATABASE or mongodb://HOST/DATABASE.",
          scheme);
    r->journal_url = server ? keep(r, value) : absolute(r, at, value + 7);
    return r->journal_url ? AON_OK : aon_fail_memory(r->error);
  }
  if (!strcmp(path, "journal.key_file")) {
    r->key_file = absolute(r, at, value);
    return r->key_file ? AON_OK : aon_fail_memory(r->error);
  }
  if (!strncmp(path, "stores.", 7))
    return set_store(r, path + 7, value, at);
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (!strcmp(settings[i].path, path))
      return store_value(r, settings[i].kind, (char *)r->config + settings[i].offset, value, at);
  return unknown_key(r, path, at);
}

/* ---- the file ---- */

#define PACK_FOLDERS_LIMIT 32

static aon_result add_pack_folder(reading *r, const char *path, const place *at) {
  size_t count = 0;
  while (r->config->packs && r->config->packs[count])
    count++;
  if (count + 1 >= PACK_FOLDERS_LIMIT)
    return wrong(r, at, "“%s”: too many folders of packs.", path);
  ((const char **)r->config->packs)[count] = absolute(r, at, path);
  return r->config->packs[count] ? AON_OK : aon_fail_memory(r->error);
}

static aon_result walk(reading *r, yaml_document_t *document, const yaml_node_t *node, const char *path);

static aon_result walk_packs(reading *r, yaml_document_t *document, const yaml_node_t *node) {
  place at = {.file = r->file, .line = node->start_mark.line + 1};
  if (node->type != YAML_SEQUENCE_NODE)
    return wrong(r, &at, "“%s” must be a list of folders: [./packs].", "packs");
  aon_result result = AON_OK;
  for (yaml_node_item_t *item = node->data.sequence.items.start; !result && item < node->data.sequence.items.top; item++) {
    const yaml_node_t *child = yaml_document_get_node(document, *item);
    at.line = child->start_mark.line + 1;
    result = child->type == YAML_SCALAR_NODE ? add_pack_folder(r, (const char *)child->data.scalar.value, &at)
                                             : wrong(r, &at, "“%s” must be a list of folders: [./packs].", "packs");
  }
  return result;
}

static const char *scalar(yaml_document_t *document, int item, size_t *ret_line) {
  const yaml_node_t *node = yaml_document_get_node(document, item);
  *ret_line = node->start_mark.line + 1;
  return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static aon_result wrong_key(reading *r, const place *at, const char *collection, const char *why) {
  char text[PATH_BYTES * 2];
  snprintf(text, sizeof text, "the key of “%.120s” can't serve: %s", collection, why);
  return wrong(r, at, "%s.", text);
}

/* orders: [region, number] */
static aon_result walk_key(reading *r, yaml_document_t *document, const yaml_node_pair_t *pair, place *at, aon_store_key *ret_key) {
  const char *collection = scalar(document, pair->key, &at->line);
  const yaml_node_t *list = yaml_document_get_node(document, pair->value);
  if (!collection)
    return wrong(r, at, "a collection's name must be a text%s.", "");
  if (list->type != YAML_SEQUENCE_NODE)
    return wrong_key(r, at, collection, "it must be a list of properties, such as [region, number]");
  size_t count = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
  const char **properties = aon_arena_alloc(&r->config->arena, (count + 1) * sizeof *properties);
  *ret_key = (aon_store_key){.collection = keep(r, collection), .properties = properties};
  if (!properties || !ret_key->collection)
    return aon_fail_memory(r->error);
  for (size_t i = 0; i < count; i++) {
    size_t line;
    const char *property = scalar(document, list->data.sequence.items.start[i], &line);
    if (!property)
      return wrong_key(r, at, collection, "it must be a list of properties, such as [region, number]");
    if (!(properties[i] = keep(r, property)))
      return aon_fail_memory(r->error);
  }
  const char *why = aon_store_key_problem(ret_key);
  return why ? wrong_key(r, at, collection, why) : AON_OK;
}

/* Names of collections may hold dots, so these are no paths. */
static aon_result walk_keys(reading *r, yaml_document_t *document, const yaml_node_t *node, const char *path, const place *key_at) {
  char name[PATH_BYTES];
  int index;
  snprintf(name, sizeof name, "%.*s", (int)(strrchr(path, '.') - path - 7), path + 7);
  aon_result result = add_store(r, name, key_at, &index);
  if (!result && node->type != YAML_MAPPING_NODE)
    result = wrong(r, key_at, "“%s” must name collections with the properties of their keys: {orders: [region, number]}.", path);
  if (result)
    return result;
  size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
  aon_store_key *keys = count > KEYS_LIMIT ? NULL : aon_arena_alloc(&r->config->arena, (count + 1) * sizeof *keys);
  if (!keys)
    return count > KEYS_LIMIT ? wrong(r, key_at, "“%s” names more collections than it may (1000).", path) : aon_fail_memory(r->error);
  r->keys_at[index] = *key_at;
  r->stores[index].config.keys = keys;
  for (size_t i = 0; !result && i < count; i++) {
    place at = *key_at;
    result = walk_key(r, document, &node->data.mapping.pairs.start[i], &at, &keys[i]);
    for (size_t other = 0; !result && other < i; other++)
      if (!strcmp(keys[other].collection, keys[i].collection))
        result = wrong(r, &at, "“%s” stands twice.", keys[i].collection);
  }
  if (!result)
    keys[count] = (aon_store_key){0};
  return result;
}

static bool names_keys(const char *path) {
  const char *dot = strncmp(path, "stores.", 7) ? NULL : strchr(path + 7, '.');
  return dot && !strcmp(dot, ".keys");
}

static aon_result walk_pair(reading *r, yaml_document_t *document, const yaml_node_t *key, const yaml_node_t *value, const char *path) {
  char deeper[PATH_BYTES];
  place at = {.file = r->file, .line = key->start_mark.line + 1};
  if (key->type != YAML_SCALAR_NODE)
    return wrong(r, &at, "a key must be a text%s.", "");
  int length = snprintf(deeper, sizeof deeper, "%s%s%s", path, *path ? "." : "", (const char *)key->data.scalar.value);
  if (length >= (int)sizeof deeper)
    return wrong(r, &at, "a key is too long%s.", "");
  if (!strcmp(deeper, "packs"))
    return walk_packs(r, document, value);
  if (names_keys(deeper))
    return walk_keys(r, document, value, deeper, &at);
  if (value->type != YAML_MAPPING_NODE && value->type != YAML_SCALAR_NODE)
    return wrong(r, &at, "“%s” must not be a list.", deeper);
  if (value->type == YAML_SCALAR_NODE)
    return set(r, deeper, (const char *)value->data.scalar.value, &at);
  bool section = !strcmp(deeper, "journal") || !strcmp(deeper, "stores") || !strcmp(deeper, "limits") || !strncmp(deeper, "stores.", 7);
  return section ? walk(r, document, value, deeper) : unknown_key(r, deeper, &at);
}

static aon_result walk(reading *r, yaml_document_t *document, const yaml_node_t *node, const char *path) {
  place at = {.file = r->file, .line = node->start_mark.line + 1};
  if (node->type != YAML_MAPPING_NODE)
    return wrong(r, &at, "here must stand keys with values%s.", "");
  aon_result result = AON_OK;
  for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; !result && pair < node->data.mapping.pairs.top; pair++) {
    const yaml_node_t *key = yaml_document_get_node(document, pair->key), *value = yaml_document_get_node(document, pair->value);
    for (yaml_node_pair_t *other = node->data.mapping.pairs.start; !result && other < pair; other++) {
      const yaml_node_t *earlier = yaml_document_get_node(document, other->key);
      at.line = key->start_mark.line + 1;
      if (earlier->type == YAML_SCALAR_NODE && key->type == YAML_SCALAR_NODE &&
          !strcmp((const char *)earlier->data.scalar.value, (const char *)key->data.scalar.value))
        result = wrong(r, &at, "“%s” stands twice.", (const char *)key->data.scalar.value);
    }
    if (!result)
      result = walk_pair(r, document, key, value, path);
  }
  return result;
}

static aon_result load(reading *r, yaml_parser_t *parser, yaml_document_t *document) {
  place at = {.file = r->file, .line = 1};
  if (yaml_parser_load(parser, document))
    return AON_OK;
  at.line = parser->problem_mark.line + 1;
  return wrong(r, &at, "this is no YAML: %s.", parser->problem ? parser->problem : "it can't be read");
}

/* What stands after the first document would be silently left out. */
static aon_result refuse_second(reading *r, yaml_parser_t *parser) {
  yaml_document_t document;
  aon_result result = load(r, parser, &document);
  if (result)
    return result;
  place at = {.file = r->file, .line = document.start_mark.line + 1};
  if (yaml_document_get_root_node(&document))
    result = wrong(r, &at, "a second document begins here; %s.", "write one only");
  yaml_document_delete(&document);
  return result;
}

static aon_result parse(reading *r, const char *text, size_t length) {
  yaml_parser_t parser;
  yaml_document_t document;
  if (!yaml_parser_initialize(&parser))
    return aon_fail_memory(r->error);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  aon_result result = load(r, &parser, &document);
  if (!result) {
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root)
      result = walk(r, &document, root, "");
    yaml_document_delete(&document);
    if (!result && root)
      result = refuse_second(r, &parser);
  }
  yaml_parser_delete(&parser);
  return result;
}

static aon_result read_file(reading *r, const char *path) {
  aon_file *file;
  size_t length = 0;
  aon_result result = r->env->ops->file_open(r->env->context, path, AON_FILE_READ, &file, r->error);
  if (result)
    return result;
  char *text = malloc(FILE_BYTES_LIMIT + 1);
  result = text ? r->env->ops->file_read(file, 0, text, FILE_BYTES_LIMIT + 1, &length, r->error) : aon_fail_memory(r->error);
  r->env->ops->file_close(file);
  if (!result && length > FILE_BYTES_LIMIT)
    result = aon_fail(r->error, AON_USAGE, "bad_configuration", "%s is longer than %zu bytes.", path, FILE_BYTES_LIMIT);
  const char *slash = strrchr(path, '/');
  r->file = keep(r, path);
  r->folder = slash ? aon_arena_text(&r->config->arena, path, (size_t)(slash - path)) : ".";
  if (!result && (!r->file || !r->folder))
    result = aon_fail_memory(r->error);
  if (!result)
    result = parse(r, text, length);
  free(text);
  return result;
}

/* ---- the environment ---- */

static const char *variable(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; environment && *environment; environment++)
    if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
      return *environment + length + 1;
  return NULL;
}

static void variable_name(const char *path, char name[PATH_BYTES]) {
  int length = snprintf(name, PATH_BYTES, "AON_%s", path);
  for (int i = 4; i < length && i < PATH_BYTES; i++)
    name[i] = name[i] >= 'a' && name[i] <= 'z'                                           ? (char)(name[i] - 32)
              : (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'A' && name[i] <= 'Z') ? name[i]
                                                                                         : '_';
}

static aon_result from_variable(reading *r, const char *path) {
  char name[PATH_BYTES];
  variable_name(path, name);
  const char *value = variable(r->environment, name);
  place at = {.name = name};
  return value && *value ? set(r, path, value, &at) : AON_OK;
}

static aon_result read_variables(reading *r) {
  static const char *const more[] = {"journal.url", "journal.key_file"};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < sizeof settings / sizeof *settings; i++)
    result = from_variable(r, settings[i].path);
  for (size_t i = 0; !result && i < sizeof more / sizeof *more; i++)
    result = from_variable(r, more[i]);
  for (size_t s = 0; !result && s < r->store_count; s++) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "stores.%s.url", r->stores[s].config.name);
    result = from_variable(r, path);
    for (size_t i = 0; !result && i < sizeof store_settings / sizeof *store_settings; i++) {
      snprintf(path, sizeof path, "stores.%s.%s", r->stores[s].config.name, store_settings[i].path);
      result = from_variable(r, path);
    }
  }
  const char *packs = variable(r->environment, "AON_PACKS");
  place at = {.name = "AON_PACKS"};
  if (!result && packs && *packs) {
    memset((void *)r->config->packs, 0, PACK_FOLDERS_LIMIT * sizeof *r->config->packs);
    for (size_t length; !result && *packs; packs += length + (packs[length] == ':')) {
      char folder[PATH_MAX];
      length = strcspn(packs, ":");
      snprintf(folder, sizeof folder, "%.*s", (int)length, packs);
      if (*folder)
        result = add_pack_folder(r, folder, &at);
    }
  }
  return result;
}

static aon_result test_index(reading *r, const char *name, int64_t *to) {
  const char *value = variable(r->environment, name);
  *to = -1;
  if (!value || !*value)
    return AON_OK;
  char *end;
  long long index = strtoll(value, &end, 10);
  if (end == value || *end || index < 0)
    return aon_fail(r->error, AON_USAGE, "bad_configuration", "%s: “%s” is no number of an operation; they count from 0.", name, value);
  *to = index;
  r->config->engine.test_mode = true;
  return AON_OK;
}

static aon_result read_test_variables(reading *r) {
  aon_engine_config *engine = &r->config->engine;
  const struct {
    const char *name;
    int64_t *to;
  } older[] = {{"TEST_ROLLBACK_USER_INDEX", &engine->test_user_index},
               {"TEST_ROLLBACK_DEPT_INDEX", &engine->test_dept_index},
               {"TEST_ROLLBACK_SITE_INDEX", &engine->test_site_index},
               {"TEST_ROLLBACK_SCHEDULE_INDEX", &engine->test_schedule_index}};
  const char *debug = variable(r->environment, "DEBUG_ATOMIC_OPS");
  engine->test_mode = debug && !strcmp(debug, "1");
  aon_result result = test_index(r, "TEST_ROLLBACK_AT_OPERATION", &engine->test_rollback_at);
  for (size_t i = 0; !result && i < sizeof older / sizeof *older; i++) {
    result = test_index(r, older[i].name, older[i].to);
    if (!result && *older[i].to >= 0)
      aon_log(r->env, AON_LOG_WARNING, "%s is deprecated: use TEST_ROLLBACK_AT_OPERATION, which counts all operations.", older[i].name);
  }
  return result;
}

/* ---- defaults ---- */

static const char *login_name(reading *r) {
  struct passwd entry, *found = NULL;
  char space[4096];
  if (getpwuid_r(getuid(), &entry, space, sizeof space, &found) == 0 && found && found->pw_name[0])
    return keep(r, found->pw_name);
  return aon_arena_format(&r->config->arena, "uid:%u", (unsigned)getuid());
}

/* A folder of packs beside the program's own; *ret_found false: there is none. */
static aon_result pack_folder_beside(reading *r, const char *program, const char *beside, bool *ret_found) {
  char path[PATH_MAX + 64];
  place at = {.name = "packs"};
  aon_file_info info;
  snprintf(path, sizeof path, "%.*s/%s", (int)(strrchr(program, '/') - program), program, beside);
  *ret_found = !r->env->ops->file_info(r->env->context, path, &info, r->error) && info.is_directory;
  return *ret_found ? add_pack_folder(r, path, &at) : AON_OK;
}

/* Where packs stand beside a program that is run from its build folder, and where they are installed: beside the program too, so that an
 * installation may be moved as a whole; else where it was configured to be. */
static aon_result default_pack_folders(reading *r) {
  char program[PATH_MAX];
  place at = {.name = "packs"};
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  bool found = false;
  aon_result result = AON_OK;
  if (length > 0 && program[0] == '/') {
    program[length] = 0;
    result = pack_folder_beside(r, program, "../packs", &found);
    if (!result)
      result = pack_folder_beside(r, program, "../share/allornone/packs", &found);
  }
  return result || found ? result : add_pack_folder(r, AON_PACKS_FOLDER, &at);
}

static aon_result in_data(reading *r, const char *name, const char **to) {
  *to = aon_arena_format(&r->config->arena, "%s/%s", r->config->data, name);
  return *to ? AON_OK : aon_fail_memory(r->error);
}

/* What is said of pools fits the kinds of stores, which may be named after it. */
static aon_result check_pools(reading *r) {
  for (size_t i = 0; i < r->store_count; i++) {
    bool pooled = r->stores[i].adapter && r->stores[i].adapter->pool;
    if (!pooled && (r->pool_at[i].file || r->pool_at[i].name))
      return wrong(r, &r->pool_at[i], "“%s” is no store with a pool of connections; take pool out.", r->stores[i].config.name);
    if (r->stores[i].config.pool_max > POOL_LIMIT)
      return wrong(r, &r->pool_at[i], "“%s” would have more than 1000 connections; lower pool.max.", r->stores[i].config.name);
  }
  return AON_OK;
}

static bool writes_singly(const aon_store_adapter *adapter) { /* MongoDB: where it is a server alone */
  return adapter == &aon_rtdb_adapter || adapter == &aon_auth_adapter || adapter == &aon_mongodb_adapter;
}

/* What is said of late requests, and of who else writes, is for stores that write documents singly; no write of accounts has a condition. */
static const char *meaningless(const aon_store_adapter *adapter, const char *name) {
  if (!writes_singly(adapter))
    return "“%s” has no meaning for a SQLite store, nor for others with transactions; take it out.";
  if (!strcmp(name, "exclusive") && adapter != &aon_rtdb_adapter)
    return "“%s” has a meaning for a Firebase Realtime Database only; take it out.";
  if (!strcmp(name, "void_stamp") && adapter == &aon_auth_adapter)
    return "“%s” has no meaning for Firebase Auth, whose writes take no conditions; take it out.";
  return NULL;
}

static aon_result check_special(reading *r) {
  for (size_t i = 0; i < r->store_count; i++)
    for (size_t j = 0; j < SPECIALS; j++) {
      const char *why = r->special[i][j] ? meaningless(r->stores[i].adapter, special_settings[j]) : NULL;
      if (why)
        return wrong(r, &r->special_at[i][j], why, special_settings[j]);
    }
  return AON_OK;
}

static aon_result check_bounded(reading *r) {
  for (size_t i = 0; i < r->store_count; i++)
    if (r->bounded[i] && r->stores[i].adapter != &aon_mongodb_adapter)
      return wrong(r, &r->bounded_at[i], "“%s” has a meaning for MongoDB only; take it out.", r->bounded[i]);
  return AON_OK;
}

static aon_result check_keys(reading *r) {
  for (size_t i = 0; i < r->store_count; i++)
    if (r->stores[i].config.keys && r->stores[i].adapter != &aon_mongodb_adapter)
      return wrong(r, &r->keys_at[i],
                   "“%s” has a meaning for MongoDB only, other databases say themselves what keys they have; take it out.", "keys");
  return AON_OK;
}

static aon_result fill_defaults(reading *r) {
  aon_config *config = r->config;
  if (!config->user && !(config->user = login_name(r)))
    return aon_fail_memory(r->error);
  aon_result result = AON_OK;
  config->engine.journal.location = r->journal_url;
  config->engine.journal.key_file = r->key_file;
  if (!r->journal_url)
    result = in_data(r, "journal.db", &config->engine.journal.location);
  if (!result && !r->key_file)
    result = in_data(r, "journal.key", &config->engine.journal.key_file);
  for (size_t i = 0; !result && i < r->store_count; i++) {
    if (r->stores[i].adapter)
      continue;
    char name[PATH_BYTES];
    bool embedded = i < 4; /* the four that are there by default */
    if (!embedded)
      return wrong(r, &r->named_at[i], "store “%s” has no url.", r->stores[i].config.name);
    snprintf(name, sizeof name, "%s.db", r->stores[i].config.name);
    r->stores[i].adapter = &aon_sqlite_adapter;
    if (!r->create_given[i])
      r->stores[i].config.create = true;
    result = in_data(r, name, &r->stores[i].config.location);
  }
  if (!result)
    result = check_pools(r);
  if (!result)
    result = check_special(r);
  if (!result)
    result = check_bounded(r);
  return result ? result : check_keys(r);
}

/* The engine takes 0 for "not said". Whoever writes 0 means: keep nothing. */
static void mind_zero(aon_engine_config *engine) {
  if (!engine->retention_ms)
    engine->retention_ms = KEEP_NOTHING;
}

static aon_result begin(reading *r) {
  static const char *const names[] = {"main", "realtime", "settings", "identity"};
  place at = {.name = "stores"};
  aon_result result = AON_OK;
  int index;
  for (size_t i = 0; !result && i < 4; i++)
    result = add_store(r, names[i], &at, &index);
  const char **packs = aon_arena_alloc(&r->config->arena, PACK_FOLDERS_LIMIT * sizeof *packs);
  r->config->packs = packs;
  r->config->data = "aon-data";
  r->config->engine.journal.reserve_bytes = (uint64_t)16 << 20;
  r->config->engine.retention_ms = (int64_t)7 * 24 * 3600 * 1000;
  return result ? result : packs ? AON_OK : aon_fail_memory(r->error);
}

static aon_result find_file(reading *r, const aon_config_options *options, const char **ret_path) {
  const char *named = options->config ? options->config : variable(r->environment, "AON_CONFIG");
  aon_file_info info;
  *ret_path = named && *named ? named : NULL;
  if (*ret_path)
    return AON_OK;
  aon_result result = r->env->ops->file_info(r->env->context, "aon.yaml", &info, r->error);
  if (!result && info.exists)
    *ret_path = "aon.yaml";
  return result;
}

aon_result aon_config_load(aon_env *env, const aon_config_options *options, char *const *environment, aon_config *config,
                           aon_error *error) {
  *config = (aon_config){0};
  reading *r = calloc(1, sizeof *r);
  if (!r)
    return aon_fail_memory(error);
  *r = (reading){.env = env, .config = config, .error = error, .environment = environment};
  const char *path;
  aon_result result = begin(r);
  if (!result)
    result = find_file(r, options, &path);
  if (!result && path)
    result = read_file(r, path);
  if (!result)
    result = read_variables(r);
  if (!result)
    result = read_test_variables(r);
  if (options->data)
    config->data = options->data;
  if (options->organization)
    config->organization = options->organization;
  if (options->user)
    config->user = options->user;
  if (!result)
    result = fill_defaults(r);
  if (!result)
    result = default_pack_folders(r);
  aon_engine_store *stores = result ? NULL : aon_arena_copy(&config->arena, r->stores, r->store_count * sizeof *stores);
  if (!result && !stores)
    result = aon_fail_memory(error);
  config->engine.stores = stores;
  config->engine.store_count = result ? 0 : r->store_count;
  mind_zero(&config->engine);
  config->engine.workbook = &config->workbook;
  config->engine.pack = &config->pack;
  free(r);
  return result;
}

void aon_config_release(aon_config *config) {
  aon_arena_release(&config->arena);
  *config = (aon_config){0};
}

static aon_result read_call(char *const *environment, const char *name, uint64_t *to, aon_error *error) {
  const char *value = variable(environment, name);
  *to = 0;
  if (!value || !*value)
    return AON_OK;
  char *end;
  *to = strtoull(value, &end, 10);
  if (end == value || *end || *value == '-')
    return aon_fail(error, AON_USAGE, "bad_configuration", "%s: “%s” is no number of a call; they count from 1.", name, value);
  return AON_OK;
}

aon_result aon_config_early_read(char *const *environment, aon_config_early *early, aon_error *error) {
  static const char *const names[] = {"error", "warning", "info", "debug"};
  *early = (aon_config_early){.log_level = AON_LOG_WARNING};
  const char *level = variable(environment, "LOG_LEVEL");
  bool known = !level || !*level;
  for (int i = 0; level && i < 4; i++)
    if (!strcasecmp(level, names[i]) || (i == 1 && !strcasecmp(level, "warn"))) {
      early->log_level = (aon_log_level)i;
      known = true;
    }
  if (!known)
    return aon_fail(error, AON_USAGE, "bad_configuration", "LOG_LEVEL: “%s” is no level; levels are error, warning, info and debug.",
                    level);
  aon_result result = read_call(environment, "TEST_CRASH_AT_CALL", &early->crash_at, error);
  return result ? result : read_call(environment, "TEST_STOP_AT_CALL", &early->stop_at, error);
}
