/* Rows of PostgreSQL to images and back, and what the server would make of a document.
 *
 * The token of an image lists the columns whose text is another than the one that its property would be spelled as, each as
 *     length of name u16 · name · null u8 · length of text u32 · text            (little-endian)
 *
 * Invariant: the row of an image is the row it was read from (typed columns: equal by their type's equality). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/document.h"
#include "model/text.h"
#include "store/postgresql_internal.h"

#define COLUMN_DOC 1
#define COLUMN_BSON 2
#define ENTRY_HEAD 7 /* bytes of a token's entry beside name and text */

void pg_result_row(const PGresult *result, int line, int from, size_t columns, pg_text *ret_row) {
  for (size_t i = 0; i < columns; i++) {
    int at = from + (int)i;
    ret_row[i] = (pg_text){0};
    if (!PQgetisnull(result, line, at))
      ret_row[i] = (pg_text){.data = PQgetvalue(result, line, at), .length = (size_t)PQgetlength(result, line, at)};
  }
}

/* ---- tokens ---- */

static void put_number(unsigned char *at, uint64_t number, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    at[i] = (unsigned char)(number >> (8 * i));
}

static uint64_t get_number(const uint8_t *at, size_t bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < bytes; i++)
    number |= (uint64_t)at[i] << (8 * i);
  return number;
}

static aon_result append_token(const char *name, const pg_text *text, aon_buffer *token, aon_error *error) {
  unsigned char head[2], tail[5];
  put_number(head, strlen(name), 2);
  tail[0] = !text->data;
  put_number(tail + 1, text->length, 4);
  aon_result result = aon_buffer_append(token, head, sizeof head, error);
  if (!result)
    result = aon_buffer_text(token, name, error);
  if (!result)
    result = aon_buffer_append(token, tail, sizeof tail, error);
  return result || !text->length ? result : aon_buffer_append(token, text->data, text->length, error);
}

static aon_result apply_token(const pg_store *store, const pg_table *table, const aon_image *image, aon_arena *arena, pg_text *row,
                              aon_error *error) {
  const uint8_t *at = image->token, *end = at + image->token_length;
  while (end - at >= ENTRY_HEAD) {
    size_t name_length = (size_t)get_number(at, 2);
    if ((size_t)(end - at) < ENTRY_HEAD + name_length)
      break;
    const char *name = (const char *)at + 2;
    const uint8_t *tail = at + 2 + name_length;
    size_t length = (size_t)get_number(tail + 1, 4);
    if ((size_t)(end - tail) < 5 + length)
      break;
    for (size_t i = 0; i < table->column_count; i++)
      if (strlen(table->columns[i].name) == name_length && !memcmp(table->columns[i].name, name, name_length)) {
        row[i] = (pg_text){.length = length};
        if (!tail[0] && !(row[i].data = aon_arena_text(arena, (const char *)tail + 5, length)))
          return aon_fail_memory(error);
      }
    at = tail + 5 + length;
  }
  return at == end
             ? AON_OK
             : aon_fail(error, AON_CORRUPT, "bad_token", "The stored form of a row of %s/%s can't be read.", store->name, table->name);
}

static aon_result keep_image(const bson_t *document, const aon_buffer *token, aon_arena *arena, aon_image *ret_image, aon_error *error) {
  size_t length = token ? token->length : 0;
  aon_image image = {.bson_length = document->len, .token_length = (uint32_t)length};
  image.bson = aon_arena_copy(arena, bson_get_data(document), document->len);
  if (length)
    image.token = aon_arena_copy(arena, token->data, length);
  if (!image.bson || (length && !image.token))
    return aon_fail_memory(error);
  *ret_image = image;
  return AON_OK;
}

/* ---- rows to images ---- */

static aon_result not_a_document(const pg_store *store, const pg_table *table, const pg_text *id, const char *why, aon_error *error) {
  return aon_fail(error, AON_PERMANENT, "bad_document", "%s/%s/%.*s holds no document: %s. Repair its column doc by hand.", store->name,
                  table->name, id->length < PG_ID_SHOWN ? (int)id->length : PG_ID_SHOWN, id->data ? id->data : "", why);
}

