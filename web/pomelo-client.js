/**
 * A client of Shaddock, and of other servers of Pomelo's chat: one module without dependencies, for
 * browsers and node.
 *
 *   import { connect } from './pomelo-client.js';
 *
 *   const room = await connect({ gate: 'ws://127.0.0.1:3014', user: 'ann', room: 'lobby' });
 *   room.on('chat', ({ from, msg }) => console.log(from, msg));
 *   await room.send('hello');
 *
 * It finds a connector, reconnects after a lost connection, commits each message once, and delivers
 * each message once and in order. It knows no page and stores nothing.
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
  REFRESH: 'connector.entryHandler.refresh',
  MUTE: 'chat.chatHandler.mute',
  UNMUTE: 'chat.chatHandler.unmute',
  BAN: 'chat.chatHandler.ban',
  UNBAN: 'chat.chatHandler.unban',
  EXPEL: 'chat.chatHandler.expel',
});

/** The rights of a member for which the server names no others. */
const MEMBER_RIGHTS = Object.freeze(['enter', 'send', 'whisper', 'read', 'list', 'signal']);

// --- Errors --------------------------------------------------------------------------------------

/**
 * The reason of a failure.
 *
 * `code` is a stable word: that of the server (`name-taken`, `forbidden`, `too-long`, `rate`,
 * `no-such-member`, `not-allowed`, `muted`, `banned`, `slow`, ...; `refused` from servers that give
 * none), or one of the client: `timeout`, `closed`, `kicked`, `busy` (too many messages wait),
 * `connect` (no server there), `protocol` (no Pomelo server, or one that is not understood), `jwt`
 * (the function of that name failed), `bad-options`, `bad-target`, `bad-body` (not JSON).
 */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{ status?: number, unknown?: boolean, reason?: string, until?: number, retry?: number
   *   }} [more] `status`: the `code` of the server's response, 0 if there was none; `unknown`: the
   *   effect may have happened all the same, or happen yet; `reason`: that of a kick; `until`: the
   *   end of a mute or ban in Unix milliseconds, 0 if it has none; `retry`: milliseconds until the
   *   room takes the next message
   */
  constructor(code, message = code, { status = 0, unknown = false, reason = '', until, retry } = {}) {
    super(message);
    this.name = 'ChatError';
    this.code = code;
    this.status = status;
    this.unknown = unknown;
    this.reason = reason;
    this.until = until;
    this.retry = retry;
  }
}

/**
 * Returns the body of a response of success. Responses of Pomelo itself may have no code, or only
 * an `error`.
 */
function succeeded(body) {
  const status = body.code ?? (body.error ? 500 : 200);
  if (status === 200) {
    return body;
  }
  const text = String(body.reason ?? '');
  const code = /^[a-z-]+(?=:|$)/.exec(text)?.[0] ?? 'refused';
  const unknown = status === 503 || status === 507;
  throw new ChatError(code, text || `the server responded with ${status}`, { status, unknown, ...numbers(body, ['until', 'retry']) });
}

/** Returns the members of these names that are numbers. */
function numbers(body, names) {
  return Object.fromEntries(names.filter((name) => typeof body[name] === 'number').map((name) => [name, body[name]]));
}

// --- Packages and messages -----------------------------------------------------------------------

/** The types of packages. */
export const PackageType = Object.freeze({ HANDSHAKE: 1, HANDSHAKE_ACK: 2, HEARTBEAT: 3, DATA: 4, KICK: 5 });

/** The types of messages, the bodies of data packages. */
export const MessageType = Object.freeze({ REQUEST: 0, NOTIFY: 1, RESPONSE: 2, PUSH: 3 });

const HEAD_BYTES = 4;
const MAX_BODY = 0xffffff;
const MAX_ROUTE = 255;
const MAX_ID = 0xffffffff;
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes a package: type, three bytes of length, body. */
export function encodePackage(type, body = NOTHING) {
  if (body.length > MAX_BODY) {
    throw new ChatError('too-long', `a package of ${body.length} bytes`);
  }
  const bytes = new Uint8Array(HEAD_BYTES + body.length);
  bytes.set([type, body.length >> 16, (body.length >> 8) & 0xff, body.length & 0xff]);
  bytes.set(body, HEAD_BYTES);
  return bytes;
}

/**
 * Reads packages from bytes that may be cut anywhere. Keeps an incomplete package, one at most.
 */
export class PackageReader {
  #kept = NOTHING;

  /** @returns {{ type: number, body: Uint8Array }[]} the packages that are complete now */
  read(bytes) {
    const all = this.#kept.length === 0 ? bytes : concatenated(this.#kept, bytes);
    const packages = [];
    let start = 0;
    while (all.length - start >= HEAD_BYTES) {
      const end = start + HEAD_BYTES + ((all[start + 1] << 16) | (all[start + 2] << 8) | all[start + 3]);
      if (all[start] < PackageType.HANDSHAKE || all[start] > PackageType.KICK) {
        throw new ChatError('protocol', `there is no package type ${all[start]}`);
      }
      if (end > all.length) {
        break;
      }
      packages.push({ type: all[start], body: all.subarray(start + HEAD_BYTES, end) });
      start = end;
    }
    this.#kept = all.slice(start);
    return packages;
  }
}

/**
 * Encodes a message, the body of a data package.
 *
 * @param {{ type: number, id?: number, route?: string | number, body?: Uint8Array }} message a
 *   `route` that is a number is a code of the dictionary
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
  if (json.length > MAX_SENT_BYTES) {
    throw new ChatError('too-long', `${json.length} bytes are too much`, { status: 413 });
  }
  return json;
}

/**
 * Reads a JSON object. Other bytes count as an empty one: stock servers send an empty body when
 * theirs fails.
 */
function fromJson(bytes) {
  try {
    const value = JSON.parse(decoder.decode(bytes));
    return value !== null && typeof value === 'object' ? value : {};
  } catch {
    return {};
  }
}

// --- Timers and promises -------------------------------------------------------------------------

/** The longest time that `setTimeout` takes; above, it would fire at once. */
const MAX_DELAY = 0x7fffffff;

const startTimer = (delay, then) => setTimeout(then, Math.min(delay, MAX_DELAY));

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

/**
 * Reports an error of a callback as browsers report uncaught ones; on the console where that does
 * not exist.
 */
function reportThrown(error) {
  if (typeof globalThis.reportError === 'function') {
    globalThis.reportError(error);
  } else {
    console.error(error);
  }
}

/**
 * Calls a callback of the application. Reports the error that it throws, or that its promise is
 * rejected with.
 */
function callBack(callback, ...values) {
  try {
    const returned = callback(...values);
    if (typeof returned?.then === 'function') {
      returned.then(undefined, reportThrown);
    }
  } catch (error) {
    reportThrown(error);
  }
}

// --- One connection ------------------------------------------------------------------------------

/** Largest body that is sent: servers close connections that send 64 KiB. */
const MAX_SENT_BYTES = 60 * 1024;

