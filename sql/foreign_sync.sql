-- Keeps foreign tables as the tables that they stand for. Each table is repaired on its own: what
-- cannot be done for one is told and undone, and the others go on.

create or replace function pgstream._sync_table(
  database pgstream.foreign_databases, matched jsonb, by_name boolean, types jsonb,
  out action text, out detail text, out problem text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation constant regclass := ((matched ->> 'relation_oid')::bigint)::oid;
  v_remote constant jsonb := nullif(matched -> 'remote', 'null');
  v_is_renamed constant boolean := v_remote ->> 'name' <> matched ->> 'known_name';
  v_altered record;
begin
  if v_remote is null then
    problem := pgstream._drop_foreign_table(v_relation);
    action := case when problem is null then 'dropped' else 'missing' end;
    problem := format('the table is gone from the foreign database, but needed by %s', problem);
    if action = 'dropped' then
      problem := null;
    end if;
  elsif v_relation is null then
    if to_regclass(pgstream._qualified(database.local_schema, v_remote ->> 'name')) is not null then
      action := 'blocked';
      problem := 'there is another relation of this name';
    else
      action := 'created';
      detail := pgstream._create_foreign_table(database.server_name, database.remote_schema,
                                               database.local_schema, v_remote, types);
    end if;
  else
    select * into v_altered
    from pgstream._alter_foreign_table(
      v_relation, database.server_name, matched -> 'known', v_remote -> 'columns',
      by_name or not (matched ->> 'is_same')::boolean, types);
    update pgstream.foreign_tables f
    set remote_oid = ((v_remote ->> 'oid')::bigint)::oid, remote_name = v_remote ->> 'name'
    where f.relation = v_relation;
    if v_is_renamed then
      v_altered.done := format('renamed from %s', matched ->> 'known_name') || v_altered.done;
    end if;
    problem := nullif(array_to_string(v_altered.problems, '; '), '');
    if problem is null and not (v_remote ->> 'is_readable')::boolean then
      problem := 'the foreign database does not let us read it';
    end if;
    action := case when problem is not null then 'blocked'
                   when v_altered.done <> '{}' then 'altered' end;
    detail := nullif(array_to_string(v_altered.done, '; '), '');
  end if;
exception
  when lock_not_available then
    action := 'failed';
    problem := 'in use by another transaction: sync again';
  when unsafe_new_enum_value_usage then
    action := 'failed';
    problem := 'a materialized view needs a label that was added only now: sync again';
  when others then
    action := 'failed';
    problem := pgstream._error_text(sqlstate, sqlerrm);
end
$$;

comment on function pgstream._sync_table is
  'Creates, repairs or drops one foreign table, or says why it cannot.';

create or replace function pgstream._sync(database pgstream.foreign_databases)
  returns table (foreign_table text, action text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_place text;
  v_by_name boolean;
  v_remote record;
  v_matched jsonb;
  v_relation regclass;
  v_synced record;
  v_version bigint;
  v_table_names text[] := database.table_names;
  v_usual constant text := current_setting('lock_timeout');
begin
  if v_usual = '0' then
    -- nobody who reads a foreign table stands behind us for longer
    perform set_config('lock_timeout', '2s', true);
  end if;
  v_place := pgstream._open_catalogs(database.server_name);
  v_by_name := database.place is distinct from v_place;
  v_version := pgstream._remote_version(database.server_name);
  perform pgstream._check_schema(database);
  delete from pgstream.foreign_tables f
  where f.server_name = database.server_name
    and not exists (select from pg_class c where c.oid = f.relation);
  select * into v_remote from pgstream._read_remote(database, v_by_name);
  perform pgstream._close_catalogs();

  return query
    select m.type_name, 'altered', m.detail
    from pgstream._mirror_enums(database.server_name, database.local_schema, v_remote.types) m;
  select jsonb_agg(to_jsonb(m) || jsonb_build_object('relation_oid', m.relation::oid::bigint)
                   order by m.place)
  into v_matched
  from pgstream._matched_tables(database.server_name, v_remote.tables, v_by_name)
    with ordinality m(relation, known, known_name, remote, is_same, place);

  perform pgstream._rename_foreign_table(m.relation, m.known_name, m.new_name, false)
  from jsonb_to_recordset(v_matched) r(relation_oid oid, known_name text, remote jsonb)
  cross join lateral (
    select r.relation_oid::regclass as relation, r.known_name, r.remote ->> 'name' as new_name) m
  where m.relation is not null and m.known_name <> m.new_name;

  for v_matched in select m from jsonb_array_elements(v_matched) m loop
    v_relation := ((v_matched ->> 'relation_oid')::bigint)::oid;
    if v_matched ->> 'known_name' <> v_matched #>> '{remote,name}' then
      perform pgstream._rename_foreign_table(v_relation, v_matched ->> 'known_name',
                                             v_matched #>> '{remote,name}', true);
      v_table_names := array_replace(v_table_names, v_matched ->> 'known_name',
                                     v_matched #>> '{remote,name}');
    end if;
    foreign_table := coalesce(v_relation::text, pgstream._qualified(
      database.local_schema, v_matched #>> '{remote,name}'));
    select * into v_synced
    from pgstream._sync_table(database, v_matched, v_by_name, v_remote.types);
    update pgstream.foreign_tables f
    set problem = v_synced.problem
    where f.relation = v_relation
      and f.problem is distinct from v_synced.problem;
    if v_synced.action is not null then
      action := v_synced.action;
      detail := concat_ws('; ', v_synced.detail, v_synced.problem);
      return next;
    end if;
  end loop;
  perform pgstream._drop_unused_mirrors(database.server_name, v_remote.types);
  update pgstream.foreign_databases d
  set place = v_place, remote_version = v_version, synced_at = clock_timestamp(),
      last_error = null, last_error_at = null,
      table_names = v_table_names
  where d.server_name = database.server_name;
  perform set_config('lock_timeout', v_usual, true);
end
$$;

comment on function pgstream._sync is
  'Does the work of pgstream.sync_foreign_database for a database that is locked.';

create or replace function pgstream.sync_foreign_database(
  server_name text, dry_run boolean default false
) returns table (foreign_table text, action text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database constant pgstream.foreign_databases := pgstream._foreign_database(server_name);
  v_done jsonb;
begin
  begin
    select jsonb_agg(to_jsonb(s) order by s.n) into v_done
    from pgstream._sync(v_database) with ordinality s(foreign_table, action, detail, n);
    if dry_run then
      raise exception using errcode = 'PGS01';
    end if;
  exception
    when sqlstate 'PGS01' then
      -- what was tried is undone
    when lock_not_available then
      raise exception 'a foreign table of % is in use by another transaction', server_name
        using errcode = 'lock_not_available',
              hint = 'Sync again when it has ended, or wait longer: set lock_timeout = ''10s'';';
  end;
  return query
    select r.* from jsonb_to_recordset(v_done) r(foreign_table text, action text, detail text);
end
$$;

comment on function pgstream.sync_foreign_database is
  'Makes the foreign tables of an imported database what its tables are now, in place: what was '
  'added, dropped, renamed or retyped there, and the labels of enum types. Views on them are '
  'kept; where something needs a column or table that is gone, it is named and left as it is. '
  'Returns what was done, and what could not be. dry_run: only tells. A materialized view on a '
  'column whose type has changed is filled again.';
