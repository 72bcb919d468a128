"""Where a data folder keeps one of its four stores, or its journal, on a server: one class for each kind of server and use.

A place is a database (project, namespace) of its own. KEY says which store it is, or that it is the journal. It knows the settings by which
the program finds it (through a proxy too), how to look into it behind the program's back, how to copy and to remove it, and, where what it
keeps outlives its server, how that is killed and started again.
"""

import glob
import http.client
import itertools
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'cli'))
if os.environ.get('AON_TEST_MONGODB_PYTHON'):
    sys.path += glob.glob(str(pathlib.Path(os.environ['AON_TEST_MONGODB_PYTHON']).parents[1] / 'lib/python3*/site-packages'))

import program as p  # noqa: E402
from program import check, same  # noqa: E402

try:
    import bson.raw_bson
    import pymongo
except ImportError:
    pymongo = None

STAMP = '_bulkOperationId'
SHOWS_ID = {'departmentindexes', 'sitegroups', 'schedulestatistics', 'roles', 'siteoffdays', 'useroffdays'}  # packs/workforce.lua: their id is _id
PATHS = {'firebase:user': ('user', 1), 'firebase:questionnaire': ('questionnaire', 2), 'firebase:questionnaireIndex': ('questionnaireIndex', 2)}


class Server:
    """A server whose process the tests may kill: its pid, and the command that starts it again on the same port and folder."""

    def __init__(self, variable, answers):
        self.variable, self.answers, self.started = variable, answers, []

    def setting(self, name):
        return os.environ[f'AON_TEST_{self.variable}{name}']

    def folder(self):
        return pathlib.Path(self.setting('_FOLDER'))

    def pids(self):
        return [self.started[-1].pid if self.started else int(self.setting('_PID'))]

    def kill(self):
        victims = self.pids()
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.started:  # PostgreSQL takes a zombie for alive
            process.wait()
        for _ in range(600):  # the first one is for the script that started it to reap
            if not any(pathlib.Path('/proc', str(victim)).exists() for victim in victims):
                return
            time.sleep(0.1)

    def start(self):
        log = self.folder() / 'again.log'
        with open(log, 'ab') as said:
            self.started.append(subprocess.Popen(shlex.split(self.setting('_START')), stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.folder()))
        (self.folder() / 'again.pid').write_text(f'{self.started[-1].pid}\n')  # for the script to stop
        for _ in range(600):
            if self.answers():
                return
            time.sleep(0.1)
        check(False, 'the server does not start again:', log.read_text()[-2000:])


class Place:
    KEY = ''
    PASSWORDS = True  # it takes any
    SERVER = None    # where what it keeps outlives the server
    SETTINGS = {}    # of the program, with this place
    exact = True     # a copy is the same to the program, also in the middle of a run
    watched = False  # what is in doubt is looked after for a while, and then taken off the list by housekeeping
    WRITES = None    # of a store that writes documents one by one: the requests that change one, as bytes on the wire
    stamps = False   # its documents hold the id of the bulk operation that wrote last
    made = itertools.count(1)

    def __init__(self, name=None):
        self.name = name or self.new_name()
        self.make(name is None)

    @staticmethod
    def new_name():
        return f'd{os.getpid()}_{next(Place.made)}'

    def make(self, fresh):
        pass

    def documents(self):
        """Of a store: {collection: {id: document}}."""
        return {}

    def planned(self):
        """The documents without what only the store adds."""
        found = self.documents()
        return {name: {one: {key: value for key, value in document.items() if key != STAMP} for one, document in tree.items()}
                for name, tree in found.items()} if self.stamps else found

    def rows(self):
        return {name: sorted(((one, json.dumps(value, sort_keys=True)) for one, value in tree.items()), key=repr) for name, tree in self.documents().items()}

    def document(self, collection, name):
        return self.documents().get(collection, {}).get(name)

    def clean(self, *where):
        """What a bulk operation leaves on the server beside documents is gone."""


# ---- PostgreSQL ----

POSTGRESQL = os.environ.get('AON_TEST_POSTGRESQL', '')


def psql(database, statement):
    done = subprocess.run(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', POSTGRESQL.rsplit('/', 1)[0] + '/' + database, '-c', statement], capture_output=True,
                          text=True, timeout=60)
    check(done.returncode == 0, statement, done.stderr)
    return done.stdout


