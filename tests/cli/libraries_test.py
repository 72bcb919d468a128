#!/usr/bin/python3
"""Libraries of servers: loaded by who needs them, told by name where they are missing or too old."""

import json
import pathlib
import shutil
import subprocess

import program as p
from program import Data, aon, check, same

SERVERS = {'libpq.so.5': ('libpq5', 'postgresql://nobody@127.0.0.1:1/none'), 'libmongoc-1.0.so.0': ('libmongoc-1.0-0', 'mongodb://127.0.0.1:1/none'),
           'libcurl.so.4': ('libcurl4', 'firebase-rtdb://127.0.0.1:1/?ns=none')}
LINE = json.dumps({'store': 'main', 'collection': 'notes', 'id': 'a', 'operation': 'create', 'data': {'n': 1}})


def loaded(folder, run):
    """The files of libraries that the loader opened while run(environment) ran, started by it too; and what it returns."""
    for old in folder.glob('loader.*'):
        old.unlink()
    ran = run({'LD_DEBUG': 'files', 'LD_DEBUG_OUTPUT': folder / 'loader'})
    text = ''.join(path.read_text(errors='replace') for path in folder.glob('loader.*'))
    check('libc.so' in text, 'the loader told nothing')
    return {word.split()[0].rstrip(';') for word in text.split('file=')[1:]}, ran


def stores_in_files_load_none(folder):
    data, book = Data(folder / 'd'), p.first_book(folder / 'book')
    for what, run in [('pack list', lambda env: aon('pack', 'list', env=env)), ('apply', lambda env: data.apply([json.loads(LINE)], env=env)),
                      ('import', lambda env: data.imports(book, env=env)), ('doctor', lambda env: data.run('doctor', env=env)),
                      ('list', lambda env: data.run('list', env=env))]:
        files, ran = loaded(folder, run)
        ran.exits(0)
        for name in SERVERS:
            check(name not in files, what, 'loads', name)


def with_store(folder, url):
    (folder / 'aon.yaml').write_text(f'stores:\n  far: {{url: "{url}"}}\n')
    line = json.dumps({**json.loads(LINE), 'store': 'far'})
    return lambda env: Data(folder / 'd').apply(line + '\n', '--config', folder / 'aon.yaml',
                                                env={'FIREBASE_DATABASE_EMULATOR_HOST': '127.0.0.1:1', **env})


def one_that_is_needed_is_loaded(folder):
    """The server isn't there, its library is."""
    for name, (_, url) in SERVERS.items():
        files, ran = loaded(folder, with_store(folder, url))
        check(ran.json['failure'] or ran.json['errors'], ran)
        check('library_missing' not in ran.out, ran)
        check(name in files, url, 'does not load', name)


def one_that_is_missing_or_too_old_is_named(folder):
    places = {'missing': folder / 'libraries', 'too old': folder / 'old-libraries'}
    for place in places.values():
        place.mkdir()
    compiler = shutil.which('cc')
    for name, (package, url) in SERVERS.items():
        (places['missing'] / name).write_text('no library\n')
        if compiler:
            subprocess.run([compiler, '-shared', '-x', 'c', '-', '-o', places['too old'] / name], input=b'int nothing;\n', check=True)
        for how, place in places.items():
            if (place / name).exists():
                ran = with_store(folder, url)({'LD_LIBRARY_PATH': place}).exits(1)
                ran.says('library_missing', 'far needs', name, f'Install the package {package}', 'newer' if how == 'too old' else "can't be loaded")
                same(aon('apply', '-', '--config', folder / 'aon.yaml', '--data', folder / how, '--json', given=LINE, env={'LD_LIBRARY_PATH': place}).json['state'],
                     'committed', 'other stores are not kept from their work')
                shutil.rmtree(folder / how, ignore_errors=True)


if __name__ == '__main__':
    p.main('cli libraries', [stores_in_files_load_none, one_that_is_needed_is_loaded, one_that_is_missing_or_too_old_is_named])
