/* What the files of the simulator share. README.md beside it says what it does and why.
 *
 * One seed is one world: a disk, stores, processes that run the real coordinator as coroutines, and a history of every change that a store
 * took. Everything that could go one way or another is asked of the stream of choices, so that the stream alone fixes the run.
 *
 * Invariants:
 *  - nothing here calls a clock, a random source or a file of the machine while a world runs;
 *  - 0 is always the tamest choice (no fault, go on with the same one), so that a stream shrinks towards a short, quiet run;
 *  - the oracle reads the history, the stores and the journal's rows, never the coordinator. */
#ifndef AON_TESTS_SIMULATION_SIM_H
#define AON_TESTS_SIMULATION_SIM_H

#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/engine.h"
#include "store/memory.h"

#define SIM_STORES 4
#define SIM_DOCS 5
#define SIM_PROPERTIES 3
#define SIM_BULKS 6 /* the last one for the probe in the end */
#define SIM_LINES 8
#define SIM_PROCESSES 3
#define SIM_COMMANDS 12
#define SIM_JOURNAL "journal.db"
#define SIM_START_MS 1000000
#define SIM_EPOCH_MS 1900000000000 /* wall clock at SIM_START_MS */

/* ---- choices (choice.c) ---- */
void choice_seed(uint64_t seed);
void choice_replay(const uint32_t *values, size_t count); /* beyond the end every choice is 0 */
uint32_t pick(uint32_t n);                                /* 0 … n - 1, 0 the tamest */
bool chance(uint32_t in_1000);
const uint32_t *choice_made(size_t *ret_count);

/* ---- memory (heap.c): who owns what the code under test allocates ---- */
#define HEAP_WORLD 0 /* lives until the world ends; tasks own what bears their number */
void heap_drop(int owner);
void heap_drop_all(void);
void heap_fail_in(uint32_t n); /* the n-th allocation from now of whoever runs fails; 0: none */
bool heap_fails_soon(void);
int heap_sqlite_config(void);
#define HEAP_STILLS 8
void heap_still_begin(int which); /* what SQLite allocates from now on belongs to this still */
void heap_still_end(void);
void heap_still_restore(int which);   /* as it was at its end */
int heap_still_of(const void *block); /* -1: of none */

/* ---- the disk (disk.c) ---- */
typedef struct disk disk;
disk *disk_new(void);
disk *disk_copy(const disk *from); /* what is there now, all of it durable */
void disk_track(disk *d);          /* from now on it is known what is not durable yet */
void disk_machine_crash(disk *d);  /* every unsynced change is kept, lost or torn, each by itself */
void disk_process_crash(disk *d, int owner);
void disk_write_file(disk *d, const char *path, const char *text);
void disk_env_ops(aon_env_ops *ops);                   /* its part of the environment */
#define DISK_WHICH_FILE 7700                           /* sqlite3_file_control: the file of this disk, below any layer of the program */
void disk_adopt(sqlite3_file *file, const char *path); /* a handle that was open is one of this world, and of who asks */
bool disk_fails_next(void);
void disk_unlog(disk *d, const char *path); /* marks a database as one that has no log */
void disk_register(void);                   /* the SQLite file system "simulated" */
extern const char *const disk_vfs_name;
typedef struct disk_faults { /* counted down by the calls of tasks; 0: never */
  uint32_t fail_in;
  int64_t free_bytes; /* < 0: no limit */
} disk_faults;

/* ---- connections to the journal that are there already (warm.c) ---- */
void warm_listen(char *texts, size_t size); /* from now on statements of the journal are noted here, and none are lent */
void warm_make(disk *journal, const char *texts);
void warm_drop(int owner); /* < 0: all */

/* ---- values and history (history.c) ---- */
typedef struct value {        /* a document, as the oracle knows it */
  bool there, odd;            /* odd: holds something that nobody wrote */
  char p[SIM_PROPERTIES][32]; /* "": missing */
  char stamp[44];
} value;

typedef enum hand { BY_FOREIGN, BY_FORWARD, BY_BACK, BY_NOBODY } hand;

