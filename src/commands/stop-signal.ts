import { constants } from 'node:os';
import type { Log } from '../log.js';

/** Fires on the first SIGTERM, SIGINT or SIGHUP; the second one ends the process. */
export function stopSignal(log: Log): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + constants.signals[name]);
      log.info({ signal: name }, 'stopping: finishing what is under way');
      controller.abort();
    });
  }
  return controller.signal;
}
