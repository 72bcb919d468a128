/* Reads the table of a pack into structures. Runs inside a protected call of the host, so that no memory in Lua is an error and not
 * a crash; therefore it owns nothing but what is in the arena: a raise may leave any function here. Only raw access: metatables of
 * the pack are not asked. */
#include "pack/schema.h"

#include <lauxlib.h>
#include <string.h>

#include "model/text.h"

typedef struct reader {
  lua_State *state;
  aon_arena *arena;
  const char *file;
  aon_schema *schema;
  char place[160]; /* sheets[3].columns[2] */
  aon_schema_collection *collections;
  aon_schema_sheet *sheets;
} reader;

static __attribute__((noreturn, format(printf, 2, 3))) void refuse(reader *r, const char *format, ...) {
  char what[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  aon_error error = AON_ERROR_INIT;
  (void)aon_fail(&error, AON_ENVIRONMENT, "bad_pack", "%s: %s%s%s.", r->file, r->place, *r->place ? ": " : "", what);
  aon_host_raise(r->state, &error);
}

static __attribute__((noreturn)) void no_memory(reader *r) {
  aon_error error = AON_ERROR_INIT;
  (void)aon_fail_memory(&error);
  aon_host_raise(r->state, &error);
}

static void *array(reader *r, size_t count, size_t size) {
  void *memory = aon_arena_alloc(r->arena, (count + 1) * size);
  if (!memory)
    no_memory(r);
  return memory;
}

static const char *keep(reader *r, const char *text, size_t length) {
  char *copy = aon_arena_text(r->arena, text, length);
  if (!copy)
    no_memory(r);
  return copy;
}

static const char *keep_text(reader *r, const char *what, const char *text, size_t length) {
  if (!bson_utf8_validate(text, length, false))
    refuse(r, "%s must be UTF-8, without the character NUL", what);
  return keep(r, text, length);
}

/* ---- Fields of the table on top of the stack ---- */

static int push_field(reader *r, const char *name) {
  luaL_checkstack(r->state, 4, NULL);
  lua_pushstring(r->state, name);
  return lua_rawget(r->state, -2);
}

static const char *text_field(reader *r, const char *name, bool required) {
  int type = push_field(r, name);
  const char *result = NULL;
  if (type == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(r->state, -1, &length);
    if (!length || strlen(text) != length)
      refuse(r, "%s must be a text that is not empty", name);
    result = keep_text(r, name, text, length);
  } else if (type != LUA_TNIL || required) {
    refuse(r, "%s must be a text", name);
  }
  lua_pop(r->state, 1);
  return result;
}

static bool bool_field(reader *r, const char *name) {
  int type = push_field(r, name);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN)
    refuse(r, "%s must be true or false", name);
  bool result = lua_toboolean(r->state, -1);
  lua_pop(r->state, 1);
  return result;
}

static bool number_field(reader *r, const char *name, double *ret_number) {
  int type = push_field(r, name);
  if (type != LUA_TNIL && type != LUA_TNUMBER)
    refuse(r, "%s must be a number", name);
  if (type == LUA_TNUMBER)
    *ret_number = lua_tonumber(r->state, -1);
  lua_pop(r->state, 1);
  return type == LUA_TNUMBER;
}

static uint32_t count_field(reader *r, const char *name) {
  double number = 0;
  if (number_field(r, name, &number) && !(number >= 1 && number <= 1000000))
    refuse(r, "%s must be a number from 1 to 1000000", name);
  return (uint32_t)number;
}

static int function_field(reader *r, const char *name, bool required) {
  int type = push_field(r, name);
  if (type == LUA_TNIL && !required) {
    lua_pop(r->state, 1);
    return LUA_NOREF;
  }
  if (type != LUA_TFUNCTION)
    refuse(r, "%s must be a function", name);
  return luaL_ref(r->state, LUA_REGISTRYINDEX);
}

/* Leaves the table on the stack and gives its length; false: not there, nothing is on the stack. */
static bool enter(reader *r, const char *name, bool required, size_t limit, size_t *ret_count) {
  int type = push_field(r, name);
  if (type == LUA_TNIL && !required) {
    lua_pop(r->state, 1);
    *ret_count = 0;
    return false;
  }
  if (type != LUA_TTABLE)
    refuse(r, "%s must be a table", name);
  *ret_count = lua_rawlen(r->state, -1);
  if (*ret_count > limit)
    refuse(r, "%s has %zu entries; the limit is %zu", name, *ret_count, limit);
  return true;
}

static void entry(reader *r, size_t index, int type, const char *what) {
  if (lua_rawgeti(r->state, -1, (lua_Integer)index + 1) != type)
    refuse(r, "entry %zu of %s must be a %s", index + 1, what, lua_typename(r->state, type));
}

