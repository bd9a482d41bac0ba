// A room over a fake cluster: deliveries, sends and repeats when connections break. Time is mocked.

import assert from 'node:assert/strict';
import test from 'node:test';

import { connect, ROUTES } from '../pomelo-client.js';
import { enter, FakeCluster, pass, push, response, settle } from './fake.mjs';

const seqs = (emitted) => emitted.chat.map(({ seq }) => seq);
const sent = (cluster) => cluster.bodies(ROUTES.SEND).map(({ content }) => content);
const accepted = (seq) => ({ code: 200, seq, time: seq });

/** The outcome of a promise that is settled, else undefined. */
async function outcome(promise) {
  return Promise.race([promise.then((value) => ({ value }), (error) => ({ error })), settle()]);
}

test('enters through the gate, with codes for routes', async (t) => {
  const { cluster, room } = await enter(t);
  assert.deepEqual(cluster.lines.map(({ url }) => url), ['ws://gate:3014/', 'ws://10.0.0.7:3050/']);
  assert.equal(cluster.lines[0].isOpen, false);
  assert.deepEqual(cluster.requests.map(({ route, isCode }) => [route, isCode]), [[ROUTES.QUERY_ENTRY, false], [ROUTES.ENTER, true]]);
  const [{ token, ...enter_ }] = cluster.bodies(ROUTES.ENTER);
  assert.deepEqual(enter_, { username: 'ann', rid: 'lobby' });
  assert.match(token, /^[0-9a-f]{32}$/);
  assert.deepEqual(room.session, { token, seq: 1000, epoch: 7 });
  assert.equal(room.state.state, 'online');
});

test('pushes in one frame with the response to enter reach handlers that are added then', async (t) => {
  const { emitted } = await enter(t, (cluster) => {
    const { [ROUTES.ENTER]: enterResponse } = cluster.responses;
    cluster.responses[ROUTES.ENTER] = (body, { id, line }) =>
      line.frame(response(id, enterResponse(body)), push('onChat', { msg: 'x', from: 'bob', target: '*', seq: 2000 }), push('onAdd', { user: 'bob' }));
  });
  assert.deepEqual(seqs(emitted), [2000]);
  assert.deepEqual(emitted.add, [{ user: 'bob' }]);
});

test('reconnects through the gate and gets each message once', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.line.chat(2000);
  cluster.responses[ROUTES.ENTER] = ({ token }, { id, line }) => {
    line.chat(5000);
    const missed = [2000, 3000, 4000].map((seq) => ({ msg: 'x', from: 'bob', target: '*', seq, time: 1 }));
    line.respond(id, { code: 200, users: ['ann', 'bob'], seq: 4999, epoch: 7, token, missed, recovered: true });
    line.chat(6000);
  };
  cluster.line.break();
  await pass(0);
  assert.equal(room.state.state, 'reconnecting');
  await pass(room.state.delay);
  assert.deepEqual(seqs(emitted), [2000, 3000, 4000, 5000, 6000]);
  assert.equal(cluster.lines.length, 4);
  const [first, second] = cluster.bodies(ROUTES.ENTER);
  assert.deepEqual(second, { username: 'ann', rid: 'lobby', token: first.token, since: 2000, epoch: 7 });
  assert.deepEqual(emitted.gap, []);
  assert.deepEqual([...room.users], ['ann', 'bob']);
});

test('missed messages that do not fit into the response are read page by page', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const page = (...seqs) => seqs.map((seq) => ({ msg: 'x', from: 'bob', target: '*', seq, time: 1 }));
  cluster.responses[ROUTES.ENTER] = ({ token }) => ({ code: 200, users: [], seq: 9000, epoch: 7, token, missed: page(8000), recovered: true, cursor: 8000 });
  cluster.responses[ROUTES.HISTORY] = ({ before }, { line }) => {
    line.chat(20_000 - before);
    return { code: 200, epoch: 7, messages: before === 8000 ? page(5000, 6000) : page(1000, 3000), complete: true, cursor: before - 3000 };
  };
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual(seqs(emitted), [3000, 5000, 6000, 8000, 12_000, 15_000]);
  assert.deepEqual(cluster.bodies(ROUTES.HISTORY).map(({ before }) => before), [8000, 5000]);
});

