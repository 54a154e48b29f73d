// Imported: keeps what is temporary in memory, where there is plenty of it. To make a database takes
// a tenth of the time there.
import { existsSync, statfsSync } from 'node:fs';

const memory = '/dev/shm';
const enough = 6e9;

if (existsSync(memory)) {
  const { bavail, bsize } = statfsSync(memory);
  if (bavail * bsize > enough) process.env.TMPDIR ??= memory;
}
