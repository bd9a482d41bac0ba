/**
 * A client of Shaddock, and of other servers of Pomelo's chat: one module without dependencies, for browsers and node.
 *
 *   import { connect } from './pomelo-client.js';
 *
 *   const room = await connect({ gate: 'ws://127.0.0.1:3014', user: 'ann', room: 'lobby' });
 *   room.on('chat', ({ from, msg }) => console.log(from, msg));
 *   await room.say('hello');
 *
 * It owns the way to the room: finding a connector, coming back after a lost connection, saying each message once and
 * telling each message once and in order. It knows no page and stores nothing.
 *
 * @module pomelo-client
 */

/** Routes, in Pomelo's words. */
export const ROUTES = Object.freeze({
  QUERY_ENTRY: 'gate.gateHandler.queryEntry',
  ENTER: 'connector.entryHandler.enter',
  SEND: 'chat.chatHandler.send',
  HISTORY: 'chat.chatHandler.history',
  MEMBERS: 'chat.chatHandler.members',
});

// --- Errors ----------------------------------------------------------------------------------------------------------

/**
 * Why something did not happen.
 *
 * `code` is a stable word: the server's (`name-taken`, `forbidden`, `too-long`, `rate`,
 * `no-such-member`, ...; `refused` from servers that give none), or ours: `timeout`, `closed`,
 * `kicked`, `busy` (too many messages wait), `connect` (no server there), `protocol` (no Pomelo
 * server, or one that we do not understand), `bad-options`, `bad-body` (not JSON).
 */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{ status?: number, unknown?: boolean, reason?: string }} [more] `status`: the `code` of the server's answer, 0
   *   if there was none; `unknown`: it may have happened all the same, or happen yet; `reason`: why we were kicked
   */
  constructor(code, message = code, { status = 0, unknown = false, reason = '' } = {}) {
    super(message);
    this.name = 'ChatError';
    this.code = code;
    this.status = status;
    this.unknown = unknown;
    this.reason = reason;
  }
}

/** The body of an answer, if it says that all is well; Pomelo's own may have no code, or only an `error`. */
function succeeded(body) {
  const status = body.code ?? (body.error ? 500 : 200);
  if (status === 200) {
    return body;
  }
  const text = String(body.reason ?? '');
  const code = /^[a-z-]+(?=:|$)/.exec(text)?.[0] ?? 'refused';
  throw new ChatError(code, text || `the server answered ${status}`, { status, unknown: status === 503 || status === 507 });
}

// --- Packages and messages -------------------------------------------------------------------------------------------

/** What a package is. */
export const PackageType = Object.freeze({ HANDSHAKE: 1, HANDSHAKE_ACK: 2, HEARTBEAT: 3, DATA: 4, KICK: 5 });

/** What a message, the body of a data package, is. */
export const MessageType = Object.freeze({ REQUEST: 0, NOTIFY: 1, RESPONSE: 2, PUSH: 3 });

const HEAD = 4;
const MAX_BODY = 0xffffff;
const MAX_ROUTE = 255;
const MAX_ID = 0xffffffff;
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A package: type, three bytes of length, body. */
export function encodePackage(type, body = NOTHING) {
  if (body.length > MAX_BODY) {
    throw new ChatError('too-long', `a package of ${body.length} bytes`);
  }
  const bytes = new Uint8Array(HEAD + body.length);
  bytes.set([type, body.length >> 16, (body.length >> 8) & 0xff, body.length & 0xff]);
  bytes.set(body, HEAD);
  return bytes;
}

/** Takes packages out of bytes, however those are cut. Keeps what is incomplete, of at most one package. */
export class PackageReader {
  #kept = NOTHING;

  /** @returns {{ type: number, body: Uint8Array }[]} the packages that are complete now */
  read(bytes) {
    const all = this.#kept.length === 0 ? bytes : concatenated(this.#kept, bytes);
    const packages = [];
    let start = 0;
    while (all.length - start >= HEAD) {
      const end = start + HEAD + ((all[start + 1] << 16) | (all[start + 2] << 8) | all[start + 3]);
      if (all[start] < PackageType.HANDSHAKE || all[start] > PackageType.KICK) {
        throw new ChatError('protocol', `there is no package type ${all[start]}`);
      }
      if (end > all.length) {
        break;
      }
      packages.push({ type: all[start], body: all.subarray(start + HEAD, end) });
      start = end;
    }
    this.#kept = all.slice(start);
    return packages;
  }
}

/**
 * The body of a data package.
 *
 * @param {{ type: number, id?: number, route?: string | number, body?: Uint8Array }} message a `route` that is a number is
 *   a code of the dictionary
 */
export function encodeMessage({ type, id = 0, route = '', body = NOTHING }) {
  const isCode = typeof route === 'number';
  const head = [(type << 1) | (isCode ? 1 : 0)];
  if (type === MessageType.REQUEST || type === MessageType.RESPONSE) {
    writeId(head, id);
  }
  if (type !== MessageType.RESPONSE) {
    head.push(...(isCode ? [route >> 8, route & 0xff] : withLength(encoder.encode(route))));
  }
  return concatenated(Uint8Array.from(head), body);
}

