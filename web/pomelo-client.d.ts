/** A client of Shaddock, and of other servers of Pomelo's chat. */

/** Routes, in Pomelo's words. */
export const ROUTES: Readonly<
  Record<
    'QUERY_ENTRY' | 'ENTER' | 'SEND' | 'HISTORY' | 'MEMBERS' | 'REFRESH' | 'MUTE' | 'UNMUTE' | 'BAN' | 'UNBAN' | 'EXPEL',
    string
  >
>;

/** The reason of a failure. */
export class ChatError extends Error {
  constructor(
    code: string,
    message?: string,
    more?: { status?: number; unknown?: boolean; reason?: string; until?: number; retry?: number },
  );
  readonly name: 'ChatError';
  /**
   * A stable word: that of the server (`name-taken`, `forbidden`, `too-long`, `rate`,
   * `no-such-member`, `not-allowed`, `muted`, `banned`, `slow`, ...; `refused` from servers that
   * give none), or one of the client: `timeout`, `closed`, `kicked`, `busy` (too many messages
   * wait), `connect` (no server there), `protocol` (no Pomelo server, or one that is not
   * understood), `unknown` (the membership ended before the response), `jwt` (the function of that
   * name failed), `bad-options`, `bad-target` (a whisper to no name, an act without one user),
   * `bad-body` (a value without a JSON form).
   */
  readonly code: string;
  /** The `code` of the server's response; 0 if there was none. */
  readonly status: number;
  /** The effect may have happened all the same, or happen yet. */
  readonly unknown: boolean;
  /** The reason of a kick; else empty. */
  readonly reason: string;
  /** Of `muted` and `banned`: the end in Unix milliseconds; 0 if it has none. */
  readonly until?: number;
  /** Of `slow`: milliseconds until the room takes this member's next message. */
  readonly retry?: number;
}

/** A message to all, or a whisper. */
export interface ChatMessage {
  msg: string;
  from: string;
  /** `*`, or the recipient of a whisper. */
  target: string;
  /**
   * Rises within a room and an epoch, with gaps. Stock Pomelo servers give none of these
   * three.
   */
  seq?: number;
  /** The time of its commit, in Unix milliseconds. */
  time?: number;
  /** The epoch of the room's log that `seq` belongs to. */
  epoch?: number;
  /** The sender's id in the application, if the sender logged in with a token. */
  uid?: string;
  /** What the sender's application sent beside the text. */
  data?: unknown;
}

/** Messages of the past, ascending. */
export interface HistoryPage {
  messages: (Required<Pick<ChatMessage, 'msg' | 'from' | 'target' | 'seq' | 'time'>> & Pick<ChatMessage, 'uid' | 'data'>)[];
  epoch: number;
  /** True if no requested message has been evicted. */
  complete: boolean;
  /** More may exist: pass this as `before`, or as `after`, to read them. */
  cursor?: number;
}

/** Names in the room, in the server's order. */
export interface MembersPage {
  users: string[];
  /** Of those who have tokens, by name. */
  profiles?: Record<string, Profile>;
  total: number;
  seq: number;
  time: number;
  /** More exist: pass this as `after` to read them. */
  cursor?: string;
}

/** The claims of a member's token. */
export interface Profile {
  /** The member's id in the application, the claim `sub`. */
  uid?: string;
  /** The claim `info`. */
  info?: unknown;
}

export interface SendOptions {
  /** Milliseconds, with all repeats; the room's `sendTimeout` unless given. */
  timeout?: number;
  /** JSON of up to 4,096 bytes that receivers get beside the text; above, `bad-data`. */
  data?: unknown;
}

/** Something that a member may do in the room. `moderate`: mute, ban and expel others. */
export type Right = 'enter' | 'send' | 'whisper' | 'read' | 'list' | 'signal' | 'moderate';

/** The user whom an act of a moderator is about: a name in the room, or a user's id. */
export type Target = string | { name: string; uid?: undefined } | { uid: string; name?: undefined };