static const char *entry_text(reader *r, size_t index, const char *what) {
  entry(r, index, LUA_TSTRING, what);
  size_t length;
  const char *text = lua_tolstring(r->state, -1, &length);
  const char *result = keep_text(r, what, text, length);
  lua_pop(r->state, 1);
  return result;
}

static const char *const *texts_field(reader *r, const char *name, size_t *ret_count) {
  size_t count;
  if (ret_count)
    *ret_count = 0;
  if (!enter(r, name, false, 1000, &count))
    return NULL;
  const char **texts = array(r, count, sizeof *texts);
  for (size_t i = 0; i < count; i++)
    texts[i] = entry_text(r, i, name);
  lua_pop(r->state, 1);
  if (ret_count)
    *ret_count = count;
  return texts;
}

/* Keys that nobody knows are slips of the pen. The first by its letters is told: a table's own order changes from run to run. */
static void only(reader *r, const char *const *known) {
  const char *unknown = NULL;
  lua_pushnil(r->state);
  while (lua_next(r->state, -2)) {
    lua_pop(r->state, 1);
    if (lua_type(r->state, -1) == LUA_TNUMBER)
      continue;
    const char *key = lua_type(r->state, -1) == LUA_TSTRING ? lua_tostring(r->state, -1) : "?";
    size_t i = 0;
    while (known[i] && strcmp(known[i], key) != 0)
      i++;
    if (!known[i] && (!unknown || strcmp(key, unknown) < 0))
      unknown = key;
  }
  if (unknown)
    refuse(r, "“%s” is not known here", unknown);
}

/* ---- Collections ---- */

const aon_schema_collection *aon_schema_collection_find(const aon_schema *schema, const char *name) {
  for (size_t i = 0; i < schema->collection_count; i++)
    if (!strcmp(schema->collections[i].base.name, name))
      return &schema->collections[i];
  return NULL;
}

static const aon_schema_collection *collection_named(reader *r, const char *name) {
  const aon_schema_collection *found = aon_schema_collection_find(r->schema, name);
  if (!found)
    refuse(r, "there is no collection “%s”", name);
  return found;
}

static const aon_schema_collection *collection_field(reader *r, const char *name) {
  const char *collection = text_field(r, name, true);
  return collection_named(r, collection);
}

static const aon_schema_collection *const *collections_field(reader *r, const char *name, size_t *ret_count) {
  const char *const *names = texts_field(r, name, ret_count);
  const aon_schema_collection **found = array(r, *ret_count, sizeof *found);
  for (size_t i = 0; i < *ret_count; i++)
    found[i] = collection_named(r, names[i]);
  return found;
}

static const char *const *pointers_of(reader *r, const char *const *names, size_t count) {
  const char **pointers = array(r, count, sizeof *pointers);
  for (size_t i = 0; i < count; i++)
    if (!(pointers[i] = aon_arena_format(r->arena, "/%s", names[i])))
      no_memory(r);
  return pointers;
}

static const char *const stamp_names[] = {"createdAt", "createdBy", "updatedAt", "updatedBy", "_bulkOperationId", NULL};

static void read_parts(reader *r, aon_schema_collection *c) {
  c->parts = texts_field(r, "parts", &c->part_count);
  if (!c->part_count) {
    if (!c->base.id_property)
      refuse(r, "id or parts must say what the id is made of");
    const char **one = array(r, 1, sizeof *one);
    one[0] = c->base.id_property;
    c->parts = one;
    c->part_count = 1;
  }
  if (c->part_count > AON_SCHEMA_PARTS)
    refuse(r, "an id has at most %d parts", AON_SCHEMA_PARTS);
  c->organization_part = c->own_part = -1;
  for (size_t i = 0; i < c->part_count; i++) {
    if (r->schema->organization && !strcmp(c->parts[i], r->schema->organization))
      c->organization_part = (int)i;
    else if (c->own_part < 0)
      c->own_part = (int)i;
    else
      refuse(r, "an id has one part beside the organization");
  }
}

