// Drives one original Pomelo client by JSON lines: a command per line of stdin, an event per line of stdout.
//
//   node client.mjs PACKAGES [PROTOS]   PACKAGES: the directory that scripts/fetch-original-client fills
//                                       PROTOS: protobuf schemas in the browser's localStorage, as JSON
//
// The first event is {"event":"ready","emoji":"eda0bdedb880"}. Commands, and the events that answer them:
//
//   {"do":"secure","ca":FILE}   from now on with TLS, before any other command; FILE: the authority to trust
//   {"do":"connect","host":"127.0.0.1","port":3014,"user":{}}          {"event":"connected","user":{}}
//   {"do":"request","id":7,"route":"a.b.c","msg":{}}                   {"event":"response","id":7,"body":{}}
//   {"do":"notify","route":"a.b.c","msg":{}}
//   {"do":"enter","host":..,"port":..,"username":"a","rid":"lobby"}    {"event":"entered","entry":{},"body":{}}
//   {"do":"disconnect"}
//   {"do":"mute-heartbeat"}     from now on the client's heartbeats are lost
//   {"do":"deafen-heartbeat"}   from now on the server's are
//
// `id` is the driver's own. `enter` goes through the gate at host:port as the demo's page does; `entry` is the gate's
// answer, `body` the connector's, left out if the gate named none. Everything else is what the client emits:
//
//   {"event":"push","route":"onChat","body":{}}    {"event":"onKick","body":{"reason":"kick"}}
//   {"event":"close","url":"ws://127.0.0.1:3014","code":1000,"reason":""}    then the same as "disconnect"
//   {"event":"heartbeat timeout"}    {"event":"io-error","message":".."}    {"event":"error","message":".."}
//
// What the client or this program throws is {"event":"crash","message":".."}, and the exit code 1.
// The end of stdin disconnects and ends the program.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { connect, enterThroughGate, loadOriginal, request } from './original.mjs';

const EMITTED = {
  onKick: (body) => ({ body }),
  close: ({ target, code, reason }) => ({ url: target.url.replace(/\/$/, ''), code, reason }),
  disconnect: (event) => EMITTED.close(event),
  'io-error': ({ message }) => ({ message }),
  error: (message) => ({ message }),
  reconnect: () => ({}),
  'heartbeat timeout': () => ({}),
};

function write(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function report(name, value) {
  if (Object.hasOwn(EMITTED, name)) {
    write(name, EMITTED[name](value));
  } else {
    write('push', { route: name, body: value });
  }
}

process.on('uncaughtException', (error) => {
  write('crash', { message: String(error?.stack ?? error) });
  process.exit(1);
});

function load(ca) {
  return loadOriginal(process.argv[2] ?? 'target/original-client', report, process.argv[3], ca);
}

let { pomelo, heartbeats, emoji } = load();

const COMMANDS = {
  secure({ ca }) {
    ({ pomelo, heartbeats } = load(readFileSync(ca)));
  },
  async connect({ host, port, user }) {
    write('connected', { user: await connect(pomelo, host, port, user) });
  },
  async request({ id, route, msg }) {
    write('response', { id, body: await request(pomelo, route, msg) });
  },
  async enter({ host, port, username, rid }) {
    const { entry, enter } = await enterThroughGate(pomelo, { host, port }, username, rid);
    write('entered', { entry, body: enter });
  },
  notify({ route, msg }) {
    pomelo.notify(route, msg);
  },
  disconnect() {
    pomelo.disconnect();
  },
  'mute-heartbeat'() {
    heartbeats.out = false;
  },
  'deafen-heartbeat'() {
    heartbeats.in = false;
  },
};

write('ready', { emoji });
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  if (!Object.hasOwn(COMMANDS, command.do)) {
    throw new Error(`unknown command: ${line}`);
  }
  // Its failure is an uncaught exception.
  COMMANDS[command.do](command);
});
lines.on('close', () => pomelo.disconnect());
