-- The server whose log confirmed_lsn is a position of; null where that was not written down.
alter table pgstream.runner_lease add column system_identifier bigint;
