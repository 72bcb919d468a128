#!/usr/bin/python3
"""What can go wrong: forced failures, other people's writes, two at once, broken disks, files and packs, signals. Each time a sentence, the right exit
status, and nothing half done."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import program as p
from program import Data, Skip, calls_of, check, finish, kill, result_shape, same, same_rows, stopped

NOBODY = 65534


def upload(book):
    return ['import', book, '--pack', 'workforce', '--org', 'org1', '--json']


def expected_lines(entries, failed):
    """The lines of a forced failure in a workbook of the workforce pack: exactly these, in this order, others between them."""
    schedules = {'sitescheduleindexes', 'schedulestatistics', 'skuschedules', 'issues'}
    days = {'siteoffdays', 'useroffdays', 'firestore:organization-offdays'}
    groups = [2 if e['collectionName'] in days else 1 if e['collectionName'] in schedules else 0 for e in entries]
    second = groups.index(1) if 1 in groups else groups.index(2) if 2 in groups else len(groups)
    third = groups.index(2) if 2 in groups else len(groups)
    total = len(entries)
    return ['[INFO] Starting bulk upload process...', '[INFO] Collecting user/dept/site operations...', f'[INFO] Collected {second} operations',
            '[INFO] Collecting schedule operations...', f'[INFO] Collected {third - second} operations', '[INFO] Collecting non-ops operations...',
            f'[INFO] Collected {total - third} operations', f'[INFO] Total operations to execute: {total}',
            f'[INFO] Executing {total} operations atomically...', f'[ERROR] Operation {failed} failed: [TEST] Forced failure',
            f'[INFO] [AtomicOperations] Starting rollback of {failed} operations',
            *[f'[INFO] [AtomicOperations] Rolling back operation {e["sequence"]}: {e["operation"]} {e["collectionName"]}' for e in reversed(entries[:failed])],
            '[INFO] [AtomicOperations] Rollback completed successfully', '[ERROR] Bulk upload failed, all changes rolled back']


def in_order(lines, wanted, ran):
    at = 0
    for line in wanted:
        check(line in lines[at:], f'missing, or in the wrong place: {line!r}\n', '\n'.join(lines))
        at = lines.index(line, at) + 1
    for word in ('Rolling back operation', 'Collected', 'Starting rollback'):
        same(sum(word in line for line in lines), sum(word in line for line in wanted), f'lines with {word!r}\n', ran)


def forced_at_every_operation(data, book, count):
    before = data.rows()
    total = data.imports(book, '--dry-run').exits(0).json['operations']
    points = range(total) if p.FULL else sorted({0, 1, total // 3, total // 2, total - 1} | set(range(2, total, max(1, total // count))))
    for k in points:
        ran = data.imports(book, env={'TEST_ROLLBACK_AT_OPERATION': k, 'LOG_LEVEL': 'info'}).exits(3)
        result = result_shape(ran.json)
        same((result['state'], result['failure']['operation'], result['failure']['message'], result['operations']),
             ('rolled_back', k, '[TEST] Forced failure', total), 'k =', k)
        same_rows(data.rows(), before, 'k =', k)
        entries = data.entries(result['bulkOperationId'])
        same([e['status'] for e in entries], ['rolledback'] * k + ['pending'] * (total - k), 'k =', k)
        check(all(bool(e['executedAt']) == bool(e['rolledbackAt']) == (e['sequence'] < k) for e in entries), 'times of entries, k =', k, entries[0])
        check(all(e['newData'] or e['operation'] == 'delete' for e in entries), 'images are kept in test mode')
        lines = [line for line in ran.err.splitlines() if line.startswith(('[INFO]', '[ERROR]'))]
        in_order(lines, expected_lines(entries, k), ran)
    same(data.run('locks', '--json').exits(0).out, '')
    return f'{len(points)} of {total} operations'


def forced_failure(folder):
    return forced_at_every_operation(p.prepared(folder), p.second_book(folder / 'b'), 8)


def forced_failure_of_the_small_workbook(folder):
    book = p.SHARED / 'workforce' / 'small.xlsx'
    if not book.exists():
        raise Skip('the folder with the specification\'s workbooks is not there')
    return forced_at_every_operation(p.prepared(folder), book, 6)


def forced_beyond_the_end_and_by_the_older_variables(folder):
    data = p.prepared(folder)
    before = data.rows()
    for name, collection, nth in (('USER', 'users', 1), ('DEPT', 'departments', 0), ('SCHEDULE', 'sitescheduleindexes', 0)):
        variable = f'TEST_ROLLBACK_{name}_INDEX'
        ran = data.imports(p.second_book(folder / name), env={variable: nth}).exits(3)
        check('deprecated' in ran.err and variable in ran.err, ran)
        entries = data.entries(ran.json['bulkOperationId'])
        wanted = [e['sequence'] for e in entries if e['collectionName'] == collection][nth]
        same(ran.json['failure']['operation'], wanted, variable)
        same([e['status'] for e in entries], ['rolledback'] * wanted + ['pending'] * (len(entries) - wanted))
        same_rows(data.rows(), before, variable)
    for env in ({'TEST_ROLLBACK_AT_OPERATION': 'many'}, {'TEST_ROLLBACK_SITE_INDEX': 'x'}):
        data.imports(p.second_book(folder / next(iter(env))), env=env).exits(1).says(next(iter(env)))
    ran = data.imports(p.second_book(folder / 'beyond'), env={'TEST_ROLLBACK_AT_OPERATION': 1000}).exits(0)
    check('beyond' in ran.err and 'WARNING' in ran.err.upper(), 'no warning for a k beyond the end', ran)
    same(ran.json['state'], 'committed')
    same(data.imports(p.second_book(folder / 'none'), env={'DEBUG_ATOMIC_OPS': 1}).exits(0).json['operations'], 0)


def at_commit_of_main(data, book):
    """The program stopped when realtime, settings and identity are committed, and main, the last resource, is not."""
    calls = calls_of(data.copy(data.folder.parent / 'counted').run(*upload(book), env={'LOG_LEVEL': 'debug'}).exits(0))
    process = data.start(*upload(book), env={'TEST_STOP_AT_CALL': calls.index('store.main.commit')})
    check(stopped(process), 'it did not stop')
    return process


def change(data, store, collection, document, **properties):
    data.put(store, collection, document, {**data.document(store, collection, document), **properties})


def somebody_else_changed_another_property(folder):
    data = p.prepared(folder)
    before = data.rows()
    process = at_commit_of_main(data, p.second_book(folder / 'b'))
    change(data, 'realtime', 'firebase:user', 'u1', nickname='Bo')
    kill(process)
    data.run('recover').exits(0).says('everything was put back')
    same(data.listed()[0]['state'], 'rolled_back')
    same(data.document('realtime', 'firebase:user', 'u1').pop('nickname'), 'Bo')
    change(data, 'realtime', 'firebase:user', 'u1')
    document = data.document('realtime', 'firebase:user', 'u1')
    document.pop('nickname')
    was = {row[0]: row[1] for row in before['realtime', 'firebase:user']}
    same(document, __import__('json').loads(was['u1']), 'ours is taken back, theirs survives')
    same({t: r for t, r in data.rows().items() if t[0] != 'realtime'}, {t: r for t, r in before.items() if t[0] != 'realtime'})


def conflicted(folder):
    data = p.prepared(folder)
    before = data.rows()
    process = at_commit_of_main(data, p.second_book(folder / 'b'))
    change(data, 'realtime', 'firebase:user', 'u1', email='theirs@example.com')
    change(data, 'realtime', 'firebase:user', 'n1', name='Theirs')
    kill(process)
    data.run('recover').exits(4).says('need a person')
    bulk = data.listed()[0]
    result_shape(bulk)
    same(bulk['state'], 'rollback_failed')
    same(sorted((c['store'], c['collection'], c['documentId']) for c in bulk['conflicts']),
         [('realtime', 'firebase:user', 'n1'), ('realtime', 'firebase:user', 'u1')])
    data.run('show', bulk['bulkOperationId']).exits(0).says('2 documents need a person', 'realtime/firebase:user/u1', 'aon resolve', bulk['bulkOperationId'])
    same(sorted({e['documentId'] for e in data.entries(bulk['bulkOperationId']) if e['status'] == 'conflict'}), ['n1', 'u1'])
    same(data.document('realtime', 'firebase:user', 'n1')['name'], 'Theirs', 'a changed document was deleted')
    others = {t: r for t, r in data.rows().items() if t != ('realtime', 'firebase:user')}
    same_rows(others, {t: r for t, r in before.items() if t != ('realtime', 'firebase:user')}, 'the others are put back')
    return data, before, bulk['bulkOperationId']


def somebody_else_changed_the_same(folder):
    data, before, bulk = conflicted(folder)
    same(data.run('recover', bulk).exits(4).status, 4)
    same(data.run('rollback', bulk, '--json').exits(4).json['state'], 'rollback_failed', 'tried again, still a conflict, not for ever')
    data.run('watch', bulk, '--json').exits(4)
    data.run('undo', bulk).exits(1)
    held = data.run('locks', '--json').exits(0).out
    check(held == '' or all('u1' in line or 'n1' in line for line in held.splitlines()), 'only the documents in conflict stay locked', held)
    free = p.write_book(folder / 'free', {'Departments': [{'Department ID': 'd1', 'Name': 'Pantry'}]})
    same(data.imports(free, '--lock-wait', '0').exits(0).json['state'], 'committed')
    taken = p.write_book(folder / 'taken', {'Users': [{'User ID': 'u1', 'Name': 'Another name', 'Email': 'u1@example.com', 'Role': 'manager'}]})
    ran = data.imports(taken, '--lock-wait', '0').exits(5)
    same(ran.json['failure']['heldBy'], bulk)
    data.run('resolve', bulk, 'realtime/firebase:user/zz', '--force').exits(1).says('zz')
    result = result_shape(data.run('resolve', bulk, 'realtime/firebase:user/u1', '--keep-theirs', '--json').exits(4).json)
    same((result['state'], [c['documentId'] for c in result['conflicts']]), ('rollback_failed', ['n1']))
    result = result_shape(data.run('resolve', bulk, 'realtime/firebase:user/n1', '--force', '--json').exits(0).json)
    same((result['state'], result['conflicts']), ('rolled_back', []))
    same(data.document('realtime', 'firebase:user', 'u1')['email'], 'theirs@example.com')
    same(data.document('realtime', 'firebase:user', 'n1'), None)
    data.run('resolve', bulk, 'all', '--force').exits(1)
    same(data.imports(taken).exits(0).json['state'], 'committed', 'free again')


def resolved_by_a_merge(folder):
    data, before, bulk = conflicted(folder)
    (folder / 'merged.json').write_text('{"name": "Merged", "n": 1}')
    data.run('resolve', bulk, 'realtime/firebase:user/u1', '--merge', folder / 'none.json').exits(1).says('none.json')
    (folder / 'bad.json').write_text('{')
    data.run('resolve', bulk, 'realtime/firebase:user/u1', '--merge', folder / 'bad.json').exits(1, 2)
    data.run('resolve', bulk, 'all', '--merge', folder / 'merged.json').exits(1)
    data.run('resolve', bulk, 'realtime/firebase:user/u1', '--merge', folder / 'merged.json').exits(4)
    same(data.document('realtime', 'firebase:user', 'u1'), {'name': 'Merged', 'n': 1})
    same(data.run('resolve', bulk, 'all', '--keep-theirs', '--json').exits(0).json['state'], 'rolled_back')
    same(data.document('realtime', 'firebase:user', 'n1')['name'], 'Theirs')


def a_rollback_tried_again(folder):
    data, before, bulk = conflicted(folder)
    was = dict(before['realtime', 'firebase:user'])
    data.sql('update "firebase:user" set doc = ? where id = ?', was['u1'], 'u1', store='realtime')
    data.sql('delete from "firebase:user" where id = ?', 'n1', store='realtime')
    same(data.run('rollback', bulk, '--json').exits(0).json['state'], 'rolled_back', 'the others have put it right themselves')
    same_rows(data.rows(), before)


def two_at_once(folder):
    data = p.prepared(folder)
    first = data.start(*upload(p.second_book(folder / 'b')), env={'TEST_STOP_AT_CALL': first_of(data, folder, 'store.main.begin')})
    check(stopped(first), 'it did not stop')
    holder = data.listed()[0]['bulkOperationId']
    same_users = p.write_book(folder / 'same', {'Users': [{'User ID': 'u1', 'Name': 'Renamed', 'Email': 'u1@example.com', 'Role': 'manager'}]})
    ran = data.imports(same_users, '--lock-wait', '0').exits(5)
    same(result_shape(ran.json)['failure']['heldBy'], holder)
    data.run('import', same_users, '--pack', 'workforce', '--org', 'org1', '--lock-wait', '0').exits(5).says(holder)
    check(data.run('locks', '--json').exits(0).lines[0]['holder'] == holder, 'locks name the holder')
    waiting = data.start(*upload(same_users))
    time.sleep(0.7)
    check(waiting.poll() is None, 'it did not wait')
    first.send_signal(signal.SIGCONT)
    finish(first).exits(0)
    same(finish(waiting).exits(0).json['state'], 'committed')
    user = data.document('main', 'users', 'u1')
    same((user['name'], user['email']), ('Renamed', 'u1@example.com'), 'planned anew after the other one')
    check('s2' in user['siteIDs'], 'what the first one wrote is lost', user)


def first_of(data, folder, name):
    copy = data.copy(folder / 'for-calls')
    calls = calls_of(copy.run(*upload(p.second_book(folder / 'for-calls-book')), env={'LOG_LEVEL': 'debug'}).exits(0))
    shutil.rmtree(folder / 'for-calls')
    return calls.index(name)


def three_at_once_on_different_users(folder):
    data = p.prepared(folder)
    books = [p.write_book(folder / f'b{n}', {'Users': [{'User ID': f'w{n}-{i}', 'Name': f'W {n} {i}', 'Email': f'w{n}-{i}@example.com', 'Role': role}
                                                       for i in range(20)]}) for n, role in enumerate(('admin', 'supervisor', 'manager'))]
    running = [data.start(*upload(book), '--lock-wait', '60') for book in books]
    for process in running:
        same(finish(process).exits(0).json['state'], 'committed')
    same(data.sql("select count(*) from users where id like 'w%'"), [(60,)])
    same(data.sql("select count(*) from \"firebase:user\" where id like 'w%'", store='realtime'), [(60,)])


def a_locked_database(folder):
    data = p.prepared(folder, {'AON_STORES_MAIN_TIMEOUT': '300ms'})
    before = data.rows()
    with contextlib.closing(sqlite3.connect(data.store('main'), isolation_level=None)) as other:
        other.execute('begin immediate')
        ran = data.imports(p.second_book(folder / 'b')).exits(5)
        same(result_shape(ran.json)['state'], 'rolled_back')
        check('lock' in (ran.out + ran.err).lower(), ran)
        other.execute('rollback')
    same_rows(data.rows(), before)
    same(data.run('locks', '--json').exits(0).out, '')
    data.imports(p.second_book(folder / 'b2')).exits(0)


def a_full_disk(folder):
    if os.geteuid() != 0:
        raise Skip('only root can mount a small disk')
    disk = folder / 'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1200k', 'tmpfs', str(disk)], capture_output=True).returncode:
        raise Skip('no small disk can be mounted here')
    try:
        data = Data(disk / 'd')
        data.imports(p.first_book(folder / 'first')).exits(0)
        before = data.rows()
        for spare in (0, 40, 100, 160, 240):
            filler = disk / 'filler'
            free = os.statvfs(disk)
            with open(filler, 'wb') as file:
                file.write(b'x' * max(0, free.f_bavail * free.f_bsize - spare * 1024))
            lines = [{'store': 'main', 'collection': 'big', 'id': f'{spare}-{i}', 'operation': 'create', 'data': {'t': os.urandom(9000).hex()}} for i in range(16)]
            ran = data.apply(lines)
            check(ran.status in (1, 3), f'{spare} KiB free:', ran)
            ran.exits(1, 3)
            check(re.search('full|space|disk|room', (ran.out + ran.err).lower()), 'it does not say that the disk is full', ran)
            filler.unlink()
            data.run('recover').exits(0)
            same_rows(data.rows(), before, f'{spare} KiB free')
            check(all(b['state'] in p.TERMINAL for b in data.listed()), 'not at an end')
        data.apply([{'store': 'main', 'collection': 'big', 'id': 'a', 'operation': 'create', 'data': {}}]).exits(0)
    finally:
        subprocess.run(['umount', str(disk)], check=False)


def as_somebody(folder, *args, data):
    """The program as a user who may not write everywhere."""
    more = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []} if os.geteuid() == 0 else {}
    if more:
        folder.chmod(0o755)
    env = {}
    if os.geteuid() == 0:
        binary = folder / 'aon'
        if not binary.exists():
            shutil.copy(p.BINARY, binary)
            binary.chmod(0o755)
        env['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '')
        command = [str(binary), *map(str, args), '--data', str(data)]
        return finish(subprocess.Popen(command, env=p.environment(env), cwd='/', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more))
    return p.aon(*args, '--data', data)


def a_read_only_folder(folder):
    data = p.prepared(folder)
    before = data.rows()
    book = p.second_book(folder / 'b')
    packs = folder / 'packs'
    shutil.copytree(p.PACKS, packs)
    for path in [folder, *folder.rglob('*')]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        args = ['import', book, '--pack', packs / 'workforce.lua', '--org', 'org1', '--json']
        folder.chmod(0o755)
        ran = as_somebody(folder, *args, data=data.folder).exits(1)
        check(re.search('read-only|permission|written|write', ran.err.lower()) and str(data.folder) in ran.err, ran)
        as_somebody(folder, *args, data=folder / 'packs' / 'none').exits(1).says('none')
    finally:
        for path in [folder, *folder.rglob('*')]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    same_rows(data.rows(), before)


def broken(path, at=0.5, length=64):
    raw = bytearray(path.read_bytes())
    start = int(len(raw) * at)
    raw[start:start + length] = os.urandom(length)
    path.write_bytes(raw)


def corrupt_files(folder):
    whole = p.prepared(folder)
    before = whole.rows()
    data = whole.copy(folder / 'no-journal')
    data.store('journal').write_bytes(b'this is no database at all, only some text that is long enough' * 100)
    for args in (upload(p.second_book(folder / 'b')), ['list'], ['recover'], ['doctor']):
        ran = data.run(*args).exits(1)
        check('journal.db' in ran.out + ran.err, ran)
    same_rows(data.rows(), before)
    data = whole.copy(folder / 'broken-journal')
    for at in (0.1, 0.3, 0.5, 0.7, 0.9):
        broken(data.store('journal'), at, 3000)
    ran = data.run(*upload(p.second_book(folder / 'b2')))
    ran.exits(1, 3)
    same_rows(data.rows(), before)
    data.run('doctor').exits(1).says('journal')
    data = whole.copy(folder / 'no-store')
    data.store('realtime').write_bytes(b'not a database, either; not even nearly one' * 200)
    ran = data.imports(p.second_book(folder / 'b3')).exits(1, 3)
    check('realtime' in ran.out + ran.err, ran)
    same({t: r for t, r in tables(data).items()}, {t: r for t, r in before.items() if t[0] != 'realtime'})
    data.run('doctor').exits(1).says('realtime', 'something is wrong')
    data = whole.copy(folder / 'no-key')
    (data.folder / 'journal.key').unlink()
    data.imports(p.second_book(folder / 'b4')).exits(1).says('journal.key')
    same_rows(data.rows(), before)
    check(not (data.folder / 'journal.key').exists(), 'a new key was made over old images')
    data.run('doctor').exits(1).says('key')


def tables(data):
    return {t: r for store in ('main', 'settings', 'identity') for t, r in
            (((store, name), rows) for name, rows in p.tables_of(data.store(store)).items() if rows)}


def files_that_cannot_be_read(folder):
    data = Data(folder / 'd')
    import openpyxl
    book = openpyxl.Workbook()
    book.active.title = 'Users'
    book.active.append(['Name', 'Email', 'Role'])
    for n in range(50):
        book.active.append([f'N{n}', f'n{n}@example.com', 'staff'])
    book.save(folder / 'whole.xlsx')
    raw = (folder / 'whole.xlsx').read_bytes()
    for part in (0, 1, 100, len(raw) // 2, len(raw) - 30):
        (folder / 'part.xlsx').write_bytes(raw[:part])
        result = result_shape(data.imports(folder / 'part.xlsx').exits(2).json)
        same((result['state'], [e['code'] for e in result['errors']]), ('rejected', ['bad_file']), part)
        same((result['errors'][0]['sheet'], result['errors'][0]['cell']), (None, None))
    data.imports(folder / 'none.xlsx').exits(1).says('none.xlsx')
    (folder / 'lone.csv').write_text('Name\nA\n')
    data.imports(folder / 'lone.csv').exits(2).says('folder')
    (folder / 'empty').mkdir()
    data.imports(folder / 'empty').exits(2)
    data.imports(p.write_book(folder / 'cars', {'Cars': [{'A': '1'}]})).exits(2)
    data.run('import', folder / 'whole.xlsx', '--org', 'o').exits(1).says('--pack')
    data.run('import', folder / 'whole.xlsx', '--pack', 'workforce').exits(1).says('--org')
    data.run('import', folder / 'whole.xlsx', '--pack', 'nopack', '--org', 'o').exits(1).says('nopack')
    for org in ('a/b', '.', '..', '__x__'):
        data.imports(folder / 'whole.xlsx', org=org).exits(1)
    check(not list((folder / 'd').glob('[!j]*.db')), 'a store file was made')




def packs_that_misbehave(folder):
    data = p.prepared(folder)
    before = data.rows()
    source = (pathlib.Path(p.PACKS) / 'workforce.lua').read_text()
    at = re.search(r'collect = function\s*\([^)]*\)|(local )?function collect[\w.]*\s*\([^)]*\)', source)
    check(at, 'the workforce pack has no function that collects')
    book = p.second_book(folder / 'b')
    pack = folder / 'bent.lua'
    for body, words in ((' while true do end', ['bent.lua:']), (' local s = string.rep("x", 1000) while true do s = s .. s end', ['bent.lua:']),
                        (' error("I am wrong")', ['bent.lua:', 'I am wrong']), (' local a = nil; a.b = 1', ['bent.lua:']),
                        (' return string.find(string.rep("a", 100000), string.rep("a*", 50) .. "b")', ['bent.lua:']), (' local function f() return 1 + f() end f()', ['bent.lua:'])):
        pack.write_text(source[:at.end()] + body + '\n' + source[at.end():] if not body.startswith(' return') else
                        source[:at.end()] + ' if true then' + body + ' end\n' + source[at.end():])
        ran = data.run('import', book, '--pack', pack, '--org', 'org1', '--json', env={'AON_LIMITS_PACK_CALL': '2s'})
        ran.exits(1, 2, 3).says(*words)
        same_rows(data.rows(), before, body)
    data.run('import', book, '--pack', pack, '--org', 'org1', '--report', folder / 'report.xlsx').exits(1, 2, 3)
    check((folder / 'report.xlsx').exists(), 'a report is written whatever the outcome')
    check(all(b['state'] in p.TERMINAL for b in data.listed()))
    same(data.run('locks', '--json').exits(0).out, '')


def interrupted(folder):
    data = p.prepared(folder)
    before = data.rows()
    calls = calls_of(data.copy(folder / 'counted').run(*upload(p.second_book(folder / 'b')), env={'LOG_LEVEL': 'debug'}).exits(0))
    decision = calls.index('store.main.commit')
    points = sorted({3, calls.index('journal.submit') + 1, calls.index('journal.log'), calls.index('store.main.begin'), calls.index('store.main.apply')})
    for number, name in ((signal.SIGINT, 'INT'), (signal.SIGTERM, 'TERM')):
        for n in points:
            process = data.start(*upload(p.second_book(folder / f'{name}{n}')), env={'TEST_STOP_AT_CALL': n})
            check(stopped(process), 'it did not stop')
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            ran = finish(process).exits(3)
            if ran.out:
                check(result_shape(ran.json)['state'] in ('cancelled', 'rolled_back'), ran)
            same_rows(data.rows(), before, name, 'before call', n, calls[n])
    check(all(b['state'] in p.TERMINAL for b in data.listed()))
    process = data.start(*upload(p.second_book(folder / 'late')), env={'TEST_STOP_AT_CALL': decision + 1})
    check(stopped(process), 'it did not stop')
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    same(finish(process).exits(0).json['state'], 'committed', 'after the decision it finishes first')


def cancelled_from_outside(folder):
    data = p.prepared(folder)
    before = data.rows()
    process = data.start(*upload(p.second_book(folder / 'b')), env={'TEST_STOP_AT_CALL': first_of(data, folder, 'store.main.begin')})
    check(stopped(process), 'it did not stop')
    bulk = data.listed()[0]['bulkOperationId']
    data.run('cancel', bulk, '--lock-wait', '0').exits(5)
    asking = data.start('cancel', bulk, '--json')
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)
    finish(process).exits(3)
    finish(asking).exits(0)
    same_rows(data.rows(), before)
    check(data.shown(bulk)['state'] in ('rolled_back', 'cancelled'))


def a_secret_is_nowhere(folder):
    data = p.prepared(folder, {'LOG_LEVEL': 'debug', 'DEBUG_ATOMIC_OPS': '1'})
    said = []
    for n, env in enumerate(({}, {'TEST_ROLLBACK_AT_OPERATION': 6}, {})):
        ran = data.imports(p.second_book(folder / f'b{n}'), env=env)
        said.append(ran.out + ran.err)
    short = p.write_book(folder / 'short', {'Users': [{'Name': 'A', 'Email': 'a@example.com', 'Role': 'staff', 'Password': 's3crt-x'}]})
    ran = data.imports(short, '--report', folder / 'marked.xlsx').exits(2)
    said.append(ran.out + ran.err)
    check('s3crt-x' not in ran.out + ran.err, 'a password that is wrong is shown', ran)
    for bulk in data.listed():
        for command in ('show', 'log', 'diff'):
            for more in ([], ['--json']):
                ran = data.run(command, bulk['bulkOperationId'], *more)
                said.append(ran.out + ran.err)
    for text in said:
        check(p.SECRET not in text, 'the secret is said:', text[max(0, text.find(p.SECRET) - 200):][:500])
    for path in data.folder.iterdir():
        raw = path.read_bytes()
        check(p.SECRET.encode() not in raw and p.SECRET.encode('utf-16-le') not in raw, 'the secret stands in', path.name)
    check(data.document('identity', 'accounts', 'u1')['hasPassword'] is True, 'the embedded identity notes that there is one')


def what_the_database_changes_besides_is_said_before(folder):
    """A trigger of a table that was there before us: the dry run and the run warn of it, once; deletes, and other tables, don't."""
    with sqlite3.connect(folder / 'shop.db') as database:
        database.executescript('''create table item (id text primary key, price integer); create table note (id text primary key, text text);
            create table total (sum integer); insert into item values ('a', 1), ('b', 2);
            create trigger sums after update on item begin insert into total values (new.price); end;''')
    (folder / 'aon.yaml').write_text(f'stores:\n  shop: {{url: "sqlite:{folder}/shop.db"}}\n')
    def line(operation, name, collection='item', **data):
        return {'store': 'shop', 'collection': collection, 'id': name, 'operation': operation, **({'data': data} if data else {})}
    data, config = Data(folder / 'data'), ('--config', folder / 'aon.yaml')
    both = [line('update', 'a', price=3), line('update', 'b', price=4)]
    for more in (('--dry-run',), ()):
        warnings = data.apply(both, *more, *config).exits(0).json['warnings']
        same([warning['code'] for warning in warnings], ['write_effect'], warnings)
        check('shop/item' in warnings[0]['message'] and 'trigger' in warnings[0]['message'], warnings)
    data.run('apply', '-', '--dry-run', *config, given=json.dumps(line('update', 'a', price=9))).exits(0).says('trigger')
    same(data.apply([line('delete', 'a'), line('create', 'n', 'note', text='x')], *config).exits(0).json['warnings'], [])


CASES = [what_the_database_changes_besides_is_said_before, forced_failure, forced_failure_of_the_small_workbook, forced_beyond_the_end_and_by_the_older_variables, somebody_else_changed_another_property,
         somebody_else_changed_the_same, resolved_by_a_merge, a_rollback_tried_again, two_at_once, three_at_once_on_different_users, a_locked_database,
         a_full_disk, a_read_only_folder, corrupt_files, files_that_cannot_be_read, packs_that_misbehave, interrupted, cancelled_from_outside,
         a_secret_is_nowhere]

if __name__ == '__main__':
    p.main('failure', CASES)
