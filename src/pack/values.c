/* Rows as documents: canonical values into BSON, and what the cells of a row make of the document that is there. */
#include "pack/job.h"

#include <lauxlib.h>
#include <stdlib.h>

#define BSON_ALIGNMENT ((size_t)128)
_Static_assert(_Alignof(bson_t) <= BSON_ALIGNMENT, "bson_t is aligned more strictly than its views are");

static void append_one(bson_t *document, const char *name, const aon_value *value) {
  switch (value->kind) {
  case AON_VALUE_TEXT:
    bson_append_utf8(document, name, -1, value->text.data, (int)value->text.length);
    break;
  case AON_VALUE_INTEGER:
    bson_append_int64(document, name, -1, value->integer);
    break;
  case AON_VALUE_NUMBER:
    /* A whole number is one in the document too: 38, not 38.0. */
    if (value->number >= -9007199254740992.0 && value->number <= 9007199254740992.0 && value->number == (double)(int64_t)value->number)
      bson_append_int64(document, name, -1, (int64_t)value->number);
    else
      bson_append_double(document, name, -1, value->number);
    break;
  case AON_VALUE_BOOLEAN:
    bson_append_bool(document, name, -1, value->boolean);
    break;
  case AON_VALUE_EMPTY:
  case AON_VALUE_CLEAR:
  case AON_VALUE_LIST:
    break;
  }
}

void aon_value_append(bson_t *document, const char *name, const aon_value *value, const char *wrap) {
  if (value->kind != AON_VALUE_LIST) {
    append_one(document, name, value);
    return;
  }
  bson_t list, item;
  bson_append_array_begin(document, name, -1, &list);
  for (size_t i = 0; i < value->entry_count; i++) {
    char buffer[16];
    const char *key;
    bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
    if (!wrap) {
      append_one(&list, key, &value->entries[i]);
      continue;
    }
    bson_append_document_begin(&list, key, -1, &item);
    append_one(&item, wrap, &value->entries[i]);
    bson_append_document_end(&list, &item);
  }
  bson_append_array_end(document, &list);
}

bool aon_bson_text(const bson_iter_t *value, aon_text *ret_text) {
  if (!BSON_ITER_HOLDS_UTF8(value))
    return false;
  uint32_t length;
  ret_text->data = bson_iter_utf8(value, &length);
  ret_text->length = length;
  return true;
}

bool aon_document_text(const bson_t *document, const char *property, aon_text *ret_text) {
  bson_iter_t value;
  return bson_iter_init_find(&value, document, property) && aon_bson_text(&value, ret_text);
}

aon_result aon_document_texts(const bson_t *document, const char *property, aon_arena *arena, aon_text **ret_texts, size_t *ret_count,
                              aon_error *error) {
  bson_iter_t value, item;
  *ret_count = 0;
  *ret_texts = NULL;
  if (!bson_iter_init_find(&value, document, property))
    return AON_OK;
  bool list = BSON_ITER_HOLDS_ARRAY(&value) && bson_iter_recurse(&value, &item);
  size_t capacity = 1;
  for (bson_iter_t at = item; list && bson_iter_next(&at);)
    capacity++;
  aon_text *texts = aon_arena_alloc(arena, capacity * sizeof *texts);
  if (!texts)
    return aon_fail_memory(error);
  *ret_texts = texts;
  if (!list)
    *ret_count = aon_bson_text(&value, &texts[0]);
  while (list && bson_iter_next(&item))
    *ret_count += aon_bson_text(&item, &texts[*ret_count]);
  return AON_OK;
}

void *aon_bson_array(size_t count, size_t size) {
  size_t bytes = (count * size + BSON_ALIGNMENT - 1) / BSON_ALIGNMENT * BSON_ALIGNMENT;
  void *memory = aligned_alloc(BSON_ALIGNMENT, bytes);
  return memory ? memset(memory, 0, bytes) : NULL;
}

const bson_t *aon_bson_view(aon_arena *arena, const uint8_t *bytes, uint32_t length) {
  char *room = bytes ? aon_arena_alloc(arena, sizeof(bson_t) + BSON_ALIGNMENT) : NULL;
  if (!room)
    return NULL;
  bson_t *view = (bson_t *)(void *)(room + (BSON_ALIGNMENT - (uintptr_t)room % BSON_ALIGNMENT));
  return bson_init_static(view, bytes, length) ? view : NULL;
}

