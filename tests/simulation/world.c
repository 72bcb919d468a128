/* A world out of choices: what stores there are, what is asked of them, what goes wrong; and how it runs to its end. See sim.h. */
#include <inttypes.h>

#include "sim.h"

#define STEPS_LIMIT 6000u  /* decisions of the scheduler while faults strike; then all becomes quiet */
#define QUIET_LIMIT 60000u /* then it must come to rest within so many */
#define SWEEPS_LIMIT 60
#define SERVED_LIMIT 25 /* sweeps of one that stays when its own work is done */
#define SWEEP_MS 20000
#define LOCK_WAIT_MS 3000
#define KEY "journal.key"

world *W;

/* ---- telling ---- */

void trace(const char *format, ...) {
  if (!W || !W->tracing)
    return;
  const process *p = task_process();
  char text[1400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (p)
    printf("%9.3f  coordinator %d.%lld  %s\n", (double)(W->now_ms - SIM_START_MS) / 1000, p->number, (long long)p->pid, text);
  else
    printf("%9.3f  %-16s %s\n", (double)(W->now_ms - SIM_START_MS) / 1000, "-", text);
}

void violation(const char *format, ...) {
  size_t length = strlen(W->failure);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(W->failure + length, sizeof W->failure - length, format, arguments);
  va_end(arguments);
  length = strlen(W->failure);
  if (length + 2 < sizeof W->failure)
    strcpy(W->failure + length, "\n");
  if (W->tracing)
    printf("VIOLATION: %s", W->failure);
}

int bulk_of(const char *id) {
  for (size_t i = 0; i < W->bulk_count; i++)
    if (!strcmp(W->bulks[i].id, id))
      return (int)i;
  return -1;
}

/* ---- making ---- */

static void make_store(unsigned i) {
  static const uint8_t classes[] = {2, 4, 2, 4, 3, 1, 3, 1, 5, 2};
  simstore *s = &W->stores[i];
  snprintf(s->name, sizeof s->name, "s%u", i);
  static const uint8_t late_classes[] = {4, 4, 4, 5, 3, 1, 2, 2};
  s->memory.store_class = (aon_store_class)(W->late ? late_classes[pick(sizeof late_classes)] : classes[pick(sizeof classes)]);
  bool transactional = s->memory.store_class <= AON_CLASS_TRANSACTION, single = s->memory.store_class >= AON_CLASS_CONDITIONAL;
  if (s->memory.store_class == AON_CLASS_TRANSACTION && pick(3) == 2) {
    s->sqlite = true;
    bool taken = false;
    for (unsigned k = 0; k < i; k++)
      taken = taken || !strcmp(W->stores[k].path, SIM_JOURNAL);
    snprintf(s->path, sizeof s->path, "%s", pick(4) == 3 && !taken ? SIM_JOURNAL : s->name);
    W->cold = W->cold || !strcmp(s->path, SIM_JOURNAL); /* its schema is another one then */
  }
  s->memory.one_writer = s->memory.store_class == AON_CLASS_TRANSACTION && pick(4) == 3;
  s->memory.tokens = !transactional && s->memory.store_class != AON_CLASS_PLAIN && pick(2);
  s->memory.drop_empty = pick(4) == 3;
  s->memory.transaction_ms = transactional && pick(5) == 4 ? 4000 : 0;
  s->memory.batch_operations = pick(3) ? 0 : 1 + pick(3);
  if (transactional)
    s->memory.batch_operations = 0;
  s->memory.prepare_slots = s->memory.store_class == AON_CLASS_PREPARED && pick(4) == 3 ? 1 : 0;
  s->memory.cannot_undo = single && pick(10) == 9;
  if (!s->sqlite && pick(8) == 7)
    snprintf(s->other_name, sizeof s->other_name, "t%u", i);
  s->config =
      (aon_store_config){.name = s->name, .location = s->path, .create = true, .horizon_ms = 3000, .timeout_ms = 1000, .options = s};
  s->config.watch_ms = 120000;
  s->config.stamp = single && pick(2);
  s->config.void_stamp = single && pick(3) == 2;
  s->doc_count = 1 + pick(W->busy ? 2 : SIM_DOCS - 1);
  for (unsigned k = 0; k < s->doc_count; k++) {
    doc *d = &s->docs[k];
    snprintf(d->id, sizeof d->id, "d%u", k);
    d->now.there = pick(4) != 3;
    for (int p = 0; d->now.there && p < SIM_PROPERTIES; p++)
      if (p == 0 || pick(3))
        snprintf(d->now.p[p], sizeof d->now.p[p], "I%u%u%d", i, k, p);
  }
}

static const char *verb_name(verb v) {
  static const char *const names[] = {"update", "upsert", "replace", "create", "delete"};
  return names[v];
}

/* What a line would do to a document that is like this one; false: it would be refused. */
static bool line_fits(const line *l, bool there) { return l->verb == V_UPSERT || there == (l->verb != V_CREATE); }

static void make_lines(int number, bulk *b) {
  bool there[SIM_STORES][SIM_DOCS];
  for (size_t s = 0; s < W->store_count; s++)
    for (size_t d = 0; d < W->stores[s].doc_count; d++)
      there[s][d] = W->stores[s].docs[d].now.there;
  int count = 1 + (int)pick(SIM_LINES);
  for (int i = 0; i < count; i++) {
    line *l = &b->lines[i];
    l->store = (int)pick((uint32_t)W->store_count);
    l->doc = (int)pick((uint32_t)W->stores[l->store].doc_count);
    l->property = (int)pick(SIM_PROPERTIES);
    static const verb verbs[] = {V_UPDATE, V_UPSERT, V_UPDATE, V_REPLACE, V_DELETE, V_CREATE};
    l->verb = verbs[pick(6)];
    bool *is_there = &there[l->store][l->doc];
    if (!line_fits(l, *is_there) && pick(16) != 15)
      l->verb = *is_there ? V_UPDATE : V_CREATE;
    *is_there = l->verb != V_DELETE;
    snprintf(l->tag, sizeof l->tag, "B%d.%d", number, i);
  }
  b->line_count = count;
}

/* Of a database with two names each document is always named by the same one: the journal's locks know only names (README, holes). */
static const char *name_for(const simstore *s, int d) { return s->other_name[0] && d % 2 ? s->other_name : s->name; }

static void write_lines(const bulk *b) {
  char text[4096];
  size_t length = 0;
  for (int i = 0; i < b->line_count; i++) {
    const line *l = &b->lines[i];
    const simstore *s = &W->stores[l->store];
    const char *name = name_for(s, l->doc);
    length +=
        (size_t)snprintf(text + length, sizeof text - length, "{\"store\":\"%s\",\"collection\":\"c\",\"id\":\"%s\",\"operation\":\"%s\"",
                         name, s->docs[l->doc].id, verb_name(l->verb));
    if (l->verb != V_DELETE)
      length += (size_t)snprintf(text + length, sizeof text - length, ",\"data\":{\"p%d\":\"%s\"}", l->property, l->tag);
    length += (size_t)snprintf(text + length, sizeof text - length, "}\n");
  }
  disk_write_file(W->disk, b->path, text);
}

static void make_bulk(unsigned i) {
  bulk *b = &W->bulks[i];
  *b = (bulk){.undoes = -1, .same_as = -1, .owner = -1, .told = AON_STATE_COUNT};
  snprintf(b->id, sizeof b->id, "00000000-0000-4000-8000-%012x", i + 1);
  snprintf(b->path, sizeof b->path, "in%u", i);
  uint32_t how = i ? pick(8) : 0;
  if (how == 7) { /* the same again, under another id */
    b->same_as = (int)pick(i);
    bulk *first = &W->bulks[b->same_as];
    if (first->undoes < 0 && first->same_as < 0) {
      snprintf(first->key, sizeof first->key, "key%d", b->same_as);
      memcpy(b->key, first->key, sizeof b->key);
      memcpy(b->lines, first->lines, sizeof b->lines);
      b->line_count = first->line_count;
      b->hold = first->hold;
      write_lines(b);
      return;
    }
    b->same_as = -1;
  }
  if (how == 6 || how == 5) {
    b->undoes = (int)pick(i);
    b->first = pick(3) == 2 ? (int64_t)pick(SIM_LINES / 2) : -1;
    b->last = b->first < 0 ? -1 : b->first + pick(SIM_LINES / 2);
    if (W->bulks[b->undoes].same_as < 0)
      return;
    b->undoes = -1;
  }
  b->hold = pick(6) == 5;
  b->dry = pick(12) == 11;
  make_lines((int)i, b);
  write_lines(b);
}

static void make_script(process *p) {
  p->command_count = 2 + (int)pick(SIM_COMMANDS - 2);
  for (int i = 0; i < p->command_count; i++) {
    static const command_kind kinds[] = {C_APPLY, C_READ, C_APPLY,   C_READ,  C_RECOVER, C_RESUME, C_ROLLBACK, C_CANCEL,
                                         C_SLEEP, C_READ, C_RESOLVE, C_APPLY, C_LOCK,    C_ROTATE, C_RECOVER};
    static const command_kind busy[] = {C_APPLY, C_READ, C_READ, C_APPLY, C_READ};
    command *c = &p->commands[i];
    c->kind = W->busy ? busy[pick(sizeof busy / sizeof *busy)] : kinds[pick(sizeof kinds / sizeof *kinds)];
    if (c->kind == C_ROTATE && pick(4))
      c->kind = C_READ;
    c->choice = c->kind == C_RESOLVE ? (int)pick(3) : 0;
    c->bulk = (int)pick((uint32_t)W->bulk_count);
    if (c->kind == C_APPLY && W->bulks[c->bulk].undoes >= 0)
      c->kind = C_UNDO;
    c->store = (int)pick((uint32_t)W->store_count);
    c->doc = (int)pick((uint32_t)W->stores[c->store].doc_count);
    if (i && p->commands[i - 1].kind == C_APPLY && W->bulks[p->commands[i - 1].bulk].hold && pick(2)) { /* a person decides */
      c->kind = pick(3) ? C_RESUME : C_ROLLBACK;
      c->bulk = p->commands[i - 1].bulk;
    }
  }
}

static aon_env_ops ops;

static void make_process(size_t i) {
  process *p = &W->processes[i];
  static const int64_t leases[] = {30000, 8000};
  uint64_t reserve = W->enabled[F_DISK_FULL] && pick(3) == 2 ? 12288 : 0;
  p->number = (int)i;
  p->bulk = -1;
  p->env = (aon_env){.ops = &ops, .context = p, .log_level = pick(16) == 15 ? AON_LOG_INFO : AON_LOG_ERROR, .vfs = disk_vfs_name};
  p->config = (aon_engine_config){
      .journal = {.location = SIM_JOURNAL, .key_file = KEY, .lease_ms = leases[W->stolen ? 1 : pick(2)], .reserve_bytes = reserve},
      .hold_ms = pick(3) == 2 ? 1 : 10000,
      .hold_until_ms = 60000,
      .give_up_ms = W->gives_up ? 15000 : 0,
      .batch = 1 + pick(4),
      .test_rollback_at = pick(W->late ? 2 : 5) == (W->late ? 1 : 4) ? (int64_t)pick(SIM_LINES) : -1,
      .test_user_index = -1,
      .test_dept_index = -1,
      .test_site_index = -1,
      .test_schedule_index = -1};
  make_script(p);
  p->serves = W->stolen || pick(2);
}

/* Each world has some kinds of faults only, each as often as it likes: what seldom meets in a world with all of them meets in another. */
static void make_faults(void) {
  static const uint32_t rates[] = {10, 40, 120, 300};
  for (int kind = 0; kind < F_KINDS; kind++) {
    bool at_calls = kind == F_LOSE_REPLY || kind == F_DELAY || kind == F_LOSE;
    W->enabled[kind] = at_calls ? pick(2) : pick(3) == 2;
    W->rate[kind] = rates[pick(4)];
  }
  if (pick(4) == 3) { /* one kind alone goes further than all together */
    int only = (int)pick(F_KINDS);
    for (int kind = 0; kind < F_KINDS; kind++)
      W->enabled[kind] = kind == only;
    W->rate[only] = rates[2 + pick(2)];
  }
  W->late = pick(5) == 4;
  if (W->late) { /* requests that outlive their bulk operation, and little else */
    for (int kind = 0; kind < F_KINDS; kind++)
      W->enabled[kind] = kind == F_DELAY || ((kind == F_CRASH || kind == F_FREEZE || kind == F_AWAY) && pick(3) == 2);
    W->rate[F_DELAY] = 300;
  }
  uint32_t special = W->late ? 0 : pick(8);
  W->busy = special == 6;
  W->stolen = special == 7;
  for (int kind = 0; W->busy && kind < F_KINDS; kind++)
    W->enabled[kind] = W->enabled[kind] && (kind == F_SLOW || kind == F_CRASH || kind == F_FREEZE) && pick(3) == 2;
  if (W->stolen) { /* one that wakes up while another one works on */
    for (int kind = 0; kind < F_KINDS; kind++)
      W->enabled[kind] =
          kind == F_FREEZE || (W->enabled[kind] && (kind == F_SLOW || kind == F_DELAY || kind == F_LOSE_REPLY || kind == F_AWAY));
    W->rate[F_FREEZE] = 40;
  }
  W->enabled[F_FOREIGN] = (W->enabled[F_FOREIGN] || pick(2)) && !W->busy;
  W->foreign_left = W->enabled[F_FOREIGN] ? 1 + pick(12) : 0;
  W->beyond_horizon = W->enabled[F_DELAY] && pick(4) == 3;
  static const uint32_t quanta[] = {400, 100, 25, 8, 1500};
  W->quantum = quanta[pick(5)];
}

static void make_world(const disk *journal) {
  bool fresh = W->fresh = pick(24) == 23;
  W->disk = fresh || !journal ? disk_new() : disk_copy(journal);
  W->disk_faults.free_bytes = -1;
  W->now_ms = SIM_START_MS;
  W->next_pid = 100;
  W->random = 88172645463325252u + pick(1u << 16);
  W->several_hosts = pick(3) == 2;
  W->cold = pick(16) == 15;
  make_faults();
  W->store_count = 1 + pick(W->busy ? 2 : 3);
  for (unsigned i = 0; i < W->store_count; i++)
    make_store(i);
  for (unsigned i = 0; i < W->store_count; i++) /* a journal that is not there yet can't hold a store */
    if (fresh && W->stores[i].sqlite && !strcmp(W->stores[i].path, SIM_JOURNAL))
      snprintf(W->stores[i].path, sizeof W->stores[i].path, "s%u", i);
  for (size_t i = 0; i < W->store_count; i++)
    witness_make_store(&W->stores[i]);
  W->bulk_count = W->busy ? 4 : 1 + pick(4);
  for (unsigned i = 0; i < W->bulk_count; i++)
    make_bulk(i);
  W->gives_up = pick(8) == 7;
  W->process_count = W->busy ? SIM_PROCESSES : W->stolen ? 2 + pick(SIM_PROCESSES - 1) : 1 + pick(SIM_PROCESSES);
  for (size_t i = 0; i < W->process_count; i++)
    make_process(i);
  if (W->enabled[F_MACHINE])
    disk_track(W->disk);
}

/* ---- what a coordinator does ---- */

static void open_engine(process *p) {
  static aon_engine_store stores[2 * SIM_STORES];
  size_t count = 0;
  for (size_t i = 0; i < W->store_count; i++) {
    simstore *s = &W->stores[i];
    stores[count++] = (aon_engine_store){.adapter = &witness_adapter, .config = s->config};
    if (s->other_name[0]) {
      stores[count] = stores[count - 1];
      stores[count++].config.name = s->other_name;
    }
  }
  p->config.stores = stores;
  p->config.store_count = count;
  aon_error error = AON_ERROR_INIT;
  p->engine = NULL;
  while (aon_engine_open(&p->env, &p->config, &p->engine, &error))
    sim_sleep(100);
}

static aon_run_options options_of(const bulk *b) {
  aon_run_options options = {.organization = "default", .user = "ann", .lock_wait_ms = LOCK_WAIT_MS};
  if (b) {
    options.id = b->id;
    options.hold_on_failure = b->hold;
    options.dry_run = b->dry;
    options.idempotency_key = b->key[0] ? b->key : NULL;
  }
  return options;
}

static void told(bulk *b, aon_result result, const aon_outcome *outcome, const aon_error *error) {
  int which = bulk_of(outcome->bulk_id);
  trace("bulk %d: told %s, %s%s %s", (int)(b - W->bulks), result ? aon_result_name(result) : "ok", aon_state_name(outcome->state),
        outcome->repeated ? " (first result)" : "", result ? error->sentence : outcome->failure.message);
  if (result || which < 0 || !aon_state_terminal(outcome->state))
    return;
  W->bulks[which].told = outcome->state;
  W->bulks[which].told_count++;
  W->bulks[which].told_failed = W->bulks[which].told_failed || strstr(aon_state_name(outcome->state), "_failed");
}

static void command_apply(process *p, bulk *b) {
  aon_outcome outcome = {0};
  aon_error error = AON_ERROR_INIT;
  aon_run_options options = options_of(b);
  b->submitted = true;
  aon_result result = aon_apply(p->engine, NULL, b->path, &options, &outcome, &error);
  told(b, result, &outcome, &error);
  aon_outcome_release(&outcome);
}

static void command_undo(process *p, bulk *b) {
  aon_undo_options what = {.first = b->first, .last = b->last};
  aon_outcome outcome = {0};
  aon_error error = AON_ERROR_INIT;
  aon_run_options options = options_of(b);
  b->submitted = true;
  aon_result result = aon_undo(p->engine, W->bulks[b->undoes].id, &what, &options, &outcome, &error);
  told(b, result, &outcome, &error);
  aon_outcome_release(&outcome);
}

static void command_on(process *p, const command *c) {
  aon_outcome outcome = {0};
  aon_error error = AON_ERROR_INIT;
  aon_run_options options = options_of(NULL);
  bulk *b = &W->bulks[c->bulk];
  aon_result result = c->kind == C_RESUME     ? aon_resume(p->engine, b->id, &options, &outcome, &error)
                      : c->kind == C_ROLLBACK ? aon_rollback(p->engine, b->id, &options, &outcome, &error)
                                              : aon_cancel(p->engine, b->id, &options, &outcome, &error);
  told(b, result, &outcome, &error);
  aon_outcome_release(&outcome);
}

static void command_read(process *p, const command *c) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_image image = {0};
  bson_t view;
  aon_error error = AON_ERROR_INIT;
  simstore *s = &W->stores[c->store];
  doc *d = &s->docs[c->doc];
  aon_collection collection = {.store = name_for(s, c->doc), .name = "c"};
  uint64_t began = ++W->number;
  aon_result result =
      aon_document_get(p->engine, &collection, (aon_text){d->id, strlen(d->id)}, AON_READ_COMMITTED, 0, &arena, &image, NULL, &error);
  if (result) {
    trace("read %s/%s: %s", s->name, d->id, error.sentence);
    return;
  }
  bool before = world_enter();
  sight *seen = calloc(1, sizeof *seen);
  *seen = (sight){.next = W->sights, .store = c->store, .doc = c->doc, .began = began, .ended = ++W->number};
  if (image.bson && aon_image_view(&image, &view))
    seen->seen = value_from(&view);
  W->sights = seen;
  W->counts.committed_reads++;
  world_leave(before);
  char text[128];
  value_print(&seen->seen, text);
  trace("read %s/%s: %s", s->name, d->id, text);
}

