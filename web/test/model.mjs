// A model of a room's server and of the network to it, in virtual time: everything follows from a
// seed. The server keeps the order of docs/reference/protocol.md; the network breaks connections at any
// moment. Uses the module's own codec, which has tests of its own.

import {
  decodeMessage,
  encodeMessage,
  encodePackage,
  MessageType,
  PackageReader,
  PackageType,
  ROUTES,
} from '../pomelo-client.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const json = (value) => encoder.encode(JSON.stringify(value));

/** The rights of a member for which the server names no others. */
const MEMBER_RIGHTS = ['enter', 'send', 'whisper', 'read', 'list', 'signal'];

const NOT_ALLOWED = { code: 403, error: true, reason: 'not-allowed: x' };

export const LEAVE = 'chat.chatHandler.leave';
/** The name of the client under test. */
export const ME = 'me';
const LARGE = 9;
const SMALL = 6;
const RESUME = 3_000;
const PAGE = 3;

/** A generator of chance (mulberry32): small, and the same on every machine. */
export class Chance {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** At least 0, below 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit) {
    return Math.floor(this.next() * limit);
  }

  /** True once in so many times. */
  once(times) {
    return this.below(times) === 0;
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}

/**
 * Virtual time, in milliseconds. Callbacks that are due at one time run in the order of their
 * calls of `after`.
 */
export class Clock {
  now = 0;
  #due = [];
  #last = 0;

  after(delay, then) {
    const entry = { at: this.now + Math.max(0, delay), number: (this.#last += 1), then };
    let at = this.#due.length;
    while (at > 0 && this.#due[at - 1].at > entry.at) {
      at -= 1;
    }
    this.#due.splice(at, 0, entry);
    return entry;
  }

  cancel(entry) {
    const at = this.#due.indexOf(entry);
    if (at >= 0) {
      this.#due.splice(at, 1);
    }
  }

  /** Runs the next thing that is due until then; false if there is none. */
  step(until) {
    if (this.#due.length === 0 || this.#due[0].at > until) {
      this.now = until;
      return false;
    }
    const { at, then } = this.#due.shift();
    this.now = at;
    then();
    return true;
  }
}

/** The network: websockets of the client, each with the server's end of it. */
export class Network {
  sockets = [];
  /** `ok`; `refused`: connections are; `dead`: bytes are lost, and no end gets an event. */
  state = 'ok';
  /** Errors that no handler took, which end a program in node. */
  uncaught = [];

  constructor(clock, chance, serve) {
    this.clock = clock;
    this.chance = chance;
    this.serve = serve;
  }

  get WebSocket() {
    const network = this;
    return class extends Socket {
      constructor(url) {
        super(network, url);
      }
    };
  }

  get open() {
    return this.sockets.filter(({ state }) => state !== 'closed');
  }

  latency() {
    return 1 + this.chance.below(this.chance.once(20) ? 400 : 40);
  }
}

/**
 * A websocket as the package `ws` behaves, and both directions of its connection: in order, and
 * lost when it breaks.
 */
class Socket {
  state = 'connecting';
  isDead = false;
  /** The server's end: `receive(bytes)`, `onEnd(isOrderly)`. */
  peer = null;
  #arrival = { up: 0, down: 0 };

  constructor(network, url) {
    Object.assign(this, { network, url, isDead: network.state === 'dead' });
    network.sockets.push(this);
    this.#later('down', () => this.#connected());
  }

  // The client's end.

  send(bytes) {
    if (this.state === 'connecting') {
      throw new Error('WebSocket is not open: readyState 0');
    }
    if (this.state === 'open') {
      this.#later('up', () => this.peer?.receive(bytes));
    }
  }

  close() {
    if (this.state === 'connecting') {
      this.state = 'closed';
      this.network.clock.after(0, () => this.#fail('WebSocket was closed before the connection was established'));
    } else if (this.state === 'open') {
      this.state = 'closed';
      this.#later('up', () => this.#endPeer(true));
    }
  }

  // The server's end.

  push(...packages) {
    const bytes = Buffer.concat(packages);
    this.#later('down', () => {
      if (this.state === 'open') {
        this.onmessage?.({ data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) });
      }
    });
  }

  /** Closes in an orderly way: what was sent before still arrives. */
  shut() {
    this.#endPeer(true);
    this.#later('down', () => this.#closed());
  }

  // The network's.

