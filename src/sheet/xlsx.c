/* The parts of an .xlsx that are read once: relationships, workbook, styles. Shared strings: xlsx_strings.c.
 *
 * Parts are found by relationship, as ECMA-376 part 2 (Open Packaging Conventions) has it: from the package to the workbook, from the
 * workbook to its sheets. Names of relationship types end alike in the transitional and in the strict dialect, so ends are compared. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "sheet/internal.h"
#include "sheet/xml.h"

typedef struct relation_entry {
  const char *id, *type, *target;
  bool external;
} relation_entry;

typedef struct relation_list {
  relation_entry *list; /* malloc, sorted by id */
  size_t count, capacity;
} relation_list;

/* ---- relationships ---- */

typedef struct relations_reader {
  aon_xml xml;
  aon_workbook *workbook;
  relation_list *relations;
} relations_reader;

static bool ends_with(const char *text, const char *ending) {
  size_t length = strlen(text), wanted = strlen(ending);
  return length >= wanted && !strcasecmp(text + length - wanted, ending);
}

static aon_result add_relation(relations_reader *reader, int count, const xmlChar **attributes, aon_error *error) {
  relation_list *relations = reader->relations;
  aon_text id = {"", 0}, type = {"", 0}, target = {"", 0}, mode;
  aon_xml_attribute(count, attributes, "Id", &id);
  aon_xml_attribute(count, attributes, "Type", &type);
  aon_xml_attribute(count, attributes, "Target", &target);
  if (relations->count == relations->capacity) {
    size_t capacity = relations->capacity ? relations->capacity * 2 : 16;
    relation_entry *grown = realloc(relations->list, capacity * sizeof *grown);
    if (!grown)
      return aon_fail_memory(error);
    relations->list = grown;
    relations->capacity = capacity;
  }
  char *texts[3];
  const aon_text values[] = {id, type, target};
  for (int i = 0; i < 3; i++) {
    aon_result result = aon_workbook_keep(reader->workbook, values[i].data, values[i].length, &texts[i], error);
    if (result)
      return result;
  }
  bool external = aon_xml_attribute(count, attributes, "TargetMode", &mode) && mode.length == 8 && !memcmp(mode.data, "External", 8);
  relations->list[relations->count++] = (relation_entry){texts[0], texts[1], texts[2], external};
  return AON_OK;
}

static void relations_start(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes) {
  if (foreign || strcmp(name, "Relationship"))
    return;
  aon_result result = add_relation((relations_reader *)xml, count, attributes, xml->error);
  if (result)
    aon_xml_stop(xml, result);
}

static void ignore_end(aon_xml *xml, const char *name) {
  (void)xml;
  (void)name;
}

static int relation_order(const void *a, const void *b) { return strcmp(((const relation_entry *)a)->id, ((const relation_entry *)b)->id); }

/* source: name of the part they start from, "" for the package. */
static aon_result read_relations(aon_workbook *workbook, const char *source, relation_list *ret_relations, aon_error *error) {
  static const aon_xml_events events = {relations_start, ignore_end, NULL};
  const char *slash = strrchr(source, '/');
  size_t folder = slash ? (size_t)(slash - source) + 1 : 0, index;
  char *name = aon_arena_format(&workbook->arena, "%.*s_rels/%s.rels", (int)folder, source, source + folder);
  if (!name)
    return aon_fail_memory(error);
  if (!aon_package_find(workbook->package, name, &index))
    return aon_refuse(error, "This file is damaged: its part “%s” is missing. " AON_SAVE_AGAIN, name);
  relations_reader reader = {.workbook = workbook, .relations = ret_relations};
  aon_result result = aon_xml_run(&reader.xml, workbook->package, index, &events, error);
  if (!result && ret_relations->count)
    qsort(ret_relations->list, ret_relations->count, sizeof(relation_entry), relation_order);
  for (size_t i = 1; !result && i < ret_relations->count; i++) {
    if (!strcmp(ret_relations->list[i - 1].id, ret_relations->list[i].id))
      result = aon_refuse(error, "This file is damaged: its part “%s” names two things alike. " AON_SAVE_AGAIN, name);
  }
  return result;
}

static const relation_entry *relation_by_id(const relation_list *relations, const char *id) {
  relation_entry wanted = {.id = id};
  return relations->count ? bsearch(&wanted, relations->list, relations->count, sizeof wanted, relation_order) : NULL;
}

static const relation_entry *relation_by_type(const relation_list *relations, const char *ending) {
  for (size_t i = 0; i < relations->count; i++) {
    if (ends_with(relations->list[i].type, ending) && !relations->list[i].external)
      return &relations->list[i];
  }
  return NULL;
}

