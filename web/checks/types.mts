// What a program with types may write; checked, and never run.

import { ChatError, connect, type ChatMessage, type Room, type RoomState } from '../pomelo-client.js';

export async function chat(): Promise<void> {
  const room: Room = await connect({ gate: 'wss://chat.example', user: 'ann', room: 'lobby', sendTimeout: 5_000 });
  const told: ChatMessage[] = [];
  const off: () => void = room.on('chat', (message) => told.push(message));
  room.on('state', ({ state, delay }: RoomState) => console.log(state === 'reconnecting' ? delay.toFixed() : state));
  room.on('users', ({ users, total, names }) => console.log([...users].join(), total + 1, !names));
  room.on('gap', ({ from, to }) => console.log(from ?? 0, to ?? 0));
  try {
    const { seq } = await room.say('hello');
    await room.whisper('bob', `my ${seq ?? 0}`, { timeout: 1_000 });
  } catch (error) {
    if (error instanceof ChatError && error.unknown) {
      console.log(error.code, error.status);
    }
  }
  const page = await room.history({ before: told[0]?.seq, limit: 100 });
  console.log(page.messages[0]?.msg, page.cursor, (await room.members({ after: 'bob' })).cursor);
  // @ts-expect-error: there is no such event.
  room.on('nothing', () => {});
  // @ts-expect-error: a room comes from `connect`.
  new Room({});
  // @ts-expect-error: not by its users.
  room.total = 7;
  off();
  room.close();
}
