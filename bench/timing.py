"""Running programs and summing up what they took. No time is kept unless the program ended as expected."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess

LONGEST_RUN_S = 600
ROOT = pathlib.Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A program did not do what it was run for: its numbers would mean nothing."""


class Taken:
    """What one run of a program took, in milliseconds and KiB, and what it printed."""

    def __init__(self, took, output, errors, calls):
        self.status = took['status']
        self.wall, self.cpu, self.peak_kib = took['wall_ms'], took['user_ms'] + took['system_ms'], took['peak_kib']
        self.output, self.errors, self.calls = output, errors, calls

    def json(self):
        return json.loads(self.output)


class Machine:
    """Where programs are and where they run."""

    here = ROOT / 'bench'

    def __init__(self, build, data, peers):
        self.build, self.data, self.peers = build, data, peers

    def program(self, *names):
        return str(self.build.joinpath(*names))

    def without(self, peer):
        """Why a program of others is not there."""
        if not self.peers:
            return 'this run is without the programs of others'
        if (self.peers / f'{peer}.log').exists():
            return f'it could not be made here ({self.peers.name}/{peer}.log says why)'
        return 'it was not made (tools/setup --bench does that)'

    def fresh(self, name):
        """An empty folder for one run."""
        folder = self.data / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def forget(self, name):
        shutil.rmtree(self.data / name, ignore_errors=True)

    def run(self, command, status=0, environment=None, count_calls=False):
        """Runs COMMAND under bench/measure: what it took. Failed if it ends otherwise than with STATUS (-9: killed; None: any)."""
        self.data.mkdir(parents=True, exist_ok=True)
        result, calls = self.data / 'measured.json', self.data / 'calls.json'
        env = {name: value for name, value in os.environ.items() if not name.startswith(('AON_', 'TEST_', 'LOG_LEVEL', 'DEBUG_ATOMIC_OPS'))}
        env.update(environment or {})
        command = [str(word) for word in command]
        if count_calls:
            calls.unlink(missing_ok=True)
            env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
            command = ['env', f'LD_PRELOAD={self.program("bench", "count_calls.so")}', f'BENCH_CALLS={calls}', *command]
        try:
            ended = subprocess.run(
                [self.program('bench', 'measure'), str(result), *command],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_RUN_S,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f'{" ".join(command)}: not done after {LONGEST_RUN_S} s') from None
        if ended.returncode:
            raise Failed(f'measure: {ended.stderr.strip()}')
        took = json.loads(result.read_text())
        if status is not None and took['status'] != status:
            raise Failed(
                f'{" ".join(command)}: exit status {took["status"]}, expected {status}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}'
            )
        return Taken(took, ended.stdout, ended.stderr, json.loads(calls.read_text()) if count_calls else None)


def syncs(calls):
    return calls['fsync'] + calls['fdatasync']


def copy_durably(source, target):
    """Copies a file and waits until it is on the disk, so that nobody's run pays for it."""
    shutil.copyfile(source, target)
    with open(target, 'rb+') as file:
        os.fsync(file.fileno())


class Spread:
    """Median and extent of some values."""

    def __init__(self, values):
        values = sorted(values)
        self.count, self.low, self.high, self.median = len(values), values[0], values[-1], statistics.median(values)


def ratios(ours, theirs):
    """Ours to theirs, repetition by repetition: each pair was run one after the other."""
    return Spread([a / b for a, b in zip(ours, theirs, strict=True)])