/** @returns {{ type: number, id: number, route: string | number, body: Uint8Array }} */
export function decodeMessage(bytes) {
  const type = (bytes[0] >> 1) & 7;
  if (bytes.length === 0 || type > MessageType.PUSH) {
    throw new ChatError('protocol', 'this is no message');
  }
  let [at, id, route] = [1, 0, ''];
  if (type === MessageType.REQUEST || type === MessageType.RESPONSE) {
    [id, at] = readId(bytes, at);
  }
  if (type !== MessageType.RESPONSE) {
    [route, at] = bytes[0] & 1 ? [(bytes[at] << 8) | bytes[at + 1], at + 2] : readRoute(bytes, at);
  }
  if (at > bytes.length) {
    throw new ChatError('protocol', 'a message ends too early');
  }
  return { type, id, route, body: bytes.subarray(at) };
}

function concatenated(one, other) {
  const bytes = new Uint8Array(one.length + other.length);
  bytes.set(one);
  bytes.set(other, one.length);
  return bytes;
}

function withLength(route) {
  if (route.length > MAX_ROUTE) {
    throw new ChatError('too-long', `a route of ${route.length} bytes`);
  }
  return [route.length, ...route];
}

// Bit operations are of 32 bits with a sign, ids of 32 without.
function writeId(head, id) {
  let rest = id;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) {
    head.push((rest % 0x80) | 0x80);
  }
  head.push(rest);
}

function readId(bytes, start) {
  let id = 0;
  for (let at = start, unit = 1; at < bytes.length && id <= MAX_ID; at += 1, unit *= 0x80) {
    id += (bytes[at] & 0x7f) * unit;
    if (bytes[at] < 0x80 && id <= MAX_ID) {
      return [id, at + 1];
    }
  }
  throw new ChatError('protocol', 'an id is not complete, or too large');
}

function readRoute(bytes, start) {
  const end = start + 1 + (bytes[start] ?? 0);
  return [decoder.decode(bytes.subarray(start + 1, end)), end];
}

const toJson = (value) => encoder.encode(JSON.stringify(value));

/**
 * A request's body as bytes. Throws `bad-body` for a value that has no JSON (BigInts, cycles),
 * `too-long` for a large one.
 */
function encodeBody(body) {
  let json;
  try {
    json = toJson(body);
  } catch (error) {
    throw new ChatError('bad-body', `the body has no JSON: ${error.message}`);
  }
  if (json.length > MAX_SENT) {
    throw new ChatError('too-long', `${json.length} bytes are too much`, { status: 413 });
  }
  return json;
}

/** A JSON object. What is none is an empty one: an empty body is what stock servers send when theirs fails. */
function fromJson(bytes) {
  try {
    const value = JSON.parse(decoder.decode(bytes));
    return value !== null && typeof value === 'object' ? value : {};
  } catch {
    return {};
  }
}

// --- Timers and promises ---------------------------------------------------------------------------------------------

/** The longest time that `setTimeout` takes; above, it would fire at once. */
const LONGEST = 0x7fffffff;

const startTimer = (delay, then) => setTimeout(then, Math.min(delay, LONGEST));

/** The timers of one owner, by name. They end with it: none starts afterwards. */
class Timers {
  #started = new Map();
  #hasEnded = false;

  /** Starts a timer, in the place of the one of this name. */
  start(name, delay, then) {
    this.stop(name);
    if (this.#hasEnded) {
      return;
    }
    const fire = () => {
      this.#started.delete(name);
      then();
    };
    this.#started.set(name, startTimer(delay, fire));
  }

  has(name) {
    return this.#started.has(name);
  }