/**
 * One connection to a gate or a connector: handshake, heartbeats, requests and pushes. It ends
 * once; `closed` is then fulfilled with the reason as an error, and all requests in flight are
 * rejected with that.
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
  #heartbeatInterval = 0;
  #timers = new Timers();
  #isOpen = false;
  #opened = settler();
  #ended = settler();
  #hasEnded = false;

  /**
   * Connects and shakes hands.
   *
   * @param {string} url
   * @param {{ timeout?: number, WebSocket?: Function, signal?: AbortSignal, user?: object, onPush?:
   *   (route: string, body: object) => void, onKick?: (reason: string) => void, onReceive?: () =>
   *   void }} [options] times are in milliseconds; `user` is sent in the handshake, as `{ jwt }`;
   *   errors that callbacks throw are reported, as by {@link Room.on}
   * @returns {Promise<PomeloSocket>} rejected with `connect`, `timeout`, `protocol`, `bad-options`,
   *   the refusal of the server (`token-bad`, ...), or `closed` if aborted
   */
  static async open(url, options = {}) {
    const socket = new PomeloSocket(url, options);
    const late = () => socket.close(new ChatError('timeout', `no response from ${url}`));
    socket.#timers.start('open', options.timeout ?? 5_000, late);
    await socket.#opened.promise;
    return socket;
  }

  /** @private */
  constructor(url, options) {
    requireFunctions(options, ['onPush', 'onKick', 'onReceive']);
    // Browsers refuse a websocket's URL with a fragment.
    this.#url = String(url).split('#', 1)[0];
    this.#options = options;
    this.closed = this.#ended.promise;
    this.#websocket = newWebSocket(options.WebSocket ?? globalThis.WebSocket, this.#url);
    this.#websocket.binaryType = 'arraybuffer';
    this.#websocket.onopen = () => this.#sendHandshake();
    this.#websocket.onmessage = ({ data }) => this.#receiveBytes(data);
    this.#websocket.onclose = this.#websocket.onerror = () => this.close(this.#lossError());
    const abort = () => this.close();
    options.signal?.addEventListener('abort', abort);
    this.closed.then(() => options.signal?.removeEventListener('abort', abort));
    if (options.signal?.aborted) {
      this.close();
    }
  }

  /**
   * Sends a request. The promise is of the response's body, a refusal included.
   *
   * Promises settle later than packages are read. Where the order of responses and pushes matters,
   * `onResponse` gets the body before any later package is read, and the promise is of the value
   * that it returns.
   *
   * @param {string} route
   * @param {object} body
   * @param {{ timeout?: number, onResponse?: (body: object) => any }} [options]
   */
  request(route, body, { timeout = 10_000, onResponse = (response) => response } = {}) {
    const { promise, resolve, reject } = settler();
    const id = this.#lastId = (this.#lastId % MAX_ID) + 1;
    const expire = () => this.#takeWaiting(id)?.reject(new ChatError('timeout', `no response to ${route}`, { unknown: true }));
    this.#waiting.set(id, { resolve, reject, onResponse, timer: startTimer(timeout, expire) });
    try {
      this.#sendMessage({ type: MessageType.REQUEST, id, route }, body);
    } catch (error) {
      this.#takeWaiting(id)?.reject(error);
    }
    return promise;
  }

  /** Sends a notify, which has no response. Throws if it cannot be sent. */
  notify(route, body) {
    this.#sendMessage({ type: MessageType.NOTIFY, route }, body);
    this.#requireOpen();
  }

  /**
   * Sends a heartbeat, which the server answers at once.
   *
   * @returns {boolean} false if the connection is not open, or the server did not agree on
   *   heartbeats
   */
  sendHeartbeat() {
    const isAgreed = this.isOpen && this.#heartbeatInterval > 0;
    if (isAgreed) {
      this.#write(encodePackage(PackageType.HEARTBEAT));
    }
    return isAgreed;
  }

  /** Ends the connection at once; requests in flight are rejected with `error`. */
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
      this.#takeWaiting(id).reject(error);
    }
    this.#opened.reject(error);
    this.#ended.resolve(error);
  }

  /** True from the handshake until the connection ends. */
  get isOpen() {
    return this.#isOpen && !this.#hasEnded;
  }

  #lossError() {
    return this.#isOpen
      ? new ChatError('closed', 'the connection was lost', { unknown: true })
      : new ChatError('connect', `cannot connect to ${this.#url}`);
  }

  #sendHandshake() {
    const { user } = this.#options;
    this.#write(encodePackage(PackageType.HANDSHAKE, toJson({ sys: { type: 'js-module', version: '0.1.0' }, user })));
  }

  /** Throws if the connection has ended. A websocket that refuses the bytes ends it. */
  #write(bytes) {
    this.#requireOpen();
    try {
      this.#websocket.send(bytes);
    } catch (error) {
      this.close(new ChatError('closed', `cannot send: ${error.message}`, { unknown: true }));
    }
  }

  #requireOpen() {
    if (this.#hasEnded) {
      throw new ChatError('closed', 'the connection is closed');
    }
  }

  #sendMessage(message, body) {
    const json = body instanceof Uint8Array ? body : encodeBody(body);
    const route = this.#codes[message.route] ?? message.route;
    this.#write(encodePackage(PackageType.DATA, encodeMessage({ ...message, route, body: json })));
  }

  #takeWaiting(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }

  #receiveBytes(data) {
    try {
      this.#restartSilenceTimer();
      this.#call(this.#options.onReceive);
      const bytes = typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data);
      for (const { type, body } of this.#reader.read(bytes)) {
        this.#handlePackage(type, body);
      }
    } catch (error) {
      this.close(error instanceof ChatError ? error : new ChatError('protocol', String(error)));
    }
  }

  #handlePackage(type, body) {
    if (this.#hasEnded) {
      return;
    }
    switch (type) {
      case PackageType.HANDSHAKE:
        return this.#acceptHandshake(fromJson(body));
      case PackageType.HEARTBEAT:
        return this.#scheduleHeartbeat();
      case PackageType.DATA:
        return this.#handleMessage(decodeMessage(body));
      case PackageType.KICK:
        return this.#handleKick(String(fromJson(body).reason ?? 'kick'));
    }
  }

  #acceptHandshake({ code, reason, sys = {} }) {
    if (code !== 200 && typeof reason === 'string') {
      succeeded({ code, reason });
    }
    if (code !== 200 || sys.useProto) {
      const why = sys.useProto ? 'the server speaks protobuf' : `the server refused the handshake: ${code}`;
      throw new ChatError('protocol', why, { status: code === 200 ? 0 : code });
    }
    this.#codes = Object.assign(Object.create(null), sys.dict ?? sys.routeToCode);
    this.#routes = new Map(Object.entries(this.#codes).map(([route, number]) => [number, route]));
    this.#heartbeatInterval = (sys.heartbeat ?? 0) * 1000;
    this.#write(encodePackage(PackageType.HANDSHAKE_ACK));
    this.#isOpen = true;
    this.#scheduleHeartbeat();
    this.#restartSilenceTimer();
    this.#timers.stop('open');
    this.#opened.resolve();
  }

  /** Schedules the next heartbeat. */
  #scheduleHeartbeat() {
    if (this.#heartbeatInterval > 0) {
      this.#timers.start('heartbeat', this.#heartbeatInterval, () => this.sendHeartbeat());
    }
  }

  /** The server answers each heartbeat at once: after two intervals of silence it is lost. */
  #restartSilenceTimer() {
    if (this.#heartbeatInterval > 0) {
      const silent = () => this.close(new ChatError('closed', 'no sign of life from the server', { unknown: true }));
      this.#timers.start('silence', 2 * this.#heartbeatInterval, silent);
    }
  }

  #handleMessage({ type, id, route, body }) {
    if (type === MessageType.RESPONSE) {
      this.#settleRequest(this.#takeWaiting(id), fromJson(body));
    } else if (type === MessageType.PUSH) {
      const name = typeof route === 'number' ? this.#routes.get(route) : route;
      if (name === undefined) {
        throw new ChatError('protocol', `no route has the code ${route}`);
      }
      this.#call(this.#options.onPush, name, fromJson(body));
    }
  }

  #settleRequest(waiting, body) {
    try {
      waiting?.resolve(waiting.onResponse(body));
    } catch (error) {
      waiting.reject(error);
    }
  }

  #handleKick(reason) {
    this.#call(this.#options.onKick, reason);
    this.close(new ChatError('kicked', `kicked: ${reason}`, { reason, unknown: true }));
  }

  #call(callback, ...values) {
    if (callback) {
      callBack(callback, ...values);
    }
  }
}

