/** Which addresses a webhook may be sent to. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Network } from '../settings/networks.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

export interface AddressPolicy {
  /** Refuses this machine, and networks that the Internet does not reach, as well. */
  readonly denyPrivateNetworks: boolean;
  /** Never refused, whatever else is. */
  readonly allowedNetworks: readonly Network[];
}

const network = (cidr: string): Network => {
  const [address, prefix] = ipaddr.parseCIDR(cidr);
  return { address, prefix };
};

/** Ranges, in the words of ipaddr.js, that are refused where private networks are. */
const privateRanges = new Set(['loopback', 'private', 'carrierGradeNat', 'uniqueLocal']);

/** All of IPv6 that is given out: https://www.iana.org/assignments/ipv6-address-space */
const globalUnicast = network('2000::/3');

/** Services of clouds that tell a machine its credentials, where they are not link-local. */
const metadata = [
  network('100.100.100.200/32'), // Alibaba
  network('168.63.129.16/32'), // Azure
  network('fd00:ec2::/32'), // Amazon
  network('fd20:ce::254/128'), // Google
  network('fd00:c1::a9fe:a9fe/128'), // Oracle
  network('fd00:42::42/128'), // Scaleway
];

/** IPv6 addresses that lead to an IPv4 address: its first byte, and what its bytes are XORed with. */
const embeddings = [
  { within: network('::ffff:0:0/96'), at: 12, mask: 0 }, // mapped: RFC 4291, 2.5.5.2
  { within: network('::ffff:0:0:0/96'), at: 12, mask: 0 }, // translated: RFC 2765, 2.1
  { within: network('64:ff9b::/96'), at: 12, mask: 0 }, // NAT64: RFC 6052, 2.1
  { within: network('2002::/16'), at: 2, mask: 0 }, // 6to4: RFC 3056, 2
  { within: network('2001::/32'), at: 12, mask: 0xff }, // Teredo: RFC 4380, 4
];

/**
 * Whether the policy forbids to connect to an IP address. Link-local, metadata, multicast, broadcast,
 * unspecified and reserved addresses are forbidden wherever they are not allowed by name. An IPv6
 * address that leads to an IPv4 address is judged as that one. What cannot be read is forbidden.
 */
export function isForbidden(text: string, policy: AddressPolicy): boolean {
  if (isIP(text) === 0) return true;
  const address = unwrap(ipaddr.parse(text));
  const isWithin = (one: Network) => contains(one, address);
  if (policy.allowedNetworks.some(isWithin)) return false;
  if (metadata.some(isWithin)) return true;
  const range = address.range();
  if (privateRanges.has(range)) return policy.denyPrivateNetworks;
  return range !== 'unicast' || (address.kind() === 'ipv6' && !isWithin(globalUnicast));
}

const contains = ({ address, prefix }: Network, other: Address) =>
  address.kind() === other.kind() && other.match(address, prefix);

function unwrap(address: Address): Address {
  const embedding = embeddings.find(({ within }) => contains(within, address));
  if (!embedding) return address;
  const { at, mask } = embedding;
  const bytes = address.toByteArray().slice(at, at + 4);
  return ipaddr.fromByteArray(bytes.map((byte) => byte ^ mask));
}
