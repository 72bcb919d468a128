/* The empty workbook of a pack: what its columns say, as plain columns for the writer of templates. */
#include <string.h>

#include "pack/describe.h"

static const char *const booleans[] = {"TRUE", "FALSE", NULL};

static const char *text_of(aon_arena *arena, const aon_buffer *buffer) { return aon_arena_text(arena, buffer->data, buffer->length); }

/* What the pack says of the column, then its rules as a sentence. */
static aon_result write_note(const aon_schema_column *column, aon_arena *arena, const char **ret_note, aon_error *error) {
  aon_buffer words AON_BUFFER_CLEANUP = {0}, note AON_BUFFER_CLEANUP = {0};
  aon_result result = aon_schema_column_words(column, &words, error);
  if (!result && column->note)
    result = aon_buffer_format(&note, error, "%s ", column->note);
  if (!result && words.data[0] >= 'a' && words.data[0] <= 'z')
    words.data[0] = (char)(words.data[0] - 'a' + 'A');
  if (!result)
    result = aon_buffer_format(&note, error, "%s.", words.data);
  if (result)
    return result;
  *ret_note = text_of(arena, &note);
  return *ret_note ? AON_OK : aon_fail_memory(error);
}

static aon_result fill_column(const aon_schema_column *column, aon_arena *arena, aon_template_column *out, aon_error *error) {
  *out = (aon_template_column){.heading = aon_arena_format(arena, "%s%s", column->heading, column->required ? "*" : ""),
                               .example = column->example,
                               .example_type = column->example_type,
                               .text_format = column->text_format};
  if (!out->heading)
    return aon_fail_memory(error);
  if (column->field.shape == AON_FIELD_ONE)
    out->choices = column->field.type == AON_FIELD_CHOICE    ? column->field.choices
                   : column->field.type == AON_FIELD_BOOLEAN ? booleans
                                                             : NULL;
  return write_note(column, arena, &out->note, error);
}

static aon_result fill_sheet(const aon_schema_sheet *sheet, aon_arena *arena, aon_template_sheet *out, aon_error *error) {
  aon_template_column *columns = aon_arena_alloc(arena, (sheet->column_count + 1) * sizeof *columns);
  aon_result result = columns ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < sheet->column_count; i++)
    result = fill_column(&sheet->columns[i], arena, &columns[i], error);
  *out = (aon_template_sheet){.name = sheet->name, .note = sheet->note, .columns = columns, .column_count = sheet->column_count};
  return result;
}

aon_result aon_pack_template(const aon_pack *pack, aon_arena *arena, const aon_template_sheet **ret_sheets, size_t *ret_count,
                             aon_error *error) {
  aon_template_sheet *sheets = aon_arena_alloc(arena, (pack->schema.sheet_count + 1) * sizeof *sheets);
  aon_result result = sheets ? AON_OK : aon_fail_memory(error);
  for (size_t i = 0; !result && i < pack->schema.sheet_count; i++)
    result = fill_sheet(&pack->schema.sheets[i], arena, &sheets[i], error);
  if (result)
    return result;
  *ret_sheets = sheets;
  *ret_count = pack->schema.sheet_count;
  return AON_OK;
}