test('evicted messages, and other epochs, are a gap', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const entered = ({ token }) => ({ code: 200, users: [], seq: 2000, epoch: 8, token, missed: [], recovered: false });
  cluster.responses[ROUTES.ENTER] = entered;
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual(emitted.gap, [{ from: 1000, to: 2000, epoch: 8 }]);
  cluster.line.push('onGap', { rid: 'lobby', from: 2000, to: 500, epoch: 9 });
  cluster.line.chat(600);
  assert.deepEqual([emitted.gap.length, seqs(emitted), room.session.epoch], [2, [600], 9]);
});

test('a gap in the same log is filled by entering again, on the same connection', async (t) => {
  const { cluster, emitted } = await enter(t);
  cluster.responses[ROUTES.ENTER] = ({ token, since }) => {
    const missed = [{ msg: 'x', from: 'bob', target: '*', seq: since + 500, time: 1 }];
    return { code: 200, users: ['ann'], seq: 3000, epoch: 7, token, missed, recovered: true };
  };
  cluster.line.frame(push('onGap', { rid: 'lobby', from: 1000, to: 2000, epoch: 7 }), push('onChat', { msg: 'y', from: 'bob', target: '*', seq: 4000 }));
  await settle();
  assert.deepEqual([seqs(emitted), emitted.gap, cluster.lines.length], [[1500, 4000], [], 2]);
});

test('a response without missed messages is read again before it counts as a gap', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = ({ token }) => ({ code: 200, users: [], seq: 3999, epoch: 7, token, missed: [], recovered: false });
  cluster.responses[ROUTES.HISTORY] = ({ before }) => {
    assert.equal(before, 4000);
    const messages = [500, 3000].map((seq) => ({ msg: 'x', from: 'bob', target: '*', seq, time: 1 }));
    return { code: 200, epoch: 7, messages, complete: false, cursor: 500 };
  };
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual([seqs(emitted), emitted.gap], [[3000], []]);
});

test('messages without a response are repeated with their ids, oldest first, each alone, before new ones', async (t) => {
  const { cluster, room } = await enter(t);
  const outcomes = ['a', 'b', 'c'].map((text) => room.send(text));
  await settle();
  assert.deepEqual(sent(cluster), ['a', 'b', 'c'], 'at once');
  cluster.line.respond(cluster.requests.find(({ body }) => body.content === 'b').id, accepted(2000));
  cluster.line.break();
  outcomes.push(room.send('d'));
  await pass(0);
  await pass(room.state.delay);
  const pending = () => cluster.requests.at(-1);
  assert.deepEqual(sent(cluster).slice(3), ['a']);
  cluster.line.respond(pending().id, accepted(3000));
  await settle();
  assert.deepEqual(sent(cluster).slice(3), ['a', 'c']);
  cluster.line.respond(pending().id, accepted(4000));
  await settle();
  cluster.line.respond(pending().id, accepted(5000));
  assert.deepEqual(await Promise.all(outcomes), [3000, 2000, 4000, 5000].map((seq) => ({ seq, time: seq })));
  const ids = cluster.bodies(ROUTES.SEND).map(({ id }) => id);
  assert.deepEqual([ids[3], ids[4], new Set(ids).size], [ids[0], ids[2], 4]);
});

test('an unknown outcome is tried again, a refusal is one', async (t) => {
  const { cluster, room } = await enter(t);
  const responses = [{ code: 503, reason: 'unknown: x' }, { code: 429, reason: 'rate: x' }, accepted(2000), { code: 403, reason: 'forbidden: x' }, { code: 429, reason: 'rate: x' }];
  cluster.responses[ROUTES.SEND] = () => responses.shift();
  const first = room.send('a');
  for (let round = 0; round < 3; round += 1) {
    await pass(300);
  }
  assert.deepEqual(await first, { seq: 2000, time: 2000 });
  await assert.rejects(room.send('b'), { name: 'ChatError', code: 'forbidden', status: 403, unknown: false });
  await assert.rejects(room.send('c'), { code: 'rate', status: 429, unknown: false });
});

