drop table pgstream.schema_positions;
