/* Reading MongoDB: collections, documents by their ids, scans.
 *
 * Invariant: outside a transaction only what the majority has is read, so that nothing that was read is taken away by a new primary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "store/match.h"
#include "store/mongodb_internal.h"

#define NAME_LIMIT 120 /* bytes of a collection's name that MongoDB takes with any database's */

/* ---- collections ---- */

void mdb_collections_release(mdb_store *store) {
  for (mdb_collection *c = store->collections, *next; c; c = next) {
    next = c->next;
    for (mdb_lookup *l = c->lookups, *after; l; l = after) {
      after = l->next;
      free(l->shown);
      free(l);
    }
    free(c->name);
    free(c);
  }
  store->collections = NULL;
}

static mdb_collection *known(mdb_store *store, const char *name) {
  mdb_collection *c = store->collections;
  while (c && strcmp(c->name, name))
    c = c->next;
  return c;
}

static aon_result remember(mdb_store *store, const char *name, mdb_collection **ret_found, aon_error *error) {
  mdb_collection *c = known(store, name);
  if (!c) {
    c = calloc(1, sizeof *c);
    if (!c || !(c->name = strdup(name))) {
      free(c);
      return aon_fail_memory(error);
    }
    c->shape.document_table = true;
    c->shape.token_is_id = true;
    c->next = store->collections;
    store->collections = c;
  }
  *ret_found = c;
  return AON_OK;
}

/* *ret_there false: no such collection. A user who may not list collections is taken at his word. */
typedef struct looked {
  bool there, collated, validated;
  char type[24];
} looked;

static aon_result look_up(mdb_store *store, const char *name, looked *ret_looked, aon_error *error) {
  int code;
  bson_iter_t found;
  aon_error failure = AON_ERROR_INIT;
  bson_t reply, *command = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", BCON_UTF8(name), "}");
  aon_result result = mdb_command(store, NULL, command, AON_MONGODB_READ, "looking at its collections", &reply, &code, &failure);
  *ret_looked = (looked){.type = "collection"};
  if (code == 13) {
    ret_looked->there = ret_looked->validated = true; /* perhaps */
    result = AON_OK;
  } else if (!result) {
    ret_looked->there = mdb_find(&reply, "cursor.firstBatch.0.name", &found);
    ret_looked->collated = mdb_find(&reply, "cursor.firstBatch.0.options.collation", &found);
    ret_looked->validated = mdb_find(&reply, "cursor.firstBatch.0.options.validator", &found);
    if (mdb_find(&reply, "cursor.firstBatch.0.type", &found) && BSON_ITER_HOLDS_UTF8(&found))
      snprintf(ret_looked->type, sizeof ret_looked->type, "%s", bson_iter_utf8(&found, NULL));
  }
  if (result && error)
    *error = failure;
  bson_destroy(&reply);
  bson_destroy(command);
  return result;
}

static aon_result good_name(const mdb_store *store, const char *name, aon_error *error) {
  if (*name && strlen(name) <= NAME_LIMIT && !strchr(name, '$') && strncmp(name, "system.", 7) != 0 && strcmp(name, MDB_MARKERS) != 0)
    return AON_OK;
  return aon_fail(error, AON_REJECTED, "unknown_collection", "“%.120s” can't be the name of a collection in %s.", name, store->name);
}

aon_result mdb_collection_find(mdb_store *store, const aon_collection *collection, mdb_collection **ret_found, aon_error *error) {
  mdb_collection *c = known(store, collection->name);
  looked seen;
  if (c && c->shape.exists) {
    *ret_found = c;
    return AON_OK;
  }
  aon_result result = good_name(store, collection->name, error);
  if (!result)
    result = look_up(store, collection->name, &seen, error);
  if (!result && !seen.there && !store->create)
    result = aon_fail(error, AON_REJECTED, "unknown_collection",
                      "%s has no collection “%s”. Correct the name, or set create: true for the store.", store->name, collection->name);
  if (!result && seen.there && strcmp(seen.type, "collection") != 0)
    result = aon_fail(error, AON_REJECTED, "unknown_collection", "“%s” in %s is a %s; only collections can be written.", collection->name,
                      store->name, seen.type);
  if (!result)
    result = remember(store, collection->name, &c, error);
  if (result)
    return result;
  c->shape.exists = seen.there;
  c->collated = seen.collated;
  c->validated = seen.validated;
  *ret_found = c;
  return AON_OK;
}