/* Joins folder and target in place of "." and ".."; decode: %HH as in URIs. out has room for both and a NUL. */
static void join_path(const char *folder, size_t folder_length, const char *target, bool decode, char *out) {
  char *to = out;
  if (*target != '/' && *target != '\\') {
    memcpy(to, folder, folder_length);
    to += folder_length;
  }
  while (*target && *target != '#') {
    while (*target == '/' || *target == '\\')
      target++;
    size_t length = strcspn(target, "/\\#");
    if (length == 2 && !memcmp(target, "..", 2)) {
      for (to -= to > out; to > out && to[-1] != '/'; to--) {
      }
    } else if (length && !(length == 1 && *target == '.')) {
      for (size_t i = 0; i < length; i++) {
        bool escape = decode && target[i] == '%' && i + 2 < length && hex_digit(target[i + 1]) >= 0 && hex_digit(target[i + 2]) >= 0;
        *to++ = escape ? (char)(hex_digit(target[i + 1]) << 4 | hex_digit(target[i + 2])) : target[i];
        i += escape ? 2 : 0;
      }
      if (target[length] && target[length] != '#')
        *to++ = '/';
    }
    target += length;
  }
  *to = 0;
}

/* Finds the part that a relation of source points to. *ret_name is as the package spells it, or as the relation does if it is missing. */
static aon_result find_target(aon_workbook *workbook, const char *source, const relation_entry *relation, bool *ret_found,
                              size_t *ret_index, const char **ret_name, aon_error *error) {
  const char *slash = strrchr(source, '/');
  size_t folder = slash ? (size_t)(slash - source) + 1 : 0;
  char *name;
  aon_result result = aon_workbook_keep(workbook, NULL, folder + strlen(relation->target) + 2, &name, error);
  if (result)
    return result;
  for (int decode = 0; decode < 2; decode++) {
    join_path(source, folder, relation->target, decode == 1, name);
    *ret_found = !relation->external && aon_package_find(workbook->package, name, ret_index);
    if (*ret_found)
      break;
  }
  *ret_name = *ret_found ? aon_package_name(workbook->package, *ret_index) : name;
  return AON_OK;
}

/* ---- workbook ---- */

typedef struct workbook_reader {
  aon_xml xml;
  aon_workbook *workbook;
  const char *part;
  const relation_list *relations;
  int depth;
  bool in_sheets, is_workbook;
} workbook_reader;

static bool is_true(aon_text value) {
  return (value.length == 1 && value.data[0] == '1') || (value.length == 4 && !memcmp(value.data, "true", 4)) ||
         (value.length == 2 && !memcmp(value.data, "on", 2));
}

static bool state_of(aon_text value, aon_sheet_state *ret_state) {
  static const struct {
    const char *name;
    aon_sheet_state state;
  } states[] = {{"visible", AON_SHEET_VISIBLE}, {"hidden", AON_SHEET_HIDDEN}, {"veryHidden", AON_SHEET_VERY_HIDDEN}};
  for (size_t i = 0; i < 3; i++) {
    if (value.length == strlen(states[i].name) && !memcmp(value.data, states[i].name, value.length)) {
      *ret_state = states[i].state;
      return true;
    }
  }
  return false;
}

/* Charts, dialogs and macro sheets have no rows, and modules of old macros have no part at all: they are no worksheets. */
static aon_result add_worksheet(workbook_reader *reader, const char *name, aon_sheet_state state, aon_text id, aon_error *error) {
  aon_workbook *workbook = reader->workbook;
  if (!id.length)
    return AON_OK;
  char *key;
  aon_result result = aon_workbook_keep(workbook, id.data, id.length, &key, error);
  if (result)
    return result;
  const relation_entry *relation = relation_by_id(reader->relations, key);
  if (!relation)
    return aon_refuse(error, "This file is damaged: nothing says where the cells of the sheet “%s” are. " AON_SAVE_AGAIN, name);
  if (!ends_with(relation->type, "/worksheet"))
    return AON_OK;
  bool found;
  const char *part;
  aon_sheet_entry entry = {.name = name, .state = state};
  result = find_target(workbook, reader->part, relation, &found, &entry.part, &part, error);
  if (result)
    return result;
  if (!found)
    return aon_refuse(error, "This file is damaged: the cells of the sheet “%s” (%s) are missing. " AON_SAVE_AGAIN, name, part);
  return aon_workbook_add_sheet(workbook, &entry, error);
}