function requireFunctions(options, names) {
  const wrong = names.find((name) => options[name] !== undefined && typeof options[name] !== 'function');
  if (wrong !== undefined) {
    throw new ChatError('bad-options', `${wrong} must be a function`);
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
 * Requests the connector for `uid` from a gate.
 *
 * @param {string} gate its URL
 * @param {string} uid
 * @param {object} [options] as for {@link PomeloSocket.open}
 * @returns {Promise<{ host: string, port: number, tls?: boolean }>} `tls` if connectors require it;
 *   rejected as {@link PomeloSocket.open}; `no-connector` if there is none
 */
export async function queryEntry(gate, uid, options = {}) {
  const socket = await PomeloSocket.open(gate, options);
  try {
    const timeout = options.timeout ?? 5_000;
    const { host, port, tls } = succeeded(await socket.request(ROUTES.QUERY_ENTRY, { uid }, { timeout }));
    return tls === true ? { host, port, tls } : { host, port };
  } catch (error) {
    // Stock gates give no reason, and refuse for no other.
    throw error.code === 'refused' ? new ChatError('no-connector', error.message, { status: error.status }) : error;
  } finally {
    socket.close();
  }
}

// --- Messages to send ----------------------------------------------------------------------------

/**
 * Messages whose outcome is not known yet, in the order of sending. Pure: it returns the next
 * message to send.
 *
 * After an outcome that stayed unknown nothing new is sent. When nothing is in flight any more, the
 * unknown ones are sent again, oldest first, each alone. So no later message overtakes a repeated
 * one.
 */
class SendQueue {
  #drafts = [];
  #maxInFlight;

  constructor(maxInFlight) {
    this.#maxInFlight = maxInFlight;
  }

  get size() {
    return this.#drafts.length;
  }

  add(draft) {
    this.#drafts.push(Object.assign(draft, { tries: 0 }));
  }

  /**
   * Returns the next message to send now; undefined if there is none, or it has to wait.
   *
   * @param {Set<object>} inFlight the messages that were sent on this connection and have no
   *   response
   */
  next(inFlight) {
    const isUnclear = this.#drafts.some((draft) => draft.tries > (inFlight.has(draft) ? 1 : 0));
    if (inFlight.size >= (isUnclear ? 1 : this.#maxInFlight)) {
      return undefined;
    }
    return this.#drafts.find((draft) => !inFlight.has(draft));
  }

  /** Removes a message, if it is queued. */
  remove(draft) {
    this.#drafts = this.#drafts.filter((other) => other !== draft);
  }

  /** Returns all messages, or those that were sent. */
  list(onlySent) {
    return this.#drafts.filter(({ tries }) => !onlySent || tries > 0);
  }
}

// --- Delivered position and member list ----------------------------------------------------------

/**
 * The last position of a room's log that was delivered. Pure. Stock servers give no `seq`: then
 * every message is new.
 */
class DeliveredPosition {
  /** The epoch of the log that `seq` belongs to; undefined as long as none is known. */
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

  /** Marks all messages up to `seq` as delivered. */
  advance(seq) {
    if (seq !== undefined && this.isNew(seq)) {
      this.seq = seq;
    }
  }

  /** Continues at `seq` of another epoch of the log. */
  restartIn(epoch, seq) {
    [this.epoch, this.seq] = [epoch, seq];
    this.#ownWhispers.clear();
  }

  /** Remembers an own whisper that the catch-up delivered before the response to it came. */
  addOwnWhisper(seq) {
    this.#ownWhispers.add(seq);
  }

  /**
   * Returns true if an own whisper was delivered before its response. Its `seq` alone is no proof:
   * later messages may have been delivered meanwhile.
   */
  hasOwnWhisper(seq) {
    return this.#ownWhispers.has(seq);
  }
}

/** The members of a room, as far as the server names them. Pure. */
class MemberList {
  users = new Set();
  /** The claims of members' tokens, by name. */
  profiles = new Map();
  total = 0;
  names = true;

  /** Replaces the list by that of a response to `enter`. */
  reset({ users = [], profiles = {}, total = users.length, names = true }) {
    this.replace({ users: new Set(users), profiles: new Map(Object.entries(profiles)) });
    this.setCounts({ total, names });
  }

  /** Replaces the members by those that were read in pages. */
  replace({ users, profiles }) {
    [this.users, this.profiles, this.total] = [users, profiles, users.size];
  }

  setCounts({ total, names }) {
    [this.total, this.names] = [total, names];
  }

  /** True if the server names members, but not all are known. */
  get isPartial() {
    return this.names && this.total > this.users.size;
  }

  // While the server names no members, `total` is its last count. A name that comes all the same
  // corrects the list, and is in that count already.
  add(user, profile = {}) {
    this.total += this.names && !this.users.has(user) ? 1 : 0;
    this.users.add(user);
    this.profiles.delete(user);
    if (Object.keys(profile).length > 0) {
      this.profiles.set(user, profile);
    }
  }

  remove(user) {
    this.profiles.delete(user);
    const isCounted = this.users.delete(user) || this.isPartial;
    this.total -= this.names && isCounted ? 1 : 0;
  }
}

// --- A room --------------------------------------------------------------------------------------

const DEFAULTS = Object.freeze({
  connectTimeout: 15_000,
  requestTimeout: 10_000,
  // Below the servers' deduplication window of a minute: a later repeat could be committed twice.
  sendTimeout: 40_000,
  minDelay: 500,
  maxDelay: 10_000,
  maxUnsent: 256,
  maxHeld: 4_096,
});

/** Messages in flight at once; servers take 64 requests of a session. */
const MAX_IN_FLIGHT = 16;
/** Pause between tries of a message whose outcome stayed unknown. */
const REPEAT_PAUSE = 300;
/** A connection that lasted this long resets the backoff. */
const STABLE_AFTER = 5_000;
/** Pause before the next try to replace a token that expires. */
const REFRESH_PAUSE = 5_000;
/** Time for a sign of life when the application requests a check of the connection. */
const PROBE_TIMEOUT = 1_500;
const HISTORY_PAGE = 100;
const MEMBERS_PAGE = 500;

/** Statuses after which the next try may succeed. */
const RETRIED_STATUSES = new Set([429, 503, 507]);
/** Codes after which the next try to enter may succeed. */
const RETRIED_CODES = new Set(['no-connector', 'not-in-room']);

/** An own whisper, which the server does not push: it is delivered with the response to it. */
const OWN_WHISPER = Symbol('own whisper');

/** Pushes whose content is also in a later response to `enter`. */
const IN_ENTER_RESPONSE = new Set(['onAdd', 'onLeave', 'onMembers', 'onGap', 'onRights']);

/**
 * A membership, without its connections: the part that outlives them.
 *
 * Invariant: nothing in here depends on one connection. That part is an {@link Attempt}'s, and ends
 * with it.
 */
class Membership {
  sendQueue = new SendQueue(MAX_IN_FLIGHT);
  memberList = new MemberList();
  rights = new Set(MEMBER_RIGHTS);
  /** True once the client was in the room. */
  hasBegun = false;
  /** Connections in a row that were given up because too many pushes waited. */
  overflows = 0;

  constructor({ user, room, session }) {
    this.user = user;
    this.room = room;
    // Chosen by the client, so that the first attempt to enter can be repeated, too.
    this.token = session?.token ?? randomHex(16);
    this.delivered = new DeliveredPosition(session);
  }
}

/**
 * One attempt to be in the room: from the request to the gate to the end of the connection. It ends
 * once, and with it everything that belongs to a connection: sockets, timers, pushes that wait,
 * requests, reads of pages.
 *
 * After its end it emits nothing and changes nothing in the {@link Membership}: each step behind an
 * `await` or a handler checks that.
 */
class Attempt {
  #membership;
  #options;
  #room;
  #socket = null;
  #abort = new AbortController();
  #timers = new Timers();
  /**
   * Pushes in the order in which they came, while the client enters; null if they are delivered at
   * once.
   */
  #heldPushes = [];
  /**
   * The epoch of the log on this connection: ahead of the delivered one while pushes are held.
   */
  #epoch;
  #inFlight = new Set();
  /** The names that were read so far, while pages of them are read. */
  #membersRead = null;
  #isOnline = false;
  #hasEnded = false;

  /**
   * @param {Membership} membership
   * @param {object} options of {@link connect}, with `gate` as a URL
   * @param {{ emit: Function, onBegun: Function, onOnline: Function, onStable: Function, onEnd:
   *   Function, settle: Function, settleQuery: Function }} room
   */
  constructor(membership, options, room) {
    this.#membership = membership;
    this.#options = options;
    this.#room = room;
    this.#epoch = membership.delivered.epoch;
  }

  async start() {
    try {
      await this.#connect();
      await this.#enter();
      this.#goOnline();
    } catch (error) {
      this.end(error);
    }
  }

  /**
   * Ends the attempt, unless it has ended, and gives the room the reason. `isProbed`: a probe had
   * no response.
   */
  end(error, isProbed = false) {
    if (this.#hasEnded) {
      return;
    }
    this.#hasEnded = true;
    this.#timers.end();
    this.#heldPushes = [];
    this.#inFlight.clear();
    this.#membersRead = null;
    this.#socket?.close(error);
    this.#abort.abort(error);
    this.#room.onEnd(error, isProbed);
  }

  /**
   * Requires a sign of life within `time`, and ends it otherwise. While it is awaited, further
   * calls change nothing.
   */
  probe(time) {
    if (this.#timers.has('probe')) {
      return;
    }
    const error = new ChatError('timeout', `no sign of life within ${time} ms`, { unknown: true });
    this.#timers.start('probe', time, () => this.end(error, true));
    if (this.#socket?.isOpen && !this.#socket.sendHeartbeat()) {
      // Servers without heartbeats answer requests, if only with an error.
      this.#socket.request(ROUTES.MEMBERS, { limit: 1 });
    }
  }

  /** Throws if the attempt has ended: for the steps behind an `await`. */
  #check() {
    if (this.#hasEnded) {
      throw new ChatError('closed', 'the attempt has ended');
    }
  }

  async #connect() {
    const { WebSocket, requestTimeout: timeout, address, gate } = this.#options;
    const jwt = this.#canFetchJwt ? await this.#fetchJwt() : this.#options.jwt;
    this.#check();
    const onReceive = () => this.#timers.stop('probe');
    const user = jwt === undefined ? undefined : { jwt };
    const options = { WebSocket, timeout, signal: this.#abort.signal, user, onReceive };
    const entry = await queryEntry(gate, this.#membership.user, options);
    this.#check();
    const onPush = (route, body) => this.#receivePush(route, body);
    const onKick = (reason) => this.#emit('kick', { reason });
    const socket = await PomeloSocket.open(address(entry, gate), { ...options, onPush, onKick });
    this.#check();
    this.#socket = socket;
    socket.closed.then((error) => this.end(error));
  }

  get #canFetchJwt() {
    return typeof this.#options.jwt === 'function';
  }

  /** Returns a token of the application, from its function. */
  async #fetchJwt() {
    const { jwt, requestTimeout } = this.#options;
    const late = settler();
    this.#timers.start('jwt', requestTimeout, () => late.reject(new ChatError('timeout', `no token within ${requestTimeout} ms`)));
    try {
      return requireToken(await Promise.race([callJwt(jwt), late.promise]));
    } finally {
      this.#timers.stop('jwt');
    }
  }

  /** Replaces the token before it expires. */
  async #refresh() {
    try {
      const jwt = await this.#fetchJwt();
      await this.#request(ROUTES.REFRESH, { jwt });
    } catch (error) {
      const isRefused = error.status === 401 || error.status === 403 || error.code === 'bad-options';
      if (isRefused) {
        this.end(error);
      } else {
        // The token is good for a while yet; the timers end with the attempt.
        this.#timers.start('refresh', REFRESH_PAUSE, () => this.#refresh());
      }
    }
  }

  async #request(route, body, onResponse) {
    const response = await this.#socket.request(route, body, { timeout: this.#options.requestTimeout, onResponse });
    this.#check();
    return succeeded(response);
  }

  #goOnline() {
    this.#check();
    this.#isOnline = true;
    this.#timers.start('stable', STABLE_AFTER, () => this.#room.onStable());
    this.#room.onOnline();
    this.sendNext();
  }

  #emit(name, event) {
    if (!this.#hasEnded) {
      this.#room.emit(name, event);
    }
  }

  // Entering

  /**
   * Enters, or enters again to catch up. Pushes that come meanwhile wait until the missed messages
   * are delivered.
   */
  async #enter() {
    this.#heldPushes ??= [];
    this.#membersRead = null;
    const { user, room, token, delivered } = this.#membership;
    const { seq: since, epoch } = delivered;
    const onResponse = (response) => this.#entered(response, since);
    const response = await this.#request(ROUTES.ENTER, { username: user, rid: room, token, since, epoch }, onResponse);
    const missed = since === undefined ? null : await this.#readMissed(response, { since, epoch });
    await this.#startRoom(response);
    this.#catchUp(response, missed, since);
    this.#setRights(response);
    this.#resetMembers(response);
    const heldPushes = this.#heldPushes;
    this.#heldPushes = null;
    this.#membership.overflows = 0;
    heldPushes.forEach((push) => this.#deliver(...push));
  }

  /** Applies the response before any later package is read. */
  #entered(response, since) {
    const { seq, epoch, token, recovered } = succeeded(response);
    if (seq !== undefined) {
      // The response repeats what was pushed before it: the members, the epoch, and all messages up
      // to its `seq`. A `seq` below the delivered one comes from a log that lost its end.
      const isLost = seq < since && !recovered;
      this.#heldPushes = this.#heldPushes.filter(([route, push]) => (route === 'onChat' ? push.seq > seq && !isLost : !IN_ENTER_RESPONSE.has(route)));
    }
    this.#epoch = epoch;
    if (since === undefined && epoch !== undefined) {
      this.#membership.delivered.restartIn(epoch, seq);
    }
    this.#room.onToken(token);
    return response;
  }

  /** Gives the caller of {@link connect} the rights, and time to add handlers. */
  async #startRoom(response) {
    if (!this.#membership.hasBegun) {
      this.#membership.hasBegun = true;
      this.#membership.rights = rightsOf(response);
      this.#room.onBegun();
      await new Promise((resolve) => this.#timers.start('begin', 0, resolve));
    }
    this.#check();
  }

  /**
   * Returns the missed messages, from the response and from pages of the history; `whole` if none
   * of them was evicted.
   */
  async #readMissed(response, requested) {
    const { missed = [], recovered = false, cursor, epoch, seq } = response;
    if (!rightsOf(response).has('read')) {
      // The server would refuse to read on, and with that end the room.
      return { messages: missed, whole: recovered };
    }
    const isSame = epoch === requested.epoch;
    // Positions of another epoch cannot be compared: there, all messages that the server offers
    // were missed.
    const since = isSame ? requested.since : -1;
    // An empty response may mean that the server had no time to read the log.
    const before = cursor ?? (!recovered && missed.length === 0 && isSame ? seq + 1 : undefined);
    if (!(before > since)) {
      return { messages: missed, whole: recovered };
    }
    if (this.#membership.overflows > 1) {
      // The room is faster than the catch-up, which would never end. The older messages are left to
      // `history`, and the application gets a gap.
      return { messages: missed, whole: false };
    }
    const { messages, isReached } = await this.#readBack(before, since, epoch);
    // If all were there when the client entered, the log may still have lost some of them while
    // pages were read.
    const whole = isSame && (isReached || (recovered && (await this.#readPage({ after: since, limit: 1 }, epoch)).complete));
    return { messages: [...messages, ...missed], whole };
  }

  /**
   * Reads pages of messages until `since`. `isReached`: they go back to there, or to the beginning
   * of the room.
   */
  async #readBack(before, since, epoch) {
    const pages = [];
    let isReached = false;
    while (before > since) {
      const page = await this.#readPage({ before, limit: HISTORY_PAGE }, epoch);
      if (page.cursor >= before) {
        throw new ChatError('protocol', 'pages of the history do not advance');
      }
      pages.unshift(page.messages.filter((message) => message.seq > since));
      before = page.messages[0]?.seq <= since ? since : page.cursor;
      isReached = before <= since || (before === undefined && page.complete);
    }
    return { messages: pages.flat(), isReached };
  }

  async #readPage(which, epoch) {
    const page = await this.#request(ROUTES.HISTORY, which);
    if (page.epoch !== epoch) {
      throw new ChatError('closed', 'the log was replaced between two pages');
    }
    if (!Array.isArray(page.messages)) {
      throw new ChatError('protocol', 'a page of the history has no messages');
    }
    return page;
  }

  #catchUp({ epoch, seq }, missed, since) {
    const { delivered } = this.#membership;
    const isGap = missed !== null && !missed.whole;
    if (isGap) {
      this.#emit('gap', { from: since, to: seq, epoch });
      this.#check();
    }
    // A log that lost its end continues below the delivered position.
    if (epoch !== delivered.epoch || (isGap && seq < since)) {
      delivered.restartIn(epoch);
    }
    for (const message of missed?.messages ?? []) {
      this.#check();
      if (this.#isOwnWhisper(message)) {
        delivered.addOwnWhisper(message.seq);
      }
      this.#emitMessage(message);
    }
    this.#check();
    delivered.advance(seq);
  }

  #resetMembers(response) {
    const { memberList } = this.#membership;
    memberList.reset(response);
    this.#emitUsers();
    if (memberList.isPartial) {
      this.#readMembers();
    }
  }

  // Deliveries

  /** Takes a push, or an own whisper, in the order of the connection. */
  #receivePush(route, body) {
    if (route === 'onExpire' && this.#canFetchJwt) {
      // At once, also while the client enters.
      this.#refresh();
      return;
    }
    if (route === 'onGap') {
      this.#epoch = body.epoch;
    }
    this.#deliver(route, body, this.#epoch);
  }

  /** Delivers a push, or holds it; `epoch` is that of the log when it came. */
  #deliver(route, body, epoch) {
    if (this.#hasEnded) {
      return;
    }
    if (this.#heldPushes) {
      this.#holdPush(route, body, epoch);
      return;
    }
    switch (route) {
      case 'onChat':
        return this.#deliverChat(body, epoch);
      case OWN_WHISPER:
        return this.#emitOwnWhisper(body, epoch);
      case 'onAdd':
        return this.#addMember(body);
      case 'onLeave':
        return this.#removeMember(body.user);
      case 'onMembers':
        return this.#setCounts(body);
      case 'onGap':
        return this.#handleGap(body);
      case 'onRights':
        return this.#changeRights(body);
      case 'onRule':
        return this.#emit('rule', toRule(body));
      case 'onExpel':
        return this.#emit('expel', { reason: String(body.reason ?? '') });
      default:
        return this.#emit('push', { route, body });
    }
  }

  #holdPush(route, body, epoch) {
    if (this.#heldPushes.length >= this.#options.maxHeld) {
      this.#membership.overflows += 1;
      this.end(new ChatError('closed', 'too many pushes waited during the catch-up'));
    } else {
      this.#heldPushes.push([route, body, epoch]);
    }
  }

  /**
   * Drops a message of another epoch: it lies behind the gap that was delivered, and its `seq`
   * would be taken for one of this epoch.
   */
  #deliverChat(message, epoch) {
    if (epoch === undefined || epoch === this.#membership.delivered.epoch) {
      this.#emitMessage(message);
    }
  }

  /** Emits a message, unless it was delivered before. */
  #emitMessage({ msg, from, target, seq, time, uid, data }) {
    const { delivered } = this.#membership;
    if (delivered.isNew(seq)) {
      delivered.advance(seq);
      this.#emit('chat', { msg, from, target, seq, time, epoch: delivered.epoch, ...present({ uid, data }) });
    }
  }

  #emitOwnWhisper(whisper, epoch) {
    const { delivered } = this.#membership;
    const isCurrent = epoch === delivered.epoch;
    if (isCurrent && delivered.hasOwnWhisper(whisper.seq)) {
      return;
    }
    if (isCurrent) {
      delivered.advance(whisper.seq);
    }
    this.#emit('chat', { ...whisper, epoch });
  }

  /**
   * Returns true for an own whisper to another member. The server does not push those; the missed
   * messages have them.
   */
  #isOwnWhisper({ from, target }) {
    const { user } = this.#membership;
    return from === user && target !== '*' && target !== user;
  }

  #addMember({ user, uid, info }) {
    const profile = present({ uid, info });
    this.#membership.memberList.add(user, profile);
    this.#membersRead?.add(user, profile);
    this.#emit('add', { user, ...profile });
    this.#emitUsers();
  }

  #removeMember(user) {
    this.#membership.memberList.remove(user);
    this.#membersRead?.remove(user);
    this.#emit('leave', { user });
    this.#emitUsers();
  }

  #setCounts({ total, names }) {
    const counts = { total, names: names && this.#mayList };
    this.#membersRead = null;
    this.#membership.memberList.setCounts(counts);
    this.#emitUsers();
    if (counts.names) {
      this.#readMembers();
    }
  }

  /** Sets the rights of this member to those of a response to `enter`, or of a push. */
  #setRights(body) {
    const before = this.#membership.rights;
    const rights = rightsOf(body);
    const isSame = rights.size === before.size && [...rights].every((right) => before.has(right));
    if (!isSame) {
      this.#membership.rights = rights;
      this.#emit('rights', { rights });
    }
  }

  /** Handles other rights than before: with the one to see names, or without, another list is right. */
  #changeRights(body) {
    const couldList = this.#mayList;
    this.#setRights(body);
    const { memberList } = this.#membership;
    if (this.#mayList && !couldList) {
      this.#enterAgain();
    } else if (!this.#mayList && couldList) {
      this.#membersRead = null;
      memberList.setCounts({ total: memberList.total, names: false });
      this.#emitUsers();
    }
  }

  get #mayList() {
    return this.#membership.rights.has('list');
  }

  #emitUsers() {
    const { users, total, names } = this.#membership.memberList;
    this.#emit('users', { users, total, names });
  }

  /**
   * Reads all names in pages. Joins and leaves between the pages are applied to the names that were
   * read.
   */
  async #readMembers() {
    if (this.#hasEnded) {
      return;
    }
    const reading = (this.#membersRead = new MemberList());
    let after;
    const onResponse = (response) => {
      const { users, profiles, cursor } = succeeded(response);
      const isOurs = this.#membersRead === reading;
      if (isOurs && (!Array.isArray(users) || (cursor !== undefined && cursor === after))) {
        throw new ChatError('protocol', 'pages of the member list do not advance');
      }
      after = isOurs ? cursor : undefined;
      if (isOurs) {
        const profileOf = new Map(Object.entries(profiles ?? {}));
        users.forEach((user) => reading.add(user, profileOf.get(user)));
      }
      if (isOurs && after === undefined) {
        this.#membersRead = null;
        this.#membership.memberList.replace(reading);
        this.#emitUsers();
      }
      return response;
    };
    try {
      do {
        await this.#request(ROUTES.MEMBERS, { after, limit: MEMBERS_PAGE }, onResponse);
      } while (after !== undefined);
    } catch (error) {
      this.end(error);
    }
  }

  /**
   * Handles messages that the connector skipped: entering again delivers those that were not
   * evicted. An older epoch has none left.
   */
  #handleGap({ from, to, epoch }) {
    const { delivered } = this.#membership;
    if (epoch !== delivered.epoch) {
      delivered.restartIn(epoch, to);
      this.#emit('gap', { from, to, epoch });
    } else if (delivered.isNew(to)) {
      this.#enterAgain();
    }
  }

  /** Enters again on this connection, which brings the client up to date. */
  #enterAgain() {
    this.#enter().catch((error) => this.end(error));
  }

  // Sending

  /** Sends queued messages, as many as may be in flight. */
  sendNext() {
    if (!this.#isOnline || !this.#socket.isOpen || this.#timers.has('repeat')) {
      return;
    }
    for (let draft; (draft = this.#membership.sendQueue.next(this.#inFlight)); ) {
      this.#sendDraft(draft);
    }
  }

  #sendDraft(draft) {
    draft.tries += 1;
    this.#inFlight.add(draft);
    const isRepeat = draft.tries > 1;
    const onResponse = (response) => this.#handleResponse(draft, isRepeat, response);
    const { requestTimeout: timeout } = this.#options;
    // Servers answer in time, or are not there. All other errors come with the end of the
    // connection.
    this.#socket.request(ROUTES.SEND, draft.body, { timeout, onResponse }).catch((error) => this.end(error));
  }

  #handleResponse(draft, isRepeat, response) {
    this.#inFlight.delete(draft);
    try {
      const { seq, time } = succeeded(response);
      this.#settleSent(draft, { seq, time });
    } catch (error) {
      this.#settleRefused(draft, isRepeat, error);
    }
    this.sendNext();
  }

  #settleSent(draft, { seq, time }) {
    // Settled first: a handler that sends a message must not find this one in the queue.
    this.#room.settle(draft, null, { seq, time });
    const { user: from, memberList } = this.#membership;
    const beside = present({ uid: memberList.profiles.get(from)?.uid, data: draft.data });
    const whisper = { msg: String(draft.content), from, target: draft.target, seq, time, ...beside };
    if (this.#isOwnWhisper(whisper)) {
      this.#receivePush(OWN_WHISPER, whisper);
    }
  }

  /**
   * Settles a refused message, or repeats it. For a repeat, 429 leaves the outcome of the tries
   * before unknown; another refusal is final.
   */
  #settleRefused(draft, isRepeat, error) {
    const isUnknown = error.unknown || (error.status === 429 && isRepeat);
    if (!isUnknown) {
      this.#room.settle(draft, error);
      return;
    }
    draft.error = error;
    if (!this.#timers.has('repeat')) {
      this.#timers.start('repeat', REPEAT_PAUSE, () => this.sendNext());
    }
  }

  // Queries

  /**
   * Sends a request of the application; one without a response at the end of the connection is sent
   * on the next one.
   */
  sendQuery(query) {
    if (!this.#isOnline) {
      return;
    }
    const { route, body, timeout } = query;
    query.tries += 1;
    this.#socket.request(route, body, { timeout }).then(
      (response) => this.#room.settleQuery(query, response),
      () => {},
    );
  }
}