static void command_recover(process *p) {
  aon_error error = AON_ERROR_INIT;
  aon_run_options options = options_of(NULL);
  if (aon_housekeep(p->engine, &options, &error))
    trace("housekeeping: %s", error.sentence);
}

/* A person looks at the documents that are named, and chooses. From then on they are as the person wanted them. */
static void command_resolve(process *p, const command *c) {
  static const char merged[] = "{\"p0\":\"M\"}";
  aon_outcome outcome = {0};
  aon_error error = AON_ERROR_INIT;
  aon_run_options options = options_of(NULL);
  bulk *b = &W->bulks[c->bulk];
  for (size_t i = 0; i < W->bulk_count && b->told != AON_ROLLBACK_FAILED && b->told != AON_COMMIT_FAILED; i++)
    b = &W->bulks[i]; /* one that a person was told of */
  if (b->told != AON_ROLLBACK_FAILED && b->told != AON_COMMIT_FAILED)
    return;
  const bulk *of = b->undoes < 0 ? b : &W->bulks[b->undoes];
  const line *one = &of->lines[c->doc % (of->line_count ? of->line_count : 1)];
  char name[80] = "all";
  if (c->choice == AON_MERGE)
    snprintf(name, sizeof name, "%s/c/%s", name_for(&W->stores[one->store], one->doc), W->stores[one->store].docs[one->doc].id);
  for (int i = 0; i < of->line_count; i++)
    if (c->choice != AON_MERGE || &of->lines[i] == one)
      W->stores[of->lines[i].store].docs[of->lines[i].doc].decided = true;
  aon_result result =
      aon_resolve(p->engine, b->id, name, (aon_choice)c->choice, c->choice == AON_MERGE ? merged : NULL, &options, &outcome, &error);
  W->counts.resolved += !result;
  told(b, result, &outcome, &error);
  aon_outcome_release(&outcome);
}