static aon_result read_sheet(workbook_reader *reader, int count, const xmlChar **attributes, aon_error *error) {
  aon_text name = {"", 0}, state = {"visible", 7}, id = {"", 0};
  aon_sheet_state visible;
  char *copy;
  aon_xml_attribute(count, attributes, "name", &name);
  aon_xml_attribute(count, attributes, "state", &state);
  aon_xml_prefixed_attribute(count, attributes, "id", &id);
  aon_result result = aon_workbook_keep(reader->workbook, name.data, name.length, &copy, error);
  if (result)
    return result;
  copy[aon_text_unescape(copy, name.length)] = 0;
  if (!*copy)
    return aon_refuse(error, "This workbook has a sheet without a name. " AON_SAVE_AGAIN);
  if (!state_of(state, &visible))
    return aon_refuse(error, "This file is damaged: the sheet “%s” is neither visible nor hidden. " AON_SAVE_AGAIN, copy);
  return add_worksheet(reader, copy, visible, id, error);
}

static void workbook_start(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes) {
  workbook_reader *reader = (workbook_reader *)xml;
  aon_text value;
  int depth = reader->depth++;
  if (foreign)
    return;
  if (depth == 0)
    reader->is_workbook = !strcmp(name, "workbook");
  else if (depth == 1)
    reader->in_sheets = !strcmp(name, "sheets");
  if (depth == 1 && !strcmp(name, "workbookPr") && aon_xml_attribute(count, attributes, "date1904", &value))
    reader->workbook->date1904 = is_true(value);
  if (depth == 2 && reader->in_sheets && reader->is_workbook && !strcmp(name, "sheet")) {
    aon_result result = read_sheet(reader, count, attributes, xml->error);
    if (result)
      aon_xml_stop(xml, result);
  }
}

static void workbook_end(aon_xml *xml, const char *name) {
  (void)name;
  ((workbook_reader *)xml)->depth--;
}

/* ---- styles ---- */

typedef struct number_format {
  uint32_t id;
  aon_numfmt kind;
} number_format;

typedef struct styles_reader {
  aon_xml xml;
  aon_workbook *workbook;
  number_format *formats; /* malloc */
  size_t format_count, format_capacity;
  uint32_t *cells; /* number format of each cell format; malloc */
  size_t cell_count, cell_capacity;
  int depth;
  bool in_formats, in_cells;
} styles_reader;

static uint32_t number_of(aon_text value) {
  uint32_t number = 0;
  for (size_t i = 0; i < value.length && value.data[i] >= '0' && value.data[i] <= '9' && number < 100000000; i++)
    number = number * 10 + (uint32_t)(value.data[i] - '0');
  return number;
}

static aon_result grow(void **list, size_t *capacity, size_t count, size_t size, aon_error *error) {
  if (count < *capacity)
    return AON_OK;
  size_t more = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(*list, more * size);
  if (!grown)
    return aon_fail_memory(error);
  *list = grown;
  *capacity = more;
  return AON_OK;
}

static aon_result add_format(styles_reader *reader, int count, const xmlChar **attributes, aon_error *error) {
  aon_text id = {"", 0}, code = {"", 0};
  aon_xml_attribute(count, attributes, "numFmtId", &id);
  aon_xml_attribute(count, attributes, "formatCode", &code);
  if (reader->format_count >= AON_LIMIT_NUMBER_FORMATS)
    return aon_refuse_limit(error, "This workbook has more number formats", "number_formats", AON_LIMIT_NUMBER_FORMATS);
  aon_result result = grow((void **)&reader->formats, &reader->format_capacity, reader->format_count, sizeof *reader->formats, error);
  if (!result)
    reader->formats[reader->format_count++] = (number_format){number_of(id), aon_numfmt_of_code(code.data, code.length)};
  return result;
}

static aon_result add_cell_format(styles_reader *reader, int count, const xmlChar **attributes, aon_error *error) {
  aon_text id = {"", 0};
  aon_xml_attribute(count, attributes, "numFmtId", &id);
  if (reader->cell_count >= AON_LIMIT_STYLES)
    return aon_refuse_limit(error, "This workbook has more cell formats", "styles", AON_LIMIT_STYLES);
  aon_result result = grow((void **)&reader->cells, &reader->cell_capacity, reader->cell_count, sizeof *reader->cells, error);
  if (!result)
    reader->cells[reader->cell_count++] = number_of(id);
  return result;
}

