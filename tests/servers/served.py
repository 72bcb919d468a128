"""A data folder with stores, or its journal, on servers; and the cases that every such folder has to pass with the real program.

A suite makes a subclass of Served that lists its places (places.py), and lists the bound methods of Cases. AON_FULL=1 tries every call, else a sample.
"""

import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / 'cli'), str(TESTS / 'crash'), str(TESTS / 'workforce')]

import compare  # noqa: E402
import crash_test as crash  # noqa: E402
import oracle  # noqa: E402
import program as p  # noqa: E402
from crash_test import upload  # noqa: E402
from lossy import Proxy  # noqa: E402
from places import STAMP, Place  # noqa: E402
from program import Data, Skip, calls_of, check, finish, same  # noqa: E402

SAMPLE = 4  # points of one kind in the short version
SECRET = 'pl4nted-p4ssw0rd'
TOUCHED = {'main': ('users', 'u1', 'email'), 'realtime': ('firebase:user', 'u1', 'email'), 'settings': ('firestore:organization-offdays', 'org1', 'days'),
           'identity': ('accounts', 'u0', 'displayName')}  # a document of each store, and a property, that the second workbook changes
UNTOUCHED = {'identity': ('photoURL', 'https://example.com/u0.png')}  # what it knows nothing of
ENDS = (0, 1, 3, 5)
PAGES = """return {name = 'pages', version = 1, collections = {{name = 'COLLECTION', store = 'STORE', id = 'uid'}}, sheets = {{name = 'S', collection = 'COLLECTION',
  columns = {{heading = 'ID', property = 'uid', type = 'id', id = true}, {heading = 'Value', property = 'NAME', type = 'text', required = true, unique = true}}}}}"""


class Served(Data):
    """Copies have copies of what stands on the servers."""
    PLACES = ()

    def __init__(self, folder, env=None, places=None):
        self.places = places or {kind.KEY: kind() for kind in self.PLACES}
        own = {name: value for place in self.places.values() for name, value in {**place.SETTINGS, **place.env(place.address())}.items()}
        super().__init__(folder, {**own, **(env or {})})
        self.own, self.exact = own, all(place.exact for place in self.places.values())

    def stores(self):
        return {key: place for key, place in self.places.items() if key != 'journal'}

    def through(self, key, where, password=''):
        return self.places[key].env(where, password)

    def rows(self):
        return {**super().rows(), **{(key, name): rows for key, place in self.stores().items() for name, rows in place.rows().items()}}

    def bare(self, rows):
        def of(row):
            return row if len(row) != 2 else (row[0], json.dumps({key: value for key, value in json.loads(row[1]).items() if key != STAMP}, sort_keys=True))

        return {name: [of(row) for row in found] if self.places.get(name[0], Place).stamps else found for name, found in rows.items()}

    def put(self, store, collection, name, document):
        return self.places[store].write(collection, name, document) if store in self.places else super().put(store, collection, name, document)

    def document(self, store, collection, name):
        return self.places[store].document(collection, name) if store in self.places else super().document(store, collection, name)

    def seed(self):
        """Documents that no import made: another organization's, and what is nobody's business."""
        if 'main' not in self.places:
            p.seed_foreign(self)
            return
        self.put('main', 'users', 'x1', {'userID': 'x1', 'organizationID': 'other', 'name': 'Else', 'email': 'u0@example.com', 'unknown': [1, None, {'a': 1.0}]})
        self.places['main'].seed()
        self.put('realtime', 'firebase:user', 'x1', {'name': 'Else'})

    def copy(self, to):
        shutil.copytree(self.folder, to)
        changed = {name: value for name, value in self.env.items() if self.own.get(name) != value}
        return type(self)(to, changed, {key: place.copy() for key, place in self.places.items()})

    def wipe(self):
        for place in self.places.values():
            place.wipe()


class Point(crash.Point):
    def settled(self, data, where):
        if any(place.watched for place in data.places.values()):
            for _ in range(40):
                if not data.run('locks', '--json').out:
                    break
                time.sleep(0.5)
                data.run('recover')
        state = super().settled(data, where)
        for place in data.places.values():
            place.clean(where)
        return state

    def drop(self, data):
        data.wipe()
        super().drop(data)


