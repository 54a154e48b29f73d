-- The lasting ids of tables and columns.
--
-- A row of pgstream.table_ids is about the table of its oid. Oids come round again, so the row also
-- keeps the transaction in which the table was made ("born": of the entry of a system column, which
-- nothing rewrites but a GRANT on it): where that differs, and the table's name is another one too,
-- the oid is a different table's by now, and the row goes.
--
-- In another database (restored from a dump, upgraded by pg_upgrade, copied) oids mean nothing, nor
-- do they in the same one when a dump has been restored over it. That shows in the row of
-- pgstream.schema_state, which then names another server, database or table than it is in; each
-- table and column is found again by its name, and what runners have passed there is forgotten.
--
-- A column's id is "<id of the table>-<number>". The number is found by attnum and kept; new ones
-- are above all that the table has ever had.

create or replace function pgstream._table_birth(rel oid) returns bigint
  language sql stable strict parallel safe
begin atomic
  select a.xmin::text::bigint from pg_attribute a where a.attrelid = rel and a.attname = 'tableoid';
end;

comment on function pgstream._table_birth is 'The transaction in which a table was made.';

create or replace function pgstream._assign_ids(oids oid[]) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  delete from pgstream.table_ids i
  using unnest(oids) o(oid)
  where i.oid = o.oid::bigint
    and i.born <> pgstream._table_birth(o.oid)
    and not exists (
      select from pgstream.schema_objects s
      join pg_class c on c.relname = s.name
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
      where s.kind = 'tables' and s.key = i.id::text and c.oid = o.oid
    );

  with wanted as materialized (
    select t.oid::bigint as oid, pgstream._table_birth(t.oid) as born, c.relname,
           coalesce(i.column_numbers, '{}') as known, coalesce(i.last_column_number, 0) as last
    from (select distinct u.oid from unnest(oids) u(oid)) t
    join pg_class c on c.oid = t.oid
    left join pgstream.table_ids i on i.oid = c.oid::bigint
    where c.relkind in ('r', 'p')
      and pgstream._is_logged(c.oid)
      and (i.born is distinct from pgstream._table_birth(t.oid) or exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          and i.column_numbers[a.attnum] is null
      ))
  )
  insert into pgstream.table_ids as i (oid, born, column_numbers, last_column_number)
  select w.oid, w.born, n.numbers, greatest(w.last, n.last)
  from wanted w
  cross join lateral (
    select coalesce(array_agg(m.number order by m.attnum), '{}') as numbers,
           max(m.number) as last
    from (
      select a.attnum,
             coalesce(w.known[a.attnum], case when not a.attisdropped then
               greatest(a.attnum, w.last + count(*) filter (
                 where w.known[a.attnum] is null and not a.attisdropped) over (order by a.attnum))
             end)::integer as number
      from pg_attribute a
      where a.attrelid = w.oid::oid and a.attnum > 0
    ) m
  ) n
  order by w.relname
  on conflict on constraint one_id_per_table do update
    set born = excluded.born, column_numbers = excluded.column_numbers,
        last_column_number = excluded.last_column_number;
end
$$;

comment on function pgstream._assign_ids is
  'Gives ids to the tables of these oids, and to their columns, that have none yet.';

create or replace function pgstream._home() returns bigint
  language sql stable parallel safe
begin atomic
  select d.oid::bigint | ('pgstream.schema_state'::regclass::oid::bigint << 32)
  from pg_database d
  where d.datname = current_database();
end;

comment on function pgstream._home is
  'The oid of this database, and above its 32 bits that of the table pgstream.schema_state.';

create or replace function pgstream._is_moved() returns boolean
  language sql stable parallel safe
begin atomic
  select not exists (
    select from pgstream.schema_state s
    join pg_control_system() c on c.system_identifier = s.system_identifier
    -- without the oid of the table it is as its migration has left it
    where s.database_oid in (pgstream._home(), pgstream._home() & 4294967295)
  );
end;

comment on function pgstream._is_moved is
  'Whether the ids stem from another database, or from tables that a dump has been restored over.';

create or replace function pgstream._adopt_ids() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  -- out of the way of the new oids
  update pgstream.table_ids set oid = -1 - abs(oid);

  update pgstream.table_ids i
  set oid = c.oid::bigint,
      born = pgstream._table_birth(c.oid),
      column_numbers = (
        select coalesce(array_agg(d.number order by a.attnum), '{}')
        from pg_attribute a
        left join (
          select e ->> 'name' as name, split_part(e ->> 'pgstream_id', '-', 2)::integer as number
          from jsonb_array_elements(s.document -> 'columns') e
        ) d on d.name = a.attname
        where a.attrelid = c.oid and a.attnum > 0
      )
  from pgstream.schema_objects s
  join pg_namespace n on n.nspname = s.schema_name
  join pg_class c on c.relnamespace = n.oid and c.relname = s.name and c.relkind in ('r', 'p')
  where s.kind = 'tables' and s.key = i.id::text;

  delete from pgstream.table_ids where oid < 0;

  -- positions in the log of the other server
  delete from pgstream.schema_positions;
  update pgstream.subscription_changes set commit_lsn = null where commit_lsn is not null;

  -- oids of the other database: such a table keeps the identity that it has
  delete from pgstream.lent_identities;

  delete from pgstream.schema_state;
  insert into pgstream.schema_state (system_identifier, database_oid)
  select c.system_identifier, pgstream._home() from pg_control_system() c;
end
$$;

comment on function pgstream._adopt_ids is
  'Finds each table and column again by its name, in a database that is a copy of another one.';