test('at most sixteen messages are in flight', async (t) => {
  const { cluster, room } = await enter(t);
  Array.from({ length: 20 }, (_, number) => room.send(`${number}`).catch(() => {}));
  await settle();
  assert.equal(sent(cluster).length, 16);
  cluster.line.respond(cluster.requests.at(-1).id, accepted(2000));
  await settle();
  assert.equal(sent(cluster).length, 17);
});

test('a message has a deadline, and its error has the last known state', async (t) => {
  const { cluster, room } = await enter(t, undefined, { sendTimeout: 5_000 });
  const tried = room.send('a');
  await settle();
  cluster.isDown = true;
  cluster.line.break();
  const waits = room.send('b');
  await pass(5_000);
  await assert.rejects(tried, { code: 'timeout', unknown: true });
  await assert.rejects(waits, { code: 'timeout', unknown: false });
});

test('say is the former name of send', async (t) => {
  const { cluster, room } = await enter(t, (cluster) => (cluster.responses[ROUTES.SEND] = () => accepted(2000)));
  assert.deepEqual(await room.say('a'), { seq: 2000, time: 2000 });
  assert.deepEqual(sent(cluster), ['a']);
});

test('the client itself refuses too many and too long messages', async (t) => {
  const { cluster, room } = await enter(t, undefined, { maxUnsent: 2 });
  await assert.rejects(room.send('x'.repeat(100_000)), { code: 'too-long' });
  const [one, two] = [room.send('1'), room.send('2')];
  await assert.rejects(room.send('3'), { code: 'busy', unknown: false });
  room.close();
  await assert.rejects(one, { code: 'closed', unknown: true });
  await assert.rejects(two, { code: 'closed' });
  await assert.rejects(room.send('4'), { code: 'closed', unknown: false });
  await assert.rejects(room.history(), { code: 'closed' });
  assert.equal(cluster.line.isOpen, false);
});

test('own whispers are delivered once, with or without responses', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  room.whisper('bob', 'a');
  await settle();
  cluster.line.respond(cluster.requests.at(-1).id, accepted(2000));
  assert.deepEqual(emitted.chat, [{ msg: 'a', from: 'ann', target: 'bob', seq: 2000, time: 2000, epoch: 7 }]);
  const lost = room.whisper('bob', 'b');
  await settle();
  const missed = [{ msg: 'b', from: 'ann', target: 'bob', seq: 3000, time: 3000 }];
  cluster.responses[ROUTES.ENTER] = ({ token }) => ({ code: 200, users: [], seq: 3500, epoch: 7, token, missed, recovered: true });
  cluster.responses[ROUTES.SEND] = () => accepted(3000);
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.equal((await lost).seq, 3000);
  assert.deepEqual(seqs(emitted), [2000, 3000]);
  // A whisper to oneself is pushed by the server.
  cluster.responses[ROUTES.SEND] = () => accepted(4000);
  await room.whisper('ann', 'c');
  assert.deepEqual(seqs(emitted), [2000, 3000]);
  // One whose first response left the outcome unknown, while other messages were committed.
  cluster.responses[ROUTES.SEND] = () => ({ code: 503, reason: 'unknown: x' });
  const late = room.whisper('bob', 'd');
  await settle();
  cluster.line.chat(6000);
  cluster.responses[ROUTES.SEND] = () => accepted(5000);
  await pass(300);
  await late;
  assert.deepEqual(seqs(emitted), [2000, 3000, 6000, 5000]);
});

test('the first try to enter is repeated as the same member', async (t) => {
  const { cluster, connecting } = await enter(t, (cluster) => {
    const { [ROUTES.ENTER]: enterResponse } = cluster.responses;
    cluster.responses[ROUTES.ENTER] = (body, { line }) => {
      cluster.responses[ROUTES.ENTER] = enterResponse;
      line.break();
    };
  });
  await pass(1_000);
  await pass(0);
  assert.equal((await connecting).state.state, 'online');
  const [first, second] = cluster.bodies(ROUTES.ENTER);
  assert.deepEqual(second, first);
});

