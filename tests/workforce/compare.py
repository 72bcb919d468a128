#!/usr/bin/python3
"""Runs the program on a workbook and holds what is in its stores afterwards against the oracle.

    compare.py AON FILE [--org ORG] [--data FOLDER]      exit 0: equal; 1: differences, printed

Both sides are made canonical first: an id that the import made becomes a name derived from the document's natural key (email, name, code,
title and content), so that two runs can be compared though their UUIDs differ; sets are sorted. Stamps are not dropped: `_bulkOperationId`
must be the one of the result, and one instant must stand in everything that was written.
"""

import argparse
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile

import oracle

UUID = re.compile('[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}')
INSTANT = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z')
NEW = re.compile('<new-[0-9]+>')
STORES = ('main', 'realtime', 'settings', 'identity')
RESULT_KEYS = {'bulkOperationId', 'state', 'operations', 'counts', 'errors', 'errorCount', 'warnings', 'timings', 'operationsPerSecond'}
# Natural keys of the documents whose ids an import makes; where the title isn't unique, the content tells them apart.
NATURAL = {
    'users': 'email',
    'departments': 'name',
    'sites': 'name',
    'sitegroups': 'name',
    'products': 'name',
    'skus': 'code',
    'questionnaires': 'title',
    'sitescheduleindexes': 'title',
    'issues': 'title',
}
BY_CONTENT = {'sitescheduleindexes': 'scheduleID', 'issues': 'issueID'}
SHOWN = 40