static void read_collection(reader *r, aon_schema_collection *c, const char *const *stamps) {
  only(r, (const char *const[]){"name", "store", "id", "parts", "path", "keys", "stamps", "sets", "volatile", "sensitive", "stamped",
                                "drops_empty", "shared", "organization", "copy", "list", "merge_none", NULL});
  c->base.name = text_field(r, "name", true);
  c->base.store = text_field(r, "store", true);
  c->base.id_property = text_field(r, "id", false);
  c->base.path = text_field(r, "path", false);
  c->base.merge_none = bool_field(r, "merge_none");
  c->stamped = bool_field(r, "stamped");
  c->shared = bool_field(r, "shared");
  c->drops_empty = bool_field(r, "drops_empty");
  const char *keys = text_field(r, "keys", false);
  if (keys && strcmp(keys, "realtime") != 0 && strcmp(keys, "firestore") != 0)
    refuse(r, "keys must be realtime or firestore");
  c->keyed = keys != NULL;
  read_parts(r, c);
  c->base.stamps = texts_field(r, "stamps", NULL);
  if (!c->base.stamps && (c->stamped || c->base.path))
    c->base.stamps = c->stamped ? stamps : stamps + 4;
  size_t count;
  const char *const *sets = texts_field(r, "sets", &count);
  if (sets)
    c->base.sets = pointers_of(r, sets, count);
  c->base.volatiles = texts_field(r, "volatile", NULL);
  c->base.sensitive = texts_field(r, "sensitive", NULL);
  c->organization_property = text_field(r, "organization", false);
  if (c->stamped && !c->organization_property)
    c->organization_property = r->schema->organization;
  if (c->stamped && !c->base.id_property)
    refuse(r, "a stamped collection needs an id property");
  if (enter(r, "list", false, 0, &count)) {
    only(r, (const char *const[]){"property", "keys", NULL});
    c->list = text_field(r, "property", true);
    c->list_keys = texts_field(r, "keys", &count);
    if (!count || !c->shared)
      refuse(r, "list needs keys, and a shared collection");
    lua_pop(r->state, 1);
  }
}

static void read_collections(reader *r) {
  size_t count;
  enter(r, "collections", true, AON_SCHEMA_COLLECTIONS, &count);
  r->collections = array(r, count, sizeof *r->collections);
  const aon_collection **bases = array(r, count, sizeof *bases);
  const char **stamps = array(r, 5, sizeof *stamps);
  memcpy(stamps, stamp_names, sizeof stamp_names);
  r->schema->collections = r->collections;
  r->schema->bases = bases;
  for (size_t i = 0; i < count; i++) {
    snprintf(r->place, sizeof r->place, "collections[%zu]", i + 1);
    entry(r, i, LUA_TTABLE, "collections");
    read_collection(r, &r->collections[i], stamps);
    r->collections[i].index = i;
    bases[i] = &r->collections[i].base;
    if (aon_schema_collection_find(r->schema, r->collections[i].base.name))
      refuse(r, "there are two collections “%s”", r->collections[i].base.name);
    r->schema->collection_count = i + 1;
    lua_pop(r->state, 1);
  }
  for (size_t i = 0; i < count; i++) {
    snprintf(r->place, sizeof r->place, "collections[%zu]", i + 1);
    entry(r, i, LUA_TTABLE, "collections");
    size_t ignored;
    if (enter(r, "copy", false, 0, &ignored)) {
      r->collections[i].copy_from = collection_field(r, "from");
      r->collections[i].copy_properties = texts_field(r, "properties", NULL);
      lua_pop(r->state, 1);
    }
    lua_pop(r->state, 1);
  }
  lua_pop(r->state, 1);
  r->place[0] = 0;
}

/* ---- Columns ---- */

aon_result aon_schema_name(aon_text name, aon_buffer *out, aon_error *error) {
  name = aon_text_trim(name);
  while (name.length && name.data[name.length - 1] == '*')
    name = aon_text_trim((aon_text){name.data, name.length - 1});
  size_t from = out->length;
  aon_result result = aon_text_fold(name.data, name.length, out, error);
  if (result)
    return result;
  size_t to = from;
  for (size_t i = from; i < out->length; i++) {
    unsigned char c = (unsigned char)out->data[i];
    bool nbsp = c == 0xc2 && (unsigned char)out->data[i + 1] == 0xa0;
    if (nbsp)
      i++;
    else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '_' && c != '-')
      out->data[to++] = (char)c;
  }
  out->length = to;
  if (out->data)
    out->data[to] = 0;
  return AON_OK;
}

static const char *folded_name(reader *r, const char *name) {
  aon_buffer buffer = {0};
  aon_error error = AON_ERROR_INIT;
  aon_result result = aon_schema_name((aon_text){name, strlen(name)}, &buffer, &error);
  char *copy = result ? NULL : aon_arena_text(r->arena, buffer.data ? buffer.data : "", buffer.length);
  aon_buffer_release(&buffer);
  if (result)
    aon_host_raise(r->state, &error);
  if (!copy)
    no_memory(r);
  return copy;
}

static void read_property(reader *r, aon_schema_column *column) {
  column->property = text_field(r, "property", true);
  const char *point = strchr(column->property, '.');
  if (point) {
    column->parent = keep(r, column->property, (size_t)(point - column->property));
    column->child = keep(r, point + 1, strlen(point + 1));
    if (!*column->parent || !*column->child || strchr(point + 1, '.'))
      refuse(r, "property “%s” may have one point, inside", column->property);
  }
}

