/** The limit of sending: bare-loop.mjs, in a process of its own. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** Posts a captured request so many times; the receiver's counters of all but the first `warmUp`. */
export async function postBare(
  receiver,
  { headers, body },
  { requests, connections, warmUp = 0, ...settings },
) {
  await receiver.set(settings);
  const child = fork(path.join(import.meta.dirname, 'bare-loop.mjs'));
  child.send({
    origin: receiver.url,
    headers,
    body: body.toString('base64'),
    requests,
    connections,
  });
  const failed = once(child, 'exit').then(([code]) => {
    if (code !== 0) throw new Error(`the bare loop ended with ${code}`);
    return undefined;
  });
  const events = headers['pgstream-event-ids']?.split(' ').length ?? 1;
  const stats = receiver.statsWithout(warmUp * events, requests * events);
  await failed;
  return stats;
}

/** Events a second, from the first to the last arrival. */
export const arrivalRate = ({ events, first, last }) => ((events - 1) / (last - first)) * 1000;