export interface ActOptions {
  /** Milliseconds, with the repeats on other connections; the room's `requestTimeout` unless given. */
  timeout?: number;
  /** A text of up to 256 bytes for a user who is removed or banned. */
  reason?: string;
}

export interface RuleOptions extends ActOptions {
  /** The duration, in whole seconds; without it, or with 0, the rule has no end. */
  secs?: number;
}

/** A rule about this member, which begins, changes or ends. */
export interface Rule {
  kind: 'mute' | 'ban';
  /** Its end in Unix milliseconds; 0 if it has none. */
  until: number;
  /** The server's time of this event, in Unix milliseconds: `until - time` is left of it. */
  time: number;
  /** True if it is over, because a moderator ended it. One that reaches its end gives no event. */
  ended: boolean;
}

/** The position of a message in the room's log; empty from stock Pomelo servers. */
export interface Sent {
  seq?: number;
  time?: number;
}

/** Names a membership, so that a later connection can resume it. */
export interface Session {
  /** A secret. */
  token: string;
  /** Messages up to here are not delivered again. */
  seq?: number;
  epoch?: number;
}

export interface RoomState {
  state: 'connecting' | 'online' | 'reconnecting' | 'closed';
  /** Failed attempts since the last connection. */
  attempt: number;
  /** Milliseconds from this event to the next attempt. */
  delay: number;
  /** The last failure. */
  error: Error | null;
}

export interface RoomEvents {
  /** A message; each once, in order. Own ones too, whispers among them. */
  chat: ChatMessage;
  /** Another member joined; with the claims of its token, if it has one. */
  add: { user: string } & Profile;
  /** Another member left. */
  leave: { user: string };
  /** The member list changed: the present `room.users`, `room.total` and `room.names`. */
  users: { users: Set<string>; total: number; names: boolean };
  /** The rights of this member changed: the present `room.rights`. */
  rights: { rights: Set<Right> };
  /** A moderator muted this member, banned it, or ended that. */
  rule: Rule;
  /**
   * This member is removed from the room. `kick` follows with `expelled`, and then `close`.
   */
  expel: { reason: string };
  /**
   * Messages between `from` (of an older epoch, if `epoch` is new) and `to` will not be delivered,
   * or not all.
   */
  gap: { from?: number; to?: number; epoch?: number };
  /** A change of the connection: lost, being made again, open. */
  state: RoomState;
  /**
   * The server is about to close the connection. After `slow` the client reconnects, else `close`
   * follows.
   */
  kick: { reason: string };
  /** The end: nothing comes after it. `error.code` is `closed` after `close()`. */
  close: { error: Error };
  /** A push of another kind. */
  push: { route: string; body: Record<string, unknown> };
}

/**
 * The part of a WebSocket that is used: of browsers', of node's, of the package `ws`, and of others
 * like them.
 */
export interface WebSocketLike {
  binaryType: string;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: Uint8Array): void;
  close(): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface ConnectOptions {
  /**
   * A gate's URL: `ws:`, `wss:`, or that of its page (a fragment is dropped); or `host:port`. Its
   * connectors are reached with TLS if the gate is.
   */
  gate: string;
  /** The member's name: 1 to 64 characters, no control characters, no `*`. */
  user: string;
  /** The room's name: likewise. */
  room: string;
  /**
   * A token of the application (a JWT) to log in with; `user` is the name in it. A function is
   * called for each connection and before its token expires; while it fails, the client tries
   * again. With a text, or once the server refuses a token, the room ends with `expired`,
   * `token-expired`, ...
   */
  jwt?: string | (() => string | Promise<string>);
  /**
   * A membership to resume, from `room.session`. With `seq` and `epoch` missed messages are
   * delivered.
   */
  session?: Session;
  /** Milliseconds for being in the room; 15,000 unless given. */
  connectTimeout?: number;
  /**
   * Milliseconds for the response to a request; 10,000 unless given. A connection that takes longer
   * is given up.
   */
  requestTimeout?: number;
  /**
   * Milliseconds for sending a message, with all repeats; 40,000 unless given. The deduplication
   * window of servers is 60,000.
   */
  sendTimeout?: number;
  /**
   * The first wait before reconnecting is random below twice this, each further one below twice
   * the bound before; 500 milliseconds unless given.
   */
  minDelay?: number;
  /** No wait is longer; 10,000 milliseconds unless given. */
  maxDelay?: number;
  /** Messages that may wait to be sent; above, `busy`. 256 unless given. */
  maxUnsent?: number;
  /**
   * Pushes that may wait while the client enters and catches up; 4,096 unless given.
   * Above, the connection is replaced. After the second time in a row the older part of the missed
   * messages is a `gap`.
   */
  maxHeld?: number;
  /** Returns the URL of the connector that the gate names; by default that of the gate's response. */
  address?: (entry: Entry, gate: string) => string;
  /** For environments without a `WebSocket` of their own. */
  WebSocket?: WebSocketConstructor;
}

