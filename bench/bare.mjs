/** The limit of sending: bare-loop.mjs, in a process of its own. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** A loop that posts a captured request over so many connections. */
export async function startBare(receiver, { headers, body }, connections) {
  const child = fork(path.join(import.meta.dirname, 'bare-loop.mjs'));
  const exit = once(child, 'exit');
  const failed = exit.then(([code]) => {
    throw new Error(`the bare loop ended with ${code}`);
  });
  failed.catch(() => undefined);
  const told = () => Promise.race([once(child, 'message'), failed]);
  child.send({ origin: receiver.url, headers, body: body.toString('base64'), connections });
  await told();
  const events = headers['pgstream-event-ids']?.split(' ').length ?? 1;
  return {
    /** Posts it so many times; the receiver's counters of all but the first `before`. */
    async post(requests, { before = 0, ...settings } = {}) {
      await receiver.set(settings);
      const stats = receiver.statsWithout(before * events, requests * events);
      const answered = told();
      child.send(requests);
      await answered;
      return stats;
    },
    async stop() {
      child.kill();
      await exit;
    },
  };
}

/** Events a second, from the first to the last arrival. */
export const arrivalRate = ({ events, first, last }) => ((events - 1) / (last - first)) * 1000;
