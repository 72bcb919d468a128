/* Uploads through the workforce pack against documents in memory: each rule of the pack as a person would meet it. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define USERS "User ID,Name,Email,Phone,Role,Departments,Sites,Status,Employee Number,Hire Date,Password\n"
#define SITES "Site ID,Name,Country,Latitude,Longitude,Time Zone,Site Group,Departments\n"
#define SCHEDULES "Schedule ID,Title,Type,Days,Start Date,End Date,Start Time,End Time,Sites,SKUs\n"
#define DAYS "Scope,Reference,Start Date,End Date,Name\n"

static int setup(void **state) {
  harness *h = calloc(1, sizeof *h);
  assert_non_null(h);
  harness_open(h, SOURCE_ROOT "/packs/workforce.lua");
  *state = h;
  return 0;
}

static int teardown(void **state) {
  harness_close(*state);
  free(*state);
  return 0;
}

static uint64_t upload(harness *h, const char *name, const char *csv) {
  harness_sheet(h, name, csv);
  return harness_upload(h);
}

static void accepted(const harness *h, uint64_t errors) {
  if (errors)
    harness_print(h);
  assert_int_equal(errors, 0);
}

#define assert_at(h, collection, id, pointer, json) assert_string_equal(harness_at(h, collection, id, pointer), json)
static void assert_counts(const harness *h, const char *entity, unsigned created, unsigned edited, unsigned unchanged) {
  const struct aon_count *count = harness_count(h, entity);
  assert_int_equal(count->created, created);
  assert_int_equal(count->edited, edited);
  assert_int_equal(count->unchanged, unchanged);
}

/* ---- What is looked up ---- */

static void test_all_that_may_be_looked_up_is_named(void **state) {
  harness *h = *state;
  AON_ARENA_CLEANUP aon_arena arena = {0};
  AON_BUFFER_CLEANUP aon_buffer text = {0};
  const aon_pack_lookup *lookups;
  size_t count;
  assert_int_equal(aon_pack_lookups(h->pack, &arena, &lookups, &count, NULL), AON_OK);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(aon_buffer_format(&text, NULL, "%s.%s %s\n", lookups[i].collection->name, lookups[i].property,
                                       lookups[i].within ? lookups[i].within : "-"),
                     AON_OK);
  assert_string_equal(text.data, "users.email organizationID\n"
                                 "accounts.email -\n"
                                 "departments.name organizationID\n"
                                 "sites.name organizationID\n"
                                 "sitegroups.name organizationID\n"
                                 "products.name organizationID\n"
                                 "skus.code organizationID\n"
                                 "questionnaires.title organizationID\n");
}

/* ---- Documents ---- */

static void test_a_user_becomes_documents_of_four_stores(void **state) {
  harness *h = *state;
  harness_sheet(h, "Departments", "Department ID,Name\nd1,Kitchen\n");
  harness_sheet(h, "Sites", SITES "s1,Porto,PT,,,,,Kitchen\n");
  harness_sheet(h, "Users", USERS "u1,Ann,ANN@Example.com,+351912345678,Staff,kitchen,PORTO,,E1,2026-02-28,secret-word\n");
  accepted(h, harness_upload(h));
  assert_at(h, "users", "u1", "/email", "\"ann@example.com\"");
  assert_at(h, "users", "u1", "/role", "\"staff\"");
  assert_at(h, "users", "u1", "/language", "\"en\"");
  assert_at(h, "users", "u1", "/departmentIDs", "[\"d1\"]");
  assert_at(h, "users", "u1", "/organizationID", "\"org1\"");
  assert_at(h, "users", "u1", "/createdBy", "\"tester\"");
  assert_at(h, "users", "u1", "/title", "");
  assert_at(h, "user_extension", "u1", "/employeeNumber", "\"E1\"");
  assert_at(h, "user_extension", "u1", "/hireDate", "\"2026-02-28\"");
  assert_at(h, "firebase:user", "u1", "/siteIDs", "{\"s1\":true}");
  assert_at(h, "firebase:user", "u1", "/createdAt", "");
  assert_at(h, "accounts", "u1", "/hasPassword", "true");
  assert_at(h, "accounts", "u1", "/password", "");
  assert_at(h, "roles", "org1:staff", "/userIDs", "[\"u1\"]");
  assert_at(h, "departmentindexes", "d1:org1", "/userIDs", "[\"u1\"]");
  assert_at(h, "departmentindexes", "d1:org1", "/siteIDs", "[\"s1\"]");
  assert_at(h, "departmentindexes", "d1:org1", "/departmentID", "\"d1\"");
  assert_at(h, "siteindexes", "s1", "/userIDs", "[\"u1\"]");
  assert_at(h, "siteindexes", "s1", "/departmentIDs", "[\"d1\"]");
  for (size_t i = 0; i < h->operation_count; i++)
    assert_null(strstr(h->operations[i].after, "secret-word"));
}

static void test_lists_are_empty_and_realtime_holds_none(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Users", USERS "u1,Ann,ann@example.com,,staff,,,,,,\n"));
  assert_at(h, "users", "u1", "/siteIDs", "[]");
  assert_at(h, "firebase:user", "u1", "/siteIDs", "");
  assert_null(harness_document(h, "user_extension", "u1"));
  assert_at(h, "accounts", "u1", "/hasPassword", "");
}

static void test_an_id_is_made_where_none_is_given(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Departments", "Department ID,Name\n,Kitchen\n"));
  const char *id = harness_find(h, "departments", "name", "Kitchen");
  assert_non_null(id);
  assert_true(aon_uuid_valid(id));
  assert_at(h, "departments", id, "/status", "\"active\"");
}

