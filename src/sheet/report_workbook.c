/* The uploaded workbook with marks: which parts change is planned first, the others are copied as they are packed, then the changed
 * ones are written, each streamed from the old one.
 *
 * Invariants: an entry of the input is copied or written anew or left out, never two of these (taken[]); what the sheets need (formats,
 * names of new parts) is known before the content types are written, as these come first. */
#include "sheet/report_workbook.h"

#include <stdio.h>
#include <string.h>

#include "sheet/report.h"
#include "sheet/report_book.h"
#include "sheet/report_cells.h"
#include "sheet/report_faults.h"
#include "sheet/report_list.h"
#include "sheet/report_notes.h"
#include "sheet/report_relations.h"
#include "sheet/report_styles.h"

#define NAME_BYTES 1024 /* longest name of a new part */

typedef struct sheet_plan { /* one worksheet; other kinds of sheets have part AON_PART_NONE */
  const char *name;         /* as the reader gives it */
  const char *part_name;
  size_t part;
  aon_relations relations;
  aon_faults faults;
  size_t comments;           /* part, AON_PART_NONE: none */
  const char *comments_name; /* also of one to be made */
  const char *drawing_name;  /* of one to be made, should it be needed */
  const char *drawing_id;
  bool old_notes; /* comments of an earlier report may be there */
} sheet_plan;

typedef struct marker {
  const aon_report *report;
  aon_archive *archive;
  aon_package *package;
  aon_packed *packed;
  aon_arena arena;
  aon_book book;
  aon_relations relations; /* of the workbook */
  const char *name;        /* of the workbook's part */
  size_t part;
  sheet_plan *sheets; /* one for each of the book's */
  aon_styles *styles;
  aon_buffer styles_bytes;
  size_t styles_part;
  const char *styles_name;
  const char *list_name, *list_id;
  const char *old_list; /* part of the older sheet of errors, NULL */
  aon_fault_book *faults;
  bool *taken; /* by entry: not to be copied */
  aon_content_type *types;
  size_t type_count;
  size_t last_sheet; /* of sheet_name: most problems of one sheet stand together */
  bool drawings;
  unsigned last_number; /* of names of new parts */
} marker;

/* --- planning --- */

static void take(marker *marking, size_t part) {
  if (part != AON_PART_NONE)
    marking->taken[part] = true;
}

/* A name for a new part beside the workbook's: the number makes it new, and is used once only. */
static aon_result fresh_name(marker *marking, const char *stem, const char *ending, const char **ret_name, aon_error *error) {
  const char *slash = strrchr(marking->name, '/');
  int folder = slash ? (int)(slash - marking->name) + 1 : 0;
  char name[NAME_BYTES];
  size_t found;
  do {
    int length = snprintf(name, sizeof name, "%.*s%s%u%s", folder, marking->name, stem, ++marking->last_number, ending);
    if (length < 0 || (size_t)length >= sizeof name)
      return aon_fail(error, AON_REJECTED, "bad_file",
                      "The workbook's parts have names of more than %d bytes. Save it again and upload that.", NAME_BYTES);
  } while (aon_package_find(marking->package, name, &found));
  *ret_name = aon_arena_text(&marking->arena, name, strlen(name));
  return *ret_name ? AON_OK : aon_fail_memory(error);
}

static void type_add(marker *marking, const char *part, const char *type) {
  marking->types[marking->type_count++] = (aon_content_type){part, type};
}

/* Comments or a drawing, read to the end: AON_REJECTED if they are damaged. */
static aon_result look_through(marker *marking, size_t part, bool *ret_marked, aon_error *error) {
  aon_part *open = NULL;
  aon_result result = aon_part_open(marking->package, part, &open, error);
  if (result)
    return result;
  aon_markup_input input = aon_part_input(open);
  result = aon_notes_marked(&input, ret_marked, error);
  aon_part_close(open);
  return result;
}

