/* aon doctor: are journal and stores well, and does an index serve what packs look up?
 *
 * Invariant: nothing is changed; what can't be found out is told as what is wrong, and the rest is told all the same. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "model/document.h"

#define DOCTOR_PACKS 64    /* most packs whose look-ups are told */
#define DOCTOR_SMALL 1000  /* documents up to which a look through all of them is no matter */
#define ORGANIZATION "org" /* where the configuration names none: an example of what is looked for */

typedef struct doctor {
  cli *c;
  aon_pack *packs[DOCTOR_PACKS];
  size_t pack_count;
  aon_buffer faults; /* of packs that can't be read, one a line */
} doctor;

/* ---- packs ---- */

static bool known(const doctor *d, const char *name) {
  for (size_t i = 0; i < d->pack_count; i++)
    if (!strcmp(aon_pack_name(d->packs[i]), name))
      return true;
  return false;
}

static void take_pack(doctor *d, const char *name) {
  aon_error error = AON_ERROR_INIT, ignored = AON_ERROR_INIT;
  aon_pack *pack;
  if (d->pack_count == DOCTOR_PACKS)
    return;
  if (aon_pack_load(d->c->env, name, d->c->config.packs, &d->c->config.pack, &pack, &error)) {
    if (aon_buffer_format(&d->faults, &ignored, "%s\n", error.sentence))
      aon_log(d->c->env, AON_LOG_WARNING, "%s", error.sentence);
  } else if (known(d, aon_pack_name(pack))) {
    aon_pack_close(pack); /* one in an earlier folder is used */
  } else {
    d->packs[d->pack_count++] = pack;
  }
}

typedef struct folder_listing {
  doctor *d;
  const char *folder;
} folder_listing;

static bool take_file(void *context, const char *name) {
  const folder_listing *listing = context;
  size_t length = strlen(name);
  AON_ARENA_CLEANUP aon_arena arena = {0};
  if (length < 5 || strcmp(name + length - 4, ".lua"))
    return true;
  const char *path = aon_arena_format(&arena, "%s/%s", listing->folder, name);
  if (path)
    take_pack(listing->d, path);
  return true;
}

/* Those that are named, else all in the folders of packs. */
static void take_packs(doctor *d) {
  cli *c = d->c;
  aon_error ignored = AON_ERROR_INIT; /* a folder that can't be listed holds no packs for an import either */
  aon_file_info info;
  for (const char *const *name = (const char *const *)c->values[OPT_PACK]; *name; name++)
    take_pack(d, *name);
  for (const char *const *folder = c->config.packs; !cli_given(c, OPT_PACK) && *folder; folder++) {
    folder_listing listing = {d, *folder};
    if (!c->env->ops->file_info(c->env->context, *folder, &info, &ignored) && info.is_directory &&
        c->env->ops->folder_list(c->env->context, *folder, take_file, &listing, &ignored))
      aon_log(c->env, AON_LOG_WARNING, "%s", ignored.sentence);
  }
}

/* ---- what packs look up ---- */

typedef struct asked { /* the look-ups of a pack in one collection */
  const char *pack, *store;
  const aon_collection *collection;
  aon_buffer properties; /* "email and name"; empty: documents by their ids only */
  const char *within;
} asked;

/* documents < 0: nobody knows how many. */
static aon_result tell_amount(int64_t documents, aon_buffer *report, aon_error *error) {
  return documents < 0 ? aon_buffer_text(report, "all documents", error)
                       : aon_buffer_format(report, error, "about %lld documents", (long long)documents);
}

static aon_result tell_index(const aon_index *index, aon_buffer *report, aon_error *error) {
  if (index->state == AON_INDEX_SERVES)
    return aon_buffer_text(report, "an index serves that\n", error);
  bool few = index->documents >= 0 && index->documents <= DOCTOR_SMALL;
  aon_result result = aon_buffer_text(
      report, few ? "no index serves that, and none is needed for " : "NO index serves that, so each time it reads ", error);
  if (!result)
    result = tell_amount(index->documents, report, error);
  if (!result && !few && index->state == AON_INDEX_MISSING)
    result = aon_buffer_format(report, error, ". Make one: %s", index->text);
  if (!result && index->state == AON_INDEX_POINTLESS)
    result = aon_buffer_format(report, error, ". None would: %s", index->text);
  return result ? result : aon_buffer_text(report, "\n", error);
}