  stop(name) {
    clearTimeout(this.#started.get(name));
    this.#started.delete(name);
  }

  end() {
    this.#hasEnded = true;
    [...this.#started.keys()].forEach((name) => this.stop(name));
  }
}

/**
 * Marks a promise as handled: a rejection that no caller awaits is dropped, instead of ending a
 * node program.
 */
function handled(promise) {
  promise.catch(() => {});
  return promise;
}

/** A promise with its ends, marked as handled. */
function settler() {
  let ends;
  const promise = new Promise((resolve, reject) => (ends = { resolve, reject }));
  return { promise: handled(promise), ...ends };
}

// --- One connection --------------------------------------------------------------------------------------------------

/** Largest body that is sent: servers close connections that send 64 KiB. */
const MAX_SENT = 60 * 1024;

/**
 * One connection to a gate or a connector: handshake, heartbeats, requests and pushes. It ends once; `closed` is then
 * fulfilled with the error that says why, and all requests that wait are rejected with that.
 */
export class PomeloSocket {
  /** @type {Promise<ChatError>} never rejected */
  closed;
  #url;
  #options;
  #websocket;
  #reader = new PackageReader();
  #codes = {};
  #routes = new Map();
  #waiting = new Map();
  #lastId = 0;
  #beatEvery = 0;
  #timers = new Timers();
  #isOpen = false;
  #opened = settler();
  #ended = settler();
  #hasEnded = false;

  /**
   * Connects and shakes hands.
   *
   * @param {string} url
   * @param {{ timeout?: number, WebSocket?: Function, signal?: AbortSignal,
   *           onPush?: (route: string, body: object) => void, onKick?: (reason: string) => void }} [options] times are
   *   in milliseconds
   * @returns {Promise<PomeloSocket>} rejected with `connect`, `timeout`, `protocol`, `bad-options`, or `closed` if aborted
   */
  static async open(url, options = {}) {
    const socket = new PomeloSocket(url, options);
    const late = () => socket.close(new ChatError('timeout', `no answer from ${url}`));
    socket.#timers.start('open', options.timeout ?? 5_000, late);
    await socket.#opened.promise;
    return socket;
  }

  /** @private */
  constructor(url, options) {
    // Browsers refuse a websocket's URL with a fragment.
    this.#url = String(url).split('#', 1)[0];
    this.#options = options;
    this.closed = this.#ended.promise;
    this.#websocket = newWebSocket(options.WebSocket ?? globalThis.WebSocket, this.#url);
    this.#websocket.binaryType = 'arraybuffer';
    this.#websocket.onopen = () => this.#greet();
    this.#websocket.onmessage = ({ data }) => this.#receive(data);
    this.#websocket.onclose = this.#websocket.onerror = () => this.close(this.#lost());
    const abort = () => this.close();
    options.signal?.addEventListener('abort', abort);
    this.closed.then(() => options.signal?.removeEventListener('abort', abort));
    if (options.signal?.aborted) {
      this.close();
    }
  }

  /**
   * Asks; the promise is of the answer's body, whatever that says.
   *
   * Promises settle later than packages are read. Where the order of answers and pushes matters, `onAnswer` gets the body
   * before anything behind it is looked at, and the promise is of what it returns.
   *
   * @param {string} route
   * @param {object} body
   * @param {{ timeout?: number, onAnswer?: (body: object) => any }} [options]
   */
  request(route, body, { timeout = 10_000, onAnswer = (answer) => answer } = {}) {
    const { promise, resolve, reject } = settler();
    const id = this.#lastId = (this.#lastId % MAX_ID) + 1;
    const expire = () => this.#forget(id)?.reject(new ChatError('timeout', `no answer to ${route}`, { unknown: true }));
    this.#waiting.set(id, { resolve, reject, onAnswer, timer: startTimer(timeout, expire) });
    try {
      this.#tell({ type: MessageType.REQUEST, id, route }, body);
    } catch (error) {
      this.#forget(id)?.reject(error);
    }
    return promise;
  }

  /** Tells the server something that is not answered. Throws if it cannot be sent. */
  notify(route, body) {
    this.#tell({ type: MessageType.NOTIFY, route }, body);
    this.#requireLife();
  }

  /** Ends the connection at once; what waits is rejected with `error`. */
  close(error = new ChatError('closed', 'the connection was closed', { unknown: true })) {
    if (this.#hasEnded) {
      return;
    }
    this.#hasEnded = true;
    this.#timers.end();
    // A websocket may take long to close when its network is gone; its events are ignored from here
    // on. A handler for errors stays: the package ws emits one when a websocket is closed while it
    // connects, and node ends a program for an error without a handler.
    Object.assign(this.#websocket, { onopen: null, onmessage: null, onclose: null, onerror: () => {} });
    try {
      this.#websocket.close();
    } catch {
      // Implementations may refuse to close a websocket that is not open yet. It is given up all
      // the same.
    }
    for (const id of [...this.#waiting.keys()]) {
      this.#forget(id).reject(error);
    }
    this.#opened.reject(error);
    this.#ended.resolve(error);
  }

  /** Whether it can be used: from the handshake on until it ends. */
  get isOpen() {
    return this.#isOpen && !this.#hasEnded;
  }

  #lost() {
    return this.#isOpen
      ? new ChatError('closed', 'the connection was lost', { unknown: true })
      : new ChatError('connect', `cannot connect to ${this.#url}`);
  }

  #greet() {
    this.#write(encodePackage(PackageType.HANDSHAKE, toJson({ sys: { type: 'js-module', version: '0.1.0' } })));
  }

  /** Throws if the connection has ended. A websocket that refuses the bytes ends it. */
  #write(bytes) {
    this.#requireLife();
    try {
      this.#websocket.send(bytes);
    } catch (error) {
      this.close(new ChatError('closed', `cannot send: ${error.message}`, { unknown: true }));
    }
  }

  #requireLife() {
    if (this.#hasEnded) {
      throw new ChatError('closed', 'the connection is closed');
    }
  }

