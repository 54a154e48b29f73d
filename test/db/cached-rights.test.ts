import postgres from 'postgres';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRoles } from '../helpers/roles.js';

/**
 * A superuser refreshes a copy that belongs to mallory, who has attached code to it. Whatever that
 * code does, it says who runs it: by a row, and, where it is not mallory, by a sequence, which a
 * rollback does not take back.
 */
async function createCopy() {
  const { database, roles } = await createRoles({ mallory: '' });
  const { mallory } = roles;
  const admin = postgres(database.url, { max: 1, onnotice: () => undefined });
  onTestFinished(async () => {
    await admin.unsafe(`drop owned by ${mallory.name} cascade`);
    await admin.end({ timeout: 1 });
  });
  await admin.unsafe(`
    create schema lair authorization ${mallory.name};
    create table lair.marks (what text, who name);
    create sequence lair.escapes;
    grant all on lair.marks, lair.escapes to public;
    create function lair.mark(what text) returns boolean language plpgsql as $$
    begin
      if current_user <> '${mallory.name}' then
        perform nextval('lair.escapes');
      end if;
      insert into lair.marks values (what, current_user);
      return true;
    end $$;
    create table source (id integer primary key, note text);
    insert into source select n, 'note ' || n from generate_series(1, 10) n;
    grant select on source to ${mallory.name};
    create table other (id integer primary key);
    select pgstream.cache_foreign_table('source', 'lair.copy', key_columns => '{id}');
    alter table lair.copy owner to ${mallory.name};`);
  await mallory.sql.unsafe(`
    create function lair.mark_it() returns trigger language plpgsql as $$
    begin
      perform lair.mark(tg_argv[0]);
      return coalesce(new, old);
    end $$;
    create function lair.marked(anything text) returns text immutable language plpgsql as $$
    begin
      perform lair.mark('immutable');
      return anything;
    end $$;`);

  const change = () =>
    admin.unsafe(`
      insert into source select max(id) + 1, 'new' from source;
      update source set note = note || '.' where id = 1;
      delete from source where id = (select min(id) from source where id > 1)`);
  /** The session of the superuser, as others that come later find it. */
  const session = async () => {
    const settings = await admin`
      select name, setting from pg_settings where name not like 'transaction%' order by name`;
    const [rest] = await admin`
      select current_user::text, session_user::text,
        (select count(*)::int from pg_prepared_statements where name not like '%\\_%') as prepared,
        (select count(*)::int from pg_cursors where is_holdable) as held,
        (select count(*)::int from pg_depend where refclassid = 'pg_namespace'::regclass
           and refobjid = pg_my_temp_schema()) as temporary,
        (select count(*)::int from pg_class where relname like '\\_of\\_owner%') as doors,
        (select count(*)::int from pgstream.ddl_error) as unlogged`;
    return { settings: [...settings], ...rest };
  };
  return {
    admin,
    mallory,
    change,
    /** As mallory. */
    attach: (statements: string) => mallory.sql.unsafe(statements),
    /** Changes rows of each kind and refreshes; undefined, or why it was refused. */
    refresh: async (relation = 'lair.copy') => {
      await change();
      const before = await session();
      const refused = await admin
        .unsafe(`begin; select pgstream.refresh_cached_table('${relation}'); commit`)
        .then(
          () => undefined,
          async (error: postgres.PostgresError) => {
            await admin.unsafe('rollback');
            return error;
          },
        );
      expect(await session()).toEqual(before);
      await admin.unsafe(`select 'a'::text, 1 + 1`);
      const [{ is_called: escaped }] = (await admin`
        select is_called from lair.escapes`) as unknown as [{ is_called: boolean }];
      expect(escaped).toBe(false);
      return refused;
    },
    marks: async () => {
      const rows = await admin<{ what: string; who: string }[]>`
        select distinct what, who from lair.marks order by what`;
      for (const { who } of rows) expect(who).toBe(mallory.name);
      return rows.map(({ what }) => what);
    },
    expectEqual: async () => {
      const [{ same }] = (await admin`
        select not exists (table source except select id, note from lair.copy)
          and not exists (select id, note from lair.copy except table source) as same`) as unknown as [
        { same: boolean },
      ];
      expect(same).toBe(true);
    },
  };
}