static aon_result tell_key(const asked *a, aon_store *store, aon_buffer *report, aon_error *error) {
  aon_index index;
  aon_result result = aon_store_look_up(store, a->collection, NULL, &index, error);
  if (result || index.state == AON_INDEX_NO_NEED || index.state == AON_INDEX_SERVES)
    return result;
  result = aon_buffer_format(report, error, "%s/%s: pack %s finds documents by %s: ", a->store, a->collection->name, a->pack,
                             a->collection->id_property ? a->collection->id_property : "their ids");
  return result ? result : tell_index(&index, report, error);
}

static aon_result tell_look_up(const cli *c, const asked *a, aon_store *store, aon_buffer *report, aon_error *error) {
  const char *organization = c->config.organization ? c->config.organization : ORGANIZATION;
  aon_match match = {.property = a->within, .value = {organization, strlen(organization)}};
  aon_index index = {.state = AON_INDEX_POINTLESS, .documents = -1, .text = "it looks over all organizations, without regard to case"};
  aon_result result = a->within ? aon_store_look_up(store, a->collection, &match, &index, error) : AON_OK;
  if (result || index.state == AON_INDEX_NO_NEED)
    return result;
  result = aon_buffer_format(report, error, "%s/%s: pack %s looks up %s", a->store, a->collection->name, a->pack, a->properties.data);
  if (!result && a->within)
    result = aon_buffer_format(report, error, " among the documents of an organization, by %s", a->within);
  if (!result)
    result = aon_buffer_text(report, ": ", error);
  return result ? result : tell_index(&index, report, error);
}

/* AON_END: the store can't be asked, so nothing more is. */
static aon_result tell_collection(const cli *c, const asked *a, aon_store *store, aon_buffer *report, aon_error *error) {
  const aon_shape *shape;
  aon_error failure = AON_ERROR_INIT;
  aon_result result = aon_store_describe(store, a->collection, &shape, &failure);
  if (result == AON_REJECTED && !strcmp(failure.code, "unknown_collection"))
    return AON_OK; /* a pack of many may be meant for other stores */
  if (!result && !shape->exists)
    return AON_OK;
  if (!result)
    result = tell_key(a, store, report, &failure);
  if (!result && a->properties.length)
    result = tell_look_up(c, a, store, report, &failure);
  if (!result)
    return AON_OK;
  bool asked_in_vain = result != AON_REJECTED;
  result = aon_buffer_format(report, error, "%s/%s: pack %s: %s\n", a->store, a->collection->name, a->pack, failure.sentence);
  return result ? result : asked_in_vain ? AON_END : AON_OK;
}

static aon_result name_properties(const aon_pack_lookup *lookups, size_t count, asked *a, aon_error *error) {
  aon_result result = AON_OK;
  size_t left = 0, told = 0;
  for (size_t i = 0; i < count; i++)
    left += lookups[i].collection == a->collection;
  for (size_t i = 0; i < count && !result; i++)
    if (lookups[i].collection == a->collection) {
      a->within = lookups[i].within;
      result = aon_buffer_format(&a->properties, error, "%s%s", !told ? "" : told + 1 == left ? " and " : ", ", lookups[i].property);
      told++;
    }
  return result;
}