/* Holds a lock of a document for a while; bulk operations keep off it meanwhile (the witness looks). */
static void command_lock(process *p, const command *c) {
  simstore *s = &W->stores[c->store];
  doc *d = &s->docs[c->doc];
  char name[80], holder[24];
  aon_journal *journal;
  aon_error error = AON_ERROR_INIT;
  int64_t epoch, asked = W->now_ms;
  snprintf(name, sizeof name, "document:%s/c/%s", name_for(s, c->doc), d->id);
  snprintf(holder, sizeof holder, "p%lld", (long long)p->pid);
  aon_result result = aon_engine_journal(p->engine, true, &journal, &error);
  if (!result)
    result = aon_journal_lock(journal, name, holder, false, 5000, &epoch, &error);
  trace("lock %s: %s", name, result ? error.sentence : "ok");
  if (result)
    return;
  W->counts.locks++;
  if (d->locked_by_name && W->now_ms < d->lock_until_ms && !W->enabled[F_CLOCK])
    violation("%s was locked twice", name);
  d->locked_by_name = !W->enabled[F_CLOCK] && !W->enabled[F_MACHINE]; /* whose wall clock goes on evenly */
  d->lock_until_ms = asked + 5000;
  sim_sleep(1000);
  d->locked_by_name = false;
  result = aon_journal_unlock(journal, name, holder, epoch, &error);
  trace("unlock %s: %s", name, result ? error.sentence : "ok");
}