/* Another worker may make it at the same time. */
aon_result mdb_collection_make(mdb_store *store, const char *name, aon_error *error) {
  int code;
  looked seen;
  bson_t command = BSON_INITIALIZER, reply;
  aon_result result = look_up(store, name, &seen, error);
  if (!result && !seen.there) {
    aon_error failure = AON_ERROR_INIT;
    BSON_APPEND_UTF8(&command, "create", name);
    aon_mongodb_durable(&command, store->facts.transactions, store->timeout_ms);
    result = mdb_command(store, NULL, &command, AON_MONGODB_READ, "making a collection", &reply, &code, &failure);
    bson_destroy(&reply);
    if (code == AON_MONGODB_NAMESPACE_EXISTS)
      result = AON_OK;
    if (result && error)
      *error = failure;
  }
  bson_destroy(&command);
  return result;
}

aon_result mdb_describe(void *state, const aon_collection *collection, const aon_shape **ret_shape, aon_error *error) {
  mdb_store *store = state;
  mdb_collection *found;
  mdb_enter(store);
  aon_result result = mdb_collection_find(store, collection, &found, error);
  if (!result)
    *ret_shape = &found->shape;
  return result;
}

/* ---- indexes ---- */

static bool member(const bson_iter_t *index, const char *name, bson_iter_t *ret_found) {
  return bson_iter_recurse(index, ret_found) && bson_iter_find(ret_found, name);
}

static bool has_true(const bson_iter_t *index, const char *name) {
  bson_iter_t at;
  return member(index, name, &at) && bson_iter_as_bool(&at);
}

/* The properties of an index. */
static bool key_of(const bson_iter_t *index, bson_iter_t *ret_properties) {
  bson_iter_t at;
  return member(index, "key", &at) && bson_iter_recurse(&at, ret_properties);
}

/* The indexes of an answer. */
static bool listed(const bson_t *answer, bson_iter_t *ret_each) {
  bson_iter_t found;
  return mdb_find(answer, "cursor.firstBatch", &found) && bson_iter_recurse(&found, ret_each);
}

static bool in_key(mdb_key key, const char *property) {
  size_t at = 0;
  while (at < key.count && strcmp(key.names[at], property))
    at++;
  return at < key.count;
}

static bool begins_with(const bson_iter_t *index, mdb_key key) {
  bson_iter_t of;
  return key_of(index, &of) && bson_iter_next(&of) && in_key(key, bson_iter_key(&of));
}

/* An index that holds some documents only, is hidden, or compares by rules of its own, serves none of our queries. */
static bool serves(const bson_iter_t *index, mdb_key key) {
  static const char *const all[] = {"$**"};
  static const char *const limits[] = {"partialFilterExpression", "hidden", "collation"};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
    if (has_true(index, limits[i]))
      return false;
  return begins_with(index, key) || begins_with(index, (mdb_key){all, 1});
}

aon_result mdb_indexed(mdb_store *store, const char *collection, mdb_key key, bool *ret_indexed, int64_t *ret_documents, aon_error *error) {
  bson_t list = BSON_INITIALIZER, count = BSON_INITIALIZER, reply;
  bson_iter_t at, each;
  BSON_APPEND_UTF8(&list, "listIndexes", collection);
  BSON_APPEND_UTF8(&count, "count", collection);
  *ret_indexed = false;
  *ret_documents = 0;
  aon_result result = mdb_command(store, NULL, &list, AON_MONGODB_READ, "looking at its indexes", &reply, NULL, error);
  if (!result && listed(&reply, &each))
    while (bson_iter_next(&each))
      *ret_indexed = *ret_indexed || serves(&each, key);
  bson_destroy(&reply);
  if (!result && !*ret_indexed) {
    result = mdb_command(store, NULL, &count, AON_MONGODB_READ, "counting documents", &reply, NULL, error);
    if (!result && bson_iter_init_find(&at, &reply, "n"))
      *ret_documents = bson_iter_as_int64(&at);
    bson_destroy(&reply);
  }
  bson_destroy(&count);
  bson_destroy(&list);
  return result;
}

/* Unique, of nothing but properties of the key, and over all documents that have them. */
static bool keeps_unique(const bson_iter_t *index, mdb_key key) {
  bson_iter_t at, of;
  if (!has_true(index, "unique") || member(index, "partialFilterExpression", &at) || !key_of(index, &of))
    return false;
  while (bson_iter_next(&of))
    if (!in_key(key, bson_iter_key(&of)))
      return false;
  return true;
}

