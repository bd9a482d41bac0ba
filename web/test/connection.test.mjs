// The end of a connection: what ends with it, and what the application may do at any moment. Time
// is the test's.

import assert from 'node:assert/strict';
import test, { mock } from 'node:test';

import { connect, PomeloSocket, ROUTES } from '../pomelo-client.js';
import { enter, FakeCluster, pass, push, response, settle } from './fake.mjs';

const message = (seq) => ({ msg: `m${seq}`, from: 'bob', target: '*', seq, time: 1 });
const entered = (more) => ({ token }) => ({ code: 200, users: ['ann'], seq: 9000, epoch: 7, token, missed: [], recovered: true, ...more });
const seqs = (emitted) => emitted.chat.map(({ seq }) => seq);

/** Breaks the connection, and lets the next one be made. */
async function comeBack({ cluster, room }) {
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
}

test('held pushes end with their connection', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = entered({ missed: [message(8000)], cursor: 8000 });
  cluster.responses[ROUTES.HISTORY] = (body, { line }) => {
    line.push('onAdd', { user: 'carol' });
    line.chat(9500);
  };
  await comeBack({ cluster, room });
  cluster.responses[ROUTES.ENTER] = entered({ seq: 9600, missed: [message(8000), message(9500)] });
  await comeBack({ cluster, room });
  assert.deepEqual([room.state.state, [...room.users], room.total, emitted.add], ['online', ['ann'], 1, []]);
  assert.deepEqual(seqs(emitted), [8000, 9500]);
});

test('too many held pushes cause one reconnect, after a pause', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = entered({ missed: [message(8000)], cursor: 8000 });
  cluster.responses[ROUTES.HISTORY] = (body, { line }) => {
    cluster.responses[ROUTES.HISTORY] = (body, { line }) => {
      line.chat(15_001);
      return { code: 200, epoch: 7, messages: [message(900), message(7000)], complete: true };
    };
    for (let seq = 10_000; seq < 15_000; seq += 1) {
      line.chat(seq);
    }
  };
  await comeBack({ cluster, room });
  assert.equal(room.state.state, 'reconnecting');
  assert.ok(room.state.delay > 0);
  cluster.responses[ROUTES.ENTER] = entered({ seq: 15_000, missed: [message(14_999)], cursor: 14_999 });
  await pass(room.state.delay);
  await pass(20_000);
  assert.deepEqual([room.state.state, cluster.lines.length, seqs(emitted)], ['online', 6, [7000, 14_999, 15_001]]);
});

test('a room that is faster than the catch-up is entered with a gap', async (t) => {
  const { cluster, emitted, room } = await enter(t, undefined, { maxHeld: 10 });
  cluster.responses[ROUTES.ENTER] = entered({ missed: [message(8000)], cursor: 8000 });
  cluster.responses[ROUTES.HISTORY] = (body, { line }) => Array.from({ length: 11 }, (_, number) => line.chat(10_000 + number)).at(11);
  await comeBack({ cluster, room });
  await pass(room.state.delay);
  assert.equal(room.state.state, 'reconnecting');
  await pass(room.state.delay);
  assert.deepEqual([room.state.state, seqs(emitted), emitted.gap], ['online', [8000], [{ from: 1000, to: 9000, epoch: 7 }]]);
});

test('pushes before the response to enter are in that response', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = (body, { id, line }) => {
    line.push('onMembers', { rid: 'lobby', total: 700, names: false });
    line.push('onLeave', { user: 'eve' });
    line.push('onGap', { rid: 'lobby', from: 2000, to: 100, epoch: 8 });
    line.chat(300);
    line.frame(response(id, entered({ users: ['ann', 'bob'], total: 900, names: false, seq: 40, epoch: 9, recovered: false })(body)), push('onChat', message(50)));
  };
  cluster.line.push('onGap', { rid: 'lobby', from: 1000, to: 2000, epoch: 7 });
  cluster.line.chat(3000);
  await settle();
  assert.deepEqual([room.total, room.names, emitted.leave], [900, false, []]);
  assert.deepEqual([emitted.gap, seqs(emitted)], [[{ from: 1000, to: 40, epoch: 9 }], [50]]);
  assert.deepEqual([room.session.seq, room.session.epoch], [50, 9]);
});

