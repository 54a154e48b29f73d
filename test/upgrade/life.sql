-- The life that freeze.mjs gives to a database before it dumps it. Its parts begin with lines
-- \part NAME, and each is one transaction. {receiver} is where requests go: /up accepts them, /down
-- never does, /picky all but the number 13, and /gone is gone for good. {depot} says where the
-- database to be imported is.

\part roles
create role frozen_shop login;
create role frozen_rival login;
create role frozen_oncall login;
create role frozen_courier login replication;
create role frozen_till login;
create role frozen_ear login;
create role frozen_eval login;

\part depot
create table public.item (id integer primary key, name text not null, price numeric(8,2));
create table public.bin (code text primary key, item integer, at timestamptz);
insert into public.item select n, format('item %s', n), n * 1.25 from generate_series(1, 12) n;
insert into public.bin select format('B%s', n), n, '2026-01-01 00:00:00+00'
from generate_series(1, 4) n;

\part tables
create extension citext;
create schema shop;
create schema cache;
create type shop.mood as enum ('new', 'paid', 'sent');
create domain shop.percent as integer check (value between 0 and 100);
create table shop.orders (
  id bigint primary key, total numeric(12,2), status shop.mood default 'new', gone text,
  discount shop.percent, email citext, card text);
alter table shop.orders replica identity full;
alter table shop.orders drop gone;
create table shop.stock (sku text primary key, n integer, at timestamptz);
create table shop.customer (
  id bigint generated always as identity primary key, name text not null, note text);
create table shop.archive (id integer primary key, body text);
insert into shop.archive select n, format('page %s', n) from generate_series(1, 400) n;
create table shop.secured (id integer primary key, owner name, body text);
alter table shop.secured enable row level security;
create table shop.visits (id integer, day date, primary key (id, day)) partition by range (day);
create table shop.visits_2026 partition of shop.visits
  for values from ('2026-01-01') to ('2027-01-01');
create table shop.keyless (line text);
create materialized view shop.totals as select status, sum(total) from shop.orders group by status;
comment on table shop.orders is 'What was ordered';
create function shop.shape(o jsonb) returns jsonb language sql immutable parallel safe
  return o || '{"shape": 2}';
grant usage on schema shop to frozen_shop, frozen_rival, frozen_ear, frozen_courier, frozen_eval;
grant select on all tables in schema shop to frozen_shop, frozen_courier;
grant select (id, status, total) on shop.orders to frozen_rival;
grant select on shop.customer, shop.visits to frozen_rival, frozen_ear;

\part grants
select pgstream.grant_subscriber('frozen_shop');
select pgstream.grant_subscriber('frozen_rival');
select pgstream.grant_operator('frozen_oncall');
select pgstream.grant_runner('frozen_courier');
select pgstream.grant_emitter('frozen_till');
select pgstream.grant_subscriber('frozen_ear');
select pgstream.grant_listener('frozen_ear');
-- as the hint of a refused subscription says
grant select on pgstream.schema_log to frozen_shop;
select pgstream.allow_rls('shop.secured', 'frozen_rival');
grant select on shop.secured to frozen_rival;
select pgstream.register_transform('shop.shape(jsonb)');

\part foreign
select from pgstream.import_foreign_database(server_name => 'frozen_depot', {depot});
select pgstream.cache_foreign_table('frozen_depot.item', 'cache.item', refresh_every => '1 hour');
select pgstream.cache_foreign_table(
  'frozen_depot.bin', 'cache.bin', mode => 'materialized_view', refresh_every => '1 hour');

\part subscriptions
insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, event_types)
values ('plain', '{receiver}/down/plain', 'shop', 'orders', null),
       ('delivered', '{receiver}/up/delivered', 'shop', 'stock', null),
       ('wildcard', '{receiver}/up/wildcard', 'shop', 's*', '{I,U,D}'),
       ('everything', '{receiver}/up/everything', '', '', '{D,T}'),
       ('schema log', '{receiver}/up/log', 'pgstream', 'schema_log', '{I}'),
       ('partitions', '{receiver}/down/partitions', 'shop', 'visits', null),
       ('cache', '{receiver}/down/cache', 'cache', 'item', null),
       ('gone', '{receiver}/gone', 'shop', 'stock', null),
       ('paused', '{receiver}/up/paused', 'shop', 'stock', null),
       ('business', '{receiver}/down/business', '', '', '{order.*}'),
       ('one type', '{receiver}/up/one-type', '', '', '{order.paid}'),
       ('archive', '{receiver}/up/archive', 'shop', 'archive', '{I}'),
       ('keyless', '{receiver}/down/keyless', 'shop', 'keyless', '{I}');

insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, filter, payload)
values ('filtered', '{receiver}/down/filtered', 'shop', 'orders',
        'new.total > 100 and op = ''I''', null),
       ('payload', '{receiver}/down/payload', 'shop', 'orders', null,
        'jsonb_build_object(''order'', new.id, ''total'', new.total)'),
       ('enum', '{receiver}/down/enum', 'shop', 'orders',
        'new.status > ''new'' and old.status is distinct from new.status', null),
       ('types', '{receiver}/down/types', 'shop', 'orders',
        'new.status = any (''{paid,sent}''::shop.mood[]) and new.discount < 50', null),
       ('extension', '{receiver}/down/extension', 'shop', 'orders',
        'new.email::text like ''%@example.com''', null),
       ('transform', '{receiver}/down/transform', 'shop', 'orders', null,
        'shop.shape(jsonb_build_object(''id'', new.id))'),
       ('failing', '{receiver}/up/failing', 'shop', 'stock', '10 / new.n > 0', null),
       ('invalid', '{receiver}/down/invalid', 'shop', 'customer', 'new.note is not null', null);

insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, format)
select format, format('{receiver}/down/%s', format), 'shop', 'stock', format
from unnest('{standard,cloudevents,cloudevents_binary,debezium}'::text[]) format;

insert into pgstream.webhook_subscriptions (
  name, url, schema_name, table_name, headers, max_in_flight, timeout, inject_metadata, ordering,
  rate, batch_size, batch_wait, retry_for, on_exhausted, spill_quota, on_quota, resend_rewritten,
  secret)
values ('settings', '{receiver}/down/settings', 'shop', 'stock',
        '{"authorization": "Bearer frozen", "x-shop": "1"}', 4, '3 s', true, 'strict',
        100, 1, '0', '2 days', 'block', 1048576, 'drop_oldest', true,
        'whsec_EPXBsUJpmVbLnzqq4lStHMVZQ4VFLOEdlnGYtOcjWrk='),
       ('batch', '{receiver}/down/batch', 'shop', 'stock',
        '{}', null, null, false, 'none', null, 5, '1 s', '3 days', 'dead_letter', 10737418240,
        'hold', false,
        'whsec_jmtSogDHVeevkR1S1Oa0ZSH2hgDMxzZDShW0V+vJmXQ='),
       ('picky', '{receiver}/picky', 'shop', 'stock',
        '{}', null, null, false, 'key', null, 1, '0', '1 s', 'dead_letter', 10737418240,
        'disable', false, null);

\part owners
set local role frozen_shop;
insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, secret)
values ('of shop', '{receiver}/down/of-shop', 'shop', 'customer',
        'whsec_8pQMcmjC5VfhDBLhHzA9sPXCEM3Vf5mfW0bvhgP1yMg='),
       ('to be denied', '{receiver}/down/to-be-denied', 'shop', 'stock', null);
insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, event_types)
values ('log of shop', '{receiver}/down/log-of-shop', 'pgstream', 'schema_log', '{I}');
set local role frozen_rival;
insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, filter)
values ('of rival', '{receiver}/down/of-rival', 'shop', 'orders', 'new.total > 10'),
       ('of fewer columns', '{receiver}/down/of-fewer-columns', 'shop', 'visits', null),
       ('exempt', '{receiver}/down/exempt', 'shop', 'secured', null);
set local role frozen_ear;
insert into pgstream.webhook_subscriptions (name, url, event_types)
values ('of ear', '{receiver}/down/of-ear', '{order.*}');

\part changes
insert into shop.orders (id, total, status, discount, email, card)
select n, n * 30.10, 'new', n * 10, format('%s@example.com', n), repeat('4', 16)
from generate_series(1, 6) n;
update shop.orders set status = 'paid', total = total + 1 where id in (2, 4);
delete from shop.orders where id = 6;
insert into shop.stock select format('S%s', n), n, '2026-01-01 00:00:00+00'
from generate_series(10, 15) n;
update shop.stock set n = n + 100 where sku = 'S11';
insert into shop.stock values ('S0', 0, null);
delete from shop.stock where sku = 'S15';
insert into shop.customer (name, note) values ('Ann', 'first'), ('Bob', null);
update shop.customer set note = 'second' where name = 'Bob';
insert into shop.secured values (1, 'frozen_rival', 'mine');
insert into shop.visits values (1, '2026-02-03');
insert into shop.keyless values ('no key');

\part emitted
set local role frozen_till;
select pgstream.emit('order.paid', '{"id": 9007199254740993}', key => '9007199254740993');
select pgstream.emit('order.sent', '{"id": 9007199254740993}', key => '9007199254740993');

\part truncated
truncate shop.customer, shop.keyless;

\part revoked
revoke select on shop.stock from frozen_shop;
revoke select on shop.visits from frozen_rival;
grant select (id) on shop.visits to frozen_rival;
update pgstream.webhook_subscriptions set enabled = false where name = 'paused';
alter table shop.customer rename note to remark;
alter table shop.stock add shelf text;

\part later
insert into shop.stock (sku, n) values ('S20', 20);
update shop.stock set shelf = 'top' where sku = 'S10';

\part snapshot
insert into pgstream.snapshot_requests (schema_name, table_names, subscription, chunk_rows, share)
select 'shop', '{archive}', s.id, 10, 0.01
from pgstream.webhook_subscriptions s where s.name = 'archive';
insert into pgstream.snapshot_requests (schema_name, table_names, paused)
values ('shop', '{stock}', true);

\part unfollowed
set local transaction isolation level repeatable read;
create table shop.late (id integer primary key);

\part unpassed
insert into pgstream.webhook_subscriptions (name, url, schema_name, table_name, secret)
values ('unpassed', '{receiver}/up/unpassed', 'shop', 'orders',
        'whsec_tTlmQWmsfL8aUBCqEoGqJqYXe3ZCAFYHQh1tEIAYlnE=');
alter table shop.stock alter n type bigint;