/**
 * Enters a room, through a gate, and remains its member until it is closed or refused. See the
 * declarations for all options.
 *
 * @param {{ gate: string, user: string, room: string, jwt?: string | (() => string |
 *   Promise<string>), session?: object }} options
 * @returns {Promise<Room>} fulfilled in the room; rejected with the refusal of the server, or after
 *   `connectTimeout` with the last failure. Handlers that are added at once when it is fulfilled
 *   miss nothing.
 */
export function connect(options) {
  return Room.connect(options);
}

/** A membership of a room, over as many connections as it takes. Comes from {@link connect}. */
export class Room {
  #options;
  #membership;
  #state = { state: 'connecting', attempt: 0, delay: 0, error: null };
  #handlers = new Map();
  #ids = { prefix: randomHex(4), last: 0 };
  /** Requests of the application without a response yet. */
  #queries = new Set();
  #entered = settler();
  #timers = new Timers();
  /** @type {Attempt | null} null between attempts, and at the end */
  #attempt = null;
  /** Attempts that ended since the last good connection. */
  #failures = 0;
  /** Attempts in a row that ended for lack of a sign of life in time. */
  #failedProbes = 0;
  #isSilent = false;

  /** @private */
  static async connect(options) {
    const room = new Room(options);
    const { connectTimeout } = room.#options;
    const late = () => room.#finish(room.#state.error ?? new ChatError('timeout', `not in the room after ${connectTimeout} ms`));
    room.#timers.start('connect', connectTimeout, late);
    room.#startAttempt();
    await room.#entered.promise;
    return room;
  }

