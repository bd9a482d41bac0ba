// The client on the package `ws`, over real sockets, and programs that it must not end.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { connect, decodeMessage, encodeMessage, encodePackage, MessageType, PackageReader, PackageType, ROUTES } from '../pomelo-client.js';

const PACKAGES = fileURLToPath(new URL('../../target/original-client/node_modules/', import.meta.url));
const json = (value) => new TextEncoder().encode(JSON.stringify(value));

function packageWs() {
  try {
    return createRequire(PACKAGES)('ws');
  } catch (error) {
    throw new Error(`the package ws is not there: run \`make tools\` (${error.message})`);
  }
}

const ENTERED = { users: ['ann'], seq: 1, epoch: 1, missed: [], recovered: true };

/**
 * A gate and a connector in one. While `isMute`, connections are accepted, and nothing is sent.
 */
class Server {
  isMute = false;
  /** Connections that were accepted while it was mute. */
  muted = [];
  #http = createServer();
  #websockets;

  async start(t) {
    this.#websockets = new (packageWs().WebSocketServer)({ noServer: true });
    this.#http.on('upgrade', (request, socket, head) => {
      if (this.isMute) {
        this.muted.push(socket);
        this.#http.emit('muted');
      } else {
        this.#websockets.handleUpgrade(request, socket, head, (websocket) => this.#serve(websocket));
      }
    });
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    t.after(() => {
      this.muted.forEach((socket) => socket.destroy());
      this.#websockets.clients.forEach((websocket) => websocket.terminate());
      this.#http.close();
    });
    this.port = this.#http.address().port;
    this.gate = `127.0.0.1:${this.port}`;
  }

  /** Breaks all connections. */
  break() {
    this.#websockets.clients.forEach((websocket) => websocket.terminate());
  }

  untilMuted() {
    return once(this.#http, 'muted');
  }

  /** Resolves when the client has given up the connection that was taken while mute. */
  untilGivenUp() {
    const [socket] = this.muted;
    return new Promise((resolve) => {
      ['end', 'error', 'close'].forEach((event) => socket.once(event, resolve));
      socket.resume();
    });
  }

  #serve(websocket) {
    const reader = new PackageReader();
    websocket.on('message', (bytes) => {
      for (const { type, body } of reader.read(bytes)) {
        if (type === PackageType.HANDSHAKE) {
          websocket.send(encodePackage(PackageType.HANDSHAKE, json({ code: 200, sys: {} })));
        } else if (type === PackageType.DATA) {
          const { id, route } = decodeMessage(body);
          const answer = route === ROUTES.QUERY_ENTRY ? { host: '127.0.0.1', port: this.port } : ENTERED;
          const message = { type: MessageType.RESPONSE, id, body: json({ code: 200, ...answer }) };
          websocket.send(encodePackage(PackageType.DATA, encodeMessage(message)));
        }
      }
    });
  }
}

/** Errors that no code handles fail a test by themselves: the runner takes them. */
async function serve(t) {
  const server = new Server();
  await server.start(t);
  const { WebSocket } = packageWs();
  return { server, options: { gate: server.gate, user: 'ann', room: 'lobby', WebSocket, minDelay: 1 } };
}

test('a connection that is given up while it is made is no error', async (t) => {
  const { server, options } = await serve(t);
  server.isMute = true;
  const muted = server.untilMuted();
  const connecting = connect({ ...options, connectTimeout: 200 });
  const refused = assert.rejects(connecting, { code: 'timeout' });
  await muted;
  await Promise.all([refused, server.untilGivenUp()]);
});

test('closing while it comes back is no error', async (t) => {
  const { server, options } = await serve(t);
  const room = await connect(options);
  const closed = new Promise((resolve) => room.on('close', resolve));
  server.isMute = true;
  const muted = server.untilMuted();
  server.break();
  await muted;
  room.close();
  await Promise.all([closed, server.untilGivenUp()]);
  assert.equal(room.state.state, 'closed');
});

test('connections that are refused or broken are no errors', async (t) => {
  const { server, options } = await serve(t);
  const room = await connect(options);
  const untilOnline = () => new Promise((resolve) => room.on('state', ({ state }) => state === 'online' && resolve()));
  await untilOnline();
  for (let round = 0; round < 5; round += 1) {
    server.break();
    room.reconnect();
    await untilOnline();
  }
  room.close();
  await assert.rejects(connect({ ...options, gate: '127.0.0.1:1', connectTimeout: 50 }), { code: 'connect' });
});

test('mistakes of an application do not end its process', async () => {
  const program = `
    import { connect, ROUTES } from './pomelo-client.js';
    import { FakeCluster, settle } from './test/fake.mjs';
    const cluster = new FakeCluster();
    cluster.responses[ROUTES.SEND] = () => ({ code: 403, reason: 'forbidden: x' });
    const room = await connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket: cluster.WebSocket, maxUnsent: 1 });
    const received = [];
    room.on('chat', () => { throw new Error('thrown by a handler'); });
    room.on('chat', async () => { throw new Error('rejected by a handler'); });
    room.on('chat', ({ seq }) => received.push(seq));
    await new Promise((resolve) => room.on('state', resolve));
    room.send('refused by the server');
    room.send('busy');
    room.send(10n);
    room.whisper('*', 'to all');
    room.history({ before: 10n });
    room.members();
    cluster.line.chat(2000);
    await settle();
    room.close();
    room.send('closed');
    room.request('a.b.c', {});
    await settle();
    console.log(JSON.stringify(received));
  `;
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { cwd });
  assert.equal(stdout.trim(), '[2000]');
  for (const reported of ['thrown by a handler', 'rejected by a handler']) {
    assert.equal(stderr.split(`Error: ${reported}`).length, 2, `${reported}: ${stderr}`);
  }
});
