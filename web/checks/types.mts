// Uses of the package in TypeScript; compiled, and never run.

import { ChatError, connect, PomeloSocket, queryEntry, type ChatMessage, type Room, type RoomState } from '../pomelo-client.js';

/**
 * As the declarations of the package `ws` have it, in what matters here: events of its own, and
 * more ways to call.
 */
declare class WsPackage {
  constructor(address: string | URL, options?: { perMessageDeflate?: boolean });
  constructor(address: string | URL, protocols?: string | string[], options?: { perMessageDeflate?: boolean });
  binaryType: 'nodebuffer' | 'arraybuffer' | 'fragments';
  onopen: ((event: { type: string; target: WsPackage }) => void) | null;
  onerror: ((event: { error: any; message: string; type: string; target: WsPackage }) => void) | null;
  onclose: ((event: { wasClean: boolean; code: number; reason: string; target: WsPackage }) => void) | null;
  onmessage: ((event: { data: string | ArrayBuffer | Uint8Array[]; type: string; target: WsPackage }) => void) | null;
  send(data: string | number | DataView | ArrayBufferView | Uint8Array | ArrayBuffer, callback?: (error?: Error) => void): void;
  send(data: string | ArrayBufferView, options: { binary?: boolean }, callback?: (error?: Error) => void): void;
  close(code?: number, data?: string | Uint8Array): void;
}

export async function elsewhere(): Promise<void> {
  await connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', WebSocket: WsPackage });
  await connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', WebSocket });
  const { host, port } = await queryEntry('ws://gate:3014', 'ann', { WebSocket: WsPackage });
  const socket = await PomeloSocket.open(`ws://${host}:${port}`, { WebSocket: WsPackage, onReceive: () => {} });
  socket.sendHeartbeat();
  await connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', jwt: 'a.b.c' });
  await connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', jwt: async () => (await fetch('/chat-token')).text() });
  // @ts-expect-error: no websocket.
  await connect({ gate: 'gate:3014', user: 'ann', room: 'lobby', WebSocket: Map });
}

export async function chat(): Promise<void> {
  const room: Room = await connect({ gate: 'wss://chat.example', user: 'ann', room: 'lobby', sendTimeout: 5_000 });
  const delivered: ChatMessage[] = [];
  const off: () => void = room.on('chat', (message) => delivered.push(message));
  room.on('state', ({ state, delay }: RoomState) => console.log(state === 'reconnecting' ? delay.toFixed() : state));
  room.on('users', ({ users, total, names }) => console.log([...users].join(), total + 1, !names));
  room.on('gap', ({ from, to }) => console.log(from ?? 0, to ?? 0));
  try {
    const { seq } = await room.send('hello');
    await room.whisper('bob', `my ${seq ?? 0}`, { timeout: 1_000 });
  } catch (error) {
    if (error instanceof ChatError && error.unknown) {
      console.log(error.code, error.status);
    }
  }
  const page = await room.history({ before: delivered[0]?.seq, limit: 100 });
  console.log(page.messages[0]?.msg, page.cursor, (await room.members({ after: 'bob' })).cursor);
  room.on('rule', ({ kind, until, time, ended }) => console.log(kind === 'mute' && !ended, until - time));
  room.on('expel', ({ reason }) => console.log(reason.length));
  room.on('rights', ({ rights }) => console.log(rights.has('moderate'), room.rights.has('send')));
  await room.mute('bob', { secs: 600, reason: 'too loud' });
  await room.unban({ uid: '4711' });
  const { time } = await room.expel({ name: 'bob' }, { timeout: 1_000 });
  console.log(time, new ChatError('muted', 'x', { until: 0 }).until ?? 0, new ChatError('slow').retry ?? 0);
  // @ts-expect-error: of two users.
  await room.ban({ name: 'bob', uid: '4711' });
  // @ts-expect-error: there is no such right.
  room.rights.has('fly');
  // @ts-expect-error: there is no such event.
  room.on('nothing', () => {});
  // @ts-expect-error: a room comes from `connect`.
  new Room({});
  // @ts-expect-error: not by its users.
  room.total = 7;
  off();
  room.close();
}