  /** @private */
  constructor(options) {
    // An option that is undefined was not given.
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    const all = { ...DEFAULTS, address: connectorUrl, ...Object.fromEntries(given) };
    const { gate, user, room } = all;
    if (![gate, user, room].every((text) => typeof text === 'string' && text !== '')) {
      throw new ChatError('bad-options', 'gate, user and room must be strings');
    }
    requireFunctions(all, ['address']);
    if (all.jwt !== undefined && typeof all.jwt !== 'function') {
      requireToken(all.jwt);
    }
    const wrong = Object.keys(DEFAULTS).find((name) => !(typeof all[name] === 'number' && all[name] >= 0));
    if (wrong !== undefined) {
      throw new ChatError('bad-options', `${wrong} must be a number, and not below 0`);
    }
    this.#options = { ...all, gate: gateUrl(gate) };
    this.#membership = new Membership(all);
  }

  /** The name of this member. */
  get user() {
    return this.#membership.user;
  }

  /** The room's name. */
  get room() {
    return this.#membership.room;
  }

  /**
   * `connecting`, `online`, `reconnecting` or `closed`; with the number of failed attempts, the
   * delay of the next one, and the last failure.
   */
  get state() {
    return this.#state;
  }

  /**
   * The session for a later {@link connect}, which resumes this membership and catches up. The
   * token is a secret.
   */
  get session() {
    const { token, delivered } = this.#membership;
    return { token, seq: delivered.seq, epoch: delivered.epoch };
  }