typedef struct entry { /* a change that a store took */
  struct entry *next;
  int64_t at_ms, sent_ms;
  uint64_t number;
  hand hand;
  int bulk, process;
  bool late;    /* the request had been given up by its sender */
  bool expired; /* its sender had lost its lease by then */
  value old, now;
} entry;

typedef struct doc {
  char id[24];
  value now;
  entry *first, *last;
  size_t changes;
  bool decided;          /* a person chose for it */
  bool locked_by_name;   /* somebody holds a named lock of it … */
  int64_t lock_until_ms; /* … until then */
  bool excused;          /* the store can't promise anything for it: why stands in the trace (README, guarantees) */
} doc;

typedef struct author { /* of what is about to change in a store */
  hand hand;
  int bulk, process;
  bool late, expired;
  int64_t sent_ms;
} author;

typedef struct simstore {
  char name[24], other_name[24], path[32]; /* other_name: "" none; a second name for the same database */
  bool sqlite;
  sqlite3 *eye; /* the world's own connection to it */
  aon_memory_database *database;
  aon_memory_config memory;
  aon_store_config config;
  doc docs[SIM_DOCS];
  size_t doc_count;
  int64_t away_until_ms, deliver_at_ms;
  bool unseen; /* what it holds could not be looked at when unseen_author had written */
  author unseen_author;
  author ending; /* of a transaction of a file that is being committed: whoever looks meanwhile may see its changes */
  bool ends;
  bool loses;          /* the request that is sent now is lost at once, with its connection */
  uint64_t open_since; /* transactions that are older than this number were lost with a restart of the store */
  struct flight {      /* requests under way, in the order in which they were sent */
    struct flight *next;
    hand hand;
    int bulk, process;
    int64_t sent_ms, due_ms;
    bool lost;   /* it never arrives */
    doc *single; /* of a single write: its document, and how many changes that had seen when the request left */
    size_t changes;
  } * flights;
  struct aborted { /* branches whose abort marker somebody was shown */
    struct aborted *next;
    int bulk;
    uint32_t attempt, batch;
  } * aborted;
} simstore;

/* ---- bulk operations as they were asked for ---- */
typedef enum verb { V_UPDATE, V_UPSERT, V_REPLACE, V_CREATE, V_DELETE } verb;
typedef struct line {
  verb verb;
  int store, doc, property;
  char tag[32];
} line;

typedef struct bulk {
  char id[37], path[24], key[24]; /* path: of its lines; key: "" none */
  line lines[SIM_LINES];
  int line_count;
  int undoes;          /* < 0: none */
  int same_as;         /* < 0: of its own; else it has the lines and the idempotency key of that one */
  int64_t first, last; /* of an undo: the operations that it takes back; first < 0: all */
  bool hold, dry, submitted;
  int64_t lost_ms; /* when another process first took it over; 0: never */
  int owner;       /* process that had its lease last */
  int told_count;
  bool told_failed; /* somebody was told that documents are left to a person */
  aon_state told;   /* the last end that a caller was told; AON_STATE_COUNT: none */
} bulk;

typedef struct sight { /* what a committed read saw */
  struct sight *next;
  int64_t number;
  int store, doc;
  uint64_t began, ended; /* numbers of events */
  value seen;
} sight;

/* ---- processes ---- */
typedef enum command_kind {
  C_APPLY,
  C_UNDO,
  C_RECOVER,
  C_READ,
  C_RESUME,
  C_ROLLBACK,
  C_CANCEL,
  C_SLEEP,
  C_RESOLVE,
  C_LOCK,
  C_ROTATE
} command_kind;
typedef struct command {
  command_kind kind;
  int bulk, store, doc;
  int choice; /* of a person */
} command;

typedef struct process {
  int number; /* place in the world; the same after a restart */
  int64_t pid;
  char boot[40];
  bool alive;
  aon_env env;
  aon_engine *engine;
  aon_engine_config config;
  command commands[SIM_COMMANDS];
  int command_count, at;
  int bulk;               /* the one it works on now, -1: none */
  struct witness *stores; /* open ones */
  int64_t restart_ms;
  int sweeps;
  bool serves; /* goes on recovering when its script is done, as a server does */
  struct task *task;
} process;