static aon_result plan_comments(marker *marking, sheet_plan *sheet, aon_error *error) {
  aon_relation *relation = aon_relations_by_type(&sheet->relations, "/comments", NULL);
  sheet->comments = AON_PART_NONE;
  aon_result result = AON_OK;
  const char *name = NULL;
  if (relation)
    result = aon_relations_target(&sheet->relations, marking->package, relation, &sheet->comments, &name, error);
  if (result)
    return result;
  if (sheet->comments != AON_PART_NONE) {
    sheet->comments_name = name;
    result = look_through(marking, sheet->comments, &sheet->old_notes, error);
    if (result != AON_REJECTED)
      return result;
    sheet->comments = AON_PART_NONE; /* damaged: no program shows these comments; the part stays, but nothing leads there */
  }
  if (relation)
    aon_relations_remove(&sheet->relations, relation); /* it pointed nowhere, or to damage */
  return AON_OK;
}

/* Names and relationships of what the sheet's own comments need. */
static aon_result plan_notes(marker *marking, sheet_plan *sheet, aon_error *error) {
  aon_result result = AON_OK;
  const char *id;
  if (!sheet->faults.count)
    return AON_OK;
  marking->drawings = true;
  if (sheet->comments == AON_PART_NONE) {
    result = fresh_name(marking, "comments", ".xml", &sheet->comments_name, error);
    if (!result)
      result = aon_relations_fresh_id(&sheet->relations, &id, error);
    if (!result)
      result = aon_relations_add(&sheet->relations, id, "/comments", sheet->comments_name, error);
    type_add(marking, sheet->comments_name, AON_TYPE_COMMENTS);
  }
  if (!result)
    result = fresh_name(marking, "drawings/vmlDrawing", ".vml", &sheet->drawing_name, error);
  return result ? result : aon_relations_fresh_id(&sheet->relations, &sheet->drawing_id, error);
}

static aon_result plan_sheet(marker *marking, size_t index, aon_error *error) {
  const aon_book_sheet *entry = &marking->book.sheets[index];
  sheet_plan *sheet = &marking->sheets[index];
  aon_relation *relation = aon_relations_by_id(&marking->relations, entry->relation);
  *sheet = (sheet_plan){.name = entry->name, .part = AON_PART_NONE, .comments = AON_PART_NONE};
  aon_result result =
      relation ? aon_relations_target(&marking->relations, marking->package, relation, &sheet->part, &sheet->part_name, error) : AON_OK;
  if (result || sheet->part == AON_PART_NONE)
    return result;
  if (!entry->ours && !aon_text_ends((aon_text){relation->type, strlen(relation->type)}, "/worksheet"))
    sheet->part = AON_PART_NONE;
  for (size_t i = 0; i < index; i++) {
    if (marking->sheets[i].part == sheet->part)
      sheet->part = AON_PART_NONE; /* two sheets with the same part: the first one has it */
  }
  if (sheet->part == AON_PART_NONE)
    return AON_OK;
  result = aon_relations_load(&sheet->relations, marking->package, &marking->arena, sheet->part_name, error);
  if (result && result != AON_REJECTED)
    return result;
  if (result) /* damaged: whatever they told of, no program finds it */
    aon_relations_forget(&sheet->relations);
  sheet->relations.strict = marking->book.strict;
  if (entry->ours) {
    aon_relations_remove(&marking->relations, relation);
    marking->old_list = sheet->part_name;
    take(marking, sheet->part);
    take(marking, sheet->relations.part);
    sheet->part = AON_PART_NONE;
    return AON_OK;
  }
  result = aon_fault_book_sheet(marking->faults, &marking->arena, sheet->name, &sheet->faults, error);
  if (!result)
    result = plan_comments(marking, sheet, error);
  return result ? result : plan_notes(marking, sheet, error);
}

static aon_result plan_sheets(marker *marking, aon_error *error) {
  size_t count = marking->book.count;
  marking->sheets = aon_arena_alloc(&marking->arena, count * sizeof *marking->sheets);
  marking->types = aon_arena_alloc(&marking->arena, (count + 2) * sizeof *marking->types);
  if (!marking->sheets || !marking->types)
    return aon_fail_memory(error);
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < count; i++)
    result = plan_sheet(marking, i, error);
  return result;
}

