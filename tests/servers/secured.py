"""What stands before Google's services and before no emulator: TLS, and tokens that end.

A Front is such a service in this process: behind the https proxy that it is, it answers for the real host names with a certificate of the test's own
authority, gives tokens to who signs with the service account's key, refuses who has none, and hands all else on to the double or emulator. It speaks HTTP/1; where Node.js is given one of HTTP/2 stands before it
(firebase/http2.cjs). Secured has the cases that each kind of store has to pass with it."""

import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

from served import check, finish, p, same

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE.parents[1] / 'build-servers/node/bin/node'
CERTIFICATES = HERE / 'certificates'
TOKENS = 'tokens.example'
# What a store asks for: its host, what the emulator puts before the path, a word of the scope.
SERVICES = {'realtime': ('db.example', '', 'firebase.database'), 'settings': ('firestore.googleapis.com', '', 'datastore'),
            'identity': ('identitytoolkit.googleapis.com', '/identitytoolkit.googleapis.com', 'identitytoolkit')}
PASSED_ON = ('Content-Type', 'X-Firebase-ETag', 'If-Match')


def certified(folder, *hosts):
    folder.mkdir()
    subprocess.run([CERTIFICATES, folder, *hosts], check=True)
    return folder


def key_file(folder, url=f'https://{TOKENS}/token'):
    """A service account's key as Google hands it out: its file, the public and the private half."""
    private, public = folder / 'private.pem', folder / 'public.pem'
    subprocess.run(['openssl', 'genrsa', '-out', private, '2048'], check=True, capture_output=True)
    subprocess.run(['openssl', 'rsa', '-in', private, '-pubout', '-out', public], check=True, capture_output=True)
    path = folder / 'key.json'
    path.write_text(json.dumps({'type': 'service_account', 'client_email': 'robot@demo.example', 'private_key': private.read_text(), 'private_key_id': 'k1',
                                'token_uri': url}))
    return path, public, private


def signed_by(public, signed, signature):
    with tempfile.TemporaryDirectory() as folder:
        where = pathlib.Path(folder)
        (where / 's').write_bytes(signature)
        (where / 'd').write_text(signed)
        return subprocess.run(['openssl', 'dgst', '-sha256', '-verify', public, '-signature', where / 's', where / 'd'], capture_output=True).returncode == 0


def decoded(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


class Front(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, key, address, certificate, public, http2=False):
        super().__init__(('127.0.0.1', 0), Handler)
        self.host, self.prefix, self.scope = SERVICES[key]
        self.address, self.public, self.lock = address, public, threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate / 'server.pem', certificate / 'server.key')
        self.life, self.skew, self.revoke_at, self.deny = 3600, 0, 0, False
        self.tokens, self.given, self.refused, self.asked, self.denied = {}, 0, 0, 0, 0
        self.tells, self.versions, self.tunnels = {}, set(), 0  # requests whose answer is cut, or the last of its connection
        self.http2 = None
        if http2:
            self.http2 = subprocess.Popen([NODE, HERE / 'firebase/http2.cjs', certificate / 'server.pem', certificate / 'server.key', str(self.server_port)],
                                          stdout=subprocess.PIPE, text=True)
            self.behind = int(self.http2.stdout.readline())
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def now(self):
        return time.time() + self.skew

    def grant(self, assertion):
        signed, _, signature = assertion.rpartition('.')
        claims = json.loads(decoded(signed.split('.')[1]))
        fine = signed_by(self.public, signed, decoded(signature)) and claims['iat'] <= self.now() < claims['exp'] <= claims['iat'] + 3600
        fine = fine and self.scope in claims['scope'] and claims['aud'] == f'https://{TOKENS}/token'
        token = secrets.token_hex(16)
        with self.lock:
            self.given, self.refused = self.given + fine, self.refused + (not fine)
            if fine:
                self.tokens[token] = time.monotonic() + self.life
        return (200, {'access_token': token, 'expires_in': self.life, 'token_type': 'Bearer'}) if fine else (400, {'error': 'invalid_grant'})

    def allowed(self, header, version):
        """Whether its token is one, and what its answer tells whoever stands before us."""
        with self.lock:
            self.asked += 1
            self.versions.add(version)
            if self.asked == self.revoke_at:
                self.tokens.clear()
            fine = not self.deny and self.tokens.get((header or '').removeprefix('Bearer '), 0) > time.monotonic()
            self.denied += not fine
            return fine, self.tells.get(self.asked)

    def __exit__(self, *_):
        if self.http2:
            self.http2.kill()
            self.http2.communicate()
        self.shutdown()
        self.server_close()


