#!/usr/bin/python3
"""The real program with `main` and its journal on a PostgreSQL that takes TLS: who is trusted, and who is told what to do.

    tests/servers/postgresql NAME --tls -- tests/servers/tls_test.py [CASE …]
"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import POSTGRESQL, PostgresqlJournal, PostgresqlMain, psql  # noqa: E402
from secured import certified  # noqa: E402
from served import SECRET, Served, check, p, same  # noqa: E402

CA = os.environ.get('AON_TEST_POSTGRESQL_CA')


class Both(Served):
    PLACES = (PostgresqlMain, PostgresqlJournal)

    def over_tls(self, key, options, host='localhost'):
        """The settings by which the program finds one of the two, with these options of its URL."""
        place = self.places[key]
        address = f'{place.url((host, place.address()[1]), f":{SECRET}")}?{"hostaddr=127.0.0.1&" if host != "localhost" else ""}{options}'
        return {name: address if value.startswith('postgresql:') else value for name, value in place.env(place.address()).items()}


def who_is_trusted(folder):
    data = Both(folder / 'data')
    book = p.first_book(folder / 'first')
    whole = f'sslmode=verify-full&sslrootcert={CA}'
    data.imports(book, env={**data.over_tls('main', whole), **data.over_tls('journal', whole)}).exits(0)
    same(psql('postgres', 'select ssl from pg_stat_ssl where pid = pg_backend_pid()').strip(), 't', 'the server of this test')
    found = data.run('doctor', '--json', env={**data.over_tls('main', ''), **data.over_tls('journal', ''), 'PGSSLMODE': 'verify-full', 'PGSSLROOTCERT': CA})
    text = '\n'.join(next(item for item in found.exits(0, 1).lines if item['name'] == 'main')['findings'])
    check(', TLS' in text, 'libpq\'s own variables name it too', text)


def turn_tls(how):
    psql('postgres', f'alter system set ssl = {how}')
    psql('postgres', 'select pg_reload_conf()')
    for _ in range(200):
        if psql('postgres', 'show ssl').strip() == how:
            return
        time.sleep(0.05)
    check(False, 'the server does not turn TLS', how)


def who_is_not(folder):
    """Each one for the store, then for the journal: nothing is done, and the sentence has the host and what to do."""
    data = Both(folder / 'data')
    data.imports(p.first_book(folder / 'first')).exits(0)
    before, book, stranger = data.rows(), p.second_book(folder / 'second'), certified(folder / 'stranger', 'localhost') / 'ca.pem'
    known = [bulk['bulkOperationId'] for bulk in data.listed()]
    wrong = [(f'sslmode=verify-full&sslrootcert={stranger}', 'localhost', ('localhost', 'certificate verify failed', 'sslrootcert')),
             (f'sslmode=verify-ca&sslrootcert={stranger}', 'localhost', ('localhost', 'certificate verify failed', 'sslrootcert')),
             (f'sslmode=verify-full&sslrootcert={CA}', 'db.example', ('db.example', 'does not match', 'Write the host')),
             (f'sslmode=verify-full&sslrootcert={folder}/none.pem', 'localhost', ('none.pem', 'sslrootcert'))]
    for key in data.places:
        for options, host, words in wrong:
            ran = data.imports(book, env={**data.over_tls(key, options, host), 'LOG_LEVEL': 'debug'}).exits(1).says('was not asked', *words)
            check(SECRET not in ran.out + ran.err, 'the password was said', ran)
    turn_tls('off')
    for key in data.places:
        data.imports(book, env=data.over_tls(key, f'sslmode=verify-full&sslrootcert={CA}')).exits(1).says('does not support SSL', 'Turn TLS on')
    turn_tls('on')
    p.same_rows(data.rows(), before, 'nothing was done')
    same([bulk['bulkOperationId'] for bulk in data.listed() if bulk['bulkOperationId'] not in known and bulk['state'] == 'committed'], [])


if __name__ == '__main__':
    if not (POSTGRESQL and CA):
        print('skipped: postgresql tls: no server; run it by tests/servers/postgresql … --tls')
        sys.exit(77)
    p.main('postgresql tls', [who_is_trusted, who_is_not])