static void styles_start(aon_xml *xml, const char *name, bool foreign, int count, const xmlChar **attributes) {
  styles_reader *reader = (styles_reader *)xml;
  aon_result result = AON_OK;
  int depth = reader->depth++;
  if (foreign)
    return;
  if (depth == 1) {
    reader->in_formats = !strcmp(name, "numFmts");
    reader->in_cells = !strcmp(name, "cellXfs");
  }
  if (depth == 2 && reader->in_formats && !strcmp(name, "numFmt"))
    result = add_format(reader, count, attributes, xml->error);
  if (depth == 2 && reader->in_cells && !strcmp(name, "xf"))
    result = add_cell_format(reader, count, attributes, xml->error);
  if (result)
    aon_xml_stop(xml, result);
}

static void styles_end(aon_xml *xml, const char *name) {
  (void)name;
  ((styles_reader *)xml)->depth--;
}

static int format_order(const void *a, const void *b) {
  uint32_t first = ((const number_format *)a)->id, second = ((const number_format *)b)->id;
  return first < second ? -1 : first > second;
}

static aon_result resolve_styles(styles_reader *reader, aon_error *error) {
  aon_workbook *workbook = reader->workbook;
  workbook->styles = malloc(reader->cell_count + 1);
  if (!workbook->styles)
    return aon_fail_memory(error);
  if (reader->format_count)
    qsort(reader->formats, reader->format_count, sizeof *reader->formats, format_order);
  for (size_t i = 0; i < reader->cell_count; i++) {
    number_format wanted = {.id = reader->cells[i]};
    const number_format *own =
        reader->format_count ? bsearch(&wanted, reader->formats, reader->format_count, sizeof wanted, format_order) : NULL;
    workbook->styles[i] = (uint8_t)(own ? own->kind : aon_numfmt_of_id(wanted.id));
  }
  workbook->style_count = reader->cell_count;
  return AON_OK;
}

static aon_result read_styles(aon_workbook *workbook, size_t part, aon_error *error) {
  static const aon_xml_events events = {styles_start, styles_end, NULL};
  styles_reader reader = {.workbook = workbook};
  aon_result result = aon_xml_run(&reader.xml, workbook->package, part, &events, error);
  if (!result)
    result = resolve_styles(&reader, error);
  free(reader.formats);
  free(reader.cells);
  return result;
}

/* ---- all of it ---- */

/* A part that may be missing, even where a relationship promises it: cells that need what it held are refused one by one. */
static aon_result read_optional(aon_workbook *workbook, const char *source, const relation_list *relations, const char *type,
                                aon_result (*read)(aon_workbook *, size_t, aon_error *), aon_error *error) {
  const relation_entry *relation = relation_by_type(relations, type);
  bool found;
  size_t index;
  const char *name;
  if (!relation)
    return AON_OK;
  aon_result result = find_target(workbook, source, relation, &found, &index, &name, error);
  return result || !found ? result : read(workbook, index, error);
}

static aon_result read_workbook(aon_workbook *workbook, const char *part, size_t index, aon_error *error) {
  static const aon_xml_events events = {workbook_start, workbook_end, NULL};
  relation_list relations = {0};
  if (ends_with(part, ".bin"))
    return aon_refuse(error, "This is a binary workbook (.xlsb). Save it as .xlsx and try again.");
  aon_result result = read_relations(workbook, part, &relations, error);
  if (!result) {
    workbook_reader reader = {.workbook = workbook, .part = part, .relations = &relations};
    result = aon_xml_run(&reader.xml, workbook->package, index, &events, error);
    if (!result && !reader.is_workbook)
      result = aon_refuse(error, "This is an Office document, but not a workbook. Give an .xlsx file.");
  }
  if (!result)
    result = read_optional(workbook, part, &relations, "/styles", read_styles, error);
  if (!result)
    result = read_optional(workbook, part, &relations, "/sharedStrings", aon_xlsx_strings_read, error);
  free(relations.list);
  return result;
}

aon_result aon_xlsx_open(aon_workbook *workbook, aon_error *error) {
  relation_list relations = {0};
  bool found = false;
  size_t index = 0;
  const char *part = NULL;
  xmlInitParser();
  aon_result result = read_relations(workbook, "", &relations, error);
  if (!result) {
    const relation_entry *office = relation_by_type(&relations, "/officeDocument");
    if (office)
      result = find_target(workbook, "", office, &found, &index, &part, error);
    if (!result && !found)
      result = aon_refuse(error, "This file is damaged or not a workbook: it does not say where its sheets are. " AON_SAVE_AGAIN);
  }
  free(relations.list);
  return result ? result : read_workbook(workbook, part, index, error);
}
