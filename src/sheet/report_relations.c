/* Relationships. Targets are resolved as RFC 3986 has it, plus what programs write: backslashes, and %HH that may or may not be meant. */
#include "sheet/report_relations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

#define SPACE "http://schemas.openxmlformats.org/package/2006/relationships"
#define TYPES "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define TYPES_STRICT "http://purl.oclc.org/ooxml/officeDocument/relationships"

static aon_result part_read(void *context, void *bytes, size_t length, size_t *ret_length, aon_error *error) {
  return aon_part_read(context, bytes, length, ret_length, error);
}

aon_markup_input aon_part_input(aon_part *part) { return (aon_markup_input){part_read, part}; }

aon_result aon_part_load(aon_package *package, size_t part, aon_buffer *buffer, aon_error *error) {
  aon_part *open = NULL;
  aon_result result = aon_part_open(package, part, &open, error);
  if (result)
    return result;
  aon_markup_input input = aon_part_input(open);
  buffer->limit = AON_PART_MEMORY_BYTES;
  result = aon_markup_collect(&input, buffer, error);
  aon_part_close(open);
  if (result == AON_PERMANENT)
    return aon_fail(error, AON_REJECTED, "bad_file",
                    "The part %s of the workbook is larger than 64 MiB, which no workbook that a person made is.",
                    aon_package_name(package, part));
  return result;
}

static aon_result item_add(aon_relations *relations, const aon_token *token, size_t from, aon_error *error) {
  if (relations->count == relations->capacity) {
    size_t capacity = relations->capacity ? relations->capacity * 2 : 16;
    aon_relation *items = realloc(relations->items, capacity * sizeof *items);
    if (!items)
      return aon_fail_memory(error);
    relations->items = items;
    relations->capacity = capacity;
  }
  static const char *const names[] = {"Id", "Type", "Target"};
  const char *texts[3];
  for (int i = 0; i < 3; i++) {
    aon_text value = {"", 0};
    aon_tag_attribute(token->bytes, names[i], &value);
    if (!(texts[i] = aon_markup_decode(relations->arena, value)))
      return aon_fail_memory(error);
  }
  aon_text mode;
  bool external = aon_tag_attribute(token->bytes, "TargetMode", &mode) && aon_text_is(mode, "External");
  relations->items[relations->count++] = (aon_relation){
      .id = texts[0], .type = texts[1], .target = texts[2], .external = external, .from = from, .to = from + token->bytes.length};
  return AON_OK;
}

static aon_result items_read(aon_relations *relations, aon_error *error) {
  AON_MARKUP_CLEANUP aon_markup *markup = NULL;
  aon_result result = aon_markup_open_bytes(relations->bytes.data, relations->bytes.length, &markup, error);
  aon_token token;
  size_t at = 0;
  while (!result && !(result = aon_markup_next(markup, &token, error))) {
    if (aon_token_opens(&token, "Relationships"))
      snprintf(relations->prefix, sizeof relations->prefix, "%.*s", (int)token.prefix.length, token.prefix.data);
    if (aon_token_opens(&token, "Relationship"))
      result = item_add(relations, &token, at, error);
    if (aon_token_closes(&token, "Relationship") && relations->count)
      relations->items[relations->count - 1].to = at + token.bytes.length;
    if (aon_token_closes(&token, "Relationships"))
      relations->close = at;
    at += token.bytes.length;
  }
  return result == AON_END ? AON_OK : result;
}

aon_result aon_relations_load(aon_relations *relations, aon_package *package, aon_arena *arena, const char *source, aon_error *error) {
  const char *slash = strrchr(source, '/');
  int folder = slash ? (int)(slash - source) + 1 : 0;
  char *name = aon_arena_format(arena, "%.*s_rels/%s.rels", folder, source, source + folder);
  if (!name)
    return aon_fail_memory(error);
  *relations = (aon_relations){.arena = arena, .source = source, .name = name, .part = AON_PART_NONE};
  if (!aon_package_find(package, name, &relations->part)) {
    relations->part = AON_PART_NONE;
    return AON_OK;
  }
  aon_result result = aon_part_load(package, relations->part, &relations->bytes, error);
  return result ? result : items_read(relations, error);
}

void aon_relations_forget(aon_relations *relations) {
  aon_relations fresh = {.arena = relations->arena, .source = relations->source, .name = relations->name, .part = relations->part};
  aon_relations_release(relations);
  *relations = fresh;
}

void aon_relations_release(aon_relations *relations) {
  aon_buffer_release(&relations->bytes);
  aon_buffer_release(&relations->added);
  free(relations->items);
  *relations = (aon_relations){0};
}

static bool text_ends(const char *text, const char *ending) { return aon_text_ends((aon_text){text, strlen(text)}, ending); }

aon_relation *aon_relations_by_type(aon_relations *relations, const char *ending, const aon_relation *after) {
  for (size_t i = after ? (size_t)(after - relations->items) + 1 : 0; i < relations->count; i++) {
    aon_relation *relation = &relations->items[i];
    if (!relation->external && !relation->removed && text_ends(relation->type, ending))
      return relation;
  }
  return NULL;
}

