// Requests an action that only the test that runs this program can do: see
// tests/processes/script.rs.

import { createInterface } from 'node:readline';

const responses = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Returns the name of the server, when the action is done. */
export async function wish(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
  const { value, done } = await responses.next();
  if (done) {
    throw new Error(`no test replies ${JSON.stringify(what)}`);
  }
  return value;
}