  #tell(message, body) {
    const json = body instanceof Uint8Array ? body : encodeBody(body);
    const route = this.#codes[message.route] ?? message.route;
    this.#write(encodePackage(PackageType.DATA, encodeMessage({ ...message, route, body: json })));
  }

  #forget(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }

  #receive(data) {
    try {
      this.#watch();
      const bytes = typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data);
      for (const { type, body } of this.#reader.read(bytes)) {
        this.#package(type, body);
      }
    } catch (error) {
      this.close(error instanceof ChatError ? error : new ChatError('protocol', String(error)));
    }
  }

  #package(type, body) {
    if (this.#hasEnded) {
      return;
    }
    switch (type) {
      case PackageType.HANDSHAKE:
        return this.#agree(fromJson(body));
      case PackageType.HEARTBEAT:
        return this.#schedule();
      case PackageType.DATA:
        return this.#message(decodeMessage(body));
      case PackageType.KICK:
        return this.#kicked(String(fromJson(body).reason ?? 'kick'));
    }
  }

  #agree({ code, sys = {} }) {
    if (code !== 200 || sys.useProto) {
      const why = sys.useProto ? 'the server speaks protobuf' : `the server refused the handshake: ${code}`;
      throw new ChatError('protocol', why, { status: code === 200 ? 0 : code });
    }
    this.#codes = Object.assign(Object.create(null), sys.dict ?? sys.routeToCode);
    this.#routes = new Map(Object.entries(this.#codes).map(([route, number]) => [number, route]));
    this.#beatEvery = (sys.heartbeat ?? 0) * 1000;
    this.#write(encodePackage(PackageType.HANDSHAKE_ACK));
    this.#isOpen = true;
    this.#schedule();
    this.#watch();
    this.#timers.stop('open');
    this.#opened.resolve();
  }

  /** Schedules our next heartbeat. */
  #schedule() {
    if (this.#beatEvery > 0) {
      this.#timers.start('beat', this.#beatEvery, () => this.#write(encodePackage(PackageType.HEARTBEAT)));
    }
  }

  /** The server answers each heartbeat at once: after two intervals of silence it is gone. */
  #watch() {
    if (this.#beatEvery > 0) {
      const silent = () => this.close(new ChatError('closed', 'the server fell silent', { unknown: true }));
      this.#timers.start('silence', 2 * this.#beatEvery, silent);
    }
  }

  #message({ type, id, route, body }) {
    if (type === MessageType.RESPONSE) {
      this.#answered(this.#forget(id), fromJson(body));
    } else if (type === MessageType.PUSH) {
      const name = typeof route === 'number' ? this.#routes.get(route) : route;
      if (name === undefined) {
        throw new ChatError('protocol', `no route has the code ${route}`);
      }
      this.#options.onPush?.(name, fromJson(body));
    }
  }

  #answered(waiting, body) {
    try {
      waiting?.resolve(waiting.onAnswer(body));
    } catch (error) {
      waiting.reject(error);
    }
  }

  #kicked(reason) {
    this.#options.onKick?.(reason);
    this.close(new ChatError('kicked', `kicked: ${reason}`, { reason, unknown: true }));
  }
}

function newWebSocket(Socket, url) {
  if (Socket === undefined) {
    throw new ChatError('bad-options', 'there is no WebSocket here: pass one as an option');
  }
  try {
    return new Socket(url);
  } catch (error) {
    throw new ChatError('bad-options', `${url}: ${error.message}`);
  }
}

/**
 * Asks a gate which connector `uid` is to use.
 *
 * @param {string} gate its URL
 * @param {string} uid
 * @param {object} [options] as for {@link PomeloSocket.open}
 * @returns {Promise<{ host: string, port: number }>} rejected as {@link PomeloSocket.open}; `no-connector` if it knows none
 */
export async function queryEntry(gate, uid, options = {}) {
  const socket = await PomeloSocket.open(gate, options);
  try {
    const { host, port } = succeeded(await socket.request(ROUTES.QUERY_ENTRY, { uid }, { timeout: options.timeout ?? 5_000 }));
    return { host, port };
  } catch (error) {
    // Stock gates give no reason, and have no other.
    throw error.code === 'refused' ? new ChatError('no-connector', error.message, { status: error.status }) : error;
  } finally {
    socket.close();
  }
}

// --- What is to be said ----------------------------------------------------------------------------------------------

/**
 * Messages whose outcome is not known yet, in the order in which they are to be said. Pure: it says what to send next.
 *
 * After an outcome that stayed unknown nothing new is sent. When nothing is on the way any more, the unknown ones are sent
 * again, oldest first, each alone. So nothing that is said later can come before what was sent again.
 */
class Outbox {
  #drafts = [];
  #window;

  constructor(window) {
    this.#window = window;
  }

  get size() {
    return this.#drafts.length;
  }

  add(draft) {
    this.#drafts.push(Object.assign(draft, { tries: 0, flying: false }));
  }

  /** The next message to be sent now, noted as sent; undefined if there is none, or it has to wait. */
  next() {
    const flying = this.#drafts.filter((draft) => draft.flying);
    const isUnclear = this.#drafts.some((draft) => draft.tries > 0 && !draft.flying) || flying.some(({ tries }) => tries > 1);
    if (flying.length >= (isUnclear ? 1 : this.#window)) {
      return undefined;
    }
    const draft = this.#drafts.find((draft) => !draft.flying);
    if (draft) {
      draft.flying = true;
      draft.tries += 1;
    }
    return draft;
  }

  /** Takes a message out; false if it is not there any more. */
  remove(draft) {
    const at = this.#drafts.indexOf(draft);
    return at >= 0 && this.#drafts.splice(at, 1).length > 0;
  }

  /** The connection is gone, and with it every answer that has not come. */
  allUnknown() {
    this.#drafts.forEach((draft) => (draft.flying = false));
  }

  /** Takes out all that were sent, or all. */
  removeAll(onlySent) {
    const removed = this.#drafts.filter(({ tries }) => !onlySent || tries > 0);
    removed.forEach((draft) => this.remove(draft));
    return removed;
  }
}

// --- What was told and who is here ------------------------------------------------------------------------------------

/** Up to where a room's log was told. Pure. Stock servers give no `seq`: then everything is new. */
class Told {
  /** The life of the log that `seq` is of; undefined as long as none is known. */
  epoch;
  seq;
  #ownWhispers = new Set();

