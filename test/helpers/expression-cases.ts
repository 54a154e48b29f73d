/** Expressions over table `orders` of `ordersTable`, and what is to become of them. */

/** Functions as an attacker would leave them: each says in table `ran` that it has been called. */
export const ordersTable = `
  create extension if not exists citext;
  create type mood as enum ('sad', 'ok', 'happy');
  create domain positive as integer check (value > 0);
  create domain word as text;
  create type pair as (a integer, b integer);
  create table orders (
    id bigint primary key, total numeric(12,2), status text, placed_at timestamptz, day date,
    at time, tags text[], doc jsonb, raw json, feeling mood, amount positive, words word[],
    code varchar(10) collate "C", email citext, op text, "Odd ""name" integer, ratio double precision,
    blob bytea, span int4range, address inet, key uuid, bits bit(4), wait interval, letter "char",
    fixed char(5), local timestamp, flag boolean
  );
  alter table orders replica identity full;
  create table ran (what text);
  create function evil() returns boolean language plpgsql immutable as
    $$ begin insert into ran values ('immutable'); return true; end $$;
  create function evil_definer() returns boolean language plpgsql immutable security definer as
    $$ begin insert into ran values ('definer'); return true; end $$;
  create function evil_cast(integer) returns mood language plpgsql immutable as
    $$ begin insert into ran values ('cast'); return 'ok'; end $$;
  create cast (integer as mood) with function evil_cast(integer);
  create domain evil_domain as integer check (evil());
  create function lower(mood) returns text language plpgsql immutable as
    $$ begin insert into ran values ('lower'); return 'x'; end $$`;

/** Values for columns of `orders`, with id 1 to 8. */
export const orderRows = [
  `(1, 10.50, 'new', '2025-03-01 10:00:00+00', '2025-03-01', '10:00', '{a,b}',
    '{"a": 1, "b": {"c": "x"}, "n": 12345678901234567890.5}', '{"a": 1}', 'sad', 1, '{one,two}', 'abc',
    'A@Example.com', 'op', 1, 0.1, '\\x00ff', '[1,5)', '10.0.0.1', '6ecd8c99-4036-403d-bf84-cf8400f67836',
    '1010', '1 day 02:03', 'a', 'ab', '2025-03-01 10:00:00', true)`,
  `(2, 99999999.99, 'paid', '2024-12-31 23:59:59.999999+00', '2024-02-29', '23:59:59.5', '{}', '[]',
    'true', 'happy', 2147483647, null, 'ABC', 'b@example.com', 'U', -1, 'NaN', '', 'empty', '::1',
    null, '0000', '-1 mon', 'b', 'abcde', 'infinity', false)`,
  `(3, 0, '', '-infinity', '-infinity', '00:00', '{NULL}', '"text"', '[1]', 'ok', null, '{"a b"}', '',
    '', null, 0, 'Infinity', '\\x41', '(,)', '192.168.0.0/16', null, null, '00:00', '', '', null, null)`,
  '(4)',
  `(5, -1.01, 'it''s', '2025-06-01 00:00:00+02', '2025-06-01', '12:00', '{"a,b","c\\"d"}',
    '{"a": null}', '{}', 'happy', 5, '{}', 'zz', 'Ä@example.com', '''', 7, -0.5, null, '[3,3]', null,
    null, '1111', '1 year', 'z', 'x', '2025-06-01', true)`,
  `(6, 100, E'line\\nbreak\\t"quoted" \\\\ back', now(), 'today', '01:02:03', '{x,NULL,z}', '{"a": "1"}',
    null, 'ok', 3, '{x}', 'Ünï', 'ünï@x', 'I', 3, 1e300, '\\xdeadbeef', '[1,1000)', '10.0.0.2/32', null,
    '1000', '3 days', '1', 'e', '2000-01-01', false)`,
  `(9007199254740993, 12.34, '😀 emoji', '2025-03-01 10:00:00.123456+00', null, null, null, null, null,
    null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
    null)`,
  `(8, 10.50, 'NEW', '2025-03-01 10:00:00+00')`,
];

/** What changes them afterwards. */
export const orderChanges = [
  `update orders set status = 'paid' where id in (1, 3, 4)`,
  `update orders set total = total * 2, tags = tags || '{late}' where id in (2, 5)`,
  `update orders set doc = '{"a": 2}', feeling = 'happy' where id = 6`,
  `update orders set id = 10 where id = 8`,
  `delete from orders where id in (4, 5)`,
  `truncate orders`,
];

