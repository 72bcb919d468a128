/* Packs that are wrong, each refused in a sentence that names the place; packs that misbehave while a job runs. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COLLECTIONS "collections={{name='c',store='main',id='id'}}"
#define COLUMNS "columns={{heading='ID',property='id',type='id',id=true},{heading='Name',property='name',type='text',required=true}"
#define HEAD "return {name='p',version=1," COLLECTIONS ","

static void write_pack(char path[64], const char *text) {
  snprintf(path, 64, "/tmp/aon-pack-XXXXXX.lua");
  int file = mkstemps(path, 4);
  assert_true(file >= 0);
  assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
  close(file);
}

static void refused(const char *text, const char *word) {
  char path[64];
  aon_env *env;
  aon_pack *pack = NULL;
  aon_error error = AON_ERROR_INIT;
  write_pack(path, text);
  assert_int_equal(aon_env_open(AON_LOG_WARNING, 0, 0, &env, &error), AON_OK);
  aon_result result = aon_pack_load(env, path, NULL, NULL, &pack, &error);
  aon_pack_close(pack);
  aon_env_close(env);
  unlink(path);
  assert_int_equal(result, AON_ENVIRONMENT);
  assert_string_equal(error.code, "bad_pack");
  if (!strstr(error.sentence, word))
    fail_msg("“%s” does not hold “%s”", error.sentence, word);
}

static void test_wrong_tables(void **state) {
  (void)state;
  refused("return 1", "table");
  refused("return {}", "version");
  refused("return {name='p',version=2,collections={},sheets={}}", "version");
  refused("return {name='p',version=1,collections={},sheets={},sheet={}}", "“sheet”");
  refused("return {name='p',version=1,collections={{name='c',store='main'}},sheets={}}", "collections[1]");
  refused("return {name='p',version=1,collections={{name='c',store='m',id='i'},{name='c',store='m',id='i'}},sheets={}}", "two collections");
  refused(HEAD "sheets={{name='S',collection='x',columns={}}}}", "“x”");
  refused(HEAD "sheets={{name='S',columns={}}}}", "needs a collection or entries");
  refused(HEAD "sheets={{name='S',collection='c',columns={{heading='A',property='a',type='colour'}}}}}", "sheets[1].columns[1]");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS ",{heading='name *',property='n',type='text'}}}}}", "column 2");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS ",{heading='A',property='a',type='choice'}}}}}", "choices");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS ",{heading='A',property='a',type='integer',default='x'}}}}}", "default");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS "},rules={{needs={'b'},check=print}}}}}", "“b”");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS "}}},order={{'x'}}}", "“x”");
  refused(HEAD "sheets={{name='S',collection='c'," COLUMNS "}}},order={}}", "once in the order");
  refused("local", "1");
}

static uint64_t run(const char *text, aon_error *error) {
  char path[64];
  harness h;
  write_pack(path, text);
  harness_open(&h, path);
  unlink(path);
  harness_sheet(&h, "S", "ID,Name\n1,Ann\n2,Bob\n");
  uint64_t errors = harness_upload_as(&h, h.folder, "org1", error);
  char command[200];
  snprintf(command, sizeof command, "rm -r '%s'", h.folder);
  assert_int_equal(system(command), 0);
  harness_close(&h);
  return errors;
}

static void misbehaves(const char *text, const char *word) {
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(run(text, &error), UINT64_MAX);
  assert_int_equal(error.kind, AON_ENVIRONMENT);
  assert_string_equal(error.code, "bad_pack");
  if (!strstr(error.sentence, word))
    fail_msg("“%s” does not hold “%s”", error.sentence, word);
}

static void test_wrong_functions(void **state) {
  (void)state;
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},collect=function(row, out) out.merge('x', '1', {}) end}}}", "“x”");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},collect=function(row, out) out.merge('c', row.id, {a = print}) end}}}",
             "can't hold");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS
                  "},collect=function(row, out) local t = {}; t.t = t; out.merge('c', '3', t) end}}}",
             "deep");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},collect=function(row, out) while true do end end}}}", ".lua:1");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},collect=function(row, out) error('no') end}}}", "no");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},adjust=function(row) return 7 end}}}", "adjust");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},rules={{check=function(row) return 'name' end}}}}}", "code");
  misbehaves(HEAD "sheets={{name='S',collection='c'," COLUMNS "},rules={{check=function(row) return 'b', 'required', 'x' end}}}}}", "“b”");
}

static void test_out_is_dead_after_its_call(void **state) {
  (void)state;
  misbehaves("local kept\n" HEAD "sheets={{name='S',collection='c'," COLUMNS
             "},adjust=function(row) if kept then kept.delete('c', '1') end end,"
             "collect=function(row, out) kept = out; row.document.name = 1; error('stop') end}}}",
             "stop");
  aon_error error = AON_ERROR_INIT;
  assert_int_equal(run("local kept\n" HEAD "sheets={{name='S',collection='c'," COLUMNS "},collect=function(row, out)"
                       " if kept and kept ~= out then kept.delete('c', '9') end kept = out end}}}",
                       &error),
                   0);
}

/* A sheet without functions: one row, one upsert; no organization, no stamps. */
static void test_rows_without_functions(void **state) {
  (void)state;
  char path[64];
  harness h;
  write_pack(path, HEAD "sheets={{name='S',collection='c'," COLUMNS "}}}}");
  harness_open(&h, path);
  unlink(path);
  harness_put(&h, "c", "1", "{\"id\":\"1\",\"name\":\"Old\",\"more\":true}");
  harness_sheet(&h, "S", "ID,Name\n1,Ann\n2,Bob\n");
  assert_int_equal(harness_upload(&h), 0);
  assert_int_equal(h.operation_count, 2);
  assert_string_equal(h.operations[0].after, "{\"id\":\"1\",\"name\":\"Ann\",\"more\":true}");
  assert_string_equal(h.operations[1].after, "{\"id\":\"2\",\"name\":\"Bob\"}");
  assert_int_equal(harness_count(&h, "c")->edited, 1);
  harness_close(&h);
}