class Postmaster(Server):
    """With its children, which would hold its memory."""

    def folder(self):
        return pathlib.Path(self.setting('_SOCKET'))

    def pids(self):
        first = int(pathlib.Path(self.setting('_DATA'), 'postmaster.pid').read_text().split()[0])
        found = [first]
        for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
            try:
                if int(stat.read_text().rsplit(')', 1)[1].split()[1]) == first:
                    found.append(int(stat.parent.name))
            except (OSError, ValueError):
                continue
        return found


class OnPostgresql(Place):
    SERVER = Postmaster('POSTGRESQL', lambda: subprocess.run(['psql', '-XAtq', POSTGRESQL, '-c', 'select 1'], capture_output=True).returncode == 0)

    @staticmethod
    def address():
        host, port = re.match(r'postgresql://aon@([^:/]+):(\d+)/', POSTGRESQL).groups()
        return host, int(port)

    def make(self, fresh):
        if fresh:
            psql('postgres', f'create database {self.name}')

    def url(self, where, password=''):
        return f'postgresql://aon{password}@{where[0]}:{where[1]}/{self.name}'

    def copy(self):
        name = self.new_name()
        psql('postgres', f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{self.name}'")
        psql('postgres', f'create database {name} template {self.name}')
        return type(self)(name)

    def wipe(self):
        psql('postgres', f'drop database {self.name} with (force)')

    def everything(self):
        return subprocess.run(['pg_dump', '--inserts', POSTGRESQL.rsplit('/', 1)[0] + '/' + self.name], capture_output=True, check=True, timeout=60).stdout


class PostgresqlMain(OnPostgresql):
    KEY = 'main'
    exact = False  # prepared transactions are not copied

    def env(self, where, password=''):
        return {'AON_STORES_MAIN_URL': self.url(where, password and f':{password}'), 'AON_STORES_MAIN_CREATE': 'true'}

    def tables(self):
        """Every row of every table but ours: document tables as (id, doc), others as one text."""
        found = {}
        names = psql(self.name, "select c.relname, exists(select from pg_attribute where attrelid = c.oid and attname = 'doc') from pg_class c where relkind = 'r' "
                                "and relnamespace = 'public'::regnamespace and relname not like 'aon\\_%'").splitlines()
        for name, documents in (line.rsplit('|', 1) for line in names):
            columns = 'json_build_array(t.id, t.doc::text)' if documents == 't' else 'json_build_array(t::text)'
            rows = psql(self.name, f'select {columns} from "{name}" t').splitlines()
            if rows:
                found[name] = sorted((tuple(json.loads(row)) for row in rows), key=repr)
        return found

    def rows(self):
        return self.tables()

    def documents(self):
        return {name: {row[0]: json.loads(row[1]) for row in rows if len(row) == 2} for name, rows in self.tables().items()}

    def document(self, collection, name):
        found = psql(self.name, f'select doc from "{collection}" where id = \'{name}\'')
        return json.loads(found) if found.strip() else None

    def write(self, collection, name, document):
        text = json.dumps(document).replace("'", "''")
        psql(self.name, f'insert into "{collection}" (id, doc) values (\'{name}\', \'{text}\') on conflict (id) do update set doc = excluded.doc, bson = null')

    def seed(self):
        """A table that is nobody's business."""
        psql(self.name, 'create table ledger (account text, number integer, amount double precision, primary key (account, number))')
        psql(self.name, "insert into ledger values ('a', 1, 2.5), ('a', 2, null), ('b', 1, 1e300)")

    def clean(self, *where):
        same(psql('postgres', f"select gid from pg_prepared_xacts where database = '{self.name}'"), '', 'prepared transactions are left', *where)


class PostgresqlJournal(OnPostgresql):
    KEY, KIND = 'journal', 'postgresql'
    TOLD = ('PostgreSQL 1', 'role aon', 'schema public')  # by aon doctor
    MISSING = 'no tables'

    def env(self, where, password=''):
        return {'AON_JOURNAL_URL': self.url(where, password and f':{password}')}

    def clean(self, *where):
        twice = psql(self.name, 'select count(*) - count(distinct (bulk_id, what, detail, who)) from aon_journal_events').strip()
        same(twice, '0', 'an event was noted twice', *where)

    def damage(self):
        psql(self.name, "update aon_journal_segments set images = images || 'x'")

    def make_newer(self):
        psql(self.name, 'update aon_journal_version set version = 99')


# ---- MongoDB ----

MONGODB = os.environ.get('AON_TEST_MONGODB', '')
REPLICA_SET = os.environ.get('AON_TEST_MONGODB_KIND') == 'set'


def mongodb_client():
    return pymongo.MongoClient(MONGODB, serverSelectionTimeoutMS=30000, socketTimeoutMS=30000, directConnection=True)


class Mongod(Server):
    client = None

    def database(self, name):
        self.client = self.client or mongodb_client()
        return self.client[name]

    def kill(self):
        super().kill()
        self.client = None


def mongodb_answers():
    try:
        mongodb_client().admin.command('ping')
        return True
    except pymongo.errors.PyMongoError:
        return False


INDEX_OPTIONS = ('unique', 'sparse', 'partialFilterExpression', 'expireAfterSeconds')


class OnMongodb(Place):
    SERVER = Mongod('MONGODB', mongodb_answers)
    PASSWORDS = False  # the servers here know no users

    @staticmethod
    def address():
        host, port = re.match(r'mongodb://([^:/]+):(\d+)/', MONGODB).groups()
        return host, int(port)

    def database(self):
        return self.SERVER.database(self.name)

    def url(self, where, user=''):
        options = '?replicaSet=secantus' if REPLICA_SET and where == self.address() else '?directConnection=true'
        return f'mongodb://{user}{where[0]}:{where[1]}/{self.name}{options}'

    def copy(self):
        other = type(self)()
        whole = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)
        for collection in self.database().list_collection_names():
            made = other.database().create_collection(collection, codec_options=whole)
            for name, index in self.database()[collection].index_information().items():
                if name != '_id_':
                    made.create_index(index['key'], name=name, **{option: index[option] for option in INDEX_OPTIONS if option in index})
            documents = list(self.database().get_collection(collection, codec_options=whole).find())
            if documents:
                made.insert_many(documents)
        return other

    def wipe(self):
        self.database().client.drop_database(self.name)

    def everything(self):
        return b''.join(document.raw for collection in self.database().list_collection_names() for document in
                        self.database().get_collection(collection, codec_options=bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)).find())