  /**
   * The names that are known to be in the room: all if `names`, else some. @returns {Set<string>}
   */
  get users() {
    return this.#membership.memberList.users;
  }

  /**
   * The claims `sub` and `info` of members' tokens, by name: of those in `users` who have tokens.
   * @returns {Map<string, {uid?: string, info?: unknown}>}
   */
  get profiles() {
    return this.#membership.memberList.profiles;
  }

  /**
   * The rights of this member: `enter`, `send`, `whisper`, `read`, `list`, `signal`, `moderate`.
   * Right from the start; the event `rights` tells of changes.
   *
   * @returns {Set<string>}
   */
  get rights() {
    return this.#membership.rights;
  }

  /** The number of members. */
  get total() {
    return this.#membership.memberList.total;
  }

  /** True if each join and leave is delivered; in a large room only the number of members is. */
  get names() {
    return this.#membership.memberList.names;
  }

  /**
   * Calls `handler` for each event of this name, in order. An error that a handler throws, or that
   * its promise is rejected with, is reported once: by `reportError` where that exists (browsers),
   * else on the console. Other handlers, and the room, go on.
   *
   * @param {string} event
   * @param {(event: object) => void} handler
   * @returns {() => void} removes the handler
   * @throws {ChatError} `bad-options` if the handler is no function
   */
  on(event, handler) {
    if (typeof handler !== 'function') {
      throw new ChatError('bad-options', `the handler of ${String(event)} must be a function`);
    }
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Sends a message to all members. Settles as {@link Room.whisper}. */
  send(text, options) {
    return this.#send('*', text, options);
  }

  /** The former name of {@link Room.send}, for pages that were written with it. */
  say(text, options) {
    return this.send(text, options);
  }

  /**
   * Sends a message to one member. Fulfilled when it is in the room's log; rejected with the
   * refusal of the server, or at the deadline. With `error.unknown` it may be in the log all the
   * same. A rejection that no caller awaits is dropped.
   *
   * @param {string} name
   * @param {string} text
   * @param {{ timeout?: number, data?: unknown }} [options]
   * @returns {Promise<{ seq?: number, time?: number }>}
   */
  whisper(name, text, options) {
    // To the server, `*` means all members. No name has one, in none of the forms that Unicode
    // holds for the same.
    if (typeof name !== 'string' || name === '' || name.normalize('NFKC').includes('*')) {
      return refusal('bad-target', 'a whisper needs the name of a member');
    }
    return this.#send(name, text, options);
  }

  /**
   * A page of messages, ascending: the last ones, those before a `seq`, or the first ones after
   * one.
   */
  history({ before, after, limit } = {}) {
    return this.request(ROUTES.HISTORY, { before, after, limit });
  }

  /**
   * A page of the names in the room, in the server's order: the first ones, or those after a name.
   */
  members({ after, limit } = {}) {
    return this.request(ROUTES.MEMBERS, { after, limit });
  }

  /**
   * Mutes a member, or a user who is not in the room: the room takes no messages of the user until
   * then. Needs the right `moderate`, and the user must not have it (`not-allowed`).
   *
   * Settles as all acts of moderators: fulfilled when it is in the room's log. An act is repeated on
   * the next connection if this one breaks; with `error.unknown` it may have been done all the same.
   *
   * @param {string | { name: string } | { uid: string }} target a name, or a user's id
   * @param {{ secs?: number, reason?: string, timeout?: number }} [options] without `secs`, or with
   *   0, it has no end; a user who is removed or banned gets the `reason`
   * @returns {Promise<{ seq?: number, time?: number }>}
   */
  mute(target, options) {
    return this.#act(ROUTES.MUTE, target, options);
  }

  /** Ends a mute. Settles as {@link Room.mute}. */
  unmute(target, options) {
    return this.#act(ROUTES.UNMUTE, target, options);
  }

  /** Bans a user, who leaves and cannot enter until then. Settles as {@link Room.mute}. */
  ban(target, options) {
    return this.#act(ROUTES.BAN, target, options);
  }

  /** Ends a ban. Settles as {@link Room.mute}. */
  unban(target, options) {
    return this.#act(ROUTES.UNBAN, target, options);
  }

  /** Removes a member, who may enter again. Settles as {@link Room.mute}. */
  expel(target, options) {
    return this.#act(ROUTES.EXPEL, target, options);
  }

  #act(route, target, { secs, reason, timeout } = {}) {
    const act = async () => {
      const body = { ...userOf(target), secs: secondsOf(secs), reason };
      const { seq, time } = await this.#query(route, body, { timeout, isAct: true });
      return { seq, time };
    };
    return handled(act());
  }

