-- xid: 12 bytes that sort by the second of their making, written as 20 base32hex digits. The layout
-- is that of github.com/rs/xid: 4 bytes seconds, 3 machine, 2 process, 3 counter, big-endian.
-- These two functions stand here because the default of a stored column calls them.

create domain pgstream.xid as char(20)
  constraint twenty_base32hex_digits check (value ~ '^[a-v0-9]{20}$');

create sequence pgstream.xid_serial as integer minvalue 0 maxvalue 16777215 cycle;

do $$
begin
  perform setval('pgstream.xid_serial', floor(random() * 16777216)::bigint);
end
$$;

create function pgstream.xid_encode(bytes integer[]) returns pgstream.xid
  language sql immutable strict parallel safe
  return (
    select coalesce(string_agg(
             substr('0123456789abcdefghijklmnopqrstuv',
                    1 + substring(id.bits from 5 * i + 1 for 5)::integer, 1),
             '' order by i), '')
    from (
      select (string_agg(u.byte::bit(8)::text, '' order by u.n) || '0000')::bit(100) as bits
      from unnest(bytes) with ordinality as u(byte, n)
    ) id, generate_series(0, 19) i
    where cardinality(bytes) = 12
  );

create function pgstream.xid(at_time timestamptz default current_timestamp) returns pgstream.xid
  language sql volatile parallel unsafe
  return (
    select pgstream.xid_encode(array[
             (seconds >> 24) & 255, (seconds >> 16) & 255, (seconds >> 8) & 255, seconds & 255,
             (machine >> 16) & 255, (machine >> 8) & 255, machine & 255,
             (process >> 8) & 255, process & 255,
             (counter >> 16) & 255, (counter >> 8) & 255, counter & 255]::integer[])
    from (
      select floor(extract(epoch from at_time))::bigint as seconds,
             (select system_identifier from pg_control_system()) as machine,
             pg_backend_pid() as process,
             nextval('pgstream.xid_serial') as counter
    ) parts
  );