test('after a log that lost records the state is that of the server', async (t) => {
  for (const epoch of [8, 7]) {
    await t.test(epoch === 8 ? 'another epoch' : 'the same epoch, which ends earlier', async (t) => {
      const { cluster, emitted, room } = await enter(t);
      cluster.line.push('onAdd', { user: 'bob' });
      cluster.line.chat(50_000);
      cluster.responses[ROUTES.ENTER] = entered({ users: ['ann', 'cid'], total: 2, names: true, seq: 20, epoch, recovered: false });
      await comeBack({ cluster, room });
      assert.deepEqual([[...room.users], room.total, emitted.leave], [['ann', 'cid'], 2, []]);
      cluster.line.chat(21);
      cluster.line.chat(35);
      assert.deepEqual([seqs(emitted), emitted.gap], [[50_000, 21, 35], [{ from: 50_000, to: 20, epoch }]]);
      assert.deepEqual([room.session.seq, room.session.epoch], [35, epoch]);
    });
  }
});

test('messages that were lost while pages were read are a gap', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = entered({ missed: [message(8000)], cursor: 8000 });
  cluster.responses[ROUTES.HISTORY] = ({ after }) => {
    const messages = after === undefined ? [message(7000)] : [];
    return { code: 200, epoch: 7, messages, complete: false };
  };
  await comeBack({ cluster, room });
  assert.deepEqual([seqs(emitted), emitted.gap], [[7000, 8000], [{ from: 1000, to: 9000, epoch: 7 }]]);
});

test('invalid pages end the connection, and only that', async (t) => {
  const { cluster, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = entered({ cursor: 8000 });
  for (const page of [{ messages: [], complete: true, cursor: 8000 }, {}]) {
    cluster.responses[ROUTES.HISTORY] = () => ({ code: 200, epoch: 7, ...page });
    await comeBack({ cluster, room });
    assert.deepEqual([room.state.state, room.state.error.code], ['reconnecting', 'protocol']);
  }
  assert.equal(cluster.bodies(ROUTES.HISTORY).length, 2);
  cluster.responses[ROUTES.ENTER] = entered({ total: 5 });
  for (const page of [{ users: ['ann'], cursor: 'ann' }, {}]) {
    cluster.responses[ROUTES.MEMBERS] = () => ({ code: 200, ...page });
    await pass(room.state.delay);
    assert.deepEqual([room.state.state, room.state.error.code], ['reconnecting', 'protocol']);
  }
});

test('an own whisper does not overtake held pushes', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const whispered = room.whisper('bob', 'psst');
  await settle();
  const { id } = cluster.requests.at(-1);
  cluster.responses[ROUTES.ENTER] = () => undefined;
  cluster.line.push('onGap', { rid: 'lobby', from: 1000, to: 2000, epoch: 7 });
  await settle();
  cluster.line.chat(3000);
  cluster.line.respond(id, { code: 200, seq: 4000, time: 1 });
  assert.equal((await whispered).seq, 4000);
  assert.deepEqual(seqs(emitted), []);
  cluster.line.respond(cluster.requests.at(-1).id, entered({ seq: 2500, missed: [message(1500)] })({}));
  await settle();
  assert.deepEqual(seqs(emitted), [1500, 3000, 4000]);
});

test('a handler that sends a message does not repeat the one that was just committed', async (t) => {
  const { cluster, room } = await enter(t);
  cluster.responses[ROUTES.SEND] = ({ content }) => ({ code: 200, seq: content === 'psst' ? 2000 : 3000, time: 1 });
  room.on('chat', ({ msg }) => msg === 'psst' && room.send('more'));
  await room.whisper('bob', 'psst');
  await settle();
  assert.deepEqual(cluster.bodies(ROUTES.SEND).map(({ content }) => content), ['psst', 'more']);
});

// Closing

test('a room that is closed at once stays closed', async (t) => {
  const { cluster, emitted, connecting } = await enter(t, undefined, { onEntered: (room) => room.close() });
  await pass(60_000);
  const room = await connecting;
  assert.equal(room.state.state, 'closed');
  assert.deepEqual(emitted.state.map(({ state }) => state), ['closed']);
  assert.deepEqual([emitted.close.length, cluster.lines.length, cluster.line.isOpen], [1, 2, false]);
});

test('a room is closed for good, at each moment of coming back', async (t) => {
  for (let moment = 0; moment < 60; moment += 1) {
    await t.test(`after ${moment} steps`, async (t) => {
      const { cluster, emitted, room } = await enter(t);
      cluster.responses[ROUTES.ENTER] = entered({ missed: [message(8000)], cursor: 8000 });
      cluster.responses[ROUTES.HISTORY] = () => ({ code: 200, epoch: 7, messages: [message(900)], complete: true });
      cluster.line.break();
      await settle();
      mock.timers.tick(room.state.delay);
      for (let step = 0; step < moment; step += 1) {
        await null;
      }
      room.close();
      const before = JSON.stringify(emitted);
      await pass(60_000);
      assert.equal(JSON.stringify(emitted), before, 'nothing comes after close');
      assert.ok(cluster.lines.every(({ isOpen }) => !isOpen), 'no connection is left');
      assert.deepEqual([room.state.state, emitted.close.length], ['closed', 1]);
      await assert.rejects(room.send('x'), { code: 'closed' });
    });
  }
});

