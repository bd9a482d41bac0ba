// Runs the original Pomelo JS client, unmodified, as a browser would run it. One client per call: it keeps its state
// in variables of its own, so each gets a context of its own.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import vm from 'node:vm';

const SCRIPTS = ['pomelo-protocol/lib/protocol.js', 'pomelo-jsclient-websocket/lib/pomelo-client.js'];
/**
 * What a page with TLS runs before the client, which writes `ws://` into the URL itself. A browser
 * has `window`; so has the context of these tests.
 */
export const OVER_TLS = `
  window.WebSocket = class extends WebSocket {
    constructor(url) { super(url.replace(/^ws:/, 'wss:')); }
  };
`;
const HEARTBEAT = 3;
const HEAD_BYTES = 4;

// U+1F600 as browsers send it: each half of the surrogate pair as three bytes.
const EMOJI = '\u{1F600}';
const EMOJI_BYTES = 'eda0bdedb880';

/**
 * Loads the client from `packages`, the directory that scripts/fetch-original-client fills.
 *
 * `report(event, value)` is called for everything that the client emits: pushes by their route, and `onKick`, `close`,
 * `disconnect`, `io-error`, `error`, `reconnect`, `heartbeat timeout`. Setting `heartbeats.out` or `heartbeats.in` to
 * false loses the heartbeats of that direction between the client and its socket. With `protos`, a JSON text, it has
 * these protobuf schemas of an earlier visit to a Pomelo server, and decodes every push that is in them as protobuf.
 * With `ca`, the certificate of an authority, the page has TLS, and its websockets trust that authority.
 *
 * Throws if the client would encode text in another way than in a browser.
 */
export function loadOriginal(packages, report, protos, ca) {
  const modules = resolve(packages, 'node_modules');
  const { WebSocket } = createRequire(`${modules}/`)('ws');
  const heartbeats = { in: true, out: true };
  const context = vm.createContext({
    // Buffers of this realm, because the socket knows no others.
    Uint8Array,
    WebSocket: lossySocket(WebSocket, heartbeats, ca),
    EventEmitter: reporter(report),
    module: {},
    console: { log() {}, error() {} },
    setTimeout,
    clearTimeout,
  });
  context.window = context;
  if (protos !== undefined) {
    const storage = new Map([['protos', protos]]);
    context.localStorage = {
      getItem: (key) => storage.get(key) ?? null,
      setItem: (key, value) => storage.set(key, value),
    };
    context.protobuf = {
      init() {},
      decodeStr(route) {
        throw new Error(`${route} is not protobuf`);
      },
    };
  }
  if (ca !== undefined) {
    vm.runInContext(OVER_TLS, context);
  }
  for (const script of SCRIPTS) {
    vm.runInContext(readFileSync(`${modules}/${script}`, 'utf8'), context, { filename: script });
  }
  const emoji = Buffer.from(context.Protocol.strencode(EMOJI)).toString('hex');
  if (emoji !== EMOJI_BYTES) {
    throw new Error(`the client encodes U+1F600 as ${emoji}, a browser as ${EMOJI_BYTES}`);
  }
  return { pomelo: context.pomelo, heartbeats, emoji };
}

/** Connects; resolves when the handshake is over, with what it says of the user. */
export function connect(pomelo, host, port, user) {
  const handshakeCallback = (answer) => (connect.user = plain(answer));
  connect.user = undefined;
  return new Promise((done) => pomelo.init({ host, port, user, handshakeCallback, log: true }, () => done(connect.user)));
}

/** Sends a request; resolves with the body of its answer. */
export function request(pomelo, route, body) {
  return new Promise((done) => pomelo.request(route, body, (answer) => done(plain(answer))));
}

/** Does what the chat demo's page does to enter a room. Returns the gate's answer and, if that was 200, `enter`'s. */
export async function enterThroughGate(pomelo, gate, username, rid) {
  await connect(pomelo, gate.host, gate.port);
  const entry = await request(pomelo, 'gate.gateHandler.queryEntry', { uid: username });
  pomelo.disconnect();
  if (entry.code !== 200) {
    return { entry };
  }
  await connect(pomelo, entry.host, entry.port);
  return { entry, enter: await request(pomelo, 'connector.entryHandler.enter', { username, rid }) };
}

/** A value of the client's realm as one of ours. */
export function plain(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

/** What the client takes for its EventEmitter; all that it uses of it is `emit`. */
function reporter(report) {
  return class {
    emit(event, value) {
      report(event, value);
    }
  };
}

function lossySocket(WebSocket, heartbeats, ca) {
  return class extends WebSocket {
    constructor(url) {
      super(url, { ca });
    }

    send(bytes) {
      if (heartbeats.out || new Uint8Array(bytes)[0] !== HEARTBEAT) {
        super.send(bytes);
      }
    }

    set onmessage(handler) {
      super.onmessage = ({ data }) => {
        const kept = heartbeats.in ? data : withoutHeartbeats(data);
        if (kept.byteLength > 0) {
          handler({ data: kept });
        }
      };
    }
  };
}

/** The packages of a frame except heartbeats. */
function withoutHeartbeats(frame) {
  const bytes = Buffer.from(frame);
  const kept = [];
  for (let start = 0, end; start < bytes.length; start = end) {
    end = start + HEAD_BYTES + bytes.readUIntBE(start + 1, HEAD_BYTES - 1);
    if (bytes[start] !== HEARTBEAT) {
      kept.push(bytes.subarray(start, end));
    }
  }
  return Uint8Array.from(Buffer.concat(kept)).buffer;
}