  /**
   * Sends the connector a request that may be repeated: on the next connection if this one breaks.
   *
   * @returns {Promise<object>} the response's body; rejected with the refusal of the server, or
   *   after `timeout`. A rejection that no caller awaits is dropped.
   */
  request(route, body, options) {
    return this.#query(route, body, options);
  }

  #query(route, body, { timeout = this.#options.requestTimeout, isAct = false } = {}) {
    if (this.#isClosed) {
      return refusal('closed', 'the room was closed');
    }
    const query = { route, timeout, isAct, tries: 0, ...settler() };
    try {
      query.body = encodeBody(body);
      encodeMessage({ type: MessageType.NOTIFY, route });
    } catch (error) {
      return handled(Promise.reject(error));
    }
    this.#queries.add(query);
    const late = new ChatError('timeout', `no response to ${route}`);
    query.timer = startTimer(timeout, () => this.#settleQuery(query, late));
    this.#attempt?.sendQuery(query);
    return query.promise;
  }

  /**
   * Checks the connection now: for a network that is back. Does not wait for the time of the next
   * attempt; a connection that seems open, or is being made, is replaced unless it shows a sign of
   * life soon.
   */
  reconnect() {
    if (this.#attempt) {
      // On a network slower than the limit no attempt would ever succeed: each failure allows the
      // next one more time.
      this.#attempt.probe(PROBE_TIMEOUT * (this.#failedProbes + 1));
    } else if (!this.#isClosed) {
      this.#startAttempt();
    }
  }

  /**
   * Leaves the room and ends everything; messages and requests that wait are rejected with
   * `closed`.
   */
  close() {
    this.#finish(new ChatError('closed', 'the room was closed'));
  }

