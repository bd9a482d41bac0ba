// Acts of moderators, rules and rights, over a fake cluster. Time is mocked.

import assert from 'node:assert/strict';
import test from 'node:test';

import { ROUTES } from '../pomelo-client.js';
import { enter, pass, push, response, settle } from './fake.mjs';

const ACTS = ['mute', 'unmute', 'ban', 'unban', 'expel'];
const MEMBER = ['enter', 'send', 'whisper', 'read', 'list', 'signal'];
const MODERATOR = [...MEMBER, 'moderate'];
const done = () => ({ code: 200, seq: 2000, time: 5 });
const routeOf = (act) => ROUTES[act.toUpperCase()];

/** Lets the server answer each act with `respond`. */
function answerActs(cluster, respond) {
  ACTS.forEach((act) => (cluster.responses[routeOf(act)] = respond));
}

test('each act has a route, and names its target by name or uid', async (t) => {
  const { cluster, room } = await enter(t, (fake) => answerActs(fake, done));
  for (const act of ACTS) {
    assert.deepEqual(await room[act]('bob'), { seq: 2000, time: 5 });
    await room[act]({ name: 'bob' });
    await room[act]({ uid: '4711' }, { secs: 600, reason: 'too loud' });
    const user = { uid: '4711', secs: 600, reason: 'too loud' };
    assert.deepEqual(cluster.bodies(routeOf(act)), [{ name: 'bob' }, { name: 'bob' }, user]);
    assert.equal(routeOf(act), `chat.chatHandler.${act}`);
  }
});

test('an act without one target, or with no duration, is refused at once', async (t) => {
  const { cluster, room } = await enter(t, (fake) => answerActs(fake, done));
  for (const target of ['', undefined, null, 7, {}, { name: '' }, { uid: 7 }, { name: 'bob', uid: '1' }]) {
    await assert.rejects(room.mute(target), { code: 'bad-target' });
  }
  // JSON has `null` for the first two, which would be a rule without an end.
  for (const secs of [NaN, Infinity, -1, 0.5, '60', null]) {
    await assert.rejects(room.ban('bob', { secs }), { code: 'bad-options' });
  }
  assert.deepEqual([cluster.bodies(ROUTES.MUTE), cluster.bodies(ROUTES.BAN)], [[], []]);
  room.close();
  await assert.rejects(room.mute('bob'), { code: 'closed', unknown: false });
});

test('refusals keep their end, and the time until the next try', async (t) => {
  const { cluster, room } = await enter(t);
  const refuse = (refusal) => (cluster.responses[ROUTES.SEND] = () => ({ error: true, ...refusal }));
  refuse({ code: 403, reason: 'muted: until then', until: 9_000 });
  await assert.rejects(room.send('a'), { code: 'muted', status: 403, until: 9_000, retry: undefined, unknown: false });
  refuse({ code: 403, reason: 'muted: for good', until: 0 });
  await assert.rejects(room.send('b'), { code: 'muted', until: 0 });
  refuse({ code: 429, reason: 'slow: wait', retry: 4_500 });
  await assert.rejects(room.send('c'), { code: 'slow', status: 429, until: undefined, retry: 4_500, unknown: false });
  refuse({ code: 403, reason: 'not-allowed: read only', until: 'soon', retry: null });
  await assert.rejects(room.send('d'), { code: 'not-allowed', until: undefined, retry: undefined });
  cluster.responses[ROUTES.MUTE] = () => ({ code: 403, error: true, reason: 'not-allowed: no moderator' });
  await assert.rejects(room.mute('bob'), { code: 'not-allowed', status: 403, unknown: false });
  cluster.responses[ROUTES.MUTE] = () => ({ code: 503, error: true, reason: 'unknown: late' });
  await assert.rejects(room.mute('bob'), { code: 'unknown', unknown: true });
  assert.equal(room.state.state, 'online');
});

test('an act is repeated on the next connection, and a refused repeat stays unknown', async (t) => {
  const { cluster, room } = await enter(t);
  const outcomes = [room.expel('bob'), room.mute('cid')];
  await settle();
  assert.deepEqual([cluster.bodies(ROUTES.EXPEL), cluster.bodies(ROUTES.MUTE)], [[{ name: 'bob' }], [{ name: 'cid' }]]);
  cluster.responses[ROUTES.EXPEL] = () => ({ code: 500, error: true, reason: 'no-such-member: bob' });
  cluster.responses[ROUTES.MUTE] = done;
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  await assert.rejects(outcomes[0], { code: 'no-such-member', status: 500, unknown: true });
  assert.deepEqual(await outcomes[1], { seq: 2000, time: 5 });
  await assert.rejects(room.expel('bob'), { code: 'no-such-member', unknown: false });
});

test('an act without a response is unknown, unless it was never sent', async (t) => {
  const { cluster, room } = await enter(t);
  const sent = room.ban('bob', { timeout: 500 });
  await pass(500);
  await assert.rejects(sent, { code: 'timeout', unknown: true });
  cluster.isDown = true;
  cluster.line.break();
  await pass(0);
  const unsent = room.ban('bob', { timeout: 500 });
  const closed = room.ban('bob');
  await pass(500);
  await assert.rejects(unsent, { code: 'timeout', unknown: false });
  room.close();
  await assert.rejects(closed, { code: 'closed', unknown: false });
  assert.equal(room.state.error.unknown, false);
});

test('an act that is not awaited ends no process', async (t) => {
  const { room } = await enter(t, (fake) => answerActs(fake, () => ({ code: 403, error: true, reason: 'not-allowed: x' })));
  ACTS.forEach((act) => room[act]('bob'));
  room.mute('');
  await settle();
  assert.equal(room.state.state, 'online');
});

