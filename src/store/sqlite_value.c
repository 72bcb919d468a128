/* Rows of SQLite to images and back.
 *
 * Document tables: the image is the BSON of doc's JSON; its token is the stored text where that is not the canonical one.
 * Column tables: INTEGER int64, REAL double, TEXT text, BLOB base64 text, NULL null. What such a property is stored as when it has no
 * token is called its plain form. The token lists the columns whose stored value is another than that (bytes in a text column, text in a
 * column declared BLOB, text that is not UTF-8), each as
 *     type u8 · length of name u16 · name · length of bytes u32 · bytes            (little-endian)
 *
 * Invariant: binding an image writes exactly the storage classes and bytes that it was read from.
 * Source: https://www.sqlite.org/datatype3.html. */
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "model/document.h"
#include "model/text.h"
#include "store/sqlite_internal.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL
#define BLOB_PART ((size_t)48) /* bytes whose base64 is compared at a time; a multiple of 3 */
#define NUMBER_ROOM 64         /* more than the text of any number takes */

/* ---- single values ---- */

aon_result sqlite_bind(sqlite_store *store, sqlite3_stmt *statement, int at, const sqlite_value *value, aon_error *error) {
  int rc = SQLITE_OK;
  switch (value->type) {
  case SQLITE_INTEGER:
    rc = sqlite3_bind_int64(statement, at, value->integer);
    break;
  case SQLITE_FLOAT:
    rc = sqlite3_bind_double(statement, at, value->real);
    break;
  case SQLITE_TEXT:
    rc = sqlite3_bind_text64(statement, at, value->length ? value->bytes : "", value->length, SQLITE_STATIC, SQLITE_UTF8);
    break;
  case SQLITE_BLOB:
    rc = sqlite3_bind_blob64(statement, at, value->length ? value->bytes : "", value->length, SQLITE_STATIC);
    break;
  default:
    rc = sqlite3_bind_null(statement, at);
    break;
  }
  return rc ? sqlite_failed(store, rc, "binding a value", error) : AON_OK;
}

void sqlite_value_of(sqlite3_stmt *statement, int column, sqlite_value *ret_value) {
  *ret_value = (sqlite_value){.type = sqlite3_column_type(statement, column)};
  switch (ret_value->type) {
  case SQLITE_INTEGER:
    ret_value->integer = sqlite3_column_int64(statement, column);
    break;
  case SQLITE_FLOAT:
    ret_value->real = sqlite3_column_double(statement, column);
    break;
  case SQLITE_TEXT:
    ret_value->bytes = sqlite3_column_text(statement, column);
    break;
  case SQLITE_BLOB:
    ret_value->bytes = sqlite3_column_blob(statement, column);
    break;
  default:
    break;
  }
  if (ret_value->type == SQLITE_TEXT || ret_value->type == SQLITE_BLOB)
    ret_value->length = (size_t)sqlite3_column_bytes(statement, column);
}

static char *base64_of(aon_arena *arena, const void *bytes, size_t length, size_t *ret_length) {
  size_t size = sodium_base64_encoded_len(length, BASE64);
  char *text = aon_arena_alloc(arena, size);
  if (text)
    sodium_bin2base64(text, size, bytes, length, BASE64);
  *ret_length = size - 1;
  return text;
}

/* *ret_value stays as it is where the text is no base64. */
static aon_result base64_bytes(aon_arena *arena, const char *text, size_t length, sqlite_value *ret_value, aon_error *error) {
  size_t room = length / 4 * 3 + 3, found = 0;
  unsigned char *bytes = aon_arena_alloc(arena, room);
  if (!bytes)
    return aon_fail_memory(error);
  if (length % 4 == 0 && !sodium_base642bin(bytes, room, text, length, NULL, &found, NULL, BASE64))
    *ret_value = (sqlite_value){.type = SQLITE_BLOB, .bytes = bytes, .length = found};
  return AON_OK;
}

/* The shortest decimals that read back to the same double, as all of the program spells them. */
static aon_result real_text(double real, aon_buffer *out, aon_error *error) {
  bson_t document = BSON_INITIALIZER;
  bson_iter_t at;
  BSON_APPEND_DOUBLE(&document, "x", real); /* so small a document always fits */
  bson_iter_init_find(&at, &document, "x");
  aon_result result = aon_value_to_json(&at, out, error);
  bson_destroy(&document);
  return result;
}

static aon_result value_text(const sqlite_value *value, aon_arena *arena, aon_buffer *out, aon_error *error) {
  size_t length;
  char *text;
  switch (value->type) {
  case SQLITE_INTEGER:
    return aon_buffer_format(out, error, "%lld", (long long)value->integer);
  case SQLITE_FLOAT:
    return real_text(value->real, out, error);
  case SQLITE_TEXT:
    return aon_buffer_append(out, value->bytes, value->length, error);
  case SQLITE_BLOB:
    text = base64_of(arena, value->bytes, value->length, &length);
    return text ? aon_buffer_append(out, text, length, error) : aon_fail_memory(error);
  default:
    return AON_OK;
  }
}

static bool good_utf8(const sqlite_value *value) { return bson_utf8_validate(value->length ? value->bytes : "", value->length, true); }

