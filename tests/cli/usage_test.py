#!/usr/bin/python3
"""Arguments, help, configuration: what the program says before it does anything."""

import json
import os
import re

import program as p
from program import Data, aon, check, keys, same

COMMANDS = ['import', 'serve', 'apply', 'sheet', 'list', 'show', 'log', 'diff', 'watch', 'rollback', 'undo', 'resume', 'recover', 'cancel', 'resolve', 'locks',
            'doctor', 'pool', 'journal rotate-key', 'journal migrate', 'pack list', 'pack check', 'pack show', 'pack template']
NO_ID = '00000000-0000-4000-8000-000000000000'


def every_command_has_help_with_an_example(folder):
    overview = aon('--help').exits(0).out
    for command in COMMANDS:
        check(f'\n  {command} ' in overview, command, 'is missing in --help')
        ran = aon(*command.split(), '--help').exits(0)
        check(re.search(r'\nExamples:\n  .*\baon ' + command, ran.out), 'no example in the help of', command, ran.out)
        for option in ('--data', '--json', '--help', '--config', '--user'):
            check(option in ran.out, option, 'is missing in the help of', command)
        same(ran.err, '')
        same(aon('help', *command.split()).exits(0).out, ran.out)
    for status in range(7):
        check(f'\n  {status}  ' in overview, 'exit status', status, 'is missing in --help')
    check(re.fullmatch(r'aon \d+\.\d+\.\d+\n', aon('--version').exits(0).out), 'no version')
    aon().exits(1).says('usage')


def wrong_arguments_are_refused(folder):
    for args, words in [(['imprt', 'x'], ['imprt', 'did you mean “import”']), (['import'], ['FILE', 'aon import --help']),
                        (['import', 'a', 'b'], ['“b”', 'too many']), (['list', '--stat', 'x'], ['--stat']), (['list', '-x'], ['-x']),
                        (['list', '--limit'], ['--limit', 'value']), (['list', '--json=1'], ['--json', 'no value']),
                        (['list', '--limit', '0'], ['--limit']), (['list', '--limit', 'x'], ['--limit']), (['list', '--limit', '5x'], ['--limit']),
                        (['list', '--state', 'done'], ['done', 'committed']), (['import', 'x', '--org', 'a', '--org', 'b'], ['--org', 'twice']),
                        (['apply', '-', '--lock-wait', 'soon'], ['--lock-wait', 'seconds']), (['apply', '-', '--lock-wait', '-1'], ['--lock-wait']),
                        (['apply', '-', '--on-failure', 'panic'], ['--on-failure', 'hold']), (['apply', '-', '--id', 'seven'], ['seven']),
                        (['pack'], ['pack']), (['pack', 'find'], ['pack']), (['show'], ['ID']), (['resolve', NO_ID], ['DOC']),
                        (['resolve', NO_ID, 'all'], ['--keep-theirs', '--force', '--merge']),
                        (['resolve', NO_ID, 'all', '--force', '--keep-theirs'], ['--keep-theirs', '--force']),
                        (['rollback', NO_ID, '--range', '5'], ['--range']), (['rollback', NO_ID, '--range', '5-2'], ['--range']),
                        (['pack', 'template', 'workforce'], ['-o'])]:
        ran = aon(*args, cwd=folder, given='').exits(1)
        same(ran.out, '', args)
        ran.says(*words)
    check(not list(folder.iterdir()), 'a refused command left files', list(folder.iterdir()))


def options_are_gnu_style(folder):
    data = Data(folder / 'd')
    book = p.first_book(folder / 'book')
    for args in (['--pack=workforce', '--org=org1', '--dry-run'], ['-p', 'workforce', '-o', 'org1', '-n'], ['-pworkforce', '-oorg1', '-n']):
        same(aon('import', *args, '--json', f'--data={data.folder}', book).exits(0).json['state'], 'planned')
    same(aon('import', '-p', 'workforce', '-n', '-o', 'org1', '--json', '--data', data.folder, '--', book).exits(0).json['state'], 'planned')
    p.write_book(folder / '--odd', {'Users': [{'Name': 'A', 'Email': 'a@example.com', 'Role': 'staff'}]})
    same(aon('import', '-p', 'workforce', '-n', '-o', 'org1', '--json', '--data', data.folder, '--', '--odd', cwd=folder).exits(0).json['state'], 'planned')