static void read_field(reader *r, aon_schema_column *column) {
  aon_field *field = &column->field;
  const char *type = text_field(r, "type", true);
  if (!aon_field_type_parse(type, &field->type))
    refuse(r, "there is no type “%s”", type);
  bool list = bool_field(r, "list"), lines = bool_field(r, "lines");
  if (list && lines)
    refuse(r, "list and lines exclude each other");
  field->shape = list ? AON_FIELD_LIST : lines ? AON_FIELD_LINES : AON_FIELD_ONE;
  field->max_characters = count_field(r, "max_characters");
  field->min_characters = count_field(r, "min_characters");
  field->has_minimum = number_field(r, "min", &field->minimum);
  field->has_maximum = number_field(r, "max", &field->maximum);
  field->choices = texts_field(r, "choices", NULL);
  if (field->type == AON_FIELD_CHOICE && (!field->choices || !field->choices[0]))
    refuse(r, "a column of type choice needs choices");
  field->key = bool_field(r, "key");
  field->sensitive = bool_field(r, "sensitive");
}

static void read_default(reader *r, aon_schema_column *column) {
  column->default_text = text_field(r, "default", false);
  if (!column->default_text)
    return;
  aon_check check = {0};
  aon_error error = AON_ERROR_INIT;
  aon_text text = {column->default_text, strlen(column->default_text)};
  if (aon_field_read_text(&column->field, text, r->arena, &column->default_value, &check, &error))
    aon_host_raise(r->state, &error);
  if (check.code)
    refuse(r, "default “%s” %s", column->default_text, check.problem);
}

static char example_type(const aon_field *field) {
  switch (field->type) {
  case AON_FIELD_INTEGER:
  case AON_FIELD_NUMBER:
    return field->shape == AON_FIELD_ONE ? 'n' : 's';
  case AON_FIELD_DATE:
    return field->shape == AON_FIELD_ONE ? 'd' : 's';
  case AON_FIELD_TIME:
    return field->shape == AON_FIELD_ONE ? 't' : 's';
  default:
    return 's';
  }
}

static void read_collection_of_column(reader *r, const aon_schema_sheet *sheet, aon_schema_column *column) {
  int type = push_field(r, "collection");
  bool none = type == LUA_TBOOLEAN && !lua_toboolean(r->state, -1);
  lua_pop(r->state, 1);
  if (none)
    return;
  column->collection = type == LUA_TNIL ? sheet->main : collection_field(r, "collection");
  bool known = column->collection == sheet->main;
  for (size_t i = 0; i < sheet->extension_count; i++)
    known |= column->collection == sheet->extensions[i];
  if (!known)
    refuse(r, "“%s” is neither the collection nor an extension of the sheet", column->collection->base.name);
}

static bool has_set(const aon_schema_collection *collection, const char *property) {
  for (const char *const *set = collection->base.sets; set && *set; set++)
    if (!strcmp(*set + 1, property))
      return true;
  return false;
}

static void read_memberships(reader *r, aon_schema_column *column) {
  size_t count;
  if (!enter(r, "members", false, 16, &count))
    return;
  aon_schema_membership *members = array(r, count, sizeof *members);
  for (size_t i = 0; i < count; i++) {
    entry(r, i, LUA_TTABLE, "members");
    only(r, (const char *const[]){"collection", "property", "inverse", NULL});
    members[i] = (aon_schema_membership){
        .collection = collection_field(r, "collection"), .property = text_field(r, "property", true), .inverse = bool_field(r, "inverse")};
    if (!members[i].collection->shared || !has_set(members[i].collection, members[i].property))
      refuse(r, "members need a shared collection and one of its sets");
    lua_pop(r->state, 1);
  }
  lua_pop(r->state, 1);
  column->memberships = members;
  column->membership_count = count;
}

static void read_unique(reader *r, aon_schema_column *column) {
  column->unique = bool_field(r, "unique");
  size_t ignored;
  if (enter(r, "unique_in", false, 0, &ignored)) {
    only(r, (const char *const[]){"collection", "property", NULL});
    column->unique_in = collection_field(r, "collection");
    column->unique_in_property = text_field(r, "property", true);
    lua_pop(r->state, 1);
  }
}