aon_result mdb_key_unique(mdb_store *store, const char *collection, mdb_key key, bool *ret_unique, bool *ret_there, aon_error *error) {
  bson_t list = BSON_INITIALIZER, reply;
  bson_iter_t each;
  int code;
  aon_error failure = AON_ERROR_INIT;
  BSON_APPEND_UTF8(&list, "listIndexes", collection);
  *ret_unique = false;
  aon_result result = mdb_command(store, NULL, &list, AON_MONGODB_READ, "looking at its indexes", &reply, &code, &failure);
  *ret_there = code != AON_MONGODB_NAMESPACE_MISSING;
  if (!result && listed(&reply, &each))
    while (bson_iter_next(&each))
      *ret_unique = *ret_unique || keeps_unique(&each, key);
  bson_destroy(&reply);
  bson_destroy(&list);
  if (result && *ret_there && error)
    *error = failure;
  return *ret_there ? result : AON_OK;
}

/* Documents of two ids differ in it anyway: it has the whole key, compared as ids are. */
static bool tells_ids_apart(const bson_iter_t *index, mdb_key key) {
  bson_iter_t at, of;
  size_t found = 0;
  if (member(index, "collation", &at) || !key_of(index, &of))
    return false;
  while (bson_iter_next(&of))
    found += in_key(key, bson_iter_key(&of));
  return found == key.count;
}

static bool demands_unique(const bson_iter_t *index, mdb_key key) {
  static const char *const by_id[] = {"_id"};
  return has_true(index, "unique") && !begins_with(index, (mdb_key){by_id, 1}) && !tells_ids_apart(index, key);
}

/* Asked anew by each transaction; where it can't be found out, the order is kept. */
bool mdb_keeps_order(mdb_store *store, mdb_collection *collection) {
  int code;
  bson_t list = BSON_INITIALIZER, reply;
  bson_iter_t each;
  aon_error ignored = AON_ERROR_INIT;
  mdb_key key = mdb_key_of(store, &(aon_collection){.name = collection->name});
  if (collection->validated || collection->looked_by == store->transactions)
    return collection->validated || collection->keeps_order;
  BSON_APPEND_UTF8(&list, "listIndexes", collection->name);
  bool known = !mdb_command(store, NULL, &list, AON_MONGODB_READ, "looking at its indexes", &reply, &code, &ignored);
  collection->looked_by = store->transactions;
  collection->keeps_order = !known && code != AON_MONGODB_NAMESPACE_MISSING;
  if (known && listed(&reply, &each))
    while (bson_iter_next(&each))
      collection->keeps_order = collection->keeps_order || demands_unique(&each, key);
  bson_destroy(&reply);
  bson_destroy(&list);
  return collection->keeps_order;
}

/* Said once for all properties by which a large collection is looked through; what can't be found out is not said. */
static void mind_index(mdb_store *store, mdb_collection *collection, mdb_key key) {
  bool indexed;
  int64_t documents;
  char shown[MDB_KEY_SHOWN], keys[MDB_KEY_SHOWN];
  mdb_key_shown(key, "", shown);
  for (const mdb_lookup *l = collection->lookups; l; l = l->next)
    if (!strcmp(l->shown, shown))
      return;
  mdb_lookup *lookup = calloc(1, sizeof *lookup);
  if (!lookup || !(lookup->shown = strdup(shown))) {
    free(lookup);
    return;
  }
  lookup->next = collection->lookups;
  collection->lookups = lookup;
  if (!mdb_indexed(store, collection->name, key, &indexed, &documents, NULL) && !indexed && documents > MDB_SMALL)
    aon_log(store->env, AON_LOG_WARNING,
            "%s/%s: documents are looked for by “%s”, and no index begins with %s: each look goes through all %lld. Make one: "
            "db.%s.createIndex({%s})",
            store->name, collection->name, shown, key.count > 1 ? "one of them" : "it", (long long)documents, collection->name,
            mdb_key_shown(key, ": 1", keys));
}

/* ---- queries ---- */

aon_result mdb_query(mdb_store *store, const char *collection, const bson_t *filter, const bson_t *options, const char *doing,
                     mdb_each each, void *context, aon_error *error) {
  aon_mongodb *connection;
  aon_result result = mdb_acquire(store, false, &connection, error);
  if (result)
    return result;
  result = aon_mongodb_find(connection, collection, filter, options, mdb_read_kind(store), doing, each, context, error);
  mdb_release(store, connection);
  return result;
}

