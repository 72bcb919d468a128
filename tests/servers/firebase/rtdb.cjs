// A double of the Firebase Realtime Database's REST interface, for tests. The tree, the checks of values and keys, the order of keys, the
// rule of lists and the hash that is the ETag are Google's own: their SDK, offline. HTTP is ours, from the published REST reference.
//
//   node rtdb.cjs PORT-FILE WRITES-FILE     listens on the port of 127.0.0.1 that PORT-FILE names, else on a free one, and writes it there
//
// What is written is in WRITES-FILE before it is answered, and done again at the start: a killed one that is started again has lost nothing.
// Each ?ns= is a database of its own. `Authorization: Bearer owner` (or what AON_RTDB_TOKEN says) is needed for everything.
// Faults: POST /.double with {"at": N, "times": T, "status": S, "retryAfter": R, "done": D}: requests N to N + T - 1 from now, writes only
// where "writes" is true, are answered with that status, after being done if D. {"count": true} gives what was asked so far, by method.
'use strict';
const http = require('http');
const fs = require('fs');
const { initializeApp } = require('@firebase/app');
const sdk = require('@firebase/database');

const BODY_LIMIT = 16 << 20;
const token = process.env.AON_RTDB_TOKEN || 'owner';
const databases = new Map();
let fault = null;
let counts = {};

function database(name) {
  if (!databases.has(name)) {
    const db = sdk.getDatabase(initializeApp({ databaseURL: `http://127.0.0.1:1/?ns=${name}` }, name));
    sdk.goOffline(db);
    sdk.set(sdk.ref(db, '/'), null).catch(() => {});
    databases.set(name, db);
  }
  return databases.get(name);
}

// What an offline client has written it sees at once.
function look(what) {
  let seen;
  sdk.onValue(what, (snapshot) => { seen = snapshot; }, { onlyOnce: true });
  return seen;
}

const etag = (snapshot) => (snapshot.exists() ? snapshot._node.hash() : 'null_etag');

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function query(ref, options) {
  const order = options.get('orderBy');
  if (order === null) {
    if (options.has('startAt') || options.has('limitToFirst')) throw new Refusal(400, 'orderBy must be defined when other query parameters are defined');
    return ref;
  }
  if (JSON.parse(order) !== '$key') throw new Refusal(400, 'Index not defined');
  const limits = [sdk.orderByKey()];
  if (options.has('startAt')) limits.push(sdk.startAt(JSON.parse(options.get('startAt'))));
  if (options.has('limitToFirst')) limits.push(sdk.limitToFirst(Number(options.get('limitToFirst'))));
  return sdk.query(ref, ...limits);
}

function get(ref, options) {
  const snapshot = look(query(ref, options));
  if (!options.get('shallow')) return [snapshot.val(), etag(snapshot)];
  if (options.has('orderBy')) throw new Refusal(400, 'shallow cannot be mixed with any other parameters');
  if (!snapshot.hasChildren()) return [snapshot.val(), etag(snapshot)];
  const keys = {};
  snapshot.forEach((child) => { keys[child.key] = true; });
  return [keys, etag(snapshot)];
}

function write(db, method, ref, body) {
  let value;
  if (method !== 'DELETE') {
    try {
      value = JSON.parse(body.toString('utf8'));
    } catch (_) {
      throw new Refusal(400, 'Invalid data; couldn\'t parse JSON object, array, or value.');
    }
  }
  try {
    if (method === 'PATCH') {
      if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error('a PATCH needs an object');
      sdk.update(ref, value).catch(() => {});
    } else if (method === 'POST') {
      value = { name: sdk.push(ref, value).key };
    } else {
      sdk.set(ref, method === 'DELETE' ? null : value).catch(() => {});
    }
  } catch (error) {
    throw new Refusal(400, error.message);
  }
  return value === undefined ? null : value;
}

// The same again for whoever starts after us. What POST made has its key by now.
function keep(name, path, method, body, value) {
  const line = method === 'POST' ? { name, path: [...path, value.name], method: 'PUT', body } : { name, path, method, body };
  fs.writeSync(kept, `${JSON.stringify({ ...line, body: line.body.toString('utf8') })}\n`);
}