aon_relation *aon_relations_by_id(aon_relations *relations, const char *id) {
  for (size_t i = 0; i < relations->count; i++) {
    if (!relations->items[i].removed && !strcmp(relations->items[i].id, id))
      return &relations->items[i];
  }
  return NULL;
}

static void percent_decode(char *text) {
  char *to = text;
  for (const char *at = text; *at; to++) {
    bool escaped = *at == '%' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0 && (hex_digit(at[1]) || hex_digit(at[2]));
    *to = escaped ? (char)(hex_digit(at[1]) << 4 | hex_digit(at[2])) : *at;
    at += escaped ? 3 : 1;
  }
  *to = 0;
}

/* Joins the source's folder and the target; "." and ".." taken out. out has room for both. */
static void join(const char *source, const char *target, char *out) {
  const char *slash = strrchr(source, '/');
  size_t length = *target == '/' || *target == '\\' || !slash ? 0 : (size_t)(slash - source) + 1;
  memcpy(out, source, length);
  while (*target && *target != '#') {
    size_t step = strcspn(target, "/\\#");
    bool up = step == 2 && !memcmp(target, "..", 2), stay = step == 1 && *target == '.';
    if (up && length)
      for (length--; length && out[length - 1] != '/'; length--) {
      }
    if (step && !up && !stay) {
      memcpy(out + length, target, step);
      length += step;
      if (target[step] && target[step] != '#')
        out[length++] = '/';
    }
    target += step;
    while (*target == '/' || *target == '\\')
      target++;
  }
  out[length] = 0;
}

aon_result aon_relations_target(const aon_relations *relations, const aon_package *package, const aon_relation *relation, size_t *ret_part,
                                const char **ret_name, aon_error *error) {
  char *name = aon_arena_alloc(relations->arena, strlen(relations->source) + strlen(relation->target) + 2);
  if (!name)
    return aon_fail_memory(error);
  join(relations->source, relation->target, name);
  bool found = !relation->external && aon_package_find(package, name, ret_part);
  if (!found && strchr(name, '%')) {
    percent_decode(name);
    found = !relation->external && aon_package_find(package, name, ret_part);
  }
  if (!found)
    *ret_part = AON_PART_NONE;
  *ret_name = found ? aon_package_name(package, *ret_part) : name;
  return AON_OK;
}

aon_result aon_relations_fresh_id(aon_relations *relations, const char **ret_id, aon_error *error) {
  char id[32];
  do
    snprintf(id, sizeof id, "rIdAon%u", ++relations->last_number);
  while (aon_relations_by_id(relations, id));
  *ret_id = aon_arena_text(relations->arena, id, strlen(id));
  return *ret_id ? AON_OK : aon_fail_memory(error);
}

/* From one part to another: "../comments1.xml". */
static aon_result relative_write(const char *source, const char *target, aon_buffer *out, aon_error *error) {
  size_t common = 0;
  for (size_t i = 0; source[i] && source[i] == target[i]; i++) {
    if (source[i] == '/')
      common = i + 1;
  }
  aon_result result = AON_OK;
  for (const char *at = source + common; !result && (at = strchr(at, '/')); at++)
    result = aon_buffer_text(out, "../", error);
  if (result)
    return result;
  aon_sink sink = aon_sink_to_buffer(out);
  aon_sink_escape(&sink, target + common);
  return aon_sink_end(&sink, error);
}

aon_result aon_relations_add(aon_relations *relations, const char *id, const char *kind, const char *target, aon_error *error) {
  relations->changed = true;
  aon_result result = aon_buffer_format(&relations->added, error, "<%sRelationship Id=\"%s\" Type=\"%s%s\" Target=\"", relations->prefix,
                                        id, relations->strict ? TYPES_STRICT : TYPES, kind);
  if (!result)
    result = relative_write(relations->source, target, &relations->added, error);
  return result ? result : aon_buffer_text(&relations->added, "\"/>", error);
}

void aon_relations_remove(aon_relations *relations, aon_relation *relation) {
  relation->removed = true;
  relations->changed = true;
}

void aon_relations_write(const aon_relations *relations, aon_sink *sink) {
  const char *bytes = relations->bytes.data;
  size_t close = relations->close, at = 0;
  if (!close) { /* no part, or a root that is closed at once */
    aon_sink_text(sink, "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<");
    aon_sink_format(sink, "%sRelationships xmlns%s%.*s=\"" SPACE "\">", relations->prefix, *relations->prefix ? ":" : "",
                    *relations->prefix ? (int)strlen(relations->prefix) - 1 : 0, relations->prefix);
    aon_sink_put(sink, relations->added.data, relations->added.length);
    aon_sink_format(sink, "</%sRelationships>", relations->prefix);
    return;
  }
  for (size_t i = 0; i < relations->count; i++) {
    if (!relations->items[i].removed)
      continue;
    aon_sink_put(sink, bytes + at, relations->items[i].from - at);
    at = relations->items[i].to;
  }
  aon_sink_put(sink, bytes + at, close - at);
  aon_sink_put(sink, relations->added.data, relations->added.length);
  aon_sink_put(sink, bytes + close, relations->bytes.length - close);
}