const trigger = (body: string, when = 'after insert or update or delete') => `
  create function lair.attack() returns trigger language plpgsql as $f$
  begin ${body} return coalesce(new, old); end $f$;
  create trigger attack ${when} on lair.copy for each row execute function lair.attack()`;

/** Goes on where a statement is refused. */
const attempt = (statement: string) => `
  begin execute $$${statement}$$; exception when others then null; end;
  perform lair.mark('after');`;

describe('code that is attached to a copy runs with the rights of its owner', () => {
  test.each<[string, string[], string]>([
    [
      'a trigger before each row',
      ['row'],
      `create trigger t before insert or update or delete on lair.copy
       for each row execute function lair.mark_it('row')`,
    ],
    [
      'a trigger after each row',
      ['row'],
      `create trigger t after insert or update or delete on lair.copy
       for each row execute function lair.mark_it('row')`,
    ],
    [
      'a trigger of each statement',
      ['statement'],
      `create trigger t after insert or update or delete on lair.copy
       for each statement execute function lair.mark_it('statement')`,
    ],
    [
      'a constraint trigger that is not deferred',
      ['constraint'],
      `create constraint trigger t after insert or update or delete on lair.copy
       deferrable initially immediate for each row execute function lair.mark_it('constraint')`,
    ],
    ['a check', ['check'], `alter table lair.copy add check (lair.mark('check'))`],
    [
      'a default',
      ['default'],
      `alter table lair.copy add column more boolean default false;
       alter table lair.copy alter column more set default lair.mark('default')`,
    ],
    [
      'a generated column',
      ['immutable'],
      `alter table lair.copy add column more text generated always as (lair.marked(note)) stored`,
    ],
    ['an index on an expression', ['immutable'], `create index on lair.copy (lair.marked(note))`],
    [
      'an index on an expression that the planner evaluates',
      ['immutable'],
      `create index on lair.copy ((note || lair.marked('constant')))`,
    ],
    [
      'an exclusion constraint',
      ['immutable'],
      `alter table lair.copy add exclude using btree (lair.marked(id::text) with =)`,
    ],
    [
      'a rule',
      ['rule'],
      `create rule r as on delete to lair.copy do also select lair.mark('rule')`,
    ],
    [
      'a domain',
      ['domain'],
      `create domain lair.note as text check (lair.mark('domain'));
       alter table lair.copy add column more lair.note default 'new'`,
    ],
    [
      'a key that references the copy',
      ['cascaded'],
      `create table lair.child (id integer references lair.copy on delete cascade);
       insert into lair.child select id from lair.copy;
       create trigger t after delete on lair.child
       for each row execute function lair.mark_it('cascaded')`,
    ],
    [
      'a policy that does not bind the owner',
      [],
      `alter table lair.copy enable row level security;
       create policy p on lair.copy using (lair.mark('policy'))`,
    ],
  ])('%s', async (_, marked, statements) => {
    const { attach, refresh, marks, expectEqual, admin } = await createCopy();
    await attach(statements);
    await admin`delete from lair.marks`;
    expect(await refresh()).toBeUndefined();
    expect(await marks()).toEqual(marked);
    await expectEqual();
  });
});