/* The document that bson holds, if doc is still its JSON. */
static aon_result bson_holds(const pg_text *row, const bson_t *doc, aon_arena *arena, bson_t *ret_view, bool *ret_holds, aon_error *error) {
  const uint8_t *bytes;
  size_t length;
  pg_text json;
  bson_t projected;
  bool exact;
  aon_error why = AON_ERROR_INIT;
  *ret_holds = false;
  if (!pg_hex_read(&row[COLUMN_BSON], arena, &bytes, &length))
    return bytes ? AON_OK : aon_fail_memory(error);
  if (!bson_init_static(ret_view, bytes, length) || !bson_validate(ret_view, BSON_VALIDATE_NONE, NULL))
    return AON_OK;
  aon_result result = pg_json_write(ret_view, true, arena, &json, &why);
  if (!result)
    result = pg_json_read(json.data, json.length, &projected, &exact, &why);
  if (result == AON_NO_MEMORY) /* not the same as “somebody else changed doc”: its types would be lost */
    return aon_fail_memory(error);
  if (result)
    return AON_OK;
  *ret_holds = aon_document_equal(&projected, doc, NULL);
  bson_destroy(&projected);
  return AON_OK;
}

static aon_result document_image(const pg_store *store, const pg_table *table, const pg_text *row, bool token, aon_arena *arena,
                                 aon_image *ret_image, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer kept = {0};
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  bson_t doc, whole;
  bool exact;
  const pg_text *text = &row[COLUMN_DOC];
  aon_error why = AON_ERROR_INIT;
  if (!text->data)
    return not_a_document(store, table, row, "it is NULL", error);
  aon_result result = pg_json_read(text->data, text->length, &doc, &exact, &why);
  if (result == AON_REJECTED)
    return not_a_document(store, table, row, "it is not one JSON object, or has a number beyond double", error);
  if (result)
    return pg_tell(result, &why, error);
  if (token && !table->columns[COLUMN_DOC].jsonb) {
    pg_text again;
    result = pg_json_write(&doc, false, &scratch, &again, error);
    exact = !result && pg_same(&again, text);
  }
  bool stale = table->has_bson && row[COLUMN_BSON].data, holds = false;
  if (!result && stale)
    result = bson_holds(row, &doc, &scratch, &whole, &holds, error);
  if (!result && holds) {
    result = keep_image(&whole, NULL, arena, ret_image, error);
  } else if (!result) {
    if (token && !exact)
      result = append_token("doc", text, &kept, error);
    if (!result && token && stale)
      result = append_token("bson", &row[COLUMN_BSON], &kept, error);
    if (!result)
      result = keep_image(&doc, &kept, arena, ret_image, error);
  }
  bson_destroy(&doc);
  return result;
}

/* generated: those columns too, as a reader sees them. */
static aon_result columns_image(const pg_store *store, const pg_table *table, const pg_text *row, bool generated, bool token,
                                aon_arena *arena, aon_image *ret_image, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer kept = {0};
  AON_ARENA_CLEANUP aon_arena scratch = {0};
  bson_t document = BSON_INITIALIZER;
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    const pg_column *column = &table->columns[i];
    bool plain;
    if (row[i].absent || (column->generated && !generated))
      continue;
    result = pg_append(column, column->name, &row[i], &scratch, &document, &plain, error);
    if (!result && token && !plain && !column->generated)
      result = append_token(column->name, &row[i], &kept, error);
  }
  if (!result)
    result = keep_image(&document, &kept, arena, ret_image, error);
  else
    aon_error_prefix(error, "%s/%s: ", store->name, table->name);
  bson_destroy(&document);
  return result;
}

aon_result pg_row_image(pg_store *store, const pg_table *table, const pg_text *row, bool token, aon_arena *arena, aon_image *ret_image,
                        aon_error *error) {
  return table->documents ? document_image(store, table, row, token, arena, ret_image, error)
                          : columns_image(store, table, row, true, token, arena, ret_image, error);
}

