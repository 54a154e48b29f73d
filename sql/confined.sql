-- How statements are run as the owner of a relation, confined: see owners.sql for why and for what
-- holds.

create or replace function pgstream._temporary_objects() returns text[]
  language sql stable parallel safe
  return array(
    select pg_describe_object(d.classid, d.objid, 0)
    from pg_depend d
    where d.refclassid = 'pg_namespace'::regclass and d.refobjid = pg_my_temp_schema()
    order by d.classid, d.objid);

comment on function pgstream._temporary_objects is
  'What there is in the temporary schema of the session.';

create or replace function pgstream._check_left_behind(
  present text[], owner oid, relation text
) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_left constant text := (
    select string_agg(o, ', ') from unnest(pgstream._temporary_objects()) o
    where o <> all (present));
begin
  if v_left is not null then
    raise exception 'code of role % has left something in this session', owner::regrole
      using errcode = 'insufficient_privilege',
            detail = format('Left behind while %s was written: %s.', relation, v_left),
            hint = format('See what is attached to it: \d+ %s', relation);
  end if;
end
$$;

comment on function pgstream._check_left_behind is
  'Fails where the temporary schema holds more than was present.';

create or replace function pgstream._deferred_triggers(rel oid) returns text
  language sql stable parallel safe
begin atomic
  with recursive written as (
    select rel as relation
    union
    select k.conrelid
    from written w
    join pg_constraint k on k.confrelid = w.relation and k.contype = 'f'
  )
  select string_agg(distinct format('%I of %s', coalesce(k.conname, t.tgname), t.tgrelid::regclass),
                    ', ')
  from written w
  join pg_trigger t on t.tgrelid = w.relation and t.tginitdeferred
  left join pg_constraint k on k.oid = t.tgconstraint;
end;

comment on function pgstream._deferred_triggers is
  'The constraints and triggers that wait for the commit, of a table and of those that reference '
  'it; null where there is none.';

create or replace function pgstream._give_to(door oid, owner oid) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  -- whom Postgres asks for CREATE, so that what is handed over could have been made
  v_must_grant constant boolean :=
    not (select r.rolsuper from pg_roles r where r.rolname = current_user)
    and not has_schema_privilege(owner, 'pgstream', 'create');
begin
  if v_must_grant then
    -- two at once would fail to update the one row of the schema
    if not pgstream._try_lock('owner') then
      raise exception 'another refresh is changing the rights on schema pgstream'
        using errcode = 'lock_not_available', hint = 'Refresh again when it is over.';
    end if;
    execute format('grant create on schema pgstream to %s', owner::regrole);
  end if;
  execute format('alter materialized view %s owner to %s', door::regclass, owner::regrole);
  if v_must_grant then
    execute format('revoke create on schema pgstream from %s', owner::regrole);
  end if;
end
$$;

comment on function pgstream._give_to is
  'Gives a materialized view of schema pgstream to a role, which may create nothing there before '
  'any of its code runs.';

create or replace function pgstream._execute_inside(
  owner oid, relation text, statements text[], question text,
  out counts bigint[], out answer text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_name constant text := format('pgstream._of_owner_%s', pg_backend_pid());
  v_door oid;
  v_present text[];
begin
  execute format(
    'create function pg_temp.pgstream_execute(%s)
       language plpgsql volatile parallel unsafe
       set search_path = pg_catalog, pg_temp
       set row_security = off
     as %L',
    pg_get_function_arguments(p.oid), p.prosrc)
  from pg_proc p
  where p.oid = 'pgstream._execute'::regproc;
  execute format('grant execute on function pg_temp.pgstream_execute to %s', owner::regrole);
  create temporary table pgstream_result (counts bigint[], answer text) on commit drop;
  execute format('grant insert on pg_temp.pgstream_result to %s', owner::regrole);
  execute format(
    'create materialized view %s as
     select from pg_temp.pgstream_execute(%L::text[], %L::text, ''pg_temp.pgstream_result'')
     with no data',
    v_name, statements, question);
  v_door := to_regclass(v_name);
  perform pgstream._give_to(v_door, owner);

  v_present := pgstream._temporary_objects();
  execute format('refresh materialized view %s', v_door::regclass);
  perform pgstream._check_left_behind(v_present, owner, relation);

  select r.counts, r.answer into counts, answer from pg_temp.pgstream_result r;
  execute format('drop materialized view %s', v_door::regclass);
  drop table pg_temp.pgstream_result;
  drop function pg_temp.pgstream_execute;
end
$$;

comment on function pgstream._execute_inside is
  'Runs statements as pgstream._execute does, as a role whose code gets no rights by that.';
