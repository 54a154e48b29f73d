-- Signatures of Standard Webhooks in SQL, for previews. A secret is not shown to anybody, and what
-- it signs only to the owner of the subscription, who could have the runner sign and send anything
-- anyway, and to those who may read secrets.

create or replace function pgstream._hmac_sha256(key bytea, message bytea) returns bytea
  language sql immutable strict parallel safe
begin atomic
  -- RFC 2104, for keys of at most one block of 64 bytes
  with pads as (
    select string_agg(set_byte('\x00', 0, b.byte # 54), '' order by n.i) as inner_pad,
           string_agg(set_byte('\x00', 0, b.byte # 92), '' order by n.i) as outer_pad
    from generate_series(0, 63) n(i)
    cross join lateral (
      select case when n.i < length(key) then get_byte(key, n.i) else 0 end as byte) b
  )
  select sha256(p.outer_pad || sha256(p.inner_pad || message)) from pads p;
end;

comment on function pgstream._hmac_sha256 is 'HMAC with SHA-256; the key has at most 64 bytes.';

create or replace function pgstream._sign(
  secrets text, content text, out signature text, out note text
)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
begin
  if secrets is null then
    note := 'the subscription has no secret';
  elsif secrets ^@ 'sealed:' then
    note := 'the secret is sealed: only a runner that has the key can sign';
  elsif secrets ~ '(^|\s)whsk_' then
    note := 'ed25519 (whsk_) cannot be signed with in SQL';
  elsif content is not null then
    signature := (
      select string_agg(
        format('v1,%s', translate(encode(pgstream._hmac_sha256(
          decode(substr(s.secret, 7), 'base64'), convert_to(content, 'UTF8')), 'base64'),
          E'\n', '')),
        ' ' order by s.n)
      from regexp_split_to_table(btrim(secrets), '\s+') with ordinality s(secret, n));
  end if;
end
$$;

comment on function pgstream._sign is
  'The value of webhook-signature; note: why there is none.';

create or replace view pgstream._signing with (security_barrier) as
select s.id as subscription,
       case when has_column_privilege('pgstream.webhook_subscriptions', 'headers', 'select')
         then s.headers
         else coalesce(
           (select jsonb_object_agg(h.key, '***') from jsonb_object_keys(s.headers) h(key)), '{}')
       end as headers,
       g.signature,
       case when r.is_permitted then g.note
         else 'only the owner of the subscription is shown what its secret signs' end as note
from pgstream.webhook_subscriptions s
left join pgstream.subscription_secrets k on s.secret = format('kept:%s', k.id)
cross join lateral (
  select s.owner = current_user
         or has_table_privilege('pgstream.subscription_secrets', 'select') as is_permitted) r
cross join lateral pgstream._sign(
  case when r.is_permitted then k.secret end,
  nullif(current_setting('pgstream.to_sign', true), '')) g
where s.owner = current_user
   or (select has_function_privilege('pgstream._operator()', 'execute'));

comment on view pgstream._signing is
  'What the secrets of subscriptions make of the text in the setting pgstream.to_sign, for those '
  'who may know. A view, since a definer function cannot tell who calls it.';
comment on column pgstream._signing.subscription is 'The subscription.';
comment on column pgstream._signing.headers is
  'Its headers; their values are *** for those who may not read the column.';
comment on column pgstream._signing.signature is 'The value of webhook-signature; null for none.';
comment on column pgstream._signing.note is 'Why there is no signature.';
