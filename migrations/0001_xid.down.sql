drop function pgstream.xid(timestamptz);
drop function pgstream.xid_encode(integer[]);
drop sequence pgstream.xid_serial;
drop domain pgstream.xid;
