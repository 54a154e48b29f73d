import { describe, expect, test } from 'vitest';
import { isForbidden } from '../../src/delivery/address-policy.js';
import { parseNetworks } from '../../src/settings/networks.js';

const open = { denyPrivateNetworks: false, allowedNetworks: [] };
const strict = { denyPrivateNetworks: true, allowedNetworks: [] };
const allowing = (networks: string) => ({ ...strict, allowedNetworks: parseNetworks(networks) });

/** Every way to write an IPv4 address as part of an IPv6 address. */
function embed(address: string): string[] {
  const hex = (bytes: number[]) =>
    Buffer.from(bytes)
      .toString('hex')
      .replace(/(....)/, '$1:');
  const bytes = address.split('.').map(Number);
  return [
    `::ffff:${address}`,
    `::ffff:${hex(bytes)}`,
    `::ffff:0:${hex(bytes)}`,
    `64:ff9b::${hex(bytes)}`,
    `2002:${hex(bytes)}::1`,
    `2001:0:4136:e378:8000:63bf:${hex(bytes.map((byte) => byte ^ 0xff))}`,
  ];
}

const publicAddresses = ['1.1.1.1', '93.184.216.34', '172.32.0.1', '100.128.0.1', '11.0.0.1'];
const privateAddresses = [
  ['127.0.0.1', '127.255.255.254'],
  ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1'],
  ['100.64.0.1', '100.127.255.255'],
].flat();
const reservedAddresses = [
  ['0.0.0.0', '0.1.2.3'],
  ['169.254.0.1', '169.254.169.254', '169.254.170.2'],
  ['168.63.129.16', '100.100.100.200', '192.0.0.192'],
  ['224.0.0.1', '239.255.255.250'],
  ['255.255.255.255', '240.0.0.1'],
  ['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '192.88.99.1'],
].flat();

const withEmbeddings = (addresses: string[]) => addresses.flatMap((a) => [a, ...embed(a)]);

describe('an address that is', () => {
  test.for(withEmbeddings(publicAddresses).concat('2606:4700::1111', '2a00:1450::1'))(
    'public is free: %s',
    (address) => {
      expect(isForbidden(address, open)).toBe(false);
      expect(isForbidden(address, strict)).toBe(false);
    },
  );

  test.for(withEmbeddings(privateAddresses).concat('::1', 'fc00::1', 'fd12:3456::1'))(
    'private is free until private networks are denied: %s',
    (address) => {
      expect(isForbidden(address, open)).toBe(false);
      expect(isForbidden(address, strict)).toBe(true);
    },
  );

  const reservedIpv6 = [
    ['::', '::7f00:1', '100::1', '2001:db8::1', '3fff::1', '4000::1', '5f00::1', 'fec0::1'],
    ['fe80::1', 'fe80::1%eth0', 'ff02::1', 'ff0e::1', '64:ff9b:1::7f00:1', '2001:2::1'],
    ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe', 'fd00:42::42'],
  ].flat();
  test.for(withEmbeddings(reservedAddresses).concat(reservedIpv6))(
    'for special use is forbidden: %s',
    (address) => {
      expect(isForbidden(address, open)).toBe(true);
      expect(isForbidden(address, strict)).toBe(true);
    },
  );

  test.for(['', 'localhost', '1.2.3', '1.2.3.4.5', '1.2.3.4/8', '::g', '[::1]'])(
    'none is forbidden: "%s"',
    (address) => expect(isForbidden(address, open)).toBe(true),
  );
});

describe('the list of allowed networks', () => {
  const policy = allowing('10.1.0.0/16, 169.254.169.254, fd12::/16, 127.0.0.1/32');

  test.for(['10.1.2.3', '::ffff:10.1.2.3', '169.254.169.254', '64:ff9b::a9fe:a9fe', 'fd12:3::4'])(
    'wins: %s',
    (address) => expect(isForbidden(address, policy)).toBe(false),
  );

  test.for(['10.2.2.3', '169.254.169.253', 'fd13::1', '127.0.0.2', '::1'])(
    'has no say about others: %s',
    (address) => expect(isForbidden(address, policy)).toBe(true),
  );

  test('of all IPv6 does not let IPv4 addresses through in disguise', () => {
    for (const disguised of embed('127.0.0.1')) {
      expect(isForbidden(disguised, allowing('::/0'))).toBe(true);
    }
  });
});