export const acceptedFilters: readonly string[] = [
  `new.total > 100`,
  `new.total > 10.5`,
  `new.total >= 10.50 and new.status = 'new'`,
  `new.total = 10.5`,
  `new.total is null`,
  `new.total * 3 - 1 between 30 and 400`,
  `round(new.total / 3, 2) = 3.50`,
  `new.status = 'paid' and old.status is distinct from 'paid'`,
  `old.status is distinct from new.status`,
  `old.status = new.status`,
  `op = 'I'`,
  `op in ('U', 'D')`,
  `new.op = op`,
  `new.op is null and op <> 'T'`,
  `op = 'T'`,
  `old is null`,
  `new is null`,
  `(new.id, new.status) is distinct from (old.id, old.status)`,
  `new.id > 9007199254740992`,
  `(new.id, new.total) > (5, 50)`,
  `new.status in ('new', 'paid', null)`,
  `new.status not in ('new', null)`,
  `new.status like '%''%'`,
  `new.status ilike 'NEW'`,
  `new.status ~ '^[a-z]+$'`,
  `new.status ~* 'LINE.break'`,
  `length(new.status) > 4`,
  `upper(new.status) = 'NEW'`,
  `new.status = '😀 emoji'`,
  `new.status = ''`,
  `new.status > 'm' collate "C"`,
  `new.status || old.status = 'paidnew'`,
  `coalesce(new.status, old.status, 'none') = 'paid'`,
  `nullif(new.status, 'new') is null`,
  `case when new.total > 50 then new.status = 'paid' else new.flag end`,
  `greatest(new.total, old.total) > 90`,
  `new.placed_at > '2025-01-01'`,
  `new.placed_at >= '2025-03-01 11:00:00+01' and isfinite(new.placed_at)`,
  `new.placed_at = '-infinity'`,
  `extract(year from new.placed_at) = 2025`,
  `date_trunc('month', new.placed_at) = '2025-03-01'`,
  `new.placed_at at time zone 'Europe/Berlin' < '2025-01-01 01:00'`,
  `new.placed_at::date = new.day`,
  `to_char(new.placed_at, 'YYYY-MM-DD HH24:MI:SS.US') = '2025-03-01 10:00:00.123456'`,
  `new.day between '2024-01-01' and '2024-12-31'`,
  `new.day - 1 = '2025-02-28'`,
  `new.at > '11:00'`,
  `new.local < 'infinity'`,
  `new.wait > '1 day'`,
  `new.wait = '24:00' or new.wait < '0'`,
  `'a' = any (new.tags)`,
  `new.tags @> '{x}'`,
  `new.tags[2] = 'b'`,
  `cardinality(new.tags) = 0`,
  `new.tags = array['a,b', 'c"d', 'late']`,
  `array_length(old.tags, 1) < array_length(new.tags, 1)`,
  `new.words[1] = 'one'`,
  `new.doc ->> 'a' = '1'`,
  `(new.doc ->> 'a')::integer = 2`,
  `new.doc #>> '{b,c}' = 'x'`,
  `new.doc @> '{"a": 1}'`,
  `new.doc ? 'a'`,
  `new.doc @? '$.b.c'`,
  `new.doc @@ '$.a > 1'`,
  `jsonb_typeof(new.doc) = 'string'`,
  `(new.doc ->> 'n')::numeric = 12345678901234567890.5`,
  `new.doc = '[]'`,
  `new.raw ->> 'a' = '1'`,
  `new.feeling = 'happy'`,
  `new.feeling > 'sad'`,
  `old.feeling is distinct from new.feeling and new.feeling in ('ok', 'happy')`,
  `new.amount > 2`,
  `new.code < 'a'`,
  `new.code = 'ABC' or lower(new.code) = 'zz'`,
  `new.email = 'a@EXAMPLE.com'`,
  `new.email like '%@example.com'`,
  `new."Odd ""name" > 0`,
  `new.ratio = 'NaN'`,
  `new.ratio > 1e100`,
  `new.ratio = 0.1`,
  `new.blob = '\\x00ff'`,
  `octet_length(new.blob) = 0`,
  `new.span @> 4`,
  `isempty(new.span)`,
  `new.address << '10.0.0.0/8'`,
  `new.key = '6ECD8C99-4036-403d-bf84-cf8400f67836'`,
  `new.bits & '1000' = '1000'`,
  `new.letter = 'a'`,
  `new.fixed = 'ab'`,
  `new.flag`,
  `not new.flag`,
  `new.flag is not true`,
  `num_nulls(new.total, new.status) = 2`,
  `md5(new.status) = md5('new')`,
  `to_jsonb(new) ->> 'status' = 'paid'`,
  `hashtext(new.status) % 2 = 0`,
  `to_tsvector('english', new.status) @@ to_tsquery('english', 'paid')`,
  `null::boolean`,
  `true`,
];

