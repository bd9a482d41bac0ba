// A real Chromium without a window, driven over its DevTools protocol. It ends with the program
// that started it.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-scrollbars',
  '--remote-debugging-pipe',
];
/** The longest that anything in a browser may take. */
const DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 20;

function chromium() {
  const found = NAMES.find((name) => spawnSync(name, ['--version']).status === 0);
  assert.ok(found, 'there is no Chromium: run `make tools`');
  return found;
}

/** One browser with a profile of its own. */
export class Browser {
  #child;
  #profile = mkdtempSync(join(tmpdir(), 'shaddock-page-'));
  #last = 0;
  #waiting = new Map();
  #kept = '';
  #listeners = new Set();

  /** With further flags. */
  constructor(flags = []) {
    const args = [...FLAGS, ...flags, `--user-data-dir=${this.#profile}`, 'about:blank'];
    // It reads commands from the fourth file that it is given, and writes to the fifth.
    this.#child = spawn(chromium(), args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.#child.stdio[4].setEncoding('utf8').on('data', (text) => this.#read(text));
    process.on('exit', () => rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 }));
    this.#child.on('exit', () => this.#waiting.forEach(({ reject }) => reject(new Error('the browser ended'))));
  }

  /** Sends a command; `sessionId` says to which tab. */
  send(method, params = {}, sessionId) {
    const id = (this.#last += 1);
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, method }));
  }

  on(listener) {
    this.#listeners.add(listener);
  }

  /** A tab with this address. */
  async open(url, options) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(this, sessionId);
    await tab.prepare(options);
    await tab.go(url);
    return tab;
  }

  async close() {
    const ended = new Promise((resolve) => this.#child.on('exit', resolve));
    this.send('Browser.close').catch(() => {});
    await ended;
  }

  #read(text) {
    const parts = (this.#kept + text).split('\0');
    this.#kept = parts.pop();
    for (const { id, result, error, ...event } of parts.map((part) => JSON.parse(part))) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) {
        waiting?.reject(new Error(`${waiting.method}: ${error.message}`));
      } else if (waiting) {
        waiting.resolve(result);
      } else {
        this.#listeners.forEach((listener) => listener(event));
      }
    }
  }
}

/** A page with a screen, a mouse and a keyboard. */
export class Tab {
  /** Failures of the page: exceptions, errors on the console, violations of its policy. */
  trouble = [];
  /** Addresses of websockets that were opened. */
  sockets = [];
  #browser;
  #session;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
    browser.on(({ method, params, sessionId }) => sessionId === session && this.#happened(method, params));
  }

  async prepare({ width, height, mobile = false, dark = false }) {
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) {
      await this.send(`${domain}.enable`);
    }
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, mobile, deviceScaleFactor: 1 });
    await this.send('Emulation.setLocaleOverride', { locale: 'en-GB' });
    await this.theme(dark);
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#session);
  }

  close() {
    return this.send('Page.close');
  }

  async go(url) {
    await this.send('Page.navigate', { url });
    await this.until(`document.readyState === 'complete' && location.href !== 'about:blank'`);
  }

  theme(dark) {
    return this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
  }

  /** The value of an expression in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    assert.equal(exceptionDetails, undefined, `${expression}: ${exceptionDetails?.exception?.description}`);
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression) {
    const deadline = Date.now() + DEADLINE_MS;
    while (!(await this.evaluate(`Boolean(${expression})`).catch(() => false))) {
      assert.ok(Date.now() < deadline, `not in time: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  /** Presses the mouse on the middle of an element that can be seen. */
  async click(selector) {
    const [x, y] = await this.evaluate(`(() => {
      const found = document.querySelector(${JSON.stringify(selector)});
      found.scrollIntoView({ block: 'nearest' });
      const { x, y, width, height } = found.getBoundingClientRect();
      const at = [x + width / 2, y + height / 2];
      const above = document.elementFromPoint(...at);
      if (!found.contains(above)) throw new Error('covered by ' + above?.outerHTML.slice(0, 80));
      return at;
    })()`);
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
    }
  }

  type(text) {
    return this.send('Input.insertText', { text });
  }

  async press(key, modifiers = 0) {
    const codes = { Enter: [13, '\r'], Tab: [9], Escape: [27] };
    const [windowsVirtualKeyCode, text] = codes[key];
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, code: key, windowsVirtualKeyCode, text, modifiers });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode, modifiers });
  }

  async screenshot(file) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    writeFileSync(file, Buffer.from(data, 'base64'));
  }

  /** Returns the controls without a name, which a screen reader could not read out. */
  async unnamed() {
    const roles = ['button', 'link', 'textbox', 'region'];
    const { nodes } = await this.send('Accessibility.getFullAXTree');
    const wanting = nodes.filter(({ ignored, role, name }) => !ignored && roles.includes(role?.value) && !name?.value);
    return wanting.map(({ role }) => role.value);
  }

  #happened(method, params) {
    if (method === 'Network.webSocketCreated') {
      this.sockets.push(params.url);
    } else if (method === 'Runtime.exceptionThrown') {
      this.trouble.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    } else if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
      this.trouble.push(JSON.stringify(params.args));
    } else if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) {
      this.trouble.push(`${params.entry.source}: ${params.entry.text}`);
    }
  }
}