/* Is this what the property that we read it as would be stored as? */
static bool plain(const sqlite_column *column, const sqlite_value *value) {
  switch (value->type) {
  case SQLITE_TEXT:
    return !column->bytes && good_utf8(value);
  case SQLITE_BLOB:
    return column->bytes;
  default:
    return true;
  }
}

/* ---- rows to images ---- */

static aon_result append_property(const sqlite_column *column, const sqlite_value *value, aon_arena *arena, bson_t *document,
                                  aon_error *error) {
  int key_length = (int)strlen(column->name);
  bool done;
  size_t length;
  const char *text;
  switch (value->type) {
  case SQLITE_INTEGER:
    done = bson_append_int64(document, column->name, key_length, value->integer);
    break;
  case SQLITE_FLOAT:
    done = bson_append_double(document, column->name, key_length, value->real);
    break;
  case SQLITE_NULL:
    done = bson_append_null(document, column->name, key_length);
    break;
  default:
    text = value->length ? value->bytes : "";
    length = value->length;
    if (value->type == SQLITE_BLOB || !good_utf8(value))
      text = base64_of(arena, text, length, &length);
    if (!text)
      return aon_fail_memory(error);
    done = bson_append_utf8(document, column->name, key_length, text, (int)length);
  }
  return done ? AON_OK : aon_fail(error, AON_PERMANENT, "too_long", "A row is too large to be a document.");
}

static void put_number(unsigned char *at, uint64_t number, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    at[i] = (unsigned char)(number >> (8 * i));
}

static uint64_t get_number(const unsigned char *at, size_t bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < bytes; i++)
    number |= (uint64_t)at[i] << (8 * i);
  return number;
}

/* A text or bytes: numbers are always plain. */
static aon_result append_token(const sqlite_column *column, const sqlite_value *value, aon_buffer *token, aon_error *error) {
  unsigned char head[3], length[4];
  head[0] = (unsigned char)value->type;
  put_number(head + 1, strlen(column->name), 2);
  put_number(length, value->length, 4);
  aon_result result = aon_buffer_append(token, head, sizeof head, error);
  if (!result)
    result = aon_buffer_append(token, column->name, strlen(column->name), error);
  if (!result)
    result = aon_buffer_append(token, length, sizeof length, error);
  return result ? result : aon_buffer_append(token, value->bytes, value->length, error);
}

static aon_result keep_image(const bson_t *document, const char *token, size_t token_length, aon_arena *arena, aon_image *ret_image,
                             aon_error *error) {
  aon_image image = {.bson_length = document->len, .token_length = (uint32_t)token_length};
  image.bson = aon_arena_copy(arena, bson_get_data(document), document->len);
  if (token_length)
    image.token = aon_arena_copy(arena, token, token_length);
  if (!image.bson || (token_length && !image.token))
    return aon_fail_memory(error);
  *ret_image = image;
  return AON_OK;
}

/* generated: those columns too, as a reader sees them. */
static aon_result values_image(const sqlite_table *table, const sqlite_value *values, bool generated, bool token, aon_arena *arena,
                               aon_image *ret_image, aon_error *error) {
  bson_t document = BSON_INITIALIZER;
  AON_BUFFER_CLEANUP aon_buffer tokens = {0};
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    const sqlite_column *column = &table->columns[i];
    if (!values[i].type || (column->generated && !generated))
      continue;
    result = append_property(column, &values[i], arena, &document, error);
    if (!result && token && !column->generated && !plain(column, &values[i]))
      result = append_token(column, &values[i], &tokens, error);
  }
  if (!result)
    result = keep_image(&document, tokens.data, tokens.length, arena, ret_image, error);
  bson_destroy(&document);
  return result;
}

static aon_result not_a_document(sqlite_store *store, const sqlite_table *table, aon_text id, const char *why, aon_error *error) {
  return aon_fail(error, AON_PERMANENT, "bad_document", "%s/%s/%.*s holds no document: %s. Repair its column doc by hand.", store->name,
                  table->name, id.length < 200 ? (int)id.length : 200, id.data, why);
}

static aon_result document_image(sqlite_store *store, const sqlite_table *table, sqlite3_stmt *row, aon_text id, bool token,
                                 aon_arena *arena, aon_image *ret_image, aon_error *error) {
  sqlite_value doc;
  sqlite_value_of(row, 1, &doc);
  if (doc.type != SQLITE_TEXT)
    return not_a_document(store, table, id, doc.type == SQLITE_NULL ? "it is NULL" : "it is not text", error);
  bson_t document;
  aon_error why = AON_ERROR_INIT;
  aon_result result = aon_document_from_json(doc.bytes, doc.length, &document, &why);
  if (result == AON_REJECTED)
    return not_a_document(store, table, id, "it is not one JSON object", error);
  if (result)
    return sqlite_tell(result, &why, error);
  aon_buffer *canonical = &store->expected_text;
  aon_buffer_clear(canonical);
  if (token)
    result = aon_document_to_json(&document, canonical, error);
  bool same = !token || (canonical->length == doc.length && !memcmp(canonical->data, doc.bytes, doc.length));
  if (!result)
    result = keep_image(&document, same ? NULL : doc.bytes, same ? 0 : doc.length, arena, ret_image, error);
  bson_destroy(&document);
  return result;
}

