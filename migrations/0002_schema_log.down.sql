drop table pgstream.ddl_error;
drop table pgstream.table_ids;
drop table pgstream.schema_log;