static void test_the_same_again_changes_nothing(void **state) {
  harness *h = *state;
  for (int i = 0; i < 2; i++) {
    harness_sheet(h, "Departments", "Department ID,Name\nd1,Kitchen\n");
    harness_sheet(h, "Sites", SITES "s1,Porto,PT,41.1,-8.6,Europe/Lisbon,North,Kitchen\n");
    harness_sheet(h, "Users", USERS "u1,Ann,ann@example.com,,staff,Kitchen,Porto,,E1,,secret-word\n");
    harness_sheet(h, "Non-Ops Days", DAYS "site,Porto,2027-01-01,,New Year\n");
    accepted(h, harness_upload(h));
  }
  assert_int_equal(h->operation_count, 0);
  assert_counts(h, "users", 0, 0, 1);
  assert_counts(h, "nonOpsDays", 0, 0, 1);
  assert_true(harness_warning(h, "Users!K2", "ignored"));
  assert_at(h, "users", "u1", "/_bulkOperationId", "\"00000000-0000-4000-8000-000000000001\"");
}

static void test_update_keeps_what_the_sheet_leaves_empty(void **state) {
  harness *h = *state;
  harness_put(h, "sites", "s1",
              "{\"siteID\":\"s1\",\"organizationID\":\"org1\",\"name\":\"Porto\",\"city\":\"Porto\",\"note\":7,\"createdAt\":\"then\"}");
  accepted(h, upload(h, "Sites", "Site ID,Code\ns1,P1\n"));
  assert_at(h, "sites", "s1", "/name", "\"Porto\"");
  assert_at(h, "sites", "s1", "/note", "7");
  assert_at(h, "sites", "s1", "/code", "\"P1\"");
  assert_at(h, "sites", "s1", "/createdAt", "\"then\"");
  assert_at(h, "sites", "s1", "/createdBy", "");
  assert_at(h, "sites", "s1", "/updatedBy", "\"tester\"");
  assert_counts(h, "sites", 0, 1, 0);
}

static void test_clear_removes_or_sets_the_default_back(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Users", USERS "u1,Ann,ann@example.com,+351912345678,staff,,,inactive,E1,,\n"));
  accepted(h, upload(h, "Users", USERS "u1,,,CLEAR,,,,CLEAR,CLEAR,,\n"));
  assert_at(h, "users", "u1", "/phone", "");
  assert_at(h, "users", "u1", "/status", "\"active\"");
  assert_at(h, "accounts", "u1", "/phoneNumber", "");
  assert_at(h, "accounts", "u1", "/disabled", "false");
  assert_null(harness_document(h, "user_extension", "u1"));
  assert_int_equal(harness_operation(h, "user_extension", "u1")->kind, AON_DELETE);
  assert_int_equal(upload(h, "Users", USERS "u1,CLEAR,,,,,,,,,\n"), 1);
  assert_true(harness_error(h, "Users!B2", "required"));
}

static void test_members_move_between_roles_and_indexes(void **state) {
  harness *h = *state;
  harness_sheet(h, "Departments", "Department ID,Name\nd1,Kitchen\nd2,Bar\n");
  harness_sheet(h, "Users", USERS "u1,Ann,ann@example.com,,staff,Kitchen,,,,,\nu2,Bob,bob@example.com,,staff,Kitchen;Bar,,,,,\n");
  accepted(h, harness_upload(h));
  accepted(h, upload(h, "Users", USERS "u1,,,,manager,Bar,,,,,\n"));
  assert_at(h, "roles", "org1:staff", "/userIDs", "[\"u2\"]");
  assert_at(h, "roles", "org1:manager", "/userIDs", "[\"u1\"]");
  assert_at(h, "departmentindexes", "d1:org1", "/userIDs", "[\"u2\"]");
  assert_at(h, "departmentindexes", "d2:org1", "/userIDs", "[\"u2\",\"u1\"]");
  accepted(h, upload(h, "Users", USERS "u1,,,,staff,,,,,,\n"));
  assert_at(h, "roles", "org1:manager", "/userIDs", "[]");
}

static void test_site_groups_are_made_once_and_found_again(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Sites", SITES "s1,Porto,,,,,North,\ns2,Braga,,,,,NORTH,\n"));
  assert_int_equal(harness_documents(h, "sitegroups"), 1);
  char id[64];
  snprintf(id, sizeof id, "%s", harness_find(h, "sitegroups", "name", "North"));
  assert_at(h, "sitegroups", id, "/siteIDs", "[\"s1\",\"s2\"]");
  assert_string_equal(h->operations[0].collection, "sitegroups");
  accepted(h, upload(h, "Sites", SITES "s1,,,,,,CLEAR,\ns3,Faro,,,,,north,\n"));
  assert_at(h, "sitegroups", id, "/siteIDs", "[\"s2\",\"s3\"]");
  assert_at(h, "sites", "s1", "/siteGroupID", "");
}

static void test_an_index_document_that_is_missing_is_made_whole(void **state) {
  harness *h = *state;
  harness_put(h, "departments", "d1", "{\"departmentID\":\"d1\",\"organizationID\":\"org1\",\"name\":\"Kitchen\"}");
  accepted(h, upload(h, "Users", USERS "u1,Ann,ann@example.com,,staff,Kitchen,,,,,\n"));
  assert_at(h, "departmentindexes", "d1:org1", "/name", "\"Kitchen\"");
  assert_at(h, "departmentindexes", "d1:org1", "/siteIDs", "[]");
}

static void test_a_renamed_department_renames_its_index(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Departments", "Department ID,Name\nd1,Kitchen\n"));
  accepted(h, upload(h, "Departments", "Department ID,Name\nd1,Grill\n"));
  assert_at(h, "departmentindexes", "d1:org1", "/name", "\"Grill\"");
  assert_counts(h, "departments", 0, 1, 0);
}

