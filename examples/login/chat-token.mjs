// An application's page for chat tokens: GET /chat-token with a session's cookie answers with a
// token of its user.
//
//     CHAT_KEY=auth.key PORT=8000 node chat-token.mjs
//
// Needs nothing but node. The key is that of auth.hmac_file.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const KEY = withoutLineBreak(readFileSync(process.env.CHAT_KEY));

// Your application has these: its sessions, and their users.
const SESSIONS = new Map([['s3cr3t-of-ann', { id: '4711', name: 'ann' }]]);

/** Returns a token of a user, for an hour. */
function chatToken({ id, name }) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: id, name, aud: 'chat', iat: now, exp: now + 3600 };
  const signed = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${createHmac('sha256', KEY).update(signed).digest('base64url')}`;
}

function withoutLineBreak(bytes) {
  return bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
}

function userOf(request) {
  const cookies = (request.headers.cookie ?? '').split(';').map((cookie) => cookie.trim().split('='));
  return SESSIONS.get(new Map(cookies).get('session'));
}

createServer((request, response) => {
  const user = userOf(request);
  const isToken = request.method === 'GET' && request.url === '/chat-token';
  // A token is a secret of one user.
  response.setHeader('Cache-Control', 'no-store').setHeader('Content-Type', 'text/plain');
  response.statusCode = isToken ? (user ? 200 : 401) : 404;
  response.end(isToken && user ? chatToken(user) : '');
}).listen(Number(process.env.PORT), '127.0.0.1');
