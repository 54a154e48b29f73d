-- The schema and the record of the migrations that have run, in the shape that node-pg-migrate
-- keeps. Who installs holds it: others who install wait until that has ended, and go on from there.
-- Nobody but the owner may take a lock that is in the way of this one.
do $$
begin
  -- for grants.sql
  perform set_config('pgstream.older_relations', (
    select coalesce(array_agg(c.oid), '{}')::text
    from pg_class c
    where c.relnamespace = to_regnamespace('pgstream')), true);
  create schema if not exists pgstream;
exception when unique_violation then
  -- Somebody who installs at the same time has made it, and has committed.
  if to_regnamespace('pgstream') is null then
    raise;
  end if;
end
$$;

-- What is there already is run with the rights of who installs: triggers of a table, for one.
do $$
declare
  v_owner name;
begin
  select pg_get_userbyid(o.role) into v_owner
  from (
    select n.nspowner from pg_namespace n where n.nspname = 'pgstream'
    union
    select c.relowner from pg_class c where c.relnamespace = to_regnamespace('pgstream')
    union
    select p.proowner from pg_proc p where p.pronamespace = to_regnamespace('pgstream')
  ) o(role)
  where not pg_has_role(o.role, current_user, 'member')
  limit 1;
  if v_owner is not null then
    raise exception 'schema pgstream, or something in it, belongs to role "%"', v_owner
      using errcode = 'insufficient_privilege',
            detail = 'What that role has made there would run with the rights of whoever installs.',
            hint = format('Install as that role: set role %1$I; or, where pgstream was never '
                          'installed: drop schema pgstream cascade; or, where you trust it, give '
                          'it all to a role with your rights: reassign owned by %1$I to %2$I;',
                          v_owner, current_user);
  end if;
end
$$;

create table if not exists pgstream.migrations (
  id serial primary key,
  name varchar(255) not null,
  run_on timestamp not null
);

lock table pgstream.migrations in share row exclusive mode;

-- A dump without data has all that the migrations have made, but not their names: these stand in
-- the comment on the table as well.
do $$
begin
  if exists (select from pgstream.migrations) or to_regtype('pgstream.xid') is null then
    return;
  end if;
  insert into pgstream.migrations (name, run_on)
  select m.found[1], now()
  from regexp_matches(
    obj_description('pgstream.migrations'::regclass), '\d{4}_\w+', 'g') with ordinality m(found, n)
  order by m.n;
  if not found then
    raise exception 'schema pgstream is there, but pgstream.migrations is empty'
      using errcode = 'object_not_in_prerequisite_state',
            detail = 'So it cannot be told which of its tables are to be made.',
            hint = 'Restore the rows of pgstream.migrations from where the schema comes from.';
  end if;
end
$$;