describe('code that is attached to a copy cannot get out of that', () => {
  test.each([
    'reset role',
    'set role none',
    `select set_config('role', 'none', false)`,
    `select set_config('role', 'postgres', true)`,
    'reset session authorization',
    'set session authorization postgres',
    `select set_config('search_path', 'lair', false)`,
    'set search_path = lair, pg_catalog',
    `set session_replication_role = replica`,
    `set work_mem = '64kB'`,
    `declare held cursor with hold for select lair.mark('held')`,
    `create temporary table left_behind as select lair.mark('table')`,
    `create view pg_temp.pg_class as select lair.mark('view')`,
    `prepare left_behind as select lair.mark('prepared')`,
    `create trigger t after insert on pg_temp.pgstream_difference
       for each row execute function lair.mark_it('ours')`,
    'set constraints all deferred',
    'set constraints all immediate',
  ])('%s', async (statement) => {
    const { attach, refresh, marks, expectEqual } = await createCopy();
    await attach(trigger(attempt(statement)));
    expect(await refresh()).toBeUndefined();
    expect(await marks()).toEqual(['after']);
    await expectEqual();
  });

  test.each([
    `create domain pg_temp.text as pg_catalog.text check (lair.mark('type'))`,
    `create function pg_temp.left_behind() returns integer language sql as 'select 1'`,
    `create operator pg_temp.+
       (leftarg = integer, rightarg = integer, function = pg_catalog.int4pl)`,
  ])('%s is an error', async (statement) => {
    const { attach, refresh, marks } = await createCopy();
    await attach(trigger(attempt(statement)));
    expect(await refresh()).toMatchObject({
      code: '42501',
      message: expect.stringMatching(/has left something in this session/) as string,
    });
    expect(await marks()).toEqual([]);
  });

  test.each<[string, RegExp, RegExp, string]>([
    [
      'a deferred constraint trigger',
      /deferred trigger/,
      /Deferred to the commit: late of lair\.copy\. Make them not deferrable/,
      `create constraint trigger late after insert or update or delete on lair.copy
       deferrable initially deferred for each row execute function lair.mark_it('late')`,
    ],
    [
      'a deferred constraint trigger behind a foreign key',
      /deferred trigger/,
      /Deferred to the commit: late of lair\.child/,
      `create table lair.child (id integer references lair.copy on delete cascade);
       insert into lair.child select id from lair.copy;
       create constraint trigger late after delete on lair.child
       deferrable initially deferred for each row execute function lair.mark_it('late')`,
    ],
    [
      'a trigger that is deferred at the last moment',
      /deferred trigger/,
      /see what is attached: \\d\+ lair\.copy/,
      `create constraint trigger late after insert on lair.copy
       deferrable initially immediate for each row execute function lair.mark_it('late');
       ${trigger('set constraints all deferred;', 'before delete')}`,
    ],
    [
      'a policy that binds the owner',
      /row-level security policy for table "copy"/,
      /see what is attached/,
      `alter table lair.copy enable row level security;
       alter table lair.copy force row level security;
       create policy p on lair.copy using (lair.mark('policy'))`,
    ],
    [
      'a trigger that changes roles',
      /cannot set parameter "role" within security-restricted operation/,
      /see what is attached/,
      trigger('reset role;'),
    ],
  ])('%s is refused with the way out', async (_, message, hint, statements) => {
    const { attach, refresh, marks, mallory } = await createCopy();
    await attach(statements);
    expect(await refresh()).toMatchObject({
      code: '42501',
      message: expect.stringMatching(message) as string,
      detail: expect.stringMatching(/has the rights of its owner/) as string,
      hint: expect.stringMatching(hint) as string,
    });
    expect(await marks()).toEqual([]);
    expect((await refresh())?.message).toContain(`role ${mallory.name}, which owns lair.copy`);
  });
});

test('what the statements yield is not read through anything that was in the hands of the owner', async () => {
  const { admin, attach, mallory, refresh, marks, expectEqual } = await createCopy();
  await admin.unsafe(`grant usage on schema pgstream to ${mallory.name}`);
  await attach(`
    create function lair.folded(one integer) returns integer immutable language plpgsql as $$
    begin
      perform lair.mark('planned');
      return one;
    end $$;
    create function lair.hang() returns trigger language plpgsql as $$
    declare
      v_relation regclass;
    begin
      for v_relation in
        select oid from pg_class where relnamespace = 'pgstream'::regnamespace
          and relowner = '${mallory.name}'::regrole and relkind in ('r', 'm', 'v')
      loop
        perform lair.mark('hung');
        execute format('create statistics if not exists lair.s on (lair.folded(1) + %s), %s from %s',
          coalesce((select format('cardinality(%I)', attname) from pg_attribute
                    where attrelid = v_relation and attname = 'counts'), '1'),
          '(lair.folded(2))', v_relation);
      end loop;
      return new;
    end $$;
    create trigger hang before insert on lair.copy for each row execute function lair.hang()`);
  expect(await refresh()).toBeUndefined();
  await expectEqual();
  expect(await marks()).toContain('hung');
});