static void test_questionnaires_and_their_copies(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Questionnaires", "Questionnaire ID,Title,Type,Questions\nq1,Opening,,\"Is it clean?\nIs it cold?\"\n"));
  assert_at(h, "questionnaires", "q1", "/questions", "[{\"text\":\"Is it clean?\"},{\"text\":\"Is it cold?\"}]");
  assert_at(h, "questionnaires", "q1", "/type", "\"checklist\"");
  assert_at(h, "questionnaireindexes", "q1", "/questionnaireIndexID", "\"q1\"");
  assert_at(h, "questionnaireindexes", "q1", "/questionCount", "2");
  assert_at(h, "firebase:questionnaire", "org1:q1", "/questionnaireID", "\"q1\"");
  assert_at(h, "firebase:questionnaireIndex", "org1:q1", "/questionCount", "2");
}

/* ---- Schedules ---- */

static const char *total_of(harness *h, const char *type, const char *days, const char *first, const char *last) {
  char csv[600];
  snprintf(csv, sizeof csv, SCHEDULES "x1,Round,%s,%s,%s,%s,08:00,09:00,Porto,\n", type, days, first, last);
  harness_sheet(h, "Sites", "Site ID,Name\ns1,Porto\n");
  accepted(h, upload(h, "Schedules", csv));
  return harness_at(h, "schedulestatistics", "x1", "/total");
}

static void test_totals_follow_the_calendar(void **state) {
  harness *h = *state;
  assert_string_equal(total_of(h, "once", "", "2027-01-06", ""), "1");
  assert_string_equal(total_of(h, "daily", "", "2028-02-28", "2028-03-01"), "3");
  assert_string_equal(total_of(h, "daily", "", "2027-02-28", "2027-03-01"), "2");
  assert_string_equal(total_of(h, "weekly", "\"mon,MON,fri\"", "2027-01-04", "2027-01-17"), "4");
  assert_string_equal(total_of(h, "weekly", "sun", "2027-01-04", "2027-01-09"), "0");
  assert_string_equal(total_of(h, "monthly", "31", "2027-01-01", "2027-12-31"), "7");
  assert_string_equal(total_of(h, "monthly", "last", "2027-01-01", "2027-12-31"), "12");
  assert_string_equal(total_of(h, "monthly", "\"31,last\"", "2027-01-01", "2027-12-31"), "12");
  assert_string_equal(total_of(h, "monthly", "29", "2000-01-01", "2100-12-31"), "1136");
  assert_at(h, "sitescheduleindexes", "x1", "/days", "[29]");
  assert_string_equal(total_of(h, "monthly", "\"31,last,1\"", "1900-01-01", "9999-12-31"), "194400");
  assert_string_equal(total_of(h, "monthly", "31", "2000-01-01", "2399-12-31"), "2800");
  assert_at(h, "schedulestatistics", "x1", "/completed", "0");
}

static void test_days_off_are_taken_out_once(void **state) {
  harness *h = *state;
  harness_sheet(h, "Sites", "Site ID,Name\ns1,Porto\ns2,Braga\n");
  harness_sheet(h, "Schedules", SCHEDULES "x1,Round,daily,,2027-01-01,2027-01-10,08:00,09:00,\"Porto,Braga\",\n");
  harness_sheet(h, "Non-Ops Days",
                DAYS "organization,,2027-01-02,2027-01-03,A\nsite,Porto,2027-01-03,2027-01-04,B\nsite,Porto,2027-01-09,2027-02-09,C\n");
  accepted(h, harness_upload(h));
  assert_at(h, "schedulestatistics", "x1", "/total", "13"); /* Porto 10 - 3 - 2, Braga 10 - 2 */
  harness_sheet(h, "Schedules", SCHEDULES "x1,,,,,,,,,\n");
  harness_sheet(h, "Non-Ops Days", DAYS "site,Braga,2027-01-01,,D\nsite,Porto,2027-01-03,2027-01-04,b\n");
  accepted(h, harness_upload(h));
  assert_at(h, "schedulestatistics", "x1", "/total", "12");
  assert_counts(h, "schedules", 0, 1, 0);
  assert_counts(h, "nonOpsDays", 1, 0, 1);
  assert_at(h, "siteoffdays", "org1:s1", "/days/0/name", "\"B\"");
}

static void test_days_off_in_months_and_weeks(void **state) {
  harness *h = *state;
  harness_sheet(h, "Sites", "Site ID,Name\ns1,Porto\n");
  harness_sheet(
      h, "Schedules",
      SCHEDULES
      "m,M,monthly,\"1,15,last\",2027-01-01,2027-03-31,08:00,09:00,Porto,\nw,W,weekly,mon,2027-01-01,2027-01-31,08:00,09:00,Porto,\n"
      "o,O,once,,2027-01-15,,08:00,09:00,Porto,\n");
  harness_sheet(h, "Non-Ops Days",
                DAYS "organization,,2027-01-14,2027-02-01,A\nsite,Porto,2027-01-10,2027-01-20,B\nsite,Porto,2027-02-28,2027-03-01,C\n"
                     "site,Porto,2026-01-01,2026-12-31,D\n");
  accepted(h, harness_upload(h));
  assert_at(h, "schedulestatistics", "m", "/total", "4"); /* of 9: without Jan 15, 31, Feb 1, Feb 28, Mar 1 */
  assert_at(h, "schedulestatistics", "w", "/total", "1"); /* Mondays 4, 11, 18, 25: only the 4th */
  assert_at(h, "schedulestatistics", "o", "/total", "0");
}

static void test_completed_and_missed_stay(void **state) {
  harness *h = *state;
  assert_string_equal(total_of(h, "once", "", "2027-01-06", ""), "1");
  harness_put(h, "schedulestatistics", "x1",
              "{\"_id\":\"x1\",\"scheduleID\":\"x1\",\"organizationID\":\"org1\",\"total\":1,\"completed\":5,\"missed\":2}");
  assert_string_equal(total_of(h, "daily", "", "2027-01-06", "2027-01-07"), "2");
  assert_at(h, "schedulestatistics", "x1", "/completed", "5");
}

