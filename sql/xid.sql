create or replace function pgstream.xid_decode(id pgstream.xid) returns integer[]
  language sql immutable strict parallel safe
  return (
    select array_agg(substring(digits.bits from 8 * i + 1 for 8)::integer order by i)
    from (
      select string_agg(
               (strpos('0123456789abcdefghijklmnopqrstuv', substr(id::text, n, 1)) - 1)
                 ::bit(5)::text,
               '' order by n)::bit(100) as bits
      from generate_series(1, 20) n
    ) digits, generate_series(0, 11) i
  );

comment on function pgstream.xid_decode is
  'The 12 bytes of an xid: 4 of seconds, 3 machine, 2 process, 3 counter.';

create or replace function pgstream.xid_time(id pgstream.xid) returns timestamptz
  language sql immutable strict parallel safe
  return (
    select to_timestamp((b[1]::bigint << 24) + (b[2] << 16) + (b[3] << 8) + b[4])
    from (select pgstream.xid_decode(id) as b) bytes
  );

comment on function pgstream.xid_time is 'The second in which an xid was made.';

create or replace function pgstream.xid_machine(id pgstream.xid) returns integer[]
  language sql immutable strict parallel safe
  return (pgstream.xid_decode(id))[5:7];

comment on function pgstream.xid_machine is
  'The 3 machine bytes of an xid: the low bytes of the system identifier of the cluster.';

create or replace function pgstream.xid_pid(id pgstream.xid) returns integer
  language sql immutable strict parallel safe
  return (
    select (b[8] << 8) + b[9] from (select pgstream.xid_decode(id) as b) bytes
  );

comment on function pgstream.xid_pid is
  'The process of an xid: the low 16 bits of the backend that made it.';

create or replace function pgstream.xid_counter(id pgstream.xid) returns integer
  language sql immutable strict parallel safe
  return (
    select (b[10] << 16) + (b[11] << 8) + b[12]
    from (select pgstream.xid_decode(id) as b) bytes
  );

comment on function pgstream.xid_counter is 'The counter of an xid, 0 to 16777215.';

comment on function pgstream.xid is
  'A new xid; its seconds are those of the argument, by default of the transaction''s start.';

comment on function pgstream.xid_encode is
  'The xid of 12 bytes (0 to 255 each). Fails with 23514 when there are fewer or more.';