def a_report_with_macros_keeps_its_ending(folder):
    book = folder / 'book.xlsm'
    book.write_bytes(b'')
    aon('import', book, '--pack', 'workforce', '--org', 'o', '--report', folder / 'marked.xlsx', cwd=folder).exits(1).says('--report', '.xlsm')
    check(not (folder / 'aon-data').exists(), 'a refused option made the data folder')


def ids_that_are_not_there(folder):
    data = Data(folder / 'd')
    for command in ('show', 'log', 'diff', 'watch', 'rollback', 'undo', 'resume', 'cancel', 'recover'):
        for given in (NO_ID, 'abcd'):
            check(data.run(command, given).exits(1).err.startswith('aon: '), command)
    check(not (folder / 'd').exists(), 'a command that found nothing made the data folder')
    data.apply([{'store': 'main', 'collection': 'c', 'id': 'a', 'operation': 'create', 'data': {'n': 1}}]).exits(0)
    for command in ('show', 'log', 'diff', 'watch', 'rollback', 'undo', 'resume', 'cancel', 'recover'):
        data.run(command, NO_ID).exits(1).says(NO_ID)
        data.run(command, 'not-an-id').exits(1)


def option_before_environment_before_file_before_default(folder):
    book = p.write_book(folder / 'book', {'Users': [{'User ID': 'u1', 'Name': 'A', 'Email': 'a@example.com', 'Role': 'staff'}]})
    (folder / 'aon.yaml').write_text('version: 1\ndata: ./from-file\norganization: file-org\nuser: file-user\n')

    def run(env, *args):
        result = aon('import', book, '--pack', 'workforce', '--json', *args, env=env, cwd=folder).exits(0).json
        return result['organization'], result['user'], next(name.name for name in folder.iterdir() if name.is_dir() and name.name != 'book')

    def again():
        for path in folder.iterdir():
            if path.is_dir() and path.name != 'book':
                __import__('shutil').rmtree(path)

    same(run({}), ('file-org', 'file-user', 'from-file'))
    again()
    env = {'AON_DATA': 'from-env', 'AON_ORGANIZATION': 'env-org', 'AON_USER': 'env-user'}
    same(run(env), ('env-org', 'env-user', 'from-env'))
    again()
    same(run(env, '--data', 'from-option', '--org', 'option-org', '--user', 'option-user'), ('option-org', 'option-user', 'from-option'))
    again()
    (folder / 'aon.yaml').unlink()
    aon('import', book, '--pack', 'workforce', cwd=folder).exits(1).says('--org')
    result = aon('import', book, '--pack', 'workforce', '--org', 'o', '--json', cwd=folder).exits(0).json
    check((folder / 'aon-data' / 'main.db').exists(), 'the default data folder is aon-data')
    same((folder / 'aon-data').stat().st_mode & 0o777, 0o700, 'mode of the data folder')
    same((folder / 'aon-data' / 'journal.key').stat().st_mode & 0o777, 0o600, 'mode of the key')
    check(result['user'], 'no user')


def files_of_configuration(folder):
    sub = folder / 'sub'
    sub.mkdir()
    (sub / 'other.yaml').write_text(f'data: ./here\npacks: [{p.PACKS}]\nstores:\n  extra: {{url: "sqlite:extra.db", create: true}}\n')
    line = json.dumps({'store': 'extra', 'collection': 'c', 'id': 'a', 'operation': 'create', 'data': {'n': 1}})
    aon('apply', '-', '--config', 'sub/other.yaml', cwd=folder, given=line).exits(0)
    check((sub / 'extra.db').exists() and (sub / 'here' / 'journal.db').exists(), 'relative paths start at the folder of the file')
    aon('list', cwd=folder, env={'AON_CONFIG': 'sub/other.yaml'}).exits(0).says('committed')
    aon('apply', '-', '--config', 'sub/other.yaml', cwd=folder, given=line.replace('"a"', '"b"'),
        env={'AON_STORES_EXTRA_URL': f'sqlite:{folder}/moved.db', 'AON_STORES_EXTRA_CREATE': 'true'}).exits(0)
    check((folder / 'moved.db').exists(), 'the environment names the store')
    aon('list', '--config', 'none.yaml', cwd=folder).exits(1).says('none.yaml')