class MongodbMain(OnMongodb):
    KEY = 'main'
    SETTINGS = {} if REPLICA_SET else {'AON_STORES_MAIN_HORIZON': '1s', 'AON_STORES_MAIN_WATCH': '1s'}
    watched = not REPLICA_SET
    WRITES = None if REPLICA_SET else re.compile(rb'\x02(insert|update|delete)\x00')
    stamps = not REPLICA_SET

    def env(self, where, password=''):
        return {'AON_STORES_MAIN_URL': self.url(where, password and f'u:{password}@'), 'AON_STORES_MAIN_CREATE': 'true'}

    def documents(self):
        """Every document of every collection but ours, by _id, without it where only the store needs it."""
        found = {}
        for collection in self.database().list_collection_names():
            if collection.startswith('aon_'):
                continue
            documents = {}
            for document in self.database()[collection].find():
                key = document['_id']
                if collection not in SHOWS_ID:
                    del document['_id']
                documents[key] = document
            if documents:
                found[collection] = documents
        return found

    def planned(self):
        """Class 4 adds its stamp to documents which the pack does not stamp."""
        found = self.documents()
        for document in (document for documents in found.values() for document in documents.values()):
            if not REPLICA_SET and 'createdAt' not in document and 'updatedAt' not in document:
                document.pop(STAMP, None)
        return found

    def document(self, collection, name):
        found = self.database()[collection].find_one({'_id': name})
        if found and collection not in SHOWS_ID:
            del found['_id']
        return found

    def write(self, collection, name, document):
        self.database()[collection].replace_one({'_id': name}, {'_id': name, **document}, upsert=True)

    def seed(self):
        self.write('ledger', 'a:1', {'amount': 2.5, 'at': bson.timestamp.Timestamp(1, 2).as_datetime().isoformat()})


