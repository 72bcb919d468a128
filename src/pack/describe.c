/* A pack for people and for programs: its stores, collections, sheets, and the rules of each column. */
#include "pack/describe.h"

#include <string.h>

#include "model/document.h"
#include "model/text.h"

#define WIDEST_COLUMN 32 /* characters of a column of the table for people before it stops pushing the next one */

/* Writes as long as nothing went wrong: a description is many small pieces. */
typedef struct writer {
  aon_buffer *out;
  aon_error *error;
  aon_result result;
} writer;

static __attribute__((format(printf, 2, 3))) void put(writer *w, const char *format, ...) {
  if (w->result)
    return;
  va_list arguments;
  char text[400];
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof text)
    w->result = aon_fail(w->error, AON_ENVIRONMENT, "bad_pack", "A name in the pack is longer than %zu bytes.", sizeof text);
  else
    w->result = aon_buffer_append(w->out, text, (size_t)length, w->error);
}

static void put_text(writer *w, const char *text) {
  if (!w->result)
    w->result = aon_buffer_text(w->out, text, w->error);
}

static void put_words(writer *w, const char *before, const char *const *words, const char *between) {
  put_text(w, before);
  for (size_t i = 0; words[i]; i++) {
    put_text(w, i ? between : "");
    put_text(w, words[i]);
  }
}

/* ---- Rules in words ---- */

static const char *kind_words(const aon_field *field) {
  static const char *const words[AON_FIELD_TYPE_COUNT] = {[AON_FIELD_TEXT] = "text",
                                                          [AON_FIELD_ID] = "id",
                                                          [AON_FIELD_EMAIL] = "email address",
                                                          [AON_FIELD_PHONE] = "phone number such as +351912345678",
                                                          [AON_FIELD_LANGUAGE] = "language tag such as pt-PT",
                                                          [AON_FIELD_COUNTRY] = "country code of two letters",
                                                          [AON_FIELD_TIME_ZONE] = "time zone such as Europe/Lisbon",
                                                          [AON_FIELD_DATE] = "date (YYYY-MM-DD)",
                                                          [AON_FIELD_TIME] = "time (HH:MM)",
                                                          [AON_FIELD_INTEGER] = "whole number",
                                                          [AON_FIELD_NUMBER] = "number",
                                                          [AON_FIELD_BOOLEAN] = "TRUE or FALSE"};
  return words[field->type];
}

static void put_references(writer *w, const aon_schema_column *column) {
  for (size_t i = 0; i < column->reference_count; i++) {
    const aon_schema_reference *reference = &column->references[i];
    put(w, "%s%s of a %s", i ? " or " : "", reference->by, reference->noun);
    if (reference->when)
      put(w, " (where %s is %s)", column->reference_when->heading, reference->when);
    if (reference->make)
      put_text(w, ", made if it is new");
  }
}

static void put_kind(writer *w, const aon_schema_column *column) {
  const aon_field *field = &column->field;
  if (field->shape == AON_FIELD_LIST)
    put_text(w, "list separated by commas: ");
  else if (field->shape == AON_FIELD_LINES)
    put_text(w, "one per line: ");
  if (column->reference_count)
    put_references(w, column);
  else if (field->type == AON_FIELD_CHOICE)
    put_words(w, "one of ", field->choices, ", ");
  else
    put_text(w, kind_words(field));
  if (field->type == AON_FIELD_INTEGER && field->choices)
    put_words(w, " or ", field->choices, ", ");
}

static void put_range(writer *w, const aon_field *field) {
  char low[AON_NUMBER_TEXT], high[AON_NUMBER_TEXT];
  aon_number_text(field->minimum, low);
  aon_number_text(field->maximum, high);
  if (field->has_minimum && field->has_maximum)
    put(w, ", from %s to %s", low, high);
  else if (field->has_minimum)
    put(w, ", %s or more", low);
  else if (field->has_maximum)
    put(w, ", %s or less", high);
  if (field->min_characters)
    put(w, ", at least %u characters", field->min_characters);
  if (field->max_characters)
    put(w, ", at most %u characters", field->max_characters);
}

aon_result aon_schema_column_words(const aon_schema_column *column, aon_buffer *out, aon_error *error) {
  writer w = {out, error, AON_OK};
  put_kind(&w, column);
  put_range(&w, &column->field);
  if (column->required)
    put_text(&w, ", required");
  if (column->unique)
    put_text(&w, ", unique");
  if (column->default_text) {
    put_text(&w, ", ");
    put_text(&w, column->default_text);
    put_text(&w, " if left empty");
  }
  if (column->id)
    put_text(&w, ", made if left empty");
  if (column->create_only)
    put_text(&w, ", only for new rows");
  return w.result;
}

