/**
 * Texts: of failures and rules, of times, and the name in a token. Pure.
 */

/** Texts for the codes of refusals, and for the reasons of kicks. */
const ERROR_TEXTS = {
  'name-taken': 'A member of this room has that name. Choose another one.',
  'room-full': 'This room is full.',
  forbidden: 'It contains a forbidden word.',
  'too-long': 'It is too long.',
  rate: 'That was too fast. Wait a moment.',
  slow: ({ retry = 0 }) => `This room is in slow mode. Try again in ${Math.ceil(retry / 1_000)} s.`,
  'no-such-member': 'This member has left.',
  muted: ({ until }) => `You are muted${untilText(until)}.`,
  banned: ({ until }) => `You are banned from this room${untilText(until)}.`,
  expelled: 'You were removed from this room.',
  connect: 'The server cannot be reached.',
  timeout: 'The server did not respond in time.',
  closed: 'You left the room.',
  resumed: 'This conversation continues in another window.',
  expired: 'Your login has expired. Log in again.',
  revoked: 'Your login is no longer valid. Log in again.',
  replaced: 'You logged in elsewhere.',
};

export function errorText(error) {
  const text = ERROR_TEXTS[error.reason] ?? ERROR_TEXTS[error.code] ?? error.message;
  return typeof text === 'function' ? text(error) : text;
}

/**
 * Returns the texts for the end of a room: the reason, and the button that remedies it, or none.
 *
 * @param {{ reason?: string, until?: number }} removal the reason that a moderator gave, and the end
 *   of a ban: one that removes a member from the room comes before the kick
 */
export function endTexts({ code, message, reason, until }, removal) {
  const isRemoved = reason === 'expelled' || reason === 'banned';
  const isBanned = code === 'banned' || reason === 'banned' || (isRemoved && removal.until !== undefined);
  const end = isBanned ? { code: 'banned', until: until ?? removal.until } : { code, message, reason };
  // Servers give this one where the moderator gave none.
  const because = isRemoved && removal.reason && removal.reason !== 'banned' ? ` Reason: ${removal.reason}` : '';
  const remedy = isBanned ? '' : isRemoved ? 'Enter again' : 'Resume here';
  return { text: errorText(end) + because, remedy };
}

/** Returns ` until 14:30`, with the day unless it is today; nothing for a rule without an end. */
export function untilText(until = 0) {
  return until === 0 ? '' : ` until ${timeText(new Date(until))}`;
}

export function timeText(at) {
  const isToday = at.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { month: 'short', day: 'numeric' };
  return at.toLocaleString([], { ...day, hour: '2-digit', minute: '2-digit' });
}

/** Returns the name in a token of the application, which the user would have to type; else nothing. */
export function nameIn(jwt) {
  try {
    const payload = atob(jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    const { name, sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (unit) => unit.charCodeAt(0))));
    return String(name ?? sub ?? '');
  } catch {
    return '';
  }
}
