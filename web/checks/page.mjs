// Two users talk on the demo page, each in a Chromium of its own, and one loses its connector.
//
//   node page.mjs GATE DIRECTORY      screenshots go to DIRECTORY; started by a test that injects faults, see wish.mjs

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { Browser } from './chromium.mjs';
import { wish } from './wish.mjs';

const [gate, screenshots] = process.argv.slice(2);
const ROOM = 'orchard';
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844, mobile: true };
const HTML = '<img src=x onerror="document.title=1"><b>no</b>';
const MANY = 70;

const texts = (tab, within = '#messages') => tab.evaluate(`[...document.querySelectorAll('${within} .body')].map(({ textContent }) => textContent)`);
const shows = (text) => `[...document.querySelectorAll('#messages .body')].some(({ textContent }) => textContent === ${JSON.stringify(text)})`;
const isOnline = `document.querySelector('#connection').dataset.state === 'online' && !document.querySelector('#chat').hidden`;
const port = (tab) => Number(new URL(tab.sockets.at(-1)).port);
const picture = (tab, name) => tab.screenshot(join(screenshots, `${name}.png`));

async function send(tab, text) {
  await tab.type(text);
  await tab.press('Enter');
}

/** Sends a message, and waits until both pages show it. */
async function talk(from, to, text) {
  await send(from, text);
  await Promise.all([from.until(shows(text)), to.until(shows(text))]);
}

async function enter(tab, name, room) {
  await tab.evaluate(`document.querySelector('#user').focus()`);
  await tab.type(name);
  await tab.press('Tab');
  if (room) {
    await tab.evaluate(`document.querySelector('#room').select()`);
    await tab.type(room);
  }
  await tab.press('Enter');
  await tab.until(isOnline);
  await tab.until(`document.activeElement.id === 'text'`);
}

async function themes(tab, name) {
  await picture(tab, `${name}-light`);
  await tab.theme(true);
  await picture(tab, `${name}-dark`);
  await tab.theme(false);
}

const browsers = [new Browser(), new Browser()];
const ann = await browsers[0].open(`http://${gate}/`, DESKTOP);
await themes(ann, 'entry-desktop');
assert.deepEqual(await ann.unnamed(), []);
await enter(ann, 'Ann', ROOM);

// The link that the page gives opens the same room elsewhere.
const bob = await browsers[1].open(await ann.evaluate(`document.querySelector('#link').href`), PHONE);
await themes(bob, 'entry-phone');
await enter(bob, 'Bob');
await ann.until(`document.querySelector('#count').textContent === '2'`);

await talk(ann, bob, 'The pomelos are ripe! Who helps tomorrow?');
await talk(bob, ann, 'I do. Shall I bring the ladder?');
await talk(ann, bob, 'Please.\nAnd baskets: last year we had too few.');
await talk(bob, ann, 'Three, then.');