interface Refused {
  expression: string;
  code: string;
  message: RegExp;
}

const refused = (expression: string, code: string, message: RegExp): Refused => ({
  expression,
  code,
  message,
});

export const refusedFilters: readonly Refused[] = [
  // names
  refused(`new.totl > 100`, '42703', /column new\.totl does not exist/),
  refused(`total > 100`, '42702', /"total" is ambiguous/),
  refused(`nothing`, '42703', /"nothing" does not exist/),
  refused(`orders.total > 1`, '42P01', /"orders"/),
  refused(`new.ctid is null`, '42703', /ctid/),
  refused(`pgstream_event is null`, '42703', /pgstream_event/),
  // types
  refused(`new.total`, '42804', /of type numeric, not boolean/),
  refused(`new.id`, '42804', /of type bigint, not boolean/),
  refused(`'true'`, '42804', /of type text, not boolean/),
  refused(`null`, '42804', /of type text, not boolean/),
  refused(`new.total = 'ten'`, '22P02', /ten/),
  refused(`new.feeling = 'furious'`, '22P02', /furious/),
  refused(`new.total > new.status`, '42883', /operator does not exist/),
  refused(`(new.total > 1, true)`, '42P16', /record/),
  // text
  refused(``, '42601', /empty/),
  refused(` \n`, '42601', /empty/),
  refused(`true;`, '42601', /semicolon/),
  refused(`true; drop table orders; --`, '42601', /comment|semicolon/),
  refused(`true -- and more`, '42601', /comment/),
  refused(`true /* and */`, '42601', /comment/),
  refused(`new.status = $$a$$`, '42601', /dollar/),
  refused(`new.total > $1`, '42601', /dollar/),
  refused(`new.status = E'a'`, '42601', /prefix/),
  refused(`new.status = U&'\\0061'`, '42601', /prefix|backslash/),
  refused(`U&"new" is null`, '42601', /prefix/),
  refused(`new.status = 'a`, '42601', /quote/),
  refused(`new.status = "a`, '42601', /quote/),
  refused(`true \\gexec`, '42601', /backslash/),
  refused(`true and`, '42601', /syntax error/),
  refused(`(true`, '42601', /not closed/),
  refused(`true)`, '42601', /not opened/),
  refused(`true) or (true`, '42601', /not opened/),
  refused(`true) from (select 1) x, lateral (select true`, '42601', /not opened/),
  refused(`true)) union select (select evil()`, '42601', /not opened/),
  refused(`true union select true`, '42601', /syntax error/),
  refused(`true), (evil()`, '42601', /not opened/),
  refused(`${'('.repeat(101)}true${')'.repeat(101)}`, '54001', /100 deep/),
  refused(`true or new.status = '${'x'.repeat(10_000)}'`, '54000', /10000/),
  refused(`new.status = '\u0001'`, '42601', /control/),
  // what is more than one row
  refused(`exists (select from ran)`, '0A000', /sub-queries/),
  refused(`(select true)`, '0A000', /sub-queries/),
  refused(`new.id in (select id from orders)`, '0A000', /sub-queries/),
  refused(`values (true)`, '0A000', /sub-queries/),
  refused(`count(*) > 1`, '0A000', /aggregates/),
  refused(`max(new.id) > 1`, '0A000', /aggregates/),
  refused(`row_number() over () = 1`, '0A000', /aggregates and window/),
  refused(`generate_series(1, 2) = 1`, '0A000', /return sets/),
  refused(`unnest(new.tags) = 'a'`, '0A000', /return sets/),
  refused(`jsonb_path_query(new.doc, '$.a') is null`, '0A000', /return sets/),
  // functions of users, which planning would run
  refused(`evil()`, '42501', /public\.evil\(\)/),
  refused(`public.evil()`, '42501', /public\.evil\(\)/),
  refused(`public.evil_definer()`, '42501', /public\.evil_definer\(\)/),
  refused(`1::public.mood = 'ok'`, '42501', /evil_cast/),
  refused(`1::public.evil_domain = 1`, '0A000', /domain/),
  refused(`new.id = 1::public.positive`, '0A000', /domain/),
  refused(`public.lower(new.feeling) = 'x'`, '42501', /public\.lower/),
  refused(`pgstream.xid() is null`, '42501', /pgstream\.xid/),
  refused(`(row(1, 2)::public.pair).a = 1`, '0A000', /pair/),
  // the clock, chance, and settings
  refused(`random() < 0.5`, '42501', /random/),
  refused(`gen_random_uuid() is null`, '42501', /gen_random_uuid/),
  refused(`clock_timestamp() > new.placed_at`, '42501', /clock_timestamp/),
  refused(`statement_timestamp() > new.placed_at`, '42501', /statement_timestamp/),
  refused(`"now"() > new.placed_at`, '42501', /now\(\)/),
  refused(`current_date > new.day`, '0A000', /time of the commit/),
  refused(`localtimestamp > new.local`, '0A000', /time of the commit/),
  refused(`current_user = 'postgres'`, '0A000', /time of the commit/),
  refused(`new.placed_at > 'now'`, '0A000', /another one at each delivery/),
  refused(`new.day = 'today'`, '0A000', /another one/),
  refused(`new.day = date 'TOMORROW'`, '0A000', /another one/),
  refused(`new.placed_at < 'yesterday 12:00'`, '0A000', /another one/),
  refused(`new.status::date = '2025-01-01'`, '0A000', /"today"/),
  refused(`new.tags::timestamptz[] is null`, '0A000', /"today"/),
  refused(`age(new.placed_at) > '1 day'`, '42501', /age/),
  refused(`current_setting('pgstream.x') = ''`, '42501', /current_setting/),
  refused(`to_tsvector(new.status) is null`, '42501', /to_tsvector/),
  refused(`txid_current() > 1`, '42501', /txid_current/),
  // catalogs, files, sessions
  refused(`set_config('role', 'none', false) is null`, '42501', /set_config/),
  refused(`pg_sleep(10) is null`, '42501', /pg_sleep/),
  refused(`'orders'::regclass is null`, '42P01|0A000', /orders|regclass/),
  refused(`new.status::regclass is null`, '0A000|42501', /regclass/),
  refused(`pg_read_file('/etc/passwd') = ''`, '42501', /pg_read_file/),
  refused(`lo_import('/etc/passwd') = 1`, '42501', /lo_import/),
  refused(`query_to_xml('select 1', true, true, '') is null`, '42501', /query_to_xml/),
  refused(`table_to_xml('pg_authid', true, true, '') is null`, '42501', /table_to_xml/),
  refused(`pg_terminate_backend(1)`, '42501', /pg_terminate_backend/),
  refused(`has_table_privilege('orders', 'select')`, '42501', /has_table_privilege/),
  refused(`pg_get_viewdef(1) is null`, '42501', /pg_get_viewdef/),
  refused(`satisfies_hash_partition(1, 1, 1, 1)`, '42501', /satisfies_hash/),
  refused(`nextval('pgstream.xid_serial') > 1`, '42501', /nextval/),
  refused(`pg_try_advisory_lock(1)`, '42501', /advisory/),
  refused(`jsonb_populate_record(null::public.orders, new.doc) is null`, '42501', /populate/),
  refused(`xpath('/a', '<a/>') is null`, '42501', /xpath/),
];