class MongodbJournal(OnMongodb):
    KEY, KIND = 'journal', 'mongodb'
    TOLD = ('MongoDB ', 'replica set secantus')
    MISSING = 'no collections'

    def env(self, where, password=''):
        return {'AON_JOURNAL_URL': self.url(where, password and f'u:{password}@')}

    def clean(self, *where):
        events = [(event['bulk_id'], event['what'], event['detail'], event['who']) for event in self.database()['aon_journal_events'].find()]
        same(len(events), len(set(events)), 'an event was noted twice', *where)

    def damage(self):
        pieces = self.database()['atomicwritelogs']
        for piece in list(pieces.find()):
            pieces.update_one({'_id': piece['_id']}, {'$set': {'images': piece['images'] + b'x'}})

    def make_newer(self):
        self.database()['aon_journal_meta'].update_one({'_id': 'version'}, {'$set': {'version': 99}})


# ---- Firebase: the double of the Realtime Database, Google's emulators of Firestore and of accounts ----

def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {'Authorization': 'Bearer owner', 'Content-Type': 'application/json'})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    check(response.status in (200, 204), method, path, response.status, text[:300])
    return json.loads(text) if text else None


def reachable(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False


class OnFirebase(Place):
    VARIABLE = ''  # where Google's SDKs, and the program, look for an emulator

    def make(self, fresh):
        if fresh:
            self.name = f'demo-{self.name.replace("_", "-")}'

    @classmethod
    def address(cls):
        host, port = os.environ[cls.VARIABLE].split(':')
        return host, int(port)

    def env(self, where, password=''):
        return {f'AON_STORES_{self.KEY.upper()}_URL': self.url(), self.VARIABLE: f'{where[0]}:{where[1]}'}

    def ask(self, method, path, body=None):
        return ask(self.address(), method, path, body)

    def copy(self):
        other = type(self)()
        other.take_from(self)
        return other

    def everything(self):
        return json.dumps(self.documents()).encode()


class Realtime(OnFirebase):
    KEY, VARIABLE = 'realtime', 'FIREBASE_DATABASE_EMULATOR_HOST'
    SERVER = Server('RTDB', lambda: reachable(Realtime.address()))
    SETTINGS = {'AON_STORES_REALTIME_HORIZON': '300ms'}  # what is lost here is lost for good: nothing arrives late
    WRITES = re.compile(rb'(PUT|PATCH|DELETE) ')
    stamps = True

    def url(self):
        return f'firebase-rtdb://db.example/?ns={self.name}'

    def at(self, method, path, body=None):
        return self.ask(method, f'/{path}.json?ns={self.name}', body)

    def documents(self):
        """The stamp is ours and always there, so it is compared like everything else."""
        found, root = {}, self.at('GET', '') or {}
        for name, (key, depth) in PATHS.items():
            tree = root.pop(key, {})
            found[name] = {f'{org}:{one}': value for org, below in tree.items() for one, value in below.items()} if depth == 2 else tree
        return {name: tree for name, tree in {**found, **root}.items() if tree}

    def write(self, collection, name, document):
        key, depth = PATHS.get(collection, (collection, 1))
        self.at('PUT', '/'.join([key] + name.split(':') if depth == 2 else [key, urllib.parse.quote(name, safe='')]), document)

    def seed_many(self, collection, documents):
        self.at('PUT', collection, documents)

    def take_from(self, other):
        self.at('PUT', '', other.at('GET', ''))

    def wipe(self):
        self.at('DELETE', '')


def plain(value):
    kind, inner = next(iter(value.items()))
    if kind == 'mapValue':
        return {name: plain(below) for name, below in inner.get('fields', {}).items()}
    if kind == 'arrayValue':
        return [plain(below) for below in inner.get('values', [])]
    return int(inner) if kind == 'integerValue' else inner if kind in ('stringValue', 'booleanValue', 'nullValue', 'doubleValue') else value


def spelled(value):
    if value is None or isinstance(value, bool):
        return {'nullValue': None} if value is None else {'booleanValue': value}
    if isinstance(value, dict):
        return {'mapValue': {'fields': {name: spelled(below) for name, below in value.items()}}}
    if isinstance(value, list):
        return {'arrayValue': {'values': [spelled(below) for below in value]}}
    return {'integerValue': str(value)} if isinstance(value, int) else {'doubleValue': value} if isinstance(value, float) else {'stringValue': value}


class Settings(OnFirebase):
    KEY, VARIABLE = 'settings', 'FIRESTORE_EMULATOR_HOST'
    exact = False  # a copied document has another updateTime

    def url(self):
        return f'firestore://{self.name}/'

    def root(self):
        return f'projects/{self.name}/databases/(default)/documents'

    def at(self, what, body):
        return self.ask('POST', f'/v1/{self.root()}:{what}', body)

    def raw(self, markers=False):
        found = self.at('runQuery', {'structuredQuery': {'from': [{'allDescendants': True}]}})
        documents = {item['document']['name'][len(self.root()) + 1:]: item['document'].get('fields', {}) for item in found if 'document' in item}
        return {path: fields for path, fields in documents.items() if markers or not path.startswith('aon_')}

    def documents(self):
        found = {}
        for path, fields in self.raw().items():
            parts = path.split('/')
            collection, name = ('firestore:organization-offdays', parts[1]) if len(parts) == 4 else parts
            found.setdefault(collection, {})[name] = plain({'mapValue': {'fields': fields}})
        return found

    def commit(self, documents):
        writes = [{'update': {'name': f'{self.root()}/{path}', 'fields': fields}} for path, fields in documents.items()]
        for at in range(0, len(writes), 400):
            self.at('commit', {'writes': writes[at:at + 400]})

    def write(self, collection, name, document):
        path = f'organizations/{name}/settings/offDays' if collection.startswith('firestore:') else f'{collection}/{name}'
        self.commit({path: spelled(document)['mapValue']['fields']})

    def seed_many(self, collection, documents):
        self.commit({f'{collection}/{name}': spelled(document)['mapValue']['fields'] for name, document in documents.items()})

    def take_from(self, other):
        self.commit(other.raw(markers=True))

    def wipe(self):
        self.ask('DELETE', f'/emulator/v1/projects/{self.name}/databases/(default)/documents')


TEXTS = (('email', 'email'), ('displayName', 'displayName'), ('phoneNumber', 'phoneNumber'), ('photoUrl', 'photoURL'))


class Identity(OnFirebase):
    KEY, VARIABLE = 'identity', 'FIREBASE_AUTH_EMULATOR_HOST'
    SETTINGS = {'AON_STORES_IDENTITY_HORIZON': '300ms'}  # as Realtime's
    stamps = True
    WRITES = re.compile(rb'POST [^ ]*/accounts(:update|:delete|:batchCreate)? ')

    def url(self):
        return f'firebase-auth://{self.name}'

    def at(self, method, what, body=None):
        return self.ask(method, f'/identitytoolkit.googleapis.com/v1/projects/{self.name}/accounts{what}', body)

    def users(self):
        return {user['localId']: user for user in self.at('GET', ':batchGet?maxResults=1000').get('users', [])}

    @staticmethod
    def plain(user):
        found = {'uid': user['localId'], 'disabled': user.get('disabled', False), **{ours: user[theirs] for theirs, ours in TEXTS if user.get(theirs)}}
        claims = json.loads(user.get('customAttributes') or '{}')
        stamp = {STAMP: claims.pop(STAMP)} if STAMP in claims else {}
        return {**found, **({'emailVerified': True} if user.get('emailVerified') else {}), **({'customClaims': claims} if claims else {}), **stamp}

    def documents(self):
        found = {name: self.plain(user) for name, user in self.users().items()}
        return {'accounts': found} if found else {}

    def write(self, collection, name, document):
        body = {'localId': name, **{theirs: document[ours] for theirs, ours in TEXTS if ours in document}}
        if name in self.users():
            self.at('POST', ':update', {**body, 'disableUser': document.get('disabled', False)})
        else:
            self.at('POST', '', {**body, 'disabled': document.get('disabled', False)})

    def seed_many(self, _, documents):
        users = [{'localId': name, **document} for name, document in documents.items()]
        for at in range(0, len(users), 1000):
            self.at('POST', ':batchCreate', {'users': users[at:at + 1000]})

    def take_from(self, other):
        kept = ('localId', 'disabled', 'emailVerified', 'customAttributes', 'email', 'displayName', 'phoneNumber', 'photoUrl')
        users = [{name: value for name, value in user.items() if name in kept} for user in other.users().values()]
        if users:
            self.at('POST', ':batchCreate', {'users': users})

    def wipe(self):
        self.ask('DELETE', f'/emulator/v1/projects/{self.name}/accounts')