def true_to_its_word(ran, state, where):
    check(ran.status != 0 or state == 'committed', 'it said committed, but', state, where)
    check(ran.status != 3 or state != 'committed', 'it said rolled back, but', state, where)


def canonical(state):
    """As the specification's comparison sees it, ids that were made replaced by natural names; without stamps, and without the note of the embedded
    stand-in that an account has a password, which only Firebase knows."""
    for document in [document for tree in state.values() for documents in tree.values() for document in documents.values()]:
        for name in (*oracle.STAMPS, STAMP, 'hasPassword'):
            document.pop(name, None)
    return compare.canonical(state, lambda one: bool(compare.UUID.fullmatch(one)))


class Cases:
    def __init__(self, kind, env=None, sample=SAMPLE):
        self.kind, self.env, self.sample = kind, env or {}, sample
        self.keys = [place.KEY for place in kind.PLACES]
        self.stores = [key for key in self.keys if key != 'journal']

    def prepared(self, folder, env=None):
        data = self.kind(folder / 'prepared', {**self.env, **(env or {})})
        data.imports(p.first_book(folder / 'first')).exits(0)
        data.seed()
        return data

    def point(self, folder, env=None):
        data = self.prepared(folder, env)
        return Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()})

    @staticmethod
    def calls(point, args, env=None, status=0):
        return crash.counted(point, args, env, statuses=(status,))

    @staticmethod
    def last_operation(point, book):
        fresh = point.fresh()
        last = fresh.run(*upload(book)).exits(0).json['operations'] - 1
        point.drop(fresh)
        return last

    def rolled_back(self, point, folder):
        """A command, and the variable by which it writes to all stores and then fails."""
        if 'settings' not in self.stores:
            book = p.second_book(folder / 'second')
            return upload(book), {'TEST_ROLLBACK_AT_OPERATION': self.last_operation(point, book)}
        # In a workbook the documents of settings come last: lines of our own have one behind them that fails.
        changes = []
        for store in self.stores:
            collection, name, _ = TOUCHED[store]
            prop = 'displayName' if store == 'identity' else 'ours'
            changes += [{'store': store, 'collection': 'accounts' if store == 'identity' else 'c', 'id': f'k{n}', 'operation': 'create',
                         'data': {'displayName': 'K'} if store == 'identity' else {'n': n}} for n in range(3)]
            changes.append({'store': store, 'collection': collection, 'id': name, 'operation': 'update', 'data': {prop: 'ours'}})
        changes.append({'store': 'main', 'collection': 'c', 'id': 'x', 'operation': 'create', 'data': {}})
        (folder / 'changes').write_text(''.join(json.dumps(line) + '\n' for line in changes))
        return ['apply', folder / 'changes', '--json', '--pack', 'workforce'], {'TEST_ROLLBACK_AT_OPERATION': len(changes) - 1}

    # ---- workbooks ----

    def compared(self, data, book):
        """One workbook against the oracle, which also says what it must not make."""
        plain, around = compare.dump, dict(os.environ)
        compare.dump = lambda where: {**plain(where), **{key: found for key, place in data.stores().items() if (found := place.planned())}}
        os.environ.update({**data.env, 'AON_PACK': str(pathlib.Path(p.PACKS) / 'workforce.lua')})
        try:
            found, want, _ = compare.check(p.BINARY, book, data.folder)
        finally:
            compare.dump = plain
            os.environ.clear()
            os.environ.update(around)
        if 'identity' in data.places:
            found = [line for line in found if 'hasPassword' not in line]
        check(not found, book, '\n'.join(line[:200] for line in found[:10]))
        for key in data.places:
            check(not (data.folder / f'{key}.db').exists(), key, 'stands in a file too')
        return f'{book.name} {want["state"]}, {want["operations"]} operations'

    def workbooks_end_as_the_oracle_says(self, folder):
        shared, said = p.SHARED / 'workforce', []
        if not (shared / 'full.xlsx').exists():
            raise Skip(f'no workbooks in {shared}')
        for books in (['full.xlsx'], ['with-ids.xlsx', 'with-ids-second-upload.xlsx'], ['mistakes.xlsx']):
            data = self.kind(folder / books[0], self.env)
            for book in books:
                said.append(self.compared(data, shared / book))
        return '; '.join(said)

    def a_workbook_ends_as_in_embedded_stores(self, folder):
        """full.xlsx, or two workbooks of our own where it is missing: every document of every store as the same upload leaves it in SQLite."""
        full = p.SHARED / 'workforce' / 'full.xlsx'
        books = [full] if full.exists() else [p.first_book(folder / 'first'), p.second_book(folder / 'second')]
        states = []
        for data in (Data(folder / 'embedded'), self.kind(folder / 'mixed', self.env)):
            for book in books:
                timings = data.imports(book).exits(0).json['timings']
            served = getattr(data, 'stores', dict)()
            states.append(canonical({**compare.dump(data.folder), **{key: place.planned() for key, place in served.items()}}))
        found = compare.differences('', states[0], states[1], [])
        check(not found, '\n'.join(line[:200] for line in found[:10]))
        documents = sum(len(documents) for tree in states[0].values() for documents in tree.values())
        check(set(self.stores) <= set(states[0]), 'a store has no document', list(states[0]))
        told = f'{documents} documents, {timings["execute"]:.0f} ms to execute, {timings["finish"]:.0f} ms to finish'
        return f'{", ".join(book.name for book in books)}: {told}' + ('' if full.exists() else f' (skipped: full.xlsx: not in {full.parent})')

    def every_page_of_a_listing_is_read(self, folder):
        """More documents than any page holds: a workbook that names each value again is told of each one, and of nothing else."""
        key, count = self.stores[0], 1101
        data, name = self.kind(folder / 'data', self.env), 'email' if key == 'identity' else 'name'
        documents = {f'k{n:04}': {name: f'n{n}@example.com'} for n in range(count)}
        data.places[key].seed_many('accounts' if key == 'identity' else 'c', documents)
        (folder / 'pages.lua').write_text(PAGES.replace('STORE', key).replace('NAME', name).replace('COLLECTION', 'accounts' if key == 'identity' else 'c'))
        values = [document[name] for document in documents.values()] + ['new@example.com']
        book = p.write_book(folder / 'book', {'S': [{'Value': value} for value in values]})
        ran = data.run('import', book, '--pack', folder / 'pages.lua', '--org', 'org1', '--json').exits(2).json
        same((ran['errorCount'], {error['code'] for error in ran['errors']}), (count, {'duplicate'}))
        data.run('import', p.write_book(folder / 'fresh', {'S': [{'Value': values[-1]}]}), '--pack', folder / 'pages.lua', '--org', 'org1', '--json').exits(0)

    def doctor_knows_that_no_index_would_serve(self, folder, data, key):
        (folder / 'listed.lua').write_text(PAGES.replace('STORE', key).replace('NAME', 'name').replace("'COLLECTION', store", "'listed', organization = 'company', store")
                                           .replace('COLLECTION', 'listed').replace('version = 1,', "version = 1, organization = 'company',"))
        said = data.run('doctor', '--pack', folder / 'listed.lua').exits(0, 1).says(f'{key}/listed: pack pages looks up name among the documents of an organization, by company').out
        check('NO index serves that' in said and 'None would: it is listed in the order of its keys' in said and '.indexOn' in said, said)

    # ---- killed and lost ----

    def killed_at_calls(self, folder):
        point, args = self.point(folder), upload(p.second_book(folder / 'second'))
        return crash.die_everywhere(point, args, self.calls(point, args), count=2 * self.sample)

    def killed_while_rolling_back(self, folder):
        point = self.point(folder)
        args, env = self.rolled_back(point, folder)
        return crash.die_everywhere(point, args, self.calls(point, args, env, 3), env=env, count=2 * self.sample)

    def lost_at(self, point, key, lose, args, env, back):
        """What is lost is lost for good: nothing arrives late."""
        address, fresh = self.kind.PLACES[self.keys.index(key)].address(), point.fresh()
        proxy = Proxy(address)
        fresh.run(*args, env={**fresh.through(key, proxy.address), **env}).exits(3 if back else 0)
        calls = proxy.seen
        proxy.close()
        point.drop(fresh)

        def lost(n):
            copy, proxy, where = point.fresh(), Proxy(address, n, lose), f'{lose} {n} of {calls} to {key} lost'
            ran = copy.run(*args, env={**copy.through(key, proxy.address), **env}).exits(*ENDS)
            proxy.close()
            check(key != 'journal' or ran.status == (3 if back else 0), 'a single lost connection to the journal ended the run', where, ran)
            point.recover(copy, where)
            state = point.settled(copy, where)
            true_to_its_word(ran, state, where)
            point.drop(copy)
            return state

        step = 1 if p.FULL else max(1, len(self.keys) * calls // (2 * self.sample))
        return calls, p.each(range(1 if p.FULL else 1 + step // 2, calls + 1, step), lost)

    def lost_at_calls(self, folder, lose, env=None, back=False):
        """env: of the whole case; back: the run is rolled back."""
        point, said = self.point(folder, env), []
        args, more = self.rolled_back(point, folder) if back else (upload(p.second_book(folder / 'second')), {})
        for key in self.keys:
            calls, ends = self.lost_at(point, key, lose, args, more, back)
            check(back or ends.get('committed') or not p.FULL and len(self.keys) > 1, 'no lost connection was overcome', key, ends)
            said.append(f'{key} {calls} calls, {ends}')
        return '; '.join(said)

    def replies_lost_at_calls(self, folder):
        return self.lost_at_calls(folder, 'reply')

    def requests_lost_at_calls(self, folder):
        return self.lost_at_calls(folder, 'request')

    def replies_lost_while_rolling_back(self, folder):
        return self.lost_at_calls(folder, 'reply', back=True)

    # ---- the crash suite's other commands ----

    def of_crash(self, case, *args):
        """A case of the crash suite with this folder: a sample of its sample."""
        def run(folder):
            theirs = p.prepared, crash.Point, crash.SHARE
            p.prepared, crash.Point, crash.SHARE = self.prepared, Point, 0.2
            try:
                return case(folder, *args)
            finally:
                p.prepared, crash.Point, crash.SHARE = theirs

        run.__name__ = case.__name__
        return run

    def commands_killed(self, brief):
        """Recovery, undo, a forced failure, resume, and a person's choice about a document of the store that is on a server, or of a file where a
        transaction on the server keeps its own to itself until the decision. brief: the only one in the short version."""
        key = self.stores[0]
        visible = key if key != 'main' else 'settings'

        def changing(calls):
            names = dict.fromkeys(name for name in calls[1:] if name.startswith(f'store.{key}.') and name.endswith(('apply', 'commit', 'prepare', 'commit_prepared')))
            return [*((name, 0) for name in names), ('journal.move', -2), ('journal.move', -1)][0 if p.FULL else -3:]

        cases = [self.of_crash(crash.recovery_itself, changing), self.of_crash(crash.undo_killed), self.of_crash(crash.forced_failure_killed),
                 self.of_crash(crash.resume_killed), self.of_crash(crash.resolve_killed, [(visible, *TOUCHED[visible])])]
        return [case for case in cases if p.FULL or sys.argv[1:] or case.__name__ == brief]

    # ---- servers ----

    def stopped_before(self, point, args, n, env=None):
        copy = point.fresh()
        process = copy.start(*args, env={**crash.COUNTED, **(env or {}), 'TEST_STOP_AT_CALL': n})
        check(p.stopped(process), 'it did not stop before call', n)
        return copy, process

    def points(self, calls, keys, count):
        """Numbers of the calls to these stores, or the journal, that are not only looking; spread over the run."""
        names = tuple(f'{key}.' if key == 'journal' else f'store.{key}.' for key in keys)
        found = [n for n in range(1, len(calls)) if calls[n].startswith(names) and not calls[n].endswith(crash.QUIET)]
        step = max(1, len(found) // count)
        return found if p.FULL else found[step // 2::step]

    def servers_killed_in_the_middle(self, folder):
        """Killed and started again while the program stands before a call: it goes on, or ends and is recovered; never a part."""
        point, args, said = self.point(folder), upload(p.second_book(folder / 'second')), []
        calls = self.calls(point, args)
        servers = {kind.SERVER: [other.KEY for other in self.kind.PLACES if other.SERVER is kind.SERVER] for kind in self.kind.PLACES if kind.SERVER}
        for server, keys in servers.items():
            def killed(n):
                where = f'the server of {", ".join(keys)} was killed before call {n} ({calls[n]})'
                copy, process = self.stopped_before(point, args, n)
                server.kill()
                server.start()
                os.kill(process.pid, signal.SIGCONT)
                ran = finish(process).exits(*ENDS)
                point.recover(copy, where)
                state = point.settled(copy, where)
                true_to_its_word(ran, state, where)
                point.drop(copy)
                return f'{state}, exit {ran.status}'

            said.append(f'{", ".join(keys)}: {p.each(self.points(calls, keys, self.sample), killed)}')
        return '; '.join(said)

    def servers_out_of_reach(self, folder):
        """Every connection is cut and none is taken from some call on until the program has ended; then it is there again. In the short version
        only those that can't be killed, for they keep everything in memory."""
        point, args, said = self.point(folder), upload(p.second_book(folder / 'second')), []
        calls = self.calls(point, args)
        for kind in [kind for kind in self.kind.PLACES if p.FULL or not kind.SERVER]:
            def cut(n):
                where, proxy = f'{kind.KEY} out of reach from call {n} ({calls[n]}) on', Proxy(kind.address())
                copy = point.fresh()
                process = copy.start(*args, env={**copy.through(kind.KEY, proxy.address), **crash.COUNTED, 'TEST_STOP_AT_CALL': n,
                                                 **({f'AON_STORES_{kind.KEY.upper()}_TIMEOUT': '2s'} if kind.KEY != 'journal' else {})})
                check(p.stopped(process), 'it did not stop', where)
                proxy.cut()
                os.kill(process.pid, signal.SIGCONT)
                ran = finish(process)
                point.recover(copy, where)
                state = point.settled(copy, where)
                true_to_its_word(ran, state, where)
                point.drop(copy)
                return state

            said.append(f'{kind.KEY}: {p.each(self.points(calls, [kind.KEY], max(1, self.sample // len(self.keys))), cut)}')
        return '; '.join(said)

    # ---- foreign writes ----

    def foreign(self, data, key, prop, value):
        collection, name, _ = TOUCHED[key]
        data.put(key, collection, name, {**data.document(key, collection, name), prop: value})

    def taken_back_over_foreign_writes(self, folder):
        prepared = self.prepared(folder)
        for key in self.stores:
            data = prepared.copy(folder / f'of-{key}') if len(self.stores) > 1 else prepared
            (collection, name, prop), (other, value) = TOUCHED[key], UNTOUCHED.get(key, ('nickname', 'U'))
            before = data.document(key, collection, name)[prop]
            bulk = data.imports(p.second_book(folder / f'second-{key}')).exits(0).json['bulkOperationId']
            self.foreign(data, key, other, value)
            data.run('undo', bulk, '--json').exits(0)
            now = data.document(key, collection, name)
            same((now[other], now[prop]), (value, before), 'theirs stays, ours is taken back')
            bulk = data.imports(p.second_book(folder / f'third-{key}')).exits(0).json['bulkOperationId']
            self.foreign(data, key, prop, 'theirs')
            wanted = data.rows()
            data.run('undo', bulk, '--json').exits(2).says(name)
            p.same_rows(data.rows(), wanted, 'a refused undo changes nothing')
            data.run('undo', bulk, '--keep-theirs', f'{key}/{collection}/{name}', '--json').exits(0)
            same(data.document(key, collection, name)[prop], 'theirs')
            for place in data.places.values():
                place.clean(key)

    def a_foreign_write_between_plan_and_execution_is_refused(self, folder):
        point, args = self.point(folder), upload(p.second_book(folder / 'second'))
        calls = self.calls(point, args)
        for key in self.stores:
            _, name, prop = TOUCHED[key]
            theirs = point.fresh()  # other stores may have been written to by then: what is wanted is what was before, and the foreign write
            self.foreign(theirs, key, prop, 'theirs')
            wanted = theirs.rows()
            point.drop(theirs)
            copy, process = self.stopped_before(point, args, calls.index(f'store.{key}.apply'))
            self.foreign(copy, key, prop, 'theirs')
            os.kill(process.pid, signal.SIGCONT)
            ran = finish(process).exits(3).says('changed_meanwhile', name)
            same(ran.json['conflicts'], [], 'a write that was refused is nobody\'s conflict')
            p.same_rows(copy.rows(), wanted, 'all but the foreign write is as before', key)
            for place in copy.places.values():
                place.clean(key)

    # ---- late writes ----

    def late(self, point, kind, args, where, begin, let_go):
        """A run of which one write waits: others end it, then the write comes. What it did is gone when `aon recover` was there, which says so."""
        data = point.fresh()
        data.env.update(crash.FROZEN, **{f'AON_STORES_{kind.KEY.upper()}_TIMEOUT': '500ms', f'AON_STORES_{kind.KEY.upper()}_WATCH': '1h'})
        process = begin(data)
        try:
            time.sleep(1.2)  # its lease is over
            ran = data.run('recover').exits(0)
            bulk = next(bulk for bulk in data.listed() if bulk['bulkOperationId'] not in point.known)
            same(bulk['state'], 'rolled_back', where, ran)
            p.same_rows(data.rows(), point.before, where, 'was taken over')
            let_go(process)
            finish(process).exits(1).says('another worker has taken over')
        finally:
            process.kill()
        arrived, ran = data.rows() != point.before, data.run('recover').exits(0)
        same('A late write of bulk operation' in ran.err, arrived, where, 'what came late is told', ran)
        data.run('show', bulk['bulkOperationId']).exits(0).says('everything was put back')
        Point(point.folder, data, point.before, point.known).settled(data, where)
        point.drop(data)
        return 'taken back' if arrived else 'refused'

    def late_kept(self, point, kind, args, n):
        """By the network: the program stands still meanwhile, and then hears that it was done."""
        proxy = Proxy(kind.address(), n, 'late', kind.WRITES.search)

        def begin(data):
            process = data.start(*args, env=data.through(kind.KEY, proxy.address))
            check(proxy.kept.wait(60), 'it sent no write', n)
            os.kill(process.pid, signal.SIGSTOP)
            return process

        def let_go(process):
            proxy.released.set()
            check(proxy.done.wait(60), 'the server does not answer what came late')
            os.kill(process.pid, signal.SIGCONT)

        try:
            return self.late(point, kind, args, f'write {n} to {kind.KEY} came late', begin, let_go)
        finally:
            proxy.close()

    def late_frozen(self, point, kind, args, n):
        def begin(data):
            process = data.start(*args, env={**crash.COUNTED, 'TEST_STOP_AT_CALL': n})
            check(p.stopped(process), 'it did not stop before call', n)
            return process

        return self.late(point, kind, args, f'frozen before call {n}', begin, lambda process: os.kill(process.pid, signal.SIGCONT))

    def late_writes(self, folder):
        """Of a worker that stood still before it wrote, and of a network that kept a request, until others had ended the run; in stores that write
        documents one by one."""
        prepared, said = self.prepared(folder), []
        for kind in [kind for kind in self.kind.PLACES if kind.WRITES]:
            collection, prop = ('accounts', 'displayName') if kind.KEY == 'identity' else ('c', 'ours')
            for n in range(3):
                prepared.put(kind.KEY, collection, f'k{n}', {prop: f'first {n}'})
            lines = [{'store': kind.KEY, 'collection': collection, 'id': name, 'operation': what, 'data': {prop: 'late'}}
                     for what, name in [('update', f'k{n}') for n in range(3)] + [('create', f'new{n}') for n in range(2)]]
            if kind.KEY == 'identity':  # one that is made in two steps
                lines[-1]['data'] |= {'email': 'late@example.com', 'password': SECRET}
            (folder / 'lines').write_text(''.join(json.dumps(line) + '\n' for line in lines))
            args, point = ['apply', folder / 'lines', '--json', *(('--pack', 'workforce') if kind.KEY == 'identity' else ())], Point(folder, prepared, prepared.rows(), {bulk['bulkOperationId'] for bulk in prepared.listed()})
            calls, fresh, proxy = self.calls(point, args), point.fresh(), Proxy(kind.address(), counts=kind.WRITES.search)
            fresh.run(*args, env=fresh.through(kind.KEY, proxy.address)).exits(0)
            proxy.close()
            point.drop(fresh)
            check(proxy.seen, 'no request that writes was seen')
            applies = [n for n in range(1, len(calls)) if calls[n] == f'store.{kind.KEY}.apply']
            kept = range(1, proxy.seen + 1) if p.FULL else [proxy.seen]
            said.append(f'{kind.KEY}: frozen {p.each(applies, lambda n: self.late_frozen(point, kind, args, n))}, '
                        f'kept {p.each(kept, lambda n: self.late_kept(point, kind, args, n))}')
        return '; '.join(said)

    def to_be_rolled_back(self, folder, key):
        """Changes to documents of one store, and so many to one in a file that this one comes last: when it commits, all is decided."""
        last = 'realtime' if key == 'main' else 'main'
        collection, prop = ('accounts', 'displayName') if key == 'identity' else ('c', 'name')
        data = self.kind(folder / f'{key}-prepared', self.env)

        def line(operation, name, value=None):
            return {'store': key, 'collection': collection, 'id': name, 'operation': operation, **({'data': {prop: value}} if value else {})}

        data.apply([line('create', name, 'before') for name in ('same', 'other', 'alone', 'gone')]).exits(0)
        changes = [line('update', name, 'ours') for name in ('same', 'other', 'alone')] + [line('delete', 'gone'), line('create', 'new', 'ours')]
        changes += [{'store': last, 'collection': 'd', 'id': f'k{n}', 'operation': 'create', 'data': {'n': n}} for n in range(20)]
        (folder / f'{key}-changes').write_text(''.join(json.dumps(change) + '\n' for change in changes))
        return Point(folder, data, data.rows(), {bulk['bulkOperationId'] for bulk in data.listed()}), last, collection, prop

    def a_foreign_write_meets_a_rollback(self, folder):
        """Killed when all but the decision is done. Then somebody changes the property of one document that we changed, and another property of
        another one: the first is named and left alone, the second keeps theirs, and everything of ours is taken back. A store that has prepared
        its transaction lets nobody write until it is rolled back."""
        said = []
        for key in self.stores:
            point, last, collection, prop = self.to_be_rolled_back(folder, key)
            args, free = ['apply', folder / f'{key}-changes', '--json'], UNTOUCHED.get(key, ('nickname', 'theirs'))
            calls = self.calls(point, args)
            decision = calls.index(f'store.{last}.commit')
            written = max(n for n in range(decision) if calls[n] in [f'store.{key}.{call}' for call in ('apply', 'commit', 'prepare')])
            waits = calls[written].endswith('.prepare')

            def met(n):
                where, copy, after = f'{key}: killed before call {n} ({calls[n]})', point.fresh(), crash.overlaid(point.before, [])
                copy.run(*args, env={**crash.COUNTED, 'TEST_CRASH_AT_CALL': n}).exits(crash.KILLED)
                theirs = {name: {**copy.document(key, collection, name), **change} for name, change in (('same', {prop: 'theirs'}), ('other', dict([free])))}
                same([document[prop] for document in theirs.values()], ['theirs', 'before' if waits else 'ours'], where)

                def write():
                    for name, document in theirs.items():
                        copy.put(key, collection, name, document)

                writer = threading.Thread(target=write)
                writer.start()
                writer.join(1 if waits else None)
                same(writer.is_alive(), waits, where, 'a prepared transaction keeps others waiting, and nothing else does')
                copy.run('recover').exits(0 if waits else 4)
                writer.join()
                after[key, collection].update(same=theirs['same'], other={**after[key, collection]['other'], **dict([free])})
                same(crash.overlaid(copy.rows(), []), after, where, 'what they wrote stays, and all of ours is taken back')
                bulk = copy.listed()[0]
                same((bulk['state'], [(one['store'], one['collection'], one['documentId']) for one in bulk['conflicts']]),
                     ('rolled_back', []) if waits else ('rollback_failed', [(key, collection, 'same')]), where)
                if not waits:
                    same(copy.run('resolve', bulk['bulkOperationId'], 'all', '--keep-theirs', '--json').exits(0).json['state'], 'rolled_back', where)
                    same(crash.overlaid(copy.rows(), []), after, where, 'theirs was chosen')
                point.recover(copy, where)
                same(copy.run('locks', '--json').exits(0).out, '', 'locks are left', where)
                for place in copy.places.values():
                    place.clean(where)
                point.drop(copy)
                return bulk['state']

            points = range(written + 1, decision + 1) if p.FULL else [decision]
            said.append(f'{key}: {p.each(points, met)}')
        return '; '.join(said)

    # ---- several at once, secrets ----

    def several_at_once(self, folder):
        data, files, others = self.prepared(folder), [], [key for key in ('main', 'realtime', 'settings') if key in self.stores or key in ('main', 'realtime')]
        for n in range(4):
            lines = [{'store': store, 'collection': 'c', 'id': f'{n}-{i}', 'operation': 'create', 'data': {'n': i}} for i in range(50) for store in others]
            lines.append({'store': 'main', 'collection': 'c', 'id': 'shared', 'operation': 'upsert', 'data': {f'by{n}': True}})
            files.append(folder / f'{n}.ndjson')
            files[-1].write_text(''.join(json.dumps(line) + '\n' for line in lines))
        for process in [data.start('apply', path, '--json', '--lock-wait', '60') for path in files]:
            finish(process).exits(0)
        shared = data.document('main', 'c', 'shared')
        shared.pop('_bulkOperationId', None)
        same(shared, {f'by{n}': True for n in range(4)}, 'each one went by itself')
        rows = data.rows()
        same([len(rows[(store, 'c')]) for store in others], [201 if store == 'main' else 200 for store in others])
        for place in data.places.values():
            place.clean()

    def secrets_stay_in(self, folder):
        """Passwords of servers and of the workbook: in no line, file, list of processes or dump of memory, and in no database but Firebase's own."""
        data, said, book = self.prepared(folder), '', p.second_book(folder / 'second')
        with_passwords = {name: value for key, place in data.places.items()
                          for name, value in data.through(key, place.address(), SECRET if place.PASSWORDS else '').items()}
        calls = self.calls(Point(folder, data, {}, set()), upload(book))
        process = data.start(*upload(book), cwd=folder, env={**with_passwords, 'LOG_LEVEL': 'debug', 'TEST_STOP_AT_CALL': len(calls) // 2})
        check(p.stopped(process), 'it did not stop')
        proc = pathlib.Path('/proc', str(process.pid))
        said += (proc / 'cmdline').read_text() + ''.join(name.read_text() for name in proc.glob('task/*/comm'))
        core = next(line for line in (proc / 'limits').read_text().splitlines() if line.startswith('Max core file size'))
        same(core.split()[4:6], ['0', '0'], 'it may dump its memory', core)
        for opened in (proc / 'fd').iterdir():  # also files that have no name any more: the stage of the upload
            content = opened.read_bytes() if opened.is_file() else b''
            check(p.SECRET.encode() not in content or os.readlink(opened).startswith(str(book)), 'a password stands in', os.readlink(opened))
        os.kill(process.pid, signal.SIGCONT)
        ran = finish(process).exits(0)
        said += ran.out + ran.err
        bulk = ran.json['bulkOperationId']
        for args in (('doctor',), ('doctor', '--json'), ('pool',), ('show', bulk, '--json'), ('log', bulk, '--json'), ('diff', bulk), ('list', '--json')):
            ran = data.run(*args, env={**with_passwords, 'LOG_LEVEL': 'debug'})
            said += ran.out + ran.err
        for key in self.keys:
            hasty = {f'AON_STORES_{key.upper()}_TIMEOUT': '500ms', f'AON_STORES_{key.upper()}_POOL_CONNECT': '500ms'} if key != 'journal' else {}
            ran = data.run('doctor', env={**data.through(key, ('127.0.0.1', 1), SECRET), **hasty, 'LOG_LEVEL': 'debug'}).exits(1)
            said += ran.out + ran.err
        for secret in (SECRET, p.SECRET, 'Bearer'):
            check(secret not in said, 'a secret was said:', said[max(0, said.find(secret) - 300):][:400])
        kept = {str(path): path.read_bytes() for path in data.folder.rglob('*') if not path.is_dir()}
        kept.update({key: place.everything() for key, place in data.places.items()})
        for where, content in kept.items():
            for secret in (SECRET.encode(), p.SECRET.encode(), SECRET.encode().hex().encode(), p.SECRET.encode().hex().encode(), b'Bearer'):
                check(secret not in content, 'a secret stands in', where)
        same(list(folder.glob('core*')), [], 'a dump of memory')

    def addresses_keep_their_secrets(self, folder, variable, addresses):
        """Addresses that are none, or of no server."""
        data, said = self.prepared(folder), ''
        for args, address in [(args, address) for args in (('doctor',), ('doctor', '--json'), ('pool',), ('list',)) for address in addresses]:
            ran = data.run(*args, env={variable: address, 'LOG_LEVEL': 'debug'})
            said += ran.out + ran.err
        check(SECRET not in said, 'a password was said:', said[max(0, said.find(SECRET) - 300):][:400])
