// The demo page, with the files and the policy of a gate, and a gate and connector in one that a
// test scripts. Uses the module's own codec, which has tests of its own.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { decodeMessage, encodeMessage, encodePackage, MessageType, PackageReader, PackageType, ROUTES } from '../pomelo-client.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const json = (value) => new TextEncoder().encode(JSON.stringify(value));
const value = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** What the gate sends: the policy, and the path, type and file of each file. */
function pageOfGate() {
  const source = readFileSync(path('../../gate/src/page.rs'), 'utf8');
  const policy = /const POLICY: &str = "([^"]+)"/.exec(source)[1].replace(/\\\s+/g, '');
  const files = [...source.matchAll(/\("(\/[^"]*)", (?:"([^"]+)"|SCRIPT), include_str!\("..\/..\/web\/([^"]+)"\)\)/g)];
  return { policy, files: new Map(files.map(([, at, type = 'text/javascript', name]) => [at, { type, text: readFileSync(path(`../${name}`)) }])) };
}

/** Requests get their responses from `responses[route](body)`; undefined sends none. */
export class PageServer {
  /** Every request, with its route and body. */
  requests = [];
  /** What clients sent in handshakes. */
  handshakes = [];
  #page = pageOfGate();
  #connections = [];
  #http = createServer((request, response) => this.#serveFile(request, response));

  constructor() {
    let seq = 1_000;
    const done = () => ({ code: 200, seq: (seq += 1), time: Date.now() });
    this.responses = {
      [ROUTES.QUERY_ENTRY]: () => ({ code: 200, host: '127.0.0.1', port: this.#http.address().port }),
      [ROUTES.ENTER]: ({ username, token }) => this.entered(username, token),
      [ROUTES.HISTORY]: () => ({ code: 200, epoch: 7, messages: [], complete: true }),
      ...Object.fromEntries(['SEND', 'MUTE', 'UNMUTE', 'BAN', 'UNBAN', 'EXPEL'].map((name) => [ROUTES[name], done])),
    };
  }

  /** The response to `enter`: bob, a user with an id, is there, too. */
  entered(name, token, more = {}) {
    const profiles = { bob: { uid: '4711' } };
    return { code: 200, users: [name, 'bob'], profiles, total: 2, names: true, rid: 'lobby', seq: 1_000, epoch: 7, time: 1, token, ...more };
  }

  async start(t) {
    const { WebSocketServer } = createRequire(path('../../target/original-client/node_modules/'))('ws');
    const websockets = new WebSocketServer({ server: this.#http });
    websockets.on('connection', (websocket) => this.#serve(websocket));
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    t.after(() => {
      websockets.clients.forEach((websocket) => websocket.terminate());
      this.#http.close();
      this.#http.closeAllConnections();
    });
    this.url = `http://127.0.0.1:${this.#http.address().port}/`;
  }

  bodies(route) {
    return this.requests.filter((request) => request.route === route).map(({ body }) => body);
  }

  push(route, body) {
    this.#send(PackageType.DATA, encodeMessage({ type: MessageType.PUSH, route, body: json({ route, rid: 'lobby', ...body }) }));
  }

  kick(reason) {
    this.#send(PackageType.KICK, json({ reason }));
    this.#connections.at(-1).close();
  }

  #send(type, body) {
    this.#connections.at(-1).send(encodePackage(type, body));
  }

  #serve(websocket) {
    const reader = new PackageReader();
    this.#connections.push(websocket);
    websocket.on('message', (bytes) => reader.read(bytes).forEach((each) => this.#receive(websocket, each)));
  }

  #receive(websocket, { type, body }) {
    if (type === PackageType.HANDSHAKE) {
      this.handshakes.push(value(body));
      websocket.send(encodePackage(PackageType.HANDSHAKE, json({ code: 200, sys: {} })));
    } else if (type === PackageType.DATA) {
      const message = decodeMessage(body);
      const request = { route: message.route, body: value(message.body) };
      this.requests.push(request);
      const content = this.responses[request.route](request.body);
      const response = { type: MessageType.RESPONSE, id: message.id, body: json(content ?? {}) };
      if (content !== undefined) {
        websocket.send(encodePackage(PackageType.DATA, encodeMessage(response)));
      }
    }
  }

  #serveFile({ url }, response) {
    const file = this.#page.files.get(new URL(url, this.url).pathname);
    response.writeHead(file ? 200 : 404, { 'content-type': file?.type ?? 'text/plain', 'content-security-policy': this.#page.policy });
    response.end(file?.text);
  }
}
