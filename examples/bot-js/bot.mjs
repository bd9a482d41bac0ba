// A bot: enters a room, replies to `!ping` and `!members`. The client comes back after a lost connection by itself.
//
//   node examples/bot-js/bot.mjs [GATE [ROOM [NAME]]]
//
// GATE is host:port or a URL. Node before 22 needs --experimental-websocket. Outside of this repository import
// 'shaddock-client', the package in web/.

import { connect } from '../../web/pomelo-client.js';

const [gate = '127.0.0.1:3014', roomName = 'lobby', name = 'bot'] = process.argv.slice(2);

/** Returns the reply to a message, or undefined if it is not for the bot. */
function reply(text, room) {
  switch (text.trim()) {
    case '!ping':
      return 'pong';
    case '!members':
      return `${room.total} members are here`;
  }
}

const room = await connect({ gate, user: name, room: roomName });
console.log(`in ${roomName}`);

room.on('chat', async ({ from, target, msg }) => {
  const text = from === name ? undefined : reply(msg, room);
  if (text === undefined) {
    return;
  }
  console.log(`${from}: ${msg} -> ${text}`);
  try {
    // A whisper is answered with a whisper.
    await (target === '*' ? room.send(text) : room.whisper(from, text));
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
});

room.on('state', ({ state, delay, error }) => {
  if (state === 'reconnecting') {
    console.log(`${error?.message ?? 'the connection was lost'}; the next try is in ${Math.round(delay)} ms`);
  }
});

// The end: the server refused the bot, or kicked it for good.
room.on('close', ({ error }) => {
  console.error(error.message);
  process.exitCode = 1;
});