static void test_sku_schedules_come_and_go(void **state) {
  harness *h = *state;
  harness_sheet(h, "Products", "Product ID,Name\np1,Milk\n");
  harness_sheet(h, "SKUs", "SKU ID,Name,Code,Product\nk1,Milk 6,M-6,milk\n");
  harness_sheet(h, "Sites", "Site ID,Name\ns1,Porto\n");
  harness_sheet(h, "Schedules", SCHEDULES "x1,Round,once,,2027-01-01,,08:00,09:00,Porto,m-6\n");
  accepted(h, harness_upload(h));
  assert_at(h, "skuschedules", "x1", "/skuIDs", "[\"k1\"]");
  assert_at(h, "siteindexes", "s1", "/scheduleIDs", "[\"x1\"]");
  accepted(h, upload(h, "Schedules", SCHEDULES "x1,,,,,,,,,CLEAR\n"));
  assert_null(harness_document(h, "skuschedules", "x1"));
  assert_at(h, "sitescheduleindexes", "x1", "/skuIDs", "[]");
}

static void test_schedule_rules(void **state) {
  harness *h = *state;
  harness_sheet(h, "Sites", "Site ID,Name\ns1,Porto\n");
  harness_sheet(h, "Schedules",
                SCHEDULES
                ",A,weekly,,2027-01-01,2027-02-01,08:00,09:00,Porto,\n,B,daily,funday,2027-01-01,,08:00,09:00,Porto,\n"
                ",C,monthly,\"32,mon\",2027-01-01,2027-02-01,08:00,08:00,Porto,\n,D,once,,2027-01-02,2027-01-01,25:00,09:00,Porto,\n");
  assert_int_equal(harness_upload(h), 6);
  assert_true(harness_error(h, "Schedules!D2", "required"));
  assert_true(harness_error(h, "Schedules!F3", "required"));
  assert_true(harness_error(h, "Schedules!D4", "not_allowed"));
  assert_non_null(strstr(harness_sentence(h, "Schedules!D4"), "32"));
  assert_non_null(strstr(harness_sentence(h, "Schedules!D4"), "mon"));
  assert_true(harness_error(h, "Schedules!H4", "inconsistent"));
  assert_true(harness_error(h, "Schedules!F5", "inconsistent"));
  assert_non_null(strstr(harness_sentence(h, "Schedules!F5"), "Schedules!E5"));
  assert_true(harness_error(h, "Schedules!G5", "bad_format"));
}

static void test_rules_hold_for_the_document_as_it_will_be(void **state) {
  harness *h = *state;
  assert_string_equal(total_of(h, "weekly", "mon", "2027-01-04", "2027-02-01"), "5");
  assert_int_equal(upload(h, "Schedules", SCHEDULES "x1,,,,2027-03-01,,,,,\n"), 1);
  assert_true(harness_error(h, "Schedules!F2", "inconsistent"));
  assert_int_equal(upload(h, "Schedules", SCHEDULES "x1,,monthly,,,,,,,\n"), 1);
  assert_true(harness_error(h, "Schedules!D2", "not_allowed"));
  accepted(h, upload(h, "Schedules", SCHEDULES "x1,,daily,,,,,,,\n"));
  assert_at(h, "sitescheduleindexes", "x1", "/days", "[]");
}

/* ---- Sheets, headings, rows ---- */

static void test_names_of_sheets_and_columns_are_read_kindly(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "non_ops DAYS", "NAME*,start-date,Scope *,\nEaster,2027-03-28,Organization,\n"));
  assert_at(h, "firestore:organization-offdays", "org1", "/days",
            "[{\"startDate\":\"2027-03-28\",\"endDate\":\"2027-03-28\",\"name\":\"Easter\"}]");
  assert_at(h, "firestore:organization-offdays", "org1", "/organizationID", "\"org1\"");
}

static void test_unknown_sheets_and_columns_are_warned_about(void **state) {
  harness *h = *state;
  harness_sheet(h, "Department", "Name\nx\n");
  harness_sheet(h, "Products", "Name,Categry\nMilk,x\n");
  accepted(h, harness_upload(h));
  assert_true(harness_warning(h, "Department", "unknown_sheet"));
  assert_true(harness_warning(h, "Products!B1", "unknown_column"));
  for (size_t i = 0; i < h->problems.warnings_kept; i++)
    assert_non_null(strstr(h->problems.warnings[i].sentence, "Did you mean"));
}

static void test_the_sheet_of_errors_is_left_out_silently(void **state) {
  harness *h = *state;
  harness_sheet(h, "Allornone errors", "Sheet,Cell\nUsers,B7\n");
  harness_sheet(h, "Products", "Name\nMilk\n");
  accepted(h, harness_upload(h));
  assert_int_equal(h->problems.warning_count, 0);
}

static void test_a_workbook_without_known_sheets_is_refused(void **state) {
  harness *h = *state;
  assert_int_equal(upload(h, "Other", "Name\nx\n"), 1);
  assert_true(harness_error(h, "file", "bad_file"));
}

static void test_doubled_sheets_and_columns(void **state) {
  harness *h = *state;
  harness_sheet(h, "Products", "Name,name *\nMilk,Bread\n");
  harness_sheet(h, "prod-ucts", "Name\nx\n");
  assert_int_equal(harness_upload(h), 2);
  assert_true(harness_error(h, "Products!B1", "duplicate"));
  assert_true(harness_error(h, "prod-ucts!A1", "duplicate"));
}