test('a handler that closes the room gets nothing more, nor do others', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const late = [];
  room.on('chat', () => room.close());
  room.on('chat', ({ seq }) => late.push(seq));
  cluster.line.frame(push('onChat', message(2000)), push('onChat', message(3000)));
  await pass(60_000);
  assert.deepEqual([seqs(emitted), late, room.session.seq], [[2000], [], 2000]);
});

// Reconnecting on demand

test('a dead link is replaced soon after a probe', async (t) => {
  const { cluster, room } = await enter(t);
  room.reconnect();
  room.reconnect();
  assert.equal((await settle(), cluster.line.beats), 1);
  await pass(2_000);
  assert.deepEqual([room.state.state, cluster.lines.length], ['online', 4]);
  assert.equal(cluster.lines[1].isOpen, false);
});

test('a link with a sign of life stays', async (t) => {
  const { cluster, room } = await enter(t);
  for (const sign of [() => cluster.line.beat(), () => cluster.line.chat(2000)]) {
    room.reconnect();
    await pass(1_000);
    sign();
    await pass(10_000);
  }
  assert.deepEqual([room.state.state, cluster.lines.length], ['online', 2]);
});

test('a server without heartbeats is probed by a request', async (t) => {
  const { cluster, room } = await enter(t, (cluster) => (cluster.handshake = { code: 200, sys: {} }));
  cluster.responses[ROUTES.MEMBERS] = () => ({ code: 500 });
  room.reconnect();
  await pass(10_000);
  assert.equal(cluster.lines.length, 2);
  cluster.responses[ROUTES.MEMBERS] = () => undefined;
  room.reconnect();
  await pass(2_000);
  assert.deepEqual([room.state.state, cluster.lines.length], ['online', 4]);
});

test('a connection that cannot be made is replaced, with more time each time', async (t) => {
  const { cluster, room } = await enter(t);
  cluster.isDead = true;
  await comeBack({ cluster, room });
  assert.deepEqual([room.state.state, cluster.lines.length], ['reconnecting', 3]);
  room.reconnect();
  await pass(1_500);
  assert.equal(cluster.lines.length, 4);
  room.reconnect();
  await pass(1_500);
  assert.equal(cluster.lines.length, 4);
  cluster.isDead = false;
  await pass(1_500);
  assert.equal(room.state.state, 'online');
});

// Mistakes of the application

test('an error of a handler is reported once, and disturbs no other', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const reports = t.mock.method(console, 'error', () => {});
  const error = new Error('of the handler');
  room.on('chat', () => {
    throw error;
  });
  room.on('chat', async () => {
    throw error;
  });
  const off = room.on('chat', () => assert.fail('is off'));
  off();
  cluster.line.chat(2000);
  await settle();
  assert.deepEqual([seqs(emitted), reports.mock.calls.map(({ arguments: [reported] }) => reported)], [[2000], [error, error]]);
  const where = [];
  globalThis.reportError = (reported) => where.push(reported);
  t.after(() => delete globalThis.reportError);
  cluster.line.chat(3000);
  await settle();
  assert.deepEqual([seqs(emitted), where, reports.mock.callCount()], [[2000, 3000], [error, error], 2]);
});

test('a handler that is no function is refused at once', async (t) => {
  const { cluster, room } = await enter(t);
  for (const handler of [undefined, null, 'chat', {}]) {
    assert.throws(() => room.on('chat', handler), { name: 'ChatError', code: 'bad-options' });
  }
  const { WebSocket } = cluster;
  await assert.rejects(connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket, address: 'x' }), { code: 'bad-options' });
  await assert.rejects(connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket: 'x' }), { code: 'bad-options' });
  for (const name of ['onPush', 'onKick', 'onReceive']) {
    await assert.rejects(PomeloSocket.open('ws://gate', { WebSocket, [name]: 'x' }), { code: 'bad-options' });
  }
});

