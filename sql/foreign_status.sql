create or replace view pgstream.foreign_status as
select d.server_name, pgstream._qualified(d.remote_schema, f.remote_name) as remote_table,
       c.oid::regclass as foreign_table,
       case
         when s.oid is null then 'dropped'
         when d.last_error is not null then 'unreachable'
         when f.relation is null then 'empty'
         when c.oid is null then 'dropped'
         when f.problem is not null then 'blocked'
         else 'in step'
       end as state,
       coalesce(d.last_error, f.problem) as problem,
       array(select k.c ->> 'name' from jsonb_array_elements(f.columns) k(c)
             where k.c ->> 'key' is not null
             order by (k.c ->> 'key')::integer) as key_columns,
       d.synced_at, d.remote_version as remote_schema_version
from pgstream.foreign_databases d
left join pg_foreign_server s on s.srvname = d.server_name
left join pgstream.foreign_tables f on f.server_name = d.server_name
left join pg_class c on c.oid = f.relation;

comment on view pgstream.foreign_status is
  'How each foreign table stood to the table that it is for when it was last looked at: a row '
  'each, and one for a database without any. To look now: select * from '
  'pgstream.sync_foreign_database(''...'', dry_run => true).';
comment on column pgstream.foreign_status.server_name is 'The foreign server.';
comment on column pgstream.foreign_status.remote_table is 'The table in the foreign database.';
comment on column pgstream.foreign_status.foreign_table is 'The foreign table here.';
comment on column pgstream.foreign_status.state is
  'in step; blocked: see problem; unreachable: the last attempt failed, see problem; empty: no '
  'table is imported; dropped: somebody has dropped the foreign table or server.';
comment on column pgstream.foreign_status.problem is 'What is wrong; null while all is well.';
comment on column pgstream.foreign_status.key_columns is
  'The primary key of the table, or else a unique one, as the columns are called there.';
comment on column pgstream.foreign_status.synced_at is 'When it was last brought in step.';
comment on column pgstream.foreign_status.remote_schema_version is
  'How many versions the schema log there had by then; null where no pgstream runs there.';