test('waits grow, are random below what they grew to, and end when the network is there', async (t) => {
  const { cluster, emitted, room } = await enter(t, undefined, { minDelay: 500, maxDelay: 4_000 });
  cluster.isDown = true;
  cluster.line.break();
  await pass(0);
  for (let round = 0; round < 4; round += 1) {
    await pass(room.state.delay);
  }
  assert.deepEqual(emitted.state.slice(1).map(({ state, attempt, delay }) => [state, attempt, delay]), [
    ['reconnecting', 1, 500],
    ['reconnecting', 2, 1_000],
    ['reconnecting', 3, 2_000],
    ['reconnecting', 4, 2_000],
    ['reconnecting', 5, 2_000],
  ]);
  assert.equal(emitted.state.at(-1).error.code, 'connect');
  cluster.isDown = false;
  room.reconnect();
  await settle();
  assert.equal(room.state.state, 'online');
});

test('final refusals end the room', async (t) => {
  for (const [code, reason, expected] of [
    [500, 'name-taken: ann is here', { code: 'name-taken', status: 500 }],
    [500, undefined, { code: 'refused', status: 500 }],
  ]) {
    const cluster = new FakeCluster();
    cluster.responses[ROUTES.ENTER] = () => ({ code, error: true, reason });
    await assert.rejects(connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket: cluster.WebSocket }), expected);
    assert.equal(cluster.line.isOpen, false);
  }
  const protobuf = new FakeCluster();
  protobuf.handshake.sys.useProto = true;
  await assert.rejects(connect({ gate: 'gate', user: 'ann', room: 'lobby', WebSocket: protobuf.WebSocket }), { code: 'protocol' });
  await assert.rejects(connect({ gate: '', user: 'ann', room: 'lobby' }), { code: 'bad-options' });
  await assert.rejects(connect({ gate: 'ftp://x:y', user: 'ann', room: 'lobby' }), { code: 'bad-options' });
});

test('an unreachable cluster ends connect in time, with the last failure', async (t) => {
  const { connecting } = await enter(t, (cluster) => (cluster.isDown = true), { connectTimeout: 3_000 });
  for (let round = 0; round < 4; round += 1) {
    await pass(1_000);
  }
  assert.equal((await outcome(connecting)).error.code, 'connect');
});

test('a gate without connectors is tried again', async (t) => {
  const { cluster, connecting } = await enter(t, (cluster) => {
    const { [ROUTES.QUERY_ENTRY]: entryResponse } = cluster.responses;
    cluster.responses[ROUTES.QUERY_ENTRY] = () => {
      cluster.responses[ROUTES.QUERY_ENTRY] = entryResponse;
      return { code: 500 };
    };
  });
  await pass(1_000);
  await pass(0);
  assert.equal((await connecting).state.state, 'online');
  assert.equal(cluster.lines.length, 3);
});

test('a kick is the end, unless we were too slow', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.line.kick('slow');
  await pass(0);
  assert.deepEqual([room.state.state, emitted.kick], ['reconnecting', [{ reason: 'slow' }]]);
  await pass(room.state.delay);
  assert.equal(room.state.state, 'online');
  cluster.line.kick('resumed');
  await settle();
  assert.deepEqual([room.state.state, emitted.close.length, emitted.close[0].error.reason], ['closed', 1, 'resumed']);
});

test('heartbeats are sent, and a server that falls silent is left', async (t) => {
  const { cluster, room } = await enter(t);
  cluster.line.beat();
  await pass(30_000);
  assert.equal(cluster.line.beats, 1);
  cluster.line.beat();
  await pass(30_000);
  assert.deepEqual([cluster.line.beats, room.state.state], [2, 'online']);
  await pass(30_000);
  assert.equal(room.state.state, 'reconnecting');
});

test('a connection without responses is replaced', async (t) => {
  const { cluster, room } = await enter(t);
  const outcome_ = room.send('a');
  await pass(10_000);
  assert.equal(room.state.state, 'reconnecting');
  cluster.responses[ROUTES.SEND] = () => accepted(2000);
  await pass(room.state.delay);
  assert.equal((await outcome_).seq, 2000);
});