static void command_rotate(process *p) {
  aon_journal *journal;
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_engine_journal(p->engine, true, &journal, &error);
  if (!result)
    result = aon_journal_rotate_key(journal, &error);
  W->counts.rotations += !result;
  trace("a new key: %s", result ? error.sentence : "ok");
}

static void command_run(process *p, const command *c) {
  switch (c->kind) {
  case C_RESOLVE:
    command_resolve(p, c);
    break;
  case C_LOCK:
    command_lock(p, c);
    break;
  case C_ROTATE:
    command_rotate(p);
    break;
  case C_APPLY:
    command_apply(p, &W->bulks[c->bulk]);
    break;
  case C_UNDO:
    command_undo(p, &W->bulks[c->bulk]);
    break;
  case C_READ:
    command_read(p, c);
    break;
  case C_RECOVER:
    command_recover(p);
    break;
  case C_SLEEP:
    sim_sleep(1000);
    break;
  default:
    command_on(p, c);
  }
}

static bool others_live(const process *p) {
  for (size_t i = 0; i < W->process_count; i++)
    if (&W->processes[i] != p && (W->processes[i].alive || W->processes[i].at < W->processes[i].command_count))
      return true;
  return false;
}

static void live(process *p) {
  open_engine(p);
  while (p->at < p->command_count) {
    trace("command %d", p->at);
    command_run(p, &p->commands[p->at]);
    p->at++;
  }
  for (int i = 0; p->serves && !W->quiet && i < SERVED_LIMIT && others_live(p); i++) {
    sim_sleep(4000);
    command_recover(p);
  }
  aon_engine_close(p->engine);
}

