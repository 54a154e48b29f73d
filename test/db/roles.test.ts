import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { insertDelivery } from '../helpers/delivery-rows.js';
import { createRoles, type TestRole } from '../helpers/roles.js';

type Name = 'alice' | 'bob' | 'operator' | 'runner' | 'stranger';

let sql: postgres.Sql;
let roles: Record<Name, TestRole>;
/** Of Alice. */
let id: number;
let secret: string;
/** Of the database. */
let url: string;
const hook = 'https://alice.example/hook?token=5ecret';

/** Bob is a subscriber like Alice; neither reads the table of the other. */
beforeEach(async () => {
  secret = `whsec_${randomBytes(32).toString('base64')}`;
  const created = await createRoles<Name>({
    alice: '',
    bob: '',
    operator: '',
    runner: 'replication',
    stranger: '',
  });
  ({ roles } = created);
  ({ sql, url } = created.database);
  await sql.unsafe(`
    select pgstream.create_publications();
    create table of_alice (id integer primary key, card text);
    create table of_bob (id integer primary key, card text);
    grant select on of_alice to ${roles.alice.name};
    grant select (id) on of_bob to ${roles.bob.name};
    select pgstream.grant_subscriber('${roles.alice.name}');
    select pgstream.grant_subscriber('${roles.bob.name}');
    select pgstream.grant_operator('${roles.operator.name}');
    select pgstream.grant_runner('${roles.runner.name}')`);
  const [row] = await roles.alice.sql<{ id: string }[]>`
    insert into pgstream.webhook_subscriptions
      (url, schema_name, table_name, secret, headers)
    values (${hook}, 'public', 'of_alice', ${secret},
      ${sql.json({ authorization: 'Bearer 5ecret' })})
    returning id`;
  id = Number(row!.id);
  await insertDelivery(sql, id, {
    state: 'dead',
    webhook_id: 'evt_of_alice',
    body: '{"card":4242}',
  });
});

/** What a role gets to see when it runs the text: its rows, or the error with all that it says. */
async function tell(role: TestRole, text: string): Promise<string> {
  try {
    return JSON.stringify(await role.sql.unsafe(text));
  } catch (error) {
    const { code, message, detail, hint } = error as postgres.PostgresError;
    return `${code} ${[message, detail, hint].join(' ')}`;
  }
}

const snapshot = async () => {
  const rows = await sql`
    select (select jsonb_agg(s order by s.id) from pgstream.webhook_subscriptions s) as subscriptions,
      (select jsonb_agg(d order by d.webhook_id) from pgstream.webhook_deliveries d) as deliveries,
      (select jsonb_agg(k order by k.id) from pgstream.subscription_secrets k) as secrets`;
  return rows[0];
};

/** What Bob must never see. */
const ofAlice = /alice\.example|5ecret|whsec_|kept:|evt_of_alice|4242/;

