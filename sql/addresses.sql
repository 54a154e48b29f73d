-- Where webhooks may never go, as far as a URL itself tells. The runner judges what it connects to,
-- by the rules of src/delivery/address-policy.ts; these are the same, held equal by a test.

create or replace function pgstream._host_address(host text) returns inet
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_host text := lower(host);
  v_parts text[];
  v_part text;
  v_value numeric;
  v_left integer;
  v_address numeric := 0;
begin
  if v_host ^@ '[' then
    return btrim(v_host, '[]')::inet;
  end if;
  if v_host ~ '[^ -~]' and getdatabaseencoding() = 'UTF8' then
    v_host := translate(lower(normalize(v_host, nfkc)), e'\u3002\u00ad\u200b\u2060\ufeff', '.');
  end if;
  v_parts := string_to_array(regexp_replace(v_host, '\.$', ''), '.');
  if v_parts[cardinality(v_parts)] !~ '^([0-9]+|0x[0-9a-f]*)$' then
    return null;
  end if;

  for v_nth in 1 .. cardinality(v_parts) loop
    v_part := v_parts[v_nth];
    if cardinality(v_parts) > 4 or length(v_part) > 40
      or v_part !~ '^(0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*)$' then
      raise exception using errcode = 'invalid_text_representation';
    end if;
    v_value := case
      when v_part ^@ '0x' then pgstream._number(substr(v_part, 3), 16)
      when v_part ^@ '0' then pgstream._number(v_part, 8)
      else v_part::numeric
    end;
    -- the last part stands for all the bytes that are left
    v_left := case when v_nth = cardinality(v_parts) then 5 - v_nth else 1 end;
    if v_value >= 256::numeric ^ v_left then
      raise exception using errcode = 'invalid_text_representation';
    end if;
    v_address := v_address * 256::numeric ^ v_left + v_value;
  end loop;
  return '0.0.0.0'::inet + trunc(v_address)::bigint;
end
$$;

comment on function pgstream._host_address is
  'The address that the host of a URL is, in each way of writing one that the URL standard knows: '
  'decimal, hexadecimal, octal, shortened; null for a name. Fails with 22P02 where it ends in a '
  'number and is none.';

create or replace function pgstream._number(digits text, base integer) returns numeric
  language sql immutable strict parallel safe
  return (
    select coalesce(sum(
      (strpos('0123456789abcdef', d.digit) - 1) * base::numeric ^ (length(digits) - d.place)), 0)
    from regexp_split_to_table(digits, '') with ordinality d(digit, place)
    where d.digit <> '');

comment on function pgstream._number is 'Reads hexadecimal or octal digits.';

create or replace function pgstream._inner_address(address inet) returns inet
  language sql immutable strict parallel safe
begin atomic
  select case when e.network is null then address else
      format('%s.%s.%s.%s',
        get_byte(b.bytes, e.at) # e.mask, get_byte(b.bytes, e.at + 1) # e.mask,
        get_byte(b.bytes, e.at + 2) # e.mask, get_byte(b.bytes, e.at + 3) # e.mask)::inet
    end
  -- its bytes come after four of a header
  from (values (substr(inet_send(address), 5))) b(bytes)
  left join (values
    ('::ffff:0:0/96'::inet, 12, 0),   -- mapped: RFC 4291, 2.5.5.2
    ('::ffff:0:0:0/96'::inet, 12, 0), -- translated: RFC 2765, 2.1
    ('64:ff9b::/96'::inet, 12, 0),    -- NAT64: RFC 6052, 2.1
    ('2002::/16'::inet, 2, 0),        -- 6to4: RFC 3056, 2
    ('2001::/32'::inet, 12, 255)      -- Teredo: RFC 4380, 4
  ) e(network, at, mask) on address <<= e.network;
end;

comment on function pgstream._inner_address is
  'The IPv4 address that an IPv6 address leads to, else the address itself.';

create or replace function pgstream._is_forbidden(address inet) returns boolean
  language sql immutable strict parallel safe
begin atomic
  select i.address <<= any ('{
      100.100.100.200/32, 168.63.129.16/32, fd00:ec2::/32, fd20:ce::254/128,
      fd00:c1::a9fe:a9fe/128, fd00:42::42/128,
      0.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4,
      192.0.0.0/24, 192.0.2.0/24, 192.88.99.0/24, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24,
      192.31.196.0/24, 192.52.193.0/24, 192.175.48.0/24,
      2001::/23, 2001:db8::/32, 2620:4f:8000::/48, 3fff::/20
    }'::inet[])
    or family(i.address) = 6
      and not i.address <<= any ('{2000::/3, ::1/128, fc00::/7}'::inet[])
  from (values (pgstream._inner_address(address))) i(address);
end;

comment on function pgstream._is_forbidden is
  'Whether a webhook may never be sent to the address, private networks apart: metadata services '
  'of clouds, link-local, multicast, broadcast, unspecified and reserved addresses.';

create or replace function pgstream._is_allowed(address inet) returns boolean
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_setting constant text := coalesce(current_setting('pgstream.allowed_networks', true), '');
begin
  return exists (
    select from regexp_split_to_table(v_setting, '[\s,]+') n(network)
    where n.network <> '' and address <<= n.network::inet);
exception when invalid_text_representation then
  raise exception 'pgstream.allowed_networks is no list of networks'
    using errcode = 'invalid_parameter_value',
          detail = format('pgstream.allowed_networks: %s', v_setting),
          hint = 'Write, e.g., set pgstream.allowed_networks = ''169.254.7.0/24, fe80::/64'';';
end
$$;

comment on function pgstream._is_allowed is
  'Whether the setting pgstream.allowed_networks, a list separated by commas, names the address.';

create or replace function pgstream._check_address(url text, host text) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_address inet;
begin
  begin
    v_address := pgstream._host_address(host);
  exception when invalid_text_representation then
    raise exception 'the url has no valid host and port'
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'Write it in full, e.g. https://example.com:8443/webhook';
  end;
  if pgstream._is_forbidden(v_address) and not pgstream._is_allowed(v_address) then
    raise exception 'the url leads to %, where no webhook is sent', v_address
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'It is a link-local, reserved or metadata address. Where it is meant, name its '
                   'network in pgstream.allowed_networks here, and in '
                   'PGSTREAM_WEBHOOK_ALLOWED_NETWORKS of the runner.';
  end if;
end
$$;

comment on function pgstream._check_address is
  'Refuses (22023) a URL whose host is an address that webhooks are never sent to.';