/* Where a store was out of reach for too long, a person has all of it tried again. */
static void try_given_up(process *p) {
  for (size_t i = 0; i < W->bulk_count; i++)
    command_on(p, &(command){.kind = C_ROLLBACK, .bulk = (int)i});
}

/* In the end: housekeeping again and again, until all is at rest. */
static void sweep(process *p) {
  open_engine(p);
  if (W->gives_up)
    try_given_up(p);
  for (p->sweeps = 0; !W->at_rest && p->sweeps < SWEEPS_LIMIT; p->sweeps++) {
    command_recover(p);
    sim_sleep(SWEEP_MS);
  }
  aon_engine_close(p->engine);
}

static void once(process *p) {
  open_engine(p);
  command_recover(p);
  aon_engine_close(p->engine);
}

/* ---- life and death ---- */

static void bear(process *p, void (*run)(process *)) {
  p->pid = W->next_pid++;
  snprintf(p->boot, sizeof p->boot, "00000000-0000-4000-8000-%06d%06d", W->several_hosts ? p->number : 0, W->boots);
  p->alive = true;
  p->stores = NULL;
  p->bulk = -1;
  p->task = task_new(p, run);
  trace("coordinator %d.%lld starts", p->number, (long long)p->pid);
}

static void bury(process *p) {
  p->alive = false;
  witness_process_crash(p);
  task_kill(p->task);
  p->task = NULL;
  p->at += (int)pick(2); /* whoever started it tries the same again, or goes on with the next */
  p->restart_ms = W->now_ms + 1 + pick(20000);
}

