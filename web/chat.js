/**
 * The demo page: the form for name and room, then the room. The client handles all connections.
 */

import { connect, connectorUrl } from './pomelo-client.js';
import { People } from './members.js';
import { element, messageParts, Timeline } from './timeline.js';

const HISTORY_PAGE = 50;
/** Pixels from an edge that count as being at it. */
const NEAR = 90;
const LOOPBACK = /^(localhost|127\.|\[?::1\]?$)/;
/** This tab's membership, so that a reload of the page resumes it. */
const STAY = 'shaddock-stay';
const NAME = 'shaddock-name';

const page = Object.fromEntries([...document.querySelectorAll('[id]')].map((found) => [found.id, found]));

/** Texts for the codes of refusals. */
const WORDS = {
  'name-taken': 'A member of this room has that name. Choose another one.',
  'room-full': 'This room is full.',
  forbidden: 'It has a word that is forbidden here.',
  'too-long': 'It is too long.',
  rate: 'That was too fast. Wait a moment.',
  'no-such-member': 'This member has left.',
  connect: 'The server cannot be reached.',
  timeout: 'The server did not answer in time.',
  closed: 'You left the room.',
  resumed: 'This conversation goes on in another window.',
};

function words(error) {
  return WORDS[error.reason] ?? WORDS[error.code] ?? error.message;
}

// The form for name and room

function openDoor(refusal = '') {
  const { user = localStorage.getItem(NAME) ?? '', room } = stay() ?? {};
  page.chat.hidden = true;
  page.door.hidden = false;
  page.user.value ||= user;
  page.room.value = new URLSearchParams(location.search).get('room') ?? room ?? page.room.value;
  refuse(refusal);
  document.title = 'Shaddock';
  (page.user.value && !refusal ? page.room : page.user).focus();
}

function refuse(text) {
  page.refusal.textContent = text;
  page.refusal.hidden = text === '';
}

function stay() {
  return JSON.parse(sessionStorage.getItem(STAY));
}

async function knock(user, rid, session) {
  page['enter-button'].disabled = true;
  refuse('');
  try {
    const room = await connect({ gate: location.origin, user, room: rid, session, address });
    localStorage.setItem(NAME, user);
    sessionStorage.setItem(STAY, JSON.stringify({ user, room: rid, token: room.session.token }));
    new Visit(room);
  } catch (error) {
    openDoor(words(error));
  } finally {
    page['enter-button'].disabled = false;
  }
}

/**
 * Replaces a loopback address of a connector by the host of this page: only the machine of the
 * cluster could reach it.
 */
function address({ host, port }, gate) {
  const isElsewhere = LOOPBACK.test(host) && !LOOPBACK.test(location.hostname);
  return connectorUrl({ host: isElsewhere ? location.hostname : host, port }, gate);
}

// A room

class Visit {
  #room;
  #timeline;
  #people;
  #target = '*';
  /**
   * The cursor of older messages; null at the beginning of the room, undefined while they are read.
   */
  #cursor;
  #unseen = 0;
  #countdown;
  /** Removes all listeners of this visit. */
  #over = new AbortController();

  constructor(room) {
    this.#room = room;
    const onName = (name) => this.#aim(name);
    this.#timeline = new Timeline(page.messages, { user: room.user, onName });
    this.#people = new People(page, { user: room.user, onName });
    this.#open();
    this.#listen();
    this.#readOlder();
  }