  constructor({ epoch, seq } = {}) {
    this.epoch = epoch;
    this.seq = epoch === undefined ? undefined : seq;
  }

  isNew(seq) {
    return !(seq <= this.seq);
  }

  /** Everything up to here was told. */
  upTo(seq) {
    if (seq !== undefined && this.isNew(seq)) {
      this.seq = seq;
    }
  }

  /** What is told from now on is of this life of the log. */
  goOnIn(epoch, seq) {
    [this.epoch, this.seq] = [epoch, seq];
    this.#ownWhispers.clear();
  }

  /** An own whisper was among what was missed; the answer to it is still to come. */
  noteOwn(seq) {
    this.#ownWhispers.add(seq);
  }

  /** Whether an own whisper was told before its answer came. Its `seq` does not say: others may have gone on meanwhile. */
  hasOwn(seq) {
    return this.#ownWhispers.has(seq);
  }

  /** No answers are still to come. */
  forgetOwn() {
    this.#ownWhispers.clear();
  }
}

/** Who is in a room, as far as it is told. Pure. */
class Crowd {
  users = new Set();
  total = 0;
  names = true;
  #reading = null;

  /** All anew: what the answer to `enter` has. */
  begin({ users = [], total = users.length, names = true }) {
    this.users = new Set(users);
    this.#reading = null;
    this.count({ total, names });
  }

  count({ total, names }) {
    [this.total, this.names] = [total, names];
  }

  /** Whether names are told, but not all are known. */
  get isPartial() {
    return this.names && this.total > this.users.size;
  }

  came(user) {
    this.total += this.users.has(user) ? 0 : 1;
    this.users.add(user);
    this.#reading?.add(user);
  }

  went(user) {
    this.total -= 1;
    this.users.delete(user);
    this.#reading?.delete(user);
  }

  /** A list in pages begins, instead of one that is not complete. Pushes between its pages are applied to it, as to a set. */
  read() {
    this.#reading = new Set();
    return this.#reading;
  }

  /** A page of a list; false if another one has begun. */
  page(reading, { users, cursor }) {
    if (this.#reading !== reading) {
      return false;
    }
    users.forEach((user) => reading.add(user));
    if (cursor === undefined) {
      [this.users, this.total, this.#reading] = [reading, reading.size, null];
    }
    return true;
  }
}

// --- A room ----------------------------------------------------------------------------------------------------------

const DEFAULTS = Object.freeze({
  connectTimeout: 15_000,
  requestTimeout: 10_000,
  // Servers know a message's id for a minute.
  sendTimeout: 40_000,
  minDelay: 500,
  maxDelay: 10_000,
  maxUnsent: 256,
});

/** Messages on the way at once; servers take 64, beside other requests. */
const WINDOW = 16;
/** Pushes that wait while the client enters; above, it starts over. */
const MAX_HELD = 4_096;
/** Time between tries of a message whose outcome stayed unknown. */
const AGAIN = 300;
/** A connection that held for so long was a good one. */
const STABLE = 5_000;
const HISTORY_PAGE = 100;
const MEMBERS_PAGE = 500;

/** Statuses that say nothing about the next try. */
const PASSING = new Set([429, 503, 507]);
/** Words that say nothing about the next try to enter. */
const PASSING_CODES = new Set(['no-connector', 'not-in-room']);

/**
 * Enters a room, through a gate, and stays there until it is closed or refused. See the declarations for all options.
 *
 * @param {{ gate: string, user: string, room: string, session?: object }} options
 * @returns {Promise<Room>} fulfilled in the room; rejected with what the server refuses, or after `connectTimeout` with the
 *   last thing that went wrong. Handlers that are added at once when it is fulfilled miss nothing.
 */
export function connect(options) {
  return Room.connect(options);
}

/** A member's stay in a room, over as many connections as it takes. Comes from {@link connect}. */
export class Room {
  #options;
  #gate;
  #state = { state: 'connecting', attempt: 0, delay: 0, error: null };
  #handlers = new Map();
  #outbox = new Outbox(WINDOW);
  #ids = { prefix: randomHex(4), last: 0 };
  #token;
  #told;
  #crowd = new Crowd();
  #resumable = false;
  #socket = null;
  #held = null;
  #abort = new AbortController();
  #begun = settler();
  #online = settler();
  #wake = () => {};
  #timers = {};