static void test_a_missing_column_is_one_error_and_none_for_updates(void **state) {
  harness *h = *state;
  assert_int_equal(upload(h, "Products", "\nCategory\nx\ny\n"), 1);
  assert_true(harness_error(h, "Products!A2", "required"));
  harness_put(h, "products", "p1", "{\"productID\":\"p1\",\"organizationID\":\"org1\",\"name\":\"Milk\"}");
  accepted(h, upload(h, "Products", "Product ID,Category\np1,dairy\n"));
}

static void test_empty_rows_are_skipped_and_text_is_trimmed(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Products", "Name,Category\n , \n\xc2\xa0 Milk \t,\n"));
  assert_counts(h, "products", 1, 0, 0);
  assert_non_null(harness_find(h, "products", "name", "Milk"));
}

/* More than one batch, by rows and by bytes; lists of many entries. */
static void test_long_cells(void **state) {
  harness *h = *state;
  aon_buffer sites = {0}, users = {0}, list = {0};
  assert_int_equal(aon_buffer_text(&sites, "Site ID,Name\n", NULL), AON_OK);
  for (int i = 0; i < 600; i++) {
    assert_int_equal(aon_buffer_format(&sites, NULL, "s%d,A site with a name that is not short %d\n", i, i), AON_OK);
    assert_int_equal(aon_buffer_format(&list, NULL, "%sA site with a name that is not short %d", i ? ";" : "", i), AON_OK);
  }
  assert_int_equal(aon_buffer_text(&users, USERS, NULL), AON_OK);
  for (int i = 0; i < 200; i++)
    assert_int_equal(aon_buffer_format(&users, NULL, "u%d,U,u%d@example.com,,staff,,\"%s\",,,,\n", i, i, list.data), AON_OK);
  harness_sheet(h, "Sites", sites.data);
  accepted(h, upload(h, "Users", users.data));
  assert_int_equal(harness_documents(h, "users"), 200);
  assert_at(h, "users", "u199", "/siteIDs/599", "\"s599\"");
  assert_at(h, "siteindexes", "s0", "/userIDs/199", "\"u199\"");
  aon_buffer_release(&sites);
  aon_buffer_release(&users);
  aon_buffer_release(&list);
}

static void test_counts_name_the_sheets_that_are_there(void **state) {
  harness *h = *state;
  harness_sheet(h, "Products", "Name\n");
  harness_sheet(h, "Issues", "Title,Site\n");
  accepted(h, harness_upload(h));
  assert_int_equal(h->counts.count, 2);
}

/* ---- Uniqueness and references ---- */

static void test_doubles_in_a_sheet(void **state) {
  harness *h = *state;
  assert_int_equal(upload(h, "Users",
                          USERS
                          "u1,Ann,ann@example.com,,staff,,,,,,\nu1,Bob,bob@example.com,,staff,,,,,,\n,Cid,ANN@example.com,,staff,,,,,,\n"),
                   2);
  assert_true(harness_error(h, "Users!A3", "duplicate"));
  assert_true(harness_error(h, "Users!C4", "duplicate"));
  assert_non_null(strstr(harness_sentence(h, "Users!C4"), "Users!C2"));
}

static void test_values_of_the_store_are_taken_unless_renamed(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Products", "Product ID,Name\np1,Milk\np2,Bread\n"));
  assert_int_equal(upload(h, "Products", "Product ID,Name\n,MILK\n"), 1);
  assert_true(harness_error(h, "Products!B2", "duplicate"));
  accepted(h, upload(h, "Products", "Product ID,Name\np1,Bread\np2,Milk\n"));
  accepted(h, upload(h, "Products", "Product ID,Name\np1,Butter\n,Bread\n"));
  harness_put(h, "products", "x", "{\"productID\":\"x\",\"organizationID\":\"org2\",\"name\":\"Cheese\"}");
  accepted(h, upload(h, "Products", "Name\nCheese\n"));
}

static void test_other_organizations_are_not_touched(void **state) {
  harness *h = *state;
  harness_put(h, "departments", "d1", "{\"departmentID\":\"d1\",\"organizationID\":\"org2\",\"name\":\"Kitchen\"}");
  harness_put(h, "firebase:user", "u9", "{\"name\":\"X\",\"organizationID\":\"org2\"}");
  harness_put(h, "accounts", "u8", "{\"uid\":\"u8\",\"email\":\"eve@example.com\"}");
  harness_sheet(h, "Departments", "Department ID,Name\nd1,Mine\n");
  harness_sheet(h, "Users", USERS "u9,Ann,ann@example.com,,staff,Kitchen,,,,,\n,Eve,Eve@example.com,,staff,Mine,,,,,\n");
  assert_int_equal(harness_upload(h), 4);
  assert_true(harness_error(h, "Departments!A2", "duplicate"));
  assert_true(harness_error(h, "Users!A2", "duplicate"));
  assert_true(harness_error(h, "Users!F2", "not_found"));
  assert_true(harness_error(h, "Users!C3", "duplicate"));
  for (size_t i = 0; i < h->problems.errors_kept; i++)
    assert_null(strstr(h->problems.errors[i].sentence, "org2"));
  assert_null(strstr(harness_sentence(h, "Users!C3"), "u8"));
}

static void test_references_are_found_or_told(void **state) {
  harness *h = *state;
  harness_put(h, "sites", "s1", "{\"siteID\":\"s1\",\"organizationID\":\"org1\",\"name\":\"Twin\"}");
  harness_put(h, "sites", "s2", "{\"siteID\":\"s2\",\"organizationID\":\"org1\",\"name\":\"TWIN\"}");
  harness_put(h, "sites", "s3",
              "{\"siteID\":\"s3\",\"organizationID\":\"org1\",\"name\":\"Stra\xc3\x9f"
              "e\"}");
  assert_int_equal(upload(h, "Users", USERS ",Ann,ann@example.com,,staff,,\"STRASSE;Twin;Nowhere,Never\",,,,\n"), 1);
  assert_true(harness_error(h, "Users!G2", "not_found"));
  assert_non_null(strstr(harness_sentence(h, "Users!G2"), "Never"));
  assert_non_null(strstr(harness_sentence(h, "Users!G2"), "Twin"));
  assert_int_equal(upload(h, "Issues", "Title,Site\nDoor,twin\n"), 1);
  assert_true(harness_error(h, "Issues!B2", "ambiguous"));
}

