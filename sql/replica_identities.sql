-- Postgres refuses a user's UPDATE or DELETE of a table that is published for updates and has no
-- replica identity (55000), whether a slot reads the publication or not. So:
--
--   1. What Postgres would refuse is never published.
--   2. A table that loses its identity leaves pgstream_update in the same statement.
--   3. That statement neither fails, nor waits longer than for any other lock of ours, nor can it
--      make anybody the victim of a deadlock. From PostgreSQL 15 on, ALTER PUBLICATION locks the
--      publication to the end of the transaction; whoever waits for it while it holds a table may
--      wait for somebody who waits for that table. So it is not waited for: where it cannot be
--      had before the deadline, the table is lent an identity that lets its updates through, for
--      which no lock is needed that the statement does not have, and pgstream.reconcile() takes
--      the table out and gives it back its own.

create or replace function pgstream._unidentified(rels oid[]) returns table (rel oid, part oid)
  language sql stable strict parallel safe
begin atomic
  with recursive descent as (
    select c.oid as rel, c.oid as part
    from pg_class c
    where c.oid = any (rels) and c.relkind = 'p'
    union all
    select d.rel, h.inhrelid
    from descent d
    join pg_inherits h on h.inhparent = d.part
  ), members as (
    select r.oid as rel, r.oid as part from unnest(rels) r(oid)
    union all
    select d.rel, d.part from descent d where d.part <> d.rel
  ), publishing as materialized (
    -- a column of pg_publication from 18 on; before, generated columns keep nothing from it
    select coalesce((
      select to_jsonb(p) ->> 'pubgencols'
      from pg_publication p
      where p.pubname = 'pgstream_update'), 's') = 's' as stored_columns
  )
  select m.rel, m.part
  from members m
  join pg_class c on c.oid = m.part
  cross join publishing b
  where case when m.part = m.rel then c.relkind in ('r', 'p')
          else c.relkind = 'r' and c.relpersistence = 'p' end
    and not case c.relreplident
      when 'f' then not exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          and (a.attgenerated = 'v' or a.attgenerated = 's' and not b.stored_columns))
      when 'n' then false
      else exists (
        select from pg_index i
        where i.indrelid = c.oid and i.indisvalid and i.indisunique and i.indimmediate
          and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end
          and (b.stored_columns or not exists (
            select from pg_attribute a
            where a.attrelid = c.oid and a.attnum = any (i.indkey) and a.attgenerated = 's')))
    end;
end;

comment on function pgstream._unidentified is
  'Which of the tables, or of their partitions, have no replica identity with which Postgres lets '
  'published updates through: REPLICA IDENTITY FULL without virtual generated columns, a valid '
  'chosen index, or an immediate primary key; and, from 18 on, no stored generated column in it '
  'that the publication leaves out. Partitions without changes in the log need none.';

create or replace function pgstream._has_replica_identity(rel oid) returns boolean
  language sql stable strict parallel safe
  return not exists (select from pgstream._unidentified(array[rel]));

comment on function pgstream._has_replica_identity is
  'Whether updates of the table can be published without making them fail, for it and each of its '
  'partitions.';

create or replace function pgstream._identity_remedy(rel regclass) returns text
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select case
    when c.relreplident = 'f' and not v.is_there then 'select pgstream.create_publications();'
    when v.is_there and k.is_there then format('alter table %s replica identity default;', rel)
    when v.is_there then format('Give %s a primary key; then: alter table %s replica identity '
                                'default;', rel, rel)
    else format('alter table %s replica identity full;', rel)
  end
  from pg_class c
  cross join lateral (
    select exists (
      select from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped and a.attgenerated = 'v')
  ) v(is_there)
  cross join lateral (
    select exists (
      select from pg_index i
      where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate)
  ) k(is_there)
  where c.oid = rel
$$;

comment on function pgstream._identity_remedy is
  'What to type so that updates of a table can be published which cannot now. With a virtual '
  'generated column, REPLICA IDENTITY FULL is no way.';