aon_result sqlite_row_image(sqlite_store *store, sqlite_table *table, sqlite3_stmt *row, aon_text id, bool token, aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  if (table->shape.document_table)
    return document_image(store, table, row, id, token, arena, ret_image, error);
  for (size_t i = 0; i < table->column_count; i++)
    sqlite_value_of(row, (int)i, &table->before[i]);
  return values_image(table, table->before, true, token, arena, ret_image, error);
}

/* ---- ids ---- */

static aon_result append_id(const sqlite_table *table, const sqlite_value *row, aon_arena *arena, aon_buffer *out, aon_error *error) {
  if (table->key_count == 1)
    return value_text(&row[table->keys[0]], arena, out, error);
  aon_text *parts = aon_arena_alloc(arena, table->key_count * sizeof *parts);
  if (!parts)
    return aon_fail_memory(error);
  for (size_t i = 0; i < table->key_count; i++) {
    AON_BUFFER_CLEANUP aon_buffer part = {0};
    aon_result result = value_text(&row[table->keys[i]], arena, &part, error);
    if (result)
      return result;
    parts[i] = (aon_text){aon_arena_text(arena, part.data ? part.data : "", part.length), part.length};
    if (!parts[i].data)
      return aon_fail_memory(error);
  }
  return aon_id_join(parts, table->key_count, out, error);
}

aon_result sqlite_row_id(sqlite_store *store, const sqlite_table *table, const sqlite_value *row, aon_buffer *out, aon_error *error) {
  for (size_t i = 0; i < table->key_count; i++)
    if (row[table->keys[i]].type == SQLITE_NULL)
      return aon_fail(error, AON_PERMANENT, "bad_document",
                      "A row of %s/%s has NULL in its key column “%s”, so it has no id. Repair it by hand.", store->name, table->name,
                      table->columns[table->keys[i]].name);
  aon_arena arena = {0};
  aon_result result = append_id(table, row, &arena, out, error);
  aon_arena_release(&arena);
  return result;
}

size_t sqlite_alternatives_count(const sqlite_column *column) { return column->affinity == AFFINITY_NONE ? SQLITE_ALTERNATIVES : 1; }

/* A column without affinity may hold the same id as text, as a number or as bytes. */
aon_result sqlite_alternatives(sqlite_store *store, const sqlite_column *column, aon_text text,
                               sqlite_value ret_values[SQLITE_ALTERNATIVES], aon_error *error) {
  for (size_t i = 0; i < SQLITE_ALTERNATIVES; i++)
    ret_values[i] = (sqlite_value){.type = SQLITE_NULL};
  ret_values[0] = (sqlite_value){.type = SQLITE_TEXT, .bytes = text.data, .length = text.length};
  if (sqlite_alternatives_count(column) == 1)
    return AON_OK;
  char number[64];
  if (text.length && text.length < sizeof number && !memchr(text.data, 0, text.length)) {
    memcpy(number, text.data, text.length);
    number[text.length] = 0;
    char *end;
    if (strspn(number, "-0123456789") == text.length) {
      long long integer = strtoll(number, &end, 10);
      if (!*end)
        ret_values[1] = (sqlite_value){.type = SQLITE_INTEGER, .integer = integer};
    } else if (strspn(number, "+-.0123456789eE") == text.length) {
      double real = strtod(number, &end);
      if (!*end)
        ret_values[1] = (sqlite_value){.type = SQLITE_FLOAT, .real = real};
    }
  }
  return base64_bytes(&store->scratch_arena, text.data, text.length, &ret_values[2], error);
}

aon_result sqlite_bind_id(sqlite_store *store, const sqlite_table *table, sqlite3_stmt *statement, aon_text id, bool *ret_possible,
                          aon_error *error) {
  *ret_possible = true;
  if (table->shape.document_table)
    return sqlite_bind(store, statement, 1, &(sqlite_value){.type = SQLITE_TEXT, .bytes = id.data, .length = id.length}, error);
  aon_text *parts = aon_arena_alloc(&store->scratch_arena, table->key_count * sizeof *parts);
  if (!parts)
    return aon_fail_memory(error);
  aon_result result = AON_OK;
  if (table->key_count == 1)
    parts[0] = id;
  else
    result = aon_id_split(id, table->key_count, &store->scratch_arena, parts, ret_possible, error);
  int at = 1;
  for (size_t i = 0; *ret_possible && !result && i < table->key_count; i++) {
    const sqlite_column *column = &table->columns[table->keys[i]];
    sqlite_value values[SQLITE_ALTERNATIVES];
    result = sqlite_alternatives(store, column, parts[i], values, error);
    for (size_t j = 0; !result && j < sqlite_alternatives_count(column); j++)
      result = sqlite_bind(store, statement, at++, &values[j], error);
  }
  return result;
}

static bool blob_matches(const sqlite_value *value, aon_text text) {
  char part[BLOB_PART / 3 * 4 + 1];
  size_t at = 0;
  for (size_t done = 0; done < value->length; done += BLOB_PART) {
    size_t more = value->length - done < BLOB_PART ? value->length - done : BLOB_PART;
    sodium_bin2base64(part, sizeof part, (const unsigned char *)value->bytes + done, more, BASE64);
    size_t length = strlen(part);
    if (text.length - at < length || memcmp(text.data + at, part, length))
      return false;
    at += length;
  }
  return at == text.length;
}