static void test_a_renamed_document_has_only_its_new_name(void **state) {
  harness *h = *state;
  accepted(h, upload(h, "Sites", "Site ID,Name\ns1,Old\n"));
  harness_sheet(h, "Sites", "Site ID,Name\ns1,New\n");
  harness_sheet(h, "Issues", "Title,Site\nA,New\nB,Old\n");
  assert_int_equal(harness_upload(h), 1);
  assert_true(harness_error(h, "Issues!B3", "not_found"));
}

static void test_errors_are_not_told_twice(void **state) {
  harness *h = *state;
  harness_sheet(h, "Users", USERS ",Ann,no-address,,staff,,,,,,\n,Bob,bob@example.com,,boss,,,,,,\n,Cid,bob@example.com,,staff,,,,,,\n");
  harness_sheet(h, "Non-Ops Days", DAYS "user,no-address,2027-01-01,,A\nuser,bob@example.com,2027-01-01,,A\ngalaxy,x,2027-01-01,,A\n");
  assert_int_equal(harness_upload(h), 4);
  assert_true(harness_error(h, "Users!C2", "bad_format"));
  assert_true(harness_error(h, "Users!E3", "not_allowed"));
  assert_true(harness_error(h, "Users!C4", "duplicate"));
  assert_true(harness_error(h, "Non-Ops Days!A4", "not_allowed"));
}

static void test_scope_and_reference(void **state) {
  harness *h = *state;
  assert_int_equal(
      upload(h, "Non-Ops Days", DAYS "organization,Porto,2027-01-01,,A\nsite,,2027-01-01,,A\nuser,x@example.com,2027-01-02,2027-01-01,A\n"),
      4);
  assert_true(harness_error(h, "Non-Ops Days!B2", "inconsistent"));
  assert_true(harness_error(h, "Non-Ops Days!B3", "required"));
  assert_true(harness_error(h, "Non-Ops Days!B4", "not_found"));
  assert_true(harness_error(h, "Non-Ops Days!D4", "inconsistent"));
}

static void test_location_needs_both_halves(void **state) {
  harness *h = *state;
  assert_int_equal(upload(h, "Sites", SITES "s1,A,,1,,,,\ns2,B,,,2,,,\ns3,C,,91,,,,\n"), 3);
  assert_true(harness_error(h, "Sites!E2", "required"));
  assert_true(harness_error(h, "Sites!D3", "required"));
  assert_true(harness_error(h, "Sites!D4", "out_of_range"));
  accepted(h, upload(h, "Sites", SITES "s1,A,,38,-9.5,,,\n"));
  assert_at(h, "sites", "s1", "/location", "{\"latitude\":38,\"longitude\":-9.5}");
  accepted(h, upload(h, "Sites", SITES "s1,,,,7,,,\n"));
  assert_at(h, "sites", "s1", "/location", "{\"latitude\":38,\"longitude\":7}");
  accepted(h, upload(h, "Sites", SITES "s1,,,CLEAR,CLEAR,,,\n"));
  assert_at(h, "sites", "s1", "/location", "");
}

static void test_a_short_password_counts_only_for_new_users(void **state) {
  harness *h = *state;
  assert_int_equal(upload(h, "Users", USERS "u1,Ann,ann@example.com,,staff,,,,,,short\n"), 1);
  assert_true(harness_error(h, "Users!K2", "out_of_range"));
  assert_null(h->problems.errors[0].value);
  assert_null(strstr(h->problems.errors[0].sentence, "short\""));
  accepted(h, upload(h, "Users", USERS "u1,Ann,ann@example.com,,staff,,,,,,\n"));
  accepted(h, upload(h, "Users", USERS "u1,Ann,ann@example.com,,staff,,,,,,short\n"));
  assert_true(harness_warning(h, "Users!K2", "ignored"));
  assert_at(h, "accounts", "u1", "/hasPassword", "");
}

static void test_ids_that_become_keys(void **state) {
  harness *h = *state;
  char csv[600] = "Department ID,Name\n", id[200];
  assert_int_equal(upload(h, "Users", USERS "a.b,Ann,ann@example.com,,staff,,,,,,\n"), 1);
  assert_true(harness_error(h, "Users!A2", "forbidden_character"));
  memset(id, 'x', 129);
  id[129] = 0;
  strcat(strcat(csv, id), ",Kitchen\n");
  assert_int_equal(upload(h, "Departments", csv), 1);
  assert_true(harness_error(h, "Departments!A2", "too_long"));
  accepted(h, upload(h, "Departments", "Department ID,Name\na.b:c%,Kitchen\n"));
  assert_at(h, "departmentindexes", "a.b%3Ac%25:org1", "/departmentID", "\"a.b:c%\"");
}

static void test_an_organization_that_stores_cant_hold(void **state) {
  harness *h = *state;
  aon_error error = AON_ERROR_INIT;
  harness_sheet(h, "Products", "Name\nMilk\n");
  static const char *const bad[] = {"a/b", "a.b", "..", "__x__", ""};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(harness_upload_as(h, h->folder, bad[i], &error), UINT64_MAX);
    assert_int_equal(error.kind, AON_USAGE);
  }
  accepted(h, harness_upload(h));
}

/* ---- Plan ---- */

