// Logins with tokens of the application, over a fake cluster. Time is mocked.

import assert from 'node:assert/strict';
import test from 'node:test';

import { connect, ROUTES } from '../pomelo-client.js';
import { enter, FakeCluster, pass, settle } from './fake.mjs';

/** A function that gives `token-1`, `token-2`, ... */
function numbered() {
  let last = 0;
  return () => `token-${(last += 1)}`;
}

const sent = (cluster) => cluster.handshakes.map(({ user }) => user?.jwt);
const refreshed = (cluster) => cluster.bodies(ROUTES.REFRESH).map(({ jwt }) => jwt);

test('the token is in the handshakes, and in nothing else', async (t) => {
  const { cluster, room } = await enter(t, () => {}, { jwt: 'secret' });
  assert.equal(room.state.state, 'online');
  assert.deepEqual(sent(cluster), ['secret', 'secret']);
  assert.ok(!JSON.stringify(cluster.requests.map(({ body }) => body)).includes('secret'));
});

test('without a token the handshake has no user', async (t) => {
  const { cluster } = await enter(t);
  assert.ok(cluster.handshakes.every((handshake) => !('user' in handshake)));
});

test('a function gives a token for each connection', async (t) => {
  const { cluster, room } = await enter(t, () => {}, { jwt: numbered() });
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.equal(room.state.state, 'online');
  assert.deepEqual(sent(cluster), ['token-1', 'token-1', 'token-2', 'token-2']);
});

test('the token is replaced before it expires', async (t) => {
  const { cluster, room } = await enter(t, () => {}, { jwt: numbered() });
  cluster.responses[ROUTES.REFRESH] = () => ({ code: 200, exp: 1 });
  cluster.line.push('onExpire', { in: 60 });
  await settle();
  assert.deepEqual(refreshed(cluster), ['token-2']);
  assert.equal(room.state.state, 'online');
});

test('a token that cannot be fetched is tried again, and a new connection after the end', async (t) => {
  const next = numbered();
  let fails = false;
  const jwt = async () => {
    if (fails) {
      throw new Error('away');
    }
    return next();
  };
  const { cluster, room } = await enter(t, () => {}, { jwt });
  cluster.responses[ROUTES.REFRESH] = () => ({ code: 200, exp: 1 });
  fails = true;
  cluster.line.push('onExpire', { in: 60 });
  await pass(5_000);
  assert.deepEqual(refreshed(cluster), []);
  fails = false;
  await pass(5_000);
  assert.deepEqual(refreshed(cluster), ['token-2']);
  fails = true;
  cluster.line.kick('expired');
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual([room.state.state, room.state.error.code], ['reconnecting', 'jwt']);
  fails = false;
  await pass(room.state.delay);
  assert.equal(room.state.state, 'online');
});

test('a function that hangs is given up', async (t) => {
  let hangs = false;
  const jwt = () => (hangs ? new Promise(() => {}) : 'token');
  const { cluster, room } = await enter(t, () => {}, { jwt });
  hangs = true;
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  await pass(10_000);
  assert.deepEqual([room.state.state, room.state.error.code], ['reconnecting', 'timeout']);
});

test('a refused token ends the room', async (t) => {
  const { cluster, emitted } = await enter(t, () => {}, { jwt: numbered() });
  cluster.responses[ROUTES.REFRESH] = () => ({ code: 403, error: true, reason: 'not-allowed: of another user' });
  cluster.line.push('onExpire', { in: 60 });
  await settle();
  assert.equal(emitted.close[0].error.code, 'not-allowed');

  const refusing = new FakeCluster();
  refusing.handshake = { code: 401, reason: 'token-expired: the time is over' };
  const options = { gate: 'gate', user: 'ann', room: 'lobby', WebSocket: refusing.WebSocket };
  await assert.rejects(connect({ ...options, jwt: 'old' }), { code: 'token-expired', status: 401 });
  for (const jwt of ['', 7, null, () => undefined]) {
    await assert.rejects(connect({ ...options, jwt }), { code: 'bad-options' });
  }
});

test('servers that have no keys yet are tried again', async (t) => {
  const { cluster, connecting } = await enter(t, (fake) => {
    fake.handshake = { code: 503, reason: 'no-keys: try again' };
  }, { jwt: 'token' });
  cluster.handshake = new FakeCluster().handshake;
  await pass(1_000);
  await pass(0);
  assert.equal((await connecting).state.state, 'online');
});

test('a token that the client cannot replace ends its room', async (t) => {
  const { cluster, emitted } = await enter(t, () => {}, { jwt: 'token' });
  cluster.line.push('onExpire', { in: 60 });
  await settle();
  assert.deepEqual(refreshed(cluster), []);
  cluster.line.kick('expired');
  await settle();
  assert.deepEqual([emitted.close[0].error.code, emitted.close[0].error.reason], ['kicked', 'expired']);
});

test('users are beside their names', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  const profile = { uid: '4711', info: { level: 3 } };
  cluster.line.push('onAdd', { user: 'bob', ...profile });
  cluster.line.chat(2000, { uid: '4711', data: [1] });
  assert.deepEqual(emitted.add, [{ user: 'bob', ...profile }]);
  assert.deepEqual([...room.profiles], [['bob', profile]]);
  const [{ uid, data }] = emitted.chat;
  assert.deepEqual([uid, data], ['4711', [1]]);
  cluster.line.push('onLeave', { user: 'bob' });
  assert.equal(room.profiles.size, 0);
});

test('the member list has users, also in pages', async (t) => {
  const of = (uid) => ({ uid, info: null });
  const { cluster, room } = await enter(t, ({ responses }) => {
    const entered = responses[ROUTES.ENTER];
    responses[ROUTES.ENTER] = (body) => ({ ...entered(body), total: 4, profiles: { ann: of('1') } });
    responses[ROUTES.MEMBERS] = ({ after }) =>
      after === undefined
        ? { code: 200, users: ['ann', 'bob'], profiles: { ann: of('1'), bob: of('2') }, cursor: 'bob' }
        : { code: 200, users: ['cid', 'constructor'] };
  });
  await settle();
  assert.deepEqual([...room.users], ['ann', 'bob', 'cid', 'constructor']);
  assert.deepEqual([...room.profiles], [['ann', of('1')], ['bob', of('2')]]);
  cluster.line.push('onAdd', { user: 'bob' });
  assert.deepEqual([...room.profiles.keys()], ['ann']);
});

test('data is sent beside the text, and delivered with an own whisper', async (t) => {
  let seq = 2000;
  const { cluster, emitted, room } = await enter(t, ({ responses }) => {
    responses[ROUTES.SEND] = () => ({ code: 200, seq: (seq += 1), time: 1 });
  });
  await room.whisper('bob', 'psst', { data: { card: 7 } });
  const [{ data, content }] = cluster.bodies(ROUTES.SEND);
  assert.deepEqual([content, data], ['psst', { card: 7 }]);
  assert.deepEqual(emitted.chat.at(-1).data, { card: 7 });
  await room.send('hi');
  assert.ok(!('data' in cluster.bodies(ROUTES.SEND)[1]));
});
