drop table pgstream.cached_tables;
drop table pgstream.foreign_tables;
drop table pgstream.foreign_types;
drop table pgstream.foreign_databases;
drop domain pgstream.foreign_text;