typedef struct placed { /* an id that was asked for */
  aon_text id;
  size_t index;
} placed;

static int compare_ids(aon_text a, aon_text b) {
  size_t length = a.length < b.length ? a.length : b.length;
  int order = length ? memcmp(a.data, b.data, length) : 0;
  return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_placed(const void *a, const void *b) { return compare_ids(((const placed *)a)->id, ((const placed *)b)->id); }

typedef struct fetching {
  mdb_store *store;
  const aon_collection *collection;
  mdb_key key;
  placed *places;
  size_t count;
  aon_arena *arena;
  bson_t **documents;
} fetching;

static size_t first_place(const fetching *f, aon_text id) {
  size_t low = 0, high = f->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (compare_ids(f->places[middle].id, id) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static aon_result take_document(void *context, const bson_t *document, aon_error *error) {
  fetching *f = context;
  aon_text id;
  char shown[MDB_KEY_SHOWN];
  aon_result result = mdb_id_text(f->store, f->collection, document, f->arena, &id, error);
  if (result)
    return result;
  bson_t *kept = NULL;
  for (size_t i = first_place(f, id); i < f->count && !compare_ids(f->places[i].id, id); i++) {
    bson_t **to = &f->documents[f->places[i].index];
    if (*to)
      return aon_fail(error, AON_PERMANENT, "ambiguous",
                      "%s/%s holds more than one document with the id %.*s. Give them different ids, or make a unique index on %s.",
                      f->store->name, f->collection->name, mdb_shown(id), id.data, mdb_key_shown(f->key, "", shown));
    if (!kept) { /* bson_t wants more than an arena's alignment */
      const uint8_t *bytes = aon_arena_copy(f->arena, bson_get_data(document), document->len);
      uint8_t *room = aon_arena_alloc(f->arena, sizeof *kept + 128);
      if (!bytes || !room)
        return aon_fail_memory(error);
      kept = (bson_t *)(room + (128 - (uintptr_t)room % 128));
      bson_init_static(kept, bytes, document->len);
    }
    *to = kept;
  }
  return AON_OK;
}

static aon_result fetch_some(fetching *f, const aon_text *ids, size_t count, aon_error *error) {
  bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER, inner, array;
  uint32_t index = 0;
  BSON_APPEND_DOCUMENT_BEGIN(&filter, f->key.names[0], &inner);
  BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &array);
  for (size_t i = 0; i < count; i++)
    mdb_append_candidates(&array, ids[i], &index);
  bson_append_array_end(&inner, &array);
  bson_append_document_end(&filter, &inner);
  aon_result result = mdb_query(f->store, f->collection->name, &filter, &options, "reading", take_document, f, error);
  bson_destroy(&options);
  bson_destroy(&filter);
  return result;
}

/* {region: {$in: ["north"]}, number: {$in: [7, "7"]}}, left open behind the last list. */
static void open_branch(bson_t *branches, uint32_t number, mdb_key key, const aon_text *parts, bson_t *ret_branch, bson_t *ret_in,
                        bson_t *ret_list) {
  char buffer[16];
  const char *name;
  bson_t in, list;
  bson_uint32_to_string(number, &name, buffer, sizeof buffer);
  bson_append_document_begin(branches, name, -1, ret_branch);
  for (size_t i = 0; i + 1 < key.count; i++) {
    uint32_t index = 0;
    bson_append_document_begin(ret_branch, key.names[i], -1, &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    mdb_append_candidates(&list, parts[i], &index);
    bson_append_array_end(&in, &list);
    bson_append_document_end(ret_branch, &in);
  }
  bson_append_document_begin(ret_branch, key.names[key.count - 1], -1, ret_in);
  BSON_APPEND_ARRAY_BEGIN(ret_in, "$in", ret_list);
}

static void close_branch(bson_t *branches, bson_t *branch, bson_t *in, bson_t *list) {
  bson_append_array_end(in, list);
  bson_append_document_end(branch, in);
  bson_append_document_end(branches, branch);
}

static bool same_but_last(const aon_text *a, const aon_text *b, size_t count) {
  size_t at = 0;
  while (at + 1 < count && !compare_ids(a[at], b[at]))
    at++;
  return at + 1 == count;
}

aon_result mdb_append_branches(mdb_key key, const aon_text *ids, size_t count, aon_arena *arena, bson_t *array, uint32_t *ret_branches,
                               aon_error *error) {
  aon_text parts[2][AON_STORE_KEY_PARTS], *last = NULL;
  bson_t branch, in, list;
  uint32_t index = 0;
  *ret_branches = 0;
  for (size_t i = 0; i < count; i++) {
    aon_text *own = parts[last == parts[0]];
    bool names;
    aon_result result = mdb_id_parts(key, ids[i], arena, own, &names, error);
    if (result)
      return result;
    if (!names)
      continue;
    if (!last || !same_but_last(last, own, key.count)) {
      if (last)
        close_branch(array, &branch, &in, &list);
      open_branch(array, (*ret_branches)++, key, own, &branch, &in, &list);
      index = 0;
    }
    last = own;
    mdb_append_candidates(&list, own[key.count - 1], &index);
  }
  if (last)
    close_branch(array, &branch, &in, &list);
  return AON_OK;
}

/* The ids from..to-1 in the order of places, by several properties. */
static aon_result fetch_joined(fetching *f, size_t from, size_t to, aon_error *error) {
  bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER, branches;
  aon_text ids[MDB_READ_IDS];
  uint32_t count;
  for (size_t i = from; i < to; i++)
    ids[i - from] = f->places[i].id;
  BSON_APPEND_ARRAY_BEGIN(&filter, "$or", &branches);
  aon_result result = mdb_append_branches(f->key, ids, to - from, f->arena, &branches, &count, error);
  bson_append_array_end(&filter, &branches);
  if (!result && count) /* none: no id has as many parts */
    result = mdb_query(f->store, f->collection->name, &filter, &options, "reading", take_document, f, error);
  bson_destroy(&options);
  bson_destroy(&filter);
  return result;
}

aon_result mdb_fetch(mdb_store *store, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena,
                     bson_t **documents, aon_error *error) {
  fetching f = {.store = store,
                .collection = collection,
                .key = mdb_key_of(store, collection),
                .count = count,
                .arena = arena,
                .documents = documents};
  memset(documents, 0, count * sizeof(bson_t *));
  f.places = aon_arena_alloc(arena, (count + 1) * sizeof *f.places);
  if (!f.places)
    return aon_fail_memory(error);
  for (size_t i = 0; i < count; i++)
    f.places[i] = (placed){ids[i], i};
  qsort(f.places, count, sizeof *f.places, compare_placed);
  aon_result result = AON_OK;
  for (size_t from = 0; !result && from < count; from += MDB_READ_IDS) {
    size_t some = count - from < MDB_READ_IDS ? count - from : MDB_READ_IDS;
    result = f.key.count == 1 ? fetch_some(&f, ids + from, some, error) : fetch_joined(&f, from, from + some, error);
  }
  return result;
}

aon_result mdb_read(void *state, const aon_collection *collection, const aon_text *ids, size_t count, aon_arena *arena, aon_image *images,
                    aon_error *error) {
  mdb_store *store = state;
  mdb_collection *found;
  memset(images, 0, count * sizeof *images);
  mdb_enter(store);
  aon_result result = mdb_collection_find(store, collection, &found, error);
  if (result || !found->shape.exists || !count)
    return result;
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  bson_t **documents = aon_arena_alloc(&scratch, count * sizeof(bson_t *));
  if (!documents)
    return aon_fail_memory(error);
  mdb_key key = mdb_key_of(store, collection);
  if (!mdb_keyed_by_id(key))
    mind_index(store, found, key);
  result = mdb_fetch(store, collection, ids, count, &scratch, documents, error);
  for (size_t i = 0; !result && i < count; i++)
    if (documents[i])
      result = mdb_image_of(collection, ids[i], documents[i], arena, &images[i], error);
  return result;
}

/* ---- scans ---- */

/* What the server can narrow down; aon_match_all decides. */
static void append_match(bson_t *filter, const aon_match *match) {
  bson_t inner, array;
  char text[64], *end;
  if (!mdb_plain_name(match->property) || bson_has_field(filter, match->property))
    return;
  bson_append_document_begin(filter, match->property, -1, &inner);
  BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &array);
  bson_append_utf8(&array, "0", 1, match->value.data, (int)match->value.length);
  snprintf(text, sizeof text, "%.*s", (int)(match->value.length < sizeof text ? match->value.length : 0), match->value.data);
  double number = strtod(text, &end);
  long long integer = strtoll(text, NULL, 10);
  if (*text && !*end) {
    BSON_APPEND_DOUBLE(&array, "1", number);
    BSON_APPEND_INT64(&array, "2", integer);
  }
  if (!strcmp(text, "true") || !strcmp(text, "false"))
    BSON_APPEND_BOOL(&array, "1", !strcmp(text, "true"));
  bson_append_array_end(&inner, &array);
  bson_append_document_end(filter, &inner);
}

static void project(bson_t *projection, const char *property) {
  if (!bson_has_field(projection, property))
    bson_append_int32(projection, property, -1, 1);
}

static void append_projection(bson_t *options, mdb_key key, const aon_match *matches, size_t count, const char *const *properties) {
  bson_t projection;
  bool all = !properties;
  for (const char *const *at = properties; !all && *at; at++)
    all = !mdb_plain_name(*at);
  for (size_t i = 0; i < count; i++)
    all = all || !mdb_plain_name(matches[i].property);
  if (all)
    return;
  BSON_APPEND_DOCUMENT_BEGIN(options, "projection", &projection);
  for (size_t i = 0; i < key.count; i++)
    project(&projection, key.names[i]);
  for (const char *const *at = properties; *at; at++)
    project(&projection, *at);
  for (size_t i = 0; i < count; i++)
    project(&projection, matches[i].property);
  bson_append_document_end(options, &projection);
}

typedef struct scanning {
  mdb_store *store;
  const aon_collection *collection;
  const aon_match *matches;
  size_t count;
  aon_scan_each each;
  void *context;
  aon_arena arena;
} scanning;

static aon_result scan_one(void *context, const bson_t *document, aon_error *error) {
  scanning *s = context;
  aon_found found;
  if (!aon_match_all(document, s->matches, s->count))
    return AON_OK;
  aon_arena_reset(&s->arena);
  aon_result result = mdb_id_text(s->store, s->collection, document, &s->arena, &found.id, error);
  if (!result)
    result = mdb_image_of(s->collection, found.id, document, &s->arena, &found.image, error);
  return result ? result : s->each(s->context, &found, error);
}

aon_result mdb_scan(void *state, const aon_collection *collection, const aon_match *matches, size_t count, const char *const *properties,
                    aon_scan_each each, void *context, aon_error *error) {
  mdb_store *store = state;
  mdb_collection *found;
  mdb_enter(store);
  aon_result result = mdb_collection_find(store, collection, &found, error);
  if (result || !found->shape.exists)
    return result;
  if (count && mdb_plain_name(matches[0].property) && strcmp(matches[0].property, "_id") != 0)
    mind_index(store, found, (mdb_key){&matches[0].property, 1});
  scanning s = {.store = store, .collection = collection, .matches = matches, .count = count, .each = each, .context = context};
  bson_t filter = BSON_INITIALIZER, options = BSON_INITIALIZER;
  append_projection(&options, mdb_key_of(store, collection), matches, count, properties);
  for (size_t i = 0; i < count; i++)
    append_match(&filter, &matches[i]);
  result = mdb_query(store, collection->name, &filter, &options, "looking through a collection", scan_one, &s, error);
  bson_destroy(&options);
  bson_destroy(&filter);
  aon_arena_release(&s.arena);
  return result;
}

/* ---- for aon doctor: does an index serve it? ---- */

aon_result mdb_look_up(void *state, const aon_collection *collection, const aon_match *match, aon_index *ret_index, aon_error *error) {
  mdb_store *store = state;
  mdb_collection *found;
  bool indexed;
  char shown[MDB_KEY_SHOWN];
  mdb_key key = match ? (mdb_key){&match->property, 1} : mdb_key_of(store, collection);
  mdb_enter(store);
  aon_result result = mdb_collection_find(store, collection, &found, error);
  if (result || !found->shape.exists || mdb_keyed_by_id(key))
    return result;
  ret_index->state = AON_INDEX_POINTLESS;
  snprintf(ret_index->text, sizeof ret_index->text, "MongoDB can't be asked for a property of that name");
  if (match && !mdb_plain_name(match->property))
    return AON_OK;
  result = mdb_indexed(store, collection->name, key, &indexed, &ret_index->documents, error);
  ret_index->state = !result && indexed ? AON_INDEX_SERVES : AON_INDEX_MISSING;
  snprintf(ret_index->text, sizeof ret_index->text, "db.getCollection(\"%s\").createIndex({%s})", collection->name,
           mdb_key_shown(key, ": 1", shown));
  return result;
}