static aon_result tell_pack(const cli *c, const aon_pack *pack, const char *name, aon_store *store, aon_buffer *report, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const aon_pack_lookup *lookups;
  size_t count, collection_count;
  const aon_collection *const *collections = aon_pack_collections(pack, &collection_count);
  aon_result result = aon_pack_lookups(pack, &arena, &lookups, &count, error);
  for (size_t i = 0; i < collection_count && !result; i++) {
    if (strcmp(collections[i]->store, name))
      continue;
    asked a = {.pack = aon_pack_name(pack), .store = name, .collection = collections[i]};
    result = name_properties(lookups, count, &a, error);
    if (!result)
      result = tell_collection(c, &a, store, report, error);
    aon_buffer_release(&a.properties);
  }
  return result;
}

/* ---- stores ---- */

static aon_result examine_store(const doctor *d, const char *name, aon_buffer *report, bool *ret_healthy, aon_error *error) {
  aon_store *store;
  aon_result result = aon_engine_store_open(d->c->engine, name, &store, error);
  if (result)
    return result;
  static const char *const means[] = {
      "", "prepared transactions", "transactions with a marker", "atomic batches", "conditional writes", "plain writes, best effort"};
  result = aon_buffer_format(report, error, "executes by: class %d, %s\n", (int)aon_store_capabilities(store)->store_class,
                             means[aon_store_capabilities(store)->store_class]);
  if (!result)
    result = aon_store_examine(store, report, ret_healthy, error);
  for (size_t i = 0; i < d->pack_count && !result; i++)
    result = tell_pack(d->c, d->packs[i], name, store, report, error);
  return result == AON_END ? AON_OK : result;
}

static void print_report(cli *c, const char *name, const char *kind, bool healthy, const char *report) {
  AON_BUFFER_CLEANUP aon_buffer line = {0};
  aon_error error = AON_ERROR_INIT;
  if (!cli_given(c, OPT_JSON)) {
    printf("%s%s (%s)\n", name, healthy ? "" : ": something is wrong", kind);
    for (const char *at = report; *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != 0)) {
      fputs("  ", stdout);
      fwrite(at, 1, strcspn(at, "\n"), stdout);
      fputc('\n', stdout);
    }
    return;
  }
  aon_result result = aon_buffer_format(&line, &error, "{\"name\":\"%s\",\"kind\":\"%s\",\"healthy\":%s,\"findings\":[", name, kind,
                                        healthy ? "true" : "false");
  for (const char *at = report; !result && *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != 0)) {
    if (at != report)
      result = aon_buffer_text(&line, ",", &error);
    if (!result)
      result = aon_text_to_json(at, strcspn(at, "\n"), &line, &error);
  }
  if (!result)
    printf("%s]}\n", line.data);
}

static bool tell_journal(cli *c) {
  aon_error error = AON_ERROR_INIT;
  aon_journal *journal;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = true;
  aon_result result = aon_engine_journal(c->engine, false, &journal, &error);
  if (!result)
    result = aon_journal_examine(journal, &report, &healthy, &error);
  print_report(c, "journal", aon_journal_kind(c->config.engine.journal.location), !result && healthy,
               result        ? error.sentence
               : report.data ? report.data
                             : "");
  return !result && healthy;
}

static bool tell_store(const doctor *d, const aon_engine_store *store) {
  aon_error error = AON_ERROR_INIT;
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = true;
  aon_result result = examine_store(d, store->config.name, &report, &healthy, &error);
  print_report(d->c, store->config.name, store->adapter->kind, !result && healthy,
               result        ? error.sentence
               : report.data ? report.data
                             : "");
  return !result && healthy;
}

int cli_doctor(cli *c) {
  int status = 0;
  doctor d = {.c = c};
  if (!cli_prepare(c, &status))
    return status;
  take_packs(&d);
  bool healthy = tell_journal(c);
  for (size_t i = 0; i < c->config.engine.store_count; i++)
    healthy &= tell_store(&d, &c->config.engine.stores[i]);
  if (d.faults.length) {
    print_report(c, "packs", "lua", false, d.faults.data);
    healthy = false;
  }
  for (size_t i = 0; i < d.pack_count; i++)
    aon_pack_close(d.packs[i]);
  aon_buffer_release(&d.faults);
  return !healthy;
}