static void crash(process *p) {
  W->counts.crashes++;
  trace("coordinator %d.%lld is killed", p->number, (long long)p->pid);
  bury(p);
}

static void machine_crash(void) {
  W->counts.machine_crashes++;
  W->boots++;
  trace("the machine dies");
  disk_machine_crash(W->disk);
  for (size_t i = 0; i < W->store_count; i++)
    W->stores[i].eye = NULL; /* its handles went with the machine */
  for (size_t i = 0; i < W->process_count; i++)
    if (W->processes[i].alive)
      bury(&W->processes[i]);
  witness_machine_crash();
}

/* ---- faults that strike between the calls ---- */

static void strike(fault kind) {
  process *victim = &W->processes[pick((uint32_t)W->process_count)];
  simstore *store = &W->stores[pick((uint32_t)W->store_count)];
  switch (kind) {
  case F_CRASH:
    if (victim->alive)
      crash(victim);
    break;
  case F_MACHINE:
    machine_crash();
    break;
  case F_FREEZE:
    if (victim->alive) {
      static const uint32_t about[] = {1, 7000, 29000, 50000}; /* some a little longer than a lease */
      int64_t ms = about[pick(4)] + pick(6000);
      W->counts.freezes++;
      trace("coordinator %d is frozen for %lld ms", victim->number, (long long)ms);
      task_freeze(victim->task, W->now_ms + ms);
    }
    break;
  case F_AWAY:
    store->away_until_ms = W->now_ms + 1 + pick(20000);
    trace("%s is out of reach for %lld ms", store->name, (long long)(store->away_until_ms - W->now_ms));
    break;
  case F_STORE_RESTART:
    if (!store->sqlite)
      witness_restart_store(store);
    break;
  case F_CLOCK:
    W->wall_ahead_ms += pick(2) ? (int64_t)pick(100000) : -(int64_t)pick(100000);
    W->counts.clock_jumps++;
    trace("the clock jumps: %lld ms ahead now", (long long)W->wall_ahead_ms);
    break;
  case F_ALLOCATION:
    heap_fail_in(1 + pick(200));
    break;
  case F_DISK_ERROR:
    W->disk_faults.fail_in = 1 + pick(60);
    break;
  case F_DISK_FULL:
    W->disk_faults.free_bytes = W->disk_faults.free_bytes < 0 ? (int64_t)pick(30000) : -1;
    trace("the disk has %lld bytes left", (long long)W->disk_faults.free_bytes);
    break;
  default:
    break;
  }
}

