import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isForbidden } from '../../src/delivery/address-policy.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;
beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

const policy = { denyPrivateNetworks: false, allowedNetworks: [] };

/** Addresses of all ranges that anybody has a rule for, of those next to them, and any others. */
const ipv4 = fc
  .tuple(
    fc.constantFrom(0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 239, 240, 255, 1, 8),
    fc.oneof(
      fc.constantFrom(0, 2, 16, 18, 19, 31, 51, 52, 63, 64, 88, 100, 113, 168, 175, 254, 255),
      fc.nat(255),
    ),
    fc.oneof(fc.constantFrom(0, 2, 48, 99, 100, 113, 129, 193, 196), fc.nat(255)),
    fc.oneof(fc.constantFrom(0, 16, 200, 254, 255), fc.nat(255)),
  )
  .map((bytes) => bytes.join('.'));

const networks = [
  '::',
  '::ffff:0:0',
  '::ffff:0:0:0',
  '64:ff9b::',
  '64:ff9b:1::',
  '100::',
  '2000::',
  '2001::',
  '2001:1ff::',
  '2001:200::',
  '2001:2::',
  '2001:3::',
  '2001:4:112::',
  '2001:10::',
  '2001:20::',
  '2001:db8::',
  '2002::',
  '2620:4f:8000::',
  '2620:4f:8001::',
  '2a00::',
  '3fff::',
  '3fff:1000::',
  '4000::',
  '5f00::',
  'fc00::',
  'fd00:ec2::',
  'fd20:ce::',
  'fd00:c1::',
  'fd00:42::',
  'fe80::',
  'fec0::',
  'ff00::',
].map((network) => ipaddr.parse(network).toByteArray());

const ipv6 = fc
  .tuple(
    fc.constantFrom(...networks),
    fc.nat(16),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    ipv4,
  )
  .map(([network, length, random, inner]) => {
    const tail = length === 12 ? [...random.slice(0, 12), ...inner.split('.').map(Number)] : random;
    return ipaddr
      .fromByteArray(network.map((byte, i) => (i < length ? byte : tail[i]!)))
      .toString();
  });

const known = [
  '::',
  '::1',
  '::2',
  'fd20:ce::254',
  'fd20:ce::253',
  'fd00:c1::a9fe:a9fe',
  'fd00:42::42',
  'fd00:ec2::254',
  '::ffff:a9fe:a9fe',
  '64:ff9b::a9fe:a9fe',
  '2002:a9fe:a9fe::1',
  'fe80::1',
  '100.100.100.200',
  '168.63.129.16',
  '169.254.169.254',
  '255.255.255.255',
  '0.0.0.0',
];

test('SQL and the runner forbid the same addresses', async () => {
  const drawn = fc.sample(fc.oneof(ipv4, ipv6), 20_000);
  const addresses = [...known, ...drawn];
  const rows = await sql<{ address: string; forbidden: boolean }[]>`
    select a as address, pgstream._is_forbidden(a::inet) as forbidden
    from jsonb_array_elements_text(${sql.json(addresses)}) a`;
  expect(rows).toHaveLength(addresses.length);
  const different = rows.filter(({ address, forbidden }) => {
    return forbidden !== isForbidden(address, policy);
  });
  expect(different).toEqual([]);
  expect(new Set(rows.map(({ forbidden }) => forbidden)).size).toBe(2);
});