/* Needs no memory that could run out: who finds nothing must be right. */
bool sqlite_value_matches(const sqlite_value *value, aon_text text) {
  char room[NUMBER_ROOM];
  aon_buffer number = {.data = room, .capacity = sizeof room, .limit = sizeof room - 1};
  switch (value->type) {
  case SQLITE_TEXT:
    return value->length == text.length && (!text.length || !memcmp(value->bytes, text.data, text.length));
  case SQLITE_BLOB:
    return blob_matches(value, text);
  case SQLITE_INTEGER:
  case SQLITE_FLOAT:
    return !value_text(value, NULL, &number, NULL) && number.length == text.length && !memcmp(room, text.data, text.length);
  default:
    return false;
  }
}

/* ---- images to rows ---- */

static const sqlite_column *column_named(const sqlite_table *table, const char *name, size_t hint, size_t *ret_at) {
  for (size_t i = 0; i < table->column_count; i++) {
    size_t at = (hint + i) % table->column_count; /* properties mostly come in the order of columns */
    if (!strcmp(table->columns[at].name, name)) {
      *ret_at = at;
      return &table->columns[at];
    }
  }
  return NULL;
}

const sqlite_column *sqlite_column_find(const sqlite_table *table, const char *name, size_t *ret_at) {
  return column_named(table, name, 0, ret_at);
}

aon_result sqlite_unknown_property(const sqlite_store *store, const sqlite_table *table, const char *name, aon_result kind,
                                   aon_error *error) {
  for (size_t i = 0; i < table->column_count; i++)
    if (!strcasecmp(table->columns[i].name, name))
      return aon_fail(error, kind, "unknown_property", "%s/%s has no column “%s”; write “%s”.", store->name, table->name, name,
                      table->columns[i].name);
  return aon_fail(error, kind, "unknown_property", "%s/%s has no column “%s”. Leave the property out, or add the column.", store->name,
                  table->name, name);
}

static aon_result bad_type(const sqlite_store *store, const sqlite_table *table, const sqlite_column *column, const char *why,
                           aon_error *error) {
  aon_result result =
      aon_fail(error, AON_REJECTED, "bad_type", "%s/%s can't hold the property “%s”: %s.", store->name, table->name, column->name, why);
  aon_error_properties(error, &column->name, 1);
  return result;
}

/* A property in its plain form. strict: refuse what can't be held, else take it as it is. */
static aon_result plain_value(sqlite_store *store, const sqlite_table *table, const sqlite_column *column, const bson_iter_t *property,
                              bool strict, sqlite_value *ret_value, aon_error *error) {
  uint32_t length;
  switch (bson_iter_type(property)) {
  case BSON_TYPE_NULL:
    *ret_value = (sqlite_value){.type = SQLITE_NULL};
    return AON_OK;
  case BSON_TYPE_BOOL:
    *ret_value = (sqlite_value){.type = SQLITE_INTEGER, .integer = bson_iter_bool(property)};
    return AON_OK;
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    *ret_value = (sqlite_value){.type = SQLITE_INTEGER, .integer = bson_iter_as_int64(property)};
    return AON_OK;
  case BSON_TYPE_DOUBLE: {
    double real = bson_iter_double(property);
    if (strict && !isfinite(real))
      return bad_type(store, table, column, "it is no finite number", error);
    *ret_value = (sqlite_value){.type = SQLITE_FLOAT, .real = real};
    if (column->affinity != AFFINITY_TEXT)
      return AON_OK;
    AON_BUFFER_CLEANUP aon_buffer text = {0}; /* SQLite's own conversion would drop digits after the 15th */
    aon_result result = real_text(real, &text, error);
    const char *kept = result ? NULL : aon_arena_text(&store->scratch_arena, text.data, text.length);
    *ret_value = (sqlite_value){.type = SQLITE_TEXT, .bytes = kept, .length = text.length};
    return result || kept ? result : aon_fail_memory(error);
  }
  case BSON_TYPE_UTF8: {
    const char *text = bson_iter_utf8(property, &length);
    *ret_value = (sqlite_value){.type = SQLITE_TEXT, .bytes = text, .length = length};
    aon_result result = column->bytes ? base64_bytes(&store->scratch_arena, text, length, ret_value, error) : AON_OK;
    if (!result && column->bytes && strict && ret_value->type != SQLITE_BLOB)
      return bad_type(store, table, column, "it is declared as bytes, which are given as base64 text", error);
    return result;
  }
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    return bad_type(store, table, column, "a column holds no object and no list; give it as a text of JSON", error);
  default:
    return bad_type(store, table, column, "this type has no form in SQLite; give it as text", error);
  }
}

static aon_result apply_token(sqlite_store *store, const sqlite_table *table, const uint8_t *token, size_t length, sqlite_value *row,
                              aon_error *error) {
  const uint8_t *end = token + length;
  while (token < end) {
    if (end - token < 7)
      break;
    int type = token[0];
    size_t name_length = (size_t)get_number(token + 1, 2);
    if ((size_t)(end - token) < 7 + name_length)
      break;
    const char *name = (const char *)token + 3;
    size_t value_length = (size_t)get_number(token + 3 + name_length, 4);
    const uint8_t *bytes = token + 7 + name_length;
    if ((size_t)(end - bytes) < value_length || (type != SQLITE_TEXT && type != SQLITE_BLOB))
      break;
    for (size_t i = 0; i < table->column_count; i++)
      if (strlen(table->columns[i].name) == name_length && !memcmp(table->columns[i].name, name, name_length)) {
        row[i] = (sqlite_value){.type = type, .bytes = bytes, .length = value_length};
      }
    token = bytes + value_length;
  }
  return token == end
             ? AON_OK
             : aon_fail(error, AON_CORRUPT, "bad_token", "The stored form of a row of %s/%s can't be read.", store->name, table->name);
}