/* A cell that a pack hands on and can't look into. */
#define WITH_SECRET                                                                                                                             \
  "collections={{name='c',store='main',id='id'},{name='d',store='other',id='id',sensitive={'word'}}},sheets={{name='S',collection='c'," COLUMNS \
  ",{heading='Word',property='word',type='text',collection=false,sensitive=true}},"

static void upload_secret(harness *h, const char *functions, const char *hides, aon_error *error) {
  char path[64], text[2000];
  snprintf(text, sizeof text, "return {name='p',version=1," WITH_SECRET "%s}}}", functions);
  write_pack(path, text);
  harness_open(h, path);
  unlink(path);
  h->hides = hides;
  h->again = true;
  harness_put(h, "d", "3", "{\"id\":\"3\"}");
  harness_sheet(h, "S", "ID,Name,Word\n1,Ann,open sesame\n2,Bob,\n3,Cyd,other word\n");
  assert_int_equal(harness_upload_as(h, h->folder, "org1", error), error->kind ? UINT64_MAX : 0);
}

static void test_a_secret_is_handed_on_unseen(void **state) {
  (void)state;
  static const char *const nowhere[] = {"collect=function(row, out) out.merge('d', row.id, {}, {a = {row.secrets.word}}) end",
                                        "collect=function(row, out) out.merge('d', row.id, {word = row.secrets.word}) end",
                                        "adjust=function(row) return {word = row.secrets.word} end"};
  const char *fine =
      "collect=function(row, out) out.merge('d', row.id, {told = tostring(row.document.word) .. tostring(row.filled.word)}, {word = row.secrets.word}) end";
  for (int hidden = 0; hidden < 2; hidden++) {
    harness h;
    aon_error error = AON_ERROR_INIT;
    upload_secret(&h, fine, hidden ? "word" : NULL, &error);
    assert_string_equal(harness_at(&h, "d", "1", "/word"), hidden ? "\"open sesame\"" : "");
    assert_string_equal(harness_at(&h, "d", "1", "/told"), "\"niltrue\"");
    assert_string_equal(harness_at(&h, "d", "2", "/word"), "");
    assert_string_equal(harness_at(&h, "d", "3", "/word"), ""); /* it was there before */
    assert_string_equal(harness_at(&h, "c", "1", "/word"), "");
    harness_close(&h);
  }
  for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
    harness h;
    aon_error error = {.kind = AON_ENVIRONMENT};
    upload_secret(&h, nowhere[i], "word", &error);
    assert_non_null(strstr(error.sentence, "secret"));
    assert_null(strstr(error.sentence, "sesame"));
    harness_close(&h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wrong_tables),
      cmocka_unit_test(test_wrong_functions),
      cmocka_unit_test(test_out_is_dead_after_its_call),
      cmocka_unit_test(test_rows_without_functions),
      cmocka_unit_test(test_a_secret_is_handed_on_unseen),
  };
  return cmocka_run_group_tests_name("pack schema", tests, NULL, NULL);
}