describe('a subscriber', () => {
  test('has its own subscriptions, from making them to deleting them', async () => {
    const { alice } = roles;
    expect(await tell(alice, 'select owner, url from pgstream.webhook_subscriptions')).toBe(
      JSON.stringify([{ owner: alice.name, url: hook }]),
    );
    expect(
      await tell(
        alice,
        'select id::int, owner, dead::int, header_names from pgstream.webhook_status',
      ),
    ).toBe(JSON.stringify([{ id, owner: alice.name, dead: 1, header_names: ['authorization'] }]));
    expect(await tell(alice, 'select webhook_id from pgstream.deliveries')).toContain(
      'evt_of_alice',
    );
    expect(await tell(alice, `select pgstream.replay(${id})::int`)).toBe('[{"replay":1}]');
    await alice.sql`update pgstream.webhook_subscriptions set enabled = false, name = 'mine'`;
    await alice.sql`
      insert into pgstream.webhook_subscriptions (url, schema_name, table_name, name)
      values (${hook}, 'public', 'of_alice', 'mine')
      on conflict (url, schema_name, table_name, name) do update set rate = 10`;
    await alice.sql`delete from pgstream.deliveries`;
    await alice.sql`delete from pgstream.webhook_subscriptions`;
    expect(await snapshot()).toMatchObject({
      subscriptions: null,
      deliveries: null,
      secrets: null,
    });
  });

  test('publishes what it subscribes to, without owning it', async () => {
    const rows = await sql`
      select tablename from pg_publication_tables where pubname = 'pgstream_update'`;
    expect([...rows]).toEqual([{ tablename: 'of_alice' }]);
  });

  test.each([
    'select secret from pgstream.webhook_subscriptions',
    'select headers from pgstream.webhook_subscriptions',
    'select * from pgstream.webhook_subscriptions',
    'update pgstream.webhook_subscriptions set name = secret',
    `update pgstream.webhook_subscriptions set name = headers ->> 'authorization'`,
    'delete from pgstream.webhook_subscriptions returning secret',
    'select * from pgstream.subscription_secrets',
    'select * from pgstream.subscription_changes',
    'select body from pgstream.webhook_deliveries',
    'select lane_keys from pgstream.webhook_deliveries',
    'copy pgstream.webhook_subscriptions to stdout',
    'table pgstream.runner_lease',
    `update pgstream.webhook_subscriptions set owner = 'postgres'`,
    `insert into pgstream.webhook_subscriptions (url, owner) values ('http://a/', 'postgres')`,
    `insert into pgstream.webhook_subscriptions (url, id) overriding system value values ('http://a/', 1)`,
    `update pgstream.webhook_subscriptions set disabled_reason = 'x'`,
    `select pgstream.allow_rls('of_alice', 'postgres')`,
    `select pgstream._disable_subscription(1, 'x')`,
    `select pgstream.grant_operator(current_user::regrole)`,
    'select pgstream.reconcile()',
    'truncate pgstream.webhook_subscriptions',
    'alter table pgstream.webhook_subscriptions disable row level security',
    'create function pgstream.mine() returns int language sql return 1',
  ])('may not: %s', async (text) => {
    const before = await snapshot();
    expect(await tell(roles.alice, text)).toMatch(/^42501 /);
    expect(await snapshot()).toEqual(before);
  });
});

test('a subscriber that says what is for us to say is checked and published all the same', async () => {
  const { sql: alice, name } = roles.alice;
  await sql.unsafe(`
    create table more (id integer primary key);
    grant select on more to ${name}`);
  const change = (changed: string) =>
    alice.begin(async (tx) => {
      await tx`select set_config('pgstream.recheck', 'on', true)`;
      await tx.unsafe(`update pgstream.webhook_subscriptions set ${changed}`);
    });
  await expect(change(`url = 'ftp://alice.example'`)).rejects.toMatchObject({ code: '22023' });
  await expect(change(`table_name = 'of_bob'`)).rejects.toMatchObject({ code: '42501' });
  await expect(change(`filter = 'pg_sleep(1) is null'`)).rejects.toMatchObject({ code: '42501' });
  await change(`table_name = 'more'`);
  const published = await sql`
    select from pg_publication_tables where tablename = 'more' and pubname like 'pgstream%'`;
  expect(published).toHaveLength(2);
});

