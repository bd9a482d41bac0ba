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
