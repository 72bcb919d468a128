/* What is run with faults: imports, lines, undo, rollback and recovery over stores on the disk in memory; and what they must leave. */
#ifndef TESTS_FAULT_WORLD_H
#define TESTS_FAULT_WORLD_H

#include "coordinator/engine.h"
#include "disk.h"

#define OUR_ID "11111111-1111-4111-8111-111111111111"
#define AGAIN_ID "22222222-2222-4222-8222-222222222222"
#define FIRST_ID "33333333-3333-4333-8333-333333333333"

typedef struct told { /* what a run said of itself */
  aon_result result;
  aon_error error;
  aon_state state;
  bool has_state;
  int exit_status;
  char problem_code[64], problem_sentence[300]; /* the first error of a rejection, as the result object has it */
} told;

void world_set_up(const char *packs, const char *company, const char *changes);
void world_empty(void);    /* no data folder */
void world_prepared(void); /* the company is in, and the table of contacts */
void world_imported(void); /* and the changes, under FIRST_ID */

void run_company(const char *id, told *ret);
void run_changes(const char *id, told *ret);
void run_changes_refused(const char *id, told *ret); /* with a report */
void run_forced(const char *id, told *ret);          /* fails in the middle, and is rolled back */
void run_lines(const char *id, told *ret);
void run_undo(const char *id, told *ret);
void run_recovery(const char *id, told *ret);

/* All rows of all stores, the coordinator's own tables aside; to be freed. */
char *world_rows(void);
/* The state that the journal shows; AON_STATE_COUNT: it knows of none such. */
aon_state world_state(const char *id, aon_error *ret_error);
/* How many locks, named locks and conflicts the journal holds; -1: it can't be read. */
int world_held(void);
void world_outline(char *rows); /* in place: what differs between two equal runs (instants, ids that are made) goes out */
#endif
