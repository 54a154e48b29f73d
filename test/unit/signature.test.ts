import { createHmac, createPublicKey, verify } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { HmacSha256 } from '../../src/delivery/hmac.js';
import { createSigner, parseSecret, sign } from '../../src/delivery/signature.js';

const bytes = (length: number) =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 89 + 41) % 256));
const whsec = (length: number) => `whsec_${bytes(length).toString('base64')}`;
const whsk = (key: Buffer) => `whsk_${key.toString('base64')}`;

// https://www.rfc-editor.org/rfc/rfc8032#section-7.1, test 1
const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const point = Buffer.from(
  'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  'hex',
);
const publicKey = createPublicKey({
  key: { kty: 'OKP', crv: 'Ed25519', x: point.toString('base64url') },
  format: 'jwk',
});

const timestamp = Math.floor(Date.now() / 1000);

/** What a receiver with the reference implementation says. */
function isValidV1(secret: string, header: string, id: string, body: Buffer): boolean {
  const headers = { id, timestamp: String(timestamp), signature: header };
  const named = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [`webhook-${name}`, value]),
  );
  try {
    new Webhook(secret).verify(body, named, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

function isValidV1a(header: string, id: string, body: Buffer): boolean {
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return header
    .split(' ')
    .filter((signature) => signature.startsWith('v1a,'))
    .some((signature) =>
      verify(null, signed, publicKey, Buffer.from(signature.slice(4), 'base64')),
    );
}

test('the published example of the specification has its signature', () => {
  const signer = createSigner('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
  const body = Buffer.from('{"test": 2432232314}');
  expect(signer('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, body)).toBe(
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  );
});

describe('a receiver accepts', () => {
  const old = whsec(24);
  const fresh = whsec(64);
  const secrets = [old, fresh, whsk(seed)].map(parseSecret);
  const accepts = (id: string, body: Buffer) => {
    const header = sign(secrets, id, timestamp, body);
    expect(isValidV1(old, header, id, body)).toBe(true);
    expect(isValidV1(fresh, header, id, body)).toBe(true);
    expect(isValidV1a(header, id, body)).toBe(true);
    return header;
  };

  test('2,000 bodies with each of three secrets', () => {
    const characters = fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 300 });
    const text = fc.oneof(
      characters.map((codes) => String.fromCodePoint(...codes)),
      fc.json(),
    );
    fc.assert(
      fc.property(fc.uuid(), text, (id, body) => void accepts(id, Buffer.from(body))),
      { numRuns: 2_000 },
    );
  });

  test.for([
    ['an empty body', ''],
    ['a body of many scripts', '{"a":"ä → 漢字 🐘 \\u0000 e\u0301"}'],
    ['a body of 1 MB', JSON.stringify({ text: '🐘é'.repeat(170_000) })],
  ])('%s', ([, body]) => void accepts('msg_1', Buffer.from(body!)));

  test('nothing that was altered', () => {
    const body = Buffer.from('{"a":1}');
    const header = accepts('msg_1', body);
    expect(isValidV1(old, header, 'msg_2', body)).toBe(false);
    expect(isValidV1(old, header, 'msg_1', Buffer.from('{"a":2}'))).toBe(false);
    expect(isValidV1(whsec(25), header, 'msg_1', body)).toBe(false);
    expect(isValidV1a(header, 'msg_2', body)).toBe(false);
    expect(isValidV1a(header, 'msg_1', Buffer.from('{"a":2}'))).toBe(false);
  });
});

test('there is one signature for each secret, in their order', () => {
  const body = Buffer.from('{}');
  const alone = [whsk(seed), whsec(24), whsec(32)].map((secret) =>
    sign([parseSecret(secret)], 'msg_1', 1, body),
  );
  expect(alone.map((signature) => signature.split(',')[0])).toEqual(['v1a', 'v1', 'v1']);
  const signer = createSigner(`${whsk(seed)} ${whsec(24)}  ${whsec(32)} `);
  expect(signer('msg_1', 1, body)).toBe(alone.join(' '));
});

test('a key that its public key follows signs like its seed', () => {
  const whole = whsk(Buffer.concat([seed, point]));
  const body = Buffer.from('{}');
  expect(createSigner(whole)('msg_1', 1, body)).toBe(createSigner(whsk(seed))('msg_1', 1, body));
});

describe('a secret is refused, and not repeated,', () => {
  test.for([
    ['empty', ''],
    ['without a prefix', bytes(24).toString('base64')],
    ['with a prefix only', 'whsec_'],
    ['with another prefix', `whpk_${point.toString('base64')}`],
    ['of 23 bytes', whsec(23)],
    ['of 65 bytes', whsec(65)],
    ['with a letter too many', `${whsec(24)}A`],
    ['without its padding', whsec(25).replace(/=+$/, '')],
    ['in the alphabet of URLs', `whsec_${Buffer.alloc(24, 0xff).toString('base64url')}`],
    ['in two lines', `${whsec(24)}\n`],
    ['with a seed of 31 bytes', whsk(seed.subarray(1))],
    ['with a seed of 33 bytes', whsk(Buffer.concat([seed, Buffer.alloc(1)]))],
    ["with another key's public key", whsk(Buffer.concat([seed, seed]))],
  ])('%s', ([, text]) => {
    const refused = expect.objectContaining({ code: 'invalid_secret', hint: expect.any(String) });
    let error: unknown;
    try {
      parseSecret(text!);
    } catch (caught) {
      error = caught;
    }
    expect(error).toEqual(refused);
    const shown = inspect(error);
    const base64 = text!.replace(/^\w*_/, '').trim();
    expect(base64 !== '' && shown.includes(base64)).toBe(false);
  });
});

test('a secret that is read shows nothing of itself', () => {
  const shown = inspect(parseSecret(whsec(24)), { depth: null });
  expect(shown).not.toContain(bytes(24).toString('base64'));
  expect(shown).not.toContain(bytes(24).toString('hex'));
});

test('HMACs are those of node:crypto, whatever the sizes and however the keys take turns', () => {
  const message = fc.record({
    key: fc.nat(2),
    head: fc.stringMatching(/^[ -~]{0,80}$/),
    body: fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ size: 'max', maxLength: 20_000 }),
    ),
  });
  const keys = fc.array(fc.uint8Array({ minLength: 24, maxLength: 64 }), {
    minLength: 3,
    maxLength: 3,
  });
  fc.assert(
    fc.property(keys, fc.array(message), (rawKeys, messages) => {
      const raw = rawKeys.map((key) => Buffer.from(key));
      const hmacs = raw.map((key) => new HmacSha256(key));
      for (const { key, head, body } of messages) {
        const expected = createHmac('sha256', raw[key]!).update(head).update(body);
        expect(hmacs[key]!.of(head, Buffer.from(body))).toBe(expected.digest('base64'));
      }
    }),
    { numRuns: 200 },
  );
  const edge = new HmacSha256(bytes(32));
  for (const length of [16_383, 16_384, 16_385, 100_000]) {
    const body = Buffer.alloc(length - 4, 'b');
    const expected = createHmac('sha256', bytes(32)).update('head').update(body).digest('base64');
    expect(edge.of('head', body)).toBe(expected);
  }
});
