/**
 * Makes a function that starts the work, or, while it is under way, has it done once more
 * afterwards. `fail` is told of its errors.
 */
export function oneAtATime(work: () => Promise<void>, fail: (error: unknown) => void): () => void {
  let isWorking = false;
  let isWanted = false;
  const run = async () => {
    isWanted = true;
    if (isWorking) return;
    isWorking = true;
    try {
      while (isWanted) {
        isWanted = false;
        await work();
      }
    } finally {
      isWorking = false;
    }
  };
  return () => void run().catch(fail);
}