static void read_column(reader *r, const aon_schema_sheet *sheet, aon_schema_column *column) {
  only(r, (const char *const[]){"heading",   "property", "collection", "type",        "id",        "required",       "unique",
                                "unique_in", "default",  "list",       "lines",       "wrap",      "max_characters", "min_characters",
                                "min",       "max",      "choices",    "key",         "sensitive", "create_only",    "references",
                                "members",   "note",     "example",    "text_format", NULL});
  column->heading = text_field(r, "heading", true);
  column->folded = folded_name(r, column->heading);
  read_property(r, column);
  read_field(r, column);
  read_collection_of_column(r, sheet, column);
  column->id = bool_field(r, "id");
  column->required = bool_field(r, "required");
  column->create_only = bool_field(r, "create_only");
  column->wrap = text_field(r, "wrap", false);
  read_unique(r, column);
  read_default(r, column);
  column->note = text_field(r, "note", false);
  column->example = text_field(r, "example", false);
  column->example_type = example_type(&column->field);
  column->text_format = bool_field(r, "text_format") || (column->example_type == 's' && column->field.type != AON_FIELD_BOOLEAN);
  read_memberships(r, column);
  if ((column->unique || column->id) && column->field.shape != AON_FIELD_ONE)
    refuse(r, "a list can't be unique");
  if ((column->unique || column->membership_count || column->id) && sheet->main && column->collection != sheet->main)
    refuse(r, "only columns of the sheet's own collection can be unique, an id, or have members");
}

const aon_schema_column *aon_schema_column_find(const aon_schema_sheet *sheet, const char *property) {
  for (size_t i = 0; i < sheet->column_count; i++)
    if (!strcmp(sheet->columns[i].property, property))
      return &sheet->columns[i];
  return NULL;
}

static const aon_schema_column *column_named(reader *r, const aon_schema_sheet *sheet, const char *property) {
  const aon_schema_column *column = aon_schema_column_find(sheet, property);
  if (!column)
    refuse(r, "the sheet has no column for “%s”", property);
  return column;
}

static void read_columns(reader *r, aon_schema_sheet *sheet) {
  size_t count;
  enter(r, "columns", true, AON_SCHEMA_COLUMNS, &count);
  aon_schema_column *columns = array(r, count, sizeof *columns);
  sheet->columns = columns;
  char place[160];
  memcpy(place, r->place, sizeof place);
  for (size_t i = 0; i < count; i++) {
    snprintf(r->place, sizeof r->place, "%.100s.columns[%zu]", place, i + 1);
    entry(r, i, LUA_TTABLE, "columns");
    read_column(r, sheet, &columns[i]);
    columns[i].index = i;
    for (size_t k = 0; k < i; k++)
      if (!strcmp(columns[k].folded, columns[i].folded) || !strcmp(columns[k].property, columns[i].property))
        refuse(r, "the heading or property is that of column %zu too", k + 1);
    sheet->column_count = i + 1;
    if (columns[i].id && sheet->id_column)
      refuse(r, "there are two id columns");
    if (columns[i].id)
      sheet->id_column = &columns[i];
    lua_pop(r->state, 1);
  }
  memcpy(r->place, place, sizeof place);
  lua_pop(r->state, 1);
}

/* ---- References, when all sheets are there ---- */

static const char *noun_of(reader *r, const char *collection) {
  size_t length = strlen(collection);
  if (length > 1 && collection[length - 1] == 's')
    length--;
  return keep(r, collection, length);
}

static aon_schema_reference read_reference(reader *r, bool with_value) {
  only(r, (const char *const[]){"value", "collection", "by", "make", "noun", "when", NULL});
  aon_schema_reference reference = {.collection = collection_field(r, "collection"),
                                    .by = text_field(r, "by", true),
                                    .make = bool_field(r, "make"),
                                    .noun = text_field(r, "noun", false)};
  if (with_value)
    reference.when = text_field(r, "value", true);
  if (!reference.noun)
    reference.noun = noun_of(r, reference.collection->base.name);
  if (reference.make && !reference.collection->shared)
    refuse(r, "only documents of shared collections can be made");
  for (size_t i = 0; i < r->schema->sheet_count; i++) {
    const aon_schema_sheet *sheet = &r->schema->sheets[i];
    if (sheet->main != reference.collection)
      continue;
    reference.sheet = sheet;
    reference.column = aon_schema_column_find(sheet, reference.by);
    if (!reference.column || reference.column->field.shape != AON_FIELD_ONE)
      refuse(r, "sheet %s has no single column for “%s”", sheet->name, reference.by);
  }
  return reference;
}

static void read_references(reader *r, const aon_schema_sheet *sheet, aon_schema_column *column) {
  size_t count;
  if (!enter(r, "references", false, 16, &count))
    return;
  aon_schema_reference *references = array(r, count + 1, sizeof *references);
  if (count) {
    const char *when = text_field(r, "when", true);
    column->reference_when = column_named(r, sheet, when);
    for (size_t i = 0; i < count; i++) {
      entry(r, i, LUA_TTABLE, "references");
      references[i] = read_reference(r, true);
      lua_pop(r->state, 1);
    }
  } else {
    references[0] = read_reference(r, false);
    count = 1;
  }
  lua_pop(r->state, 1);
  column->references = references;
  column->reference_count = count;
  if (column->field.type != AON_FIELD_TEXT && column->field.type != AON_FIELD_EMAIL)
    refuse(r, "a reference is of type text or email");
}