test('requests continue on another connection', async (t) => {
  const { cluster, room } = await enter(t);
  const page = room.history({ limit: 2 });
  await settle();
  cluster.responses[ROUTES.HISTORY] = () => ({ code: 200, epoch: 7, messages: [], complete: true });
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual((await page).messages, []);
  assert.deepEqual(cluster.bodies(ROUTES.HISTORY), [{ limit: 2 }, { limit: 2 }]);
  const unanswered = assert.rejects(room.request('chat.chatHandler.other', {}, { timeout: 1_000 }), { code: 'timeout' });
  await pass(1_000);
  await unanswered;
});

test('a list in pages is right when members join and leave meanwhile', async (t) => {
  const { cluster, emitted, room } = await enter(t, (cluster) => {
    cluster.responses[ROUTES.ENTER] = ({ token }) => ({ code: 200, users: ['ann', 'bob'], total: 5, names: true, seq: 1, epoch: 7, token });
    cluster.responses[ROUTES.MEMBERS] = ({ after }, { id, line }) => {
      if (after === undefined) {
        // In one frame: the response, and the leave behind it.
        line.frame(response(id, { code: 200, users: ['ann', 'bob'], total: 5, cursor: 'bob' }), push('onLeave', { user: 'bob' }), push('onAdd', { user: 'abe' }));
      } else {
        line.frame(response(id, { code: 200, users: ['cid', 'dan'], total: 5 }), push('onLeave', { user: 'dan' }));
      }
    };
  });
  assert.deepEqual([[...room.users].sort(), room.total], [['abe', 'ann', 'cid'], 3]);
  cluster.line.push('onMembers', { rid: 'lobby', total: 700, names: false });
  assert.deepEqual([room.total, room.names, emitted.users.at(-1).total], [700, false, 700]);
  cluster.responses[ROUTES.MEMBERS] = () => ({ code: 200, users: ['ann', 'eve'], total: 2 });
  cluster.line.push('onMembers', { rid: 'lobby', total: 2, names: true });
  await settle();
  assert.deepEqual([[...room.users], room.total, room.names], [['ann', 'eve'], 2, true]);
});

test('a stock server gives no seq and knows no repeats', async (t) => {
  const { cluster, emitted, room } = await enter(t, (cluster) => {
    cluster.responses[ROUTES.ENTER] = () => ({ users: ['ann', 'bob'] });
    cluster.responses[ROUTES.SEND] = () => ({});
  });
  cluster.line.push('onChat', { msg: 'hi', from: 'bob', target: '*' });
  cluster.line.push('onChat', { msg: 'hi', from: 'bob', target: '*' });
  assert.deepEqual(await room.whisper('bob', 'psst'), { seq: undefined, time: undefined });
  assert.deepEqual(emitted.chat.map(({ msg }) => msg), ['hi', 'hi', 'psst']);
  cluster.responses[ROUTES.SEND] = () => undefined;
  const lost = room.send('is it?');
  await settle();
  cluster.line.break();
  const waits = room.send('new');
  await pass(0);
  cluster.responses[ROUTES.SEND] = () => ({});
  await pass(room.state.delay);
  await assert.rejects(lost, { code: 'unknown', unknown: true });
  await waits;
  assert.deepEqual(sent(cluster), ['psst', 'is it?', 'new']);
});

test('a membership is resumed by another program', async (t) => {
  const session = { token: 'f'.repeat(32), seq: 500, epoch: 7 };
  const missed = [{ msg: 'x', from: 'bob', target: '*', seq: 700, time: 1 }];
  const { cluster, emitted } = await enter(t, (cluster) => {
    cluster.responses[ROUTES.ENTER] = ({ token }) => ({ code: 200, users: [], seq: 1000, epoch: 7, token, missed, recovered: true });
  }, { session });
  assert.deepEqual(cluster.bodies(ROUTES.ENTER), [{ username: 'ann', rid: 'lobby', token: session.token, since: 500, epoch: 7 }]);
  assert.deepEqual(seqs(emitted), [700]);
});