/**
 * Enters a room, through a gate, and remains its member until it is closed or refused.
 *
 * Rejected with the refusal of the server, or after `connectTimeout` with the last failure.
 * Handlers that are added at once when it is fulfilled miss nothing.
 */
export function connect(options: ConnectOptions): Promise<Room>;

/**
 * A membership of a room, over as many connections as it takes.
 *
 * The promises of its methods need not be awaited: a rejection that no caller awaits is dropped,
 * and ends no node process.
 */
export class Room {
  private constructor();
  readonly user: string;
  readonly room: string;
  readonly state: RoomState;
  /** The session for a later `connect`, which resumes this membership. */
  readonly session: Session;
  /** The names that are known to be in the room: all if `names`, else some. */
  readonly users: Set<string>;
  /** The claims `sub` and `info` of members' tokens, of those in `users` who have tokens. */
  readonly profiles: Map<string, Profile>;
  /** The rights of this member. */
  readonly rights: Set<Right>;
  /** The number of members. */
  readonly total: number;
  /** True if each join and leave is delivered; in a large room only the number of members is. */
  readonly names: boolean;

  /**
   * Calls `handler` for each event of this name, in order; the returned function removes it. An
   * error that a handler throws, or that its promise is rejected with, is reported once: by
   * `reportError` where that exists, as in browsers, else on the console. Other handlers, and the
   * room, go on. Throws `bad-options` if `handler` is no function.
   */
  on<E extends keyof RoomEvents>(event: E, handler: (event: RoomEvents[E]) => void): () => void;

  /**
   * Sends a message to all members. Fulfilled when it is in the room's log; rejected with the
   * refusal of the server, or at the deadline; at once if it has no JSON form (`bad-body`), is too
   * long, or too many messages wait. Messages are committed once and in the order of the calls,
   * over lost connections too. With `error.unknown` it may have been committed all the same.
   */
  send(text: string, options?: SendOptions): Promise<Sent>;

  /** @deprecated The former name of `send`. */
  say(text: string, options?: SendOptions): Promise<Sent>;

  /**
   * Sends a message to one member, as `send`; `bad-target` if `name` is no name, as `*`. The sender
   * gets it as a `chat` event, too.
   */
  whisper(name: string, text: string, options?: SendOptions): Promise<Sent>;

  /**
   * The last messages, those before a `seq`, or the first ones after one; up to `limit`, of 1 to
   * 100.
   */
  history(which?: { before?: number; after?: number; limit?: number }): Promise<HistoryPage>;

  /** The first names, or those after one; up to `limit`, of 1 to 500. */
  members(which?: { after?: string; limit?: number }): Promise<MembersPage>;

  /**
   * Mutes a user: the room takes no messages of the user until then. Needs the right `moderate`;
   * users who have it cannot be muted, banned or expelled (`not-allowed`).
   *
   * Fulfilled when it is in the room's log; rejected with the refusal of the server, or after
   * `timeout`. An act is repeated on the next connection if this one breaks; with `error.unknown` it
   * may have been done all the same.
   */
  mute(target: Target, options?: RuleOptions): Promise<Sent>;

