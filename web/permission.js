/**
 * Permission to send: a member that is muted, or may not send, reads why, and its input is off until
 * that ends. It owns `#restriction`, and the states of `#text` and `#send`.
 */

import { untilText } from './texts.js';

/** The longest time that `setTimeout` takes. */
const MAX_DELAY_MS = 0x7fffffff;

export class Permission {
  #page;
  #room;
  #recipient = '*';
  /** `{ until, endsAt }` while muted: Unix milliseconds, 0 without an end; the end on this clock. */
  #mute = null;
  #timer;

  constructor(page, room) {
    this.#page = page;
    this.#room = room;
  }

  /** Shows the permission to send to `recipient`: `*` for all. */
  setRecipient(recipient) {
    this.#recipient = recipient;
    this.show();
  }

  /** Applies a rule. Its rest counts from the server's time: this clock may be another one. */
  apply({ kind, until, time, ended }) {
    if (kind === 'mute') {
      this.#setMute(ended ? null : { until, endsAt: endOf(until, Date.now() - time) });
    }
  }

  /** Applies the refusal of a message, if it says that this member is muted. */
  applyRefusal({ code, until = 0 }) {
    if (code === 'muted') {
      this.#setMute({ until, endsAt: endOf(until, 0) });
    }
  }

  show() {
    const { text, send, restriction } = this.#page;
    const reason = this.#reason();
    const wasOn = !text.disabled;
    const isFocused = document.activeElement === text || document.activeElement === send;
    text.disabled = send.disabled = reason !== '';
    restriction.hidden = reason === '';
    restriction.textContent = reason;
    if (reason !== '' && isFocused) {
      // An element that is turned off drops the focus, and with it the place on the page.
      restriction.focus();
    } else if (reason === '' && !wasOn) {
      this.#page.announcer.textContent = 'You can send now.';
      if (isFocusFree(restriction)) {
        text.focus();
      }
    }
  }

  end() {
    clearTimeout(this.#timer);
    this.#page.text.disabled = this.#page.send.disabled = false;
    this.#page.restriction.hidden = true;
  }

  #setMute(mute) {
    this.#mute = mute;
    clearTimeout(this.#timer);
    if (mute) {
      this.#wait();
    }
    this.show();
  }

  #wait() {
    const left = this.#mute.endsAt - Date.now();
    if (left <= 0) {
      this.#setMute(null);
    } else if (left !== Infinity) {
      this.#timer = setTimeout(() => this.#wait(), Math.min(left, MAX_DELAY_MS));
    }
  }

  /** Returns the reason for which this member may not send now; empty if it may. */
  #reason() {
    const { rights } = this.#room;
    if (this.#mute) {
      return `You are muted${untilText(this.#mute.until)}. You can read, but not send.`;
    }
    if (this.#recipient !== '*') {
      return rights.has('whisper') ? '' : 'You may not whisper in this room.';
    }
    return rights.has('send') ? '' : 'You may read this room, but not send to it.';
  }
}

/** Returns the end on this page's clock, which is `ahead` milliseconds ahead of the server's. */
function endOf(until, ahead) {
  return until === 0 ? Infinity : until + ahead;
}

function isFocusFree(restriction) {
  return document.activeElement === document.body || document.activeElement === restriction;
}