  /** Breaks now; what is under way is lost. `silently`: neither end gets an event. */
  break(silently) {
    this.isDead = true;
    if (!silently) {
      this.network.clock.after(0, () => this.#closed());
    }
    // A server notices silence by missing heartbeats, at the latest.
    this.network.clock.after(silently ? 60_000 : 0, () => this.#endPeer(false));
  }

  #connected() {
    if (this.state !== 'connecting') {
      return;
    }
    if (this.network.state === 'refused') {
      this.state = 'closed';
      this.#fail('connect ECONNREFUSED');
      return;
    }
    this.state = 'open';
    this.peer = this.network.serve(this);
    this.onopen?.();
  }

  #fail(message) {
    if (this.onerror) {
      this.onerror({ message });
    } else {
      this.network.uncaught.push(message);
    }
    this.onclose?.();
  }

  #closed() {
    if (this.state !== 'closed') {
      this.state = 'closed';
      this.onclose?.();
    }
  }

  #endPeer(isOrderly) {
    const { peer } = this;
    this.peer = null;
    peer?.onEnd(isOrderly);
  }

  #later(direction, then) {
    const { clock } = this.network;
    const at = Math.max(this.#arrival[direction], clock.now + this.network.latency());
    this.#arrival[direction] = at;
    clock.after(at - clock.now, () => this.isDead || then());
  }
}

/** One life of the room's log, with all that was ever in it. */
class Life {
  seq;
  /** Messages that are there, ascending. */
  log = [];
  /** Messages that ever were. */
  archive = [];
  evicted = 0;
  ids = new Map();

  constructor(epoch, seq) {
    [this.epoch, this.seq] = [epoch, seq];
  }
}

/**
 * The server: a gate, and connectors that follow one room. `isCalm`: it refuses nothing, and
 * nothing fails.
 */
export class Server {
  isCalm = false;
  /** Called with the socket of a client that reads the history. */
  onRead = () => {};
  lives = [new Life(7, 1_000)];
  /** Names, with the token of the membership. */
  members = new Map([['bob', 'b']]);
  /** The number of messages that the log keeps. */
  keeps = 30;
  session = null;
  /** The rights of the client's member. */
  rights = MEMBER_RIGHTS;
  /** The reasons of the acts that were done: each has its own. */
  acts = new Set();
  #mutedUntil = null;
  #shown = new Set(['bob']);
  #isLarge = false;
  #countedAt = -1_000;
  #counting = null;
  #isMissing = false;
  /**
   * Messages that are committed later, though nothing is known of them: their ids, with what will
   * do it.
   */
  #pending = new Map();

  constructor(clock, chance) {
    this.clock = clock;
    this.chance = chance;
  }

  get life() {
    return this.lives.at(-1);
  }

  get isLarge() {
    return this.#isLarge;
  }

