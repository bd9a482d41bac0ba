/**
 * The member list: beside the messages, or above them on a phone. It owns `#people` and its button.
 */

import { element, tint } from './timeline.js';

export class People {
  #page;
  #options;
  #over = new AbortController();

  /** `options`: our name as `user`, and `onName`, which is called with a chosen name. */
  constructor(page, options) {
    this.#page = page;
    this.#options = options;
    const on = (target, event, handler) => target.addEventListener(event, handler, { signal: this.#over.signal });
    on(page['people-button'], 'click', () => this.#toggle(!page.people.classList.contains('open')));
    on(document, 'keydown', ({ key }) => key === 'Escape' && this.close());
    on(page.middle, 'pointerdown', () => this.close());
  }

  /** Shows names as the room knows them. */
  show({ users, total, names }) {
    const page = this.#page;
    page.count.textContent = page['people-count'].textContent = String(total);
    page['people-note'].hidden = names;
    page['people-note'].textContent = names ? '' : 'The room is large: only some names are shown.';
    const focused = document.activeElement?.dataset.name;
    const sorted = [...users].sort((one, other) => one.localeCompare(other));
    page.names.replaceChildren(...sorted.map((name) => this.#line(name)));
    // The new buttons replace the focused one: without this, each join would end a walk by
    // keyboard.
    [...page.names.querySelectorAll('button')].find(({ dataset }) => dataset.name === focused)?.focus();
  }

  /** Closes the list on a phone, where it covers the messages. */
  close() {
    this.#toggle(false);
  }

  end() {
    this.close();
    this.#over.abort();
  }

  #toggle(isOpen) {
    this.#page.people.classList.toggle('open', isOpen);
    this.#page['people-button'].setAttribute('aria-expanded', String(isOpen));
  }

  #line(name) {
    const line = element('li');
    const isUs = name === this.#options.user;
    const inside = element(isUs ? 'p' : 'button', isUs ? 'you' : '');
    const avatar = tint(element('span', 'avatar', [...name][0].toLocaleUpperCase()), name);
    avatar.setAttribute('aria-hidden', 'true');
    inside.append(avatar, element('span', 'name', isUs ? `${name} (you)` : name));
    if (!isUs) {
      inside.type = 'button';
      inside.dataset.name = name;
      inside.title = `Whisper to ${name}`;
      inside.addEventListener('click', () => this.#options.onName(name));
    }
    line.append(inside);
    return line;
  }
}
