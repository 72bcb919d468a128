/* Writes the workbooks that ./try uploads: a small company on nine sheets, and, with --changes, what changed there a month later.
 * With --people N: as many new colleagues there, which is what the benchmark uploads.
 *
 * Every row has an id of its own, so that the second workbook updates what the first one made. Nothing depends on today: the same
 * program writes the same cells for ever. Dates, times and coordinates are real cells of their kind, as a person would type them. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xlsxwriter.h>

#define MAX_COLUMNS 13
#define COLUMN_WIDTH 20.0

typedef const char *sample_row[MAX_COLUMNS];

typedef struct sample_sheet {
  const char *name;
  const sample_row *rows; /* the first one holds the headings */
  size_t count;
} sample_sheet;

typedef struct sample_formats {
  lxw_format *heading, *date, *time;
} sample_formats;

#define SHEET(title, table)                                                                                                                \
  { title, table, sizeof table / sizeof *table }
#define USERS                                                                                                                              \
  "User ID", "Name*", "Email*", "Phone", "Title", "Role*", "Departments", "Sites", "Language", "Status", "Employee Number", "Hire Date",   \
      "Password"
#define SITES                                                                                                                              \
  "Site ID", "Name*", "Code", "Address", "City", "Country", "Latitude", "Longitude", "Time Zone", "Site Group", "Departments", "Status"
#define SCHEDULES                                                                                                                          \
  "Schedule ID", "Title*", "Questionnaire", "Type*", "Days", "Start Date*", "End Date", "Start Time*", "End Time*", "Sites*", "Users",     \
      "Departments", "SKUs"

static const sample_row users[] = {
    {USERS},
    {"ana", "Ana Sousa", "ana@example.com", "+351912000001", "Director", "admin", NULL, "Lisbon Chiado, Porto Ribeira", "pt-PT", NULL,
     "E001", "2019-03-01", "change-me-1!"},
    {"bruno", "Bruno Costa", "bruno@example.com", "+351912000002", "Area manager", "manager", "Operations", "Lisbon Chiado, Porto Ribeira",
     "pt-PT", NULL, "E002", "2020-09-14"},
    {"chen", "Chen Wei", "chen@example.com", NULL, "Shift lead", "supervisor", "Operations, Food Safety", "Porto Ribeira", "en", NULL,
     "E003", "2021-01-11"},
    {"dalia", "Dalia Haddad", "dalia@example.com", "+351912000004", "Cook", "staff", "Kitchen", "Lisbon Chiado", NULL, NULL, NULL,
     "2022-05-02"},
    {"emeka", "Emeka Obi", "emeka@example.com", NULL, "Cook", "staff", "Kitchen", "Porto Ribeira"},
    {"farah", "Farah Nasser", "farah@example.com", "+971501234567", "Inspector", "supervisor", "Food Safety", "Dubai Marina", "ar-AE"},
    {"goran", "Goran Petrović", "goran@example.com", NULL, "Technician", "staff", "Maintenance", "Lisbon Chiado, Dubai Marina", "sr-Latn"},
    {"hana", "Hana 美咲 Ito", "hana@example.com", NULL, "Cook", "staff", "Kitchen", "Dubai Marina", "ja", "inactive"},
};
static const sample_row departments[] = {
    {"Department ID", "Name*", "Code", "Email", "Status"},
    {"ops", "Operations", "D01", "operations@example.com"},
    {"kitchen", "Kitchen", "D02"},
    {"safety", "Food Safety", "D03", "safety@example.com"},
    {"maint", "Maintenance", "D04"},
};
static const sample_row sites[] = {
    {SITES},
    {"lisbon", "Lisbon Chiado", "S01", "12 Rua Garrett", "Lisbon", "PT", "38.7107", "-9.1425", "Europe/Lisbon", "Portugal",
     "Operations; Kitchen; Maintenance"},
    {"porto", "Porto Ribeira", "S02", "3 Cais da Ribeira", "Porto", "PT", "41.1403", "-8.6130", "Europe/Lisbon", "Portugal",
     "Operations; Kitchen"},
    {"dubai", "Dubai Marina", "S03", "88 Marina Walk", "Dubai", "AE", "25.0803", "55.1403", "Asia/Dubai", "Gulf", "Kitchen; Food Safety"},
};
static const sample_row products[] = {
    {"Product ID", "Name*", "Category"},
    {"milk", "Whole milk", "dairy"},
    {"rice", "Basmati rice", "dry"},
};
static const sample_row skus[] = {
    {"SKU ID", "Name*", "Code*", "Product*"},
    {"milk-1", "Milk, 1 litre", "MILK-1L", "Whole milk"},
    {"milk-10", "Milk, 10 litres", "MILK-10L", "Whole milk"},
    {"rice-5", "Rice, 5 kilograms", "RICE-5KG", "Basmati rice"},
};
static const sample_row questionnaires[] = {
    {"Questionnaire ID", "Title*", "Type", "Questions*"},
    {"opening", "Opening round", "checklist", "Are all lights on?\nIs the back door shut?\nIs the floor dry?"},
    {"fridges", "Fridge audit", "audit", "Is every fridge at 5 °C or below?\nIs every shelf labelled?"},
};
static const sample_row schedules[] = {
    {SCHEDULES},
    {"open-lisbon", "Open Lisbon", "Opening round", "daily", NULL, "2027-01-04", "2027-03-31", "07:00", "08:30", "Lisbon Chiado",
     "dalia@example.com", "Kitchen"},
    {"open-porto", "Open Porto", "Opening round", "weekly", "mon, wed, fri", "2027-01-04", "2027-06-30", "07:00", "08:30", "Porto Ribeira",
     "chen@example.com", "Operations"},
    {"fridges-all", "Fridges everywhere", "Fridge audit", "monthly", "1, 15, last", "2027-01-01", "2027-12-31", "10:00", "12:00",
     "Lisbon Chiado, Porto Ribeira, Dubai Marina", "farah@example.com", "Food Safety", "MILK-1L, MILK-10L"},
    {"stocktake", "Stocktaking", NULL, "once", NULL, "2027-01-30", NULL, "18:00", "22:00", "Dubai Marina", NULL, NULL, "RICE-5KG"},
};
static const sample_row issues[] = {
    {"Issue ID", "Title*", "Site*", "Assignee", "Priority", "Status", "Due Date"},
    {"door", "Back door doesn't lock", "Lisbon Chiado", "goran@example.com", "high", NULL, "2027-01-08"},
    {"lamp", "Lamp over table 4 flickers", "Dubai Marina", "goran@example.com", NULL, NULL, "2027-01-20"},
};
static const sample_row days_off[] = {
    {"Scope*", "Reference", "Start Date*", "End Date", "Name*"},
    {"organization", NULL, "2027-01-01", NULL, "New Year"},
    {"site", "Porto Ribeira", "2027-06-24", NULL, "São João"},
    {"user", "bruno@example.com", "2027-02-08", "2027-02-12", "Holiday"},
};

