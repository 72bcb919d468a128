// HTTP/2 over TLS, as Google's services speak it, before something that speaks HTTP/1, for tests.
//
//   node http2.cjs CERTIFICATE KEY PORT     listens on a free port of 127.0.0.1, says it in a line, and hands each request on to PORT
//
// A request says there by X-Http-Version what it came by. An answer with `X-Front: cut` never arrives: the connection ends, with all that
// else is under way on it; with `X-Front: goaway` it arrives, and the connection takes no further request.
'use strict';
const fs = require('fs');
const http = require('http');
const http2 = require('http2');

const [certificate, key, port] = process.argv.slice(2);
const OF_ONE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'x-front']);

function without(headers, dropped) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':') && !dropped.has(name)));
}

function hand_on(request, response) {
  const headers = { ...without(request.headers, OF_ONE_CONNECTION), host: request.authority || request.headers.host, 'x-http-version': request.httpVersion };
  const session = request.stream ? request.stream.session : request.socket;
  const passed = http.request({ host: '127.0.0.1', port, method: request.method, path: request.url, headers }, (answer) => {
    if (answer.headers['x-front'] === 'cut') {
      session.destroy();
      return;
    }
    if (answer.headers['x-front'] === 'goaway' && request.stream) session.goaway();
    response.writeHead(answer.statusCode, without(answer.headers, OF_ONE_CONNECTION));
    answer.pipe(response);
  });
  passed.on('error', () => session.destroy());
  request.pipe(passed);
}

const server = http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true }, hand_on);
server.on('sessionError', () => {});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
