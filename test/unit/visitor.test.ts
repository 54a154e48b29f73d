import { describe, expect, test } from 'vitest';
import { refusalOf, type Visitor } from '../../src/server/visitor.js';

const statusOf = (visitor: Partial<Visitor>, listening = '127.0.0.1') =>
  refusalOf({ hosts: ['localhost:9900'], origins: [], target: '/webhooks', ...visitor }, listening)
    ?.status;

describe('without a token', () => {
  test.each([
    'localhost',
    'localhost:9900',
    'LocalHost:1',
    '127.0.0.1',
    '127.0.0.1:65535',
    '[::1]',
    '[::1]:9900',
  ])('a request to %s is answered', (host) => {
    expect(statusOf({ hosts: [host] })).toBe(undefined);
  });

  test.each([
    'evil.example',
    'evil.example:9900',
    'localhost.evil.example',
    'localhost:9900@evil.example',
    'evil.example#localhost',
    'localhost.',
    'localhost:9900:1',
    'localhost:',
    '127.0.0.1.evil.example',
    '127.0.0.2',
    '127.1',
    '2130706433',
    '0.0.0.0:9900',
    '10.0.0.7:9900',
    '::1',
    '[::ffff:127.0.0.1]:9900',
    '[::]:9900',
    ' localhost',
    '',
  ])('a request to "%s" is none of ours', (host) => {
    expect(statusOf({ hosts: [host] })).toBe(421);
  });

  test('the address that it listens on is a name of it, too', () => {
    expect(statusOf({ hosts: ['127.1.2.3:9900'] }, '127.1.2.3')).toBe(undefined);
    expect(statusOf({ hosts: ['127.1.2.3:9900'] })).toBe(421);
    expect(statusOf({ hosts: ['[::1]:9900'] }, '::1')).toBe(undefined);
    expect(statusOf({ hosts: [''] }, 'localhost')).toBe(421);
  });

  test('of several names each has to be ours, and none at all is what no browser sends', () => {
    expect(statusOf({ hosts: ['localhost', 'evil.example'] })).toBe(421);
    expect(statusOf({ hosts: ['evil.example', 'localhost'] })).toBe(421);
    expect(statusOf({ hosts: [] })).toBe(undefined);
  });

  test.each([
    ['http://evil.example/webhooks', 421],
    ['http://evil.example:9900', 421],
    ['http://localhost:9900@evil.example/', 421],
    ['http:///webhooks', 421],
    ['HTTPS://EVIL.EXAMPLE?/localhost', 421],
    ['http://localhost:9900/webhooks', undefined],
    ['//evil.example/webhooks', undefined],
    ['*', undefined],
  ])('a request for %s is judged by the name in it: %s', (target, status) => {
    expect(statusOf({ target })).toBe(status);
  });

  test.each([
    ['http://localhost:3000', undefined],
    ['https://127.0.0.1', undefined],
    ['http://[::1]:9900', undefined],
    ['HTTP://LOCALHOST', undefined],
    ['http://evil.example', 403],
    ['http://evil.example:9900', 403],
    ['http://localhost.evil.example', 403],
    ['http://localhost@evil.example', 403],
    ['chrome-extension://localhost', 403],
    ['file://', 403],
    ['null', 403],
    ['', 403],
  ])('a page of origin "%s" is answered: %s', (origin, status) => {
    expect(statusOf({ origins: [origin] })).toBe(status);
    expect(statusOf({ origins: ['http://localhost', origin] })).toBe(status);
  });
});
