#!/usr/bin/python3
"""The real program with `identity` on Google's emulator of Firebase Auth and the other stores on SQLite: the cases of served.py, accounts created,
changed, disabled, deleted and taken back, passwords.

    tests/servers/firebase-auth NAME -- tests/servers/firebase_auth_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lossy import Proxy  # noqa: E402
from places import STAMP, Identity  # noqa: E402
from secured import Secured  # noqa: E402
from served import SECRET, Cases, Served, check, crash, finish, p, same  # noqa: E402

PACK = ('--pack', 'workforce')
plain = Identity.plain


class Mixed(Served):
    PLACES = (Identity,)

    def at(self, *request):
        return self.places['identity'].at(*request)

    def users(self):
        return self.places['identity'].users()

    def documents(self):
        return self.places['identity'].planned()


cases = Cases(Mixed)
secured = Secured(cases)


def line(operation, name, data=None):
    return {'store': 'identity', 'collection': 'accounts', 'id': name, 'operation': operation, **({'data': data} if data is not None else {})}


def seeded(folder):
    (folder / 'data').mkdir()
    data = Mixed(folder / 'data')
    data.at('POST', '', {'localId': 'a', 'email': 'a@example.com', 'password': 'old-p4ssword', 'displayName': 'Anna'})
    data.at('POST', ':update', {'localId': 'a', 'customAttributes': '{"role":"chef","n":1}', 'emailVerified': True})
    data.at('POST', '', {'localId': 'b', 'email': 'b@example.com', 'phoneNumber': '+4712345678'})
    return data


def accounts_go_and_come_back(folder):
    data = seeded(folder)
    before = data.users()
    changes = [line('create', 'c', {'email': 'C@example.com', 'displayName': 'Carl', 'customClaims': {'role': 'cook'}}), line('update', 'b', {'phoneNumber': None, 'disabled': True}),
               line('delete', 'a')]
    bulk = data.apply(changes).exits(0).json['bulkOperationId']
    same(data.documents()['accounts'], {'c': {'uid': 'c', 'email': 'c@example.com', 'displayName': 'Carl', 'disabled': False, 'customClaims': {'role': 'cook'}},
                                        'b': {'uid': 'b', 'email': 'b@example.com', 'disabled': True}})
    data.run('undo', bulk, '--json').exits(0)
    same(data.documents()['accounts'], {name: plain(user) for name, user in before.items()}, 'taken back')
    check('passwordHash' not in data.users()['a'], 'a password that was deleted with its account is gone')


def a_rollback_gives_back_the_password_of_what_it_deleted(folder):
    data = seeded(folder)
    before = data.users()['a']
    data.apply([line('delete', 'a'), line('update', 'b', {'displayName': 'B'})], env={'TEST_ROLLBACK_AT_OPERATION': 1}).exits(3)
    after = data.users()['a']
    same(plain(after), plain(before), 'no stamp is left')
    same(after['passwordHash'], before['passwordHash'], 'set aside, not deleted')


def killed_while_deleting(folder):
    data = seeded(folder)
    before = data.documents()
    changes = [line('delete', 'a'), {'store': 'main', 'collection': 'c', 'id': 'x', 'operation': 'create', 'data': {'n': 1}}]
    (folder / 'changes').write_text(''.join(json.dumps(one) + '\n' for one in changes))
    def fresh(n):
        return data.copy(folder / f'copy{n}')
    counted = fresh('')
    calls = p.calls_of(counted.run('apply', folder / 'changes', '--json', *PACK, env=crash.COUNTED).exits(0))
    same(set(counted.users()), {'b'})
    ends = {}
    for n in [n for n in range(1, len(calls)) if p.FULL or calls[n].startswith('store.') and not calls[n].endswith(crash.QUIET)]:
        copy = fresh(n)
        copy.run('apply', folder / 'changes', '--json', *PACK, env={**crash.COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(crash.KILLED)
        copy.run('recover').exits(0)
        states = [bulk['state'] for bulk in copy.listed()]
        state = states[0] if states else None
        users = copy.documents()['accounts']
        check(users == {'b': before['accounts']['b']} if state == 'committed' else users == before['accounts'], state, calls[n], users)
        ends[state] = ends.get(state, 0) + 1
        copy.wipe()
    check(ends.get('committed') and ends.get('rolled_back'), ends)
    return f'{len(calls) - 1} calls, {ends}'


def what_auth_refuses_is_named(folder):
    data = seeded(folder)
    before = data.rows()
    for change, word in ((line('create', 'd', {'email': 'a@example.com'}), 'duplicate'), (line('create', 'a', {'email': 'z@example.com'}), 'duplicate'),
                         (line('update', 'b', {'email': 'a@example.com'}), 'duplicate'), (line('create', 'd', {'email': 'no address'}), 'refused'),
                         (line('create', 'd', {'nickname': 'x'}), 'unknown_property'), (line('create', 'd', {'password': SECRET}), '--pack'),
                         (line('create', 'd', {'uid': 'other'}), 'another uid'), (line('create', 'd', {'disabled': 1}), 'true or false'),
                         (line('create', 'd', {'displayName': 7}), 'needs texts'), (line('create', 'd', {'customClaims': 'x'}), 'an object for customClaims'),
                         (line('create', 'd', {'customClaims': {STAMP: 'x'}}), 'which Allornone writes itself'),
                         (line('create', 'd', {'customClaims': {'aon_set_aside': True}}), 'which Allornone writes itself'),
                         (line('create', 'd', {'customClaims': {'long': 'x' * 950}}), 'stamp: false'), (line('create', 'd\0e', {}), 'NUL'),
                         (line('create', 'x' * 129, {}), '1 to 128 bytes')):
        data.apply([line('create', 'e', {'email': 'e@example.com'}), change]).exits(2, 3).says(word)
        same(data.rows(), before, change)


def a_password_is_sent_once_and_never_said(folder):
    data = Mixed(folder / 'data')
    ran = data.apply([line('create', 'd', {'email': 'd@example.com', 'password': SECRET})], *PACK, env={'LOG_LEVEL': 'debug'}).exits(0)
    check(data.users()['d'].get('passwordHash'), 'it has no password')
    bulk = ran.json['bulkOperationId']
    said = ran.out + ran.err + ''.join(data.run(*args, env={'LOG_LEVEL': 'debug'}).out for args in (('log', bulk, '--json'), ('diff', bulk, '--json'), ('show', bulk)))
    check(SECRET not in said, 'the password was said')
    for path in data.folder.rglob('*'):
        check(path.is_dir() or SECRET.encode() not in path.read_bytes(), 'the password stands in', path)
    data.apply([line('create', 'w', {'email': 'w@example.com', 'password': 'x'})], *PACK).exits(3).says('WEAK_PASSWORD')
    same(set(data.users()), {'d'}, 'what was made for a password that is refused')
    same(ran.json['warnings'], [], 'a first password replaces none')
    other = data.apply([line('update', 'd', {'password': SECRET + '2'})], '--dry-run', *PACK).exits(0)
    same([warning['code'] for warning in other.json['warnings']], ['write_effect'], 'the old one is lost: said before anything is sent')
    check(SECRET not in other.out, 'the password was said')
    same(data.apply([line('update', 'd', {'displayName': 'D'})], '--dry-run', *PACK).exits(0).json['warnings'], [])


def an_account_with_a_password_is_made_in_two_steps(folder):
    """It is stamped from its first instant on, and whole or gone whichever of the two requests or replies is lost, and wherever the program is killed."""
    prepared = seeded(folder)
    before = prepared.documents()['accounts']
    (folder / 'lines').write_text(json.dumps(line('create', 'new', {'email': 'new@example.com', 'password': SECRET, 'customClaims': {'role': 'cook'}})) + '\n')
    args = ('apply', folder / 'lines', '--json', *PACK)

    def ended(data, ran, *where):
        data.run('recover').exits(0)
        [bulk], users = data.listed(), data.users()
        if bulk['state'] == 'committed':
            same(json.loads(users['new']['customAttributes']), {'role': 'cook', STAMP: bulk['bulkOperationId']}, where)
            check(SECRET in users['new'].get('passwordHash', ''), 'it lacks its password', where, ran)
        else:
            same(bulk['state'], 'rolled_back', where, ran)
            same(data.documents()['accounts'], before, where, ran)
        data.wipe()
        return bulk['state']

    def lost(lose, n):
        data, proxy = prepared.copy(folder / f'{lose}{n}'), Proxy(Identity.address(), n, lose, Identity.WRITES.search)
        ran = data.run(*args, env=data.through('identity', proxy.address)).exits(0, 3)
        proxy.close()
        return ended(data, ran, lose, n)

    def killed(n):
        data = prepared.copy(folder / f'killed{n}')
        ran = data.run(*args, env={**crash.COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(crash.KILLED)
        return ended(data, ran, calls[n]) if data.listed() else 'none'

    def killed_between():
        data, proxy = prepared.copy(folder / 'between'), Proxy(Identity.address(), 2, 'late', Identity.WRITES.search)
        process = data.start(*args, env=data.through('identity', proxy.address))
        check(proxy.kept.wait(60), 'it sent no second write')
        check('passwordHash' not in data.users()['new'], 'its password came with it')
        process.kill()
        proxy.cut()
        return ended(data, finish(process), 'killed between the two')

    counted, proxy = prepared.copy(folder / 'counted'), Proxy(Identity.address(), counts=Identity.WRITES.search)
    ran = counted.run(*args, env={**counted.through('identity', proxy.address), **crash.COUNTED}).exits(0)
    proxy.close()
    calls, said = p.calls_of(ran), []
    same((proxy.seen, ended(counted, ran)), (2, 'committed'), 'made, and then given its password')
    for lose in ('request', 'reply'):
        same(p.each((1, 2), lambda n: lost(lose, n)), {'committed': 2}, lose, 'is sent again, or seen to be done')
    same(killed_between(), 'rolled_back')
    return f'killed {p.each([n for n in range(1, len(calls)) if calls[n].startswith("store.identity")], killed)}'


def without_stamps(folder):
    """Nothing of ours stands among the claims; a password comes with its account, so claims come after it; doctor says what that costs."""
    data = Mixed(folder / 'data', {'AON_STORES_IDENTITY_STAMP': 'false'})
    account = {'email': 'd@example.com', 'password': SECRET, 'disabled': None, 'photoURL': ''}
    data.apply([line('create', 'd', account), line('create', 'e', {'customClaims': {'long': 'x' * 950}})], *PACK).exits(0)
    users = data.users()
    check(SECRET in users['d']['passwordHash'] and 'customAttributes' not in users['d'], users['d'])
    same(json.loads(users['e']['customAttributes']), {'long': 'x' * 950})
    data.apply([line('create', 'f', {'password': SECRET, 'customClaims': {'n': 1}})], *PACK).exits(2).says('in two steps')
    data.apply([line('create', 'f', {'customClaims': {'long': 'x' * 990}})]).exits(2).says('more than 1,000 bytes')
    data.run('doctor').exits(0).says('stamps: none')
    for url in ('firebase-auth:x', 'firebase-auth://', 'firebase-auth://a/b', 'firebase-auth://a?b'):
        data.run('doctor', env={'AON_STORES_IDENTITY_URL': url}).exits(1, 2).says('names no project')


def of_a_workbook(folder):
    """New accounts get their passwords, those that are there keep theirs; a dry run sends none; taken back, they are gone."""
    data, book = Mixed(folder / 'data'), p.first_book(folder / 'first')
    ran = data.imports(book, '--dry-run').exits(0)
    same(data.users(), {})
    said = ran.out + ran.err
    ran = data.imports(book, env={'LOG_LEVEL': 'debug'}).exits(0)
    same(ran.json['warnings'], [])
    users = data.users()
    same(sorted(users), [f'u{n}' for n in range(4)])
    for n in range(4):
        check(p.SECRET + str(n) in users[f'u{n}']['passwordHash'], 'another password than its own', users[f'u{n}'])  # the emulator only pretends to hash
    other = p.write_book(folder / 'other', {'Users': [{'User ID': 'u1', 'Name': 'One', 'Email': 'u1@example.com', 'Role': 'staff', 'Password': SECRET},
                                                      {'User ID': 'n1', 'Name': 'New', 'Email': 'n1@example.com', 'Role': 'staff'},
                                                      {'User ID': 'n2', 'Name': 'Newer', 'Email': 'n2@example.com', 'Role': 'staff', 'Password': SECRET + 'é'}]})
    ran = data.imports(other, env={'LOG_LEVEL': 'debug'}).exits(0)
    bulk, now = ran.json['bulkOperationId'], data.users()
    same([warning['code'] for warning in ran.json['warnings']], ['ignored'])
    same(now['u1']['passwordHash'], users['u1']['passwordHash'], 'an update changes no password')
    check('passwordHash' not in now['n1'] and SECRET + 'é' in now['n2']['passwordHash'], now)
    said += ran.out + ran.err + ''.join(data.run(*args, env={'LOG_LEVEL': 'debug'}).out for args in (('log', bulk, '--json'), ('diff', bulk, '--json'), ('show', bulk)))
    data.run('undo', bulk, '--json').exits(0)
    same({name: user['passwordHash'] for name, user in data.users().items()}, {name: user['passwordHash'] for name, user in users.items()})
    data.imports(other, env={'TEST_ROLLBACK_AT_OPERATION': 5}).exits(3)
    same(sorted(data.users()), sorted(users))
    held = data.imports(other, '--on-failure', 'hold', env={'TEST_ROLLBACK_AT_OPERATION': 0}).exits(6).json['bulkOperationId']
    said += data.run('resume', held, '--json').exits(0).out
    check(SECRET + 'é' in data.users()['n2']['passwordHash'], 'who goes on sends what was recorded')
    for secret in (SECRET, p.SECRET):
        check(secret not in said, 'a password was said')
        for path in data.folder.rglob('*'):
            check(path.is_dir() or secret.encode() not in path.read_bytes(), 'a password stands in', path)


def many_at_once(folder):
    data = Mixed(folder / 'data')
    lines = [line('create', f'k{i}', {'email': f'k{i}@example.com', 'displayName': f'Name {i}'}) for i in range(500)]
    bulk = data.apply(lines).exits(0).json['bulkOperationId']
    same(len(data.users()), 500)
    data.run('undo', bulk, '--json').exits(0)
    same(data.users(), {})


def doctor_tells(folder):
    data = seeded(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'identity'][0]
    text = '\n'.join(ours['findings'])
    check('class 5' in text and 'emulator' in text and 'password' in text and 'accounts set aside: 0 of 2' in text and ours['healthy'], text)
    data.at('POST', ':update', {'localId': 'b', 'disableUser': True, 'customAttributes': '{"aon_set_aside":true}'})
    data.run('doctor').exits(1).says('account b is set aside', 'aon recover', 'accounts set aside: 1 of 2')


CASES = [cases.workbooks_end_as_the_oracle_says, accounts_go_and_come_back, a_rollback_gives_back_the_password_of_what_it_deleted, killed_while_deleting,
         what_auth_refuses_is_named, a_password_is_sent_once_and_never_said,
         an_account_with_a_password_is_made_in_two_steps, without_stamps, of_a_workbook, many_at_once,
         cases.every_page_of_a_listing_is_read, cases.secrets_stay_in, cases.killed_at_calls, cases.killed_while_rolling_back,
         cases.replies_lost_at_calls, cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused, doctor_tells, secured.doctor_tells_the_clock,
         secured.a_token_that_is_refused_is_replaced_once, cases.late_writes,
         *cases.commands_killed('resume_killed')]

if __name__ == '__main__':
    if not os.environ.get(Identity.VARIABLE):
        print('skipped: firebase-auth program: no server; run it by tests/servers/firebase-auth')
        sys.exit(77)
    p.main('firebase-auth program', CASES)
