import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyIdOf, parseKeys, seal, unseal, type Binding } from '../../src/secrets/seal.js';

const newKey = () => randomBytes(32).toString('base64');
const [first, second] = parseKeys(`${newKey()}, ${newKey()}`) as [never, never];
const row: Binding = { subscription: 1, id: '7' };
const given = { owner: 'alice', url: 'https://a/', schema: 's', table: 't', name: '' };
const sealed = (binding: Binding = row, key = first, secret = 'whsec_a') =>
  seal(key, binding, secret, randomBytes(12));

describe('keys', () => {
  test('are of 32 bytes in base64, one or several', () => {
    expect(parseKeys(newKey())).toHaveLength(1);
    expect(parseKeys(` ${newKey()}\n${newKey()},${newKey()}\n`)).toHaveLength(3);
  });

  test.each(['', 'abc', randomBytes(31).toString('base64'), `${newKey()} abc`])(
    '%j is refused, and not quoted',
    (text) => {
      expect(() => parseKeys(text)).toThrow(
        expect.objectContaining({
          code: 'invalid_key',
          message: 'is not made of keys of 32 bytes in base64',
          hint: expect.stringContaining('openssl rand -base64 32'),
        }),
      );
    },
  );
});

describe('a secret', () => {
  test('comes back whole, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (secret) => {
        expect(unseal([second, first], [given, row], sealed(row, first, secret))).toBe(secret);
      }),
    );
  });

  test('looks different each time', () => {
    expect(sealed()).not.toBe(sealed());
    expect(sealed()).not.toContain('whsec');
  });

  test('can be opened by none but its key', () => {
    expect(() => unseal([second], [row], sealed())).toThrow(
      expect.objectContaining({
        code: 'unknown_key',
        message: expect.stringContaining(keyIdOf(sealed())!),
      }),
    );
  });

  test.each<[string, Binding]>([
    ['another row', { subscription: 1, id: '8' }],
    ['another subscription', { subscription: 2, id: '7' }],
    ['a new subscription', given],
  ])('cannot be opened for %s', (_, binding) => {
    expect(() => unseal([first], [binding], sealed())).toThrow(
      expect.objectContaining({ code: 'wrong_seal' }),
    );
  });

  test.each(['owner', 'url', 'schema', 'table', 'name'] as const)(
    'that was sealed beforehand cannot be opened with another %s',
    (part) => {
      const other = { ...given, [part]: 'other' };
      expect(unseal([first], [given], sealed(given))).toBe('whsec_a');
      expect(() => unseal([first], [other], sealed(given))).toThrow(
        expect.objectContaining({ code: 'wrong_seal' }),
      );
    },
  );

  test('cannot be opened when a byte of it was changed', () => {
    const text = sealed();
    const head = text.lastIndexOf(':') + 1;
    for (let i = head; i < text.length; i++) {
      const changed = `${text.slice(0, i)}${text[i] === 'A' ? 'B' : 'A'}${text.slice(i + 1)}`;
      if (
        Buffer.from(changed.slice(head), 'base64url').equals(
          Buffer.from(text.slice(head), 'base64url'),
        )
      )
        continue;
      expect(() => unseal([first], [row], changed)).toThrow(
        expect.objectContaining({ code: 'wrong_seal' }),
      );
    }
  });
});