static void test_order_and_groups_of_the_plan(void **state) {
  harness *h = *state;
  harness_sheet(h, "Products", "Product ID,Name\np1,Milk\n");
  harness_sheet(h, "Sites", SITES "s1,Porto,,,,,North,\n");
  harness_sheet(h, "Departments", "Department ID,Name\nd1,Kitchen\n");
  harness_sheet(h, "Users", USERS "u1,Ann,ann@example.com,,staff,Kitchen,Porto,,E1,,\n");
  harness_sheet(h, "Schedules", SCHEDULES "x1,Round,once,,2027-01-01,,08:00,09:00,Porto,\n");
  harness_sheet(h, "Issues", "Issue ID,Title,Site\ni1,Door,Porto\n");
  harness_sheet(h, "Non-Ops Days", DAYS "site,Porto,2027-01-01,,A\norganization,,2027-01-01,,A\n");
  accepted(h, harness_upload(h));
  static const char *const order[] = {"products",
                                      "sitegroups",
                                      "departments",
                                      "sites",
                                      "users",
                                      "user_extension",
                                      "firebase:user",
                                      "accounts",
                                      "departmentindexes",
                                      "roles",
                                      "sitescheduleindexes",
                                      "schedulestatistics",
                                      "siteindexes",
                                      "issues",
                                      "siteoffdays",
                                      "firestore:organization-offdays"};
  assert_int_equal(h->operation_count, sizeof order / sizeof *order);
  for (size_t i = 0; i < h->operation_count; i++)
    assert_string_equal(h->operations[i].collection, order[i]);
  static const char *const groups[] = {"0 user/dept/site", "10 end", "10 schedule", "14 end", "14 non-ops", "16 end"};
  assert_int_equal(h->group_count, sizeof groups / sizeof *groups);
  for (size_t i = 0; i < h->group_count; i++)
    assert_string_equal(h->groups[i], groups[i]);
}

static bool claimed(const harness *h, const char *text) {
  for (size_t i = 0; i < h->claim_count; i++)
    if (!strcmp(h->claims[i], text))
      return true;
  return false;
}

static void test_claims(void **state) {
  harness *h = *state;
  harness_put(h, "sites", "s1", "{\"siteID\":\"s1\",\"organizationID\":\"org1\",\"name\":\"Porto\"}");
  harness_sheet(h, "Users", USERS "u1,Ann,Ann@example.com,,staff,,Porto,,,,\n");
  accepted(h, harness_upload(h));
  assert_true(claimed(h, "value users email ann@example.com"));
  assert_true(claimed(h, "value accounts email ann@example.com"));
  assert_true(claimed(h, "reference sites s1"));
  accepted(h, upload(h, "Sites", SITES "s9,Lima,,,,,North,\n"));
  assert_true(claimed(h, "value sitegroups name north"));
  assert_true(claimed(h, "value sites name lima"));
}

static void test_reading_is_batched(void **state) {
  harness *h = *state;
  aon_buffer csv = {0};
  assert_int_equal(aon_buffer_text(&csv, "Product ID,Name\n", NULL), AON_OK);
  for (int i = 0; i < 1200; i++)
    assert_int_equal(aon_buffer_format(&csv, NULL, "p%d,Product %d\n", i, i), AON_OK);
  for (int i = 0; i < 2; i++)
    accepted(h, upload(h, "Products", csv.data));
  aon_buffer_release(&csv);
  assert_counts(h, "products", 0, 0, 1200);
  assert_int_equal(h->reads, 3);
  assert_int_equal(h->scans, 0);
}

/* ---- The workbooks that come with the specification ---- */

/* More names than the job recalls at once, some longer than it recalls at all, asked for again and again in another order: each row gets
 * the id that the workbook gives the name, and each index document the rows that named it. */
static void test_more_names_than_are_recalled(void **state) {
  enum { PLACES = 1500, PEOPLE = 3000, LONG = 130 };
  harness *h = *state;
  char *sites = malloc(PLACES * 250), *users = malloc(PEOPLE * 250), *at = sites, name[PLACES][LONG + 16];
  h->again = true;
  at += sprintf(at, "Site ID,Name\n");
  for (int i = 0; i < PLACES; i++) {
    snprintf(name[i], sizeof name[i], i % 7 ? "Site %d" : "Site %d %0130d", i, 0);
    at += sprintf(at, "site%05d,%s\n", i, name[i]);
  }
  at = users + sprintf(users, "User ID,Name,Email,Role,Sites\n");
  for (int i = 0; i < PEOPLE; i++)
    at += sprintf(at, "user%05d,U,u%d@x.example,staff,%s\n", i, i, name[(i * 7919) % PLACES]);
  harness_begin(h);
  harness_sheet(h, "Sites", sites);
  harness_sheet(h, "Users", users);
  accepted(h, harness_upload(h));
  for (int i = 0; i < PEOPLE; i++) {
    char user[16], wanted[32], site[16];
    snprintf(user, sizeof user, "user%05d", i);
    snprintf(site, sizeof site, "site%05d", (i * 7919) % PLACES);
    snprintf(wanted, sizeof wanted, "[\"%s\"]", site);
    assert_at(h, "users", user, "/siteIDs", wanted);
    assert_non_null(strstr(harness_at(h, "siteindexes", site, "/userIDs"), user));
  }
  assert_int_equal(harness_documents(h, "siteindexes"), PLACES);
  assert_string_equal(harness_at(h, "siteindexes", "site00001", "/name"), "\"Site 1\"");
  free(sites);
  free(users);
}

static void shared_file(char path[4096], const char *name) { snprintf(path, 4096, "%s/workforce/%s", harness_shared(), name); }

