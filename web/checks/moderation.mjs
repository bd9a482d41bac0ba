// A moderator acts on a member on the demo page, each in a Chromium of its own, on real servers.
//
//   node moderation.mjs GATE KEY DIRECTORY      KEY is that of auth.hmac_file; screenshots go to DIRECTORY

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';

import { Browser } from './chromium.mjs';

const [gate, key, screenshots] = process.argv.slice(2);
const ROOM = 'orchard';
const SCREEN = { width: 1280, height: 800 };

/** A token of the application, for an hour. */
function token(claims) {
  const now = Math.floor(Date.now() / 1_000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iat: now, exp: now + 3_600, ...claims })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

const says = (id, text) => `document.querySelector('#${id}').checkVisibility() && document.querySelector('#${id}').textContent.includes(${JSON.stringify(text)})`;
const shows = (text) => `[...document.querySelectorAll('#messages .body, #messages .news')].some(({ textContent }) => textContent === ${JSON.stringify(text)})`;
const isOnline = `document.querySelector('#connection').dataset.state === 'online' && !document.querySelector('#chat').hidden`;
const isInputOn = `!document.querySelector('#text').disabled`;

async function logIn(tab, claims) {
  await tab.evaluate(`document.querySelector('#login').open = true`);
  await tab.click('#jwt');
  await tab.type(token(claims));
  await tab.press('Enter');
  await tab.until(isOnline);
}

async function send(tab, text) {
  await tab.evaluate(`document.querySelector('#text').focus()`);
  await tab.type(text);
  await tab.press('Enter');
}

/** Clicks the buttons of the dialog that `opener` opens; returns when the act is done. */
async function act(opener, ...buttons) {
  await ann.click(opener);
  for (const button of buttons) {
    await ann.click(`#${button}`);
  }
  await ann.until(`!document.querySelector('#moderation').open`);
}

const browsers = [new Browser(), new Browser()];
const ann = await browsers[0].open(`http://${gate}/?room=${ROOM}`, SCREEN);
const bob = await browsers[1].open(`http://${gate}/?room=${ROOM}`, SCREEN);
await logIn(ann, { sub: '1', name: 'ann', rooms: [{ match: ROOM, allow: ['moderate'] }] });
await logIn(bob, { sub: '2', name: 'bob' });
await ann.until(`document.querySelectorAll('#names button.moderate').length === 1`);
assert.equal(await bob.evaluate(`[...document.querySelectorAll('.moderate')].filter((button) => button.checkVisibility()).length`), 0);
await send(bob, 'Buy my pomelos!');
await ann.until(shows('Buy my pomelos!'));

// A mute, by the button at the name; and its end.
const ofBob = '#names button.moderate';
await act(ofBob, 'mute-briefly');
await ann.until(shows('bob is muted for 10 minutes.'));
await bob.until(`${says('restriction', 'You are muted until ')} && document.querySelector('#text').disabled`);
await bob.screenshot(join(screenshots, 'muted-desktop.png'));
await act(ofBob, 'unmute');
await bob.until(`${isInputOn} && !document.querySelector('#restriction').checkVisibility()`);
await send(bob, 'Sorry.');
await ann.until(shows('Sorry.'));

// A page that was loaded again finds out by its next message.
await act(ofBob, 'mute');
await bob.until(says('restriction', 'You are muted.'));
await bob.go(`http://${gate}/?room=${ROOM}`);
await bob.until(isOnline);
if (await bob.evaluate(isInputOn)) {
  await send(bob, 'Still here?');
}
await bob.until(says('restriction', 'You are muted.'));
await act(ofBob, 'unmute');
await bob.until(isInputOn);

// An expulsion, with its reason; the member comes back.
await ann.click(ofBob);
await ann.evaluate(`document.querySelector('#moderation-reason').focus()`);
await ann.type('no advertising');
await ann.click('#expel');
await bob.until(says('banner-text', 'You were removed from this room. Reason: no advertising'));
await ann.until(shows('bob left'));
await bob.screenshot(join(screenshots, 'expelled-desktop.png'));
await bob.click('#banner-button');
await bob.until(isOnline);
await ann.until(`document.querySelectorAll('#names button.moderate').length === 1`);

// A ban, asked twice; it holds for a page that is loaded again, until it is ended at a message.
await ann.click(ofBob);
await ann.screenshot(join(screenshots, 'moderation-desktop.png'));
await ann.press('Escape');
await act(ofBob, 'ban', 'ban-confirm');
await bob.until(says('banner-text', 'You are banned from this room.'));
await bob.go(`http://${gate}/?room=${ROOM}`);
await bob.until(says('refusal', 'You are banned from this room.'));
await act('#messages .moderate', 'unban');
await ann.until(shows('bob is not banned any more.'));
await bob.go(`http://${gate}/?room=${ROOM}`);
await bob.until(isOnline);

for (const tab of [ann, bob]) {
  assert.deepEqual(tab.trouble, []);
  assert.deepEqual(await tab.unnamed(), []);
}
await Promise.all(browsers.map((browser) => browser.close()));
process.exit(0);
