alter table pgstream.table_ids
  drop column born,
  drop column column_numbers,
  drop column last_column_number,
  add column schema_name text not null default '';

update pgstream.table_ids i
set schema_name = o.schema_name
from pgstream.schema_objects o
where o.kind = 'tables' and o.key = i.id::text;

alter table pgstream.table_ids alter column schema_name drop default;

drop table pgstream.table_rewrites;
drop table pgstream.schema_state;
drop table pgstream.schema_objects;
