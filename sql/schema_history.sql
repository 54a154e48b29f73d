-- Any version of a schema, whole. A version without "partial" is whole by itself; a partial one is
-- what changed since the one before, so it is read from the last whole one on: of each object the
-- newest mention counts. Tables are told apart by their lasting id, all else by oid.

create or replace function pgstream.schema_at(schema_name text, version bigint) returns jsonb
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with chain as materialized (
    select l.version, l.schema
    from pgstream.schema_log l
    where l.schema_name = schema_at.schema_name
      and l.version <= schema_at.version
      and l.version >= coalesce((
        select w.version
        from pgstream.schema_log w
        where w.schema_name = schema_at.schema_name
          and w.version <= schema_at.version
          and not w.schema ? 'partial'
        order by w.version desc
        limit 1), 0)
  ), mentions as (
    select c.version, k.kind, coalesce(d.document ->> 'pgstream_id', d.document ->> 'oid') as key,
           d.document
    from chain c
    cross join unnest('{tables,sequences,enum_types,materialized_views}'::text[]) k(kind)
    cross join lateral jsonb_array_elements(nullif(c.schema -> k.kind, 'null')) d(document)
    union all
    select c.version, k.kind, coalesce(d.gone ->> 'pgstream_id', d.gone ->> 'oid'), null
    from chain c
    cross join unnest('{tables,sequences,enum_types,materialized_views}'::text[]) k(kind)
    cross join lateral jsonb_array_elements(c.schema -> format('dropped_%s', k.kind)) d(gone)
  ), newest as (
    select distinct on (m.kind, m.key) m.kind, m.document
    from mentions m
    order by m.kind, m.key, m.version desc
  ), lists as (
    select n.kind, jsonb_agg(n.document order by n.document ->> 'name' collate "C") as documents
    from newest n
    where n.document is not null
    group by n.kind
  ), asked as (
    select c.version, c.schema from chain c where c.version = schema_at.version
  )
  select case when a.schema ? 'partial'
    then '{"tables": null}' || coalesce(
      (select jsonb_object_agg(l.kind, l.documents) from lists l), '{}')
    else a.schema
  end
  from asked a
$$;

comment on function pgstream.schema_at is
  'A version of a schema, whole, also where the schema log holds only what had changed; null when '
  'there is no such version.';