static aon_result plan_styles(marker *marking, aon_error *error) {
  aon_relation *relation = aon_relations_by_type(&marking->relations, "/styles", NULL);
  aon_result result = AON_OK;
  marking->styles_part = AON_PART_NONE;
  marking->styles_name = "xl/styles.xml";
  if (relation)
    result = aon_relations_target(&marking->relations, marking->package, relation, &marking->styles_part, &marking->styles_name, error);
  if (result)
    return result;
  bool there = marking->styles_part != AON_PART_NONE;
  if (!there && relation) {
    aon_relations_remove(&marking->relations, relation);
    marking->styles_name = "xl/styles.xml";
  }
  if (there)
    result = aon_part_load(marking->package, marking->styles_part, &marking->styles_bytes, error);
  else { /* one that no relationship names would be taken for the workbook's by programs that go by names */
    const char *id;
    size_t stray;
    if (aon_package_find(marking->package, marking->styles_name, &stray))
      take(marking, stray);
    else
      type_add(marking, marking->styles_name, AON_TYPE_STYLES);
    result = aon_relations_fresh_id(&marking->relations, &id, error);
    if (!result)
      result = aon_relations_add(&marking->relations, id, "/styles", marking->styles_name, error);
  }
  aon_text source = {marking->styles_bytes.data, marking->styles_bytes.length};
  return result ? result : aon_styles_open(source, marking->book.strict, &marking->styles, error);
}

static aon_result plan_list(marker *marking, aon_error *error) {
  aon_result result = fresh_name(marking, "worksheets/sheet", ".xml", &marking->list_name, error);
  if (!result)
    result = aon_relations_fresh_id(&marking->relations, &marking->list_id, error);
  if (!result)
    result = aon_relations_add(&marking->relations, marking->list_id, "/worksheet", marking->list_name, error);
  if (!result)
    type_add(marking, marking->list_name, AON_TYPE_WORKSHEET);
  return result;
}

static aon_result find_workbook(marker *marking, aon_error *error) {
  aon_relations root = {0};
  aon_result result = aon_relations_load(&root, marking->package, &marking->arena, "", error);
  aon_relation *relation = result ? NULL : aon_relations_by_type(&root, "/officeDocument", NULL);
  marking->part = AON_PART_NONE;
  if (relation)
    result = aon_relations_target(&root, marking->package, relation, &marking->part, &marking->name, error);
  aon_relations_release(&root);
  if (!result && marking->part == AON_PART_NONE)
    return aon_fail(error, AON_REJECTED, "bad_file", "The workbook doesn't say where its sheets are. Save it again and upload that.");
  return result;
}

static aon_result plan(marker *marking, aon_error *error) {
  marking->taken = aon_arena_alloc(&marking->arena, aon_package_count(marking->package) * sizeof *marking->taken);
  if (!marking->taken)
    return aon_fail_memory(error);
  const aon_report *report = marking->report;
  aon_result result = aon_fault_book_make(&marking->arena, report->errors, report->error_count, &marking->faults, error);
  if (!result)
    result = find_workbook(marking, error);
  if (!result)
    result = aon_book_read(&marking->book, marking->package, marking->part, &marking->arena, AON_REPORT_SHEET, error);
  if (!result)
    result = aon_relations_load(&marking->relations, marking->package, &marking->arena, marking->name, error);
  marking->relations.strict = marking->book.strict;
  if (!result)
    result = plan_sheets(marking, error);
  if (!result)
    result = plan_styles(marking, error);
  return result ? result : plan_list(marking, error);
}

/* --- what changes --- */

/* Then a format that a cell names would become one of ours. */
static bool formats_missing(const marker *marking) { return marking->styles_part == AON_PART_NONE || !aon_styles_count(marking->styles); }

static bool sheet_changes(const marker *marking, const sheet_plan *sheet) {
  return sheet->part != AON_PART_NONE &&
         (sheet->faults.count || sheet->old_notes || aon_styles_marked(marking->styles) || formats_missing(marking));
}

/* --- writing --- */

static aon_result write_types(marker *marking, aon_error *error) {
  size_t part;
  if (!aon_package_find(marking->package, "[Content_Types].xml", &part))
    return AON_OK; /* then no part has a type, and programs that read such a file go by names */
  take(marking, part);
  AON_BUFFER_CLEANUP aon_buffer bytes = {0};
  aon_result result = aon_part_load(marking->package, part, &bytes, error);
  if (result)
    return result;
  aon_sink sink = aon_archive_begin(marking->archive, aon_package_name(marking->package, part));
  result = aon_content_types_write(&bytes, marking->old_list, marking->types, marking->type_count, marking->drawings, &sink, error);
  return result ? result : aon_archive_end(marking->archive, &sink, error);
}

