import { describe, expect, test } from 'vitest';
import { createLog } from '../../src/log.js';

function capture(level: Parameters<typeof createLog>[0] = 'trace') {
  const lines: string[] = [];
  const log = createLog(level, { write: (line) => lines.push(line) });
  return { log, text: () => lines.join(''), entries: () => lines.map((line) => JSON.parse(line)) };
}

describe('the log', () => {
  test('writes one JSON object a line, with the name of the level and the time', () => {
    const { log, entries } = capture();
    log.info({ slot: 'pgstream_shop_slot' }, 'streaming');
    expect(entries()).toEqual([
      expect.objectContaining({
        level: 'info',
        msg: 'streaming',
        slot: 'pgstream_shop_slot',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      }),
    ]);
  });

  test('leaves out what is below its level', () => {
    const { log, entries } = capture('warn');
    log.info('quiet');
    log.warn('loud');
    expect(entries()).toEqual([expect.objectContaining({ msg: 'loud' })]);
  });

  test('hides passwords, secrets and authorization, also inside other objects', () => {
    const { log, text } = capture();
    log.info({ password: 'hunter2', subscription: { secret: 'hunter2' } }, 'one');
    log.info({ request: { headers: { authorization: 'hunter2', Authorization: 'hunter2' } } });
    log.child({ token: 'hunter2' }).info('three');
    expect(text()).not.toContain('hunter2');
    expect(text()).toContain('[Redacted]');
  });

  test('hides the password of a URL wherever it stands', () => {
    const { log, text } = capture();
    log.info({ url: 'https://me:hunter2@example.com/hook' }, 'posting');
    log.error(new Error('no answer from postgres://me:hunter2@db:5432/shop'));
    expect(text()).not.toContain('hunter2');
    expect(text()).toContain('https://me:[Redacted]@example.com/hook');
  });

  test('leaves URLs without a password alone', () => {
    const { log, text } = capture();
    log.info({ url: 'http://localhost:3000/@me', at: 'me@example.com' }, 'posting');
    expect(text()).toContain('http://localhost:3000/@me');
  });
});