test('a session that quotes every name refreshes like any other', async () => {
  const { admin, refresh, expectEqual } = await createCopy();
  const columns = () => admin`select columns from pgstream.cached_tables`;
  const before = [...(await columns())];
  await admin`set quote_all_identifiers = on`;
  expect(await refresh()).toBeUndefined();
  await expectEqual();
  expect([...(await columns())]).toEqual(before);
});

test('a copy that is a materialized view leaves nothing in the session either', async () => {
  const { admin, attach, mallory, refresh, marks } = await createCopy();
  await admin.unsafe(`
    select pgstream.cache_foreign_table('source', 'lair.cached', mode => 'materialized_view',
      key_columns => '{id}');
    alter materialized view lair.cached owner to ${mallory.name}`);
  await attach(`
    create function lair.leave() returns void language plpgsql as $$
    begin
      create domain pg_temp.text as pg_catalog.text check (lair.mark('type'));
    end $$;
    create function lair.left(anything text) returns text immutable language plpgsql as $$
    begin
      if anything = 'new' then
        perform lair.leave();
      end if;
      return anything;
    end $$;
    create index on lair.cached (lair.left(note))`);
  expect(await refresh('lair.cached')).toMatchObject({
    code: '42501',
    detail: expect.stringMatching(/^Left behind while lair.cached was written: type /) as string,
    hint: 'See what is attached to it: \\d+ lair.cached',
  });
  expect(await marks()).toEqual([]);
});

describe('what follows the columns of the source', () => {
  const drift = 'alter table source alter column note type varchar(50), add column more integer';

  test('the checks and defaults of a copy', async () => {
    const { admin, attach, refresh, marks } = await createCopy();
    await attach(`
      create domain lair.word as text check (lair.mark('domain'));
      alter table lair.copy add check (lair.mark('check') and note <> all ('{}'::lair.word[])),
        add check (note <> all ('{zz}'::lair.word[]))`);
    await admin.unsafe(drift);
    expect(await refresh()).toBeUndefined();
    expect(await marks()).toContain('domain');
    const [column] = await admin`
      select format_type(atttypid, atttypmod) as type from pg_attribute
      where attrelid = 'lair.copy'::regclass and attname = 'note'`;
    expect(column).toEqual({ type: 'character varying(50)' });
  });

  test('the views on a copy, which stay as they are', async () => {
    const { admin, attach, mallory, refresh, marks } = await createCopy();
    await attach(`
      create domain lair.word as text check (lair.mark('domain'));
      create view lair.on_copy as select note from lair.copy where note <> all ('{zz}'::lair.word[]);
      create materialized view lair.filled as select note, lair.mark('query') from lair.on_copy;
      create index on lair.filled (lair.marked(note));
      grant select on lair.on_copy to public;
      comment on view lair.on_copy is 'kept'`);
    await admin.unsafe(`delete from lair.marks; ${drift}`);
    expect(await refresh()).toBeUndefined();
    expect(await marks()).toEqual(['domain', 'immutable', 'query']);
    const views = await admin`
      select oid::regclass::text as name, relowner::regrole::text as owner,
        has_table_privilege('pg_monitor', oid, 'select') as granted, obj_description(oid) as comment
      from pg_class where relname in ('on_copy', 'filled') order by 1`;
    expect([...views]).toEqual([
      { name: 'lair.filled', owner: mallory.name, granted: false, comment: null },
      { name: 'lair.on_copy', owner: mallory.name, granted: true, comment: 'kept' },
    ]);
  });

  test('a materialized view that is made anew', async () => {
    const { admin, attach, mallory, refresh, marks } = await createCopy();
    await admin.unsafe(`
      select pgstream.cache_foreign_table('source', 'lair.cached', mode => 'materialized_view',
        key_columns => '{id}');
      alter materialized view lair.cached owner to ${mallory.name}`);
    await attach(`create index on lair.cached (lair.marked(note))`);
    await admin.unsafe(`delete from lair.marks; alter table source add column more integer`);
    expect(await refresh('lair.cached')).toBeUndefined();
    expect(await marks()).toEqual(['immutable']);
    const [view] = await admin`
      select relowner::regrole::text as owner from pg_class where oid = 'lair.cached'::regclass`;
    expect(view).toEqual({ owner: mallory.name });
  });
});