/* One part streamed from the old one through an editing function. */
typedef aon_result (*part_edit)(void *context, const aon_markup_input *input, aon_sink *sink, aon_error *error);

static aon_result rewrite(marker *marking, size_t part, part_edit edit, void *context, aon_error *error) {
  aon_part *open = NULL;
  if (marking->taken[part])
    return AON_OK; /* two sheets share it, which no program writes: the first one's marks are in it */
  take(marking, part);
  aon_result result = aon_part_open(marking->package, part, &open, error);
  if (result)
    return result;
  aon_sink sink = aon_archive_begin(marking->archive, aon_package_name(marking->package, part));
  aon_markup_input input = aon_part_input(open);
  result = edit(context, &input, &sink, error);
  aon_part_close(open);
  return result ? result : aon_archive_end(marking->archive, &sink, error);
}

static aon_result edit_cells(void *context, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  return aon_cells_edit_run(context, input, sink, error);
}

static aon_result edit_comments(void *context, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  return aon_notes_comments_edit(context, input, sink, error);
}

static aon_result edit_drawing(void *context, const aon_markup_input *input, aon_sink *sink, aon_error *error) {
  return aon_notes_drawing_edit(context, input, sink, error);
}

static aon_result write_new(marker *marking, const char *name, void (*make)(aon_notes *, aon_sink *), aon_notes *notes, aon_error *error) {
  aon_sink sink = aon_archive_begin(marking->archive, name);
  make(notes, &sink);
  return aon_archive_end(marking->archive, &sink, error);
}

/* The drawing that the sheet names, or the one that it was given. */
static aon_result write_drawing(marker *marking, sheet_plan *sheet, aon_notes *notes, const char *found_id, aon_error *error) {
  aon_relation *relation = *found_id ? aon_relations_by_id(&sheet->relations, found_id) : NULL;
  size_t part = AON_PART_NONE;
  const char *name;
  aon_result result = relation ? aon_relations_target(&sheet->relations, marking->package, relation, &part, &name, error) : AON_OK;
  if (result)
    return result;
  if (part != AON_PART_NONE) {
    bool marked;
    result = look_through(marking, part, &marked, error);
    if (result != AON_REJECTED) /* else no program shows it, and one of ours takes its place */
      return result ? result : rewrite(marking, part, edit_drawing, notes, error);
  }
  if (!sheet->faults.count)
    return AON_OK;
  if (relation)
    aon_relations_remove(&sheet->relations, relation); /* it pointed nowhere, or to damage */
  result = aon_relations_add(&sheet->relations, *found_id ? found_id : sheet->drawing_id, "/vmlDrawing", sheet->drawing_name, error);
  return result ? result : write_new(marking, sheet->drawing_name, aon_notes_drawing_new, notes, error);
}

static aon_result write_notes(marker *marking, sheet_plan *sheet, const char *found_id, aon_error *error) {
  aon_notes notes = {.faults = &sheet->faults, .strict = marking->book.strict};
  if (!sheet->faults.count && !sheet->old_notes)
    return AON_OK;
  aon_result result = sheet->comments != AON_PART_NONE ? rewrite(marking, sheet->comments, edit_comments, &notes, error)
                                                       : write_new(marking, sheet->comments_name, aon_notes_comments_new, &notes, error);
  if (!result)
    result = write_drawing(marking, sheet, &notes, found_id, error);
  aon_notes_release(&notes);
  return result;
}

static aon_result write_relations(marker *marking, aon_relations *relations, aon_error *error) {
  take(marking, relations->part);
  aon_sink sink = aon_archive_begin(marking->archive, relations->name);
  aon_relations_write(relations, &sink);
  return aon_archive_end(marking->archive, &sink, error);
}