/* ---- kinds of faults ---- */
typedef enum fault {
  F_CRASH,
  F_MACHINE,
  F_FREEZE,
  F_LOSE_REPLY,
  F_DELAY,
  F_LOSE,
  F_REFUSE,
  F_SLOW,
  F_AWAY,
  F_STORE_RESTART,
  F_FOREIGN,
  F_CLOCK,
  F_ALLOCATION,
  F_DISK_ERROR,
  F_DISK_FULL,
  F_KINDS
} fault;

typedef struct counts {
  uint64_t seeds, crashes, machine_crashes, freezes, lost_replies, lost_requests, late_deliveries, refusals, store_restarts, foreign_writes,
      takeovers, rollbacks, commits, conflicts, committed_reads, failed_allocations, disk_errors, full_disks, clock_jumps, undone, held,
      resumed, excused, planned, parts_undone, resolved, locks, rotations, gave_up, reserves, switches, changes, failed;
} counts;

typedef struct world {
  disk *disk;
  disk_faults disk_faults;
  int64_t now_ms, wall_ahead_ms;
  uint64_t number; /* of events */
  uint64_t random;
  simstore stores[SIM_STORES];
  size_t store_count;
  bulk bulks[SIM_BULKS];
  size_t bulk_count;
  process processes[SIM_PROCESSES];
  size_t process_count;
  bool several_hosts, beyond_horizon;
  bool late;     /* a world of requests that come late */
  bool busy;     /* one of few documents that all want */
  bool gives_up; /* soon, where a store is out of reach */
  bool stolen;   /* one of workers that freeze and are taken over */
  bool cold;     /* SQLite reads the journal's schema and prepares each statement anew */
  bool fresh;    /* no journal is there in the beginning, so none that notes its arrows */
  int64_t next_pid, dead_pid;
  int boots;
  bool enabled[F_KINDS];
  uint32_t rate[F_KINDS]; /* in 1000 */
  uint32_t quantum;       /* longest run between two decisions of the scheduler */
  uint32_t foreign_left;
  bool quiet;   /* no more faults */
  bool at_rest; /* nothing is left to recover or to watch */
  sqlite3 *eye; /* the world's own connection to the journal */
  sight *sights;
  counts counts;
  bool tracing;
  char failure[2000];
} world;
extern world *W;

/* ---- tasks (task.c) ---- */
typedef struct task task;
task *task_new(process *owner, void (*run)(process *owner));
void task_resume(task *t, uint32_t quantum);
void task_kill(task *t);
bool task_done(const task *t);
int64_t task_wakes_ms(const task *t);
void task_freeze(task *t, int64_t until_ms);
process *task_process(void);      /* whose coroutine runs now; NULL: the world itself */
void sim_point(const char *what); /* may give way to others */
void sim_sleep(int64_t ms);
bool world_enter(void); /* what runs now belongs to the world: no giving way, no faults, the world's memory */
void world_leave(bool before);
int heap_owner_now(void);
aon_env_ops sim_env_ops(void);
void task_pool_release(void);

/* ---- the world (world.c) ---- */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_run(const disk *journal); /* makes a world out of choices, runs it, lets the oracle judge */
sqlite3 *journal_eye(void);
disk *world_journal(void); /* a disk with a journal as it was just made */

/* ---- stores (witness.c) ---- */
extern const aon_store_adapter witness_adapter;
void witness_observe(simstore *store, const author *who);
void witness_process_crash(process *p);
void witness_machine_crash(void);
void witness_begin(void);            /* of a new world */
void witness_events(void);           /* requests and broken connections whose time has come */
int64_t witness_next_event_ms(void); /* INT64_MAX: none */
void witness_restart_store(simstore *store);
void witness_make_store(simstore *store); /* its database, with what its documents hold now */
int bulk_of(const char *id);
value value_from(const bson_t *document);
bool value_equal(const value *a, const value *b); /* stamps aside */
value store_look(simstore *store, const doc *d);
void foreign_write(void);
bool foreign_put(simstore *store, doc *d, const value *wanted);
void value_print(const value *v, char text[128]);
bson_t *value_document(const value *v);

/* ---- the oracle (oracle.c) ---- */
void oracle_judge(void);
bool oracle_in_conflict(int store, int d); /* does the journal name this document? */
#endif