def copied(source, target):
    """All bytes, until either side has ended; then both have."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = 'HTTP/1.1', True

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + self.server.skew)

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        if self.server.http2:
            self.tunnel()
            return
        try:
            self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        except OSError:  # who does not trust us hangs up
            self.close_connection = True
            return
        self.rfile, self.wfile = self.connection.makefile('rb'), self.connection.makefile('wb')

    def tunnel(self):
        self.wfile.flush()
        self.server.tunnels += self.path.startswith(self.server.host)
        with socket.create_connection(('127.0.0.1', self.server.behind)) as other:
            back = threading.Thread(target=copied, args=(other, self.connection), daemon=True)
            back.start()
            copied(self.connection, other)
            back.join()
        self.close_connection = True

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pass_on(self, body, told):
        connection = http.client.HTTPConnection(*self.server.address, timeout=60)
        headers = {name: self.headers[name] for name in PASSED_ON if self.headers[name]}
        connection.request(self.command, self.server.prefix + self.path, body or None, {**headers, 'Authorization': 'Bearer owner'})
        response = connection.getresponse()
        headers = {'ETag': response.headers['ETag'], 'X-Front': told}
        self.answer(response.status, response.read(), [(name, value) for name, value in headers.items() if value])
        connection.close()

    def respond(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        if self.headers['Host'] == TOKENS:
            status, said = self.server.grant(urllib.parse.parse_qs(body.decode())['assertion'][0])
            self.answer(status, json.dumps(said).encode())
            return
        if self.headers['Host'] != self.server.host:
            self.answer(404, b'')
            return
        allowed, told = self.server.allowed(self.headers['Authorization'], self.headers['X-Http-Version'])
        if allowed:
            self.pass_on(body, told)
        else:
            self.answer(401, b'{"error": {"status": "UNAUTHENTICATED"}}')

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond

    def log_message(self, *_):
        pass


class Secured:
    def __init__(self, cases):
        self.cases, self.place = cases, cases.kind.PLACES[0]
        self.key = self.place.KEY
        self.host = SERVICES[self.key][0]

    def front(self, folder, *hosts, http2=False):
        """A front, and the settings by which the program finds it and no emulator."""
        folder.mkdir(exist_ok=True)
        path, public, _ = key_file(folder)
        certificate = certified(folder / 'tls', *(hosts or (self.host, TOKENS)))
        front = Front(self.key, self.place.address(), certificate, public, http2)
        return front, certificate / 'ca.pem', {'https_proxy': f'http://127.0.0.1:{front.server_port}', 'no_proxy': None, self.place.VARIABLE: None,
                                               'GOOGLE_APPLICATION_CREDENTIALS': path, 'CURL_CA_BUNDLE': None, 'SSL_CERT_FILE': None, 'SSL_CERT_DIR': None}

    def lines(self, folder, count=3):
        collection, data = ('accounts', {'displayName': 'K'}) if self.key == 'identity' else ('c', {'n': 1})
        path = folder / 'lines'
        path.write_text(''.join(json.dumps({'store': self.key, 'collection': collection, 'id': f'k{n}', 'operation': 'create', 'data': data}) + '\n'
                                for n in range(count)))
        return ['apply', path, '--json', '--pack', 'workforce']

    def there(self, data):
        return len(next(iter(data.places[self.key].documents().values()), ()))

    def who_is_trusted(self, folder):
        """An authority that curl's variables name; nobody else, and the sentence says whose certificate it was and what to do."""
        data = self.cases.kind(folder / 'data')
        front, ca, env = self.front(folder / 'front')
        stranger, other, elsewhere = self.front(folder / 'stranger', 'other.example', TOKENS)
        subprocess.run(['openssl', 'rehash', ca.parent], check=True, capture_output=True)
        args = self.lines(folder)
        with front, stranger:
            for wrong, words in ((env, (TOKENS, 'SSL_CERT_FILE')), ({**env, 'SSL_CERT_FILE': other}, (TOKENS, 'SSL_CERT_FILE')),
                                 ({**elsewhere, 'SSL_CERT_FILE': other}, (self.host, 'another name')),
                                 ({**env, 'SSL_CERT_FILE': folder / 'none'}, ('SSL_CERT_FILE', 'CURL_CA_BUNDLE'))):
                data.run(*args, env={**wrong, 'LOG_LEVEL': 'debug'}).exits(1).says('certificate', *words)
                same((front.given, front.asked, self.there(data)), (0, 0, 0), 'nothing was sent to who is not trusted')
            for right in ({'SSL_CERT_FILE': ca}, {'CURL_CA_BUNDLE': ca, 'SSL_CERT_FILE': other}, {'SSL_CERT_DIR': ca.parent}):
                same(data.run(*args, '--dry-run', env={**env, **right}).exits(0).json['operations'], 3)
            data.run(*args, env={**env, 'SSL_CERT_FILE': ca}).exits(0)
            same(self.there(data), 3)

    def a_token_is_renewed_before_its_end(self, folder):
        """Half of its life has gone while the program stood still: nothing is sent with the old one, and nothing is refused."""
        front, ca, env = self.front(folder / 'front')
        with front:
            front.life = 6
            point, args = self.cases.point(folder), self.lines(folder)
            env['SSL_CERT_FILE'] = ca
            calls = self.cases.calls(point, args, env)
            given = front.given
            copy, process = self.cases.stopped_before(point, args, calls.index(f'store.{self.key}.apply'), env)
            time.sleep(front.life / 2 + 0.1)
            os.kill(process.pid, signal.SIGCONT)
            finish(process).exits(0)
            same((front.given - given, front.denied), (2, 0), 'tokens given, requests with one that had ended')

    def a_token_that_is_refused_is_replaced_once(self, folder):
        point, args = self.cases.point(folder), self.lines(folder, 30)  # more than go at once
        front, ca, env = self.front(folder / 'front')
        env['SSL_CERT_FILE'] = ca
        with front:
            self.cases.calls(point, args, env)
            whole, said = front.asked, []
            for at in sorted({1, 2, whole // 2, whole - 1, whole} if p.FULL else {1, whole // 2}):
                copy = point.fresh()
                front.given = front.denied = front.asked = 0
                front.revoke_at = at
                ran = copy.run(*args, env=env).exits(0)
                front.revoke_at = 0
                same((ran.json['operations'], front.given), (30, 2), 'after request', at, 'of', whole)
                check(front.denied >= 1, 'no request was refused')
                said.append(f'{front.denied} of {front.asked}')
                same(point.settled(copy, at), 'committed')
                point.drop(copy)
            front.deny, front.given = True, 0
            copy = point.fresh()
            copy.run(*args, env=env).exits(1).says('401', 'credentials')
            same(front.given, 2, 'it is asked for anew once')
            return f'requests refused: {", ".join(said)}'

    def http2_where_it_is_offered(self, folder):
        """Many requests on few connections; one that is told to go takes no more of them; one that ends leaves all that was under way unknown."""
        point, args = self.cases.point(folder), self.lines(folder, 60)
        front, ca, env = self.front(folder / 'front', http2=True)
        env['SSL_CERT_FILE'] = ca
        with front:
            self.cases.calls(point, args, env)
            whole, said = front.asked, []
            same(front.versions, {'2.0'}, 'what requests came by')
            check(front.tunnels <= 2, 'connections for', whole, 'requests:', front.tunnels)
            ways = [{at: 'cut'} for at in (range(1, whole + 1) if p.FULL else (2, whole // 2, whole))]
            for tells in [*ways, {at: 'goaway' for at in range(1, 2 * whole, 5)}]:
                copy = point.fresh()
                front.asked, front.tunnels, front.tells = 0, 0, tells
                copy.run(*args, env=env).exits(0, 3)
                front.tells = {}
                copy.run('recover', env=env).exits(0)
                said.append(f'{point.settled(copy, tells)} ({front.tunnels})')
                check(front.tunnels > 1, 'the connection did not end', tells)
                point.drop(copy)
            same(said[-1].split()[0], 'committed', 'connections that end in order')
            return f'{whole} requests; then, with connections: {", ".join(said)}'

    def doctor_tells_the_clock(self, folder):
        data = self.cases.kind(folder / 'data')
        front, ca, env = self.front(folder / 'front')
        env['SSL_CERT_FILE'] = ca
        with front:
            for skew, way in ((0, ''), (3600, 'before'), (-3600, 'behind')):
                front.skew = skew
                ours = [item for item in data.run('doctor', '--json', env=env).exits(int(skew != 0)).lines if item['name'] == self.key][0]
                told = [line for line in ours['findings'] if line.startswith('clock: ')]
                same((ours['healthy'], len(told)), (not skew, 1), ours)
                check(('MUCH' in told[0]) == bool(skew) and way in told[0], told)

    def clocks_that_differ(self, folder):
        data = self.cases.kind(folder / 'data')
        front, ca, env = self.front(folder / 'front')
        env['SSL_CERT_FILE'], said = ca, ''
        with front:
            for skew, refused in ((0, 0), (-25, 0), (25, 0), (-86400, 1), (86400, 1)):
                front.given = front.refused = 0
                front.skew = skew
                ran = data.run('doctor', env={**env, 'LOG_LEVEL': 'debug'}).exits(0, 1).says('as robot@demo.example')
                said += ran.out + ran.err
                same((front.given, front.refused), (1, refused), 'tokens given and refused with a clock of', skew, 's')
            front.skew, front.refused = 0, 0
            _, front.public, private = key_file(folder)
            ran = data.run('doctor', env={**env, 'LOG_LEVEL': 'debug'}).exits(1).says('refused the key of the service account', 'Make a new key')
            same(front.refused, 1, 'who is refused does not try again')
            said += ran.out + ran.err
            for secret in [*front.tokens, *private.read_text().splitlines()[1:3]]:
                check(secret not in said, 'a token, or a line of the key, was said')
