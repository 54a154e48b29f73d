drop table pgstream.snapshot_marks, pgstream.snapshot_tables, pgstream.snapshot_requests;
