-- The schema and the record of the migrations that have run, in the shape that node-pg-migrate
-- keeps. Who installs holds it: others who install wait until that has ended, and go on from there.
-- Nobody but the owner may take a lock that is in the way of this one.
do $$
begin
  create schema if not exists pgstream;
exception when unique_violation then
  -- Somebody who installs at the same time has made it, and has committed.
  if to_regnamespace('pgstream') is null then
    raise;
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