  /** A connection, as {@link Network} wants it. */
  serve(socket) {
    const reader = new PackageReader();
    const isGate = socket.url.includes('gate');
    const connection = { socket, hears: false, knowsNames: false, token: null };
    const receive = (bytes) => reader.read(bytes).forEach((each) => this.#package(connection, each, isGate));
    return { receive, onEnd: (isOrderly) => this.#ended(connection, isOrderly) };
  }

  // Events of the room.

  join(name, token = name) {
    this.members.set(name, token);
    this.life.seq += 1 + this.chance.below(3);
    this.#changed(name, 'onAdd');
  }

  leave(name) {
    if (this.members.delete(name)) {
      this.life.seq += 1 + this.chance.below(3);
      this.#changed(name, 'onLeave');
    }
  }

  /** Commits a message, and pushes it to its recipients. */
  say(from, target, msg, id) {
    const { life } = this;
    life.seq += 1 + this.chance.below(3);
    const message = { msg, from, target, seq: life.seq, time: life.seq, sessions: [this.members.get(from), this.members.get(target)] };
    life.log.push(message);
    life.archive.push(message);
    if (id) {
      life.ids.set(id, message);
    }
    while (life.log.length > this.keeps) {
      life.evicted = life.log.shift().seq;
    }
    if (target === '*' || target === ME) {
      this.#push('onChat', plain(message));
    }
    return message;
  }

  /**
   * Things happen that are not pushed; then a gap is, and the difference in names, or that they are
   * to be read.
   */
  miss(what) {
    const from = this.life.seq;
    const { session } = this;
    const hears = session?.hears;
    if (session) {
      session.hears = false;
    }
    this.#isMissing = true;
    what();
    this.#isMissing = false;
    if (hears && session === this.session) {
      session.hears = true;
      this.#push('onGap', { rid: 'lobby', from, to: this.life.seq, epoch: this.life.epoch });
    }
    this.#show(this.chance.once(3));
  }

  /** The log is lost, or its end; another life begins, with numbers of its own. */
  loseLog() {
    const { life, chance } = this;
    const next = new Life(life.epoch + 1 + chance.below(3), chance.once(2) ? chance.below(20) : life.seq);
    if (next.seq >= life.seq && life.log.length > 0) {
      next.log = life.log.slice(0, chance.below(life.log.length));
      next.archive = [...next.log];
      next.seq = next.log.at(-1)?.seq ?? life.evicted;
      next.evicted = life.evicted;
      const kept = new Set(next.log);
      next.ids = new Map([...life.ids].filter(([, message]) => kept.has(message)));
    }
    this.lives.push(next);
  }

  /** Closes the client's connection; its place is kept for a moment. */
  shut() {
    this.session?.socket.shut();
  }

  kick(reason) {
    this.session?.socket.push(encodePackage(PackageType.KICK, json({ reason })));
    this.shut();
  }

  // Moderation

  may(action) {
    return this.rights.includes(action);
  }

  setRights(rights) {
    this.rights = rights;
    if (this.session) {
      this.session.knowsNames &&= this.may('list');
    }
    this.#push('onRights', { rid: 'lobby', rights });
  }

  /** Mutes the client's member: until then, or without an end, which is 0. */
  mute(until) {
    this.#mutedUntil = until;
    this.#push('onRule', { rid: 'lobby', kind: 'mute', until, time: this.clock.now });
  }

  /** Removes the client's member, who does not come back by itself. */
  expel(reason) {
    const { session } = this;
    if (session?.hears) {
      this.#push('onExpel', { rid: 'lobby', reason });
      this.kick('expelled');
      session.hears = false;
      this.session = null;
      this.leave(ME);
    }
  }

  get #isMuted() {
    return this.#mutedUntil === 0 || this.#mutedUntil > this.clock.now;
  }

  /** Does an act of the client on another member. */
  #act({ hears }, { name, reason }, isExpulsion) {
    if (!hears) {
      return { code: 500, error: true, reason: 'not-in-room: x' };
    }
    if (!this.members.has(name)) {
      return { code: 500, error: true, reason: 'no-such-member: x' };
    }
    this.acts.add(reason);
    if (isExpulsion) {
      this.leave(name);
    }
    return { code: 200, seq: this.life.seq, time: this.life.seq };
  }

  // Connections