static void inject(void) {
  static const fault kinds[] = {F_CRASH, F_MACHINE, F_FREEZE, F_AWAY, F_STORE_RESTART, F_CLOCK, F_ALLOCATION, F_DISK_ERROR, F_DISK_FULL};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (W->enabled[kinds[i]] && chance(W->rate[kinds[i]] / 4 + 1))
      strike(kinds[i]);
  if (W->enabled[F_FOREIGN] && W->foreign_left && chance(W->rate[F_FOREIGN]))
    foreign_write();
}

/* ---- the scheduler ---- */

static size_t runnable(process *found[SIM_PROCESSES], int64_t *ret_next_ms) {
  size_t count = 0;
  *ret_next_ms = witness_next_event_ms();
  for (size_t i = 0; i < W->process_count; i++) {
    process *p = &W->processes[i];
    int64_t at = p->alive ? task_wakes_ms(p->task) : p->at < p->command_count ? p->restart_ms : INT64_MAX;
    if (p->alive && at <= W->now_ms)
      found[count++] = p;
    else if (at < *ret_next_ms)
      *ret_next_ms = at;
  }
  return count;
}

static void finish(process *p) {
  p->alive = false;
  if (p->stores)
    violation("coordinator %d closed its engine and left a store open", p->number);
  task_kill(p->task);
  p->task = NULL;
}

static bool turn(void) {
  process *ready[SIM_PROCESSES];
  int64_t next;
  for (size_t i = 0; i < W->process_count; i++) {
    process *p = &W->processes[i];
    if (!p->alive && p->at < p->command_count && p->restart_ms <= W->now_ms)
      bear(p, live);
  }
  witness_events();
  if (!W->quiet)
    inject();
  size_t count = runnable(ready, &next);
  if (!count) {
    if (next == INT64_MAX)
      return false;
    W->now_ms = next > W->now_ms ? next : W->now_ms + 1;
    return true;
  }
  process *p = ready[pick((uint32_t)count)];
  task_resume(p->task, W->quiet ? W->quantum : 1 + pick(W->quantum));
  W->now_ms += 1;
  if (task_done(p->task))
    finish(p);
  return true;
}

static void calm(void) {
  W->quiet = true;
  W->disk_faults = (disk_faults){.free_bytes = -1};
  heap_fail_in(0);
  for (size_t i = 0; i < W->store_count; i++)
    W->stores[i].away_until_ms = 0;
  trace("from here on nothing goes wrong any more");
}

/* Turns until nothing is left to do. */
static bool run_out(uint32_t limit) {
  for (uint32_t i = 0; turn(); i++)
    if (i == limit)
      return false;
  return true;
}

/* ---- what the journal has, by its rows ---- */

sqlite3 *journal_eye(void) {
  if (!W->eye && sqlite3_open_v2(SIM_JOURNAL, &W->eye, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, disk_vfs_name))
    abort();
  return W->eye;
}

static int64_t journal_number(const char *sql) {
  sqlite3_stmt *statement;
  int64_t number = -1;
  if (!sqlite3_prepare_v2(journal_eye(), sql, -1, &statement, NULL)) {
    if (sqlite3_step(statement) == SQLITE_ROW)
      number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
  }
  return number;
}

static bool at_rest(void) {
  return journal_number(
             "select (select count(*) from bulk where state not in ('committed', 'planned', 'rejected', 'cancelled', 'rolled_back', 'undone',"
             " 'rollback_failed', 'undo_failed', 'commit_failed')) + (select count(*) from conflicts where watched = 1)") == 0;
}

