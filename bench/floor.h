/* What the parts of the floor share: rows in memory, and a target that they are written to. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H
#include <stdbool.h>
#include <stddef.h>

#define FLOOR_MAX_TABLES 32

typedef struct floor_row {
  const char *id, *document;
  int id_length, document_length;
  unsigned short table;
  bool update;
} floor_row;

typedef struct floor_target floor_target;

/* One kind of target. `load` makes rows ready before the clock starts; `write` does all of them; `end` commits or takes back. */
typedef struct floor_kind {
  void (*load)(floor_target *target);
  void (*open)(floor_target *target);
  void (*write)(floor_target *target);
  void (*end)(floor_target *target, bool commit);
  void (*close)(floor_target *target);
} floor_kind;

struct floor_target {
  const char *where;
  const floor_kind *kind;
  void *state; /* of its kind */
  floor_row *rows;
  size_t count, capacity;
  const char *tables[FLOOR_MAX_TABLES];
  unsigned short table_count;
};

extern const floor_kind floor_sqlite, floor_postgresql, floor_mongodb;

__attribute__((noreturn, format(printf, 1, 2))) void floor_give_up(const char *format, ...);
void *floor_grown(void *block, size_t bytes); /* realloc that gives up when it fails */

#endif
