/**
 * The list of messages: each once, in the room's order, as text. It owns the elements below
 * `#messages` and knows no connection.
 */

import { timeText } from './texts.js';

/** Elements that are kept; older messages can be read from the server again. */
const MAX_ITEMS = 1_000;
const GROUP_MS = 5 * 60_000;

/** Returns an element with a class and a text, which is never parsed as HTML. */
export function element(tag, className = '', text = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Gives an element the colour of a name. */
export function tint(made, name) {
  let hash = 7;
  for (const unit of name) {
    hash = (hash * 31 + unit.codePointAt(0)) % 3_600;
  }
  made.style.setProperty('--hue', String(hash / 10));
  return made;
}

/** Returns the button that opens the acts on a user; moderators alone see it. */
export function moderateButton({ name, uid }, onModerate) {
  const button = element('button', 'moderate', '⋯');
  button.type = 'button';
  button.title = `Moderate ${name}`;
  button.setAttribute('aria-label', button.title);
  button.dataset.moderates = name;
  button.addEventListener('click', () => onModerate({ name, uid }));
  return button;
}

/** Returns the parts of a message: sender, time, text. */
export function messageParts({ from, target, msg, time, uid }, { user, onName, onModerate }) {
  const head = element('div', 'head');
  const name = tint(element('button', 'name', from === user ? 'You' : from), from);
  name.type = 'button';
  name.disabled = from === user;
  name.title = from === user ? '' : `Whisper to ${from}`;
  name.addEventListener('click', () => onName(from));
  head.append(name);
  if (target !== '*') {
    head.append(element('span', 'aside', from === user ? `whisper to ${target}` : 'whispers to you'));
  }
  if (time) {
    head.append(clock(time));
  }
  if (from !== user) {
    head.append(moderateButton({ name: from, uid }, onModerate));
  }
  return [head, element('div', 'body', msg)];
}

function clock(time) {
  const at = new Date(time);
  const made = element('time', '', timeText(at));
  made.dateTime = at.toISOString();
  made.title = at.toLocaleString();
  return made;
}

export class Timeline {
  #list;
  #options;
  /** `{ epoch, seq, element, message? }`, in the order of the elements; `epoch` is an index. */
  #items = [];
  /**
   * Epochs in the order in which the page learned of them. Their numbers give no order: the
   * server's clock may have been set back between two logs.
   */
  #epochs = [0];

  /**
   * `options`: the user's name as `user`; `onName`, which is called with a chosen name, and
   * `onModerate`, with the `{ name, uid? }` of one to moderate.
   */
  constructor(list, options) {
    this.#list = list;
    this.#options = options;
    list.replaceChildren();
  }

  /** The oldest message. */
  get oldest() {
    return this.#items.find(({ message }) => message)?.message;
  }

  /** Adds a message at its place in the order; returns false if it is a duplicate. */
  add(message) {
    const { seq = Infinity } = message;
    const epoch = this.#epochIndex(message.epoch);
    let at = this.#items.length;
    while (at > 0 && isAfter(this.#items[at - 1], epoch, seq)) {
      at -= 1;
    }
    const before = this.#items[at - 1];
    if (before?.message && before.epoch === epoch && before.seq === seq && seq !== Infinity) {
      return false;
    }
    const made = element('li', 'message');
    made.dataset.seq = String(seq);
    made.classList.toggle('own', message.from === this.#options.user);
    made.classList.toggle('whispered', message.target !== '*');
    made.append(...messageParts(message, this.#options));
    this.#insert(at, { epoch, seq, element: made, message });
    return true;
  }

  /** Adds a line about the room at the end: a join, a leave, a gap. */
  note(className, text, { epoch = 0, seq = Infinity } = {}) {
    this.#insert(this.#items.length, { epoch: this.#epochIndex(epoch), seq, element: element('li', className, text) });
  }

  /** Removes the oldest elements if there are too many; returns true if it removed any. */
  trim() {
    const tooMany = this.#items.length - MAX_ITEMS;
    if (tooMany < MAX_ITEMS / 10) {
      return false;
    }
    this.#items.splice(0, tooMany).forEach(({ element: gone }) => gone.remove());
    this.#group(0);
    return true;
  }

  #epochIndex(epoch = 0) {
    const at = this.#epochs.indexOf(epoch);
    return at < 0 ? this.#epochs.push(epoch) - 1 : at;
  }

  #insert(at, item) {
    this.#list.insertBefore(item.element, this.#items[at]?.element ?? null);
    this.#items.splice(at, 0, item);
    this.#group(at);
    this.#group(at + 1);
  }

  /** Hides the head of a message that follows one of the same sender. */
  #group(at) {
    const item = this.#items[at];
    if (!item?.message) {
      return;
    }
    const above = this.#items[at - 1]?.message;
    const { message } = item;
    const isSame = above && above.from === message.from && above.target === message.target && message.time - above.time < GROUP_MS;
    item.element.classList.toggle('same', Boolean(isSame));
  }
}

function isAfter(item, epoch, seq) {
  return item.epoch > epoch || (item.epoch === epoch && item.seq > seq);
}
