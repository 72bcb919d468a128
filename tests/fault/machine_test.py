#!/usr/bin/python3
"""The real program on a machine that fails: disks that fill up at any level, calls that end in EIO or ENOSPC, short writes, syncs that fail once,
workers stopped past their lease, wall clocks that jump, limits of files, sizes and memory.

    machine_test.py [NAME …]      names: only cases whose name holds one of them

Whatever happens: an exit status of those that are promised, a sentence where it is not 0, and after a recovery on a healthy machine every store is
wholly as before or holds the whole plan, as the journal says. AON_FULL=1 tries every call and every level, else a sample.
"""

import contextlib
import errno
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'cli'), str(HERE.parent / 'crash')]

import program as p  # noqa: E402
from crash_test import Point, import_point, second_upload, upload  # noqa: E402
from program import Data, Skip, check, finish, same, same_rows  # noqa: E402

SHIM = os.environ.get('AON_SHIM')
PROMISED = (0, 1, 3, 4, 5)
ENDS = ('committed', 'rolled_back', 'cancelled', 'rejected')
HOUR = 3600 * 1000


def shim(**asked):
    """The environment of a run under the shim."""
    if not SHIM or not os.path.exists(SHIM):
        raise Skip('AON_SHIM names no library')
    options = os.environ.get('ASAN_OPTIONS', '')
    env = {'LD_PRELOAD': SHIM, 'ASAN_OPTIONS': f'{options}:verify_asan_link_order=0'}
    env.update({f'FAULT_{name.upper()}': value for name, value in asked.items() if value is not None})
    return env


def judge(point, data, ran, where, statuses=PROMISED):
    """What the run said, and what a healthy machine makes of what it left. The state in the end."""
    ran.exits(*statuses)
    check(ran.status == 0 or ran.err.strip() or ran.out.strip(), where, 'it says nothing\n', ran)
    check(ran.status == 0 or 'aon: ' in ran.err or '"message"' in ran.out, where, 'no sentence\n', ran)
    said = re.search(r'"state":\s*"(\w+)"', ran.out)
    if (data.folder / 'journal.db').exists():
        point.recover(data, where)
    state = point.settled(data, where)
    if said and said[1] in ENDS:
        check(state == said[1] or (state is None and said[1] == 'rejected'), where, 'it said', said[1], 'and is', state, '\n', ran)
    if ran.status == 0:
        same(state, 'committed', where, '\n', ran)
    return state or 'never begun'


def add(ends, end):
    ends[end] = ends.get(end, 0) + 1


def told(ends):
    return ', '.join(f'{end} {count}' for end, count in sorted(ends.items()))


def some(count, most):
    """Numbers from 1 to count: all of them, or so many, the first and the last among them."""
    if p.FULL or count <= most:
        return list(range(1, count + 1))
    return sorted({1, count} | {1 + (count - 1) * i // (most - 1) for i in range(most)})


def calls_under_shim(point, args, folder, **asked):
    data, told_in = point.fresh(), folder / 'count'
    data.run(*args, env=shim(count=told_in, **asked)).exits(0)
    point.drop(data)
    return [int(word) for word in told_in.read_text().split()]


def each_call_fails(folder, kinds, most):
    point, args = second_upload(folder)
    ends, tried, of = {}, 0, 0
    for call, number, times in kinds:
        count = calls_under_shim(point, args, folder, call=call, path=str(folder))[0]
        check(count > 0, 'the shim saw no', call)
        of += count
        for n in some(count, most):
            data, where = point.fresh(), f'{call} {n} of {count}: {errno.errorcode.get(number, "short")}, {times or "all"} times'
            ran = data.run(*args, env=shim(call=call, at=n, times=times, errno=number, path=str(data.folder)))
            add(ends, judge(point, data, ran, where))
            point.drop(data)
            tried += 1
    return f'{tried} of {of} calls: {told(ends)}'


def a_call_fails_once(folder):
    return each_call_fails(folder, [(call, errno.EIO, 1) for call in ('read', 'write', 'sync', 'truncate', 'open')], 2)


def a_call_fails_for_ever(folder):
    return each_call_fails(folder, [(call, errno.EIO, 0) for call in ('read', 'write', 'sync', 'truncate', 'open')], 2)


def no_space_from_one_write_on(folder):
    return each_call_fails(folder, [('write', errno.ENOSPC, 0)], 4)


def a_sync_fails_once(folder):
    """The kernel calls a page clean after a sync that failed: who asks again hears that all is well. Nothing may be called done by that."""
    return each_call_fails(folder, [('sync', errno.EIO, 1)], 5)


def every_write_is_short(folder):
    point, args = second_upload(folder)
    data = point.fresh()
    ran = data.run(*args, env=shim(call='write', at=1, times=0, errno=0, path=str(data.folder)))
    same(judge(point, data, ran, 'short writes', (0,)), 'committed')


# ---- full disks ----

def small_disk(folder, size):
    if os.geteuid() != 0:
        raise Skip('only root can mount a small disk')
    disk = folder / 'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(disk)], capture_output=True).returncode:
        raise Skip('no small disk can be mounted here')
    return disk


def fill(disk, spare_bytes):
    free = os.statvfs(disk)
    with open(disk / 'filler', 'wb') as file:
        file.write(b'x' * max(0, free.f_bavail * free.f_bsize - spare_bytes))


def full_at_every_level(folder):
    """Journal, stores, their logs and the report lie on the small disk; so does what is read from standard input."""
    disk = small_disk(folder, '3m')
    try:
        whole = p.prepared(folder)
        book = p.second_book(folder / 'second')
        lines = ''.join(f'{{"store":"main","collection":"big","id":"{n}","operation":"create","data":{{"t":"{"x" * 5000}"}}}}\n' for n in range(12))
        ends, tried = {}, 0
        levels = range(0, 480, 4) if p.FULL else range(0, 480, 80)
        for spare in levels:
            for args, given in ((['import', book, '--pack', 'workforce', '--org', 'org1', '--json', '--report', disk / 'report.xlsx'], None),
                                (['apply', '-', '--json'], lines)):
                where = f'{args[0]} with {spare} KiB free'
                data = whole.copy(disk / 'd')
                point = Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})
                fill(disk, spare * 1024)
                ran = data.run(*args, given=given)
                (disk / 'filler').unlink()
                if ran.status != 0:
                    check(re.search('full|space|disk|room', (ran.out + ran.err).lower()), where, 'it does not say that the disk is full\n', ran)
                elif args[0] == 'import' and not (disk / 'report.xlsx').exists():
                    check(re.search('report', ran.err), where, 'no report, and it does not say so\n', ran)
                check(not list(data.folder.glob('*input-*')), where, 'the copy of standard input is left')
                add(ends, f'{args[0]} {judge(point, data, ran, where)}')
                shutil.rmtree(disk / 'd')
                (disk / 'report.xlsx').unlink(missing_ok=True)
                tried += 1
        check(len(ends) > 2, 'the levels do not reach from nothing to all', ends)
        return f'{tried} runs at {len(levels)} levels: {told(ends)}'
    finally:
        subprocess.run(['umount', str(disk)], check=False)