/* ---- For people ---- */

static size_t width_of(const char *text) { return aon_text_characters((aon_text){text, strlen(text)}); }

static void put_padded(writer *w, const char *text, size_t width) {
  put_text(w, text);
  for (size_t i = width_of(text); i < width; i++)
    put_text(w, " ");
  put_text(w, "  ");
}

static const char *property_of(const aon_schema_column *column) { return column->collection ? column->property : "(not kept)"; }

static void people_columns(writer *w, const aon_schema_sheet *sheet) {
  size_t headings = 0, properties = 0;
  for (size_t i = 0; i < sheet->column_count; i++) {
    size_t heading = width_of(sheet->columns[i].heading) + sheet->columns[i].required, property = width_of(property_of(&sheet->columns[i]));
    headings = heading > headings && heading <= WIDEST_COLUMN ? heading : headings;
    properties = property > properties && property <= WIDEST_COLUMN ? property : properties;
  }
  for (size_t i = 0; i < sheet->column_count; i++) {
    const aon_schema_column *column = &sheet->columns[i];
    aon_buffer heading AON_BUFFER_CLEANUP = {0};
    if (!w->result)
      w->result = aon_buffer_format(&heading, w->error, "%s%s", column->heading, column->required ? "*" : "");
    put_text(w, "  ");
    put_padded(w, heading.data ? heading.data : "", headings);
    put_padded(w, property_of(column), properties);
    if (!w->result)
      w->result = aon_schema_column_words(column, w->out, w->error);
    put_text(w, "\n");
  }
}

static void people_sheet(writer *w, const aon_schema_sheet *sheet) {
  put_text(w, "\nSheet ");
  put_text(w, sheet->name);
  if (sheet->main)
    put(w, " -> %s", sheet->main->base.name);
  for (size_t i = 0; i < sheet->extension_count; i++)
    put(w, ", %s", sheet->extensions[i]->base.name);
  for (size_t i = 0; i < sheet->entry_count; i++)
    put(w, "%s%s", i ? ", " : " -> ", sheet->entries[i].collection->base.name);
  put_text(w, "\n");
  people_columns(w, sheet);
}

/* Is this the first collection of its store? Stores are listed in the order of their first one. */
static bool opens_store(const aon_schema *schema, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (!strcmp(schema->collections[i].base.store, schema->collections[index].base.store))
      return false;
  return true;
}

static void people_store(writer *w, const aon_schema *schema, const char *store) {
  size_t names = 0;
  put(w, "\nStore %s\n", store);
  for (size_t i = 0; i < schema->collection_count; i++) {
    size_t width = width_of(schema->collections[i].base.name);
    if (!strcmp(schema->collections[i].base.store, store))
      names = width > names && width <= WIDEST_COLUMN ? width : names;
  }
  for (size_t i = 0; i < schema->collection_count; i++) {
    const aon_schema_collection *collection = &schema->collections[i];
    if (strcmp(collection->base.store, store) != 0)
      continue;
    put_text(w, "  ");
    put_padded(w, collection->base.name, names);
    if (collection->base.path)
      put_text(w, collection->base.path);
    for (size_t k = 0; !collection->base.path && k < collection->part_count; k++)
      put(w, "%s%s", k ? ":" : "", collection->parts[k]);
    put_text(w, "\n");
  }
}

static void people_pack(writer *w, const aon_pack *pack) {
  const aon_schema *schema = &pack->schema;
  put_text(w, schema->name);
  put_text(w, ": ");
  put_text(w, schema->title);
  put_text(w, "\n");
  put_text(w, pack->file);
  put_text(w, "\n");
  for (size_t i = 0; i < schema->collection_count; i++)
    if (opens_store(schema, i))
      people_store(w, schema, schema->collections[i].base.store);
  for (size_t i = 0; i < schema->sheet_count; i++)
    people_sheet(w, &schema->sheets[i]);
  put_text(w, "\n* needed when a row is new. Empty cells change nothing; the word " AON_CLEAR_WORD " empties a property.\n");
}

/* ---- As JSON ---- */

static void json_text(writer *w, const char *text) {
  if (!text)
    put_text(w, "null");
  else if (!w->result)
    w->result = aon_text_to_json(text, strlen(text), w->out, w->error);
}

static void json_key(writer *w, bool first, const char *key) {
  put_text(w, first ? "" : ",");
  json_text(w, key);
  put_text(w, ":");
}

static void json_member(writer *w, bool first, const char *key, const char *text) {
  json_key(w, first, key);
  json_text(w, text);
}

static void json_flag(writer *w, const char *key, bool value) {
  json_key(w, false, key);
  put_text(w, value ? "true" : "false");
}

