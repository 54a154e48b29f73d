import { describe, expect, test } from 'vitest';
import { formatFindings, isHealthy, type Finding } from '../../src/check/finding.js';
import { judgeServer } from '../../src/check/server.js';

const sound = { keepMegabytes: -1, senderTimeoutMs: 60_000, idleTimeoutSeconds: 0 };

describe('a server', () => {
  test.each([
    ['as it comes', 180_000, sound, []],
    ['that never gives a walsender up', 150_013, { ...sound, senderTimeoutMs: 0 }, []],
    ['of an old minor', 150_012, sound, ['warning old_minor']],
    [
      'that limits what a slot keeps',
      180_001,
      { ...sound, keepMegabytes: 0 },
      ['notice max_slot_wal_keep_size'],
    ],
    [
      'that drops idle slots',
      180_001,
      { ...sound, idleTimeoutSeconds: 60 },
      ['notice idle_replication_slot_timeout'],
    ],
    [
      'that is impatient',
      140_018,
      { ...sound, senderTimeoutMs: 5_000 },
      ['warning wal_sender_timeout'],
    ],
  ])('%s', (_, version, settings, expected) => {
    const found = judgeServer(version, settings);
    expect(found.map(({ severity, code }) => `${severity} ${code}`)).toEqual(expected);
  });
});

describe('findings', () => {
  const finding = (severity: Finding['severity']): Finding => ({
    severity,
    code: 'some_code',
    what: `some ${severity}`,
    next: 'do this;',
  });

  test('say what to do next', () => {
    expect(formatFindings([finding('error'), finding('warning')])).toBe(
      [
        'ERROR    some error',
        '         do this;',
        'WARNING  some warning',
        '         do this;',
      ].join('\n'),
    );
  });

  test('say when all is well, also beside a notice', () => {
    expect(formatFindings([])).toBe('OK       all is well');
    expect(formatFindings([finding('notice')])).toMatch(/^NOTICE.*\n.*\nOK/);
    expect(isHealthy([finding('notice')])).toBe(true);
    expect(isHealthy([finding('notice'), finding('warning')])).toBe(false);
  });
});
