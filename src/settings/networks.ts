import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { usageError } from './usage.js';

/** All addresses that share the first `prefix` bits of `address`. */
export interface Network {
  readonly address: ipaddr.IPv4 | ipaddr.IPv6;
  readonly prefix: number;
}

/**
 * Reads networks separated by commas, such as `10.1.0.0/16, fd12::/16`; an address without a prefix
 * stands for itself.
 *
 * @throws a usage error where one of them is anything else.
 */
export const parseNetworks = (text: string): Network[] =>
  text.split(',').map((item) => parseNetwork(item.trim()));

function parseNetwork(text: string): Network {
  const [, address = '', digits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const longest = isIP(address) === 4 ? 32 : 128;
  const prefix = digits === undefined ? longest : Number(digits);
  if (isIP(address) === 0 || prefix > longest) {
    throw usageError(
      'invalid_network',
      `"${text}" is not a network`,
      'Write networks such as 10.1.0.0/16 or fd12::/16, separated by commas.',
    );
  }
  return { address: ipaddr.parse(address), prefix };
}