def no_doubled_keys(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError(f'a doubled key among {[key for key, _ in pairs]}')
    return dict(pairs)


def dump(folder):
    """The documents of all stores of a data folder: {store: {collection: {id: document}}}."""
    state = {}
    for store in STORES:
        path = pathlib.Path(folder, store + '.db')
        if not path.exists():
            continue
        with sqlite3.connect(f'file:{path}?mode=ro', uri=True) as db:
            tables = [
                name
                for name, in db.execute("select name from sqlite_master where type = 'table'")
                if not name.startswith(('aon_', 'sqlite_'))
            ]
            for table in tables:
                rows = {
                    ident: json.loads(doc, object_pairs_hook=no_doubled_keys) for ident, doc in db.execute(f'select id, doc from "{table}"')
                }
                if rows:
                    state.setdefault(store, {})[table] = rows
        db.close()
    return state


def seed(folder, state):
    """Writes documents into new stores, as a folder that was there before the upload has them."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for store, collections in state.items():
        with sqlite3.connect(pathlib.Path(folder, store + '.db')) as db:
            db.execute('pragma journal_mode = wal')
            for collection, docs in collections.items():
                db.execute(f'create table "{collection}" (id text primary key, doc text)')
                db.executemany(
                    f'insert into "{collection}" values (?, ?)', [(i, json.dumps(doc, ensure_ascii=False)) for i, doc in docs.items()]
                )
        db.close()


def ids_of(state):
    return {ident for collections in state.values() for docs in collections.values() for ident in docs}


def replaced(value, names, key=None):
    """A value with the ids in it replaced by their names; composite ids part by part."""
    if isinstance(value, dict):
        return {replaced(k, names): replaced(v, names, k) for k, v in value.items()}
    if isinstance(value, list):
        return [replaced(v, names) for v in value]
    if not isinstance(value, str):
        return value
    return ':'.join(names.get(part, part) for part in value.split(':')) if key == '_id' else names.get(value, value)


def canonical(state, is_made):
    """The state with a natural name in the place of every id for which is_made(id)."""
    names = {}
    main = state.get('main', {})
    for collection, prop in NATURAL.items():
        own = BY_CONTENT.get(collection)
        alike = {}
        for ident, doc in main.get(collection, {}).items():
            if not is_made(ident):
                continue
            base = f'<{collection}:{doc.get("organizationID")}:{doc.get(prop)}>'
            if own:
                content = replaced({k: v for k, v in doc.items() if k != own and k not in oracle.STAMPS}, names)
                alike.setdefault(base, []).append((json.dumps(content, sort_keys=True), ident))
            else:
                names[ident] = base
        for base, found in alike.items():
            for number, (_, ident) in enumerate(sorted(found), 1):
                names[ident] = f'{base[:-1]}#{number}>'
    return {
        store: {
            collection: {
                ':'.join(names.get(part, part) for part in ident.split(':')): in_order(collection, replaced(doc, names))
                for ident, doc in docs.items()
            }
            for collection, docs in collections.items()
            if docs
        }
        for store, collections in state.items()
        if any(collections.values())
    }


def in_order(collection, doc):
    doc = {name: sorted(value) if name in oracle.SETS.get(collection, ()) else value for name, value in doc.items()}
    if collection in ('siteoffdays', 'useroffdays', 'firestore:organization-offdays'):
        starts = [day['startDate'] for day in doc['days']]
        if starts == sorted(starts):  # the order of days that start together is nobody's promise
            doc['days'] = sorted(doc['days'], key=lambda day: (day['startDate'], day['endDate'], day['name']))
    return doc


def masked(state, bulk, before):
    """Replaces the stamps of one bulk operation by <bulk> and <now>, with complaints about stamps that aren't as promised."""
    complaints, instants = [], set()
    for store in ('main', 'settings'):
        for collection, docs in state.get(store, {}).items():
            for ident, doc in docs.items():
                if doc.get('_bulkOperationId') != bulk:
                    continue
                doc['_bulkOperationId'] = '<bulk>'
                now = doc.get('updatedAt')
                instants.add(now)
                if not INSTANT.fullmatch(str(now)):
                    complaints.append(f'{store}/{collection}/{ident}: updatedAt is {now!r}')
                doc['updatedAt'] = '<now>'
                if ident not in before.get(store, {}).get(collection, {}) and doc.get('createdAt') == now:
                    doc['createdAt'] = '<now>'
    if len(instants) > 1:
        complaints.append(f'one bulk operation, several instants: {sorted(map(str, instants))}')
    return complaints


def differences(path, want, got, found):
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted(set(want) | set(got)):
            if key not in got:
                found.append(f'{path}/{key}: missing, expected {json.dumps(want[key], ensure_ascii=False)}')
            elif key not in want:
                found.append(f'{path}/{key}: not expected: {json.dumps(got[key], ensure_ascii=False)}')
            else:
                differences(f'{path}/{key}', want[key], got[key], found)
    elif want != got or isinstance(want, bool) != isinstance(got, bool):
        found.append(f'{path}: expected {json.dumps(want, ensure_ascii=False)}, is {json.dumps(got, ensure_ascii=False)}')
    return found


def run(aon, workbook, folder, org='org1', user='tester', options=(), environment=None):
    """One import; (exit status, result, standard error)."""
    command = [
        aon,
        'import',
        str(workbook),
        '--pack',
        os.environ.get('AON_PACK', 'workforce'),
        '--org',
        org,
        '--data',
        str(folder),
        '--user',
        user,
        '--json',
        *options,
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, env=environment)
    try:
        result = json.loads(done.stdout, object_pairs_hook=no_doubled_keys) if done.stdout.strip() else None
    except ValueError as error:
        result, done.stderr = None, f'{done.stderr}\nstandard output is not one JSON object ({error}): {done.stdout[:500]}'
    return done.returncode, result, done.stderr


def problem_key(problem):
    """What two lists of problems are compared by; where the specification leaves the heading or the cell open, it doesn't count."""
    code = problem['code']
    cell = None if code == 'unknown_sheet' else problem.get('cell')
    heading = problem.get('heading')
    if code in ('unknown_sheet', 'bad_file') or (cell or '').startswith('A') and code in ('duplicate', 'required'):
        heading = None
    return (problem.get('sheet') or '', cell or '', heading or '', code)


def compare_problems(what, want, got):
    left, right = sorted(map(problem_key, want)), sorted(map(problem_key, got))
    found = [f'{what} missed: {key}' for key in left if left.count(key) > right.count(key)]
    found += [f'{what} invented: {key}' for key in right if right.count(key) > left.count(key)]
    values = {problem_key(p): p.get('value') for p in got}
    for problem in want:
        value = values.get(problem_key(problem))
        if problem.get('value') and problem_key(problem) in values and (value or '').strip() != problem['value']:
            found.append(f'{what} at {problem_key(problem)}: value is {value!r}, not {problem["value"]!r}')
    for problem in got:
        if len(str(problem.get('message') or '')) < 10:
            found.append(f'{what} at {problem_key(problem)} has no sentence: {problem.get("message")!r}')
    for problem in want:
        meant = problem.get('meant')
        if meant and not any(problem_key(p) == problem_key(problem) and meant in p.get('message', '') for p in got):
            found.append(f'{what} at {problem_key(problem)}: its sentence should ask for "{meant}"')
    return list(dict.fromkeys(found))


def compare_result(want, status, result, stderr):
    if result is None:
        return [f'no result; exit status {status}; standard error: {stderr.strip()[-2000:]}']
    found = [f'result has no {key}' for key in sorted(RESULT_KEYS - set(result))]
    expected = {'committed': 0, 'rejected': 2}[want['state']]
    if status != expected:
        found.append(f'exit status {status}, expected {expected}; standard error: {stderr.strip()[-2000:]}')
    meant = dict(want, state='planned') if want['state'] == 'committed' and result.get('dryRun') else want
    for key in ('state', 'operations'):
        if result.get(key) != meant[key]:
            found.append(f'{key}: expected {meant[key]}, is {result.get(key)}')
    counts = {entity: count for entity, count in result.get('counts', {}).items() if any(count.values()) or entity not in want['counts']}
    differences('counts', {e: c for e, c in want['counts'].items() if any(c.values())}, counts, found)
    if result.get('errorCount') != len(want['errors']):
        found.append(f'errorCount: expected {len(want["errors"])}, is {result.get("errorCount")}')
    found += compare_problems('error', want['errors'], result.get('errors', []))
    unasked = lambda w: w['code'] == 'ignored' and w.get('heading') == 'Days'
    return found + compare_problems('warning', want['warnings'], [w for w in result.get('warnings', []) if not unasked(w)])


def compare_documents(want, before, after, bulk):
    known = ids_of(before)
    found = masked(after, bulk, before)
    found += differences(
        '',
        canonical(want['documents'], lambda i: bool(NEW.fullmatch(i))),
        canonical(after, lambda i: i not in known and bool(UUID.fullmatch(i))),
        [],
    )
    return found


def check(aon, workbook, folder, org='org1', user='tester', options=()):
    """Imports the workbook into the folder (with what is there); the differences, the oracle's expectation and the result."""
    before = dump(folder)
    files = {name.name for name in pathlib.Path(folder).iterdir()} if pathlib.Path(folder).exists() else set()
    want = oracle.expect(workbook, org, user, before)
    status, result, stderr = run(aon, workbook, folder, org, user, options)
    found = compare_result(want, status, result, stderr)
    after = dump(folder)
    if want['state'] == 'committed' and result is not None and '--dry-run' not in options:
        found += compare_documents(want, before, after, result.get('bulkOperationId'))
    else:
        found += differences('', before, after, [])
        made = [f'{store}.db' for store in STORES if f'{store}.db' not in files and pathlib.Path(folder, f'{store}.db').exists()]
        found += [f'a rejected upload made the store file {name}' for name in made]
    return found, want, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('aon')
    parser.add_argument('file')
    parser.add_argument('--org', default='org1')
    parser.add_argument('--data', help='a data folder to go on with; else a fresh one')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, want, result = check(os.path.abspath(given.aon), given.file, given.data or os.path.join(folder, 'data'), given.org)
    print(f'{given.file}: {want["state"]}, {want["operations"]} operations expected, {len(found)} differences')
    print(*found[:SHOWN], sep='\n')
    if len(found) > SHOWN:
        print(f'… and {len(found) - SHOWN} more')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
