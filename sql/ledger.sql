-- The schema and the record of the migrations that have run, in the shape that node-pg-migrate
-- keeps.
create schema if not exists pgstream;

create table if not exists pgstream.migrations (
  id serial primary key,
  name varchar(255) not null,
  run_on timestamp not null
);