/* A month later: promotions, a move, a new colleague, a site under a new name, one more holiday. No new site group: every id stays ours. */
static const sample_row changed_users[] = {
    {USERS},
    {"bruno", "Bruno Costa", "bruno@example.com", "CLEAR", "Regional director", "admin"},
    {"chen", "Chen Wei", "chen@example.com", NULL, "Area manager", "manager", "Operations", "Lisbon Chiado, Porto Ribeira"},
    {"dalia", "Dalia Haddad", "dalia.haddad@example.com", NULL, "Shift lead", "supervisor"},
    {"hana", "Hana 美咲 Ito", "hana@example.com", NULL, NULL, NULL, NULL, NULL, NULL, "active"},
    {"ines", "Inês Duarte", "ines@example.com", "+351912000009", "Cook", "staff", "Kitchen", "Porto Ribeira", "pt-PT", NULL, "E009",
     "2027-02-01", "change-me-9!"},
};
static const sample_row changed_departments[] = {
    {"Department ID", "Name*", "Code", "Email", "Status"},
    {"maint", "Facilities", "D04", "facilities@example.com"},
};
static const sample_row changed_sites[] = {
    {SITES},
    {"dubai", "Dubai Marina Walk", NULL, "90 Marina Walk", NULL, NULL, NULL, NULL, NULL, NULL, "Kitchen; Food Safety; Facilities"},
};
static const sample_row changed_schedules[] = {
    {SCHEDULES},
    {"open-lisbon", "Open Lisbon", NULL, "daily", NULL, NULL, "2027-12-31", NULL, NULL, "Lisbon Chiado", "dalia.haddad@example.com"},
};
static const sample_row changed_days_off[] = {
    {"Scope*", "Reference", "Start Date*", "End Date", "Name*"},
    {"organization", NULL, "2027-12-24", "2027-12-26", "Christmas"},
};

static const sample_sheet company[] = {
    SHEET("Users", users),
    SHEET("Departments", departments),
    SHEET("Sites", sites),
    SHEET("Products", products),
    SHEET("SKUs", skus),
    SHEET("Questionnaires", questionnaires),
    SHEET("Schedules", schedules),
    SHEET("Issues", issues),
    SHEET("Non-Ops Days", days_off),
};
static const sample_sheet changes[] = {
    SHEET("Users", changed_users),         SHEET("Departments", changed_departments), SHEET("Sites", changed_sites),
    SHEET("Schedules", changed_schedules), SHEET("Non-Ops Days", changed_days_off),
};

static bool is_number_column(const char *heading) { return !strcmp(heading, "Latitude") || !strcmp(heading, "Longitude"); }