static void test_shared_mistakes(void **state) {
  harness *h = *state;
  char path[4096];
  static const char *const places[][2] = {
      {"Users!C3", "bad_format"},       {"Users!F4", "not_allowed"},     {"Users!C6", "duplicate"},     {"Users!B7", "required"},
      {"Users!G8", "not_found"},        {"Users!D9", "bad_format"},      {"Users!M10", "out_of_range"}, {"Sites!G2", "out_of_range"},
      {"Sites!H3", "required"},         {"Sites!F4", "bad_format"},      {"Sites!I5", "not_allowed"},   {"Schedules!I2", "inconsistent"},
      {"Schedules!G3", "inconsistent"}, {"Schedules!E4", "not_allowed"}, {"Schedules!J5", "not_found"}, {"Non-Ops Days!A2", "not_allowed"},
      {"Non-Ops Days!B3", "not_found"}};
  shared_file(path, "mistakes.xlsx");
  assert_int_equal(harness_upload_file(h, path), sizeof places / sizeof *places);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (!harness_error(h, places[i][0], places[i][1]))
      fail_msg("%s %s is missing", places[i][0], places[i][1]);
}

static void test_shared_again(void **state) {
  harness *h = *state;
  char path[4096];
  h->again = true;
  shared_file(path, "mistakes.xlsx");
  assert_int_equal(harness_upload_file(h, path), 17);
  shared_file(path, "with-ids.xlsx");
  accepted(h, harness_upload_file(h, path));
  assert_int_equal(h->operation_count, 236);
  assert_counts(h, "users", 40, 0, 0);
  assert_counts(h, "nonOpsDays", 9, 0, 0);
  accepted(h, harness_upload_file(h, path));
  assert_int_equal(h->operation_count, 0);
  assert_true(harness_warning(h, "Users!M2", "ignored"));
}

static void test_shared_with_ids(void **state) {
  harness *h = *state;
  char path[4096];
  shared_file(path, "with-ids.xlsx");
  accepted(h, harness_upload_file(h, path));
  assert_int_equal(h->operation_count, 236);
  accepted(h, harness_upload_file(h, path));
  assert_int_equal(h->operation_count, 0);
  shared_file(path, "with-ids-second-upload.xlsx");
  accepted(h, harness_upload_file(h, path));
  assert_counts(h, "users", 0, 22, 18);
  assert_counts(h, "sites", 0, 4, 8);
  assert_counts(h, "schedules", 0, 0, 4);
  assert_at(h, "users", "usr00001", "/role", "\"manager\"");
  assert_at(h, "users", "usr00005", "/phone", "");
  assert_null(strstr(harness_at(h, "roles", "org1:supervisor", "/userIDs"), "usr00003"));
}

static void test_shared_full_twice(void **state) {
  harness *h = *state;
  char path[4096];
  shared_file(path, "full.xlsx");
  accepted(h, harness_upload_file(h, path));
  assert_int_equal(h->operation_count, 377);
  assert_int_equal(harness_upload_file(h, path), 112);
}

int main(void) {
  char path[4096];
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_all_that_may_be_looked_up_is_named),
      CASE(test_a_user_becomes_documents_of_four_stores),
      CASE(test_lists_are_empty_and_realtime_holds_none),
      CASE(test_an_id_is_made_where_none_is_given),
      CASE(test_the_same_again_changes_nothing),
      CASE(test_update_keeps_what_the_sheet_leaves_empty),
      CASE(test_clear_removes_or_sets_the_default_back),
      CASE(test_members_move_between_roles_and_indexes),
      CASE(test_site_groups_are_made_once_and_found_again),
      CASE(test_an_index_document_that_is_missing_is_made_whole),
      CASE(test_a_renamed_department_renames_its_index),
      CASE(test_questionnaires_and_their_copies),
      CASE(test_totals_follow_the_calendar),
      CASE(test_days_off_are_taken_out_once),
      CASE(test_days_off_in_months_and_weeks),
      CASE(test_completed_and_missed_stay),
      CASE(test_sku_schedules_come_and_go),
      CASE(test_schedule_rules),
      CASE(test_rules_hold_for_the_document_as_it_will_be),
      CASE(test_names_of_sheets_and_columns_are_read_kindly),
      CASE(test_unknown_sheets_and_columns_are_warned_about),
      CASE(test_the_sheet_of_errors_is_left_out_silently),
      CASE(test_a_workbook_without_known_sheets_is_refused),
      CASE(test_doubled_sheets_and_columns),
      CASE(test_a_missing_column_is_one_error_and_none_for_updates),
      CASE(test_empty_rows_are_skipped_and_text_is_trimmed),
      CASE(test_long_cells),
      CASE(test_counts_name_the_sheets_that_are_there),
      CASE(test_doubles_in_a_sheet),
      CASE(test_values_of_the_store_are_taken_unless_renamed),
      CASE(test_other_organizations_are_not_touched),
      CASE(test_references_are_found_or_told),
      CASE(test_a_renamed_document_has_only_its_new_name),
      CASE(test_errors_are_not_told_twice),
      CASE(test_scope_and_reference),
      CASE(test_location_needs_both_halves),
      CASE(test_a_short_password_counts_only_for_new_users),
      CASE(test_ids_that_become_keys),
      CASE(test_an_organization_that_stores_cant_hold),
      CASE(test_order_and_groups_of_the_plan),
      CASE(test_claims),
      CASE(test_reading_is_batched),
      CASE(test_more_names_than_are_recalled),
  };
  const struct CMUnitTest shared_tests[] = {CASE(test_shared_mistakes), CASE(test_shared_again), CASE(test_shared_with_ids),
                                            CASE(test_shared_full_twice)};
  int failed = cmocka_run_group_tests_name("pack job", tests, NULL, NULL);
  shared_file(path, "full.xlsx");
  if (access(path, R_OK)) {
    printf("skipped: pack job, shared workbooks: %s is not there\n", path);
    return failed ? failed : 77;
  }
  return failed + cmocka_run_group_tests_name("pack job, shared workbooks", shared_tests, NULL, NULL);
}