static aon_result write_sheet(marker *marking, sheet_plan *sheet, aon_error *error) {
  aon_cells_edit edit = {.faults = &sheet->faults,
                         .styles = marking->styles,
                         .restore = aon_styles_marked(marking->styles),
                         .strip = formats_missing(marking),
                         .has_drawing = aon_relations_by_type(&sheet->relations, "/vmlDrawing", NULL) != NULL,
                         .drawing_id = sheet->drawing_id};
  aon_result result = rewrite(marking, sheet->part, edit_cells, &edit, error);
  if (!result)
    result = write_notes(marking, sheet, edit.found_id, error);
  return result || !sheet->relations.changed ? result : write_relations(marking, &sheet->relations, error);
}

static const char *sheet_name(void *context, const char *name) {
  marker *marking = context;
  for (size_t i = 0; i < marking->book.count; i++) {
    size_t at = (marking->last_sheet + i) % marking->book.count;
    if (marking->sheets[at].part != AON_PART_NONE && !strcmp(marking->sheets[at].name, name)) {
      marking->last_sheet = at;
      return marking->sheets[at].name;
    }
  }
  return NULL;
}

static aon_result write_list(marker *marking, aon_error *error) {
  const aon_report *report = marking->report;
  aon_list list = {.errors = report->errors,
                   .warnings = report->warnings,
                   .error_count = report->error_count,
                   .warning_count = report->warning_count,
                   .more = report->more,
                   .strict = marking->book.strict,
                   .selected = marking->book.selected,
                   .sheet_name = sheet_name,
                   .context = marking};
  aon_sink sink = aon_archive_begin(marking->archive, marking->list_name);
  aon_result result = aon_list_write(&list, marking->styles, &sink, error);
  return result ? result : aon_archive_end(marking->archive, &sink, error);
}

static aon_result write_book(marker *marking, aon_error *error) {
  take(marking, marking->part);
  aon_sink sink = aon_archive_begin(marking->archive, marking->name);
  aon_result result = aon_book_write(&marking->book, AON_REPORT_SHEET, marking->list_id, &sink, error);
  if (!result)
    result = aon_archive_end(marking->archive, &sink, error);
  return result ? result : write_relations(marking, &marking->relations, error);
}

static aon_result write_styles(marker *marking, aon_error *error) {
  take(marking, marking->styles_part);
  aon_sink sink = aon_archive_begin(marking->archive, marking->styles_name);
  aon_styles_write(marking->styles, &sink);
  return aon_archive_end(marking->archive, &sink, error);
}

static aon_result copy_rest(marker *marking, aon_error *error) {
  aon_result result = AON_OK;
  for (size_t i = 0; !result && i < aon_package_count(marking->package); i++) {
    if (!marking->taken[i])
      result = aon_archive_copy(marking->archive, marking->packed, i, aon_package_name(marking->package, i), error);
  }
  return result;
}

static aon_result write_all(marker *marking, aon_error *error) {
  aon_result result = write_types(marking, error);
  for (size_t i = 0; !result && i < marking->book.count; i++) {
    if (sheet_changes(marking, &marking->sheets[i]))
      result = write_sheet(marking, &marking->sheets[i], error);
  }
  if (!result)
    result = write_book(marking, error);
  if (!result)
    result = write_list(marking, error);
  if (!result)
    result = write_styles(marking, error);
  return result ? result : copy_rest(marking, error);
}

static void marking_release(marker *marking) {
  for (size_t i = 0; marking->sheets && i < marking->book.count; i++)
    aon_relations_release(&marking->sheets[i].relations);
  aon_relations_release(&marking->relations);
  aon_styles_close(marking->styles);
  aon_buffer_release(&marking->styles_bytes);
  aon_book_release(&marking->book);
  aon_packed_close(marking->packed);
  aon_package_close(marking->package);
  aon_arena_release(&marking->arena);
}

aon_result aon_report_mark(const aon_report *report, const char *input, aon_archive *archive, aon_error *error) {
  marker marking = {.report = report, .archive = archive};
  aon_result result = aon_package_open(report->env, input, report->limits, &marking.package, error);
  if (!result)
    result = aon_packed_open(report->env, input, &marking.packed, error);
  if (!result)
    result = plan(&marking, error);
  if (!result)
    result = write_all(&marking, error);
  marking_release(&marking);
  return result;
}
