-- Nobody but the owner gets anything by default.
revoke all on schema pgstream from public;
revoke all on all tables in schema pgstream from public;
revoke all on all sequences in schema pgstream from public;
revoke all on all routines in schema pgstream from public;
revoke all on type pgstream.xid from public;
revoke all on type pgstream.foreign_text from public;