function at(name, path) {
  const db = database(name);
  return [db, path.reduce((above, key) => (key ? sdk.child(above, key) : above), sdk.ref(db, '/'))];
}

function answer(request, url, body) {
  if (request.headers.authorization !== `Bearer ${token}`) throw new Refusal(401, 'Unauthorized request.');
  if (!url.pathname.endsWith('.json')) throw new Refusal(404, 'append .json to your request URI');
  const path = url.pathname.slice(1, -'.json'.length).split('/').map(decodeURIComponent);
  if (path.some((key) => /[.#$[\]/\x00-\x1f\x7f]/.test(key)) || path.slice(0, -1).some((key) => !key)) throw new Refusal(400, 'Invalid path');
  const name = url.searchParams.get('ns') || 'default';
  const [db, ref] = at(name, path);
  const condition = request.headers['if-match'];
  if (request.method === 'GET') {
    if (condition) throw new Refusal(400, 'if-match is not for reading');
    return get(ref, url.searchParams);
  }
  if (!['PUT', 'DELETE', 'PATCH', 'POST'].includes(request.method)) throw new Refusal(405, 'Method not allowed');
  if (condition && request.method !== 'PUT' && request.method !== 'DELETE') throw new Refusal(400, 'if-match is only for PUT and DELETE');
  const before = look(ref);
  if (condition && condition !== etag(before)) {
    const refusal = new Refusal(412, 'Precondition Failed');
    refusal.etag = etag(before);
    refusal.value = before.val();
    throw refusal;
  }
  const value = write(db, request.method, ref, body);
  keep(name, path, request.method, body, value);
  return [value, null];
}

function control(body, response) {
  const asked = JSON.parse(body.toString());
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(counts));
  if (asked.count) counts = {};
  else fault = asked.at ? asked : null;
}

function faulty(request) {
  if (!fault || (fault.writes && request.method === 'GET')) return null;
  fault.at -= 1;
  if (fault.at > 0) return null;
  const now = fault;
  if (fault.at + (fault.times || 1) - 1 <= 0) fault = null;
  return now;
}

function respond(request, response, body) {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (url.pathname === '/.double') return control(body, response);
  counts[request.method] = (counts[request.method] || 0) + 1;
  const trouble = faulty(request);
  const send = (status, value, headers) => {
    const silent = url.searchParams.get('print') === 'silent' && status === 200;
    response.writeHead(silent ? 204 : status, { 'Content-Type': 'application/json; charset=utf-8', ...headers });
    response.end(silent ? undefined : JSON.stringify(value));
  };
  try {
    const result = trouble && !trouble.done ? null : answer(request, url, body);
    if (trouble) return send(trouble.status, { error: 'a fault that a test asked for' }, trouble.retryAfter ? { 'Retry-After': String(trouble.retryAfter) } : {});
    const [value, tag] = result;
    return send(200, value, request.headers['x-firebase-etag'] === 'true' ? { ETag: tag } : {});
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return send(error.status, error.value === undefined ? { error: error.message } : error.value, error.etag ? { ETag: error.etag } : {});
  }
}

const [portFile, writesFile] = process.argv.slice(2);
if (fs.existsSync(writesFile)) {
  for (const line of fs.readFileSync(writesFile, 'utf8').split('\n').slice(0, -1)) { // a half line was never answered
    const { name, path, method, body } = JSON.parse(line);
    const [db, ref] = at(name, path);
    write(db, method, ref, Buffer.from(body));
  }
}
const kept = fs.openSync(writesFile, 'a');
const server = http.createServer((request, response) => {
  const chunks = [];
  let length = 0;
  request.on('data', (chunk) => {
    length += chunk.length;
    if (length <= BODY_LIMIT) chunks.push(chunk);
  });
  request.on('end', () => respond(request, response, Buffer.concat(chunks)));
});
server.keepAliveTimeout = 60000;
const port = fs.existsSync(portFile) ? Number(fs.readFileSync(portFile, 'utf8')) : 0;
server.listen(port, '127.0.0.1', () => fs.writeFileSync(portFile, String(server.address().port)));
