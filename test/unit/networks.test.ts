import { expect, test } from 'vitest';
import { parseNetworks } from '../../src/settings/networks.js';
import { loadSettings } from '../../src/settings/settings.js';

const load = (env: Record<string, string>) =>
  loadSettings({ env: { PGSTREAM_POSTGRES_LISTENER_URL: 'postgres://localhost/app', ...env } });

const written = (text: string) =>
  parseNetworks(text).map(({ address, prefix }) => `${address.toString()}/${prefix}`);

test('networks are read with and without a prefix, and with blanks around them', () => {
  expect(written('10.1.0.0/16')).toEqual(['10.1.0.0/16']);
  expect(written('10.1.2.3, fd12::/16 ,::1,0.0.0.0/0')).toEqual([
    '10.1.2.3/32',
    'fd12::/16',
    '::1/128',
    '0.0.0.0/0',
  ]);
});

test.for([
  '10.0.0.0/33',
  '::/129',
  '10.0.0.0/',
  '10/8',
  '2130706433',
  '0x7f.1',
  '010.0.0.1',
  'internal.example',
  '*',
  'fe80::1%eth0',
  '10.0.0.0/8,',
  '10.0.0.0/8 192.168.0.0/16',
])('"%s" is not a list of networks', (text) => {
  const refused = { code: 'invalid_network', hint: expect.stringContaining('10.1.0.0/16') };
  expect(() => parseNetworks(text)).toThrow(expect.objectContaining(refused));
});

test('webhooks may go to private networks, and nowhere else that is special, when nothing is set', () => {
  expect(load({}).addresses).toEqual({ denyPrivateNetworks: false, allowedNetworks: [] });
});

test('the settings say where webhooks may go', () => {
  const env = {
    PGSTREAM_WEBHOOK_DENY_PRIVATE_NETWORKS: 'true',
    PGSTREAM_WEBHOOK_ALLOWED_NETWORKS: '10.1.0.0/16',
  };
  expect(load(env).addresses).toEqual({
    denyPrivateNetworks: true,
    allowedNetworks: parseNetworks('10.1.0.0/16'),
  });
});

test.for([
  ['PGSTREAM_WEBHOOK_DENY_PRIVATE_NETWORKS', 'maybe', 'must be true or false'],
  ['PGSTREAM_WEBHOOK_ALLOWED_NETWORKS', '10.0.0.0/8, intranet', '"intranet" is not a network'],
] as const)('%s=%s is refused', ([name, value, message]) => {
  expect(() => load({ [name]: value })).toThrow(`environment ${name}: ${message}`);
});
