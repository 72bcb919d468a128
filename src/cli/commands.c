/* The table of commands and options: the one source of parsing, --help, man pages and completions. */
#include "cli/cli.h"

const cli_option_info cli_options[OPT_COUNT] = {
    [OPT_DATA] = {"data", 0, "DIR", "Data folder: the embedded stores, the journal and its key. Default: aon-data."},
    [OPT_CONFIG] = {"config", 0, "FILE", "Configuration file. Default: aon.yaml in the working directory, if it is there."},
    [OPT_USER] = {"user", 0, "NAME", "Who does it: stands in createdBy, updatedBy and the audit trail. Default: the login name."},
    [OPT_JSON] = {"json", 0, NULL, "Print the result as JSON: one object, or one object a line where there are several."},
    [OPT_HELP] = {"help", 'h', NULL, "Explain the command, with examples."},
    [OPT_VERSION] = {"version", 0, NULL, "Print the version."},
    [OPT_PACK] = {"pack", 'p', "PACK", "What the sheets mean: the name of a pack, or the path of its .lua file."},
    [OPT_ORG] = {"org", 'o', "NAME", "The organization whose data it is."},
    [OPT_DRY_RUN] = {"dry-run", 'n', NULL, "Check everything and show what would change; write to no store."},
    [OPT_REPORT] = {"report", 0, "FILE",
                    "Write the workbook with every faulty cell marked and commented, and a sheet that lists the errors."},
    [OPT_QUEUE] = {"queue", 0, NULL, "Leave it in the journal for a worker (aon serve --workers-only), and print its id."},
    [OPT_WORKERS_ONLY] = {"workers-only", 0, NULL, "Work on what is queued in the journal; serve no HTTP."},
    [OPT_WORKERS] = {"workers", 0, "N", "So many worker processes. Default: 1."},
    [OPT_ON_FAILURE] = {"on-failure", 0, "rollback|hold",
                        "After a failure put everything back (the default), or wait for a person to resume or roll back."},
    [OPT_LOCK_WAIT] = {"lock-wait", 0, "SECONDS",
                       "How long to wait for documents that another bulk operation holds; 0: refuse at once. Default: 30."},
    [OPT_ID] = {"id", 0, "UUID", "Id of the new bulk operation. The same id again prints the first result."},
    [OPT_IDEMPOTENCY_KEY] = {"idempotency-key", 0, "KEY",
                             "The same key and content again prints the first result; other content is refused."},
    [OPT_STATE] = {"state", 0, "STATE", "Only those in this state; may be given several times."},
    [OPT_LIMIT] = {"limit", 0, "N", "At most so many. Default: 50."},
    [OPT_QUERY] = {"query", 'q', "TEXT", "Only those with this text in their file name, user or id."},
    [OPT_RANGE] = {"range", 0, "A-B", "Only these operations of a committed bulk operation, both ends included, counted from 0."},
    [OPT_SHEET] = {"sheet", 0, "NAME", "Only the operations that came from this sheet of a committed bulk operation."},
    [OPT_KEEP_THEIRS] = {"keep-theirs", 0, "[DOC]", "Keep what is in the store now. DOC is STORE/COLLECTION/ID, or all."},
    [OPT_FORCE] = {"force", 0, "[DOC]", "Put our image back over what is in the store now. DOC is STORE/COLLECTION/ID, or all."},
    [OPT_MERGE] = {"merge", 0, "FILE", "Write the document of this JSON file (- for standard input)."},
    [OPT_RELEASE] = {"release", 0, "NAME", "Release this named lock, whoever holds it."},
    [OPT_OUTPUT] = {"output", 'o', "FILE", "Where to write the workbook."},
};

/* The maker of man pages needs the table without the program behind it. */
#ifdef AON_TABLE_ONLY
#define RUN(function) NULL
#else
#define RUN(function) function
#endif

#define RUNNING (OPT_BIT(OPT_ON_FAILURE) | OPT_BIT(OPT_LOCK_WAIT) | OPT_BIT(OPT_ID) | OPT_BIT(OPT_IDEMPOTENCY_KEY) | OPT_BIT(OPT_DRY_RUN))

