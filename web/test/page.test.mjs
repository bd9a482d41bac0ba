// The demo page in a Chromium, against a scripted server: rules, rights and the acts of moderators,
// also without a mouse.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Browser } from '../checks/chromium.mjs';
import { ROUTES } from '../pomelo-client.js';
import { PageServer } from './page-server.mjs';

const HTML = '<img src=x onerror="document.title=1"><b>no</b>';
const MODERATOR = ['enter', 'send', 'whisper', 'read', 'list', 'signal', 'moderate'];
const SCREEN = { width: 1280, height: 800 };

const isShown = (id) => `document.querySelector('#${id}').checkVisibility()`;
const says = (id, text) => `${isShown(id)} && document.querySelector('#${id}').textContent.includes(${JSON.stringify(text)})`;
const isInputOn = `!document.querySelector('#text').disabled && !document.querySelector('#send').disabled`;
const isInputOff = `document.querySelector('#text').disabled && document.querySelector('#send').disabled`;
const isFocused = (id) => `document.activeElement.id === '${id}'`;
const focusLabel = `document.activeElement.getAttribute('aria-label')`;
const news = (text) => `[...document.querySelectorAll('#messages .news')].some(({ textContent }) => textContent === ${JSON.stringify(text)})`;

let browser;
test.before(() => (browser = new Browser()));
test.after(() => browser.close());

/** A page that has entered the room as ann, and its server. */
async function open(t, change = () => {}) {
  const server = new PageServer();
  await server.start(t);
  change(server);
  const tab = await browser.open(server.url, SCREEN);
  t.after(async () => {
    assert.deepEqual(tab.trouble, []);
    assert.deepEqual(await tab.unnamed(), []);
    await tab.close();
  });
  await tab.evaluate(`document.querySelector('#user').select()`);
  await tab.type('ann');
  await tab.press('Enter');
  return { server, tab };
}

async function enter(t, change) {
  const { server, tab } = await open(t, change);
  await tab.until(`document.querySelector('#connection').dataset.state === 'online'`);
  await tab.until(`document.querySelectorAll('#names li').length === 2`);
  return { server, tab };
}

const withRights = (rights) => (server) => {
  server.responses[ROUTES.ENTER] = ({ username, token }) => server.entered(username, token, { rights });
};

/** Presses Tab until the focus is where it is wanted. */
async function walkTo(tab, expression) {
  for (let steps = 0; !(await tab.evaluate(expression)); steps += 1) {
    assert.ok(steps < 40, `not reached by Tab: ${expression}`);
    await tab.press('Tab');
  }
}

test('a muted user reads until when, and can send again when the mute ends', async (t) => {
  const { server, tab } = await enter(t);
  assert.ok(await tab.evaluate(isInputOn));
  await tab.type('a draft');
  // The server's clock is an hour ahead: what counts is the rest.
  const time = Date.now() + 3_600_000;
  server.push('onRule', { kind: 'mute', until: time + 1_500, time });
  await tab.until(says('restriction', 'You are muted until '));
  assert.ok(await tab.evaluate(isInputOff));
  assert.ok(await tab.evaluate(isFocused('restriction')), 'the focus is not lost');
  await tab.until(`${isInputOn} && !${isShown('restriction')}`);
  await tab.until(says('announcer', 'You can send now.'));
  assert.ok(await tab.evaluate(`${isFocused('text')} && document.activeElement.value === 'a draft'`));
  await tab.press('Enter');
  await tab.until(`document.querySelector('#pending').children.length === 0 && document.querySelector('#text').value === ''`);
  assert.deepEqual(server.bodies(ROUTES.SEND).map(({ content }) => content), ['a draft']);
});

test('a mute without an end lasts until a moderator ends it', async (t) => {
  const { server, tab } = await enter(t);
  server.push('onRule', { kind: 'mute', until: 0, time: 1_000 });
  await tab.until(`${says('restriction', 'You are muted.')} && ${isInputOff}`);
  await tab.until(news('You are muted.'));
  server.push('onRule', { kind: 'mute', until: 2_000, time: 2_000 });
  await tab.until(`${isInputOn} && !${isShown('restriction')}`);
  await tab.until(news('You are not muted any more.'));
});