describe('what is read for a copy', () => {
  test('a view of another role is not read with rights that the role lacks', async () => {
    const { admin, attach, mallory, refresh, marks } = await createCopy();
    await admin.unsafe(`grant select on source to ${mallory.name} with grant option`);
    await attach(`create view lair.view as select id, note from source`);
    await attach(`alter view lair.view owner to ${mallory.name}`);
    const cached = `select pgstream.cache_foreign_table('lair.view', 'public.copy',
      key_columns => '{id}')`;
    await expect(admin.unsafe(cached)).rejects.toMatchObject({
      code: '42501',
      detail: `lair.view belongs to ${mallory.name}.`,
      hint: 'If it is as you want it: alter view lair.view owner to postgres;',
    });
    await admin.unsafe(`alter view lair.view owner to postgres; ${cached};
      alter view lair.view owner to ${mallory.name}`);
    await attach(`create or replace view lair.view as
      select id, note from source where lair.mark('view')`);
    expect(await refresh('public.copy')).toMatchObject({
      code: '42501',
      hint: `alter table public.copy owner to ${mallory.name};`,
    });
    await admin.unsafe(`create view around as table lair.view;
      update pgstream.cached_tables set source = 'around' where target = 'public.copy'::regclass`);
    expect(await refresh('public.copy')).toMatchObject({
      code: '42501',
      detail: `lair.view belongs to ${mallory.name}.`,
    });
    expect(await marks()).toEqual([]);
    await admin.unsafe(`alter table copy owner to ${mallory.name};
      update pgstream.cached_tables set source = 'lair.view' where target = 'public.copy'::regclass`);
    expect(await refresh('public.copy')).toBeUndefined();
    expect(await marks()).toEqual(['view']);
  });

  test.each<[string, string, string]>([
    ['a domain', 'lair.word', 'domain lair.word'],
    ['an array of a domain', 'lair.word[]', 'domain lair.word'],
    ['a type with a field of a domain', 'pair', 'domain lair.word'],
    ['a range of a domain', 'span', 'domain lair.word'],
    ['a domain over a domain', 'outer_word', 'domain lair.word'],
    ['an enum', 'lair.mood', 'type lair.mood'],
  ])('no values of %s of another role', async (_, type, owned) => {
    const { admin, attach, mallory, refresh, marks } = await createCopy();
    await attach(`
      create domain lair.word as text;
      create type lair.mood as enum ('good')`);
    await admin.unsafe(`
      create type pair as (a integer, b lair.word[]);
      create type span as range (subtype = lair.word);
      create domain outer_word as lair.word;
      create table typed (id integer primary key, note ${type})`);
    const cached = `select pgstream.cache_foreign_table('typed', 'public.copy',
      key_columns => '{id}')`;
    const [, name] = owned.split(' ');
    await expect(admin.unsafe(cached)).rejects.toMatchObject({
      code: '42501',
      message: `reading public.typed would do what role ${mallory.name} wrote with the rights of role postgres`,
      detail: expect.stringMatching(
        new RegExp(
          `${name}.* of which column note of public.typed is made, belongs to ${mallory.name}`,
        ),
      ) as string,
      hint: `If it is as you want it: alter ${owned} owner to postgres;`,
    });
    await admin.unsafe(`alter domain lair.word owner to postgres;
      alter type lair.mood owner to postgres; alter schema lair owner to postgres;
      grant usage on schema lair to ${mallory.name};
      ${cached};
      insert into typed (id) values (1);
      alter ${owned} owner to ${mallory.name}`);
    // Postgres adds none to a domain that is within what a column is made of
    if (type.endsWith('word')) {
      await attach(`alter domain lair.word add check (lair.mark('domain'))`);
    }
    await admin`delete from lair.marks`;
    expect(await refresh('public.copy')).toMatchObject({
      code: '42501',
      hint: `alter table public.copy owner to ${mallory.name};`,
    });
    expect(await marks()).toEqual([]);
  });

  test('no values of a type of another role that only the copy has', async () => {
    const { admin, attach, mallory, refresh, marks } = await createCopy();
    await attach(`create type lair.mood as enum ('good', 'bad')`);
    await admin.unsafe(`
      alter schema lair owner to postgres;
      alter type lair.mood owner to postgres;
      create table typed (id integer primary key, note lair.mood);
      insert into typed values (0, 'good'), (1, null), (2, 'bad');
      select pgstream.cache_foreign_table('typed', 'public.copy', key_columns => '{id}');
      alter schema lair owner to ${mallory.name};
      alter type lair.mood owner to ${mallory.name}`);
    await attach(`
      create function lair.as_text(lair.mood) returns text language plpgsql as $$
      begin
        perform lair.mark('cast');
        return 'cast';
      end $$;
      create cast (lair.mood as text) with function lair.as_text(lair.mood)`);
    await admin`alter table typed alter column note type varchar using null`;
    expect(await refresh('public.copy')).toMatchObject({
      code: '42501',
      detail: `type lair.mood, of which column note of public.copy is made, belongs to ${mallory.name}.`,
    });
    expect(await marks()).toEqual([]);
    await admin.unsafe(`alter schema lair owner to postgres; alter type lair.mood owner to postgres;
      update typed set note = (array['good', null, 'bad'])[id + 1]`);
    // once they are trusted, what is stored is written as it reads, and the same is not written again
    await expect(
      admin`select pgstream.refresh_cached_table('public.copy')::integer as changed`,
    ).resolves.toMatchObject([{ changed: 0 }]);
    expect(await marks()).toEqual([]);
  });

  test('the owner of the copy needs to be able to read the source', async () => {
    const { admin, mallory, refresh } = await createCopy();
    await admin.unsafe(`revoke select on source from ${mallory.name}`);
    const refused = await refresh();
    expect(refused).toMatchObject({
      code: '42501',
      hint: `grant select on source to ${mallory.name};`.replace('source', 'public.source'),
    });
    await admin.unsafe(refused!.hint!);
    await admin.unsafe('revoke usage on schema public from public');
    const again = await refresh();
    expect(again).toMatchObject({
      code: '42501',
      hint: `grant usage on schema public to ${mallory.name};`,
    });
    await admin.unsafe(again!.hint!);
    expect(await refresh()).toBeUndefined();
  });

  test('policies of a source are not evaluated', async () => {
    const { admin, refresh, marks } = await createCopy();
    await admin.unsafe(`alter table source enable row level security;
      create policy p on source using (lair.mark('policy'))`);
    expect(await refresh()).toMatchObject({
      code: '42501',
      message: expect.stringMatching(/policy for table "source"/) as string,
    });
    expect(await marks()).toEqual([]);
  });
});

test('what refresh_due notes holds nothing of a row', async () => {
  const { admin, attach, change } = await createCopy();
  await attach(trigger(`raise exception 'secret %', new.note;`, 'before insert'));
  await change();
  const failed = async () => {
    await admin`call pgstream.refresh_due(force => true)`.simple();
    const [row] = await admin<{ state: string; last_error: string }[]>`
      select state, last_error from pgstream.cached_status`;
    return row!;
  };
  expect(await failed()).toEqual({
    state: 'failing',
    last_error: 'P0001 code of a trigger, a function or a view refused a row',
  });
  await attach(`drop trigger attack on lair.copy;
    alter table lair.copy add constraint no_news check (note <> 'new')`);
  expect((await failed()).last_error).toBe('23514 a row violates constraint "no_news"');
  await attach(`alter table lair.copy drop constraint no_news;
    create constraint trigger late after insert on lair.copy
    deferrable initially deferred for each row execute function lair.mark_it('late')`);
  expect((await failed()).last_error).toMatch(/^42501 not with the rights of .* deferred trigger/);
});