  /** Ends a mute; settles as `mute`. */
  unmute(target: Target, options?: ActOptions): Promise<Sent>;

  /** Bans a user, who is removed and cannot enter until then; settles as `mute`. */
  ban(target: Target, options?: RuleOptions): Promise<Sent>;

  /** Ends a ban; settles as `mute`. */
  unban(target: Target, options?: ActOptions): Promise<Sent>;

  /** Removes a member, who may enter again; settles as `mute`. */
  expel(target: Target, options?: ActOptions): Promise<Sent>;

  /** Sends the connector a request that may be repeated. */
  request(route: string, body: object, options?: { timeout?: number }): Promise<Record<string, unknown>>;

  /**
   * Checks the connection now, for a network that may be another one: does not wait for the next
   * attempt, and replaces a connection that shows no sign of life within about two seconds.
   */
  reconnect(): void;

  /**
   * Leaves the room and ends everything; messages and requests that wait are rejected with
   * `closed`.
   */
  close(): void;
}

/** One connection, for other uses of Pomelo's protocol. */
export interface SocketOptions {
  /** Milliseconds for connecting and shaking hands; 5,000 unless given. */
  timeout?: number;
  WebSocket?: WebSocketConstructor;
  signal?: AbortSignal;
  /** Sent in the handshake, as `{ jwt }`. */
  user?: Record<string, unknown>;
  onPush?: (route: string, body: Record<string, unknown>) => void;
  onKick?: (reason: string) => void;
  /** Called when bytes arrive: a sign of life. */
  onReceive?: () => void;
}

export class PomeloSocket {
  private constructor();
  static open(url: string, options?: SocketOptions): Promise<PomeloSocket>;
  /** True from the handshake until the connection ends. */
  readonly isOpen: boolean;
  /** The reason of the end of the connection; never rejected. */
  readonly closed: Promise<ChatError>;
  /**
   * Returns the body of the response, a refusal included. `onResponse` gets it before any later
   * package is read; the promise is then of the value that `onResponse` returns.
   */
  request<T = Record<string, unknown>>(
    route: string,
    body: object,
    options?: { timeout?: number; onResponse?: (body: Record<string, unknown>) => T },
  ): Promise<T>;
  notify(route: string, body: object): void;
  /**
   * Sends a heartbeat, which the server answers at once; false if the connection is not open, or
   * has no heartbeats.
   */
  sendHeartbeat(): boolean;
  close(error?: ChatError): void;
}

/** A gate's answer: the connector of a user. */
export interface Entry {
  host: string;
  port: number;
  /** True if clients have to connect with TLS. */
  tls?: boolean;
}

/** Requests the connector for `uid` from a gate. */
export function queryEntry(gate: string, uid: string, options?: SocketOptions): Promise<Entry>;

/** Returns the URL of a connector, with TLS if the gate has it or requires it: the default of `address`. */
export function connectorUrl(entry: Entry, gate: string): string;

/** The types of packages. */
export const PackageType: Readonly<Record<'HANDSHAKE' | 'HANDSHAKE_ACK' | 'HEARTBEAT' | 'DATA' | 'KICK', number>>;

/** The types of messages, the bodies of data packages. */
export const MessageType: Readonly<Record<'REQUEST' | 'NOTIFY' | 'RESPONSE' | 'PUSH', number>>;

export interface Package {
  type: number;
  body: Uint8Array;
}

/** A `route` that is a number is a code of the dictionary. */
export interface Message {
  type: number;
  id?: number;
  route?: string | number;
  body?: Uint8Array;
}

export function encodePackage(type: number, body?: Uint8Array): Uint8Array;
export function encodeMessage(message: Message): Uint8Array;
export function decodeMessage(bytes: Uint8Array): Required<Message>;

/** Reads packages from bytes that may be cut anywhere. */
export class PackageReader {
  read(bytes: Uint8Array): Package[];
}
