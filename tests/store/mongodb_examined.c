/* What aon doctor says of a MongoDB store whose server answers otherwise than the test's own do: rights by roles and by privileges, a clock
 * that is wrong, a member that is no primary. The answer to one command is put in the place of the server's (the driver's functions are looked
 * up by name, base/library.h); all else is asked of the server (tests/servers/mongodb). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongodb_world.h"

/* ---- answers ---- */

typedef struct answer {
  const char *command, *reply; /* relaxed extended JSON, ' for "; NULL: it is refused */
} answer;

static const answer *planted; /* NULL: none */

static const char *named; /* that a "@" stands for */

static bson_t *read_json(const char *text) {
  char json[2000];
  bson_error_t why;
  const char *at = strchr(text, '@');
  snprintf(json, sizeof json, "%.*s%s%s", at ? (int)(at - text) : (int)strlen(text), text, at ? named : "", at ? at + 1 : "");
  for (char *c = json; *c; c++)
    if (*c == '\'')
      *c = '"';
  bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &why);
  if (!document)
    fail_msg("%s: %s", text, why.message);
  return document;
}

static bool answering(mongoc_client_t *client, const char *database, const bson_t *command, const mongoc_read_prefs_t *how,
                      const bson_t *options, bson_t *reply, bson_error_t *error) {
  bson_iter_t at;
  bool ours = planted && bson_iter_init(&at, command) && bson_iter_next(&at) && !strcmp(bson_iter_key(&at), planted->command);
  if (!ours)
    return mongoc_client_command_with_opts(client, database, command, how, options, reply, error);
  bson_t *made = read_json(planted->reply ? planted->reply : "{'ok': 0, 'code': 13, 'errmsg': 'not authorized'}");
  bson_copy_to(made, reply);
  bson_destroy(made);
  if (!planted->reply)
    bson_set_error(error, MONGOC_ERROR_SERVER, 13, "not authorized");
  return planted->reply != NULL;
}

void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name) {
  return strcmp(name, "mongoc_client_command_with_opts") ? __real_dlsym(library, name) : answering;
}

/* ---- what is said ---- */

typedef struct said {
  answer answer;
  const char *lines[3], *never; /* in the report; not in it */
  bool healthy;
} said;

#define USER(rest) "{'ok': 1, 'authInfo': {'authenticatedUsers': [{'user': 'ann', 'db': 'admin'}]" rest "}}"
#define ROLES(list) ", 'authenticatedUserRoles': [" list "]"
#define PRIVILEGES(list) ", 'authenticatedUserPrivileges': [" list "]"
#define ALL "'actions': ['find', 'insert', 'update', 'remove', 'createCollection', 'listCollections']"
#define RIGHTS(reply)                                                                                                                      \
  { "connectionStatus", reply }

static const said cases[] = {
    {RIGHTS("{'ok': 1}"), {"user none (no authentication)"}, "may not", true},
    {RIGHTS("{'ok': 1, 'authInfo': {'authenticatedUsers': []}}"), {"user none (no authentication)"}, "may not", true},
    {RIGHTS("{'ok': 1, 'authInfo': {'authenticatedUsers': [{'user': 5}]}}"), {"user none (no authentication)"}, "may not", true},
    {RIGHTS(USER("")), {"user ann"}, "may not", true},
    {RIGHTS(USER(ROLES("{'role': 5}, {'db': 'x'}, {'role': 'read'}, {'role': 'readWrite'}"))), {"user ann"}, "may not", true},
    {RIGHTS(USER(ROLES("{'role': 'root'}") PRIVILEGES(""))), {"user ann"}, "may not", true},
    {RIGHTS(USER(ROLES("{'role': 'read'}") PRIVILEGES(""))), {"this user may not find", "this user may not remove"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': '', 'collection': ''}, " ALL "}"))), {"user ann"}, "may not", true},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'anyResource': true}, " ALL "}"))), {"user ann"}, "may not", true},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'anyResource': false}, " ALL "}"))), {"this user may not find"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': 'another', 'collection': ''}, " ALL "}"))), {"this user may not insert"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': '', 'collection': 'one'}, " ALL "}"))), {"this user may not update"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': 5, 'collection': 5}, " ALL "}, 7, {}"))), {"this user may not find"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': '', 'collection': ''}, 'actions': 'find'}"))), {"this user may not find"}, NULL, false},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': '', 'collection': ''}, 'actions': [5, 'find', 'insert', 'update', 'remove']}"))),
     {"this user may not createCollection", "this user may not listCollections"},
     "may not find",
     true},
    {RIGHTS(USER(PRIVILEGES("{'resource': {'db': '@', 'collection': ''}, " ALL "}"))), {"user ann"}, "may not", true},
    {RIGHTS(USER(", 'authenticatedUserRoles': 5, 'authenticatedUserPrivileges': 5")), {"this user may not find"}, NULL, false},
    {RIGHTS(USER(ROLES("5, 'root'"))), {"user ann"}, "may not", true},
    {{"count", "{'ok': 1}"}, {"markers of bulk operations: 0"}, NULL, true},
    {{"hello", "{'ok': 1}"}, {"writable: NO"}, NULL, false},
    {{"hello", "{'ok': 1, 'isWritablePrimary': false}"}, {"writable: NO"}, NULL, false},
    {{"connectionStatus", NULL}, {"problem: "}, NULL, false},
    {{"hello", "{'ok': 1, 'isWritablePrimary': true}"}, {"clock: 0 ms behind ours"}, "writable: NO", true},
    {{"hello", "{'ok': 1, 'isWritablePrimary': true, 'localTime': 5}"}, {"clock: 0 ms behind ours"}, "writable: NO", true},
    {{"hello", "{'ok': 1, 'localTime': {'$date': '2001-01-01T00:00:00Z'}}"}, {"which is MUCH", "writable: NO"}, NULL, false},
    {{"hello", "{'ok': 1, 'isWritablePrimary': true, 'localTime': {'$date': '2101-01-01T00:00:00Z'}}"},
     {"before ours, which is MUCH"},
     "writable: NO",
     false},
    {{"hello", NULL}, {"problem: "}, NULL, false},
};

static void says(world *w, aon_store *store, const said *what) {
  AON_BUFFER_CLEANUP aon_buffer report = {0};
  bool healthy = !what->healthy;
  planted = &what->answer;
  aon_result result = aon_store_examine(store, &report, &healthy, &w->error);
  planted = NULL;
  OK(w, result);
  for (size_t i = 0; i < 3 && what->lines[i]; i++)
    if (!strstr(report.data, what->lines[i]))
      fail_msg("%zu: no “%s” in\n%s", (size_t)(what - cases), what->lines[i], report.data);
  if (what->never && strstr(report.data, what->never))
    fail_msg("%zu: “%s” in\n%s", (size_t)(what - cases), what->never, report.data);
  if (healthy != what->healthy)
    fail_msg("%zu: %s", (size_t)(what - cases), report.data);
}

static void says_what_the_server_answers(void **state) {
  (void)state;
  world w;
  mdb_world mdb;
  world_open(&w);
  mdb_world_open(&mdb);
  named = mdb.name;
  w.timeout_ms = 4000;
  aon_store *store = world_store(&w, &aon_mongodb_adapter, NULL, "main", mdb.location, true);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    says(&w, store, &cases[i]);
  aon_store_close(store);
  mdb_world_close(&mdb);
  world_close(&w);
}

int main(void) {
  if (!mdb_there("store mongodb examined"))
    return 77;
  const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_the_server_answers)};
  return cmocka_run_group_tests_name("store mongodb examined", tests, NULL, NULL);
}
