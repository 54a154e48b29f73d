-- What a copy is made of is read with the rights of the copy's owner, as a materialized view would
-- read it: whoever fills it needs SELECT on the source and, for a foreign table, a user mapping.
--
-- Invariant: nothing that is read was written by a role that lacks the rights of the reader. The
-- functions of a view run as whoever reads it; so do the checks of domains when a foreign row comes
-- in, and what the planner evaluates of indexes, statistics and partition keys. The options of a
-- foreign table say what the reader's user mapping is used for. So each relation that is read
-- belongs to a role that could become the reader anyway, and so does each type whose values are
-- read or written, with all that it is made of, and the schema of such a type: the owner of a type
-- adds checks to a domain and makes casts, which is no change of a relation, so that no lock on one
-- holds it off. Policies are not evaluated at all: see pgstream._execute.

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

create or replace function pgstream._read_relations(relations oid[]) returns setof oid
  language sql stable parallel safe
begin atomic
  with recursive read as (
    select unnest(relations) as oid
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
  select r.oid from read r;
end;

comment on function pgstream._read_relations is
  'Relations, and all that is read with them: what views read, partitions and children.';

create or replace function pgstream._kind_of(rel oid) returns text
  language sql stable parallel safe
  return (select case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                                when 'f' then 'foreign table' else 'table' end
          from pg_class c where c.oid = rel);

comment on function pgstream._kind_of is 'What ALTER calls a relation.';

create or replace function pgstream._read_types(relations oid[])
  returns table (type oid, relation oid, number smallint)
  language sql stable parallel safe
begin atomic
  with recursive read as (
    select a.atttypid as type, a.attrelid as relation, a.attnum as number
    from pg_attribute a
    where a.attrelid = any (relations) and a.attnum > 0 and not a.attisdropped
    union
    select n.type, r.relation, r.number
    from read r
    join pg_type t on t.oid = r.type
    cross join lateral (
      select t.typelem as type
      union all
      select t.typbasetype
      union all
      select a.atttypid from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
      union all
      select g.rngsubtype from pg_range g where t.oid in (g.rngtypid, g.rngmultitypid)
    ) n
    where n.type <> 0
  )
  select r.type, r.relation, r.number from read r;
end;

comment on function pgstream._read_types is
  'The types of the columns of relations, and all that these are made of: elements of arrays, what '
  'domains are based on, fields, what ranges are of.';

create or replace function pgstream._has_not_the_rights_of(reader oid, owner oid) returns boolean
  language sql stable parallel safe
  return not pgstream._could_become(owner, reader)
         or pgstream._could_become_us(reader) and not pgstream._could_become_us(owner);

comment on function pgstream._has_not_the_rights_of is
  'Whether the code of an owner could do more than before when a reader runs it.';

drop function if exists pgstream._untrusted(oid, oid);

create or replace function pgstream._untrusted(relations oid[], reader oid)
  returns table (name text, kind text, owner regrole, used text)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    with read as (
      select r.oid from pgstream._read_relations(relations) r(oid)
    ), types as (
      select t.oid, t.typowner,
             case t.typtype when 'd' then 'domain' else 'type' end as kind,
             format('%s, of which column %I of %s is made,', t.oid::regtype, a.attname,
                    a.attrelid::regclass) as used
      from (select distinct on (r.type) r.*
            from pgstream._read_types(array(select r.oid from read r)) r
            order by r.type, r.relation, r.number) u
      join pg_type t on t.oid = u.type
      join pg_attribute a on a.attrelid = u.relation and a.attnum = u.number
      -- an array belongs to whom its elements belong to, a multirange to whom its range does
      where t.typcategory <> 'A' and t.typtype <> 'm'
        -- whoever wrote it wrote all these functions
        and t.oid <> 'pgstream.foreign_text'::regtype
    ), parts as (
      select 1 as rank, r.oid, r.oid::regclass::text as name,
             pgstream._kind_of(r.oid) as kind, pgstream._owner_of(r.oid) as owner,
             r.oid::regclass::text as used
      from read r
      union all
      select 2, t.oid, t.oid::regtype::text, t.kind, t.typowner, format('%s %s', t.kind, t.used)
      from types t
    )
    select p.name, p.kind, p.owner::regrole, p.used
    from parts p
    where pgstream._has_not_the_rights_of(reader, p.owner)
    order by p.rank, p.oid;
end
$$;

comment on function pgstream._untrusted is
  'What is read with relations and belongs to roles that have not the rights of the reader: '
  'relations, types, and schemas of types.';

drop function if exists pgstream._check_reader(regclass, oid, text);

create or replace function pgstream._check_reader(
  source regclass, reader oid, target regclass default null
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
  select * into v_untrusted
  from pgstream._untrusted(array_remove(array[source, target], null), reader)
  limit 1;
  if found then
    raise exception 'reading % would do what role % wrote with the rights of role %', source,
      v_untrusted.owner, reader::regrole
      using errcode = 'insufficient_privilege',
            detail = format('%s belongs to %s.', v_untrusted.used, v_untrusted.owner),
            hint = case when target is not null
              then format('alter %s %s owner to %s;', pgstream._kind_of(target), target,
                          v_untrusted.owner)
              else format('If it is as you want it: alter %s %s owner to %s;', v_untrusted.kind,
                          v_untrusted.name, reader::regrole) end;
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
  'wrote. target: the copy, where there is one.';

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
    cached.target);
end
$$;

comment on function pgstream._check_readable is
  'Fails where the source of a copy cannot be read by whoever fills the copy; holds both until the '
  'transaction ends.';