  get #isClosed() {
    return this.#state.state === 'closed';
  }

  // Connections

  #startAttempt() {
    this.#timers.stop('pause');
    this.#attempt = new Attempt(this.#membership, this.#options, {
      emit: (name, event) => this.#emit(name, event),
      onToken: (token) => this.#takeToken(token),
      onBegun: () => this.#resolveEntered(),
      onOnline: () => this.#goOnline(),
      onStable: () => (this.#failures = 0),
      onEnd: (error, isProbed) => this.#scheduleNext(error, isProbed),
      settle: (draft, error, sent) => this.#settle(draft, error, sent),
      settleQuery: (query, response) => this.#settleQuery(query, response),
    });
    this.#attempt.start();
  }

  #resolveEntered() {
    this.#timers.stop('connect');
    this.#entered.resolve();
  }

  #goOnline() {
    this.#failedProbes = 0;
    this.#setState('online', {});
    this.#queries.forEach((query) => this.#attempt?.sendQuery(query));
  }

  /** Schedules the next attempt after the end of one, unless the room is closed or refused. */
  #scheduleNext(error, isProbed) {
    this.#attempt = null;
    if (this.#isClosed) {
      return;
    }
    if (this.#isFinal(error)) {
      this.#finish(error);
      return;
    }
    const { minDelay, maxDelay } = this.#options;
    const attempt = (this.#failures += 1);
    this.#failedProbes += isProbed ? 1 : 0;
    // The application requested a connection that works, and has waited for the probe already.
    const delay = isProbed ? 0 : Math.random() * Math.min(maxDelay, minDelay * 2 ** attempt);
    this.#timers.start('pause', delay, () => this.#startAttempt());
    this.#setState(this.#membership.hasBegun ? 'reconnecting' : 'connecting', { attempt, delay, error });
    if (isProbed && !this.#attempt && !this.#isClosed) {
      this.#startAttempt();
    }
  }

  #isFinal(error) {
    if (!(error instanceof ChatError) || error.code === 'bad-options') {
      return true;
    }
    if (error.code === 'kicked') {
      const mayReturn = error.reason === 'slow' || (error.reason === 'expired' && typeof this.#options.jwt === 'function');
      return !mayReturn;
    }
    if (error.code === 'protocol') {
      return !this.#membership.hasBegun;
    }
    return error.status !== 0 && !RETRIED_STATUSES.has(error.status) && !RETRIED_CODES.has(error.code);
  }

  #finish(error) {
    if (this.#isClosed) {
      return;
    }
    this.#state = { state: 'closed', attempt: 0, delay: 0, error };
    this.#timers.end();
    this.#attempt?.end(error);
    this.#entered.reject(error);
    this.#queries.forEach((query) => this.#settleQuery(query, error));
    this.#abandon(false, error);
    this.#emit('state', this.#state);
    this.#emit('close', { error });
    this.#isSilent = true;
  }

  #setState(state, { attempt = 0, delay = 0, error = null }) {
    this.#state = { state, attempt, delay, error };
    this.#emit('state', this.#state);
  }

  #emit(name, event) {
    const handlers = this.#handlers.get(name) ?? new Set();
    for (const handler of [...handlers]) {
      // An earlier handler may have closed the room, or removed this one.
      if (!this.#isSilent && handlers.has(handler)) {
        callBack(handler, event);
      }
    }
  }

  /**
   * Abandons the messages that were sent if the server gives another token: it cannot recognise a
   * repeat by another membership, so none is safe.
   */
  #takeToken(token) {
    if (token !== this.#membership.token) {
      this.#abandon(true, new ChatError('unknown', 'the membership ended', { unknown: true }));
    }
    this.#membership.token = token ?? this.#membership.token;
  }

  // Sending

  #send(target, content, { timeout = this.#options.sendTimeout, data } = {}) {
    const { sendQueue } = this.#membership;
    const { maxUnsent } = this.#options;
    if (this.#isClosed) {
      return refusal('closed', 'the room was closed');
    }
    if (sendQueue.size >= maxUnsent) {
      return refusal('busy', `${sendQueue.size} messages wait to be sent`);
    }
    const draft = { target, content, data, ...settler() };
    try {
      draft.body = encodeBody({ target, content, id: `${this.#ids.prefix}-${(this.#ids.last += 1)}`, data });
    } catch (error) {
      return handled(Promise.reject(error));
    }
    draft.timer = startTimer(timeout, () => this.#expire(draft));
    sendQueue.add(draft);
    this.#attempt?.sendNext();
    return draft.promise;
  }

  #expire(draft) {
    const error = draft.error ?? new ChatError('timeout', 'no response in time');
    this.#settle(draft, withOutcome(error, draft.tries > 0));
    this.#attempt?.sendNext();
  }

  /** Settles a message, rejected with `error` unless that is null. */
  #settle(draft, error, sent) {
    this.#membership.sendQueue.remove(draft);
    clearTimeout(draft.timer);
    if (error) {
      draft.reject(error);
    } else {
      draft.resolve(sent);
    }
  }

  #settleQuery(query, response) {
    this.#queries.delete(query);
    clearTimeout(query.timer);
    try {
      if (response instanceof Error) {
        throw response;
      }
      query.resolve(succeeded(response));
    } catch (error) {
      // A refused repeat says nothing of the tries before: a member that was expelled is missing.
      const isUnknown = query.isAct && query.tries > (response instanceof Error ? 0 : 1);
      query.reject(isUnknown ? withOutcome(error, true) : error);
    }
  }

  #abandon(onlySent, error) {
    for (const draft of this.#membership.sendQueue.list(onlySent)) {
      this.#settle(draft, withOutcome(error, draft.tries > 0));
    }
  }
}

/** Returns an error like this one, of a request whose outcome is unknown or not. */
function withOutcome({ code, message, status, reason, until, retry }, unknown) {
  return new ChatError(code, message, { status, unknown, reason, until, retry });
}

/** Returns the user whom an act is about: by the name in the room, or by the id. */
function userOf(target) {
  const { name, uid } = typeof target === 'string' ? { name: target } : (target ?? {});
  const given = [name, uid].filter((text) => text !== undefined);
  if (given.length !== 1 || typeof given[0] !== 'string' || given[0] === '') {
    throw new ChatError('bad-target', 'an act needs the name of a member, or the uid of a user');
  }
  return { name, uid };
}

/** Returns the duration of a rule. JSON would make `null` of NaN, and so a rule without an end. */
function secondsOf(secs) {
  if (secs !== undefined && !(Number.isSafeInteger(secs) && secs >= 0)) {
    throw new ChatError('bad-options', 'secs must be a whole number, and not below 0');
  }
  return secs;
}

/** Returns the rights that a body names; without a list they are those of every member. */
function rightsOf({ rights }) {
  return new Set(Array.isArray(rights) ? rights : MEMBER_RIGHTS);
}

/** Returns a rule as applications get it, from its push. */
function toRule({ kind, until, time }) {
  return { kind, until, time, ended: until !== 0 && until <= time };
}

/** Returns the members that have a value. */
function present(members) {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

/** Returns a token of the application, if this is one. */
function requireToken(jwt) {
  if (typeof jwt !== 'string' || jwt === '') {
    throw new ChatError('bad-options', 'jwt must be a token, or a function that gives one');
  }
  return jwt;
}

/** Calls the application's function for a token. A failure is one of the network, which may pass. */
async function callJwt(jwt) {
  try {
    return await jwt();
  } catch (error) {
    throw new ChatError('jwt', `there is no token: ${error?.message ?? error}`);
  }
}

/** Returns a promise that is rejected already. */
function refusal(code, message) {
  return handled(Promise.reject(new ChatError(code, message)));
}

/** Returns the URL of a gate, which may be written as that of its page, or as `host:port`. */
function gateUrl(gate) {
  try {
    const url = new URL(gate.includes('://') ? gate : `ws://${gate}`);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    return url.href;
  } catch (error) {
    throw new ChatError('bad-options', `gate: ${error.message}`);
  }
}

/** Returns the URL of a connector, with TLS if the gate has it or requires it. */
export function connectorUrl({ host, port, tls }, gate) {
  const scheme = tls === true ? 'wss:' : new URL(gate).protocol;
  return `${scheme}//${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}/`;
}

function randomHex(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
