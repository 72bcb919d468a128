"""A profile of one run by perf: what share of its process's CPU time some functions take, with all that they call.

Names of functions are those of our sources; one that the compiler has put into its caller is not found, and its line is left out."""

import re
import shutil
import subprocess

from timing import Failed

WHAT = {
    'reading the lines, JSON to BSON': ('fill_batch', 'read_line'),
    'reading what is there before': ('read_batch',),
    'planning': ('plan_lines', 'plan_line'),
    'in it: what the stores would keep': ('normalise',),
    'writing the log': ('log_batch', 'aon_ledger_log'),
    'reading the log back': ('aon_ledger_entries_next',),
    'hashes of documents': ('aon_document_hash',),
    'writing PostgreSQL': ('pg_apply',),
    'writing MongoDB': ('mdb_apply',),
    'writing SQLite': ('sqlite_apply',),
    'opening the stores': ('aon_engine_store_open',),
    'opening the journal': ('aon_engine_journal',),
    'closing all': ('aon_engine_close',),
    'the digest of the file': ('aon_content_digest',),
    'loading libraries': ('_dl_start', '_dl_open'),
}
LINE = re.compile(r'^\s*([\d.]+)%\s+[\d.]+%\s+\S+\s+\S+\s+\[[.k]\]\s+(\S+)')


def taken(machine, run):
    """{words: percent}, or why there is none. run(before) runs the program by the command before."""
    if not shutil.which('perf'):
        return 'perf is not there'
    file = machine.fresh('profile') / 'perf.data'
    try:
        run(['perf', 'record', '--quiet', '--freq', '4999', '--call-graph', 'dwarf,16384', '--output', file, '--'])
        report = subprocess.run(
            ['perf', 'report', '--children', '--no-inline', '--stdio', '-g', 'none', '--input', str(file)], capture_output=True, text=True
        )
    except Failed as why:
        return f'perf failed ({str(why).splitlines()[0][-200:]})'
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)
    shares = {}
    for line in report.stdout.splitlines():
        found = LINE.match(line)
        if found:
            name = found[2].split('.')[0]  # the compiler's parts of a function
            shares[name] = max(shares.get(name, 0.0), float(found[1]))
    return {words: next(shares[name] for name in names if name in shares) for words, names in WHAT.items() if any(name in shares for name in names)}
