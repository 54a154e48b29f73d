-- What a copy is made of is read with the rights of the copy's owner, as a materialized view would
-- read it: whoever fills it needs SELECT on the source and, for a foreign table, a user mapping.
--
-- Invariant: nothing that is read was written by a role that lacks the rights of the reader. The
-- functions of a view run as whoever reads it; so do the checks of domains when a foreign row comes
-- in, and what the planner evaluates of indexes, statistics and partition keys. The options of a
-- foreign table say what the reader's user mapping is used for. So each relation that is read
-- belongs to a role that could become the reader anyway. Policies are not evaluated at all: see
-- pgstream._execute.

create or replace function pgstream._hold(relations regclass[]) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('prepare pgstream_held as select from %s',
                 (select string_agg(format('%s r%s', r, n), ', ')
                  from unnest(relations) with ordinality u(r, n)
                  where exists (select from pg_class c where c.oid = r)));
  deallocate pgstream_held;
end
$$;

comment on function pgstream._hold is
  'Locks relations and all that they read, so that neither their owners nor what they do change '
  'until the transaction ends. Parses and rewrites; plans and runs nothing.';

create or replace function pgstream._untrusted(source oid, reader oid)
  returns table (relation regclass, kind text, owner regrole)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    with recursive read as (
      select source as oid
      union
      select n.oid
      from read r
      join pg_class c on c.oid = r.oid
      cross join lateral (
        select d.refobjid as oid
        from pg_rewrite w
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        where w.ev_class = c.oid and c.relkind = 'v' and d.refclassid = 'pg_class'::regclass
        union all
        select i.inhrelid from pg_inherits i where i.inhparent = c.oid
      ) n
    )
    select c.oid::regclass,
           case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                          when 'f' then 'foreign table' else 'table' end,
           c.relowner::regrole
    from read r
    join pg_class c on c.oid = r.oid
    where not pgstream._could_become(c.relowner, reader)
      or pgstream._could_become_us(reader) and not pgstream._could_become_us(c.relowner)
    order by c.oid;
end
$$;

comment on function pgstream._untrusted is
  'What is read with a relation, and belongs to roles that have not the rights of the reader.';

create or replace function pgstream._check_reader(
  source regclass, reader oid, cached text default null
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_source record;
  v_untrusted record;
begin
  select c.relnamespace, s.srvname, f.fdwname into v_source
  from pg_class c
  left join pg_foreign_table t on t.ftrelid = c.oid
  left join pg_foreign_server s on s.oid = t.ftserver
  left join pg_foreign_data_wrapper f on f.oid = s.srvfdw
  where c.oid = source;
  if not found then
    return;
  end if;
  select * into v_untrusted from pgstream._untrusted(source, reader) limit 1;
  if found then
    raise exception 'reading % would do what role % wrote with the rights of role %', source,
      v_untrusted.owner, reader::regrole
      using errcode = 'insufficient_privilege',
            detail = format('%s belongs to %s.', v_untrusted.relation, v_untrusted.owner),
            hint = case when cached is not null
              then format('alter %s owner to %s;', cached, v_untrusted.owner)
              else format('If it is as you want it: alter %s %s owner to %s;', v_untrusted.kind,
                          v_untrusted.relation, reader::regrole) end;
  elsif not has_schema_privilege(reader, v_source.relnamespace, 'usage') then
    raise exception 'role % may not use schema %', reader::regrole,
      v_source.relnamespace::regnamespace
      using errcode = 'insufficient_privilege',
            detail = format('The owner of a copy has to read %s.', source),
            hint = format('grant usage on schema %s to %s;', v_source.relnamespace::regnamespace,
                          reader::regrole);
  elsif not has_table_privilege(reader, source, 'select') then
    raise exception 'role % may not read %', reader::regrole, source
      using errcode = 'insufficient_privilege',
            detail = 'The owner of a copy has to read what it is a copy of.',
            hint = format('grant select on %s to %s;', source, reader::regrole);
  elsif v_source.fdwname = 'postgres_fdw' and not exists (
    select from pg_user_mappings m
    where m.srvname = v_source.srvname and m.umuser in (0, reader)
  ) then
    raise exception 'role % has no user mapping for server %', reader::regrole, v_source.srvname
      using errcode = 'undefined_object',
            detail = format('The owner of a copy has to read %s.', source),
            hint = format('create user mapping for %s server %I options (user ''...'', '
                          'password ''...'');', reader::regrole, v_source.srvname);
  end if;
end
$$;

comment on function pgstream._check_reader is
  'Fails where a role cannot read a relation for a copy, or would do with its rights what others '
  'wrote. cached: the copy, with its kind, where there is one.';

create or replace function pgstream._check_readable(cached pgstream.cached_tables) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid;
begin
  perform pgstream._hold(array[cached.source, cached.target]);
  v_owner := pgstream._owner_of(cached.target);
  perform pgstream._check_reader(
    cached.source,
    case when pgstream._is_confined(v_owner, cached.target::text) then v_owner
         else pgstream._oid_of(current_user) end,
    format('%s %s', replace(cached.mode, '_', ' '), cached.target));
end
$$;

comment on function pgstream._check_readable is
  'Fails where the source of a copy cannot be read by whoever fills the copy; holds both until the '
  'transaction ends.';