export const acceptedPayloads: readonly string[] = [
  `jsonb_build_object('id', new.id, 'total', new.total)`,
  `to_jsonb(new)`,
  `jsonb_build_object('old', old.status, 'new', new.status, 'op', op)`,
  `to_jsonb(new) - 'total' || '{"more": [1, 2.50]}'`,
  `new.doc`,
  `jsonb_build_array(new.feeling, new.tags, new.placed_at, new.blob, new.ratio::text)`,
  `case when new.total > 50 then jsonb_build_object('large', new.total) end`,
  `jsonb_strip_nulls(jsonb_build_object('email', new.email, 'span', new.span))`,
  `'{"fixed": true}'::jsonb`,
  `'null'::jsonb`,
];

export const refusedPayloads: readonly Refused[] = [
  refused(`json_build_object('id', new.id)`, '42804', /of type json, not jsonb/),
  refused(`row_to_json(new)`, '42804', /of type json, not jsonb/),
  refused(`'{"a": 1}'`, '42804', /of type text, not jsonb/),
  refused(`new.status`, '42804', /of type text, not jsonb/),
  refused(`jsonb_agg(new.id)`, '0A000', /aggregates/),
  refused(`(select to_jsonb(r) from ran r)`, '0A000', /sub-queries/),
  refused(`to_jsonb(public.evil())`, '42501', /public\.evil/),
  refused(`jsonb_build_object('at', clock_timestamp())`, '42501', /clock_timestamp/),
  refused(`'{"a": '::jsonb`, '22P02', /json/),
];