static void json_number(writer *w, const char *key, bool there, double number) {
  char text[AON_NUMBER_TEXT];
  json_key(w, false, key);
  aon_number_text(number, text);
  put_text(w, there ? text : "null");
}

static void json_texts(writer *w, const char *key, const char *const *texts) {
  json_key(w, false, key);
  put_text(w, texts ? "[" : "null");
  for (size_t i = 0; texts && texts[i]; i++) {
    put_text(w, i ? "," : "");
    json_text(w, texts[i]);
  }
  put_text(w, texts ? "]" : "");
}

static void json_references(writer *w, const aon_schema_column *column) {
  json_key(w, false, "references");
  put_text(w, "[");
  for (size_t i = 0; i < column->reference_count; i++) {
    put_text(w, i ? ",{" : "{");
    json_member(w, true, "collection", column->references[i].collection->base.name);
    json_member(w, false, "by", column->references[i].by);
    json_member(w, false, "when", column->references[i].when);
    json_flag(w, "make", column->references[i].make);
    put_text(w, "}");
  }
  put_text(w, "]");
}

static void json_column(writer *w, const aon_schema_column *column) {
  static const char *const shapes[] = {"one", "list", "lines"};
  const aon_field *field = &column->field;
  put_text(w, "{");
  json_member(w, true, "heading", column->heading);
  json_member(w, false, "property", column->property);
  json_member(w, false, "collection", column->collection ? column->collection->base.name : NULL);
  json_member(w, false, "type", aon_field_type_name(field->type));
  json_member(w, false, "shape", shapes[field->shape]);
  json_flag(w, "id", column->id);
  json_flag(w, "required", column->required);
  json_flag(w, "unique", column->unique);
  json_flag(w, "sensitive", field->sensitive);
  json_flag(w, "createOnly", column->create_only);
  json_member(w, false, "default", column->default_text);
  json_texts(w, "choices", field->choices);
  json_number(w, "minimum", field->has_minimum, field->minimum);
  json_number(w, "maximum", field->has_maximum, field->maximum);
  json_number(w, "minCharacters", field->min_characters > 0, field->min_characters);
  json_number(w, "maxCharacters", field->max_characters > 0, field->max_characters);
  json_references(w, column);
  json_member(w, false, "note", column->note);
  json_member(w, false, "example", column->example);
  put_text(w, "}");
}

static void json_collection(writer *w, const aon_schema_collection *collection) {
  put_text(w, "{");
  json_member(w, true, "store", collection->base.store);
  json_member(w, false, "name", collection->base.name);
  json_member(w, false, "idProperty", collection->base.id_property);
  json_texts(w, "idParts", collection->parts);
  json_member(w, false, "path", collection->base.path);
  put_text(w, "}");
}

static void json_sheet(writer *w, const aon_schema_sheet *sheet) {
  put_text(w, "{");
  json_member(w, true, "name", sheet->name);
  json_member(w, false, "entity", sheet->entity);
  json_member(w, false, "collection", sheet->main ? sheet->main->base.name : NULL);
  json_member(w, false, "note", sheet->note);
  json_key(w, false, "columns");
  put_text(w, "[");
  for (size_t i = 0; i < sheet->column_count; i++) {
    put_text(w, i ? "," : "");
    json_column(w, &sheet->columns[i]);
  }
  put_text(w, "]}");
}

static void json_pack(writer *w, const aon_pack *pack) {
  const aon_schema *schema = &pack->schema;
  put_text(w, "{");
  json_member(w, true, "name", schema->name);
  json_member(w, false, "title", schema->title);
  json_member(w, false, "file", pack->file);
  json_key(w, false, "version");
  put(w, "%d", AON_SCHEMA_VERSION);
  json_key(w, false, "stores");
  put_text(w, "[");
  for (size_t i = 0; i < schema->collection_count; i++)
    if (opens_store(schema, i)) {
      put_text(w, i ? "," : "");
      json_text(w, schema->collections[i].base.store);
    }
  put_text(w, "]");
  json_key(w, false, "collections");
  put_text(w, "[");
  for (size_t i = 0; i < schema->collection_count; i++) {
    put_text(w, i ? "," : "");
    json_collection(w, &schema->collections[i]);
  }
  put_text(w, "]");
  json_key(w, false, "sheets");
  put_text(w, "[");
  for (size_t i = 0; i < schema->sheet_count; i++) {
    put_text(w, i ? "," : "");
    json_sheet(w, &schema->sheets[i]);
  }
  put_text(w, "]}\n");
}

aon_result aon_pack_describe(const aon_pack *pack, bool json, aon_buffer *out, aon_error *error) {
  writer w = {out, error, AON_OK};
  if (json)
    json_pack(&w, pack);
  else
    people_pack(&w, pack);
  return w.result;
}