WRONG = [('stores:\n  main: {exclusive: true}\n', 2, 'no meaning for a SQLite store'), ('stores:\n  main: {horizon: 30s}\n', 2, 'horizon'),
         ('stores:\n  main: {pool: {max: 20}}\n', 2, 'pool'), ('version: 2\n', 1, 'version'), ('version: 1\ndate: x\n', 2, 'did you mean “data”'), ('version: 1\n\njournal:\n  retenton: 7d\n', 4, 'journal.retenton'),
         ('data: a\norganization: b\ndata: c\n', 3, 'data'), ('journal: {retention: 7 days}\n', 1, '7 days'), ('journal: {retention: -1d}\n', 1, '-1d'),
         ('journal:\n  reserve: 16MB\n', 2, '16MB'), ('stores:\n  main: {url: "oracle:x"}\n', 2, 'oracle'), ('stores:\n  main: {url: "x"}\n', 2, 'x'),
         ('stores:\n  main: {urls: "sqlite:x"}\n', 2, 'urls'), ('stores:\n  main: {create: maybe}\n', 2, 'maybe'), ('stores:\n  "a b": {url: "sqlite:x"}\n', 2, 'a b'),
         ('stores:\n  more: {create: true}\n', 2, 'url'), ('version: 1\ndata: [a\n', 3, ''), ('version: 1\n\tdata: a\n', 2, ''), ('- a\n', 1, ''),
         ('data: {a: b}\n', 1, 'data'), ('batch: 0\n', 1, '0'), ('batch: many\n', 1, 'many'), ('packs: x\n', 1, 'packs'),
         ('stores:\n  main: "sqlite:x"\n', 2, 'main'), ('journal: {url: "mysql://x"}\n', 1, 'mysql'), ('data: &a x\norganization: *b\n', 2, ''),
         ('stores:\n  identity:\n    url: "firebase-auth://p"\n    exclusive: true\n', 4, 'Realtime Database only'),
         ('stores:\n  identity:\n    url: "firebase-auth://p"\n    horizon: 1s\n    void_stamp: true\n', 5, 'no conditions'),
         ('stores:\n  main: {url: "mongodb://h/d", exclusive: true}\n', 2, 'Realtime Database only'),
         ('stores:\n  main: {transaction: {bytes: 1MiB}}\n', 2, 'MongoDB only'),
         ('stores:\n  main: {url: "mongodb://h/d", transaction: {beyond: maybe}}\n', 2, 'split or refuse'),
         ('stores:\n  main:\n    keys: {orders: [region, number]}\n', 3, 'MongoDB only'),
         ('stores:\n  main: {url: "mongodb://h/d", keys: [region]}\n', 2, 'must name collections'), ('stores:\n  main: {url: "mongodb://h/d", keys: orders}\n', 2, 'must name collections'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      a: [b]\n      orders: number\n', 6, '“orders”'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: [number, {a: b}]\n', 5, 'list of properties'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: []\n', 5, 'at least one'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: [a, b.c]\n', 5, 'dot'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: [a, _id]\n', 5, '_id'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: [a, b, a]\n', 5, 'twice'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      sales.orders: [a]\n      sales.orders: [b]\n', 6, 'sales.orders'),
         ('stores:\n  main:\n    url: "mongodb://h/d"\n    keys:\n      orders: [a, b, c, d, e, f, g, h, i]\n', 5, 'at most 8'),
         ('limits:\n  rows: 1e3\n', 2, '1e3'), ('version: 1\n--- \nversion: 1\n', 2, '')]


def wrong_configuration_is_named_by_line(folder):
    path = folder / 'aon.yaml'
    for text, line, word in WRONG:
        path.write_text(text)
        ran = aon('list', cwd=folder).exits(1)
        check(re.match(rf'aon: aon\.yaml:{line}: ', ran.err) and word in ran.err, f'wanted line {line} and {word!r} for {text!r}:', ran.err)
    path.write_bytes(b'data: \xff\xfe\n')
    aon('list', cwd=folder).exits(1).says('aon.yaml')
    path.write_bytes(b'#' * (2 << 20))
    aon('list', cwd=folder).exits(1).says('aon.yaml')
    path.unlink()
    for name, value in [('AON_JOURNAL_RETENTION', 'soon'), ('AON_BATCH', '-1'), ('AON_STORES_MAIN_URL', 'ftp:x'), ('AON_STORES_MAIN_CREATE', 'yes'),
                        ('LOG_LEVEL', 'loud'), ('TEST_ROLLBACK_AT_OPERATION', 'x'), ('TEST_ROLLBACK_USER_INDEX', '-1'), ('TEST_CRASH_AT_CALL', 'x'),
                        ('TEST_ROLLBACK_AT_OPERATION', '1.5'), ('TEST_STOP_AT_CALL', '-2')]:
        ran = aon('list', cwd=folder, env={name: value}).exits(1)
        check(ran.err.startswith(f'aon: {name}: ') and value.split(':')[0] in ran.err, name, ran.err)
    empty = folder / 'empty.yaml'
    empty.write_text('')
    aon('list', '--config', empty, cwd=folder).exits(0)
    (folder / 'comment.yaml').write_text('# nothing yet\n')
    aon('list', '--config', folder / 'comment.yaml', cwd=folder).exits(0)


def packs_from_the_command_line(folder):
    data = Data(folder / 'd')
    listed = {line['name']: line for line in data.run('pack', 'list', '--json').exits(0).lines}
    check('workforce' in listed, listed)
    keys(listed['workforce'], {'name': str, 'title': str, 'file': str})
    data.run('pack', 'list').exits(0).says('workforce')
    keys(data.run('pack', 'check', 'workforce', '--json').exits(0).json, {'pack': str, 'valid': bool, 'collections': int})
    data.run('pack', 'check', 'workforce').exits(0).says('workforce')
    data.run('pack', 'show', 'workforce').exits(0).says('Users', 'departments')
    json.loads(data.run('pack', 'show', 'workforce', '--json').exits(0).out)
    same(data.run('pack', 'show', 'workforce', 'departmentindexes', 'dept1:org1', '--json').exits(0).json,
         {'store': 'main', 'collection': 'departmentindexes', 'documentId': 'dept1:org1',
          'query': {'departmentID': 'dept1', 'organizationID': 'org1'}, 'path': None})
    same(data.run('pack', 'show', 'workforce', 'firebase:user', 'user123', '--json').exits(0).json['path'], '/user/user123')
    same(data.run('pack', 'show', 'workforce', 'firestore:organization-offdays', 'org123', '--json').exits(0).json['path'],
         'organizations/org123/settings/offDays')
    data.run('pack', 'show', 'workforce', 'cars', 'x').exits(1, 2).says('cars')
    data.run('pack', 'check', 'workfarce').exits(1).says('workfarce')
    bad = folder / 'bad.lua'
    bad.write_text('return {\n  name = "bad",\n  sheets = 7 +\n}\n')
    data.run('pack', 'check', bad).exits(1).says('bad.lua:4')
    bad.write_text('return 7\n')
    data.run('pack', 'check', bad).exits(1).says('bad.lua')
    bad.write_bytes(b'\x1bLua')
    data.run('pack', 'check', bad).exits(1).says('bad.lua')
    bad.write_text('io.open("/etc/passwd")\nreturn {}\n')
    data.run('pack', 'check', bad).exits(1).says('bad.lua:1')
    bad.write_text('while true do end\n')
    data.run('pack', 'check', bad).exits(1).says('bad.lua:1')
    check(not (folder / 'd').exists(), 'looking at packs made the data folder')


def output_that_cannot_be_written(folder):
    data = Data(folder / 'd')
    data.apply([{'store': 'main', 'collection': 'c', 'id': 'a', 'operation': 'create', 'data': {'n': 1}}]).exits(0)
    with open('/dev/full', 'w') as full:
        process = __import__('subprocess').Popen([p.BINARY, 'list', '--data', data.folder], env=p.environment(None), stdout=full,
                                                 stderr=__import__('subprocess').PIPE)
        err = process.communicate()[1].decode()
    same(process.returncode, 1)
    check('standard output' in err, err)
    check(os.path.exists('/dev/full'))


CASES = [every_command_has_help_with_an_example, wrong_arguments_are_refused, options_are_gnu_style, a_report_with_macros_keeps_its_ending, ids_that_are_not_there,
         option_before_environment_before_file_before_default, files_of_configuration, wrong_configuration_is_named_by_line, packs_from_the_command_line,
         output_that_cannot_be_written]

if __name__ == '__main__':
    p.main('usage', CASES)
