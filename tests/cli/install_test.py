#!/usr/bin/python3
"""What `meson install` puts where, and that the installed program finds its packs. AON_BUILD names the build folder; --no-rebuild keeps this test from building."""

import os
import pathlib
import shutil
import subprocess

import program as p
from program import Skip, check, same


def installed(folder):
    build = os.environ.get('AON_BUILD')
    if not build or not shutil.which('meson'):
        raise Skip('AON_BUILD names no build folder, or meson is not installed')
    root = folder / 'root'
    ran = subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', str(root)], capture_output=True, text=True)
    same(ran.returncode, 0, ran.stdout, ran.stderr)
    return root


def one(root, pattern):
    found = sorted(root.rglob(pattern))
    check(found, 'not installed:', pattern)
    return found[0]


def the_usual_places(folder):
    root = installed(folder)
    binary = one(root, 'bin/aon')
    check(os.access(binary, os.X_OK), 'the program is not executable')
    prefix = binary.parents[1]
    check((prefix / 'share' / 'allornone' / 'packs' / 'workforce.lua').is_file(), 'the packs are not installed')
    for pattern in ('include/aon/aon.h', 'libaon.so*', 'pkgconfig/*.pc', 'man1/aon.1*', 'man1/aon-import.1*', 'completions/aon*', 'site-functions/_aon',
                    'vendor_completions.d/aon.fish'):
        one(root, pattern)
    moved = folder / 'moved'
    shutil.copytree(prefix, moved)
    for program in (binary, moved / 'bin' / 'aon'):
        env = {'AON_PACKS': None, 'LD_LIBRARY_PATH': str(next(iter(program.parents[1].rglob('libaon.so*'))).parent)}
        ran = p.finish(subprocess.Popen([str(program), 'pack', 'list', '--json'], env=p.environment(env), cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)).exits(0)
        check('workforce' in [line['name'] for line in ran.lines], 'the installed program does not find its packs', ran)
        check(all(pathlib.Path(line['file']).resolve().is_relative_to(program.parents[1].resolve()) for line in ran.lines), 'packs of another installation', ran)


CASES = [the_usual_places]

if __name__ == '__main__':
    p.main('install', CASES)
