/**
 * The dialog of moderators: acts on one user. It owns `#moderation`.
 */

import { errorText } from './texts.js';

const TEN_MINUTES = 600;

/** The buttons of the dialog, by id: the act, its duration, and the news that it is done. */
const ACTS = {
  'mute-briefly': { act: 'mute', secs: TEN_MINUTES, done: 'is muted for 10 minutes' },
  mute: { act: 'mute', done: 'is muted' },
  unmute: { act: 'unmute', done: 'is not muted any more' },
  expel: { act: 'expel', done: 'is removed' },
  'ban-confirm': { act: 'ban', done: 'is banned' },
  unban: { act: 'unban', done: 'is not banned any more' },
};

export class ModerationDialog {
  #page;
  #options;
  /** `{ name, uid? }` */
  #user;
  #isBusy = false;
  #listeners = new AbortController();

  /** `options`: the `room`, and `onNews`, which is called with the outcome of an act. */
  constructor(page, options) {
    this.#page = page;
    this.#options = options;
    const on = (target, event, handler) => target.addEventListener(event, handler, { signal: this.#listeners.signal });
    Object.entries(ACTS).forEach(([id, act]) => on(page[id], 'click', () => this.#perform(act)));
    on(page.ban, 'click', () => this.#confirmBan(true));
    on(page['ban-cancel'], 'click', () => this.#confirmBan(false));
    on(page['moderation-close'], 'click', () => page.moderation.close());
    on(page.moderation, 'close', () => this.#returnFocus());
  }

  /** Opens it for a user, by the id if there is one: names are free for others. */
  open({ name, uid }) {
    const page = this.#page;
    this.#user = { name, uid };
    page['moderation-name'].textContent = name;
    page['moderation-reason'].value = '';
    page['ban-question'].textContent = `Ban ${name}? ${name} leaves at once, and cannot come back until the ban is ended.`;
    this.#showFailure('');
    page['moderation-acts'].hidden = false;
    page['moderation-confirm'].hidden = true;
    page.moderation.showModal();
  }

  end() {
    this.#listeners.abort();
    this.#page.moderation.close();
  }

  #confirmBan(isAsked) {
    const page = this.#page;
    page['moderation-acts'].hidden = isAsked;
    page['moderation-confirm'].hidden = !isAsked;
    this.#showFailure('');
    // The harmless one: Enter must not ban by a slip.
    (isAsked ? page['ban-cancel'] : page.ban).focus();
  }

  async #perform({ act, secs, done }) {
    if (this.#isBusy) {
      return;
    }
    const user = this.#user;
    const { name, uid } = user;
    const { room, onNews } = this.#options;
    const reason = this.#page['moderation-reason'].value.trim() || undefined;
    this.#setBusy(true);
    this.#showFailure('');
    try {
      await room[act](uid === undefined ? { name } : { uid }, { secs, reason });
      onNews(`${name} ${done}.`);
      if (this.#isOpenFor(user)) {
        this.#page.moderation.close();
      }
    } catch (error) {
      const failure = `${error.unknown ? 'Perhaps not done' : 'Not done'}: ${errorText(error)}`;
      if (this.#isOpenFor(user)) {
        this.#showFailure(failure);
      } else {
        onNews(`${name}: ${failure}`);
      }
    } finally {
      this.#setBusy(false);
    }
  }

  /** The moderator may have closed it meanwhile, and opened it for another user. */
  #isOpenFor(user) {
    return this.#page.moderation.open && this.#user === user;
  }

  // The buttons stay on: one that is turned off would drop the focus.
  #setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.#page.moderation.setAttribute('aria-busy', String(isBusy));
  }

  #showFailure(text) {
    const status = this.#page['moderation-failure'];
    status.textContent = text;
    status.hidden = text === '';
  }

  /** The button that opened it may have been replaced meanwhile. */
  #returnFocus() {
    const active = document.activeElement;
    if (active && active !== document.body && !this.#page.moderation.contains(active)) {
      return;
    }
    const buttons = [...document.querySelectorAll('button.moderate')];
    const same = buttons.find(({ dataset, offsetParent }) => offsetParent && dataset.moderates === this.#user.name);
    (same ?? this.#page.text).focus();
  }
}