  #package(connection, { type, body }, isGate) {
    const { socket } = connection;
    if (type === PackageType.HANDSHAKE) {
      socket.push(encodePackage(PackageType.HANDSHAKE, json({ code: 200, sys: { heartbeat: isGate ? 0 : 30 } })));
    } else if (type === PackageType.HANDSHAKE_ACK || type === PackageType.HEARTBEAT) {
      socket.push(encodePackage(PackageType.HEARTBEAT));
    } else if (type === PackageType.DATA) {
      const { id, route, body: bytes } = decodeMessage(body);
      this.#request(connection, { id, route, body: JSON.parse(decoder.decode(bytes)) });
    }
  }

  #request(connection, { id, route, body }) {
    const { chance } = this;
    const respond = (content) => connection.socket.push(response(id, content));
    if (!this.isCalm && chance.once(100)) {
      return;
    }
    if (!this.isCalm && route !== ROUTES.SEND && chance.once(30)) {
      respond(chance.pick([{ code: 503, reason: 'unknown: x' }, { code: 429, reason: 'rate: x' }]));
      return;
    }
    const handlers = {
      [ROUTES.QUERY_ENTRY]: () => respond({ code: 200, host: 'connector', port: 1 + chance.below(3) }),
      [ROUTES.ENTER]: () => this.#enter(connection, body, respond),
      [ROUTES.SEND]: () => this.#send(connection, body, respond),
      [ROUTES.HISTORY]: () => {
        this.onRead(connection.socket);
        respond(this.#history(connection, body));
      },
      [ROUTES.MEMBERS]: () => respond(this.#page(connection, body)),
      [ROUTES.MUTE]: () => respond(this.#act(connection, body, false)),
      [ROUTES.EXPEL]: () => respond(this.#act(connection, body, true)),
      [LEAVE]: () => this.#left(connection, respond),
    };
    handlers[route]();
  }

  #ended(connection, isOrderly) {
    connection.hears = false;
    if (connection !== this.session) {
      return;
    }
    this.session = null;
    const { token } = connection;
    const isStill = () => this.session === null && this.members.get(ME) === token;
    // The end of a socket that the server shut is not the client's wish; that of one that the
    // client closed is.
    const delay = isOrderly && connection.socket.state === 'closed' ? 0 : RESUME;
    this.clock.after(delay, () => isStill() && this.leave(ME));
  }

  #left(connection, respond) {
    if (connection === this.session) {
      connection.hears = false;
      this.session = null;
      this.leave(ME);
    }
    respond({ code: 200 });
  }

  // Entering

  #enter(connection, { username, token, since, epoch }, respond) {
    if (this.members.has(username) && this.members.get(username) !== token) {
      respond({ code: 500, error: true, reason: 'name-taken: x' });
      return;
    }
    if (this.session && this.session !== connection) {
      const old = this.session;
      old.hears = false;
      this.session = null;
      old.socket.push(encodePackage(PackageType.KICK, json({ reason: 'resumed' })));
      old.socket.shut();
    }
    this.session = connection;
    connection.token = token;
    if (this.members.has(username)) {
      this.life.seq += 1;
    } else {
      this.join(username, token);
    }
    // Messages that were missed are read: that takes a while, in which others send.
    const delay = since === undefined || epoch !== this.life.epoch ? 0 : this.chance.below(60);
    this.clock.after(delay, () => this.#welcome(connection, { token, since, epoch }, respond));
  }

  #welcome(connection, { token, since, epoch }, respond) {
    if (connection !== this.session) {
      return;
    }
    connection.hears = true;
    connection.knowsNames = !this.#isLarge && this.may('list');
    const { life } = this;
    const users = this.may('list') ? this.#names().slice(0, LARGE - 4) : [];
    const names = { users, total: this.members.size, names: connection.knowsNames };
    const missed = since === undefined ? {} : this.#missed(token, since, epoch);
    const rights = this.rights === MEMBER_RIGHTS ? {} : { rights: this.rights };
    respond({ code: 200, ...names, ...rights, rid: 'lobby', seq: life.seq, time: life.seq, epoch: life.epoch, token, ...missed });
  }

  #missed(token, since, epoch) {
    const { life } = this;
    const isLate = !this.isCalm && this.chance.once(20);
    if (epoch !== life.epoch || isLate || !this.may('read')) {
      return { missed: [], recovered: false };
    }
    const all = life.log.filter((message) => message.seq > since && isVisible(message, token));
    const fit = all.slice(-1 - this.chance.below(6));
    const cursor = fit.length < all.length ? { cursor: fit[0].seq } : {};
    return { missed: fit.map(plain), recovered: life.evicted <= since, ...cursor };
  }

  #history({ token }, { before = Infinity, after }) {
    const { life } = this;
    if (!this.may('read')) {
      return NOT_ALLOWED;
    }
    const visible = life.log.filter((message) => isVisible(message, token));
    const count = 1 + this.chance.below(PAGE);
    if (after !== undefined) {
      const messages = visible.filter(({ seq }) => seq > after).slice(0, count);
      return { code: 200, epoch: life.epoch, messages: messages.map(plain), complete: life.evicted <= after };
    }
    const all = visible.filter(({ seq }) => seq < before);
    const messages = all.slice(-count);
    const isFirst = messages.length === all.length;
    const end = isFirst ? { complete: life.evicted === 0 } : { complete: true, cursor: messages[0].seq };
    return { code: 200, epoch: life.epoch, messages: messages.map(plain), ...end };
  }

  // Speaking

  /** Commits the message now, later or never; the response is true. */
  #send(connection, { target, content, id }, respond) {
    const { chance } = this;
    // Refused before the room sees it: the outcome of an earlier try stays unknown.
    if (!this.isCalm && chance.once(16)) {
      respond({ code: 429, reason: 'rate: x' });
      return;
    }
    this.clock.cancel(this.#pending.get(id));
    if (connection !== this.session || !this.members.has(ME)) {
      respond({ code: 500, reason: 'not-in-room: x' });
    } else if (this.life.ids.has(id)) {
      const { seq, time } = this.life.ids.get(id);
      respond({ code: 200, seq, time });
    } else if (!this.may(target === '*' ? 'send' : 'whisper')) {
      respond(NOT_ALLOWED);
    } else if (this.#isMuted) {
      respond({ code: 403, error: true, reason: 'muted: x', until: this.#mutedUntil });
    } else if (target !== '*' && !this.members.has(target)) {
      respond({ code: 500, reason: 'no-such-member: x' });
    } else if (this.isCalm || !chance.once(8)) {
      const { seq, time } = this.say(ME, target, content, id);
      respond({ code: 200, seq, time });
    } else if (chance.once(2)) {
      respond({ code: 403, reason: 'forbidden: x' });
    } else {
      if (chance.once(2)) {
        this.#sendLater(target, content, id);
      }
      respond({ code: 503, reason: 'unknown: x' });
    }
  }

  #sendLater(target, content, id) {
    const commit = () => {
      if (this.members.has(ME) && (target === '*' || this.members.has(target))) {
        this.say(ME, target, content, id);
      }
    };
    this.#pending.set(id, this.clock.after(this.chance.below(500), commit));
  }

  // Names

  #names() {
    return [...this.members.keys()].sort();
  }

  #page({ hears }, { after = '' }) {
    if (!hears) {
      return { code: 500, reason: 'not-in-room: x' };
    }
    if (!this.may('list')) {
      return NOT_ALLOWED;
    }
    const rest = this.#names().filter((name) => name > after);
    const users = rest.slice(0, 1 + this.chance.below(4));
    const cursor = users.length < rest.length ? { cursor: users.at(-1) } : {};
    return { code: 200, users, total: this.members.size, seq: this.life.seq, ...cursor };
  }

  #changed(name, route) {
    if (this.#isMissing) {
      return;
    }
    if (!this.#isLarge && this.members.size <= LARGE) {
      this.#shown = new Set(this.members.keys());
      this.#pushName(route, name);
    } else {
      this.#show(false);
    }
  }

  /** Pushes how the names differ from those that were pushed, or that they are to be read. */
  #show(isUnnamed) {
    const wasLarge = this.#isLarge;
    this.#isLarge = this.members.size > (wasLarge ? SMALL : LARGE);
    if (this.#isLarge) {
      this.#count(wasLarge);
      return;
    }
    const [before, now] = [this.#shown, new Set(this.members.keys())];
    this.#shown = now;
    if (!isUnnamed) {
      [...before].filter((name) => !now.has(name)).forEach((name) => this.#pushName('onLeave', name));
      [...now].filter((name) => !before.has(name)).forEach((name) => this.#pushName('onAdd', name));
    }
    if (isUnnamed || wasLarge) {
      this.#push('onMembers', { rid: 'lobby', total: this.members.size, names: true });
      if (this.session?.hears) {
        this.session.knowsNames = this.may('list');
      }
    }
  }

  /** While a room is large: how many are in it, at once and then once a second. */
  #count(wasLarge) {
    const push = () => {
      this.#counting = null;
      if (this.#isLarge) {
        this.#countedAt = this.clock.now;
        this.#push('onMembers', { rid: 'lobby', total: this.members.size, names: false });
      }
    };
    if (!wasLarge) {
      push();
    } else if (!this.#counting) {
      this.#counting = this.clock.after(this.#countedAt + 1_000 - this.clock.now, push);
    }
  }

  #pushName(route, user) {
    if (this.session?.knowsNames && user !== ME) {
      this.#push(route, { user });
    }
  }

  #push(route, body) {
    if (this.session?.hears) {
      this.session.socket.push(push(route, body));
    }
  }
}

function plain({ msg, from, target, seq, time }) {
  return { msg, from, target, seq, time };
}

/** Returns true if a membership sees a message: one to all, or a whisper that it sent or got. */
export function isVisible({ target, sessions }, token) {
  return target === '*' || sessions.includes(token);
}

function push(route, body) {
  const message = { type: MessageType.PUSH, route, body: json({ route, ...body }) };
  return encodePackage(PackageType.DATA, encodeMessage(message));
}

function response(id, body) {
  return encodePackage(PackageType.DATA, encodeMessage({ type: MessageType.RESPONSE, id, body: json(body) }));
}
