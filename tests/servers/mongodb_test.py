#!/usr/bin/python3
"""The real program with `main` on MongoDB and the other stores on SQLite: the cases of served.py, plans larger than a transaction, and what
`aon doctor` tells.

    tests/servers/mongodb NAME set|alone -- tests/servers/mongodb_test.py [CASE …]

AON_FULL=1 tries every call, else a sample.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from places import MONGODB, REPLICA_SET, STAMP, MongodbMain, bson, pymongo  # noqa: E402
from served import SECRET, Cases, Served, check, p, same  # noqa: E402

ORDERS = """return {name = 'orders', version = 1, organization = 'region',
  collections = {{name = 'orders', store = 'main', id = 'number', parts = {'region', 'number'}, stamped = true}},
  sheets = {{name = 'Orders', collection = 'orders', columns = {{heading = 'Number', property = 'number', type = 'id', id = true},
    {heading = 'Title', property = 'title', type = 'text', required = true}}}}}"""
KEYS = 'version: 1\nstores:\n  main:\n    keys:\n      orders: [region, number]\n'


class Mixed(Served):
    PLACES = (MongodbMain,)


cases = Cases(Mixed)


def plans_larger_than_a_transaction(folder):
    if not REPLICA_SET:
        return 'nothing to split'
    data = cases.prepared(folder)
    path = folder / 'many.ndjson'
    path.write_text(''.join(json.dumps({'store': 'main', 'collection': 'c', 'id': f'{i}', 'operation': 'create', 'data': {'n': i}}) + '\n' for i in range(30)))
    before, small = data.rows(), {'AON_STORES_MAIN_TRANSACTION_OPERATIONS': 20, 'AON_BATCH': 7}
    refused = data.run('apply', path, '--json', env={**small, 'AON_STORES_MAIN_TRANSACTION_BEYOND': 'refuse'}).exits(2)
    check('"plan_too_large"' in refused.out, refused.out)
    p.same_rows(data.rows(), before, 'a refused plan changes nothing')
    ran = data.run('apply', path, '--json', env={**small, 'TEST_ROLLBACK_AT_OPERATION': 25}).exits(3)
    check(any(warning['code'] == 'plan_split' for warning in ran.json['warnings']), ran.out)
    p.same_rows(data.rows(), before, 'the batches are taken back')
    data.run('apply', path, '--json', env=small).exits(0)
    same(data.places['main'].database()['c'].count_documents({}), 30)
    markers = [m['state'] for m in data.places['main'].database()['aon_markers'].find({'state': {'$ne': 'session'}})]
    check(markers.count('commit') >= 5 and markers.count('undone') >= 3, markers)
    return f'{markers.count("undone")} batches taken back'


class Orders:
    """A collection that others made: `_id` is an ObjectId, and region and number together name a document."""

    def __init__(self, folder):
        self.folder = folder
        (folder / 'aon.yaml').write_text(KEYS)
        (folder / 'orders.lua').write_text(ORDERS)
        self.data = Mixed(folder / 'data', {'AON_CONFIG': folder / 'aon.yaml'})
        self.found = self.data.places['main'].database()['orders']
        self.found.insert_many([{'number': n, 'region': region, 'title': f'Order {n}', 'n': float(n)} for region in ('north', 'south') for n in range(4)])
        self.ids = {(order['region'], order['number']): order['_id'] for order in self.found.find()}

    def raw(self):
        whole = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)
        return sorted(order.raw for order in self.data.places['main'].database().get_collection('orders', codec_options=whole).find())

    def plain(self):
        """Without the stamp of the last bulk operation."""
        return sorted([{name: value for name, value in order.items() if name != STAMP} for order in self.found.find()], key=repr)

    def one(self, region, number):
        return self.found.find_one({'region': region, 'number': number})

    def line(self, operation, document, **data):
        return {'store': 'main', 'collection': 'orders', 'id': document, 'operation': operation, **({'data': data} if data else {})}

    def imported(self, name, titles):
        book = p.write_book(self.folder / name, {'Orders': [{'Number': number, 'Title': title} for number, title in titles.items()]})
        return self.data.run('import', book, '--pack', self.folder / 'orders.lua', '--org', 'north', '--json')


def documents_known_by_several_properties(folder):
    o = Orders(folder)
    told = [line for item in o.data.run('doctor', '--json').exits(1).lines for line in item['findings'] if 'unique index' in line]
    check(len(told) == 1 and 'db.orders.createIndex({region: 1, number: 1}, {unique: true})' in told[0], told)
    o.found.create_index([('region', 1), ('number', 1)], unique=True)
    check('unique index' not in o.data.run('doctor').exits(0).out)
    before = o.plain()
    ran = o.imported('book', {'1': 'Chairs', '9': 'Lamps'}).exits(0).json
    same(ran['counts'], {'orders': {'create': 1, 'edit': 1, 'delete': 0, 'unchanged': 0}})
    changed, made = o.one('north', 1), o.one('north', '9')
    same((changed['_id'], changed['title'], type(changed['number']), changed['n']), (o.ids['north', 1], 'Chairs', int, 1.0))
    same((made['_id'], made['title']), ('north:9', 'Lamps'))
    lines = [o.line('update', 'south:1', title='Tables'), o.line('delete', 'south:2'), o.line('create', 'south:7', region='south', number=7), o.line('delete', 'north:9')]
    kept = o.raw()
    refused = o.data.apply([*lines, o.line('create', 'south:0', region='south', number=0)]).exits(2, 3).json
    check('duplicate' in json.dumps(refused), refused)
    same(o.raw(), kept, 'refused')
    o.data.apply(lines, env={'TEST_ROLLBACK_AT_OPERATION': 3}).exits(3)
    same(o.raw(), kept, 'rolled back')
    kept = o.plain()
    wrong = o.data.apply([o.line('upsert', 'south', region='south', number=1), o.line('create', 'south:8', region='south'), o.line('create', 'south:8', region='south', number=9)]).exits(2).json
    same([error['code'] for error in wrong['errors']], ['bad_format', 'inconsistent', 'inconsistent'])
    second = o.data.apply(lines).exits(0).json['bulkOperationId']
    check(o.one('south', 2) is None and o.one('south', 7)['_id'] == 'south:7' and o.one('north', '9') is None)
    o.found.update_one({'_id': o.ids['south', 1]}, {'$set': {'title': 'Theirs'}})
    refused = o.data.run('undo', second, '--json').exits(2).json
    same([(error['collection'], error['documentId']) for error in refused['errors']], [('orders', 'south:1')])
    o.found.update_one({'_id': o.ids['south', 1]}, {'$set': {'title': 'Tables', 'note': 'kept'}})
    o.data.run('undo', second, '--json').exits(0)
    same(o.one('south', 1)['note'], 'kept')
    o.found.update_one({'_id': o.ids['south', 1]}, {'$unset': {'note': 1}})
    same(o.plain(), kept, 'undone')
    same(o.one('south', 1)['_id'], o.ids['south', 1])
    o.data.run('undo', ran['bulkOperationId']).exits(0)
    same(o.plain(), before, 'all undone')
    same(o.one('north', 1)['_id'], o.ids['north', 1])
    return f'{len(before)} documents as they were'


def an_undo_gives_ids_of_every_kind_back(folder):
    """Byte for byte, but for the stamp of a server alone; and what the undo did can be taken back and undone in turn."""
    data = Mixed(folder / 'data')
    found = data.places['main'].database()['c']
    ids = [bson.ObjectId(), 7, 'text', bson.Binary(bytes(range(16)), 4)]
    found.insert_many([{'_id': one, 'n': n} for n, one in enumerate(ids)])
    plain = lambda: sorted(([(name, value) for name, value in document.items() if name != STAMP] for document in found.find()), key=repr)  # noqa: E731
    before = plain()
    names = [str(ids[0]), '7', 'text', str(ids[3].as_uuid())]
    bulk = data.apply([{'store': 'main', 'collection': 'c', 'id': name, 'operation': 'delete'} for name in names]).exits(0).json['bulkOperationId']
    same(plain(), [])
    data.run('undo', bulk, env={'TEST_ROLLBACK_AT_OPERATION': 3}).exits(3)
    same(plain(), [], 'the undo is taken back')
    undo = data.run('undo', bulk, '--json').exits(0).json['bulkOperationId']
    same(plain(), before, 'undone')
    again = data.run('undo', undo, '--json').exits(0).json['bulkOperationId']
    same(plain(), [], 'the undo is undone')
    data.run('undo', again).exits(0)
    same(plain(), before, 'and again')


def doctor_tells(folder):
    data = cases.prepared(folder)
    ours = [item for item in data.run('doctor', '--json').exits(0, 1).lines if item['name'] == 'main'][0]
    text = '\n'.join(ours['findings'])
    check(ours['healthy'] and 'clock' in text and 'database' in text, text)
    if REPLICA_SET:
        check('class 2' in text and 'MongoDB' in text and 'markers of bulk operations: 1' in text, text)
    else:
        check('class 4' in text and 'server alone' in text and 'property by property' in text, text)
    users = lambda: next(line.strip() for line in data.run('doctor').exits(0, 1).out.splitlines() if line.strip().startswith('main/users: ') and 'looks up' in line)
    check('by organizationID: no index serves that, and none is needed for about' in users(), users())
    collection = data.places['main'].database()['users']
    collection.insert_many([{'_id': f'k{n}', 'userID': f'k{n}', 'organizationID': 'other'} for n in range(1001)])
    collection.create_index('email')
    if REPLICA_SET:  # the server alone has no such indexes
        collection.create_index('organizationID', name='part', partialFilterExpression={'email': 'x'})
    statement = 'Make one: db.getCollection("users").createIndex({organizationID: 1})'
    check(users().endswith(statement) and 'by organizationID: NO index serves that' in users(), users())
    if REPLICA_SET:
        collection.drop_index('part')
    collection.create_index('organizationID')
    check(users().endswith('by organizationID: an index serves that'), users())
    text = data.run('doctor').exits(0, 1).out
    check('main/users: pack workforce finds documents by userID: NO index serves that' in text and 'createIndex({userID: 1})' in text, text)
    same(data.run('pool', '--json').exits(0).lines, [{'store': 'main', 'total': 1, 'idle': 1, 'waiting': 0, 'max': 20}])


def addresses_that_are_wrong_keep_their_secrets(folder):
    where = f'u:{SECRET}@'
    cases.addresses_keep_their_secrets(folder, 'AON_STORES_MAIN_URL', (f'mongodb://{where}[bad', f'mongodb://{where}127.0.0.1:1', f'mongodb+srv://{where}bad.invalid/x'))


CASES = [cases.workbooks_end_as_the_oracle_says, cases.killed_at_calls, cases.killed_while_rolling_back, cases.replies_lost_at_calls,
         cases.requests_lost_at_calls, cases.taken_back_over_foreign_writes, cases.a_foreign_write_meets_a_rollback,
         cases.a_foreign_write_between_plan_and_execution_is_refused,
         cases.several_at_once, plans_larger_than_a_transaction, documents_known_by_several_properties, an_undo_gives_ids_of_every_kind_back, cases.secrets_stay_in, addresses_that_are_wrong_keep_their_secrets, doctor_tells,
         cases.servers_killed_in_the_middle, *([] if REPLICA_SET else [cases.late_writes]), *cases.commands_killed('recovery_itself')]

if __name__ == '__main__':
    if not MONGODB or not pymongo:
        print(f'skipped: mongodb program: {"no pymongo in build-servers/secantusdb" if MONGODB else "no server; run it by tests/servers/mongodb"}')
        sys.exit(77)
    p.main('mongodb program', CASES)
