import { constants } from 'node:os';

/** Fires on the first SIGTERM, SIGINT or SIGHUP, which is told; the second one ends the process. */
export function stopSignal(told: (signal: string) => void): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + constants.signals[name]);
      told(name);
      controller.abort();
    });
  }
  return controller.signal;
}
