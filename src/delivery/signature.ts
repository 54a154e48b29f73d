/**
 * Signatures of the Standard Webhooks specification.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createPrivateKey, createPublicKey, sign as signWith, type KeyObject } from 'node:crypto';
import { PgstreamError } from '../errors.js';
import { HmacSha256 } from './hmac.js';

/** A secret that is ready to sign with: `v1` is HMAC-SHA256, `v1a` ed25519. */
export type Secret =
  | { readonly scheme: 'v1'; readonly hmac: HmacSha256 }
  | { readonly scheme: 'v1a'; readonly key: KeyObject };

/** Gives the value of `webhook-signature`; the timestamp is in seconds since the epoch. */
export type Signer = (id: string, timestamp: number, body: Buffer) => string;

/** What a private key of ed25519 is preceded by in PKCS #8: https://www.rfc-editor.org/rfc/rfc8410 */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Reads `whsec_` and 24 to 64 bytes, or `whsk_` and the 32 bytes of an ed25519 seed, which its public
 * key may follow; both in base64.
 *
 * @throws PgstreamError `invalid_secret` where the text is anything else; it does not quote it.
 */
export function parseSecret(text: string): Secret {
  const [, prefix, base64 = ''] = /^(whsec|whsk)_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') === base64) {
    if (prefix === 'whsec' && bytes.length >= 24 && bytes.length <= 64) {
      return { scheme: 'v1', hmac: new HmacSha256(bytes) };
    }
    if (prefix === 'whsk' && (bytes.length === 32 || bytes.length === 64)) {
      const key = importSeed(bytes.subarray(0, 32));
      if (bytes.length === 32 || bytes.subarray(32).equals(publicBytes(key))) {
        return { scheme: 'v1a', key };
      }
    }
  }
  throw new PgstreamError('invalid_secret', 'a secret is not one of Standard Webhooks', {
    hint: 'Write whsec_ and 24 to 64 random bytes in base64, or whsk_ and an ed25519 key in base64.',
  });
}

/**
 * Refuses what SQL would refuse, of which it sees nothing any more once it is sealed.
 *
 * @throws PgstreamError `invalid_secret` unless the text is one or several secrets, separated by white
 * space, that look random; it does not quote them.
 */
export function checkSecrets(text: string): void {
  for (const secret of text.trim().split(/\s+/)) {
    parseSecret(secret);
    const bytes = Buffer.from(secret.slice(secret.indexOf('_') + 1), 'base64');
    if (new Set(bytes).size < fewestBytes) {
      throw new PgstreamError('invalid_secret', 'a secret is not random', {
        hint: 'Let a machine make one, e.g. openssl rand -base64 32',
      });
    }
  }
}

/** Whether `checkSecrets` has nothing against the text. */
export function isSecrets(text: string): boolean {
  try {
    checkSecrets(text);
    return true;
  } catch {
    return false;
  }
}

/** So many different ones a random secret has; the same as in the SQL function `pgstream._check_secret`. */
const fewestBytes = 12;

const importSeed = (seed: Buffer) =>
  createPrivateKey({ key: Buffer.concat([pkcs8Head, seed]), format: 'der', type: 'pkcs8' });

const publicBytes = (key: KeyObject) =>
  createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);

/**
 * The value of `webhook-signature`: one signature for each secret, in their order. The timestamp is
 * that of `webhook-timestamp`, in seconds since the epoch.
 */
export function sign(
  secrets: readonly Secret[],
  id: string,
  timestamp: number,
  body: Buffer,
): string {
  const head = `${id}.${timestamp}.`;
  let signatures = '';
  for (const secret of secrets) {
    if (signatures !== '') signatures += ' ';
    signatures += `${secret.scheme},${signature(secret, head, body)}`;
  }
  return signatures;
}

function signature(secret: Secret, head: string, body: Buffer): string {
  if (secret.scheme === 'v1') return secret.hmac.of(head, body);
  return signWith(null, Buffer.concat([Buffer.from(head), body]), secret.key).toString('base64');
}

/**
 * Prepares the secrets of a subscription, separated by spaces, to sign with all of them.
 *
 * @throws PgstreamError `invalid_secret`.
 */
export function createSigner(text: string): Signer {
  const secrets = text.trim().split(/\s+/).map(parseSecret);
  return (id, timestamp, body) => sign(secrets, id, timestamp, body);
}
