/* What a pack declares, as plain structures: collections, sheets with their columns, the order of the plan. Made once by
 * aon_schema_read from the table that the pack file returns (docs/packs.md is the reference of that table); immutable afterwards.
 *
 * Invariants: everything lives in the arena of the pack; every reference by name is resolved to a pointer and every mistake of the pack
 * is found while reading (AON_ENVIRONMENT, code bad_pack, naming the place: sheets[3].columns[2].type); unknown keys are mistakes. */
#ifndef AON_PACK_SCHEMA_H
#define AON_PACK_SCHEMA_H

#include "pack/host.h"
#include "pack/pack.h"
#include "pack/types.h"

#define AON_SCHEMA_VERSION 1
/* Limits of one pack; columns are bits of one 64-bit word. */
#define AON_SCHEMA_COLLECTIONS 128
#define AON_SCHEMA_SHEETS 64
#define AON_SCHEMA_COLUMNS 64
#define AON_SCHEMA_STEPS 128
#define AON_SCHEMA_PARTS 8

typedef struct aon_schema_sheet aon_schema_sheet;
typedef struct aon_schema_column aon_schema_column;

typedef struct aon_schema_collection {
  aon_collection base;      /* first: a pointer to one is a pointer to the other */
  size_t index;             /* in schema->collections */
  const char *const *parts; /* names of the parts of the id, in order; never NULL; one for a simple id */
  size_t part_count;
  int organization_part; /* which of them is the organization; -1: none */
  int own_part;          /* which of them is the id of the row or document it belongs to; -1: none (one document per organization) */
  bool stamped;          /* holds its id, its parts and the stamps (createdAt, …) */
  bool keyed;            /* ids are keys of a realtime database or of Firestore, so the organization must be one that they can hold */
  bool drops_empty;      /* its store can't hold empty lists and maps */
  bool shared;           /* fed by many rows, written once: gathered, emitted at its own step */
  const char *organization_property;             /* the property that names the organization; NULL: its documents don't say */
  const struct aon_schema_collection *copy_from; /* shared: where a document that is missing takes copy_properties, by its own part; NULL */
  const char *const *copy_properties;
  const char *list;             /* shared: the property that is a list of entries; NULL */
  const char *const *list_keys; /* the properties of an entry that tell it from others, in the order of sorting */
} aon_schema_collection;

/* Joining a value puts the row's id into the set property of the shared document that the value names; leaving takes it out. */
typedef struct aon_schema_membership {
  const aon_schema_collection *collection;
  const char *property;
  bool inverse; /* the document is the row's own, and the set holds the values */
} aon_schema_membership;

/* What a value refers to. Several of them: which one holds is decided by the value of another column of the row. */
typedef struct aon_schema_reference {
  const char *when;                        /* value of column->reference_when; NULL: always */
  const aon_schema_collection *collection; /* the value names documents of it */
  const char *by;                          /* … by this property */
  const aon_schema_sheet *sheet;           /* the sheet that makes them, NULL: none */
  const aon_schema_column *column;         /* its column that holds by */
  bool make;                               /* a document that isn't there is made (shared collections only) */
  const char *noun;                        /* what is referred to, in sentences: "department" */
} aon_schema_reference;

/* A row that is an entry of a list in a shared document: which document is decided by the value of a column. */
typedef struct aon_schema_entry {
  const char *when; /* value of sheet->entry_when */
  const aon_schema_collection *collection;
} aon_schema_entry;

struct aon_schema_column {
  size_t index;                            /* in sheet->columns */
  const char *heading;                     /* without the * */
  const char *folded;                      /* heading as it is compared: folded, without spaces, _ - and trailing * */
  const char *property;                    /* of the document; "location.latitude": inside an object */
  const char *parent, *child;              /* the two halves of such a property; parent NULL: a plain one */
  const aon_schema_collection *collection; /* whose document holds it: the sheet's main one, or an extension; NULL: none does, the pack only
                                              learns that it was filled (passwords) */
  aon_field field;
  bool id, required, unique, create_only, text_format;
  const char *wrap;         /* each entry of the list becomes {wrap: entry}; NULL */
  const char *default_text; /* NULL: none */
  aon_value default_value;
  const char *note, *example;             /* NULL: none */
  char example_type;                      /* as aon_template_column */
  const aon_schema_collection *unique_in; /* the value is unique over all organizations in this collection too; NULL */
  const char *unique_in_property;
  const aon_schema_reference *references;
  size_t reference_count;
  const aon_schema_column *reference_when; /* NULL: the one reference always holds */
  const aon_schema_membership *memberships;
  size_t membership_count;
};