const bson_t *aon_bson_keep(aon_arena *arena, bson_t *document) {
  const bson_t *view = aon_bson_view(arena, aon_arena_copy(arena, bson_get_data(document), document->len), document->len);
  bson_destroy(document);
  return view;
}

/* ---- Patches ---- */

static bool has(uint64_t bits, const aon_schema_column *column) { return bits >> column->index & 1; }

/* What one column changes, under name. */
static void patch_column(const aon_job_row *row, const aon_schema_column *column, const char *name, bson_t *patch) {
  bool created = !(row->flags & AON_ROW_EXISTS), list = column->field.shape != AON_FIELD_ONE;
  bson_iter_t value;
  if (has(row->filled, column)) {
    if ((column->reference_count && bson_iter_init_find(&value, &row->refs, column->property)) ||
        (!column->reference_count && bson_iter_init_find(&value, &row->data, column->property)))
      bson_append_iter(patch, name, -1, &value);
    return;
  }
  if (!has(row->cleared, column) && !created)
    return;
  if (column->default_text)
    aon_value_append(patch, name, &column->default_value, column->wrap);
  else if (list)
    aon_value_append(patch, name, &(aon_value){.kind = AON_VALUE_LIST}, NULL);
  else if (!created)
    bson_append_null(patch, name, -1);
}

uint64_t aon_sheet_bound(const aon_schema_sheet *sheet, const aon_schema_collection *collection) {
  uint64_t bits = 0;
  for (size_t i = 0; i < sheet->column_count; i++)
    if (sheet->columns[i].collection == collection && !sheet->columns[i].id)
      bits |= (uint64_t)1 << i;
  return bits;
}

static void patch_parent(const aon_job_row *row, const aon_schema_column *first, bson_t *patch) {
  bson_t inner;
  bson_init(&inner);
  for (size_t i = first->index; i < row->sheet->column_count; i++) {
    const aon_schema_column *column = &row->sheet->columns[i];
    if (column->parent && !strcmp(column->parent, first->parent))
      patch_column(row, column, column->child, &inner);
  }
  if (!bson_empty(&inner))
    bson_append_document(patch, first->parent, -1, &inner);
  bson_destroy(&inner);
}

void aon_row_patch(const aon_job_row *row, const aon_schema_collection *collection, bson_t *ret_patch) {
  bson_init(ret_patch);
  uint64_t bound = aon_sheet_bound(row->sheet, collection);
  for (size_t i = 0; i < row->sheet->column_count; i++) {
    const aon_schema_column *column = &row->sheet->columns[i];
    if (!has(bound, column))
      continue;
    bool first = true;
    for (size_t k = 0; column->parent && k < i; k++)
      first &= !row->sheet->columns[k].parent || strcmp(row->sheet->columns[k].parent, column->parent) != 0;
    if (!column->parent)
      patch_column(row, column, column->property, ret_patch);
    else if (first)
      patch_parent(row, column, ret_patch);
  }
}

/* Nothing of the patch stands in the target, and it removes nothing: then both are copied as they are. */
static bool only_adds(const bson_t *target, const bson_t *patch) {
  bson_iter_t at;
  for (bson_iter_init(&at, patch); bson_iter_next(&at);)
    if (BSON_ITER_HOLDS_NULL(&at) || bson_has_field(target, bson_iter_key(&at)))
      return false;
  return true;
}

void aon_document_put(const bson_t *target, const bson_t *patch, bson_t *ret_result) {
  bson_iter_t at, other;
  bson_init(ret_result);
  if (only_adds(target, patch)) {
    bson_concat(ret_result, target);
    bson_concat(ret_result, patch);
    return;
  }
  for (bson_iter_init(&at, target); bson_iter_next(&at);) {
    if (!bson_iter_init_find(&other, patch, bson_iter_key(&at)))
      bson_append_iter(ret_result, NULL, 0, &at);
    else if (!BSON_ITER_HOLDS_NULL(&other))
      bson_append_iter(ret_result, NULL, 0, &other);
  }
  for (bson_iter_init(&at, patch); bson_iter_next(&at);)
    if (!BSON_ITER_HOLDS_NULL(&at) && !bson_has_field(target, bson_iter_key(&at)))
      bson_append_iter(ret_result, NULL, 0, &at);
}