// A whisper by choosing a name; back to all by a key.
await ann.click('#names button');
assert.equal(await ann.evaluate(`document.activeElement.id`), 'text');
await picture(ann, 'whisper-desktop');
await talk(ann, bob, 'The sweetest ones hang on the south wall.');
assert.equal(await bob.evaluate(`[...document.querySelectorAll('#messages .message')].at(-1).classList.contains('whispered')`), true);
await ann.press('Escape');
await talk(ann, bob, 'See you at eight, then.');
await bob.click('#members-button');
await picture(bob, 'members-phone');
await bob.press('Escape');
await bob.evaluate(`document.querySelector('#text').focus()`);
await talk(bob, ann, 'Eight it is.');
await themes(ann, 'room-desktop');
await themes(bob, 'room-phone');
await talk(bob, ann, HTML);
for (const tab of [ann, bob]) {
  assert.equal(await tab.evaluate(`document.querySelectorAll('#messages img, #messages b').length`), 0, 'text is no HTML');
  assert.deepEqual(await tab.unnamed(), []);
  assert.ok(await tab.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing sticks out');
  assert.deepEqual(tab.trouble, []);
}

// Bob loses his connector. Both go on sending.
await wish({ kill: 'connector', port: port(bob) });
await bob.until(`!document.querySelector('#banner').hidden`);
await send(bob, 'Can you hear me?');
await picture(bob, 'banner-phone');
for (let number = 1; number <= 10; number += 1) {
  await send(ann, `while you were away: ${number}`);
}
await bob.until(isOnline);
await Promise.all([ann.until(shows('Can you hear me?')), bob.until(shows('while you were away: 10')), bob.until(shows('Can you hear me?'))]);
for (const tab of [ann, bob]) {
  await tab.until(`document.querySelector('#pending').children.length === 0 && document.querySelector('#banner').hidden`);
}
const received = await texts(ann);
assert.deepEqual(await texts(bob), received, 'both get the same messages, in one order');
assert.equal(new Set(received).size, received.length, 'each once');
assert.deepEqual(received.filter((text) => text.startsWith('while')).length, 10);
assert.ok(!(await ann.evaluate(`document.body.textContent.includes('Bob left')`)), 'no leave was delivered');

// A page that is loaded again goes on, with the newest messages; older ones come by scrolling up.
for (let number = 1; number <= MANY; number += 1) {
  await send(ann, `basket ${number}`);
}
await Promise.all([ann.until(shows(`basket ${MANY}`)), bob.until(shows(`basket ${MANY}`))]);
await ann.go(`http://${gate}/?room=${ROOM}`);
await ann.until(isOnline);
await ann.until(shows(`basket ${MANY}`));
assert.ok(!(await texts(ann)).includes(received[0]));
const newest = `[...document.querySelectorAll('#messages .body')].at(-1).getBoundingClientRect().bottom < innerHeight`;
await ann.until(newest);
for (let page = 0; !(await texts(ann)).includes(received[0]); page += 1) {
  assert.ok(page < 5, 'a few pages are all');
  const count = (await texts(ann)).length;
  await ann.evaluate(`document.querySelector('#scroller').scrollTop = 0`);
  await ann.until(`document.querySelectorAll('#messages .body').length > ${count}`);
}
assert.deepEqual(await texts(ann), [...received, ...Array.from({ length: MANY }, (_, number) => `basket ${number + 1}`)]);

// The same membership in another window: the first window shows that, and can take it back.
const other = await browsers[0].open(`http://${gate}/icon.svg`, DESKTOP);
const stay = await ann.evaluate(`sessionStorage.getItem('shaddock-stay')`);
await other.evaluate(`sessionStorage.setItem('shaddock-stay', ${JSON.stringify(stay)})`);
await other.go(`http://${gate}/?room=${ROOM}`);
await other.until(isOnline);
await ann.until(`document.querySelector('#banner-text').textContent.includes('another window')`);
await picture(ann, 'resumed-desktop');
await ann.click('#banner-button');
await ann.until(isOnline);
await other.until(`document.querySelector('#banner-text').textContent.includes('another window')`);
await other.click('#leave');
await other.until(`!document.querySelector('#entry').hidden`);

// A name is taken once: the form shows the refusal.
const eve = await browsers[1].open(`http://${gate}/?room=${ROOM}`, DESKTOP);
await eve.evaluate(`document.querySelector('#user').value = ''`);
await eve.evaluate(`document.querySelector('#user').focus()`);
await eve.type('Ann');
await eve.press('Enter');
await eve.until(`!document.querySelector('#refusal').hidden`);
await picture(eve, 'refusal-desktop');

await bob.click('#leave');
await bob.until(`!document.querySelector('#entry').hidden`);
await ann.until(`document.querySelector('#count').textContent === '1'`);
for (const tab of [ann, bob, other, eve]) {
  // The browser itself reports that the connector is down; the page reports nothing.
  const own = tab.trouble.filter((line) => !line.includes('WebSocket connection to'));
  assert.deepEqual(own, []);
}
await Promise.all(browsers.map((browser) => browser.close()));
process.exit(0);
