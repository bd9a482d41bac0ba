/**
 * The demo page: the form for name and room, then the room. The client handles all connections.
 */

import { connect, connectorUrl } from './pomelo-client.js';
import { MemberPanel } from './members.js';
import { ModerationDialog } from './moderation.js';
import { Permission } from './permission.js';
import { endTexts, errorText, nameIn, untilText } from './texts.js';
import { element, messageParts, Timeline } from './timeline.js';

const HISTORY_PAGE = 50;
/** Distance from an edge of the message list that counts as being at it. */
const EDGE_PX = 90;
const LOOPBACK = /^(localhost|127\.|\[?::1\]?$)/;
// Keys in the browser's storage: open tabs and visited browsers have them, so they keep their names.
/** This tab's membership, so that a reload of the page resumes it. */
const MEMBERSHIP_KEY = 'shaddock-stay';
const NAME_KEY = 'shaddock-name';

const page = Object.fromEntries([...document.querySelectorAll('[id]')].map((found) => [found.id, found]));

// The form for name and room

function showEntryForm(refusal = '') {
  const { user = localStorage.getItem(NAME_KEY) ?? '', room } = savedMembership() ?? {};
  page.chat.hidden = true;
  page.entry.hidden = false;
  page.user.value ||= user;
  page.room.value = new URLSearchParams(location.search).get('room') ?? room ?? page.room.value;
  showRefusal(refusal);
  document.title = 'Shaddock';
  (page.user.value && !refusal ? page.room : page.user).focus();
}

function showRefusal(text) {
  page.refusal.textContent = text;
  page.refusal.hidden = text === '';
}

function savedMembership() {
  return JSON.parse(sessionStorage.getItem(MEMBERSHIP_KEY));
}

async function enterRoom(user, rid, { session, jwt } = {}) {
  page['enter-button'].disabled = true;
  showRefusal('');
  try {
    const room = await connect({ gate: location.origin, user, room: rid, session, jwt, address });
    localStorage.setItem(NAME_KEY, user);
    sessionStorage.setItem(MEMBERSHIP_KEY, JSON.stringify({ user, room: rid, token: room.session.token, jwt }));
    new RoomView(room);
  } catch (error) {
    showEntryForm(errorText(error));
  } finally {
    page['enter-button'].disabled = false;
  }
}

/**
 * Replaces a loopback address of a connector by the host of this page: such an address is only
 * reachable on the machine of the cluster.
 */
function address(entry, gate) {
  const isUnreachable = LOOPBACK.test(entry.host) && !LOOPBACK.test(location.hostname);
  return connectorUrl(isUnreachable ? { ...entry, host: location.hostname } : entry, gate);
}

// A room

class RoomView {
  #room;
  #timeline;
  #memberPanel;
  #permission;
  #moderation;
  /** The reason of a removal from the room, and the end of a ban, once they are known. */
  #removal = {};
  #recipient = '*';
  /**
   * The cursor of older messages; null at the beginning of the room, undefined during a read.
   */
  #cursor;
  #unseen = 0;
  #countdown;
  /** Removes all event listeners of this room. */
  #listeners = new AbortController();

  constructor(room) {
    this.#room = room;
    const onName = (name) => this.#setRecipient(name);
    const onModerate = (user) => this.#moderation.open(user);
    this.#timeline = new Timeline(page.messages, { user: room.user, onName, onModerate });
    this.#memberPanel = new MemberPanel(page, { user: room.user, onName, onModerate });
    this.#permission = new Permission(page, room);
    this.#moderation = new ModerationDialog(page, { room, onNews: (text) => this.#addNews(text) });
    this.#show();
    this.#listen();
    this.#readOlder();
  }