test('a rule is an event, which says whether it ended', async (t) => {
  const { cluster, emitted } = await enter(t);
  const rules = [
    { kind: 'mute', until: 0, time: 1_000 },
    { kind: 'mute', until: 5_000, time: 2_000 },
    { kind: 'mute', until: 3_000, time: 3_000 },
    { kind: 'ban', until: 1, time: 4_000 },
  ];
  rules.forEach((rule) => cluster.line.push('onRule', { rid: 'lobby', ...rule }));
  assert.deepEqual(emitted.rule.map(({ ended }) => ended), [false, false, true, true]);
  assert.deepEqual(emitted.rule, rules.map((rule, at) => ({ ...rule, ended: at > 1 })));
  assert.deepEqual(emitted.push, []);
});

for (const kick of ['expelled', 'banned', 'revoked']) {
  test(`a member that is kicked as ${kick} does not come back`, async (t) => {
    const { cluster, emitted } = await enter(t);
    cluster.line.push('onExpel', { rid: 'lobby', reason: 'be kind' });
    cluster.line.kick(kick);
    await pass(60_000);
    assert.deepEqual([emitted.expel, emitted.kick], [[{ reason: 'be kind' }], [{ reason: kick }]]);
    assert.deepEqual(emitted.close.map(({ error }) => [error.code, error.reason]), [['kicked', kick]]);
    assert.equal(cluster.lines.length, 2, 'no connection is made after a kick');
  });
}

const banned = () => ({ code: 403, error: true, reason: 'banned: until then', until: 9_000 });

test('a banned user does not get in', async (t) => {
  const { connecting } = await enter(t, ({ responses }) => (responses[ROUTES.ENTER] = banned));
  await assert.rejects(connecting, { code: 'banned', status: 403, until: 9_000 });
});

test('a ban ends a room that comes back', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.ENTER] = banned;
  cluster.line.break();
  const sent = room.send('hi');
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual(emitted.close.map(({ error }) => [error.code, error.until]), [['banned', 9_000]]);
  await assert.rejects(sent, { code: 'banned', until: 9_000, unknown: false });
});

test('rights are those of every member, unless the server names others', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  assert.deepEqual([...room.rights], MEMBER);
  assert.deepEqual(emitted.rights, []);
  cluster.line.push('onRights', { rid: 'lobby', rights: MODERATOR });
  cluster.line.push('onRights', { rid: 'lobby', rights: MODERATOR.toReversed() });
  assert.deepEqual([...room.rights], MODERATOR);
  assert.equal(emitted.rights.length, 1, 'the same rights are no event');
  const { [ROUTES.ENTER]: entered } = cluster.responses;
  cluster.responses[ROUTES.ENTER] = (body, { id, line }) => {
    // Already in the response; and a later one.
    line.frame(push('onRights', { rid: 'lobby', rights: [] }), response(id, { ...entered(body), rights: ['enter', 'read'] }), push('onRights', { rid: 'lobby', rights: ['read'] }));
  };
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual(emitted.rights.map(({ rights }) => [...rights]), [MODERATOR, ['enter', 'read'], ['read']]);
  cluster.responses[ROUTES.ENTER] = entered;
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual([...room.rights], MEMBER, 'a response without rights has those of every member');
});

test('rights of the first response are there when the room is', async (t) => {
  const seen = [];
  const change = (cluster) => addToEntered(cluster, { rights: MODERATOR });
  const { emitted } = await enter(t, change, { onEntered: (room) => seen.push(...room.rights) });
  assert.deepEqual([seen, emitted.rights], [MODERATOR, []]);
});

/** The responses to `enter` from the next one on have these members, too. */
function addToEntered(cluster, more) {
  const { [ROUTES.ENTER]: entered } = cluster.responses;
  cluster.responses[ROUTES.ENTER] = (body) => ({ ...entered(body), ...more });
}

test('without the right to read nothing that was missed is read, and the room goes on', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  addToEntered(cluster, { seq: 3_000, missed: [], recovered: false, rights: ['enter', 'send'] });
  cluster.responses[ROUTES.HISTORY] = () => ({ code: 403, error: true, reason: 'not-allowed: x' });
  cluster.line.break();
  await pass(0);
  await pass(room.state.delay);
  assert.deepEqual([room.state.state, emitted.gap], ['online', [{ from: 1_000, to: 3_000, epoch: 7 }]]);
  assert.deepEqual(cluster.bodies(ROUTES.HISTORY), []);
});

test('without the right to see names the client has a count, and reads the names with it', async (t) => {
  const { cluster, emitted, room } = await enter(t);
  cluster.responses[ROUTES.MEMBERS] = () => ({ code: 403, error: true, reason: 'not-allowed: x' });
  cluster.line.push('onRights', { rights: ['enter', 'send'] });
  cluster.line.push('onMembers', { total: 7, names: true });
  await settle();
  assert.deepEqual([room.state.state, room.total, room.names], ['online', 7, false]);
  assert.deepEqual(cluster.bodies(ROUTES.MEMBERS), []);
  addToEntered(cluster, { users: ['ann', 'bob'], total: 2, missed: [], recovered: true });
  cluster.line.push('onRights', { rights: MEMBER });
  await settle();
  assert.deepEqual([[...room.users], room.total, room.names], [['ann', 'bob'], 2, true]);
  assert.equal(cluster.lines.length, 2, 'on the same connection');
  assert.equal(emitted.users.at(-1).names, true);
});