test('a refused message tells of a mute, and of a slow room', async (t) => {
  const { server, tab } = await enter(t);
  server.responses[ROUTES.SEND] = () => ({ code: 429, error: true, reason: 'slow: wait', retry: 4_200 });
  await tab.type('hi');
  await tab.press('Enter');
  const failures = `[...document.querySelectorAll('#pending .status')].map(({ textContent }) => textContent).join()`;
  await tab.until(`${failures}.includes('Not sent: This room is in slow mode. Try again in 5 s.')`);
  assert.ok(await tab.evaluate(isInputOn));
  server.responses[ROUTES.SEND] = () => ({ code: 403, error: true, reason: 'muted: for good', until: 0 });
  await tab.type('again');
  await tab.press('Enter');
  await tab.until(`${failures}.includes('Not sent: You are muted.') && ${isInputOff} && ${says('restriction', 'You are muted.')}`);
});

test('without the right to send the input is off, until the right comes', async (t) => {
  const { server, tab } = await enter(t, withRights(['enter', 'list', 'whisper']));
  await tab.until(says('older', 'You may not read older messages here.'));
  assert.deepEqual(server.bodies(ROUTES.HISTORY), []);
  await tab.until(`${isInputOff} && ${says('restriction', 'You may read this room')}`);
  await tab.click('#names button');
  await tab.until(`${isInputOn} && ${isShown('whisper')}`);
  await tab.click('#whisper-off');
  await tab.until(isInputOff);
  server.push('onRights', { rights: MODERATOR });
  await tab.until(`${isInputOn} && document.querySelector('#chat').classList.contains('moderator')`);
  server.push('onRights', { rights: ['enter', 'send', 'read'] });
  await tab.until(says('members-note', 'The names of members are not shown'));
  await tab.until(`!document.querySelector('#chat').classList.contains('moderator')`);
  await tab.click('#names button');
  await tab.until(`${isInputOff} && ${says('restriction', 'You may not whisper')}`);
});

test('an expelled user reads why, as text, and may enter again', async (t) => {
  const { server, tab } = await enter(t);
  server.push('onExpel', { reason: HTML });
  server.kick('expelled');
  await tab.until(says('banner-text', `You were removed from this room. Reason: ${HTML}`));
  assert.equal(await tab.evaluate(`document.querySelectorAll('#banner img, #banner b').length`), 0, 'text is no HTML');
  await tab.evaluate(`document.querySelector('#banner-button').focus()`);
  assert.equal(await tab.evaluate('document.activeElement.textContent'), 'Enter again');
  await tab.press('Enter');
  await tab.until(`document.querySelector('#connection').dataset.state === 'online' && !${isShown('banner')}`);
  assert.equal(server.bodies(ROUTES.ENTER).length, 2);
});

test('a banned user reads why and until when, in the room and at its entry', async (t) => {
  const { server, tab } = await enter(t);
  const until = Date.now() + 60_000;
  server.push('onRule', { kind: 'ban', until, time: Date.now() });
  server.push('onExpel', { reason: 'spam' });
  server.kick('expelled');
  await tab.until(says('banner-text', 'You are banned from this room until '));
  assert.ok(await tab.evaluate(`${says('banner-text', 'Reason: spam')} && !${isShown('banner-button')}`));
  server.responses[ROUTES.ENTER] = () => ({ code: 403, error: true, reason: 'banned: x', until: 0 });
  await tab.go(server.url);
  await tab.until(says('refusal', 'You are banned from this room.'));
});

test('a ban without a reason, and one that a client meets when it comes back', async (t) => {
  const { server, tab } = await enter(t);
  server.push('onExpel', { reason: 'banned' });
  server.kick('banned');
  await tab.until(`document.querySelector('#banner-text').textContent === 'You are banned from this room.'`);
  assert.ok(await tab.evaluate(`${isShown('banner-text')} && !${isShown('banner-button')}`));
});

test('others see no acts of moderators', async (t) => {
  const { server, tab } = await enter(t);
  server.push('onChat', { msg: 'hi', from: 'bob', target: '*', seq: 2_000, time: 2_000 });
  await tab.until(`document.querySelectorAll('#messages .body').length === 1`);
  assert.equal(await tab.evaluate(`[...document.querySelectorAll('.moderate')].filter((button) => button.checkVisibility()).length`), 0);
});

test('a moderator mutes a member without a mouse', async (t) => {
  const { server, tab } = await enter(t, withRights(MODERATOR));
  await walkTo(tab, `${focusLabel} === 'Moderate bob'`);
  await tab.press('Enter');
  await tab.until(says('moderation', 'Moderate bob'));
  assert.deepEqual(await tab.unnamed(), []);
  await walkTo(tab, isFocused('moderation-reason'));
  await tab.type(' too loud ');
  await walkTo(tab, isFocused('mute-briefly'));
  await tab.press('Enter');
  await tab.until(`!${isShown('moderation')} && ${news('bob is muted for 10 minutes.')}`);
  assert.deepEqual(server.bodies(ROUTES.MUTE), [{ uid: '4711', secs: 600, reason: 'too loud' }]);
  assert.equal(await tab.evaluate(focusLabel), 'Moderate bob', 'the focus is back');
  assert.ok(await tab.evaluate(says('announcer', 'bob is muted for 10 minutes.')));
  await tab.press('Enter');
  await tab.until(isShown('moderation'));
  // The list is made anew while the dialog is open.
  server.push('onAdd', { user: 'cid' });
  await tab.until(`document.querySelectorAll('#names li').length === 3`);
  await tab.press('Escape');
  await tab.until(`!${isShown('moderation')} && ${focusLabel} === 'Moderate bob'`);
});