describe('nobody reaches what belongs to another', () => {
  const attacks: [string, (its: number) => string][] = [
    [
      'a look at the table',
      () => 'select id, url, name, owner from pgstream.webhook_subscriptions',
    ],
    ['a look at the status', () => 'select * from pgstream.webhook_status'],
    ['a look at the deliveries', () => 'select * from pgstream.deliveries'],
    [
      'counting',
      () =>
        'select count(*) + (select count(*) from pgstream.deliveries) - (select count(*) from pgstream.webhook_status) as n from pgstream.webhook_subscriptions',
    ],
    [
      'an update',
      () => `update pgstream.webhook_subscriptions set url = 'http://bob.example/' returning url`,
    ],
    ['a delete', () => 'delete from pgstream.webhook_subscriptions returning url'],
    ['a skip', () => 'delete from pgstream.deliveries returning webhook_id'],
    [
      'a change of deliveries',
      () => `update pgstream.deliveries set state = 'pending' returning webhook_id`,
    ],
    ['a row lock', () => 'select id from pgstream.webhook_subscriptions for update'],
    ['a row lock of deliveries', () => 'select webhook_id from pgstream.deliveries for update'],
    ['a replay', (its) => `select pgstream.replay(${its})`],
    ['a wait', (its) => `select pgstream.wait_delivered(${its})`],
    [
      'an upsert',
      () =>
        `insert into pgstream.webhook_subscriptions (url, schema_name, table_name) values ('${hook}', 'public', 'of_bob') on conflict (url, schema_name, table_name, name) do update set rate = 1 returning rate`,
    ],
    [
      'an upsert of the same',
      () =>
        `insert into pgstream.webhook_subscriptions (url, schema_name, table_name) values ('https://alice.example/other', 'public', 'of_alice')`,
    ],
    [
      'a function that is run before row security',
      () =>
        `create function pg_temp.leak(t text) returns boolean language plpgsql cost 0.0000001 as 'begin raise notice ''%'', t; return true; end'; select url from pgstream.webhook_status where pg_temp.leak(url)`,
    ],
    [
      'an error that tells',
      () => 'select 1 / (length(url) - length(url)) from pgstream.webhook_status',
    ],
    ['an error of a cast', () => 'select url::integer from pgstream.webhook_subscriptions'],
    [
      'planner statistics',
      () =>
        `select most_common_vals::text, histogram_bounds::text from pg_stats where schemaname = 'pgstream'`,
    ],
    [
      'statements under way',
      () =>
        `select query from pg_stat_activity where usename <> current_user and query like '%webhook%'`,
    ],
    ['definitions', () => 'select definition from pgstream.subscription_changes'],
    ['a role of another', () => 'set role postgres'],
    ['a session of another', () => 'set session authorization postgres'],
    [
      'turning row security off',
      () => 'set row_security = off; select url from pgstream.webhook_subscriptions',
    ],
    ['a publication', () => 'create publication mine for table pgstream.webhook_subscriptions'],
    ['changing our publication', () => 'alter publication pgstream_update add table of_bob'],
    ['a slot', () => `select pg_create_logical_replication_slot('mine', 'pgoutput')`],
    [
      'a foreign key',
      () => 'create temp table mine (id bigint references pgstream.webhook_subscriptions (id))',
    ],
    [
      'a trigger',
      () =>
        `create function pg_temp.f() returns trigger language plpgsql as 'begin return null; end'; create trigger mine before insert on pgstream.webhook_subscriptions for each row execute function pg_temp.f()`,
    ],
    ['a rule', () => 'create rule mine as on insert to pgstream.webhook_subscriptions do nothing'],
    [
      'a view of its own',
      () => 'create temp view mine as select * from pgstream.webhook_status; select * from mine',
    ],
    ['inheritance', () => 'create temp table mine () inherits (pgstream.webhook_subscriptions)'],
  ];

  test.each(attacks)('by %s', async (_, attack) => {
    const before = await snapshot();
    const seen: string[] = [];
    const { bob } = roles;
    for (const who of [bob, roles.stranger]) {
      const told = await tell(who, attack(id));
      seen.push(told);
      expect(told).not.toMatch(ofAlice);
    }
    const after = await snapshot();
    const rows = (state: postgres.Row | undefined, key: string) =>
      ((state?.[key] ?? []) as { owner?: string }[]).filter(({ owner }) => owner !== bob.name);
    for (const key of ['subscriptions', 'deliveries', 'secrets']) {
      expect(rows(after, key), key).toEqual(rows(before, key));
    }
    expect(seen[1]).toMatch(/^42501 |^\[.*\]$|^42P|^0A000|^22/);
  });

  test('by a subscription to a table that it may not read', async () => {
    const of = (table: string) =>
      `insert into pgstream.webhook_subscriptions (url, schema_name, table_name) values ('http://bob.example/', 'public', '${table}')`;
    expect(await tell(roles.bob, of('of_alice'))).toMatch(
      /^42501 permission denied for the changes/,
    );
    expect(await tell(roles.bob, of('of_bob'))).toBe('[]');
    expect(
      await tell(roles.bob, `update pgstream.webhook_subscriptions set table_name = 'of_alice'`),
    ).toMatch(/^42501 /);
    await sql.unsafe(`revoke select (id) on of_bob from ${roles.bob.name}`);
    expect(await tell(roles.bob, 'update pgstream.webhook_subscriptions set rate = 5')).toBe('[]');
  });

  test('by objects of the same name that stand before ours', async () => {
    const { bob } = roles;
    expect(
      await tell(
        bob,
        `create temp table webhook_subscriptions (id int, owner name);
         create temp table pg_roles (oid oid, rolname name, rolsuper boolean, rolbypassrls boolean);
         insert into pg_roles values (0, current_user, true, true);
         create temp table pg_class as select * from pg_catalog.pg_class;
         create function pg_temp.lower(text) returns text language plpgsql as
           'begin execute ''grant postgres to ${bob.name}''; return $1; end';
         set search_path = pg_temp, pg_catalog, public;
         insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
         values ('http://bob.example/', 'public', 'of_alice')`,
      ),
    ).toMatch(/^42501 permission denied for the changes/);
    expect(await tell(bob, 'select url from pgstream.webhook_status')).toBe('[]');
  });

  test('by a table with row-level security, until an administrator allows it', async () => {
    const { bob } = roles;
    await sql.unsafe('alter table of_bob enable row level security');
    const subscribe = `insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
      values ('http://bob.example/', 'public', 'of_bob')`;
    expect(await tell(bob, subscribe)).toMatch(/^42501 .*row-level security.*pgstream\.allow_rls/);
    await sql`select pgstream.allow_rls('of_bob', ${bob.name})`;
    expect(await tell(bob, subscribe)).toBe('[]');
  });

  test('nor by a right to do it all that was granted on the tables themselves', async () => {
    const { bob } = roles;
    await sql.unsafe(`grant all on all tables in schema pgstream to ${bob.name}`);
    expect(await tell(bob, 'select * from pgstream.webhook_subscriptions')).toBe('[]');
    for (const text of [
      `insert into pgstream.webhook_subscriptions (url, owner) values ('http://b/', '${roles.alice.name}')`,
      `insert into pgstream.webhook_subscriptions (url, owner) values ('http://b/', null)`,
    ]) {
      expect(await tell(bob, text)).toMatch(/^42501 |^23502 /);
    }
    expect(
      await tell(bob, `insert into pgstream.webhook_subscriptions (url) values ('http://b/')`),
    ).toBe('[]');
    expect(
      await tell(bob, `update pgstream.webhook_subscriptions set owner = '${roles.alice.name}'`),
    ).toMatch(/^42501 the owner of a subscription cannot be set/);
  });
});