# ---- time ----

def the_wall_clock_jumps(folder):
    point, args = second_upload(folder)
    readings = calls_under_shim(point, args, folder, clock='1000000000:0')[1]
    ends, tried = {}, 0
    for ms in (HOUR, -HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR) if p.FULL else (HOUR, -30 * 24 * HOUR):
        for n in some(readings, 2):
            data, where = point.fresh(), f'the clock jumps by {ms // HOUR} h at reading {n} of {readings}'
            add(ends, judge(point, data, data.run(*args, env=shim(clock=f'{n}:{ms}')), where))
            point.drop(data)
            tried += 1
    check(set(ends) == {'committed'}, 'a clock that jumps costs at most a takeover, and nobody was there to take over', ends)
    return f'{tried} jumps: {told(ends)}'


def stopped_while_others_clocks_differ(folder):
    """A worker is stopped; another machine's clock, hours away, looks at its lease: whoever goes on, nobody does so twice."""
    point, args = second_upload(folder)
    ends = {}
    for ms in (HOUR, -HOUR):
        data, where = point.fresh(), f'stopped, and the other clock differs by {ms // HOUR} h'
        calls = p.calls_of(data.copy(folder / f'counted{ms}').run(*args, env={'LOG_LEVEL': 'debug'}).exits(0))
        process = data.start(*args, env={'TEST_STOP_AT_CALL': calls.index('journal.log'), 'AON_JOURNAL_LEASE': '30s', 'LOG_LEVEL': 'debug'})
        try:
            check(p.stopped(process), where, 'it did not stop')
            data.run('recover', env=shim(clock=f'1:{ms}')).exits(0, 4, 5)
            left = data.rows()
            same_rows(left, point.before, where)
            process.send_signal(signal.SIGCONT)
            late = finish(process)
        finally:
            process.kill()
        add(ends, f'{"later" if ms > 0 else "earlier"}: {judge(point, data, late, where)}')
        point.drop(data)
    return told(ends)


def stopped_at_any_time_past_its_lease(folder):
    point, args = second_upload(folder)
    chance, ends = random.Random(7), {}
    began = time.monotonic()
    point.fresh().run(*args).exits(0)
    length = time.monotonic() - began
    short = {'AON_JOURNAL_LEASE': '1s', **{f'AON_STORES_{name.upper()}_TIMEOUT': '100ms' for name in p.STORES}}
    for n in range(60 if p.FULL else 3):
        data, where = point.fresh(), f'stopped at any time, run {n}'
        data.env.update(short)
        process = data.start(*args)
        try:
            time.sleep(chance.random() * length)
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.2)
            if (data.folder / 'journal.db').exists():
                data.run('recover').exits(0, 5)
            process.send_signal(signal.SIGCONT)
            late = finish(process)
        finally:
            process.kill()
        add(ends, judge(point, data, late, where))
        point.drop(data)
    return told(ends)


# ---- limits ----

