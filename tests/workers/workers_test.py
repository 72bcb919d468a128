#!/usr/bin/python3
"""Uploads that wait in the journal, and the workers that take them: queued, taken, refused, cancelled, rejected, killed and frozen at every place.

    workers_test.py [NAME …]      names: only cases whose name holds one of them

AON_FULL=1 tries every call of queueing and working as a place to die, else a sample.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import stat
import subprocess
import sys
import time
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'cli'))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'crash'))

import program as p  # noqa: E402
from crash_test import sample  # noqa: E402
from program import Data, calls_of, check, finish, same, same_rows, write_book  # noqa: E402

CHUNK = 256 << 10
PATIENCE = 120


def book(folder, name, users, secret='pl4nted-s3cret', size=0, **columns):
    """A zip of .csv files with these user ids; size: at least so many bytes, which no compression makes fewer."""
    write_book(folder / f'{name}.d', {'Users': [{'User ID': user, 'Name': f'User {user}', 'Email': f'{user}@example.com', 'Role': 'staff',
                                                  'Password': secret, **columns} for user in users]})
    path = folder / f'{name}.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as packed:
        packed.write(folder / f'{name}.d' / 'Users.csv', 'Users.csv')
        if size:
            packed.writestr('filler.txt', random.Random(1).randbytes(size))
    return path


def queue(data, path, *args, **more):
    pack = () if '--pack' in args else ('--pack', 'workforce')
    ran = data.run('import', path, *pack, '--org', 'org1', '--queue', *args, **more).exits(0)
    bulk = ran.out.strip()
    same(len(bulk), 36, ran)
    return bulk


@contextlib.contextmanager
def worker(data, *args, env=None, ended=(0,)):
    """A running `aon serve --workers-only`; told to stop at the end, when its status must be one of ended."""
    out = open(data.folder.parent / f'worker-{time.monotonic_ns()}.log', 'w+b')
    process = p.subprocess.Popen([p.BINARY, 'serve', '--workers-only', *args, '--data', str(data.folder)],
                                 env=p.environment({**data.env, **(env or {})}), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    process.said = lambda: pathlib.Path(out.name).read_text(errors='replace')
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=PATIENCE)
        check(status in ended, 'the worker ended with', status, process.said())
        check('AddressSanitizer' not in process.said() and 'runtime error' not in process.said(), process.said())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        out.close()


def until(condition, *said):
    for _ in range(int(PATIENCE / 0.1)):
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise p.Wrong('it did not come about: ' + ' '.join(str(word() if callable(word) else word) for word in said))


def watch(data, bulk, *statuses):
    return data.run('watch', bulk, '--json').exits(*statuses).lines[-1]


def users(data):
    return sorted(row[0] for row in data.rows().get(('main', 'users'), []))


def files_said(data):
    return next(line for line in data.run('doctor').out.splitlines() if 'uploads that wait' in line).strip()


def no_file_left(data):
    check('files: 0 uploads that wait, 0 reports, 0 bytes' in files_said(data), files_said(data))
    left = [path.name for path in data.folder.iterdir() if path.name.startswith(('upload-', 'report-'))]
    same(left, [], 'files of uploads in the data folder')


# ---- the usual way ----


def an_upload_waits_and_is_done(folder):
    data = Data(folder / 'data')
    path = book(folder, 'people', ['a1', 'a2', 'a3'])
    bulk = queue(data, path)
    shown = p.result_shape(data.shown(bulk))
    same((shown['state'], shown['source'], shown['pack'], shown['operations']), ('queued', 'people.zip', 'workforce', 0))
    same([line['state'] for line in data.run('list', '--json', '--state', 'queued').exits(0).lines], ['queued'])
    data.run('show', bulk).exits(0).says('waiting for a worker')
    check('1 uploads that wait' in files_said(data), files_said(data))
    for name in data.folder.iterdir():
        check(b'pl4nted-s3cret' not in name.read_bytes(), 'the upload stands in clear in', name)
        same(stat.S_IMODE(name.stat().st_mode), 0o600, name)
    check(not data.store('main').exists(), 'a store was made before anybody worked')
    with worker(data) as one:
        same(watch(data, bulk, 0)['state'], 'committed')
        until(lambda: 'ended' in one.said(), one.said)
    lines = [line.split() for line in one.said().splitlines()]
    same([(line[1], line[2]) for line in lines], [('taken', bulk[:8]), ('ended', bulk[:8])], one.said())
    check('committed,' in lines[1], one.said())
    same(users(data), ['a1', 'a2', 'a3'])
    no_file_left(data)
    direct = Data(folder / 'direct')
    direct.imports(path).exits(0)
    same(users(direct), users(data))
    same(data.shown(bulk)['counts'], direct.listed()[0]['counts'])


def a_dry_run_waits_too(folder):
    data = Data(folder / 'data')
    bulk = queue(data, book(folder, 'people', ['a1']), '--dry-run')
    with worker(data):
        same(watch(data, bulk, 0)['state'], 'planned')
    check(data.run('diff', bulk, '--json').exits(0).lines, 'no difference is shown')
    same(users(data), [])
    no_file_left(data)


def what_is_wrong_is_told_with_a_report(folder):
    data = Data(folder / 'data')
    bulk = queue(data, book(folder, 'people', ['a1', 'a1']))
    garbage = folder / 'garbage.xlsx'
    garbage.write_bytes(b'no workbook at all')
    second = queue(data, garbage)
    with worker(data, '--json') as one:
        rejected = watch(data, bulk, 2)
        same(watch(data, second, 2)['state'], 'rejected')
        until(lambda: one.said().count('"ended"') == 2, one.said)
    check(all(json.loads(line)['event'] in ('taken', 'ended') for line in one.said().splitlines()), one.said())
    same(rejected['state'], 'rejected')
    check(any(error['code'] == 'duplicate' for error in rejected['errors']), rejected['errors'])
    report = folder / 'marked.xlsx'
    data.run('show', bulk, '--report', report).exits(0)
    check(zipfile.ZipFile(report).testzip() is None, 'the report is no workbook')
    same(stat.S_IMODE(report.stat().st_mode), 0o600)
    report.unlink()
    data.run('watch', bulk, '--report', report).exits(2)
    check(zipfile.ZipFile(report).testzip() is None, 'the report is no workbook')
    data.run('show', second, '--report', folder / 'none.xlsx').exits(1).says('keeps no report')
    check('0 uploads that wait, 1 reports' in files_said(data), files_said(data))
    check(not data.store('main').exists(), 'a rejected upload made a store')
    for name in data.folder.iterdir():
        check(b'pl4nted-s3cret' not in name.read_bytes(), 'the upload stands in clear in', name)


def what_cannot_be_queued(folder):
    data = Data(folder / 'data')
    path = book(folder, 'people', ['a1'])
    base = ('--pack', 'workforce', '--org', 'org1', '--queue')
    data.run('import', folder / 'people.d', *base).exits(1).says('zip')
    data.run('import', folder / 'nowhere.zip', *base).exits(1).says('no file')
    data.run('import', path, *base, '--report', 'x.xlsx').exits(1).says('aon show ID --report')
    data.run('import', path, '--pack', 'nosuchpack', '--org', 'org1', '--queue').exits(1)
    large = folder / 'large.zip'
    with open(large, 'wb') as file:
        file.truncate((100 << 20) + 1)
    data.run('import', large, *base).exits(1).says('at most 100 MiB')
    data.run('serve').exits(1).says('--workers-only')
    data.run('serve', '--workers-only', '--workers', '0').exits(1).says('from 1 to')
    same([line['state'] for line in data.listed()], [])


def the_same_again_is_queued_once(folder):
    data = Data(folder / 'data')
    path, other = book(folder, 'people', ['a1']), book(folder, 'others', ['a2'])
    bulk = queue(data, path, '--idempotency-key', 'k')
    same(queue(data, path, '--idempotency-key', 'k'), bulk)
    data.run('import', other, '--pack', 'workforce', '--org', 'org1', '--queue', '--idempotency-key', 'k').exits(1).says('other content')
    same(data.imports(path, '--idempotency-key', 'k').exits(0).json['state'], 'queued')  # the same upload, whichever way it came
    data.run('recover').exits(0)
    check('1 uploads that wait' in files_said(data), files_said(data))
    with worker(data):
        watch(data, bulk, 0)
    same(queue(data, path, '--idempotency-key', 'k'), bulk)
    same(len(data.listed()), 1)
    data.run('recover').exits(0)
    no_file_left(data)


def one_that_waits_is_cancelled(folder):
    data = Data(folder / 'data')
    bulk, other = queue(data, book(folder, 'people', ['a1'])), queue(data, book(folder, 'others', ['a2']))
    same(data.run('cancel', bulk, '--json').exits(0).json['state'], 'cancelled')
    same(watch(data, bulk, 3)['state'], 'cancelled')
    check('1 uploads that wait' in files_said(data), files_said(data))
    with worker(data):
        watch(data, other, 0)
    same(users(data), ['a2'])
    no_file_left(data)


def a_file_of_many_chunks(folder):
    data = Data(folder / 'data')
    path = book(folder, 'people', [f'u{n}' for n in range(50)], size=3 * CHUNK + 1)
    bulk = queue(data, path)
    check(str(path.stat().st_size) in files_said(data), files_said(data))
    with worker(data):
        same(watch(data, bulk, 0)['state'], 'committed')
    same(len(users(data)), 50)
    no_file_left(data)


def a_damaged_file_is_not_worked_on(folder):
    data = Data(folder / 'data')
    bulk = queue(data, book(folder, 'people', ['a1'], size=CHUNK))
    [(bytes_there,)] = data.sql('select bytes from file_chunks where chunk = 1', store='journal')
    data.sql('update file_chunks set bytes = ? where chunk = 1', bytes_there[:-40] + bytes(40), store='journal')
    with worker(data):
        failure = watch(data, bulk, 3)['failure']
    same(failure['code'], 'corrupt')
    same(users(data), [])
    no_file_left(data)


# ---- workers that can't ----


def another_worker_does_what_this_one_cannot(folder):
    own, none, other = folder / 'own', folder / 'none', folder / 'other'
    text = pathlib.Path(p.PACKS, 'workforce.lua').read_text().replace('name = "workforce"', 'name = "site"', 1)
    for packs in (own, none, other):
        packs.mkdir()
    (own / 'site.lua').write_text(text)
    (other / 'site.lua').write_text(text + '\n-- another one\n')
    data = Data(folder / 'data', {'AON_PACKS': own})
    bulk = queue(data, book(folder, 'people', ['a1']), '--pack', 'site')
    for wrong, code in (({'AON_PACKS': none}, 'unknown_pack'), ({'AON_PACKS': other}, 'other_pack'),
                        ({'AON_STORES_MAIN_URL': f'sqlite:{none}/main.db'}, 'other_store'),
                        ({'AON_STORES_MAIN_URL': 'postgresql://localhost/nothing'}, 'other_store')):
        with worker(data, env=wrong) as one:
            until(lambda: 'given_back' in one.said(), one.said)
            same(data.shown(bulk)['failure']['code'], code, one.said())
            time.sleep(1)
            same(one.said().count('given_back'), 1, 'it asks again and again:', one.said())
        same(data.shown(bulk)['state'], 'queued')
    check(not data.store('main').exists() and not (none / 'main.db').exists(), 'a worker that refused wrote to a store')
    later = queue(data, book(folder, 'later', ['a2']), '--pack', 'site')
    with worker(data, env={'AON_PACKS': none}) as unable, worker(data) as able:
        same(watch(data, bulk, 0)['failure'], None)
        watch(data, later, 0)
        check('taken' not in unable.said() and able.said().count('taken') == 2, unable.said(), able.said())
    same(users(data), ['a1', 'a2'])


def workers_of_one_organization(folder):
    data = Data(folder / 'data')
    path = book(folder, 'people', ['a1'])
    bulk = queue(data, path)
    other = data.run('import', path, '--pack', 'workforce', '--org', 'org2', '--queue').exits(0).out.strip()
    with worker(data, '--org', 'org2'):
        watch(data, other, 0)
        time.sleep(1)
        same(data.shown(bulk)['state'], 'queued')


def a_locked_one_is_tried_again(folder):
    data = Data(folder / 'data')
    path = book(folder, 'people', ['a1'])
    data.imports(path).exits(0)
    calls = calls_of(data.copy(folder / 'counted').imports(book(folder, 'first', ['a1'], **{'Employee Number': 'E1'}), env={'LOG_LEVEL': 'debug'}))
    at = max(n for n in range(1, len(calls)) if calls[n] == 'journal.log') + 1
    holder = data.start('import', folder / 'first.zip', '--pack', 'workforce', '--org', 'org1', env={'TEST_STOP_AT_CALL': at, 'LOG_LEVEL': 'debug'})
    check(p.stopped(holder), 'the holder did not stop')
    changed = book(folder, 'second', ['a1'], **{'Employee Number': 'E2'})
    bulk = queue(data, changed, '--lock-wait', '0')
    with worker(data) as one:
        until(lambda: 'given_back' in one.said(), one.said)
        same((data.shown(bulk)['state'], data.shown(bulk)['failure']['code']), ('queued', 'locked'))
        holder.send_signal(signal.SIGCONT)
        finish(holder).exits(0)
        same(watch(data, bulk, 0)['state'], 'committed')
    numbers = [json.loads(row[1]).get('employeeNumber') for row in data.rows()[('main', 'user_extension')]]
    same(numbers, ['E2'])


# ---- shutting down ----


def a_signal_finishes_or_gives_back(folder):
    data = Data(folder / 'data')
    calls = None
    for place in ('pack', 'journal.log', 'journal.batch'):
        copy = Data(folder / f'data-{place}')
        bulk = queue(copy, book(folder, f'people-{place}', ['a1', 'a2']))
        if calls is None:
            counted = copy.copy(folder / 'counted')
            with worker(counted, env={'LOG_LEVEL': 'debug'}) as one:
                watch(counted, bulk, 0)
                until(lambda: ' ended ' in one.said(), one.said)
            calls = worker_calls(one.said())
        names = [name for name in calls[1:]]
        at = {'pack': names.index('journal.file_get') + 2, 'journal.log': names.index('journal.log') + 2,
              'journal.batch': next(n for n, name in enumerate(names) if name.startswith('store.') and name.endswith('.begin')) + 2}[place]
        with worker(copy, env={'TEST_STOP_AT_CALL': at}) as one:
            check(p.stopped(one), 'it did not stop')
            one.send_signal(signal.SIGTERM)
            one.send_signal(signal.SIGCONT)
            same(one.wait(timeout=PATIENCE), 0, one.said())
            if place == 'journal.batch':
                check(' ended ' in one.said() and 'committed' in one.said(), one.said())
                same(copy.shown(bulk)['state'], 'committed')
            else:
                check('given_back' in one.said(), one.said())
                same((copy.shown(bulk)['state'], users(copy)), ('queued', []))
        with worker(copy):
            watch(copy, bulk, 0)
        same(users(copy), ['a1', 'a2'])
        no_file_left(copy)


def worker_calls(said):
    return [None] + [line.split(': ', 1)[1] for line in said.splitlines() if line.startswith('[DEBUG] call ')]


def a_second_signal_ends_it(folder):
    data = Data(folder / 'data')
    bulk = queue(data, book(folder, 'people', ['a1']))
    with worker(data, env={'TEST_STOP_AT_CALL': 12}, ended=(-signal.SIGTERM,)) as one:
        check(p.stopped(one), 'it did not stop')
        one.send_signal(signal.SIGTERM)
        one.send_signal(signal.SIGCONT)
        one.send_signal(signal.SIGTERM)
        one.wait(timeout=PATIENCE)
        if one.returncode == 0:  # both arrived as one
            one.returncode = -signal.SIGTERM
    with worker(data):
        watch(data, bulk, 0)


def several_processes(folder):
    data = Data(folder / 'data')
    bulks = [queue(data, book(folder, f'people{n}', [f'u{n}'])) for n in range(6)]
    with worker(data, '--workers', '3', '--json') as lead:
        for bulk in bulks[:3]:
            watch(data, bulk, 0)
        children = [int(pid) for pid in pathlib.Path(f'/proc/{lead.pid}/task/{lead.pid}/children').read_text().split()]
        same(len(children), 3)
        os.kill(children[0], signal.SIGKILL)
        for bulk in bulks[3:]:
            watch(data, bulk, 0, 3)
        until(lambda: 'another one is started' in lead.said(), lead.said)
        late = queue(data, book(folder, 'late', ['v1']))
        watch(data, late, 0)
    left = [pid for pid in children if pathlib.Path(f'/proc/{pid}').exists()]
    same(left, [], 'worker processes that outlived their parent')
    check('v1' in users(data), users(data))


# ---- dying ----


def queueing_dies_anywhere(folder):
    path = book(folder, 'people', ['a1', 'a2'], size=2 * CHUNK)
    data = Data(folder / 'data')
    queue(data, path)  # the journal is there
    bulk = data.listed()[0]['bulkOperationId']
    data.run('cancel', bulk).exits(0)
    counted = data.copy(folder / 'counted')
    calls = calls_of(counted.run('import', path, '--pack', 'workforce', '--org', 'org1', '--queue', env={'LOG_LEVEL': 'debug'}))
    same(calls.count('journal.file_put'), 3)
    submit, points = calls.index('journal.submit'), range(1, len(calls))
    queued = never = 0
    for at in points:
        copy = data.copy(folder / f'copy{at}')
        ran = copy.run('import', path, '--pack', 'workforce', '--org', 'org1', '--queue', env={'TEST_CRASH_AT_CALL': at, 'LOG_LEVEL': 'debug'})
        same(ran.status, -signal.SIGKILL, at)
        states = [line['state'] for line in copy.listed()]
        check(states in (['cancelled'], ['queued', 'cancelled']), at, calls[at], states)
        same(states[0] == 'queued', at > submit, at, calls[at])
        copy.run('recover').exits(0)
        if states[0] == 'queued':
            queued += 1
            with worker(copy):
                watch(copy, copy.listed()[0]['bulkOperationId'], 0)
            same(users(copy), ['a1', 'a2'])
        else:
            never += 1
        no_file_left(copy)
    return f'{len(points)} points: {never} never queued, {queued} queued whole'


def a_worker_dies_anywhere(folder):
    first = Data(folder / 'first')
    path = book(folder, 'people', ['a1', 'a2'])
    bulk = queue(first, path)
    counted = first.copy(folder / 'counted')
    with worker(counted, env={'LOG_LEVEL': 'debug'}) as one:
        watch(counted, bulk, 0)
        until(lambda: ' ended ' in one.said(), one.said)
    said = one.said()
    calls = worker_calls(said[:said.index(' ended ')])
    ends, again = {'committed': 0, 'rolled_back': 0}, 0
    points = sample(calls, 24)
    for at in points:
        copy = first.copy(folder / f'copy{at}')
        with worker(copy, env={'TEST_CRASH_AT_CALL': at, 'LOG_LEVEL': 'debug'}, ended=(-signal.SIGKILL,)) as one:
            one.wait(timeout=PATIENCE)
        with worker(copy) as other:
            ended = watch(copy, bulk, 0, 3)
            until(lambda: not [path for path in copy.folder.iterdir() if path.name.startswith('upload-')], other.said)
        ends[ended['state']] += 1
        same(users(copy), ['a1', 'a2'] if ended['state'] == 'committed' else [], at, calls[at], ended['state'])
        if ended['state'] == 'rolled_back':
            same(ended['failure']['code'], 'worker_lost')
        again += 'queued again' in other.said()
        no_file_left(copy)
    check(again and ends['committed'] and ends['rolled_back'], 'the sample is too small', ends, again)
    return f'{len(points)} points of {len(calls) - 1}: {ends}, queued again {again}'


def lost_too_often_it_ends(folder):
    data = Data(folder / 'data')
    bulk = queue(data, book(folder, 'people', ['a1']))
    for again in range(4):
        same(data.shown(bulk)['state'], 'queued', again)
        counted = data.copy(folder / f'counted{again}')
        with worker(counted, env={'LOG_LEVEL': 'debug'}) as one:
            watch(counted, bulk, 0)
        at = worker_calls(one.said()).index('journal.log')
        with worker(data, env={'TEST_CRASH_AT_CALL': at, 'LOG_LEVEL': 'debug'}, ended=(-signal.SIGKILL,)) as one:
            one.wait(timeout=PATIENCE)
        data.run('recover').exits(0)
    ended = data.shown(bulk)
    same((ended['state'], ended['failure']['code'], users(data)), ('rolled_back', 'worker_lost', []))
    left = lambda: [path.name for path in data.folder.iterdir() if path.name.startswith('upload-')]
    same(len(left()), 1)
    with worker(data):
        until(lambda: not left(), left)
    no_file_left(data)


def killed_and_frozen(folder, counted, data, uploads, kills):
    """Three workers on uploads that are queued first: one is frozen for longer than its lease and then goes on, of the others one is killed each
    second: each upload wholly in or out, none twice, and nothing of the frozen one's comes late."""
    bulk = queue(counted, book(folder, 'counted-people', [f'c{k:03}' for k in range(60)]))
    with worker(counted, env={'LOG_LEVEL': 'debug'}) as one:
        watch(counted, bulk, 0)
    at = next(n for n, name in enumerate(worker_calls(one.said())) if name and name.startswith('store.') and name.endswith('.begin'))
    data.env['AON_JOURNAL_LEASE'] = '8s'
    names = {}
    for n in range(uploads):
        ids = [f'u{n:02}x{k:03}' for k in range(60)]
        names[queue(data, book(folder, f'people{n}', ids))] = ids
    with contextlib.ExitStack() as stack:
        frozen, chance = stack.enter_context(worker(data, env={'TEST_STOP_AT_CALL': at})), random.Random(7)
        check(p.stopped(frozen), 'it did not stop')  # about to begin the transactions of its stores
        same((frozen.said().count('taken'), frozen.said().count('ended')), (1, 0), frozen.said())
        crew = [stack.enter_context(worker(data, ended=(0, -signal.SIGKILL))) for _ in range(2)]
        froze, killed = time.monotonic(), 0
        done = lambda: not [line for line in data.listed() if line['state'] not in p.TERMINAL]
        while not done() and killed < kills:
            victim = chance.randrange(2)
            crew[victim].kill()
            crew[victim].wait()
            killed += 1
            crew[victim] = stack.enter_context(worker(data, ended=(0, -signal.SIGKILL)))
            time.sleep(1)
        while time.monotonic() - froze < 10:
            time.sleep(0.5)
        until(done, lambda: [line['state'] for line in data.listed()])
        before = data.rows()
        frozen.send_signal(signal.SIGCONT)
        until(lambda: ' left ' in frozen.said(), frozen.said)  # it noticed
        time.sleep(1)
        same_rows(data.rows(), before, 'the frozen worker wrote late')
        late = queue(data, book(folder, 'late', ['v1']))
        watch(data, late, 0)
    there = set(users(data)) - {'v1'}
    ended = {bulk: data.shown(bulk)['state'] for bulk in names}
    for bulk, ids in names.items():
        inside = [name for name in ids if name in there]
        same(inside, ids if ended[bulk] == 'committed' else [], bulk, ended[bulk])
    check(set(ended.values()) <= {'committed', 'rolled_back'} and 'rolled_back' in ended.values(), ended)
    no_file_left(data)
    states = list(ended.values())
    return f'{killed} workers killed, one frozen; {states.count("committed")} committed, {states.count("rolled_back")} rolled back'


def three_workers_killed_and_frozen(folder):
    return killed_and_frozen(folder, Data(folder / 'counted'), Data(folder / 'data'), uploads=20, kills=12)


CASES = [an_upload_waits_and_is_done, a_dry_run_waits_too, what_is_wrong_is_told_with_a_report, what_cannot_be_queued, the_same_again_is_queued_once,
         one_that_waits_is_cancelled, a_file_of_many_chunks, a_damaged_file_is_not_worked_on, another_worker_does_what_this_one_cannot,
         workers_of_one_organization, a_locked_one_is_tried_again, a_signal_finishes_or_gives_back, a_second_signal_ends_it, several_processes,
         queueing_dies_anywhere, a_worker_dies_anywhere, lost_too_often_it_ends, three_workers_killed_and_frozen]

if __name__ == '__main__':
    sys.exit(p.run_cases('workers', CASES, sys.argv[1:]))