static aon_result properties_row(sqlite_store *store, const sqlite_table *table, const bson_t *document, bool strict, sqlite_value *ret_row,
                                 aon_error *error) {
  memset(ret_row, 0, table->column_count * sizeof *ret_row);
  bson_iter_t at;
  if (!bson_iter_init(&at, document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a row of %s/%s can't be read.", store->name, table->name);
  for (size_t hint = 0; bson_iter_next(&at); hint++) {
    size_t place;
    const sqlite_column *column = column_named(table, bson_iter_key(&at), hint, &place);
    if (!column)
      return sqlite_unknown_property(store, table, bson_iter_key(&at), strict ? AON_REJECTED : AON_PERMANENT, error);
    if (column->generated)
      continue;
    hint = place;
    aon_result result = plain_value(store, table, column, &at, strict, &ret_row[place], error);
    if (result)
      return result;
  }
  return AON_OK;
}

aon_result sqlite_image_row(sqlite_store *store, const sqlite_table *table, const aon_image *image, sqlite_value *ret_row,
                            aon_error *error) {
  bson_t document;
  if (!aon_image_view(image, &document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a row of %s/%s can't be read.", store->name, table->name);
  aon_result result = properties_row(store, table, &document, false, ret_row, error);
  return result || !image->token ? result : apply_token(store, table, image->token, image->token_length, ret_row, error);
}

aon_result sqlite_image_text(sqlite_store *store, const aon_image *image, aon_buffer *buffer, const char **ret_text, size_t *ret_length,
                             aon_error *error) {
  if (image->token) {
    *ret_text = (const char *)image->token;
    *ret_length = image->token_length;
    return AON_OK;
  }
  bson_t document;
  if (!aon_image_view(image, &document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "An image of a document of %s can't be read.", store->name);
  aon_buffer_clear(buffer);
  aon_result result = aon_document_to_json(&document, buffer, error);
  *ret_text = buffer->data;
  *ret_length = buffer->length;
  return result;
}

/* ---- what SQLite would give back ---- */

static const char *stand_in_type(const sqlite_table *table, const sqlite_column *column) {
  switch (column->affinity) {
  case AFFINITY_TEXT:
    return "TEXT";
  case AFFINITY_NUMERIC:
    return "NUMERIC";
  case AFFINITY_INTEGER:
    return "INTEGER";
  case AFFINITY_REAL:
    return "REAL";
  default:
    return table->strict && !column->bytes ? "ANY" : "BLOB";
  }
}

static aon_result scratch_failed(sqlite_store *store, const sqlite_table *table, aon_error *error) {
  return aon_fail(error, AON_PERMANENT, "sql_error", "The default values of %s/%s can't be computed: %s.", store->name, table->name,
                  sqlite3_errmsg(store->scratch));
}

static aon_result stand_in_text(const sqlite_table *table, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_format(sql, error, "create table if not exists %s(", table->quoted);
  const char *separator = "";
  for (size_t i = 0; !result && i < table->column_count; i++) {
    const sqlite_column *column = &table->columns[i];
    if (column->generated)
      continue;
    result = aon_buffer_text(sql, separator, error);
    if (!result)
      result = sqlite_quote(column->name, sql, error);
    if (!result)
      result = aon_buffer_format(sql, error, " %s", stand_in_type(table, column));
    bool bare = column->default_sql && column->default_sql[0] == '"'; /* a text in the wrong quotes; in parentheses it would be a column */
    if (!result && column->default_sql)
      result = aon_buffer_format(sql, error, bare ? " default %s" : " default (%s)", column->default_sql);
    separator = ", ";
  }
  return result ? result : aon_buffer_text(sql, table->strict ? ") strict" : ")", error);
}

static aon_result insert_text(const sqlite_table *table, aon_buffer *sql, aon_error *error) {
  aon_result result = aon_buffer_format(sql, error, "insert into %s values(", table->quoted);
  bool first = true;
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (!table->columns[i].generated) {
      result = aon_buffer_text(sql, first ? "?" : ",?", error);
      first = false;
    }
  return result ? result : aon_buffer_text(sql, ")", error);
}

static aon_result open_scratch(sqlite_store *store, aon_error *error) {
  if (store->scratch)
    return AON_OK;
  if (sqlite3_open_v2(":memory:", &store->scratch, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, store->env->vfs)) {
    sqlite3_close_v2(store->scratch);
    store->scratch = NULL;
    return aon_fail_memory(error);
  }
  sqlite3_db_config(store->scratch, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return AON_OK;
}

static aon_result make_stand_in(sqlite_store *store, sqlite_table *table, aon_error *error) {
  if (table->scratch[SCRATCH_SELECT])
    return AON_OK;
  AON_BUFFER_CLEANUP aon_buffer create = {0}, clear = {0}, insert = {0}, defaults = {0}, read = {0};
  aon_result result = open_scratch(store, error);
  if (!result)
    result = stand_in_text(table, &create, error);
  if (!result)
    result = insert_text(table, &insert, error);
  if (!result)
    result = aon_buffer_format(&clear, error, "delete from %s", table->quoted);
  if (!result)
    result = aon_buffer_format(&defaults, error, "insert into %s default values", table->quoted);
  if (!result)
    result = aon_buffer_format(&read, error, "select * from %s", table->quoted);
  if (result)
    return result;
  if (sqlite3_exec(store->scratch, create.data, NULL, NULL, NULL))
    return scratch_failed(store, table, error);
  const char *texts[SCRATCH_COUNT] = {
      [SCRATCH_CLEAR] = clear.data, [SCRATCH_INSERT] = insert.data, [SCRATCH_DEFAULTS] = defaults.data, [SCRATCH_SELECT] = read.data};
  for (int i = 0; i < SCRATCH_COUNT; i++)
    if (!table->scratch[i] && sqlite3_prepare_v3(store->scratch, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &table->scratch[i], NULL))
      return scratch_failed(store, table, error);
  return AON_OK;
}

static aon_result copy_value(sqlite_value *value, aon_arena *arena, aon_error *error) {
  if (value->type != SQLITE_TEXT && value->type != SQLITE_BLOB)
    return AON_OK;
  value->bytes = aon_arena_copy(arena, value->bytes ? value->bytes : "", value->length);
  return value->bytes ? AON_OK : aon_fail_memory(error);
}

/* Runs one of the inserts and takes the row back. values NULL: the defaults; only columns that want them are overwritten. */
static aon_result ask(sqlite_store *store, sqlite_table *table, const sqlite_value *values, sqlite_value *ret_row, aon_arena *arena,
                      aon_error *error) {
  aon_result result = make_stand_in(store, table, error);
  if (result)
    return result;
  sqlite3_stmt *insert = table->scratch[values ? SCRATCH_INSERT : SCRATCH_DEFAULTS], *read = table->scratch[SCRATCH_SELECT];
  sqlite3_step(table->scratch[SCRATCH_CLEAR]);
  sqlite3_reset(table->scratch[SCRATCH_CLEAR]);
  int at = 1;
  for (size_t i = 0; values && !result && i < table->column_count; i++)
    if (!table->columns[i].generated)
      result = sqlite_bind(store, insert, at++, &values[i], error);
  if (result)
    return result;
  int rc = sqlite3_step(insert);
  sqlite3_reset(insert);
  if (rc == SQLITE_CONSTRAINT_DATATYPE)
    return aon_fail(error, AON_REJECTED, "bad_type", "%s/%s is a strict table: %s.", store->name, table->name,
                    sqlite3_errmsg(store->scratch));
  if (rc != SQLITE_DONE || sqlite3_step(read) != SQLITE_ROW)
    result = scratch_failed(store, table, error);
  at = 0;
  for (size_t i = 0; !result && i < table->column_count; i++) {
    if (table->columns[i].generated)
      continue;
    sqlite_value_of(read, at++, &ret_row[i]);
    result = copy_value(&ret_row[i], arena, error);
  }
  sqlite3_reset(read);
  return result;
}

aon_result sqlite_default_fix(sqlite_store *store, sqlite_table *table, aon_error *error) {
  bool any = false;
  for (size_t i = 0; i < table->column_count; i++)
    any = any || (table->columns[i].default_sql && table->columns[i].default_fixed);
  if (!any || table->shape.document_table)
    return AON_OK;
  aon_result result = ask(store, table, NULL, table->after, &table->arena, error);
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (table->columns[i].default_sql && table->columns[i].default_fixed)
      table->columns[i].default_value = table->after[i];
  return result;
}

/* Certainly given back as it is? */
static bool stable(const sqlite_table *table, const sqlite_column *column, const sqlite_value *value) {
  switch (value->type) {
  case SQLITE_NULL:
    return true;
  case SQLITE_INTEGER:
    return column->affinity == AFFINITY_INTEGER ||
           (!table->strict && column->affinity != AFFINITY_TEXT && column->affinity != AFFINITY_REAL);
  case SQLITE_FLOAT:
    return column->affinity == AFFINITY_REAL && value->real != 0.0; /* -0.0 loses its sign */
  case SQLITE_TEXT:
    return column->affinity == AFFINITY_TEXT;
  case SQLITE_BLOB:
    return column->bytes;
  default:
    return true;
  }
}

/* Digits and exponent of a decimal text, as SQLite reads one. digits holds no leading or trailing zeros. false: no number. */
typedef struct decimal {
  bool negative;
  char digits[800];
  size_t length;
  long exponent; /* of the digit after the last one kept, that is value = 0.digits * 10^exponent */
} decimal;

static bool decimal_parse(const char *text, size_t length, decimal *ret) {
  *ret = (decimal){0};
  const char *end = text + length;
  while (text < end && strchr(" \t\n\v\f\r", *text) && *text)
    text++;
  while (end > text && end[-1] && strchr(" \t\n\v\f\r", end[-1]))
    end--;
  if (text < end && (*text == '+' || *text == '-'))
    ret->negative = *text++ == '-';
  bool point = false, any = false;
  for (; text < end && ((*text >= '0' && *text <= '9') || (*text == '.' && !point)); text++) {
    if (*text == '.') {
      point = true;
      continue;
    }
    any = true;
    if (*text == '0' && !ret->length) {
      ret->exponent -= point;
      continue;
    }
    ret->exponent += !point;
    if (ret->length == sizeof ret->digits)
      return false;
    ret->digits[ret->length++] = *text;
  }
  if (any && text < end && (*text == 'e' || *text == 'E')) {
    char *stop;
    char power[24];
    size_t rest = (size_t)(end - text - 1);
    if (!rest || rest >= sizeof power)
      return false;
    memcpy(power, text + 1, rest);
    power[rest] = 0;
    ret->exponent += strtol(power, &stop, 10);
    text = *stop ? text : end;
  }
  while (ret->length && ret->digits[ret->length - 1] == '0')
    ret->length--;
  if (!ret->length)
    ret->exponent = ret->negative = 0;
  return any && text == end;
}

/* Text that reads as a number is the same number after SQLite has taken it for one. */
static aon_result same_number(const sqlite_value *given, const sqlite_value *kept, bool *ret_same, aon_error *error) {
  *ret_same = true;
  if (given->type == SQLITE_INTEGER && kept->type == SQLITE_FLOAT) {
    *ret_same = kept->real < 0x1p63 && (int64_t)kept->real == given->integer;
    return AON_OK;
  }
  decimal wanted, got;
  if (given->type != SQLITE_TEXT || (kept->type != SQLITE_FLOAT && kept->type != SQLITE_INTEGER))
    return AON_OK;
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  AON_ARENA_CLEANUP aon_arena arena = {0};
  aon_result result = value_text(kept, &arena, &text, error);
  if (!result)
    *ret_same = decimal_parse(given->bytes, given->length, &wanted) && decimal_parse(text.data, text.length, &got) &&
                wanted.negative == got.negative && wanted.length == got.length && wanted.exponent == got.exponent &&
                !memcmp(wanted.digits, got.digits, got.length);
  return result;
}

static aon_result convert(sqlite_store *store, sqlite_table *table, sqlite_value *row, aon_error *error) {
  bool settled = true;
  for (size_t i = 0; settled && i < table->column_count; i++)
    settled = stable(table, &table->columns[i], &row[i]);
  if (settled)
    return AON_OK;
  sqlite_value *kept = table->before;
  memset(kept, 0, table->column_count * sizeof *kept);
  aon_result result = ask(store, table, row, kept, &store->scratch_arena, error);
  for (size_t i = 0; !result && i < table->column_count; i++) {
    bool same;
    const sqlite_column *column = &table->columns[i];
    if (column->generated)
      continue;
    result = same_number(&row[i], &kept[i], &same, error);
    if (!result && !same)
      result = aon_fail(error, AON_REJECTED, "out_of_range",
                        "%s/%s would round the property “%s”: its column is declared %s, in which SQLite keeps numbers of 15 to 17 digits. "
                        "Declare it TEXT.",
                        store->name, table->name, column->name, column->type);
    row[i] = kept[i];
  }
  return result;
}

/* Missing properties take the column's default: a literal as it is known, any other as computed now, which fixes it. */
static aon_result fill_defaults(sqlite_store *store, sqlite_table *table, sqlite_value *row, aon_error *error) {
  bool computed = false;
  for (size_t i = 0; i < table->column_count; i++)
    if (!row[i].type && !table->columns[i].generated) {
      if (table->columns[i].default_fixed)
        row[i] = table->columns[i].default_value;
      else
        computed = true;
    }
  if (!computed)
    return AON_OK;
  memset(table->before, 0, table->column_count * sizeof *table->before);
  aon_result result = ask(store, table, NULL, table->before, &store->scratch_arena, error);
  for (size_t i = 0; !result && i < table->column_count; i++)
    if (!row[i].type && !table->columns[i].generated)
      row[i] = table->before[i];
  return result;
}

static aon_result bad_id(const sqlite_store *store, const sqlite_table *table, aon_text id, const char *why, aon_error *error) {
  return aon_fail(error, AON_REJECTED, "bad_format", "“%.*s” can't be an id in %s/%s: %s.", id.length < 200 ? (int)id.length : 200, id.data,
                  store->name, table->name, why);
}

static aon_result fill_key(sqlite_store *store, const sqlite_table *table, aon_text id, sqlite_value *row, bool *ret_given,
                           aon_error *error) {
  aon_text *parts = aon_arena_alloc(&store->scratch_arena, table->key_count * sizeof *parts);
  bool fits = true;
  aon_result result = AON_OK;
  if (!parts)
    return aon_fail_memory(error);
  if (table->key_count == 1)
    parts[0] = id;
  else
    result = aon_id_split(id, table->key_count, &store->scratch_arena, parts, &fits, error);
  if (result || !fits)
    return result ? result : bad_id(store, table, id, "it needs one part for each column of the key, joined with “:”", error);
  *ret_given = false;
  for (size_t i = 0; i < table->key_count; i++) {
    const sqlite_column *column = &table->columns[table->keys[i]];
    sqlite_value *value = &row[table->keys[i]];
    if (value->type && value->type != SQLITE_NULL) {
      *ret_given = true;
      continue;
    }
    *value = (sqlite_value){.type = SQLITE_TEXT, .bytes = parts[i].data, .length = parts[i].length};
    result = column->bytes ? base64_bytes(&store->scratch_arena, parts[i].data, parts[i].length, value, error) : AON_OK;
    if (result)
      return result;
    if (column->bytes && value->type != SQLITE_BLOB)
      return bad_id(store, table, id, "the key is declared as bytes, which are given as base64 text", error);
  }
  return AON_OK;
}

static aon_result check_key(sqlite_store *store, const sqlite_table *table, aon_text id, const sqlite_value *row, bool given,
                            aon_error *error) {
  const sqlite_column *first = &table->columns[table->keys[0]];
  if (first->rowid && row[table->keys[0]].type != SQLITE_INTEGER)
    return bad_id(store, table, id, "its key is a whole number", error);
  AON_BUFFER_CLEANUP aon_buffer found = {0};
  aon_result result = sqlite_row_id(store, table, row, &found, error);
  if (result || (found.length == id.length && !memcmp(found.data, id.data, id.length)))
    return result;
  if (given)
    return aon_fail(error, AON_REJECTED, "inconsistent", "The document for %s/%s/%.*s names another key in its own properties.",
                    store->name, table->name, id.length < 200 ? (int)id.length : 200, id.data);
  return aon_fail(error, AON_REJECTED, "bad_format", "The id “%.*s” in %s/%s would be stored as “%.*s”. Write it like that.",
                  id.length < 200 ? (int)id.length : 200, id.data, store->name, table->name, found.length < 200 ? (int)found.length : 200,
                  found.data);
}

static aon_result normalise_row(sqlite_store *store, sqlite_table *table, aon_text id, const bson_t *document, aon_arena *arena,
                                aon_image *ret_image, aon_error *error) {
  sqlite_value *row = table->after;
  bool given;
  aon_arena_reset(&store->scratch_arena);
  aon_result result = properties_row(store, table, document, true, row, error);
  if (!result)
    result = fill_key(store, table, id, row, &given, error);
  if (!result)
    result = fill_defaults(store, table, row, error);
  if (!result)
    result = convert(store, table, row, error);
  if (!result)
    result = check_key(store, table, id, row, given, error);
  return result ? result : values_image(table, row, false, true, arena, ret_image, error);
}

/* JSON has fewer types than BSON, and no number that isn't finite. */
static aon_result json_only(const bson_t *document, const char *top, int depth, aon_error *error) {
  bson_iter_t at;
  if (depth > AON_DOCUMENT_DEPTH_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_long", "The property “%s” is nested more than %d levels deep.", top,
                    AON_DOCUMENT_DEPTH_LIMIT);
  if (!bson_iter_init(&at, document))
    return aon_fail(error, AON_CORRUPT, "bad_image", "A document can't be read.");
  while (bson_iter_next(&at)) {
    const char *name = top ? top : bson_iter_key(&at);
    const uint8_t *bytes;
    uint32_t length;
    bson_t inner;
    switch (bson_iter_type(&at)) {
    case BSON_TYPE_NULL:
    case BSON_TYPE_BOOL:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_UTF8:
      continue;
    case BSON_TYPE_DOUBLE:
      if (isfinite(bson_iter_double(&at)))
        continue;
      return aon_fail(error, AON_REJECTED, "bad_type", "The property “%s” is no finite number.", name);
    case BSON_TYPE_DOCUMENT:
      bson_iter_document(&at, &length, &bytes);
      break;
    case BSON_TYPE_ARRAY:
      bson_iter_array(&at, &length, &bytes);
      break;
    default:
      return aon_fail(error, AON_REJECTED, "bad_type",
                      "The property “%s” has a type that JSON does not have; SQLite stores documents as JSON.", name);
    }
    if (!bson_init_static(&inner, bytes, length))
      return aon_fail(error, AON_CORRUPT, "bad_image", "A document can't be read.");
    aon_result result = json_only(&inner, name, depth + 1, error);
    if (result)
      return result;
  }
  return AON_OK;
}

static aon_result find_for_normalise(sqlite_store *store, const aon_collection *collection, sqlite_table **ret_table, aon_error *error) {
  *ret_table = sqlite_table_known(store, collection);
  if (*ret_table)
    return AON_OK; /* a change of the schema since then is found by begin */
  bool there;
  aon_result result = sqlite_read_begin(store, &there, error);
  if (result)
    return result;
  result = sqlite_table_find(store, collection, there, ret_table, error);
  if (there)
    sqlite_read_end(store);
  return result;
}

aon_result sqlite_normalise(void *state, const aon_collection *collection, aon_text id, const bson_t *document, aon_arena *arena,
                            aon_image *ret_image, aon_error *error) {
  sqlite_store *store = state;
  sqlite_enter(store);
  sqlite_table *table;
  aon_result result = find_for_normalise(store, collection, &table, error);
  if (result)
    return result;
  if (!id.length)
    return aon_fail(error, AON_REJECTED, "bad_format", "A document of %s/%s needs an id.", store->name, collection->name);
  if (!table->shape.document_table)
    return normalise_row(store, table, id, document, arena, ret_image, error);
  if (document->len > AON_DOCUMENT_BYTES_LIMIT)
    return aon_fail(error, AON_REJECTED, "too_long", "The document %s/%s/%.*s is larger than %u bytes.", store->name, collection->name,
                    id.length < 200 ? (int)id.length : 200, id.data, AON_DOCUMENT_BYTES_LIMIT);
  result = json_only(document, NULL, 1, error);
  return result ? result : keep_image(document, NULL, 0, arena, ret_image, error);
}