describe('an operator', () => {
  test('sees all, pauses, replays and skips', async () => {
    const { operator } = roles;
    expect(await tell(operator, 'select id::int, url from pgstream.webhook_status')).toBe(
      JSON.stringify([{ id, url: hook }]),
    );
    expect(await tell(operator, 'update pgstream.webhook_subscriptions set enabled = false')).toBe(
      '[]',
    );
    expect(await tell(operator, `select pgstream.replay(${id})::int`)).toBe('[{"replay":1}]');
    expect(await tell(operator, 'select state from pgstream.replication_status')).toBe('[]');
    expect(await tell(operator, 'select state from pgstream.status')).toContain('followed');
    expect(await tell(operator, 'delete from pgstream.deliveries')).toBe('[]');
    expect(await snapshot()).toMatchObject({
      subscriptions: [{ enabled: false }],
      deliveries: null,
    });
  });

  test.each([
    `update pgstream.webhook_subscriptions set url = 'http://operator.example/'`,
    `update pgstream.webhook_subscriptions set secret = null`,
    'delete from pgstream.webhook_subscriptions',
    `insert into pgstream.webhook_subscriptions (url) values ('http://operator.example/')`,
    'select secret from pgstream.webhook_subscriptions',
    'select headers from pgstream.webhook_subscriptions',
    'select * from pgstream.subscription_secrets',
    'select body from pgstream.webhook_deliveries',
  ])('may not: %s', async (text) => {
    const before = await snapshot();
    expect(await tell(roles.operator, text)).toMatch(/^42501 /);
    expect(await snapshot()).toEqual(before);
  });

  test('who subscribes as well has of others no more than an operator has', async () => {
    const { operator } = roles;
    await sql`select pgstream.grant_subscriber(${operator.name})`;
    const before = await snapshot();
    for (const text of [
      `update pgstream.webhook_subscriptions set url = 'http://operator.example/'`,
      `update pgstream.webhook_subscriptions set secret = null`,
    ]) {
      expect(await tell(operator, text)).toMatch(/^42501 subscription \d+ belongs to role/);
    }
    expect(await tell(operator, 'delete from pgstream.webhook_subscriptions')).toBe('[]');
    expect(await snapshot()).toEqual(before);
  });
});

