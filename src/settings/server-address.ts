import { isIPv6 } from 'node:net';
import { usageError } from './usage.js';

/** Where the HTTP server listens; without a `host` on every interface. */
export interface ServerAddress {
  host: string | undefined;
  /** 0 lets the system choose one. */
  port: number;
}

/**
 * Reads `host:port`, `[::1]:port` or `:port`.
 *
 * @throws a usage error where the text is anything else.
 */
export function parseServerAddress(text: string): ServerAddress {
  const [, ipv6, name, digits] = /^(?:\[([^\]]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (!(port <= 65_535) || (ipv6 !== undefined && !isIPv6(ipv6))) {
    throw usageError(
      'invalid_address',
      `"${text}" is not an address to listen on`,
      'Write host:port, such as 127.0.0.1:9900 or [::1]:9900, or :9900 for every interface.',
    );
  }
  return { host: (ipv6 ?? name) || undefined, port };
}

/** Whether only this machine can reach the address. */
export const isLoopback = ({ host }: ServerAddress): boolean =>
  host !== undefined &&
  (/^127(\.\d{1,3}){3}$/.test(host) || host === '::1' || host === 'localhost');
