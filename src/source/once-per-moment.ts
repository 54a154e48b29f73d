/**
 * Makes a function that does the work for a name at once, and once more at the end of the moment
 * where it was called again within it.
 */
export function oncePerMoment(
  work: (name: string) => void,
  momentMs: number,
  signal: AbortSignal,
): (name: string) => void {
  /** Whether it was called again. */
  const running = new Map<string, boolean>();
  const run = (name: string) => {
    running.set(name, false);
    work(name);
    const timer = setTimeout(() => {
      const isWanted = running.get(name);
      running.delete(name);
      if (isWanted && !signal.aborted) run(name);
    }, momentMs);
    timer.unref();
  };
  return (name) => {
    if (running.has(name)) running.set(name, true);
    else run(name);
  };
}