  #open() {
    const { room: rid } = this.#room;
    page.door.hidden = true;
    page.chat.hidden = false;
    page.title.textContent = rid;
    page.pending.replaceChildren();
    page.newest.hidden = true;
    const link = new URL(location.pathname, location.href);
    link.searchParams.set('room', rid);
    history.replaceState(null, '', link);
    page.link.href = page['link-narrow'].href = link.href;
    page.copy.hidden = !navigator.clipboard;
    this.#aim('*');
    this.#people.show(this.#room);
    this.#showState(this.#room.state);
  }

  #listen() {
    const room = this.#room;
    room.on('chat', (message) => this.#tell(message));
    room.on('add', ({ user }) => this.#note('news', `${user} joined`));
    room.on('leave', ({ user }) => this.#note('news', `${user} left`));
    room.on('gap', () => this.#note('gap', 'Some messages are missing here.'));
    room.on('users', () => this.#people.show(room));
    room.on('state', (state) => this.#showState(state));
    const on = (target, event, handler) => target.addEventListener(event, handler, { signal: this.#over.signal });
    on(page.say, 'submit', (event) => this.#submit(event));
    on(page.text, 'keydown', (event) => this.#key(event));
    on(page['whisper-off'], 'click', () => this.#aim('*'));
    on(page.scroller, 'scroll', () => this.#scrolled());
    on(page.newest, 'click', () => this.#toNewest());
    on(page.leave, 'click', () => this.#depart());
    on(page.copy, 'click', () => this.#copy());
    on(page['banner-button'], 'click', () => this.#retry());
    on(window, 'online', () => room.reconnect());
    on(document, 'visibilitychange', () => this.#looked());
  }

  // Deliveries

  #tell(message) {
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
    this.#keepEnd(follows || isOwn);
  }

  #note(className, text) {
    const follows = this.#isAtEnd();
    this.#timeline.note(className, text, this.#room.session);
    this.#keepEnd(follows);
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = page.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #keepEnd(follows) {
    if (follows) {
      this.#toNewest();
    } else {
      page.newest.hidden = false;
    }
  }

  #toNewest() {
    if (this.#timeline.trim()) {
      this.#cursor = this.#timeline.oldest.seq;
      page.older.textContent = '';
    }
    page.scroller.scrollTop = page.scroller.scrollHeight;
    page.newest.hidden = true;
  }

  #scrolled() {
    if (this.#isAtEnd()) {
      page.newest.hidden = true;
    }
    if (page.scroller.scrollTop < NEAR && this.#cursor) {
      this.#readOlder(this.#cursor);
    }
  }

  /** Reads older messages and adds them above; the visible ones keep their place on the screen. */
  async #readOlder(before) {
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
      page.older.textContent = `Older messages could not be read: ${words(error)}`;
      this.#cursor = before ?? null;
    }
  }

  #looked() {
    if (!document.hidden) {
      this.#unseen = 0;
      this.#room.reconnect();
    }
    this.#showTitle();
  }

  #showTitle() {
    document.title = `${this.#unseen > 0 ? `(${this.#unseen}) ` : ''}${this.#room.room} · Shaddock`;
  }

  // Sending

  /** Sets the recipient of the next messages: `*` for all. */
  #aim(target) {
    this.#target = target;
    const isWhisper = target !== '*';
    page.whisper.hidden = !isWhisper;
    page['whisper-name'].textContent = isWhisper ? target : '';
    page.say.classList.toggle('whispering', isWhisper);
    page.text.placeholder = isWhisper ? `Whisper to ${target}` : `Message to ${this.#room.room}`;
    page.send.textContent = isWhisper ? 'Whisper' : 'Send';
    this.#people.close();
    page.text.focus();
  }

  #key(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      this.#submit(event);
    } else if (event.key === 'Escape') {
      this.#aim('*');
    }
  }

  #submit(event) {
    event.preventDefault();
    const text = page.text.value.trim();
    if (text !== '') {
      page.text.value = '';
      this.#send(this.#target, text);
    }
    page.text.focus();
  }

  /** Shows a message below the others until it is committed, or the reason of its refusal. */
  async #send(target, msg) {
    const made = element('li', 'message own');
    made.classList.toggle('whispered', target !== '*');
    const fate = element('p', 'fate', 'sending …');
    made.append(...messageParts({ from: this.#room.user, target, msg }, { user: this.#room.user }), fate);
    page.pending.append(made);
    this.#toNewest();
    try {
      await (target === '*' ? this.#room.say(msg) : this.#room.whisper(target, msg));
      made.remove();
    } catch (error) {
      this.#failed(made, fate, error, () => this.#send(target, msg));
    }
  }

  #failed(made, fate, error, again) {
    made.classList.add('failed');
    fate.textContent = `${error.unknown ? 'Perhaps not sent' : 'Not sent'}: ${words(error)}`;
    fate.setAttribute('role', 'alert');
    for (const [label, then] of [['Try again', again], ['Discard', () => {}]]) {
      const button = element('button', '', label);
      button.type = 'button';
      button.addEventListener('click', () => {
        made.remove();
        then();
      });
      fate.append(button);
    }
  }

  // The connection

  #showState({ state, delay, error }) {
    page.connection.dataset.state = state;
    page['connection-text'].textContent = state;
    clearInterval(this.#countdown);
    if (state === 'reconnecting') {
      this.#count(performance.now() + delay);
      this.#countdown = setInterval(() => this.#count(performance.now() + (delay -= 1_000)), 1_000);
    }
    page['banner-button'].textContent = state === 'closed' ? 'Come back here' : 'Try now';
    if (state === 'closed') {
      page['banner-text'].textContent = words(error);
    }
    page.banner.hidden = state === 'online';
  }

  #count(at) {
    const seconds = Math.ceil((at - performance.now()) / 1_000);
    const when = seconds > 0 ? `trying again in ${seconds} s` : 'trying again';
    page['banner-text'].textContent = `Connection lost, ${when}. Your messages are sent then.`;
  }

  #retry() {
    if (this.#room.state.state === 'closed') {
      const { user, room, session } = this.#room;
      this.#end();
      knock(user, room, { token: session.token });
    } else {
      this.#room.reconnect();
    }
  }

  /** Leaves on request of the user. A room that ended by itself stays readable. */
  #depart() {
    sessionStorage.removeItem(STAY);
    this.#end();
    openDoor();
  }

  #end() {
    this.#room.close();
    clearInterval(this.#countdown);
    this.#over.abort();
    this.#people.end();
  }

  async #copy() {
    await navigator.clipboard.writeText(page.link.href);
    page.copy.textContent = 'Copied';
    setTimeout(() => (page.copy.textContent = 'Copy link'), 2_000);
  }
}

page.enter.addEventListener('submit', (event) => {
  event.preventDefault();
  knock(page.user.value.trim(), page.room.value.trim());
});

openDoor();
const here = stay();
const wanted = new URLSearchParams(location.search).get('room');
if (here && (wanted ?? here.room) === here.room) {
  knock(here.user, here.room, { token: here.token });
}
