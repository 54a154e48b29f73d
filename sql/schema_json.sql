create or replace function pgstream._logged_tables(schema_name text)
  returns table (oid oid, name text)
  language sql stable strict parallel safe
begin atomic
  select c.oid, c.relname::text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = _logged_tables.schema_name
    and c.relkind in ('r', 'p')
    and c.relpersistence <> 't'
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    );
end;

comment on function pgstream._logged_tables is
  'The tables of a schema that the schema log describes: not temporary, not an extension''s.';

create or replace function pgstream._columns_json(rel oid, table_id pgstream.xid) returns jsonb
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(
           jsonb_build_object(
             'name', a.attname,
             'type', format_type(a.atttypid, a.atttypmod),
             'default', pg_get_expr(d.adbin, d.adrelid),
             'nullable', not (a.attnotnull or t.typtype = 'd' and t.typnotnull),
             'unique', exists (
               select from pg_index i
               where i.indrelid = a.attrelid and i.indisunique and i.indisvalid
                 and i.indnkeyatts = 1 and i.indkey[0] = a.attnum and i.indpred is null
             ),
             'metadata', col_description(a.attrelid, a.attnum),
             'pgstream_id', format('%s-%s', table_id, a.attnum)
           ) order by a.attnum), '[]')
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
$$;

comment on function pgstream._columns_json is
  'The columns of a table as the schema log writes them, in the order of the table. Its search '
  'path makes names of types and functions outside pg_catalog come out qualified.';

create or replace function pgstream._primary_key_json(rel oid) returns jsonb
  language sql stable strict parallel safe
begin atomic
  select coalesce(jsonb_agg(a.attname order by k.n), '[]')
  from pg_index i
  cross join unnest(i.indkey) with ordinality as k(attnum, n)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where i.indrelid = rel and i.indisprimary and k.n <= i.indnkeyatts;
end;

comment on function pgstream._primary_key_json is
  'The names of the primary key''s columns, in the order of the key; [] when there is none.';

create or replace function pgstream._schema_json(schema_name text) returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pgstream.table_ids as i (oid, schema_name)
  select t.oid::bigint, _schema_json.schema_name
  from pgstream._logged_tables(schema_name) t
  order by t.name
  on conflict on constraint one_id_per_table do update
    set schema_name = excluded.schema_name
    where i.schema_name <> excluded.schema_name;

  return jsonb_build_object('tables', (
    select jsonb_agg(
             jsonb_build_object(
               'oid', t.oid::text,
               'name', t.name,
               'columns', pgstream._columns_json(t.oid, i.id),
               'pgstream_id', i.id,
               'primary_key_columns', pgstream._primary_key_json(t.oid)
             ) order by t.name collate "C")
    from pgstream._logged_tables(schema_name) t
    join pgstream.table_ids i on i.oid = t.oid::bigint
  ));
end
$$;

comment on function pgstream._schema_json is
  'The schema as the schema log writes it. Writes pgstream.table_ids for tables met the first '
  'time.';