  /** @private */
  static async connect(options) {
    const room = new Room(options);
    const { connectTimeout } = room.#options;
    const late = () => room.#finish(room.#state.error ?? new ChatError('timeout', `not in the room after ${connectTimeout} ms`));
    const timer = setTimeout(late, connectTimeout);
    room.#run();
    try {
      await room.#begun.promise;
      return room;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @private */
  constructor(options) {
    this.#options = { ...DEFAULTS, address: connectorUrl, ...options };
    const { gate, user, room, session } = this.#options;
    if (![gate, user, room].every((text) => typeof text === 'string' && text !== '')) {
      throw new ChatError('bad-options', 'gate, user and room must be strings');
    }
    this.#gate = gateUrl(gate);
    // Chosen here, so that also the first try to enter can be repeated.
    this.#token = session?.token ?? randomHex(16);
    this.#told = new Told(session);
  }

  /** Our name. */
  get user() {
    return this.#options.user;
  }

  /** The room's name. */
  get room() {
    return this.#options.room;
  }

  /** `connecting`, `online`, `reconnecting` or `closed`; with how often it was tried since, when the next try is, and why. */
  get state() {
    return this.#state;
  }

  /** What a later {@link connect} needs to take this stay up again, with all that was missed. The token is a secret. */
  get session() {
    return { token: this.#token, seq: this.#told.seq, epoch: this.#told.epoch };
  }

  /** The names that are known to be in the room: all if `names`, else some. @returns {Set<string>} */
  get users() {
    return this.#crowd.users;
  }

  /** How many are in the room. */
  get total() {
    return this.#crowd.total;
  }

  /** Whether each coming and going is told; in a large room only how many are there. */
  get names() {
    return this.#crowd.names;
  }

  /**
   * Calls `handler` for each event of this name, in order. What handlers throw is reported, and disturbs nobody else.
   *
   * @param {string} event
   * @param {(event: object) => void} handler
   * @returns {() => void} takes the handler off again
   */
  on(event, handler) {
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Says something to all in the room. Settles as {@link Room.whisper}. */
  say(text, options) {
    return this.#send('*', text, options);
  }

  /**
   * Says something to one member. Fulfilled when it is in the room's log; rejected with what the server refuses, or at the
   * deadline. `error.unknown` tells whether it may be there all the same.
   *
   * @param {string} name
   * @param {string} text
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<{ seq?: number, time?: number }>}
   */
  whisper(name, text, options) {
    return this.#send(name, text, options);
  }

  /** A page of messages, ascending: the last ones, those before a `seq`, or the first ones after one. */
  history({ before, after, limit } = {}) {
    return this.request(ROUTES.HISTORY, { before, after, limit });
  }

  /** A page of the names in the room, in the server's order: the first ones, or those after a name. */
  members({ after, limit } = {}) {
    return this.request(ROUTES.MEMBERS, { after, limit });
  }

  /**
   * Asks the connector anything that may be asked twice, on the next connection if this one breaks.
   *
   * @returns {Promise<object>} the answer's body; rejected with what the server refuses, or after `timeout`
   */
  async request(route, body, { timeout = this.#options.requestTimeout } = {}) {
    let isLate = false;
    const { promise: late, reject } = settler();
    const timer = setTimeout(() => {
      isLate = true;
      reject(new ChatError('timeout', `no answer to ${route}`));
    }, timeout);
    try {
      while (!isLate) {
        const asking = this.#online.promise.then((socket) => socket.request(route, body, { timeout }));
        const answer = await Promise.race([asking, late]).catch((error) => this.#unlessLost(error));
        if (answer) {
          return succeeded(answer);
        }
      }
      return await late;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tries to come back now, not only when it is time: for a network that is there again. */
  reconnect() {
    this.#wake();
  }

  /** Leaves the room and ends everything; what waits is rejected with `closed`. */
  close() {
    this.#finish(new ChatError('closed', 'the room was closed'));
  }

  #unlessLost(error) {
    if (error.code !== 'closed' || this.#isOver) {
      throw error;
    }
  }

  get #isOver() {
    return this.#state.state === 'closed';
  }

  // Connections

  async #run() {
    for (let attempt = 1; !this.#isOver; attempt += 1) {
      const error = await this.#visit(() => (attempt = 0));
      if (!this.#isOver && this.#isFinal(error)) {
        this.#finish(error);
      }
      if (!this.#isOver) {
        const delay = Math.random() * Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** attempt);
        this.#become(this.#resumable ? 'reconnecting' : 'connecting', { attempt, delay, error });
        await this.#pause(delay);
      }
    }
  }

  /** One connection from its beginning to its end; returns why it ended. */
  async #visit(onStable) {
    try {
      const socket = await this.#come();
      this.#timers.stable = setTimeout(onStable, STABLE);
      return await socket.closed;
    } catch (error) {
      return error;
    } finally {
      this.#gone();
    }
  }

  async #come() {
    const { WebSocket, requestTimeout: timeout, address, user } = this.#options;
    const options = { WebSocket, timeout, signal: this.#abort.signal };
    const entry = await queryEntry(this.#gate, user, options);
    const onPush = (route, body) => this.#hear(route, body);
    const onKick = (reason) => this.#emit('kick', { reason });
    const socket = await PomeloSocket.open(address(entry, this.#gate), { ...options, onPush, onKick });
    this.#socket = socket;
    await this.#enter(socket);
    this.#become('online', {});
    this.#online.resolve(socket);
    this.#speak();
    return socket;
  }

  #gone() {
    clearTimeout(this.#timers.stable);
    clearTimeout(this.#timers.again);
    this.#timers.again = undefined;
    this.#socket?.close();
    this.#socket = null;
    this.#outbox.allUnknown();
    if (this.#state.state === 'online') {
      this.#online = settler();
    }
  }

  #isFinal(error) {
    if (!(error instanceof ChatError) || error.code === 'bad-options') {
      return true;
    }
    if (error.code === 'kicked') {
      return error.reason !== 'slow';
    }
    if (error.code === 'protocol') {
      return !this.#resumable;
    }
    return error.status !== 0 && !PASSING.has(error.status) && !PASSING_CODES.has(error.code);
  }

  #pause(delay) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timers.pause = setTimeout(resolve, delay);
    }).finally(() => clearTimeout(this.#timers.pause));
  }

  #finish(error) {
    if (this.#isOver) {
      return;
    }
    this.#become('closed', { error });
    this.#abort.abort();
    this.#socket?.close(error);
    this.#wake();
    this.#begun.reject(error);
    this.#online.reject(error);
    this.#abandon(false, error);
    this.#emit('close', { error });
  }

  #become(state, { attempt = 0, delay = 0, error = null }) {
    this.#state = { state, attempt, delay, error };
    this.#emit('state', this.#state);
  }

  #emit(name, event) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  // Entering

  /** Enters, or enters again to be told what is missing; what is pushed meanwhile waits for what was missed before it. */
  async #enter(socket) {
    this.#held ??= [];
    const { seq: since, epoch } = this.#told;
    const body = { username: this.user, rid: this.room, token: this.#token, since, epoch };
    const timeout = this.#options.requestTimeout;
    const answer = succeeded(await socket.request(ROUTES.ENTER, body, { timeout }));
    const missed = since === undefined ? null : await this.#readMissed(socket, answer, since);
    await this.#begin();
    if (socket !== this.#socket) {
      return;
    }
    this.#goOn(answer);
    this.#catchUp(answer, missed, since);
    this.#welcome(answer);
    const held = this.#held;
    this.#held = null;
    held.forEach(([route, push]) => this.#hear(route, push));
  }

  /** Gives who called {@link connect} the time to add handlers. */
  async #begin() {
    if (!this.#resumable) {
      this.#begun.resolve();
      await new Promise((resolve) => (this.#timers.begin = setTimeout(resolve, 0)));
    }
    this.#resumable = true;
  }

  /** What the answer has of the messages since, and what is behind it; `whole` if none of them is gone. */
  async #readMissed(socket, { missed = [], recovered = false, cursor, epoch, seq }, since) {
    const pages = [missed];
    let whole = recovered;
    // Nothing at all: there may not have been the time to read it.
    let before = cursor ?? (!recovered && missed.length === 0 && epoch === this.#told.epoch ? seq + 1 : undefined);
    while (before > since) {
      const page = succeeded(await socket.request(ROUTES.HISTORY, { before, limit: HISTORY_PAGE }));
      if (page.epoch !== epoch) {
        throw new ChatError('closed', 'the log is another one than a moment ago');
      }
      pages.unshift(page.messages.filter((message) => message.seq > since));
      const reached = page.messages[0]?.seq <= since;
      whole ||= reached || (page.cursor === undefined && page.complete);
      before = reached ? undefined : page.cursor;
    }
    return { messages: pages.flat(), whole };
  }

  /** Whether messages that were sent before can be sent again: only to a server that knows whose they are. */
  #goOn({ token }) {
    if (token !== this.#token) {
      this.#abandon(true, new ChatError('unknown', 'the stay in the room ended', { unknown: true }));
    }
    this.#token = token ?? this.#token;
  }

  #catchUp({ epoch, seq }, missed, since) {
    const told = this.#told;
    if (missed && !missed.whole) {
      this.#emit('gap', { from: since, to: seq, epoch });
    }
    if (epoch !== told.epoch) {
      told.goOnIn(epoch);
    }
    for (const message of missed?.messages ?? []) {
      if (this.#isOwnWhisper(message)) {
        told.noteOwn(message.seq);
      }
      this.#tell(message);
    }
    told.upTo(seq);
  }

  #welcome(answer) {
    this.#crowd.begin(answer);
    this.#showCrowd();
    if (this.#crowd.isPartial) {
      this.#readUsers();
    }
  }

  // Hearing

  #hear(route, body) {
    if (this.#held) {
      this.#hold(route, body);
      return;
    }
    switch (route) {
      case 'onChat':
        return this.#tell(body);
      case 'onAdd':
        return this.#came(body.user);
      case 'onLeave':
        return this.#went(body.user);
      case 'onMembers':
        return this.#counted(body);
      case 'onGap':
        return this.#gap(body);
      default:
        return this.#emit('push', { route, body });
    }
  }

  #hold(route, body) {
    if (this.#held.length >= MAX_HELD) {
      this.#socket.close(new ChatError('closed', 'too much was said meanwhile'));
    }
    this.#held.push([route, body]);
  }