describe('the host of a URL', () => {
  const hosts = fc.oneof(
    ipv4,
    fc
      .array(
        fc.oneof(
          fc.nat(70_000).map(String),
          fc.nat(70_000).map((n) => `0x${n.toString(16)}`),
          fc.nat(70_000).map((n) => `0${n.toString(8)}`),
          fc.nat(0xffffffff).map(String),
          fc.constantFrom('0x', '08', 'a', '00', '0xg', '256', '0X1F', 'example'),
        ),
        { minLength: 1, maxLength: 5 },
      )
      .map((parts) => parts.join('.')),
    ipv6.map((address) => `[${address}]`),
  );

  test('is the address that the sender takes it for, or none', async () => {
    const drawn = fc.sample(
      fc
        .tuple(hosts, fc.constantFrom('', '', '.'))
        .map(([host, dot]) => (host.startsWith('[') ? host : host + dot)),
      3_000,
    );
    const rows = await sql.begin(async (tx) => {
      await tx.unsafe(`
        create function pg_temp.address(host text) returns text language plpgsql as $$
        begin
          return coalesce(encode(substr(inet_send(pgstream._host_address(host)), 5), 'hex'), 'name');
        exception when invalid_text_representation then
          return 'invalid';
        end $$`);
      return tx<{ host: string; address: string }[]>`
        select h as host, pg_temp.address(h) as address
        from jsonb_array_elements_text(${tx.json(drawn)}) h`;
    });
    for (const { host, address } of rows) {
      expect(address, host).toBe(addressOf(host));
    }
  });

  const hexOf = (address: string) =>
    Buffer.from(ipaddr.parse(address).toByteArray()).toString('hex');

  /** By the parser of URLs that sends. */
  function addressOf(host: string): string {
    if (!URL.canParse(`http://${host}/`)) return 'invalid';
    const { hostname } = new URL(`http://${host}/`);
    if (hostname.startsWith('[')) return hexOf(hostname.slice(1, -1));
    return ipaddr.IPv4.isValidFourPartDecimal(hostname) ? hexOf(hostname) : 'name';
  }

  test.each([
    '169.254.169.254',
    '169.254.169.254.',
    '2852039166',
    '0xa9fea9fe',
    '0xA9.0xFE.0xA9FE',
    '0251.0376.0251.0376',
    '[::ffff:a9fe:a9fe]',
    '[::ffff:169.254.169.254]',
    '[fe80::1]',
    '[64:ff9b::a9fe:a9fe]',
    '[2002:a9fe:a9fe::1]',
    '[fd00:ec2::254]',
    '0',
    '255.255.255.255',
    '１６９.254.169.254',
    '169。254。169。254',
    '100.100.100.200:8080',
    '169.254.1',
  ])('%s is refused', async (host) => {
    await expect(
      sql`insert into pgstream.webhook_subscriptions (url) values (${`http://${host}/`})`,
    ).rejects.toMatchObject({
      code: '22023',
      message: expect.stringMatching(/^the url leads to /),
      hint: expect.stringContaining('PGSTREAM_WEBHOOK_ALLOWED_NETWORKS'),
    });
  });

  test('is taken where its network is allowed, which has to be a network', async () => {
    const insert = (networks: string) =>
      sql.begin(async (tx) => {
        await tx`select set_config('pgstream.allowed_networks', ${networks}, true)`;
        await tx`
          insert into pgstream.webhook_subscriptions (url) values ('http://169.254.7.1/')`;
      });
    await expect(insert('169.254.8.0/24')).rejects.toMatchObject({ code: '22023' });
    await expect(insert('x, 169.254.7.0/24')).rejects.toMatchObject({
      code: '22023',
      message: 'pgstream.allowed_networks is no list of networks',
    });
    await insert('fe80::/64, 169.254.7.0/24');
  });
});

test.each([
  [{ url: `http://a/${'x'.repeat(2_000)}` }, '22023', 'longer than 2000 bytes'],
  [{ name: 'x'.repeat(201) }, '22023', 'the name is longer than 200 bytes'],
  [{ table_name: 'x'.repeat(64) }, '42622', 'no table has a name of more than 63 bytes'],
  [{ schema_name: 'ü'.repeat(32) }, '42622', 'no table has a name of more than 63 bytes'],
  [{ headers: { a: 'x'.repeat(8_192) } }, '22023', 'more than 8192 bytes'],
  [
    { headers: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`h${i}`, ''])) },
    '22023',
    'more than 50 headers',
  ],
])('what is too long is refused: %#', async (row, code, message) => {
  const values = {
    url: 'http://localhost/',
    ...row,
    ...('headers' in row && { headers: sql.json(row.headers) }),
  };
  await expect(
    sql`insert into pgstream.webhook_subscriptions ${sql(values)}`,
  ).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
    hint: expect.any(String),
  });
});