/* ---- Sheets ---- */

static void read_rules(reader *r, aon_schema_sheet *sheet) {
  size_t count;
  if (!enter(r, "rules", false, 100, &count))
    return;
  aon_schema_rule *rules = array(r, count, sizeof *rules);
  for (size_t i = 0; i < count; i++) {
    entry(r, i, LUA_TTABLE, "rules");
    only(r, (const char *const[]){"needs", "check", NULL});
    size_t needs;
    const char *const *names = texts_field(r, "needs", &needs);
    for (size_t k = 0; k < needs; k++)
      rules[i].needs |= (uint64_t)1 << column_named(r, sheet, names[k])->index;
    rules[i].function = function_field(r, "check", true);
    lua_pop(r->state, 1);
  }
  lua_pop(r->state, 1);
  sheet->rules = rules;
  sheet->rule_count = count;
}

static void read_entries(reader *r, aon_schema_sheet *sheet) {
  size_t ignored, count = 0;
  if (!enter(r, "entries", false, 0, &ignored)) {
    if (!sheet->main)
      refuse(r, "a sheet needs a collection or entries");
    return;
  }
  only(r, (const char *const[]){"when", "id", "properties", "collections", NULL});
  sheet->entry_when = column_named(r, sheet, text_field(r, "when", true));
  sheet->entry_id = column_named(r, sheet, text_field(r, "id", true));
  sheet->entry_properties = texts_field(r, "properties", NULL);
  const char *const *choices = sheet->entry_when->field.choices;
  while (choices && choices[count])
    count++;
  aon_schema_entry *entries = array(r, count, sizeof *entries);
  enter(r, "collections", true, 0, &ignored);
  for (size_t i = 0; i < count; i++) {
    entries[i] = (aon_schema_entry){.when = choices[i], .collection = collection_field(r, choices[i])};
    if (!entries[i].collection->list)
      refuse(r, "collection “%s” has no list for entries", entries[i].collection->base.name);
  }
  lua_pop(r->state, 2);
  sheet->entries = entries;
  sheet->entry_count = count;
}

static void read_indexes(reader *r, aon_schema_sheet *sheet) {
  size_t count;
  if (!enter(r, "indexes", false, 16, &count))
    return;
  aon_schema_index *indexes = array(r, count, sizeof *indexes);
  for (size_t i = 0; i < count; i++) {
    entry(r, i, LUA_TTABLE, "indexes");
    only(r, (const char *const[]){"collection", "properties", NULL});
    indexes[i].collection = collection_field(r, "collection");
    indexes[i].properties = texts_field(r, "properties", NULL);
    if (!indexes[i].collection->shared || !indexes[i].properties || !sheet->main)
      refuse(r, "an index is a shared collection with properties, of a sheet with a collection");
    lua_pop(r->state, 1);
  }
  lua_pop(r->state, 1);
  sheet->indexes = indexes;
  sheet->index_count = count;
}

static void read_reads(reader *r, aon_schema_sheet *sheet) {
  size_t count;
  if (!enter(r, "reads", false, 16, &count))
    return;
  const aon_schema_collection **reads = array(r, count, sizeof *reads);
  const char **from = array(r, count, sizeof *from);
  for (size_t i = 0; i < count; i++) {
    entry(r, i, LUA_TTABLE, "reads");
    only(r, (const char *const[]){"collection", "from", NULL});
    reads[i] = collection_field(r, "collection");
    from[i] = text_field(r, "from", false);
    if (!reads[i]->list || (!from[i] && reads[i]->own_part >= 0))
      refuse(r, "“%s” has no list, or needs from", reads[i]->base.name);
    lua_pop(r->state, 1);
  }
  lua_pop(r->state, 1);
  sheet->reads = reads;
  sheet->reads_from = from;
  sheet->read_count = count;
}

/* All collections in which the row's id names a document: the main one, the extensions, and those that the pack adds. */
static void read_documents(reader *r, aon_schema_sheet *sheet) {
  size_t more;
  const aon_schema_collection *const *listed = collections_field(r, "documents", &more);
  const aon_schema_collection **all = array(r, 1 + sheet->extension_count + more, sizeof *all);
  size_t count = 0;
  if (sheet->main)
    all[count++] = sheet->main;
  for (size_t i = 0; i < sheet->extension_count; i++)
    all[count++] = sheet->extensions[i];
  for (size_t i = 0; i < more; i++)
    all[count++] = listed[i];
  sheet->documents = all;
  sheet->document_count = count;
}