const cli_command cli_commands[] = {
    {"import", "FILE", 1, 1, "Upload a workbook: all of it, or nothing",
     "Reads a workbook (.xlsx, .xlsm) or a folder or zip of .csv files, checks every cell of every sheet, plans what would change, writes the plan to the "
     "journal and executes it as one. If anything fails, every store is put back as it was, and what other people changed meanwhile is kept.\n\n"
     "Errors are printed with their cells; --report writes the workbook with these cells marked, to correct and upload again.\n\n"
     "With --queue the file is kept in the journal, encrypted, until a worker has taken it; exit status 0 says that it is there. Follow it with aon watch.",
     "aon import users.xlsx --pack workforce --org org1 --dry-run   # check, and show what would change\n"
     "aon import users.xlsx --pack workforce --org org1 --report marked.xlsx   # do it; mark what is wrong\n"
     "aon watch $(aon import users.xlsx --pack workforce --org org1 --queue)   # let a worker do it, and follow it\n",
     RUNNING | OPT_BIT(OPT_PACK) | OPT_BIT(OPT_ORG) | OPT_BIT(OPT_REPORT) | OPT_BIT(OPT_QUEUE), RUN(cli_import)},
    {"serve", "", 0, 0, "Work on what is queued",
     "With --workers-only: takes uploads from the queue of the journal, the oldest first, one at a time in each worker process, and brings to an end what dead "
     "workers left. Prints a line for each one taken and ended. Any number of them, on any machines, may share a journal; all need the same stores and packs.\n\n"
     "SIGTERM or SIGINT: takes nothing more, gives back what has not begun to execute, finishes what has, and ends with 0. A second signal ends it at once; "
     "another worker recovers what it left. --org takes the uploads of one organization only.",
     "aon serve --workers-only --workers 3   # three processes\n", OPT_BIT(OPT_WORKERS_ONLY) | OPT_BIT(OPT_WORKERS) | OPT_BIT(OPT_ORG),
     RUN(cli_serve)},
    {"apply", "FILE", 1, 1, "Execute operations, one JSON object a line: all of them, or none",
     "Each line is {\"store\", \"collection\", \"id\", \"operation\", \"data\", \"expect\", \"types\", \"path\"}; operation is create, update, upsert, replace or delete. FILE may be - for "
     "standard input. All errors are collected and reject the file as a whole.",
     "aon apply changes.ndjson --lock-wait 0   # refuse at once if somebody works on the same documents\n"
     "printf '{\"store\":\"main\",\"collection\":\"notes\",\"operation\":\"create\",\"data\":{\"text\":\"hi\"}}\\n' | aon apply -\n",
     RUNNING | OPT_BIT(OPT_PACK) | OPT_BIT(OPT_ORG), RUN(cli_apply)},
    {"sheet", "FILE", 1, 1, "Show what the reader sees in a workbook",
     "Prints every row of every sheet as a table, or with --json as one object a line: {\"sheet\", \"state\", \"row\", \"cells\": [[column, type, value], …]}. Types: n "
     "number, s text, b boolean, e error, d date or date and time, t time, dur seconds.",
     "aon sheet users.xlsx --json   # one row a line\n", 0, RUN(cli_sheet)},
    {"list", "", 0, 0, "List bulk operations, newest first", "", "aon list --state rollback_failed   # which ones need a person\n",
     OPT_BIT(OPT_STATE) | OPT_BIT(OPT_LIMIT) | OPT_BIT(OPT_QUERY) | OPT_BIT(OPT_ORG), RUN(cli_list)},
    {"show", "ID", 1, 1, "Show one bulk operation", "The first characters of an id are enough, where no other id begins with them.",
     "aon show 0b7f\n"
     "aon show 0b7f --report marked.xlsx   # the report that a worker kept\n",
     OPT_BIT(OPT_REPORT), RUN(cli_show)},
    {"log", "ID", 1, 1, "Print the journal's entries of a bulk operation", "Sensitive values are shown as •••.",
     "aon log 0b7f --json | jq .status\n", 0, RUN(cli_log)},
    {"diff", "ID", 1, 1, "Show what a bulk operation changed, or a dry run would change", "Before and after, per document and property.",
     "aon diff 0b7f\n", 0, RUN(cli_diff)},
    {"watch", "ID", 1, 1, "Follow a bulk operation until its end",
     "Ends with the exit status of the bulk operation. --report writes the report that a worker kept of it.", "aon watch 0b7f\n",
     OPT_BIT(OPT_REPORT), RUN(cli_watch)},
    {"rollback", "ID", 1, 1, "End one that is held, try a failed rollback again, or take back a part",
     "With --range or --sheet a part of a committed bulk operation is taken back, if nothing outside the part depends on it. For the whole use aon undo.",
     "aon rollback 0b7f\naon rollback 0b7f --sheet Schedules   # only what came from this sheet\n",
     OPT_BIT(OPT_RANGE) | OPT_BIT(OPT_SHEET) | OPT_BIT(OPT_KEEP_THEIRS) | OPT_BIT(OPT_FORCE) | OPT_BIT(OPT_LOCK_WAIT) |
         OPT_BIT(OPT_DRY_RUN),
     RUN(cli_rollback)},
    {"undo", "ID", 1, 1, "Take back a committed bulk operation",
     "The inverse is planned, checked for what other people changed since, and executed as a bulk operation of its own. With conflicts nothing is changed and each is "
     "named; --keep-theirs DOC and --force DOC choose. Possible as long as the images are kept (retention, 7 days by default).",
     "aon undo 0b7f --dry-run\naon undo 0b7f --keep-theirs all\n",
     OPT_BIT(OPT_KEEP_THEIRS) | OPT_BIT(OPT_FORCE) | OPT_BIT(OPT_LOCK_WAIT) | OPT_BIT(OPT_DRY_RUN) | OPT_BIT(OPT_ID) |
         OPT_BIT(OPT_IDEMPOTENCY_KEY),
     RUN(cli_undo)},
    {"resume", "ID", 1, 1, "Go on with one that is held", "From the failed operation, when its cause is gone.", "aon resume 0b7f\n",
     OPT_BIT(OPT_ON_FAILURE), RUN(cli_resume)},
    {"recover", "[ID]", 0, 1, "Bring what a dead worker left to its end",
     "Every command that writes does it first; this one does only that, and says what it did.", "aon recover\n", 0, RUN(cli_recover)},
    {"cancel", "ID", 1, 1, "Stop a bulk operation",
     "Before it executes nothing is changed; while it executes everything is put back; after the decision it is refused.",
     "aon cancel 0b7f\n", OPT_BIT(OPT_LOCK_WAIT), RUN(cli_cancel)},
    {"resolve", "ID DOC", 2, 2, "Decide about a document that needs a person",
     "DOC is STORE/COLLECTION/ID as aon show names it, or all. One of --keep-theirs, --force and --merge says what to do.",
     "aon resolve 0b7f main/users/usr00001 --keep-theirs\naon resolve 0b7f all --force\n",
     OPT_BIT(OPT_KEEP_THEIRS) | OPT_BIT(OPT_FORCE) | OPT_BIT(OPT_MERGE), RUN(cli_resolve)},
    {"locks", "", 0, 0, "List locks, or release one", "", "aon locks\naon locks --release nightly-sync\n", OPT_BIT(OPT_RELEASE),
     RUN(cli_locks)},
    {"pool", "", 0, 0, "Show the pools of connections",
     "Of each store that has one, in this process: connections there are, those idle, callers that wait, and the most there may be.",
     "aon pool --json\n", 0, RUN(cli_pool)},
    {"doctor", "", 0, 0, "Check the stores and the journal",
     "Version, what each store can do, which protocol will be used and why, rights, orphans, the journal's schema and key, and indexes that are missing "
     "on what packs look up: those of --pack, else all that are found. Exit status 1 if something is wrong.",
     "aon doctor\naon doctor --pack workforce\n", OPT_BIT(OPT_PACK), RUN(cli_doctor)},
    {"journal rotate-key", "", 0, 0, "Make a new key for the journal",
     "New images are encrypted with it; the old one still reads what was written before.", "aon journal rotate-key\n", 0,
     RUN(cli_journal_rotate)},
    {"journal migrate", "FROM TO", 2, 2, "Copy a journal to another place",
     "FROM and TO are written as journal.url is: sqlite:PATH, postgresql://… or mongodb://…. All of it but named locks is copied, into one that is new or "
     "empty, with the key file of the configuration. Refused while somebody works with FROM. Then set journal.url to TO. Passwords of PostgreSQL belong "
     "into ~/.pgpass, not here.",
     "aon journal migrate sqlite:aon-data/journal.db postgresql://aon@db.example.org/journal\n"
     "aon journal migrate sqlite:aon-data/journal.db 'mongodb://db1,db2,db3/journal?replicaSet=rs0'\n",
     0, RUN(cli_journal_migrate)},
    {"pack list", "", 0, 0, "List the packs that are found", "", "aon pack list\n", 0, RUN(cli_pack_list)},
    {"pack check", "PACK", 1, 1, "Check a pack", "Loads it and names the first mistake with file and line.",
     "aon pack check ./packs/contacts.lua\n", 0, RUN(cli_pack_check)},
    {"pack show", "PACK [COLLECTION [ID]]", 1, 3, "Show a pack, or where a document of it stands", "",
     "aon pack show workforce\naon pack show workforce departmentindexes dept1:org1   # its store, query and path\n", 0,
     RUN(cli_pack_show)},
    {"pack template", "PACK", 1, 1, "Write an empty workbook to fill in", "Headings, notes, drop-down lists and an example row.",
     "aon pack template workforce -o workforce.xlsx\n", OPT_BIT(OPT_OUTPUT), RUN(cli_pack_template)},
    {0},
};

const char cli_exit_statuses[] = "0  done\n"
                                 "1  usage or environment: nothing was done\n"
                                 "2  rejected by validation: nothing was changed\n"
                                 "3  rolled back or cancelled: nothing is left changed\n"
                                 "4  rollback, undo or commit failed: a person must look\n"
                                 "5  busy: locked by another bulk operation\n"
                                 "6  held: waits for a person\n";

const char cli_environment[] = "AON_CONFIG, AON_DATA, AON_USER, AON_ORGANIZATION and AON_ with the path of any setting in capitals\n"
                               "    override the configuration file (AON_JOURNAL_RETENTION, AON_STORES_MAIN_URL).\n"
                               "LOG_LEVEL  error, warning (the default), info or debug: lines on standard error.\n"
                               "NO_COLOR   if set, no colours.\n"
                               "TEST_ROLLBACK_AT_OPERATION=K  for tests: operation K (from 0) fails, all before it are put back.\n"
                               "DEBUG_ATOMIC_OPS=1  keeps the journal's entries with their images.\n"
                               "TEST_CRASH_AT_CALL=N, TEST_STOP_AT_CALL=N  for tests: the process is killed, or stopped, before its\n"
                               "    N-th call to the journal or a store.\n";