void aon_document_begin(const aon_pack_job *job, const aon_schema_collection *collection, aon_text id, aon_text own, bson_t *ret_document) {
  bson_init(ret_document);
  if (collection->base.id_property)
    bson_append_utf8(ret_document, collection->base.id_property, -1, id.data, (int)id.length);
  for (size_t i = 0; i < collection->part_count && collection->stamped; i++) {
    aon_text part = (int)i == collection->organization_part ? job->organization : own;
    if (strcmp(collection->parts[i], collection->base.id_property) != 0)
      bson_append_utf8(ret_document, collection->parts[i], -1, part.data, (int)part.length);
  }
  if (collection->organization_property && !bson_has_field(ret_document, collection->organization_property))
    bson_append_utf8(ret_document, collection->organization_property, -1, job->organization.data, (int)job->organization.length);
}

bool aon_document_foreign(const aon_pack_job *job, const aon_schema_collection *collection, const bson_t *document) {
  aon_text holder = {0};
  if (!collection->organization_property)
    return false;
  return !aon_document_text(document, collection->organization_property, &holder) || !aon_text_same(holder, job->organization);
}

/* Objects whose last member was cleared go with it. */
static void drop_empty_parents(const aon_schema_sheet *sheet, bson_t *document) {
  bson_t gone;
  bson_init(&gone);
  for (size_t i = 0; i < sheet->column_count; i++) {
    bson_iter_t value, inner;
    const char *parent = sheet->columns[i].parent;
    if (parent && !bson_has_field(&gone, parent) && bson_iter_init_find(&value, document, parent) && BSON_ITER_HOLDS_DOCUMENT(&value) &&
        bson_iter_recurse(&value, &inner) && !bson_iter_next(&inner))
      bson_append_null(&gone, parent, -1);
  }
  if (!bson_empty(&gone)) {
    bson_t rest;
    aon_document_put(document, &gone, &rest);
    bson_destroy(document);
    bson_steal(document, &rest);
  }
  bson_destroy(&gone);
}

static aon_result adjust(aon_pack_job *job, const aon_job_row *row, bson_t *document, aon_error *error) {
  AON_ARENA_CLEANUP aon_arena arena = {0};
  const bson_t *patch;
  aon_result result = aon_bridge_row(job, row, document, error);
  if (!result)
    result = aon_bridge_adjust(job, row->sheet->adjust, &arena, &patch, error);
  if (result || !patch)
    return result;
  bson_t adjusted;
  aon_document_put(document, patch, &adjusted);
  bson_destroy(document);
  bson_steal(document, &adjusted);
  return AON_OK;
}

aon_result aon_row_after(aon_pack_job *job, const aon_job_row *row, bson_t *ret_after, aon_error *error) {
  bson_t start, patch, after;
  bool exists = row->before.bson != NULL;
  if (!exists && row->sheet->main)
    aon_document_begin(job, row->sheet->main, row->id, row->id, &start);
  else
    bson_init(&start);
  aon_row_patch(row, row->sheet->main, &patch);
  aon_result result = aon_document_patch(exists ? &row->before_view : &start, &patch, &after, error);
  bson_destroy(&patch);
  bson_destroy(&start);
  if (result)
    return result;
  drop_empty_parents(row->sheet, &after);
  if (row->sheet->adjust != LUA_NOREF)
    result = adjust(job, row, &after, error);
  if (result) {
    bson_destroy(&after);
    return result;
  }
  bson_steal(ret_after, &after);
  return AON_OK;
}

const char *aon_row_shown(const aon_job_row *row, const aon_schema_column *column, aon_arena *arena) {
  char name[24];
  bson_iter_t value;
  aon_text text = {0};
  snprintf(name, sizeof name, "%zu", column->index);
  if (column->field.sensitive)
    return NULL;
  if (column->id && (row->flags & AON_ROW_GIVEN))
    text = row->id;
  else if (has(row->cleared, column))
    return AON_CLEAR_WORD;
  else if (!aon_document_text(&row->shown, name, &text) && bson_iter_init_find(&value, &row->data, column->property))
    (void)aon_bson_text(&value, &text);
  return text.data ? aon_arena_text(arena, text.data, text.length) : NULL;
}