  /** Tells a message, unless it was told before. */
  #tell({ msg, from, target, seq, time }) {
    const told = this.#told;
    if (told.isNew(seq)) {
      told.upTo(seq);
      this.#emit('chat', { msg, from, target, seq, time, epoch: told.epoch });
    }
  }

  #came(user) {
    this.#crowd.came(user);
    this.#emit('add', { user });
    this.#showCrowd();
  }

  #went(user) {
    this.#crowd.went(user);
    this.#emit('leave', { user });
    this.#showCrowd();
  }

  #counted(counts) {
    this.#crowd.count(counts);
    this.#showCrowd();
    if (counts.names) {
      this.#readUsers();
    }
  }

  #showCrowd() {
    const { users, total, names } = this.#crowd;
    this.#emit('users', { users, total, names });
  }

  async #readUsers() {
    const socket = this.#socket;
    const reading = this.#crowd.read();
    let after;
    const onAnswer = (answer) => {
      const isOurs = this.#crowd.page(reading, succeeded(answer));
      after = isOurs ? answer.cursor : undefined;
      if (isOurs && after === undefined) {
        this.#showCrowd();
      }
    };
    try {
      do {
        await socket.request(ROUTES.MEMBERS, { after, limit: MEMBERS_PAGE }, { onAnswer });
      } while (after !== undefined);
    } catch (error) {
      socket.close(error);
    }
  }

  /** Messages were passed over: entering again tells those that still exist. Those of another life of the log do not. */
  #gap({ from, to, epoch }) {
    if (epoch !== this.#told.epoch) {
      this.#told.goOnIn(epoch, to);
      this.#emit('gap', { from, to, epoch });
    } else if (this.#told.isNew(to)) {
      const socket = this.#socket;
      this.#enter(socket).catch((error) => socket.close(error));
    }
  }

  // Speaking

  #send(target, content, { timeout = this.#options.sendTimeout } = {}) {
    const draft = { target, content, id: `${this.#ids.prefix}-${(this.#ids.last += 1)}`, ...settler() };
    const reject = (...error) => Promise.reject(new ChatError(...error));
    if (this.#isOver) {
      return reject('closed', 'the room was closed');
    }
    if (this.#outbox.size >= this.#options.maxUnsent) {
      return reject('busy', `${this.#outbox.size} messages wait to be said`);
    }
    draft.timer = setTimeout(() => this.#late(draft), timeout);
    this.#outbox.add(draft);
    this.#speak();
    return draft.promise;
  }

  #speak() {
    const socket = this.#socket;
    if (this.#state.state !== 'online' || !socket?.isOpen || this.#timers.again) {
      return;
    }
    for (let draft; (draft = this.#outbox.next()); ) {
      const { target, content, id } = draft;
      const onAnswer = this.#answerTo(draft);
      socket.request(ROUTES.SEND, { target, content, id }, { timeout: this.#options.requestTimeout, onAnswer }).catch((error) => {
        // Servers answer in time, or are not there.
        if (error.code === 'timeout') {
          socket.close(error);
        } else if (error.code === 'too-long') {
          this.#settle(draft, error);
        }
      });
    }
  }

  #answerTo(draft) {
    const { tries } = draft;
    return (answer) => {
      if (draft.tries !== tries || !draft.flying) {
        return;
      }
      try {
        const { seq, time } = succeeded(answer);
        this.#said(draft, { seq, time });
      } catch (error) {
        this.#refused(draft, error);
      }
      this.#speak();
    };
  }

  #said(draft, { seq, time }) {
    const whisper = { msg: draft.content, from: this.user, target: draft.target, seq, time };
    if (this.#outbox.remove(draft) && this.#isOwnWhisper(whisper)) {
      this.#tellOwn(whisper);
    }
    if (this.#outbox.size === 0) {
      this.#told.forgetOwn();
    }
    clearTimeout(draft.timer);
    draft.resolve({ seq, time });
  }

  /** Nobody tells us what we whisper to others, but among what was missed. */
  #isOwnWhisper({ from, target }) {
    return from === this.user && target !== '*' && target !== this.user;
  }

  #tellOwn(whisper) {
    const told = this.#told;
    if (!told.hasOwn(whisper.seq)) {
      told.upTo(whisper.seq);
      this.#emit('chat', { ...whisper, epoch: told.epoch });
    }
  }

  /** Of a repeat, an overload says nothing about the tries before; another refusal leaves nothing to wait for. */
  #refused(draft, error) {
    const isUnknown = error.unknown || (error.status === 429 && draft.tries > 1);
    if (!isUnknown) {
      this.#settle(draft, error);
      return;
    }
    draft.error = error;
    draft.flying = false;
    this.#timers.again ??= setTimeout(() => {
      this.#timers.again = undefined;
      this.#speak();
    }, AGAIN);
  }

  #late(draft) {
    const message = draft.error?.message ?? 'no answer in time';
    const { code, status } = draft.error ?? { code: 'timeout', status: 0 };
    this.#settle(draft, new ChatError(code, message, { status, unknown: draft.tries > 0 }));
    this.#speak();
  }

  #settle(draft, error) {
    this.#outbox.remove(draft);
    clearTimeout(draft.timer);
    draft.reject(error);
  }

  #abandon(onlySent, { code, message, status, reason }) {
    for (const draft of this.#outbox.removeAll(onlySent)) {
      this.#settle(draft, new ChatError(code, message, { status, reason, unknown: draft.tries > 0 }));
    }
  }
}

/** The URL of a gate, which may be written as that of its page, or as `host:port`. */
function gateUrl(gate) {
  try {
    const url = new URL(gate.includes('://') ? gate : `ws://${gate}`);
    url.protocol = url.protocol.replace('http', 'ws');
    return url.href;
  } catch (error) {
    throw new ChatError('bad-options', `gate: ${error.message}`);
  }
}

/** Where a connector is: beside its gate, as far as TLS goes. */
export function connectorUrl({ host, port }, gate) {
  return `${new URL(gate).protocol}//${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}/`;
}

function randomHex(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