  #show() {
    const { room: rid } = this.#room;
    page.entry.hidden = true;
    page.chat.hidden = false;
    page.title.textContent = rid;
    page.pending.replaceChildren();
    page.newest.hidden = true;
    const link = new URL(location.pathname, location.href);
    link.searchParams.set('room', rid);
    history.replaceState(null, '', link);
    page.link.href = page['link-narrow'].href = link.href;
    page.copy.hidden = !navigator.clipboard;
    this.#setRecipient('*');
    this.#memberPanel.show(this.#room);
    this.#showRights();
    this.#showState(this.#room.state);
  }

  #listen() {
    const room = this.#room;
    room.on('chat', (message) => this.#showMessage(message));
    room.on('add', ({ user }) => this.#addNotice('news', `${user} joined`));
    room.on('leave', ({ user }) => this.#addNotice('news', `${user} left`));
    room.on('gap', () => this.#addNotice('gap', 'Some messages are missing here.'));
    room.on('users', () => this.#memberPanel.show(room));
    room.on('rights', () => this.#showRights());
    room.on('rule', (rule) => this.#applyRule(rule));
    room.on('expel', ({ reason }) => (this.#removal.reason = reason));
    room.on('state', (state) => this.#showState(state));
    const on = (target, event, handler) => target.addEventListener(event, handler, { signal: this.#listeners.signal });
    on(page.composer, 'submit', (event) => this.#onSubmit(event));
    on(page.text, 'keydown', (event) => this.#onKey(event));
    on(page['whisper-off'], 'click', () => this.#setRecipient('*'));
    on(page.scroller, 'scroll', () => this.#onScroll());
    on(page.newest, 'click', () => this.#scrollToNewest());
    on(page.leave, 'click', () => this.#leave());
    on(page.copy, 'click', () => this.#copyLink());
    on(page['banner-button'], 'click', () => this.#retry());
    on(window, 'online', () => room.reconnect());
    on(document, 'visibilitychange', () => this.#onVisibilityChange());
  }

  // Deliveries

  #showMessage(message) {
    const follows = this.#isAtEnd();
    if (!this.#timeline.add(message)) {
      return;
    }
    const isOwn = message.from === this.#room.user;
    if (!isOwn) {
      const how = message.target === '*' ? '' : ' whispers';
      page.announcer.textContent = `${message.from}${how}: ${message.msg}`;
      this.#unseen += document.hidden ? 1 : 0;
      this.#showTitle();
    }
    this.#followEnd(follows || isOwn);
  }

  #addNotice(className, text) {
    const follows = this.#isAtEnd();
    this.#timeline.note(className, text, this.#room.session);
    this.#followEnd(follows);
  }

  /** Adds a line that a screen reader also reads out. */
  #addNews(text) {
    this.#addNotice('news', text);
    page.announcer.textContent = text;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = page.scroller;
    return scrollHeight - scrollTop - clientHeight < EDGE_PX;
  }

  #followEnd(follows) {
    if (follows) {
      this.#scrollToNewest();
    } else {
      page.newest.hidden = false;
    }
  }

  #scrollToNewest() {
    if (this.#timeline.trim()) {
      this.#cursor = this.#timeline.oldest.seq;
      page.older.textContent = '';
    }
    page.scroller.scrollTop = page.scroller.scrollHeight;
    page.newest.hidden = true;
  }

  #onScroll() {
    if (this.#isAtEnd()) {
      page.newest.hidden = true;
    }
    if (page.scroller.scrollTop < EDGE_PX && this.#cursor) {
      this.#readOlder(this.#cursor);
    }
  }

  /** Reads older messages and adds them above; the visible ones keep their place on the screen. */
  async #readOlder(before) {
    if (!this.#room.rights.has('read')) {
      page.older.textContent = 'You may not read older messages here.';
      this.#cursor = null;
      return;
    }
    this.#cursor = undefined;
    page.older.textContent = 'Reading older messages …';
    try {
      const { messages, epoch, cursor, complete } = await this.#room.history({ before, limit: HISTORY_PAGE });
      const { scrollHeight, scrollTop } = page.scroller;
      messages.forEach((message) => this.#timeline.add({ ...message, epoch }));
      page.older.textContent = cursor ? '' : complete ? 'The room begins here.' : 'Older messages have been deleted.';
      this.#cursor = cursor ?? null;
      page.scroller.scrollTop = before ? scrollTop + page.scroller.scrollHeight - scrollHeight : page.scroller.scrollHeight;
    } catch (error) {
      page.older.textContent = `Older messages could not be read: ${errorText(error)}`;
      this.#cursor = before ?? null;
    }
  }

  #onVisibilityChange() {
    if (!document.hidden) {
      this.#unseen = 0;
      this.#room.reconnect();
    }
    this.#showTitle();
  }

  #showTitle() {
    document.title = `${this.#unseen > 0 ? `(${this.#unseen}) ` : ''}${this.#room.room} · Shaddock`;
  }

  // Rights and rules

  #showRights() {
    page.chat.classList.toggle('moderator', this.#room.rights.has('moderate'));
    this.#permission.show();
  }

  #applyRule(rule) {
    this.#permission.apply(rule);
    if (rule.kind === 'ban') {
      this.#removal.until = rule.ended ? undefined : rule.until;
    } else {
      this.#addNotice('news', rule.ended ? 'You are not muted any more.' : `You are muted${untilText(rule.until)}.`);
    }
  }

  // Sending

  /** Sets the recipient of the next messages: `*` for all. */
  #setRecipient(target) {
    this.#recipient = target;
    const isWhisper = target !== '*';
    page.whisper.hidden = !isWhisper;
    page['whisper-name'].textContent = isWhisper ? target : '';
    page.composer.classList.toggle('whispering', isWhisper);
    page.text.placeholder = isWhisper ? `Whisper to ${target}` : `Message to ${this.#room.room}`;
    page.send.textContent = isWhisper ? 'Whisper' : 'Send';
    this.#permission.setRecipient(target);
    this.#memberPanel.close();
    page.text.focus();
  }

  #onKey(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      this.#onSubmit(event);
    } else if (event.key === 'Escape') {
      this.#setRecipient('*');
    }
  }

  #onSubmit(event) {
    event.preventDefault();
    const text = page.text.value.trim();
    if (text !== '') {
      page.text.value = '';
      this.#send(this.#recipient, text);
    }
    page.text.focus();
  }

  /** Shows a message below the others until it is committed, or with the reason if it was refused. */
  async #send(target, msg) {
    const made = element('li', 'message own');
    made.classList.toggle('whispered', target !== '*');
    const status = element('p', 'status', 'sending …');
    made.append(...messageParts({ from: this.#room.user, target, msg }, { user: this.#room.user }), status);
    page.pending.append(made);
    this.#scrollToNewest();
    try {
      await (target === '*' ? this.#room.say(msg) : this.#room.whisper(target, msg));
      made.remove();
    } catch (error) {
      this.#permission.applyRefusal(error);
      this.#showFailure(made, status, error, () => this.#send(target, msg));
    }
  }

  #showFailure(made, status, error, again) {
    made.classList.add('failed');
    status.textContent = `${error.unknown ? 'Perhaps not sent' : 'Not sent'}: ${errorText(error)}`;
    status.setAttribute('role', 'alert');
    for (const [label, then] of [['Try again', again], ['Discard', () => {}]]) {
      const button = element('button', '', label);
      button.type = 'button';
      button.addEventListener('click', () => {
        made.remove();
        then();
      });
      status.append(button);
    }
  }

  // The connection

  #showState({ state, delay, error }) {
    page.connection.dataset.state = state;
    page['connection-text'].textContent = state;
    clearInterval(this.#countdown);
    if (state === 'reconnecting') {
      this.#showCountdown(performance.now() + delay);
      this.#countdown = setInterval(() => this.#showCountdown(performance.now() + (delay -= 1_000)), 1_000);
    }
    const end = state === 'closed' ? endTexts(error, this.#removal) : { remedy: 'Try now' };
    page['banner-button'].textContent = end.remedy;
    page['banner-button'].hidden = end.remedy === '';
    page['banner-text'].textContent = end.text ?? page['banner-text'].textContent;
    page.banner.hidden = state === 'online';
  }

  #showCountdown(at) {
    const seconds = Math.ceil((at - performance.now()) / 1_000);
    const when = seconds > 0 ? `trying again in ${seconds} s` : 'trying again';
    page['banner-text'].textContent = `Connection lost, ${when}. Your messages will be sent then.`;
  }

  #retry() {
    if (this.#room.state.state === 'closed') {
      const { user, room, session } = this.#room;
      this.#close();
      enterRoom(user, room, { session: { token: session.token }, jwt: savedMembership()?.jwt });
    } else {
      this.#room.reconnect();
    }
  }

  /** Leaves at the user's request. A room that ended by itself remains readable. */
  #leave() {
    sessionStorage.removeItem(MEMBERSHIP_KEY);
    this.#close();
    showEntryForm();
  }

  #close() {
    this.#room.close();
    clearInterval(this.#countdown);
    this.#listeners.abort();
    this.#memberPanel.end();
    this.#permission.end();
    this.#moderation.end();
  }

  async #copyLink() {
    await navigator.clipboard.writeText(page.link.href);
    page.copy.textContent = 'Copied';
    setTimeout(() => (page.copy.textContent = 'Copy link'), 2_000);
  }
}

page.enter.addEventListener('submit', (event) => {
  event.preventDefault();
  enterRoom(page.user.value.trim(), page.room.value.trim(), { jwt: page.jwt.value.trim() || undefined });
});

page.jwt.addEventListener('input', () => (page.user.value = nameIn(page.jwt.value) || page.user.value));

showEntryForm();
const saved = savedMembership();
const requested = new URLSearchParams(location.search).get('room');
if (saved && (requested ?? saved.room) === saved.room) {
  enterRoom(saved.user, saved.room, { session: { token: saved.token }, jwt: saved.jwt });
}