static void read_sheet(reader *r, aon_schema_sheet *sheet) {
  only(r, (const char *const[]){"name", "entity", "note", "collection", "extensions", "documents", "columns", "rules", "entries", "indexes",
                                "reads", "adjust", "collect", NULL});
  sheet->name = text_field(r, "name", true);
  sheet->folded = folded_name(r, sheet->name);
  sheet->note = text_field(r, "note", false);
  const char *main_name = text_field(r, "collection", false);
  if (main_name)
    sheet->main = collection_named(r, main_name);
  sheet->entity = text_field(r, "entity", false);
  if (!sheet->entity)
    sheet->entity = main_name ? main_name : sheet->name;
  sheet->extensions = collections_field(r, "extensions", &sheet->extension_count);
  read_documents(r, sheet);
  read_columns(r, sheet);
  read_entries(r, sheet);
  read_rules(r, sheet);
  read_indexes(r, sheet);
  read_reads(r, sheet);
  sheet->adjust = function_field(r, "adjust", false);
  sheet->collect = function_field(r, "collect", false);
}

static void read_sheets(reader *r) {
  size_t count;
  enter(r, "sheets", true, AON_SCHEMA_SHEETS, &count);
  r->sheets = array(r, count, sizeof *r->sheets);
  r->schema->sheets = r->sheets;
  for (size_t i = 0; i < count; i++) {
    snprintf(r->place, sizeof r->place, "sheets[%zu]", i + 1);
    entry(r, i, LUA_TTABLE, "sheets");
    read_sheet(r, &r->sheets[i]);
    r->sheets[i].index = i;
    for (size_t k = 0; k < i; k++)
      if (!strcmp(r->sheets[k].folded, r->sheets[i].folded) || (r->sheets[i].main && r->sheets[k].main == r->sheets[i].main))
        refuse(r, "name or collection is that of sheet %zu too", k + 1);
    r->schema->sheet_count = i + 1;
    lua_pop(r->state, 1);
  }
  for (size_t i = 0; i < count; i++) {
    entry(r, i, LUA_TTABLE, "sheets");
    size_t columns;
    enter(r, "columns", true, AON_SCHEMA_COLUMNS, &columns);
    for (size_t k = 0; k < columns; k++) {
      snprintf(r->place, sizeof r->place, "sheets[%zu].columns[%zu]", i + 1, k + 1);
      entry(r, k, LUA_TTABLE, "columns");
      read_references(r, &r->sheets[i], (aon_schema_column *)&r->sheets[i].columns[k]);
      lua_pop(r->state, 1);
    }
    lua_pop(r->state, 2);
  }
  lua_pop(r->state, 1);
  r->place[0] = 0;
}

/* ---- The order of the plan ---- */

static aon_schema_step step_named(reader *r, const char *name) {
  for (size_t i = 0; i < r->schema->sheet_count; i++)
    if (!strcmp(r->schema->sheets[i].entity, name))
      return (aon_schema_step){.sheet = &r->schema->sheets[i], .entity = name};
  const aon_schema_collection **one = array(r, 1, sizeof *one);
  one[0] = collection_named(r, name);
  if (!one[0]->shared)
    refuse(r, "“%s” in the order is neither an entity nor a shared collection", name);
  return (aon_schema_step){.collections = one, .collection_count = 1};
}

static aon_schema_step step_of_collections(reader *r) {
  size_t count = lua_rawlen(r->state, -1);
  const aon_schema_collection **all = array(r, count, sizeof *all);
  for (size_t i = 0; i < count; i++) {
    all[i] = collection_named(r, entry_text(r, i, "order"));
    if (!all[i]->shared)
      refuse(r, "“%s” in the order is not shared", all[i]->base.name);
  }
  return (aon_schema_step){.collections = all, .collection_count = count};
}

static void read_group(reader *r, aon_schema_step *steps, size_t *count) {
  only(r, (const char *const[]){"group", NULL});
  const char *group = text_field(r, "group", false);
  size_t members = lua_rawlen(r->state, -1), first = *count;
  for (size_t i = 0; i < members; i++) {
    if (*count >= AON_SCHEMA_STEPS)
      refuse(r, "more than %d steps", AON_SCHEMA_STEPS);
    int type = lua_rawgeti(r->state, -1, (lua_Integer)i + 1);
    if (type == LUA_TSTRING)
      steps[*count] = step_named(r, keep(r, lua_tostring(r->state, -1), lua_rawlen(r->state, -1)));
    else if (type == LUA_TTABLE)
      steps[*count] = step_of_collections(r);
    else
      refuse(r, "an entry is a name or a table of names");
    steps[(*count)++].group = group;
    lua_pop(r->state, 1);
  }
  if (group && *count > first) {
    steps[first].group_begins = true;
    steps[*count - 1].group_ends = true;
  }
}

