/**
 * Secrets at rest: AES-256-GCM, bound to what they are for, so that a sealed secret is of no use
 * anywhere else. The text is `sealed:v1:`, the id of the key, `:`, and base64url of nonce,
 * ciphertext and tag.
 */
import { createCipheriv, createDecipheriv, createHash, type BinaryLike } from 'node:crypto';
import { PgstreamError } from '../errors.js';

export interface Key {
  /** Tells keys apart, and nothing of what they are. */
  readonly id: string;
  readonly bytes: Buffer;
}

/** What a secret is for. */
export type Binding =
  /** A row of `pgstream.subscription_secrets`. */
  | { readonly subscription: number; readonly id: string }
  /** A subscription that is yet to be made, by its owner. */
  | {
      readonly owner: string;
      readonly url: string;
      readonly schema: string;
      readonly table: string;
      readonly name: string;
    };

const algorithm = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const shape = /^sealed:v1:([0-9a-f]{8}):([A-Za-z0-9_-]+)$/;

/**
 * Reads keys, each of 32 bytes in base64, separated by white space or commas. The first one seals,
 * all of them open.
 *
 * @throws PgstreamError `invalid_key`, without quoting it.
 */
export function parseKeys(text: string): readonly Key[] {
  return text
    .trim()
    .split(/[\s,]+/)
    .map((encoded) => {
      const bytes = Buffer.from(encoded, 'base64');
      if (bytes.length !== keyBytes) {
        throw new PgstreamError('invalid_key', 'is not made of keys of 32 bytes in base64', {
          hint: 'Make one: openssl rand -base64 32',
        });
      }
      return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 8), bytes };
    });
}

export const isSealed = (text: string): boolean => text.startsWith('sealed:');

/** The id of the key that a secret is sealed with; undefined where it is not sealed. */
export const keyIdOf = (text: string): string | undefined => shape.exec(text)?.[1];

/** Seals a secret; the nonce of 12 random bytes must never be used again with the key. */
export function seal(key: Key, binding: Binding, secret: string, nonce: Buffer): string {
  const cipher = createCipheriv(algorithm, key.bytes, nonce, { authTagLength: tagBytes });
  cipher.setAAD(contextOf(binding));
  const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  const sealed = Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url');
  return `sealed:v1:${key.id}:${sealed}`;
}

/**
 * Opens a secret that was sealed for one of the bindings.
 *
 * @throws PgstreamError `unknown_key` or `wrong_seal`.
 */
export function unseal(keys: readonly Key[], bindings: readonly Binding[], text: string): string {
  const [, keyId, encoded = ''] = shape.exec(text) ?? [];
  const key = keys.find(({ id }) => id === keyId);
  if (!key) {
    throw new PgstreamError(
      'unknown_key',
      `the secret is sealed with key ${keyId ?? '?'}, which the runner does not hold`,
      { hint: 'Add the key to PGSTREAM_SECRET_KEY, or give the subscription a new secret.' },
    );
  }
  const bytes = Buffer.from(encoded, 'base64url');
  for (const binding of bindings) {
    const opened = open(key, binding, bytes);
    if (opened !== undefined) return opened;
  }
  throw new PgstreamError('wrong_seal', 'the secret was sealed for another subscription', {
    hint: 'Seal it for this one: pgstream seal; or give the subscription a new secret.',
  });
}

function open(key: Key, binding: Binding, bytes: Buffer): string | undefined {
  if (bytes.length < nonceBytes + tagBytes) return undefined;
  const decipher = createDecipheriv(algorithm, key.bytes, bytes.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(contextOf(binding));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    const text = decipher.update(bytes.subarray(nonceBytes, -tagBytes));
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  } catch {
    return undefined;
  }
}

const contextOf = (binding: Binding): NodeJS.ArrayBufferView & BinaryLike =>
  Buffer.from(
    JSON.stringify(
      'subscription' in binding
        ? ['kept', binding.subscription, binding.id]
        : ['given', binding.owner, binding.url, binding.schema, binding.table, binding.name],
    ),
  );