static void come_to_rest(void) {
  calm();
  if (!run_out(QUIET_LIMIT))
    violation("it does not come to rest: a coordinator never ends its work");
  if (W->failure[0])
    return;
  process *p = &W->processes[0];
  W->now_ms += SWEEP_MS;
  bear(p, sweep);
  int judged = 0;
  for (uint32_t i = 0; turn(); i++) {
    if (p->alive && p->sweeps > judged) { /* it sleeps between two sweeps */
      judged = p->sweeps;
      W->at_rest = at_rest();
    }
    if (i == QUIET_LIMIT) {
      violation("it does not come to rest: housekeeping never ends");
      return;
    }
  }
  if (!W->at_rest)
    violation("it does not come to rest: after %d sweeps some bulk operation is not at its end, or still watched", judged);
}

/* ---- is every document free that nobody has to decide about? ---- */

static void probe(process *p) {
  bulk *b = &W->bulks[W->bulk_count - 1];
  open_engine(p);
  command_apply(p, b);
  if (b->told != AON_COMMITTED)
    violation("when all was at rest a bulk operation over free documents did not commit: some lock was left, or some store is blocked");
  aon_engine_close(p->engine);
}

static void try_locks(void) {
  bulk *b = &W->bulks[W->bulk_count++];
  *b = (bulk){.undoes = -1, .same_as = -1, .owner = -1, .told = AON_STATE_COUNT};
  snprintf(b->id, sizeof b->id, "00000000-0000-4000-8000-00000000ffff");
  snprintf(b->path, sizeof b->path, "probe");
  for (size_t s = 0; s < W->store_count; s++)
    for (size_t d = 0; d < W->stores[s].doc_count && b->line_count < SIM_LINES; d++) {
      if (oracle_in_conflict((int)s, (int)d))
        continue;
      line *l = &b->lines[b->line_count];
      *l = (line){.verb = V_UPSERT, .store = (int)s, .doc = (int)d, .property = 0};
      snprintf(l->tag, sizeof l->tag, "B%zu.%d", W->bulk_count - 1, b->line_count++);
    }
  if (!b->line_count ||
      journal_number("select count(*) from named_locks") > 0) { /* every document waits for a person, or some are locked */
    W->bulk_count--;
    return;
  }
  write_lines(b);
  process *p = &W->processes[0];
  p->config.test_rollback_at = -1;
  bear(p, probe);
  if (!run_out(QUIET_LIMIT))
    violation("it does not come to rest: a last bulk operation never ends");
}

void world_run(const disk *journal) {
  ops = sim_env_ops();
  witness_begin();
  make_world(journal);
  for (size_t i = 0; i < W->process_count; i++)
    W->processes[i].restart_ms = W->now_ms + pick(50);
  run_out(STEPS_LIMIT);
  come_to_rest();
  if (!W->failure[0] && pick(3) == 2)
    try_locks();
  if (!W->failure[0])
    oracle_judge();
}

/* ---- a journal that was just made, so that not each world makes one ---- */

/* The journal itself notes each state that a row gets, and each new epoch, in the transaction that gives it, and which process wrote it. */
static const char note_arrows[] =
    "create table simulated_arrows (number integer primary key autoincrement, id text, state text, by integer);"
    "create trigger simulated_first after insert on bulk begin"
    " insert into simulated_arrows (id, state, by) values (new.id, new.state, simulated_process()); end;"
    "create trigger simulated_claim after update of epoch on bulk when old.epoch <> new.epoch begin"
    " insert into simulated_arrows (id, state, by) values (new.id, '', simulated_process()); end;"
    "create trigger simulated_next after update of state on bulk when old.state <> new.state begin"
    " insert into simulated_arrows (id, state, by) values (new.id, new.state, simulated_process()); end;";

/* Whose rows are few: most of the time would go into checksums of empty space. Worlds with a fresh journal have pages as it makes them. */
static const char small_pages[] = "pragma journal_mode=delete; pragma page_size=1024; vacuum; pragma journal_mode=wal";

disk *world_journal(void) {
  ops = sim_env_ops();
  witness_begin();
  W->disk = disk_new();
  W->disk_faults.free_bytes = -1;
  W->now_ms = SIM_START_MS;
  W->quiet = true;
  W->quantum = 1000;
  W->process_count = 1;
  make_process(0);
  W->processes[0].command_count = 0;
  W->at_rest = true;
  bear(&W->processes[0], once);
  run_out(QUIET_LIMIT);
  if (sqlite3_exec(journal_eye(), note_arrows, NULL, NULL, NULL) || sqlite3_exec(W->eye, small_pages, NULL, NULL, NULL))
    abort();
  sqlite3_close(W->eye);
  return W->disk;
}