test('each act has a button, and a ban is confirmed', async (t) => {
  const { server, tab } = await enter(t, withRights(MODERATOR));
  const act = async (...buttons) => {
    await tab.click('#names button.moderate');
    await tab.until(isShown('moderation'));
    for (const button of buttons) {
      await tab.click(`#${button}`);
    }
    await tab.until(`!${isShown('moderation')}`);
  };
  await act('mute');
  await act('unmute');
  await act('expel');
  await act('ban', 'ban-cancel', 'moderation-close');
  assert.deepEqual(server.bodies(ROUTES.BAN), []);
  await act('ban', 'ban-confirm');
  await act('unban');
  const bodies = ['MUTE', 'UNMUTE', 'EXPEL', 'BAN', 'UNBAN'].map((name) => server.bodies(ROUTES[name]));
  assert.deepEqual(bodies, Array(5).fill([{ uid: '4711' }]));

  await walkTo(tab, `${focusLabel} === 'Moderate bob'`);
  await tab.press('Enter');
  await walkTo(tab, isFocused('ban'));
  await tab.press('Enter');
  assert.ok(await tab.evaluate(`${isFocused('ban-cancel')} && ${says('ban-question', 'Ban bob?')}`), 'the harmless button has the focus');
  await tab.press('Enter');
  assert.ok(await tab.evaluate(isFocused('ban')));
  assert.equal(server.bodies(ROUTES.BAN).length, 1);
});

test('a refused act is shown, and a user who left is moderated at a message', async (t) => {
  const { server, tab } = await enter(t, withRights(MODERATOR));
  const refuse = (code, reason) => (server.responses[ROUTES.EXPEL] = () => ({ code, error: true, reason }));
  server.push('onChat', { msg: HTML, from: '<b>eve</b>', target: '*', seq: 2_000, time: 2_000, uid: '66' });
  await tab.until(`document.querySelectorAll('#messages .moderate').length === 1`);
  await tab.click('#messages .moderate');
  await tab.until(says('moderation', 'Moderate <b>eve</b>'));
  refuse(500, 'no-such-member: gone');
  await tab.click('#expel');
  await tab.until(says('moderation-failure', 'Not done: This member has left.'));
  refuse(503, 'unknown: late');
  await tab.click('#expel');
  await tab.until(says('moderation-failure', 'Perhaps not done: unknown: late'));
  assert.deepEqual(server.bodies(ROUTES.EXPEL), [{ uid: '66' }, { uid: '66' }]);
  await tab.click('#ban');
  await tab.click('#ban-confirm');
  await tab.until(`!${isShown('moderation')}`);
  assert.deepEqual(server.bodies(ROUTES.BAN), [{ uid: '66' }]);
  assert.equal(await tab.evaluate(`document.querySelectorAll('#messages b, #moderation b').length`), 0, 'text is no HTML');
});

test('a token of the application logs in, under the name in it', async (t) => {
  const server = new PageServer();
  await server.start(t);
  const tab = await browser.open(server.url, SCREEN);
  t.after(() => tab.close());
  const part = (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url');
  const jwt = `${part({ alg: 'HS256' })}.${part({ sub: '1', name: 'änn' })}.x`;
  await walkTo(tab, `document.activeElement.localName === 'summary'`);
  await tab.press('Enter');
  await tab.press('Tab');
  assert.ok(await tab.evaluate(isFocused('jwt')));
  await tab.type(jwt);
  await tab.press('Enter');
  const isOnline = `document.querySelector('#connection').dataset.state === 'online'`;
  await tab.until(isOnline);
  assert.ok(server.handshakes.every(({ user }) => user.jwt === jwt));
  assert.equal(server.bodies(ROUTES.ENTER)[0].username, 'änn');
  await tab.go(server.url);
  await tab.until(isOnline);
  assert.equal(server.handshakes.at(-1).user.jwt, jwt, 'also after the page is loaded again');
  assert.ok(!(await tab.evaluate('location.href')).includes(jwt));
});