/* Every sheet of rows and every shared collection has its place, once; rows of entries are gathered and need none of their own. */
static void check_steps(reader *r, const aon_schema_step *steps, size_t count) {
  for (size_t i = 0; i < r->schema->sheet_count + r->schema->collection_count; i++) {
    const aon_schema_sheet *sheet = i < r->schema->sheet_count ? &r->schema->sheets[i] : NULL;
    const aon_schema_collection *collection = sheet ? NULL : &r->schema->collections[i - r->schema->sheet_count];
    size_t seen = 0;
    for (size_t k = 0; k < count; k++) {
      seen += sheet && steps[k].sheet == sheet;
      for (size_t n = 0; n < steps[k].collection_count; n++)
        seen += collection && steps[k].collections[n] == collection;
    }
    bool needed = sheet ? sheet->main != NULL : collection->shared;
    if (seen > 1 || (needed && !seen))
      refuse(r, "“%s” must stand once in the order", sheet ? sheet->entity : collection->base.name);
  }
}

static const char *entity_of(const reader *r, const aon_schema_step *step) {
  for (size_t i = 0; i < r->schema->sheet_count; i++)
    for (size_t k = 0; k < r->schema->sheets[i].entry_count; k++)
      if (r->schema->sheets[i].entries[k].collection == step->collections[0])
        return r->schema->sheets[i].entity;
  return NULL;
}

static void name_entities(reader *r, aon_schema_step *steps, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!steps[i].entity)
      steps[i].entity = entity_of(r, &steps[i]);
}

static void read_order(reader *r) {
  size_t groups, count = 0;
  aon_schema_step *steps = array(r, AON_SCHEMA_STEPS, sizeof *steps);
  if (enter(r, "order", false, AON_SCHEMA_STEPS, &groups)) {
    for (size_t i = 0; i < groups; i++) {
      snprintf(r->place, sizeof r->place, "order[%zu]", i + 1);
      entry(r, i, LUA_TTABLE, "order");
      read_group(r, steps, &count);
      lua_pop(r->state, 1);
    }
    lua_pop(r->state, 1);
  } else {
    for (size_t i = 0; i < r->schema->sheet_count; i++)
      if (r->schema->sheets[i].main)
        steps[count++] = (aon_schema_step){.sheet = &r->schema->sheets[i], .entity = r->schema->sheets[i].entity};
  }
  snprintf(r->place, sizeof r->place, "order");
  check_steps(r, steps, count);
  r->place[0] = 0;
  name_entities(r, steps, count);
  r->schema->steps = steps;
  r->schema->step_count = count;
}

static int read_protected(lua_State *state) {
  reader *r = lua_touserdata(state, 1);
  r->state = state;
  if (lua_type(state, 2) != LUA_TTABLE)
    refuse(r, "a pack returns a table");
  lua_settop(state, 2);
  only(r, (const char *const[]){"name", "title", "version", "organization", "collections", "sheets", "order", NULL});
  double version = 0;
  if (!number_field(r, "version", &version) || version != AON_SCHEMA_VERSION)
    refuse(r, "version must be %d: this program reads no other", AON_SCHEMA_VERSION);
  r->schema->name = text_field(r, "name", true);
  r->schema->title = text_field(r, "title", false);
  if (!r->schema->title)
    r->schema->title = r->schema->name;
  r->schema->organization = text_field(r, "organization", false);
  read_collections(r);
  read_sheets(r);
  read_order(r);
  return 0;
}

aon_result aon_schema_read(aon_host *host, aon_arena *arena, const char *file, aon_schema *ret_schema, aon_error *error) {
  aon_schema schema = {0};
  reader r = {.arena = arena, .file = file, .schema = &schema};
  lua_State *state = aon_host_state(host);
  lua_pushcfunction(state, read_protected);
  lua_insert(state, -2);
  lua_pushlightuserdata(state, &r);
  lua_insert(state, -2);
  aon_result result = aon_host_call(host, 2, 0, error);
  if (result) {
    return result;
  }
  *ret_schema = schema;
  return AON_OK;
}

aon_result aon_schema_id(const aon_schema_collection *collection, aon_text organization, aon_text own, aon_buffer *out, aon_error *error) {
  if (collection->part_count == 1)
    return aon_buffer_append(out, collection->organization_part == 0 ? organization.data : own.data,
                             collection->organization_part == 0 ? organization.length : own.length, error);
  aon_text parts[AON_SCHEMA_PARTS];
  for (size_t i = 0; i < collection->part_count; i++)
    parts[i] = (int)i == collection->organization_part ? organization : own;
  return aon_id_join(parts, collection->part_count, out, error);
}
