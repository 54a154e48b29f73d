import { createHmac, hash } from 'node:crypto';

/** Of SHA-256, in bytes. */
const block = 64;
const digestBytes = 32;
/** Longer messages are not copied. */
const mostCopied = 16 * 1024;
/** A padded key, and behind it the message. */
const scratch = Buffer.allocUnsafeSlow(block + mostCopied);
let keyInScratch: Buffer | undefined;

/**
 * HMAC-SHA256 with one key, of a text of ASCII characters and the bytes behind it, in base64. For short
 * messages it hashes twice itself (https://www.rfc-editor.org/rfc/rfc2104), since each `Hmac` of
 * node:crypto is an object that has to be collected in a way of its own.
 */
export class HmacSha256 {
  readonly #key: Buffer;
  /** The key, padded; behind the outer one is room for the inner digest. */
  readonly #inner = Buffer.alloc(block, 0x36);
  readonly #outer = Buffer.alloc(block + digestBytes, 0x5c);

  /** `key` has at most 64 bytes. */
  constructor(key: Buffer) {
    this.#key = key;
    for (const [i, byte] of key.entries()) {
      this.#inner[i]! ^= byte;
      this.#outer[i]! ^= byte;
    }
  }

  of(head: string, body: Buffer): string {
    const length = head.length + body.length;
    if (length > mostCopied) {
      return createHmac('sha256', this.#key).update(head).update(body).digest('base64');
    }
    if (keyInScratch !== this.#inner) scratch.set(this.#inner);
    keyInScratch = this.#inner;
    scratch.write(head, block, 'latin1');
    scratch.set(body, block + head.length);
    const message = scratch.subarray(0, block + length);
    this.#outer.write(hash('sha256', message, 'binary'), block, 'binary');
    return hash('sha256', this.#outer, 'base64');
  }
}