test('an option that is no number is refused at once, undefined counts as absent', async (t) => {
  const { WebSocket } = new FakeCluster();
  const names = ['connectTimeout', 'requestTimeout', 'sendTimeout', 'minDelay', 'maxDelay', 'maxUnsent', 'maxHeld'];
  for (const name of names) {
    for (const value of [NaN, -1, '10', null, {}]) {
      const given = connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket, [name]: value });
      await assert.rejects(given, { code: 'bad-options' }, `${name}: ${value}`);
    }
  }
  const unset = Object.fromEntries([...names, 'address', 'session'].map((name) => [name, undefined]));
  const { room } = await enter(t, undefined, unset);
  assert.equal(room.state.state, 'online');
});

test('an error of a callback is reported, and does not end the connection', async (t) => {
  const reports = t.mock.method(console, 'error', () => {});
  const cluster = new FakeCluster();
  const onReceive = () => {
    throw new Error('of onReceive');
  };
  const onPush = async () => {
    throw new Error('of onPush');
  };
  const socket = await PomeloSocket.open('ws://gate', { WebSocket: cluster.WebSocket, onReceive, onPush });
  cluster.line.chat(2000);
  await settle();
  assert.ok(socket.isOpen);
  const messages = reports.mock.calls.map(({ arguments: [{ message }] }) => message);
  assert.deepEqual(messages, ['of onReceive', 'of onReceive', 'of onPush']);
  socket.close();
});

test('a whisper is for a name', async (t) => {
  const { cluster, room } = await enter(t);
  for (const name of ['*', '', undefined, null, 7, ['*'], '\uff0a', '\ufe61', 'b*b']) {
    await assert.rejects(room.whisper(name, 'psst'), { name: 'ChatError', code: 'bad-target', unknown: false });
  }
  await settle();
  assert.deepEqual(cluster.bodies(ROUTES.SEND), []);
});

test('a connector is reached with TLS if its gate is, or says so', async (t) => {
  for (const [gate, tls, urls] of [
    ['ws://gate:3014', undefined, ['ws://gate:3014/', 'ws://10.0.0.7:3050/']],
    ['ws://gate:3014', true, ['ws://gate:3014/', 'wss://10.0.0.7:3050/']],
    ['https://gate', undefined, ['wss://gate/', 'wss://10.0.0.7:3050/']],
    ['wss://gate', true, ['wss://gate/', 'wss://10.0.0.7:3050/']],
    ['ws://gate:3014', 'yes', ['ws://gate:3014/', 'ws://10.0.0.7:3050/']],
  ]) {
    const cluster = new FakeCluster();
    cluster.responses[ROUTES.QUERY_ENTRY] = () => ({ code: 200, host: '10.0.0.7', port: 3050, tls });
    const room = await connect({ gate, user: 'ann', room: 'lobby', WebSocket: cluster.WebSocket });
    room.close();
    assert.deepEqual(cluster.lines.map(({ url }) => url), urls, `${gate} ${tls}`);
  }
});

test('the fragment of a gate or a connector is dropped', async (t) => {
  for (const gate of ['http://gate:3014/#people', 'gate:3014#x', 'ws://gate:3014/#/a#b']) {
    const cluster = new FakeCluster();
    const address = () => 'ws://10.0.0.7:3050/#y';
    const room = await connect({ gate, user: 'ann', room: 'lobby', WebSocket: cluster.WebSocket, address });
    room.close();
    assert.deepEqual(cluster.lines.map(({ url }) => url), ['ws://gate:3014/', 'ws://10.0.0.7:3050/'], gate);
  }
});

test('a body without a JSON form is refused at once', async (t) => {
  const { cluster, room } = await enter(t);
  const circle = {};
  circle.circle = circle;
  const throws = {
    toJSON() {
      throw new Error('no');
    },
  };
  cluster.isDown = true;
  for (const isOnline of [true, false]) {
    for (const body of [10n, circle, { deep: [10n] }, throws]) {
      await assert.rejects(room.send(body), { name: 'ChatError', code: 'bad-body', unknown: false });
      await assert.rejects(room.whisper('bob', body), { code: 'bad-body' });
      await assert.rejects(room.request('chat.chatHandler.other', { body }), { code: 'bad-body' });
    }
    await assert.rejects(room.history({ before: 10n }), { code: 'bad-body' });
    await assert.rejects(room.send('x'.repeat(100_000)), { code: 'too-long' });
    await assert.rejects(room.request('r'.repeat(300), {}), { code: 'too-long' });
    assert.equal(room.state.state, isOnline ? 'online' : 'reconnecting');
    cluster.line.break();
    await settle();
  }
  assert.deepEqual(cluster.bodies(ROUTES.SEND), []);
});