aon_result pg_row_id(const pg_table *table, const pg_text *row, aon_arena *arena, aon_text *ret_id, aon_error *error) {
  if (table->key_count == 1) {
    const pg_text *key = &row[table->keys[0]];
    *ret_id = (aon_text){key->data ? key->data : "", key->length};
    return AON_OK;
  }
  AON_BUFFER_CLEANUP aon_buffer joined = {0};
  aon_text *parts = aon_arena_alloc(arena, table->key_count * sizeof *parts);
  if (!parts)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->key_count; i++) {
    const pg_text *key = &row[table->keys[i]];
    parts[i] = (aon_text){key->data ? key->data : "", key->length};
  }
  aon_result result = aon_id_join(parts, table->key_count, &joined, error);
  if (result)
    return result;
  *ret_id = (aon_text){aon_arena_text(arena, joined.data, joined.length), joined.length};
  return ret_id->data ? AON_OK : aon_fail_memory(error);
}

/* ---- images to rows ---- */

static aon_result unknown_property(const pg_store *store, const pg_table *table, const char *name, aon_result kind, aon_error *error) {
  for (size_t i = 0; i < table->column_count; i++)
    if (!strcasecmp(table->columns[i].name, name))
      return aon_fail(error, kind, "unknown_property", "%s/%s has no column “%s”; write “%s”.", store->name, table->name, name,
                      table->columns[i].name);
  return aon_fail(error, kind, "unknown_property", "%s/%s has no column “%s”. Leave the property out, or add the column.", store->name,
                  table->name, name);
}

