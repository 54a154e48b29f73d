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
--      which no lock is needed that the statement does not have, and pgstream.reconcile() gives
--      it back its own, and takes it out where that would not do.
--   4. While it is lent one, the table stays published: what it has lets its updates through.
--   5. What we alter ourselves is not followed like a statement of a user: nothing is lent inside
--      of lending.
--   6. What is published now, a REPEATABLE READ or SERIALIZABLE transaction learns from Postgres's
--      own look-ups: its queries of the catalogs show the past.

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
begin
  perform set_config('pgstream.own_change', rel::oid::text, true);
  execute format(
    'alter table only %s replica identity %s', rel,
    -- an index that could be chosen again would not have been lost
    case kind when 'd' then 'default' when 'f' then 'full' else 'nothing' end);
  perform set_config('pgstream.own_change', '', true);
end
$$;

comment on function pgstream._set_identity is
  'Gives a table, which is locked, a replica identity that is written as in pg_class.relreplident. '
  'For pgstream._is_own_change(), pgstream.lent_identities has a row of it meanwhile.';

create or replace function pgstream._is_own_change(rels oid[]) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if cardinality(rels) is distinct from 1
    or rels[1]::text is distinct from current_setting('pgstream.own_change', true) then
    return false;
  end if;
  lock table pgstream.lent_identities in access share mode nowait;
  return exists (
    select from pgstream.lent_identities l
    join pg_class c on c.oid = l.relation::oid
      and c.relreplident in (l.lent, case l.kind when 'i' then 'n' else l.kind end)
    where l.relation = rels[1]::bigint);
exception when lock_not_available or undefined_table then
  return false;
end
$$;

comment on function pgstream._is_own_change is
  'Whether the statement that touches these tables is that of pgstream._set_identity(): a setting '
  'says so, which anybody may set, and a row of ours, which nobody may write.';

create or replace function pgstream._is_updated(rel oid) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
    return exists (
      select from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid
      where r.prrelid = rel and p.pubname = 'pgstream_update');
  end if;
  perform pg_get_object_address(
    'publication relation', parse_ident(rel::regclass::text), '{pgstream_update}');
  return true;
exception when undefined_object or undefined_table or invalid_schema_name then
  return false;
end
$$;

comment on function pgstream._is_updated is
  'Whether the table, which is locked, is in pgstream_update at present, whatever the snapshot of '
  'the transaction shows.';

create or replace function pgstream._lend_identity(rel regclass, deadline timestamptz)
  returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char";
  v_lent "char";
  v_serves boolean;
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
  v_serves := v_lent = 'f' or exists (
    select from pg_index i
    where i.indrelid = rel and i.indisprimary and i.indisvalid and i.indimmediate);
  if v_serves and v_kind <> v_lent then
    insert into pgstream.lent_identities as l (relation, kind, lent)
    values (rel::oid::bigint, v_kind, v_lent)
    on conflict (relation) do update
    set kind = case when excluded.kind = l.lent then l.kind else excluded.kind end,
        lent = excluded.lent;
    perform pgstream._set_identity(rel, v_lent);
  end if;
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
    select u.rel::regclass as rel, array_agg(u.part::regclass order by u.part) as parts
    from pgstream._unidentified(among) u
    group by u.rel
    order by u.rel
  loop
    begin
      if pgstream._try_lock_table(
        v_refused.rel, 'share update exclusive', false, deadline, partitions => false) then
        continue when not pgstream._is_updated(v_refused.rel)
          or pgstream._try_alter_publication('pgstream_update', 'drop', v_refused.rel, deadline);
      end if;
      perform set_config('pgstream.gave_up', 'on', true);
      for part in
        select p.rel
        from unnest(v_refused.parts) p(rel)
        join pg_class c on c.oid = p.rel and c.relkind = 'r'
      loop
        code := '55P03';
        problem := case when pgstream._lend_identity(part, deadline)
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
  'Takes those of the tables that have no replica identity out of pgstream_update: their updates '
  'would fail otherwise. Where that cannot be done before the deadline, they are lent an identity. '
  'Returns what is left for pgstream.reconcile() to do.';

create or replace function pgstream._return_identity(lent bigint, deadline timestamptz)
  returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_rel regclass;
  v_kind "char";
  v_published regclass;
begin
  select c.oid, l.kind into v_rel, v_kind
  from pgstream.lent_identities l
  join pg_class c on c.oid = l.relation::oid and c.relreplident = l.lent
  where l.relation = _return_identity.lent;
  if v_rel is not null then
    if not pgstream._try_lock_table(v_rel, 'access exclusive', false, deadline) then
      return false;
    end if;
    perform pgstream._set_identity(v_rel, v_kind);
    if not pgstream._has_replica_identity(v_rel) then
      for v_published in
        select r.prrelid
        from pg_publication_rel r
        join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
        where r.prrelid = v_rel
          or r.prrelid in (select a.relid from pg_partition_ancestors(v_rel) a(relid))
      loop
        -- A lock of ours is held on the table: nothing is waited for.
        if not pgstream._try_lock_table(
            v_published, 'share update exclusive', false, clock_timestamp(), partitions => false)
          or not pgstream._try_alter_publication(
            'pgstream_update', 'drop', v_published, clock_timestamp()) then
          raise lock_not_available;
        end if;
      end loop;
    end if;
  end if;
  delete from pgstream.lent_identities l where l.relation = _return_identity.lent;
  return true;
exception when lock_not_available then
  return false;
end
$$;

comment on function pgstream._return_identity is
  'Gives one table back the replica identity that it had before pgstream._lend_identity(), and '
  'takes it out of pgstream_update where Postgres would refuse its updates then: both, or, where '
  'a lock is not to be had before the deadline, neither, and it returns false.';

create or replace function pgstream._return_identities(deadline timestamptz) returns void
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a table may alter it
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline timestamptz := deadline;
  v_lent bigint;
begin
  -- A copy of a database has the oids of the other one.
  if pgstream._is_moved() or not exists (select from pgstream.lent_identities) then
    return;
  elsif not pgstream._try_lock('publications', deadline => v_deadline) then
    return;
  end if;
  for v_lent in select l.relation from pgstream.lent_identities l order by l.relation loop
    if pgstream._return_identity(v_lent, v_deadline) then
      -- from here on, readers of a table would wait for as long as this does
      v_deadline := clock_timestamp();
    end if;
  end loop;
end
$$;

comment on function pgstream._return_identities is
  'Gives tables back the replica identity that they had before pgstream._lend_identity(). None is '
  'waited for in the lock manager, where readers would wait behind: one that is in use keeps what '
  'it is lent, and its place in the publication, until the next time.';