def limited(point, args, which, value, where, ends):
    data = point.fresh()
    ran = data.run(*args, preexec_fn=lambda: resource.setrlimit(which, (value, value)))
    add(ends, judge(point, data, ran, where))
    point.drop(data)


def few_open_files(folder):
    point, args = second_upload(folder)
    ends = {}
    levels = range(4, 40) if p.FULL else range(5, 40, 9)
    for most in levels:
        limited(point, args, resource.RLIMIT_NOFILE, most, f'{most} open files', ends)
    return f'{len(levels)} limits: {told(ends)}'


def files_of_limited_size(folder):
    point, args = second_upload(folder)
    ends = {}
    levels = range(0, 400, 8) if p.FULL else (0, 40, 100, 220)
    for kib in levels:
        limited(point, args, resource.RLIMIT_FSIZE, kib * 1024, f'files of {kib} KiB at most', ends)
    return f'{len(levels)} limits: {told(ends)}'


@contextlib.contextmanager
def plain_program():
    """Sanitizers want terabytes of address space, and malloc for themselves."""
    plain = os.environ.get('AON_PLAIN_BIN') or (p.BINARY if os.environ.get('AON_SANITIZED') != '1' else None)
    if not plain:
        raise Skip('AON_PLAIN_BIN names no program without sanitizers')
    usual, p.BINARY = p.BINARY, os.path.abspath(plain)
    try:
        yield
    finally:
        p.BINARY = usual


def little_memory(folder):
    """The address space, from what the program starts with upwards."""
    with plain_program():
        point, args = second_upload(folder)
        ends = {}
        started = next(mib for mib in range(20, 400) if starts_with(mib))
        levels = [started + step / 4 for step in range(0, 160, 1 if p.FULL else 16)]
        for mib in levels:
            limited(point, args, resource.RLIMIT_AS, int(mib * (1 << 20)), f'{mib} MiB of address space', ends)
        check({'committed', 'never begun'} <= set(ends), 'the limits do not reach from nothing to all', ends)
        return f'{len(levels)} limits from {started} MiB on: {told(ends)}'


def memory_shim(**asked):
    env = {'LD_PRELOAD': os.environ.get('AON_SHIM_MEMORY'), 'FAULT_CALL': 'allocate'}
    if not env['LD_PRELOAD'] or not os.path.exists(env['LD_PRELOAD']):
        raise Skip('AON_SHIM_MEMORY names no library')
    return {**env, **{f'FAULT_{name.upper()}': value for name, value in asked.items()}}


def no_memory_in_any_command(folder):
    """What the points don't reach: the configuration and its YAML, the words for people, templates, the report, each command that looks."""
    with plain_program():
        data = p.prepared(folder)
        bulk = data.imports(p.second_book(folder / 'second')).exits(0).json['bulkOperationId']
        (folder / 'aon.yaml').write_text('organization: org1\nstores:\n  main: {timeout: 5s}\n  extra: {url: "sqlite:%s/extra.db"}\n' % folder)
        Data(folder).sql('create table pets (id text primary key)', store='extra')
        point = import_point(folder, data)
        commands = [['list'], ['show', bulk], ['log', bulk], ['diff', bulk], ['locks', '--json'], ['doctor'], ['pack', 'show', 'workforce'],
                    ['pack', 'template', 'workforce', '--output', folder / 'template.xlsx'], ['undo', bulk, '--dry-run'],
                    ['import', p.first_book(folder / 'once-more'), '--pack', 'workforce', '--dry-run', '--report', folder / 'report.xlsx']]
        said, tried = {}, 0
        for args in commands:
            told_in = folder / 'count'
            looks = [*args, '--config', folder / 'aon.yaml'] if args[0] != 'pack' else args
            run = (lambda env: data.run(*looks, env=env)) if args[0] != 'pack' else (lambda env: p.aon(*looks, env=env))
            run(memory_shim(count=told_in)).exits(0)
            for times in (1, 0):
                for n in some(int(told_in.read_text().split()[0]), 4):
                    where = f'{args[0]}: allocation {n} fails, {times or "all"} times'
                    ran = run(memory_shim(at=n, times=times))
                    check(0 <= ran.status <= 6, where, '\n', ran)
                    check(ran.status == 0 or 'memory' in (ran.out + ran.err).lower(), where, 'it does not say why\n', ran)
                    check('damaged' not in ran.err and 'corrupt' not in ran.err, where, 'a file is blamed\n', ran)
                    add(said, f'exit {ran.status}')
                    tried += 1
            same_rows(data.rows(), point.before, args)
        return f'{tried} runs of {len(commands)} commands: {told(said)}'


def starts_with(mib):
    bound = mib << 20
    return p.aon('--version', preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound))).status == 0


CASES = [a_call_fails_once, a_call_fails_for_ever, no_space_from_one_write_on, a_sync_fails_once, every_write_is_short,
         full_at_every_level, the_wall_clock_jumps, stopped_while_others_clocks_differ, stopped_at_any_time_past_its_lease, few_open_files,
         files_of_limited_size, little_memory, no_memory_in_any_command]

if __name__ == '__main__':
    p.main('fault machine', CASES)