static lxw_error write_cell(lxw_worksheet *sheet, const sample_formats *formats, lxw_row_t row, lxw_col_t column, const char *heading,
                            const char *text) {
  lxw_datetime when = {0};
  if (row == 0)
    return worksheet_write_string(sheet, row, column, text, formats->heading);
  if (strstr(heading, "Date") && sscanf(text, "%d-%d-%d", &when.year, &when.month, &when.day) == 3)
    return worksheet_write_datetime(sheet, row, column, &when, formats->date);
  int minutes;
  if (strstr(heading, "Time*") && sscanf(text, "%d:%d", &when.hour, &minutes) == 2)
    return worksheet_write_number(sheet, row, column, (when.hour * 60 + minutes) / (24.0 * 60.0), formats->time);
  if (is_number_column(heading))
    return worksheet_write_number(sheet, row, column, strtod(text, NULL), NULL);
  return worksheet_write_string(sheet, row, column, text, NULL);
}

static lxw_error write_sheet(lxw_workbook *book, const sample_formats *formats, const sample_sheet *sample) {
  lxw_worksheet *sheet = workbook_add_worksheet(book, sample->name);
  if (!sheet)
    return LXW_ERROR_MEMORY_MALLOC_FAILED;
  lxw_error error = worksheet_set_column(sheet, 0, MAX_COLUMNS - 1, COLUMN_WIDTH, NULL);
  worksheet_freeze_panes(sheet, 1, 0);
  for (size_t row = 0; row < sample->count; row++)
    for (size_t column = 0; column < MAX_COLUMNS && !error; column++) {
      const char *text = sample->rows[row][column];
      if (text)
        error = write_cell(sheet, formats, (lxw_row_t)row, (lxw_col_t)column, sample->rows[0][column], text);
    }
  return error;
}

static lxw_error write_book(const char *path, const sample_sheet *sheets, size_t count) {
  lxw_workbook *book = workbook_new(path);
  if (!book)
    return LXW_ERROR_MEMORY_MALLOC_FAILED;
  sample_formats formats = {workbook_add_format(book), workbook_add_format(book), workbook_add_format(book)};
  format_set_bold(formats.heading);
  format_set_num_format(formats.date, "yyyy-mm-dd");
  format_set_num_format(formats.time, "hh:mm");
  lxw_error error = LXW_NO_ERROR;
  for (size_t i = 0; i < count && !error; i++)
    error = write_sheet(book, &formats, &sheets[i]);
  lxw_error closed = workbook_close(book); /* writes the file, and frees the book in any case */
  return error ? error : closed;
}

typedef struct sample_person {
  char id[32], name[32], email[64], number[32];
} sample_person;

/* People of the company's departments and sites, all with what a user may have. */
static lxw_error write_people(const char *path, size_t count) {
  static const char *const titles[] = {"Cook", "Technician", "Inspector"};
  static const char *const departments_of[] = {"Kitchen", "Maintenance", "Food Safety, Operations"};
  static const char *const sites_of[] = {"Lisbon Chiado", "Porto Ribeira", "Dubai Marina", "Lisbon Chiado, Porto Ribeira"};
  sample_row *rows = calloc(count + 1, sizeof *rows);
  sample_person *people = calloc(count + 1, sizeof *people);
  if (rows && people) {
    memcpy(rows[0], users[0], sizeof rows[0]);
    for (size_t i = 0; i < count; i++) {
      sample_person *person = &people[i];
      snprintf(person->id, sizeof person->id, "person-%06zu", i);
      snprintf(person->name, sizeof person->name, "Colleague %zu", i);
      snprintf(person->email, sizeof person->email, "colleague.%zu@example.com", i);
      snprintf(person->number, sizeof person->number, "N%06zu", i);
      const sample_row row = {person->id,
                              person->name,
                              person->email,
                              NULL,
                              titles[i % 3],
                              i % 5 ? "staff" : "supervisor",
                              departments_of[i % 3],
                              sites_of[i % 4],
                              "pt-PT",
                              NULL,
                              person->number,
                              "2027-02-01"};
      memcpy(rows[i + 1], row, sizeof row);
    }
  }
  const sample_sheet sheet = {"Users", (const sample_row *)rows, count + 1};
  lxw_error error = rows && people ? write_book(path, &sheet, 1) : LXW_ERROR_MEMORY_MALLOC_FAILED;
  free(rows);
  free(people);
  return error;
}

int main(int argc, char **argv) {
  bool later = argc == 3 && !strcmp(argv[1], "--changes");
  bool people = argc == 4 && !strcmp(argv[1], "--people") && strtoul(argv[2], NULL, 10) > 0;
  if (argc != 2 && !later && !people) {
    fprintf(stderr, "usage: make-sample [--changes | --people N] OUT.xlsx\n");
    return 1;
  }
  const char *path = argv[argc - 1];
  lxw_error error;
  if (people)
    error = write_people(path, strtoul(argv[2], NULL, 10));
  else
    error =
        later ? write_book(path, changes, sizeof changes / sizeof *changes) : write_book(path, company, sizeof company / sizeof *company);
  if (error)
    fprintf(stderr, "make-sample: %s: %s\n", path, lxw_strerror(error));
  return error ? 1 : 0;
}
