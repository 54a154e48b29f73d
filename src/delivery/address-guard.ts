/** Connects only to addresses that the policy lets through. */
import dns from 'node:dns/promises';
import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { buildConnector } from 'undici';
import { PgstreamError } from '../errors.js';
import { isForbidden, type AddressPolicy } from './address-policy.js';

/** All addresses of a host name. */
export type Lookup = (host: string) => Promise<readonly LookupAddress[]>;

/** Connects, and returns the socket at once, so that it can be destroyed while it is connecting. */
export type Connect = (
  options: buildConnector.Options,
  callback: buildConnector.Callback,
) => Socket | undefined;

/** Through the resolver of the system, which knows /etc/hosts; never cached. */
export const systemLookup: Lookup = (host) => dns.lookup(host, { all: true });

const forbidden = (host: string) =>
  new PgstreamError('forbidden_address', `the address of ${host} is forbidden by policy`, {
    hint: 'PGSTREAM_WEBHOOK_ALLOWED_NETWORKS names networks that are allowed all the same.',
  });

/**
 * A connector for undici that checks the addresses that it connects to: those written into a URL,
 * and every answer to a lookup. A name is looked up once a connection, so what is connected to is
 * what was checked; TLS still sees the name.
 */
export function guardedConnector(policy: AddressPolicy, lookup: Lookup): Connect {
  // One lookup of a name at a time: names that resolve slowly would otherwise take up the few
  // threads that all lookups share.
  const lookups = new Map<string, ReturnType<Lookup>>();
  const shared: Lookup = (host) => {
    let answer = lookups.get(host);
    if (!answer) {
      answer = lookup(host).finally(() => lookups.delete(host));
      lookups.set(host, answer);
    }
    return answer;
  };

  const checkedLookup: LookupFunction = (host, { all }, callback) => {
    shared(host).then(
      (answers) => {
        const allowed = answers.filter(({ address }) => !isForbidden(address, policy));
        const [first] = allowed;
        if (!first) callback(forbidden(host), '');
        else if (all) callback(null, allowed);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(error, ''),
    );
  };

  const connect = buildConnector({ timeout: 0, lookup: checkedLookup }) as Connect;
  return (options, callback) => {
    const { hostname } = options;
    // No lookup is made for an address.
    if (isIP(hostname) === 0 || !isForbidden(hostname, policy)) return connect(options, callback);
    queueMicrotask(() => callback(forbidden(hostname), null));
    return undefined;
  };
}