create or replace function pgstream._set_identity(rel regclass, kind "char") returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_usual constant text := current_setting('pgstream.skip_log', true);
begin
  perform set_config('pgstream.skip_log', 'on', true);
  execute format(
    'alter table only %s replica identity %s', rel,
    -- an index that could be chosen again would not have been lost
    case kind when 'd' then 'default' when 'f' then 'full' else 'nothing' end);
  perform set_config('pgstream.skip_log', v_usual, true);
end
$$;

comment on function pgstream._set_identity is
  'Gives a table, which is locked, a replica identity that is written as in pg_class.relreplident.';

create or replace function pgstream._lend_identity(rel regclass, deadline timestamptz)
  returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char";
  v_lent "char";
begin
  if not pgstream._try_lock_table(rel, 'access exclusive', false, deadline)
    or not pgstream._try_lock_table(
      'pgstream.lent_identities', 'row exclusive', false, deadline) then
    return false;
  end if;
  select c.relreplident, case when exists (
      select from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped and a.attgenerated = 'v'
    ) then 'd' else 'f' end
  into v_kind, v_lent
  from pg_class c
  where c.oid = rel;
  insert into pgstream.lent_identities (relation, kind, lent)
  values (rel::oid::bigint, v_kind, v_lent)
  on conflict (relation) do update set lent = excluded.lent;
  perform pgstream._set_identity(rel, v_lent);
  return not exists (select from pgstream._unidentified(array[rel::oid]));
end
$$;

comment on function pgstream._lend_identity is
  'Gives a table a replica identity of ours for a while, so that its updates do not fail; false '
  'when it cannot be locked before the deadline, or has no identity that would do.';

create or replace function pgstream._unpublish_unwritable(among oid[], deadline timestamptz)
  returns table (part regclass, code text, problem text)
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a publication may change it
  set search_path = pg_catalog, pg_temp
  set jit = off
as $$
declare
  v_refused record;
begin
  for v_refused in
    select u.rel::regclass as rel, array_agg(u.part::regclass) as parts
    from pgstream._unidentified(array(
      select r.prrelid
      from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
      where among is null or r.prrelid = any (among))) u
    group by u.rel
    order by u.rel
  loop
    begin
      continue when
        pgstream._try_lock_table(
          v_refused.rel, 'share update exclusive', false, deadline, partitions => false)
        and pgstream._try_alter_publication('pgstream_update', 'drop', v_refused.rel, deadline);
      perform set_config('pgstream.gave_up', 'on', true);
      for part in
        select p.rel
        from unnest(v_refused.parts) p(rel)
        join pg_class c on c.oid = p.rel and c.relkind = 'r'
      loop
        code := '55P03';
        problem := case when pgstream._lend_identity(part, pgstream._lock_deadline())
          then format('others are changing publication pgstream_update: until it is taken out, %s '
                      'has another replica identity', part)
          else format('others are changing publication pgstream_update: until it is taken out, '
                      'updates of %s fail', part)
        end;
        return next;
      end loop;
    exception when others then
      part := v_refused.rel;
      code := sqlstate;
      problem := sqlerrm;
      return next;
    end;
  end loop;
end
$$;

comment on function pgstream._unpublish_unwritable is
  'Takes tables that have lost their replica identity out of pgstream_update: their updates would '
  'fail otherwise. Where that cannot be done before the deadline, they are lent an identity. '
  'Returns what is left for pgstream.reconcile() to do.';

create or replace function pgstream._return_identities(deadline timestamptz) returns void
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a table may alter it
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_lent record;
begin
  for v_lent in
    select l.relation, l.kind, c.oid::regclass as rel
    from pgstream.lent_identities l
    left join pg_class c on c.oid = l.relation::oid and c.relreplident = l.lent
    order by l.relation
  loop
    if v_lent.rel is not null then
      if not pgstream._try_lock_table(v_lent.rel, 'access exclusive', true, deadline) then
        perform pgstream._refuse_locked(format('table %s is', v_lent.rel));
      end if;
      perform pgstream._set_identity(v_lent.rel, v_lent.kind);
    end if;
    delete from pgstream.lent_identities l where l.relation = v_lent.relation;
  end loop;
end
$$;

comment on function pgstream._return_identities is
  'Gives tables back the replica identity that they had before pgstream._lend_identity(), after '
  'they have left pgstream_update. Fails with 55P03 where one of them is in use.';
