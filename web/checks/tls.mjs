// A Chromium on servers with TLS: the demo page, and pages with the original Pomelo client.
//
//   node tls.mjs GATE CERTIFICATE KEY PACKAGES
//
// GATE has this certificate for chat.example.org, as its connectors have. PACKAGES: the directory that
// scripts/fetch-original-client fills.

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';

import { OVER_TLS } from '../../tests/original/original.mjs';
import { Browser } from './chromium.mjs';

const [gate, certificate, key, packages] = process.argv.slice(2);
// Not an address: Chromium takes 127.0.0.1 for secure without TLS, and would hide what a page needs.
const HOST = 'chat.example.org';
const GATE_PORT = Number(gate.split(':')[1]);
const SCREEN = { width: 1280, height: 800 };
const UPGRADE = '<meta http-equiv="Content-Security-Policy" content="upgrade-insecure-requests">';
const SCRIPTS = {
  '/protocol.js': 'pomelo-protocol/lib/protocol.js',
  '/pomelo-client.js': 'pomelo-jsclient-websocket/lib/pomelo-client.js',
};

/** A page that enters a room through the gate as the chat demo's does, and sends a message. */
function page(name, head, before) {
  return `<!doctype html><title>${name}</title>${head}
<script>
  window.module = {};
  window.EventEmitter = class { emit() {} };
  ${before}
</script>
<script src="/protocol.js"></script>
<script src="/pomelo-client.js"></script>
<script>
  const connect = (host, port) => new Promise((done) => pomelo.init({ host, port }, done));
  const request = (route, body) => new Promise((done) => pomelo.request(route, body, done));
  (async () => {
    await connect('${HOST}', ${GATE_PORT});
    const entry = await request('gate.gateHandler.queryEntry', { uid: '${name}' });
    pomelo.disconnect();
    await connect(entry.host, entry.port);
    const entered = await request('connector.entryHandler.enter', { username: '${name}', rid: 'lobby' });
    const sent = await request('chat.chatHandler.send', { rid: 'lobby', content: 'from ${name}', from: '${name}', target: '*' });
    window.outcome = entered.users.join() + ' ' + sent.code;
  })().catch((error) => { window.outcome = error.name; });
</script>`;
}

const pages = {
  '/stock': page('stock', '', ''),
  '/wrapped': page('wrapped', '', OVER_TLS),
  '/upgraded': page('upgraded', UPGRADE, ''),
};
const files = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, ({ url }, response) => {
  const script = SCRIPTS[url] && readFileSync(join(packages, 'node_modules', SCRIPTS[url]));
  const body = script ?? pages[url];
  response.writeHead(body ? 200 : 404, { 'Content-Type': script ? 'text/javascript' : 'text/html; charset=utf-8' });
  response.end(body);
});
await new Promise((done) => files.listen(0, '127.0.0.1', done));

const spki = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' });
const browser = new Browser([
  `--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`,
  `--host-resolver-rules=MAP ${HOST} 127.0.0.1`,
]);
const open = (port, path) => browser.open(`https://${HOST}:${port}${path}`, SCREEN);
const shows = (text) => `[...document.querySelectorAll('#messages .body')].some(({ textContent }) => textContent === ${JSON.stringify(text)})`;

// The demo page, from the gate itself.
const ann = await open(GATE_PORT, '/?room=lobby');
await ann.evaluate(`document.querySelector('#user').focus()`);
await ann.type('ann');
await ann.press('Enter');
await ann.until(`document.querySelector('#connection').dataset.state === 'online' && !document.querySelector('#chat').hidden`);
await ann.until(`document.activeElement.id === 'text'`);
await ann.type('with TLS');
await ann.press('Enter');
await ann.until(shows('with TLS'));
assert.equal(ann.sockets.length, 2, ann.sockets.join());
assert.ok(ann.sockets.every((url) => url.startsWith(`wss://${HOST}:`)), ann.sockets.join());

// The original client, which writes ws:// itself.
for (const name of ['wrapped', 'upgraded']) {
  const tab = await open(files.address().port, `/${name}`);
  await tab.until('window.outcome !== undefined');
  const outcome = await tab.evaluate('window.outcome');
  assert.match(outcome, / 200$/, `${name}: ${outcome}; ${tab.trouble.join()}`);
  assert.ok(outcome.includes('ann') && outcome.includes(name), outcome);
  await ann.until(shows(`from ${name}`));
}
const stock = await open(files.address().port, '/stock');
await stock.until('window.outcome !== undefined');
assert.equal(await stock.evaluate('window.outcome'), 'SecurityError', 'without help it cannot connect');
assert.deepEqual(ann.trouble, []);

await browser.close();
process.exit(0);
