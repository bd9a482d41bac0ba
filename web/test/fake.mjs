// A gate and connectors that a test controls, behind a WebSocket that knows no network. Uses the
// module's own codec, which has tests of its own.

import { mock } from 'node:test';

import {
  connect,
  decodeMessage,
  encodeMessage,
  encodePackage,
  MessageType,
  PackageReader,
  PackageType,
  ROUTES,
} from '../pomelo-client.js';

const text = (value) => new TextEncoder().encode(JSON.stringify(value));
const value = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

const DICT = { [ROUTES.SEND]: 1, [ROUTES.ENTER]: 2, onChat: 3 };

/** Requests get their responses from `responses[route](body, line)`; undefined sends no response. */
export class FakeCluster {
  /** Connections that were opened, gates' and connectors', in order. @type {Line[]} */
  lines = [];
  /** Every request, in order. */
  requests = [];
  /** What clients sent in handshakes, in order. */
  handshakes = [];
  /** Connections to these are refused. */
  isDown = false;
  /** Connections to these are neither made nor refused. */
  isDead = false;
  handshake = { code: 200, sys: { heartbeat: 30, dict: DICT } };
  responses = {
    [ROUTES.QUERY_ENTRY]: () => ({ code: 200, host: '10.0.0.7', port: 3050 }),
    [ROUTES.ENTER]: ({ token, since }) => {
      const missed = since === undefined ? {} : { missed: [], recovered: true };
      return { code: 200, users: ['ann'], total: 1, names: true, seq: 1000, epoch: 7, token, ...missed };
    },
    [ROUTES.SEND]: () => undefined,
  };

  get WebSocket() {
    const cluster = this;
    return class extends Line {
      constructor(url) {
        super(cluster, url);
      }
    };
  }

  /** The connection that was opened last. */
  get line() {
    return this.lines.at(-1);
  }

  /** Bodies of the requests of this route. */
  bodies(route) {
    return this.requests.filter((request) => request.route === route).map(({ body }) => body);
  }
}

/** One connection, as both ends see it. */
class Line {
  isOpen = false;
  isClosed = false;
  beats = 0;
  #reader = new PackageReader();

  constructor(cluster, url) {
    this.cluster = cluster;
    this.url = url;
    cluster.lines.push(this);
    const { isDead } = cluster;
    queueMicrotask(() => {
      if (isDead || this.isClosed) {
        return;
      }
      if (cluster.isDown) {
        this.onerror?.();
      } else {
        this.isOpen = true;
        this.onopen?.();
      }
    });
  }

  // The client's end.

  send(bytes) {
    for (const { type, body } of this.#reader.read(bytes)) {
      queueMicrotask(() => this.#receivePackage(type, body));
    }
  }

  close() {
    this.isOpen = false;
    this.isClosed = true;
  }

  // The server's end.

  /** Several in one frame. */
  frame(...packages) {
    const bytes = Buffer.concat(packages);
    this.onmessage?.({ data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) });
  }

  push(route, body) {
    this.frame(push(route, body));
  }

  chat(seq, more = {}) {
    this.push('onChat', { msg: `m${seq}`, from: 'bob', target: '*', rid: 'lobby', seq, time: seq, ...more });
  }

  respond(id, body) {
    this.frame(response(id, body));
  }

  kick(reason) {
    this.frame(encodePackage(PackageType.KICK, text({ reason })));
  }

  beat() {
    this.frame(encodePackage(PackageType.HEARTBEAT));
  }

  break() {
    this.isOpen = false;
    this.onclose?.();
  }

  #receivePackage(type, body) {
    if (!this.isOpen) {
      return;
    }
    if (type === PackageType.HANDSHAKE) {
      this.cluster.handshakes.push(value(body));
      this.frame(encodePackage(PackageType.HANDSHAKE, text(this.cluster.handshake)));
    } else if (type === PackageType.HEARTBEAT) {
      this.beats += 1;
    } else if (type === PackageType.DATA) {
      this.#receiveRequest(decodeMessage(body));
    }
  }

  #receiveRequest({ id, route, body }) {
    const name = Object.keys(DICT).find((known) => DICT[known] === route) ?? route;
    const request = { route: name, id, body: value(body), line: this, isCode: typeof route === 'number' };
    this.cluster.requests.push(request);
    const content = this.cluster.responses[name]?.(request.body, request);
    if (content !== undefined) {
      this.respond(id, content);
    }
  }
}

/** Returns a push as a package, with its code if it has one. */
export function push(route, body) {
  const message = { type: MessageType.PUSH, route: DICT[route] ?? route, body: text({ route, ...body }) };
  return encodePackage(PackageType.DATA, encodeMessage(message));
}

/** Returns a response as a package. */
export function response(id, body) {
  return encodePackage(PackageType.DATA, encodeMessage({ type: MessageType.RESPONSE, id, body: text(body) }));
}

/** Lets everything happen that waits for no timer. */
export async function settle() {
  for (let round = 0; round < 20; round += 1) {
    await new Promise(setImmediate);
  }
}

/** Lets time pass, as far as timers know, and everything happen that comes of it. */
export async function pass(milliseconds) {
  await settle();
  mock.timers.tick(milliseconds);
  await settle();
}

/** Timers stand still from now on, and chance is always the middle. */
export function holdTime(t) {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(Math, 'random', () => 0.5);
  t.after(() => mock.timers.reset());
}

/** A room on a cluster of its own, and all events that it emits. */
export async function enter(t, change = () => {}, options = {}) {
  holdTime(t);
  const cluster = new FakeCluster();
  change(cluster);
  const { onEntered, ...rest } = options;
  const connecting = connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', WebSocket: cluster.WebSocket, ...rest });
  connecting.catch(() => {});
  await settle();
  const names = ['chat', 'add', 'leave', 'users', 'rights', 'rule', 'expel', 'gap', 'state', 'kick', 'close', 'push'];
  const emitted = Object.fromEntries(names.map((name) => [name, []]));
  const listen = (room) => Object.entries(emitted).forEach(([name, list]) => room.on(name, (event) => list.push(event)));
  connecting.then(listen, () => {});
  connecting.then(onEntered, () => {});
  await pass(0);
  t.after(() => connecting.then((room) => room.close(), () => {}));
  return { cluster, connecting, emitted, room: await Promise.race([connecting.catch(() => null), settle()]) };
}
