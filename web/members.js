/**
 * The member list: beside the messages, or above them on a phone. It owns `#members` and its button.
 */

import { element, moderateButton, tint } from './timeline.js';

export class MemberPanel {
  #page;
  #options;
  #listeners = new AbortController();

  /**
   * `options`: the user's name as `user`; `onName`, which is called with a chosen name, and
   * `onModerate`, with the `{ name, uid? }` of one to moderate.
   */
  constructor(page, options) {
    this.#page = page;
    this.#options = options;
    const on = (target, event, handler) => target.addEventListener(event, handler, { signal: this.#listeners.signal });
    on(page['members-button'], 'click', () => this.#toggle(!page.members.classList.contains('open')));
    on(document, 'keydown', ({ key }) => key === 'Escape' && this.close());
    on(page.middle, 'pointerdown', () => this.close());
  }

  /** Shows the member list of a room. */
  show({ users, total, names, profiles, rights }) {
    const page = this.#page;
    page.count.textContent = page['members-count'].textContent = String(total);
    page['members-note'].hidden = names;
    page['members-note'].textContent = names ? '' : noteOf(rights);
    const focused = { ...document.activeElement?.dataset };
    const sorted = [...users].sort((one, other) => one.localeCompare(other));
    page.names.replaceChildren(...sorted.map((name) => this.#row(name, profiles.get(name)?.uid)));
    // The new buttons replace the focused one: without this, each join would end a walk through
    // the list by keyboard.
    const isFocused = ({ dataset: { name, moderates } }) => name === focused.name && moderates === focused.moderates;
    [...page.names.querySelectorAll('button')].find(isFocused)?.focus();
  }

  /** Closes the list on a phone, where it covers the messages. */
  close() {
    this.#toggle(false);
  }

  end() {
    this.close();
    this.#listeners.abort();
  }

  #toggle(isOpen) {
    this.#page.members.classList.toggle('open', isOpen);
    this.#page['members-button'].setAttribute('aria-expanded', String(isOpen));
  }

  #row(name, uid) {
    const row = element('li');
    const isSelf = name === this.#options.user;
    const inside = element(isSelf ? 'p' : 'button', isSelf ? 'you' : '');
    const avatar = tint(element('span', 'avatar', [...name][0].toLocaleUpperCase()), name);
    avatar.setAttribute('aria-hidden', 'true');
    inside.append(avatar, element('span', 'name', isSelf ? `${name} (you)` : name));
    if (!isSelf) {
      inside.type = 'button';
      inside.dataset.name = name;
      inside.title = `Whisper to ${name}`;
      inside.addEventListener('click', () => this.#options.onName(name));
    }
    row.append(inside);
    if (!isSelf) {
      row.append(moderateButton({ name, uid }, this.#options.onModerate));
    }
    return row;
  }
}

/** Returns the reason for which not all names are shown. */
function noteOf(rights) {
  return rights.has('list') ? 'The room is large: only some names are shown.' : 'The names of members are not shown to you here.';
}
