import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { platform } from 'node:os';
import { expect, test } from 'vitest';
import { isKnownDead, thisHolder } from '../../src/lease/holder.js';
import { eventually } from '../helpers/poll.js';

const me = thisHolder();

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(child, 'close');
  return child.pid!;
}

test.runIf(platform() === 'linux')(
  'a process of this host that has ended is known dead',
  async () => {
    expect(isKnownDead({ ...me, pid: await deadPid() }, me)).toBe(true);
  },
);

test.runIf(platform() === 'linux')('a later process of the same number is not the holder', () => {
  expect(isKnownDead({ ...me, started: '1' }, me)).toBe(true);
});

test.runIf(platform() === 'linux')(
  'a process that was killed and not waited for is dead',
  async () => {
    // The parent starts a child that ends, and itself never asks how.
    const script = 'sleep 0 & echo $!; exec sleep 60';
    const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [pid] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
      await eventually(() => {
        expect(isKnownDead({ ...me, pid: Number(pid) }, me)).toBe(true);
      });
    } finally {
      parent.kill('SIGKILL');
    }
  },
);

test('a process that runs is not dead, nor is one that nothing is known of', async () => {
  expect(isKnownDead(me, me)).toBe(false);
  expect(isKnownDead(null, me)).toBe(false);
  const pid = await deadPid();
  for (const other of [
    { space: null, started: null },
    { space: 'another boot' },
    { host: 'another host' },
  ]) {
    expect(isKnownDead({ ...me, pid, ...other }, me)).toBe(false);
  }
});