static aon_result properties_row(const pg_store *store, const pg_table *table, const bson_t *document, aon_result unknown, aon_arena *arena,
                                 pg_text *ret_row, aon_error *error) {
  bson_iter_t at;
  for (size_t i = 0; i < table->column_count; i++)
    ret_row[i] = (pg_text){.absent = true};
  if (!bson_iter_init(&at, document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a row of %s/%s can't be read.", store->name, table->name);
  for (size_t hint = 0; bson_iter_next(&at); hint++) {
    size_t place;
    const pg_column *column = pg_column_find(table, bson_iter_key(&at), hint, &place);
    if (!column)
      return unknown_property(store, table, bson_iter_key(&at), unknown, error);
    hint = place;
    if (column->generated)
      continue;
    aon_error why = AON_ERROR_INIT;
    aon_result result = pg_spell(column, &at, arena, &ret_row[place], &why);
    if (result == AON_REJECTED) {
      result = aon_fail(error, AON_REJECTED, why.code, "%s/%s can't hold the property “%s”: %s.", store->name, table->name, column->name,
                        why.sentence);
      aon_error_properties(error, &column->name, 1);
      return result;
    }
    if (result)
      return pg_tell(result, &why, error);
  }
  return AON_OK;
}

/* id, doc, and bson where doc can't say it all. */
static aon_result document_row(const pg_table *table, aon_text id, const bson_t *document, aon_arena *arena, pg_text *ret_row,
                               aon_error *error) {
  bool jsonb = !table->shape.exists || table->columns[COLUMN_DOC].jsonb;
  ret_row[0] = (pg_text){.data = aon_arena_text(arena, id.data, id.length), .length = id.length};
  if (!ret_row[0].data)
    return aon_fail_memory(error);
  aon_result result = pg_json_write(document, jsonb, arena, &ret_row[COLUMN_DOC], error);
  if (result || !table->has_bson)
    return result;
  ret_row[COLUMN_BSON] = (pg_text){0};
  return pg_json_holds(document, !jsonb) ? AON_OK
                                         : pg_hex_write(bson_get_data(document), document->len, arena, &ret_row[COLUMN_BSON], error);
}

static aon_result stamped_row(const pg_table *table, aon_text id, const bson_t *document, const char *stamp, aon_arena *arena,
                              pg_text *ret_row, aon_error *error) {
  bson_t copy = BSON_INITIALIZER;
  bson_copy_to_excluding_noinit(document, &copy, AON_STAMP_NAME, NULL);
  aon_result result = bson_append_utf8(&copy, AON_STAMP_NAME, -1, stamp, -1)
                          ? AON_OK
                          : aon_fail(error, AON_PERMANENT, "too_long", "A document is too large.");
  if (!result)
    result = document_row(table, id, &copy, arena, ret_row, error);
  bson_destroy(&copy);
  return result;
}

aon_result pg_image_row(pg_store *store, const pg_table *table, aon_text id, const aon_image *image, const char *stamp, aon_arena *arena,
                        pg_text *ret_row, aon_error *error) {
  bson_t document;
  size_t at;
  if (!aon_image_view(image, &document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a row of %s/%s can't be read.", store->name, table->name);
  if (table->documents && stamp)
    return stamped_row(table, id, &document, stamp, arena, ret_row, error);
  aon_result result = table->documents ? document_row(table, id, &document, arena, ret_row, error)
                                       : properties_row(store, table, &document, AON_PERMANENT, arena, ret_row, error);
  if (!result && image->token)
    result = apply_token(store, table, image, arena, ret_row, error);
  if (!result && stamp && pg_column_find(table, AON_STAMP_NAME, 0, &at)) { /* a table without that column can't be stamped */
    ret_row[at] = (pg_text){.data = aon_arena_text(arena, stamp, strlen(stamp)), .length = strlen(stamp)};
    if (!ret_row[at].data)
      return aon_fail_memory(error);
  }
  return result;
}

/* ---- what the server would keep ---- */

static aon_result bad_id(const pg_store *store, const pg_table *table, aon_text id, const char *why, aon_error *error) {
  return aon_fail(error, AON_REJECTED, "bad_format", "“%.*s” can't be an id in %s/%s: %s.", pg_shown(id), id.data, store->name, table->name,
                  why);
}

static aon_result fill_key(pg_store *store, const pg_table *table, aon_text id, aon_arena *arena, pg_text *row, bool *ret_given,
                           aon_error *error) {
  aon_text *parts = aon_arena_alloc(arena, table->key_count * sizeof *parts);
  bool fits = true;
  aon_result result = AON_OK;
  if (!parts)
    return aon_fail_memory(error);
  if (table->key_count == 1)
    parts[0] = id;
  else
    result = aon_id_split(id, table->key_count, arena, parts, &fits, error);
  if (result || !fits)
    return result ? result : bad_id(store, table, id, "it needs one part for each column of the key, joined with “:”", error);
  *ret_given = false;
  for (size_t i = 0; i < table->key_count; i++) {
    size_t at = table->keys[i];
    if (!pg_id_fits(&table->columns[at], parts[i].data, parts[i].length))
      return bad_id(store, table, id, "its key column is of another type, or spells it otherwise", error);
    if (!row[at].absent && row[at].data) {
      *ret_given = true;
      continue;
    }
    row[at] = (pg_text){.data = aon_arena_text(arena, parts[i].data, parts[i].length), .length = parts[i].length};
    if (!row[at].data)
      return aon_fail_memory(error);
  }
  return AON_OK;
}

static aon_result check_key(pg_store *store, const pg_table *table, aon_text id, const pg_text *row, bool given, aon_arena *arena,
                            aon_error *error) {
  aon_text found;
  aon_result result = pg_row_id(table, row, arena, &found, error);
  if (result || (found.length == id.length && !memcmp(found.data, id.data, id.length)))
    return result;
  if (given)
    return aon_fail(error, AON_REJECTED, "inconsistent", "The document for %s/%s/%.*s names another key in its own properties.",
                    store->name, table->name, pg_shown(id), id.data);
  return aon_fail(error, AON_REJECTED, "bad_format", "The id “%.*s” in %s/%s would be stored as “%.*s”. Write it like that.", pg_shown(id),
                  id.data, store->name, table->name, pg_shown(found), found.data);
}

/* Certainly kept as we spell it? */
static aon_result settled(const pg_store *store, const pg_table *table, const pg_column *column, const pg_text *text, bool *ret_settled,
                          aon_error *error) {
  static const struct {
    const char *base;
    int64_t least, most;
  } ranges[] = {{"int2", INT16_MIN, INT16_MAX}, {"int4", INT32_MIN, INT32_MAX}};
  *ret_settled = !text->data || (column->certain && column->form == FORM_TEXT) || (column->certain && column->form == FORM_BYTES);
  if (*ret_settled || !column->certain)
    return AON_OK;
  if (column->form == FORM_BOOLEAN)
    *ret_settled = !strcmp(text->data, "true") || !strcmp(text->data, "false");
  if (column->form == FORM_REAL)
    *ret_settled = text->data[strspn(text->data, "+-.0123456789e")] == 0 && text->length < 40;
  if (column->form != FORM_INTEGER)
    return AON_OK;
  *ret_settled = pg_id_fits(column, text->data, text->length);
  size_t digits = *text->data == '-';
  bool whole = text->data[digits] && strspn(text->data + digits, "0123456789") == text->length - digits;
  for (size_t i = 0; whole && !*ret_settled && i < sizeof ranges / sizeof *ranges; i++)
    if (!strcmp(column->base, ranges[i].base))
      return aon_fail(error, AON_REJECTED, "out_of_range",
                      "%s/%s can't hold the property “%s”: its column is declared %s, %" PRId64 " to %" PRId64 ".", store->name,
                      table->name, column->name, column->type, ranges[i].least, ranges[i].most);
  return AON_OK;
}

typedef struct asking { /* one select: a value of each column that isn't certain */
  pg_store *store;
  const pg_table *table;
  pg_text *row;
  size_t *columns; /* that are asked for */
  size_t count;
} asking;

static aon_result ask_sql(const asking *a, size_t from, size_t to, aon_buffer *sql, aon_postgresql_value *values, size_t *ret_count,
                          aon_error *error) {
  aon_result result = aon_buffer_text(sql, "select ", error);
  *ret_count = 0;
  for (size_t i = from; !result && i < to; i++) {
    const pg_column *column = &a->table->columns[a->columns[i]];
    const char *comma = i > from ? ", " : "";
    if (a->row[a->columns[i]].absent) {
      result = aon_buffer_format(sql, error, "%s(%s)::%s::text", comma, column->default_sql, column->type);
    } else {
      values[(*ret_count)++] = (aon_postgresql_value){.data = a->row[a->columns[i]].data};
      result = aon_buffer_format(sql, error, "%s$%zu::text::%s::text", comma, *ret_count, column->type);
    }
  }
  return result;
}

static aon_result cut_off(const asking *a, const pg_column *column, aon_error *error) {
  return aon_fail(error, AON_REJECTED, "too_long",
                  "%s/%s can't hold the property “%s”: it is longer than its column, which is declared %s.", a->store->name, a->table->name,
                  column->name, column->type);
}

static aon_result take_answers(const asking *a, size_t from, size_t to, const PGresult *answer, aon_arena *arena, aon_error *error) {
  for (size_t i = from; i < to; i++) {
    const pg_column *column = &a->table->columns[a->columns[i]];
    pg_text *value = &a->row[a->columns[i]], got;
    pg_result_row(answer, 0, (int)(i - from), 1, &got);
    if (!value->absent && column->limited && !pg_same(value, &got))
      return cut_off(a, column, error);
    *value = (pg_text){.length = got.length};
    if (got.data && !(value->data = aon_arena_text(arena, got.data, got.length)))
      return aon_fail_memory(error);
  }
  return AON_OK;
}

static aon_result ask(asking *a, size_t from, size_t to, aon_arena *arena, aon_error *error) {
  AON_BUFFER_CLEANUP aon_buffer sql = {0};
  AON_POSTGRESQL_RESULT PGresult *answer = NULL;
  aon_postgresql_value *values = aon_arena_alloc(arena, (to - from) * sizeof *values);
  size_t count;
  aon_result result = values ? ask_sql(a, from, to, &sql, values, &count, error) : aon_fail_memory(error);
  if (!result)
    result = pg_query(a->store, sql.data, values, count, "looking what it would keep", &answer, error);
  return result ? result : take_answers(a, from, to, answer, arena, error);
}

/* A refusal is asked for again column by column, to name the one. */
static aon_result ask_all(asking *a, aon_arena *arena, aon_error *error) {
  aon_error failure = AON_ERROR_INIT;
  if (!a->count)
    return AON_OK;
  aon_result result = ask(a, 0, a->count, arena, &failure);
  for (size_t i = 0; result == AON_PERMANENT && i < a->count; i++) {
    aon_result one = ask(a, i, i + 1, arena, &failure);
    const pg_column *column = &a->table->columns[a->columns[i]];
    if (one == AON_PERMANENT) {
      result = aon_fail(error, AON_REJECTED, failure.code, "%s/%s can't hold the property “%s” as it is given: its column is declared %s.",
                        a->store->name, a->table->name, column->name, column->type);
      aon_error_properties(error, &column->name, 1);
      return result;
    }
    if (one)
      result = one;
    else if (i + 1 == a->count)
      return AON_OK;
  }
  return pg_tell(result, &failure, error);
}

/* Missing properties take the column's default, as it is known or as computed now, which fixes it. */
static aon_result complete(pg_store *store, const pg_table *table, pg_text *row, aon_arena *arena, aon_error *error) {
  asking a = {.store = store, .table = table, .row = row, .columns = aon_arena_alloc(arena, table->column_count * sizeof(size_t))};
  if (!a.columns)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->column_count; i++) {
    const pg_column *column = &table->columns[i];
    bool done = column->generated;
    aon_result result = AON_OK;
    if (!done && row[i].absent) {
      done = column->default_fixed;
      if (done)
        row[i] = (pg_text){.data = column->default_text, .length = column->default_text ? strlen(column->default_text) : 0};
    } else if (!done) {
      result = settled(store, table, column, &row[i], &done, error);
    }
    if (result)
      return result;
    if (!done)
      a.columns[a.count++] = i;
  }
  return ask_all(&a, arena, error);
}

static aon_result normalise_row(pg_store *store, const pg_table *table, aon_text id, const bson_t *document, aon_arena *arena,
                                aon_image *ret_image, aon_error *error) {
  aon_arena *scratch = &store->scratch;
  bool given;
  aon_arena_reset(scratch);
  pg_text *row = aon_arena_alloc(scratch, table->column_count * sizeof *row);
  if (!row)
    return aon_fail_memory(error);
  aon_result result = properties_row(store, table, document, AON_REJECTED, scratch, row, error);
  if (!result)
    result = fill_key(store, table, id, scratch, row, &given, error);
  if (!result)
    result = complete(store, table, row, scratch, error);
  if (!result)
    result = check_key(store, table, id, row, given, scratch, error);
  return result ? result : columns_image(store, table, row, false, true, arena, ret_image, error);
}

static aon_result inexact_document(pg_store *store, const pg_table *table, const bson_t *document, aon_arena *arena, aon_image *ret_image,
                                   aon_error *error) {
  if (table->has_bson)
    return keep_image(document, NULL, arena, ret_image, error);
  return aon_fail(
      error, AON_REJECTED, "bad_type",
      "A document for %s/%s has a type that JSON does not have (or a NUL in a text, or -0.0). Add a column “bson bytea” to that table, "
      "or leave it out.",
      store->name, table->name);
}

static aon_result normalise_document(pg_store *store, const pg_table *table, aon_text id, const bson_t *document, aon_arena *arena,
                                     aon_image *ret_image, aon_error *error) {
  bool jsonb = !table->shape.exists || table->columns[COLUMN_DOC].jsonb, exact;
  pg_text json;
  bson_t again;
  if (memchr(id.data, 0, id.length) || !bson_utf8_validate(id.data, id.length, false))
    return bad_id(store, table, id, "PostgreSQL keeps only texts of UTF-8 without NUL", error);
  if (document->len > AON_DOCUMENT_BYTES_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_long", "The document %s/%s/%.*s is larger than %u bytes.", store->name, table->name,
                    pg_shown(id), id.data, AON_DOCUMENT_BYTES_LIMIT);
  if (!pg_json_holds(document, !jsonb))
    return inexact_document(store, table, document, arena, ret_image, error);
  aon_arena_reset(&store->scratch);
  aon_result result = pg_json_write(document, jsonb, &store->scratch, &json, error);
  if (!result)
    result = pg_json_read(json.data, json.length, &again, &exact, error);
  if (result)
    return result;
  result = keep_image(&again, NULL, arena, ret_image, error);
  bson_destroy(&again);
  return result;
}

aon_result pg_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                        aon_image *ret_image, aon_error *error) {
  pg_store *store = state;
  pg_table *table = pg_table_known(store, collection); /* a change since then is found when the transaction first touches it */
  pg_enter(store);
  aon_result result = table ? AON_OK : pg_table_find(store, collection, &table, error);
  if (result)
    return result;
  if (!id.length)
    return aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id.", store->name, collection->name);
  return table->documents ? normalise_document(store, table, id, document, arena, ret_image, error)
                          : normalise_row(store, table, id, document, arena, ret_image, error);
}
