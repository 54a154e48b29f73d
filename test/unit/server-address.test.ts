import { describe, expect, test } from 'vitest';
import { isLoopback, parseServerAddress } from '../../src/settings/server-address.js';

describe('an address to listen on', () => {
  test.each([
    ['127.0.0.1:9900', '127.0.0.1', 9900, true],
    ['127.1.2.3:1', '127.1.2.3', 1, true],
    ['localhost:0', 'localhost', 0, true],
    ['[::1]:9900', '::1', 9900, true],
    [':9900', undefined, 9900, false],
    ['0.0.0.0:9900', '0.0.0.0', 9900, false],
    ['[::]:9900', '::', 9900, false],
    ['127.0.0.1.example.com:80', '127.0.0.1.example.com', 80, false],
    ['10.0.0.7:65535', '10.0.0.7', 65_535, false],
  ])('%s is host %s, port %d; only this machine reaches it: %s', (text, host, port, loopback) => {
    const address = parseServerAddress(text);
    expect(address).toEqual({ host, port });
    expect(isLoopback(address)).toBe(loopback);
  });

  test.each([
    '',
    '9900',
    'localhost',
    'localhost:',
    '::1:9900',
    '[::1]',
    '[zz]:1',
    'a:65536',
    'a b:1',
  ])('cannot be %j', (text) => {
    expect(() => parseServerAddress(text)).toThrow(
      expect.objectContaining({ code: 'invalid_address', exitCode: 2 }),
    );
  });
});