typedef struct aon_schema_rule {
  uint64_t needs; /* bits of the columns whose cells must be without fault */
  int function;   /* reference in the registry of the host */
} aon_schema_rule;

/* The row's own document in a shared collection, which takes over properties of the main one. */
typedef struct aon_schema_index {
  const aon_schema_collection *collection;
  const char *const *properties; /* NULL-terminated */
} aon_schema_index;

struct aon_schema_sheet {
  size_t index;
  const char *name, *folded, *entity, *note; /* note NULL: none */
  const aon_schema_collection *main;         /* NULL: rows are entries of lists (days off) */
  const aon_schema_column *columns;
  size_t column_count;
  const aon_schema_column *id_column; /* NULL: none */
  const aon_schema_collection *const
      *extensions; /* documents beside the main one that columns are bound to; stand only where one is filled */
  size_t extension_count;
  const aon_schema_collection *const
      *documents; /* all collections with a document under the row's id, main one included: none may be another organization's */
  size_t document_count;
  const aon_schema_index *indexes;
  size_t index_count;
  const aon_schema_collection *const *reads; /* list documents that collect reads: of the organization, or by the ids in reads_from[i] */
  const char *const *reads_from;             /* property that holds ids; NULL: the one of the organization */
  size_t read_count;
  const aon_schema_column *entry_when, *entry_id; /* sheets of entries: what chooses the collection, and the document's own id */
  const aon_schema_entry *entries;
  size_t entry_count;
  const char *const *entry_properties; /* of the row that make up the entry, NULL-terminated */
  const aon_schema_rule *rules;
  size_t rule_count;
  int adjust, collect; /* references in the registry, LUA_NOREF: none */
};

typedef struct aon_schema_step {                   /* one entry of the order of the plan */
  const aon_schema_sheet *sheet;                   /* its rows, or … */
  const aon_schema_collection *const *collections; /* … these shared collections, in the order in which rows touched them */
  size_t collection_count;
  const char *group;  /* name of the group it belongs to; NULL: none */
  const char *entity; /* the sheet's, or of the rows that are entries of these collections; NULL */
  bool group_begins, group_ends;
} aon_schema_step;

typedef struct aon_schema {
  const char *name, *title;
  const char *organization; /* property that names the organization in documents; NULL: the pack knows none */
  const aon_schema_collection *collections;
  size_t collection_count;
  const aon_collection *const *bases; /* the same, as aon_pack_collections gives them */
  const aon_schema_sheet *sheets;     /* in the order of the pack: that of templates */
  size_t sheet_count;
  const aon_schema_step *steps;
  size_t step_count;
} aon_schema;

struct aon_pack { /* made by aon_pack_load; the calls of a job run in its host */
  aon_env *env;
  aon_host *host;
  aon_arena arena;
  aon_pack_limits limits; /* with defaults filled in */
  const char *file;
  aon_schema schema;
};

/* Reads the table on top of the host's stack (and pops it). */
aon_result aon_schema_read(aon_host *host, aon_arena *arena, const char *file, aon_schema *ret_schema, aon_error *error) AON_MUST_USE;
const aon_schema_collection *aon_schema_collection_find(const aon_schema *schema, const char *name);  /* NULL: none */
const aon_schema_column *aon_schema_column_find(const aon_schema_sheet *sheet, const char *property); /* NULL: none */
/* As headings and names of sheets are compared: folded, without spaces, _ - and a trailing *. */
aon_result aon_schema_name(aon_text name, aon_buffer *out, aon_error *error) AON_MUST_USE;
/* The id of a document: own is the free part (empty where there is none). */
aon_result aon_schema_id(const aon_schema_collection *collection, aon_text organization, aon_text own, aon_buffer *out,
                         aon_error *error) AON_MUST_USE;
#endif
