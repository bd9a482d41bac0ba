// Asks the test that runs this program for something that only it can do: see
// tests/processes/script.rs.

import { createInterface } from 'node:readline';

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Returns the name of the server that it was about, when it is done. */
export async function wish(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
  const { value, done } = await answers.next();
  if (done) {
    throw new Error(`no test answers ${JSON.stringify(what)}`);
  }
  return value;
}