describe('what was granted', () => {
  const count = async (role: TestRole) => {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::integer as count from (
        select relacl as acl from pg_class where relnamespace = 'pgstream'::regnamespace
        union all select proacl from pg_proc where pronamespace = 'pgstream'::regnamespace
        union all select nspacl from pg_namespace where nspname = 'pgstream'
        union all select attacl from pg_attribute a join pg_class c on c.oid = a.attrelid
          where c.relnamespace = 'pgstream'::regnamespace
      ) all_of_it, aclexplode(acl) a where a.grantee = ${role.name}::regrole`;
    return row!.count;
  };

  test.each(['subscriber', 'operator', 'runner'])('to a %s is taken back', async (kind) => {
    const { stranger } = roles;
    await sql.unsafe(`select pgstream.grant_${kind}('${stranger.name}')`);
    const once = await count(stranger);
    expect(once).toBeGreaterThan(0);
    await sql.unsafe(`select pgstream.grant_${kind}('${stranger.name}')`);
    expect(await count(stranger)).toBe(once);
    await sql.unsafe(`select pgstream.revoke_${kind}('${stranger.name}')`);
    expect(await count(stranger)).toBe(0);
    await sql.unsafe(`select pgstream.revoke_${kind}('${stranger.name}')`);
  });

  test('as another kind stays', async () => {
    const { alice } = roles;
    const before = await count(alice);
    await sql.unsafe(`select pgstream.grant_runner('${alice.name}')`);
    await sql.unsafe(`select pgstream.revoke_runner('${alice.name}')`);
    expect(await count(alice)).toBe(before);
  });

  test('to a runner says what else it needs', async () => {
    const notices: postgres.Notice[] = [];
    const talkative = postgres(url, { max: 1, onnotice: (notice) => void notices.push(notice) });
    await talkative`select pgstream.grant_runner(${roles.runner.name})`;
    expect(notices).toEqual([]);
    await talkative`select pgstream.grant_runner(${roles.stranger.name})`;
    await talkative.end();
    expect(notices).toMatchObject([
      {
        message: `role ${roles.stranger.name} also needs LOGIN and REPLICATION`,
        hint: expect.stringContaining(`alter role ${roles.stranger.name} login replication`),
      },
    ]);
  });
});

describe('an administrator', () => {
  test('gives a subscription to another role, and to none that does not exist', async () => {
    await sql`update pgstream.webhook_subscriptions set owner = ${roles.alice.name}`;
    await expect(
      sql`update pgstream.webhook_subscriptions set owner = 'nobody'`,
    ).rejects.toMatchObject({ code: '42704' });
    await expect(
      sql`update pgstream.webhook_subscriptions set owner = ${roles.bob.name}`,
    ).rejects.toMatchObject({ code: '42501' });
    await sql.unsafe(`grant select on of_alice to ${roles.bob.name}`);
    await sql`update pgstream.webhook_subscriptions set owner = ${roles.bob.name}`;
    expect(await tell(roles.bob, 'select url from pgstream.webhook_status')).toContain(hook);
    expect(await tell(roles.alice, 'select url from pgstream.webhook_status')).toBe('[]');
  });
});
