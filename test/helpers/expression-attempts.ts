/** Attempts of a subscriber to have code of its own run while its expression is looked at. */

/**
 * What the subscriber has made. Each function tells who runs it by a sequence, since sequences keep
 * what is rolled back.
 */
export const trapsOf = (role: string) => `
  create extension if not exists citext;
  create sequence ran_as_subscriber;
  create sequence ran_as_another;
  grant usage on sequence ran_as_subscriber, ran_as_another to public;
  create schema theirs authorization ${role};
  create schema new authorization ${role};
  grant create on schema public to ${role};
  set role ${role};
  create function theirs.mark(anyelement) returns boolean language plpgsql immutable as $$
    begin
      perform nextval(case when current_user = '${role}' then 'public.ran_as_subscriber'
                      else 'public.ran_as_another' end::regclass);
      return true;
    end $$;
  create domain theirs.trap as text check (theirs.mark(value));
  create domain theirs.counted as integer check (theirs.mark(value));
  create domain theirs.traps as text[] check (theirs.mark(value[1]));
  create domain theirs.deep as theirs.trap check (theirs.mark(1));
  create type theirs.pair as (a theirs.trap, b integer);
  create type theirs.nested as (a theirs.pair, b theirs.trap[]);
  create domain theirs.pairs as theirs.pair check (theirs.mark(1));
  create type theirs.span as range (subtype = theirs.trap);
  create type theirs.mood as enum ('a', 'b');
  create type theirs."Mixed Case" as (a theirs.trap);
  create type theirs.${'long_'.repeat(12)}abc as (a theirs.trap);
  create table theirs.held (a theirs.trap, b theirs.trap[]);
  create domain new.trap as text check (theirs.mark(value));
  create domain public.trap as text check (theirs.mark(value));
  create function new.takes(theirs.trap[]) returns boolean language sql immutable as 'select true';
  create function theirs.takes(a theirs.trap[], b theirs.pair default '(x,1)') returns boolean
    language sql immutable as 'select true';
  create function theirs.many(variadic theirs.pair[]) returns boolean
    language sql immutable as 'select true';
  create function public.takes(theirs.pair) returns boolean language sql immutable as 'select true';
  create function public.lower(theirs.trap[]) returns text language sql immutable as $$ select '' $$;
  create function public.joined(text, theirs.trap[]) returns boolean
    language sql immutable as 'select true';
  create operator theirs.=! (function = public.joined, leftarg = text, rightarg = theirs.trap[]);
  create operator public.=! (function = public.joined, leftarg = text, rightarg = theirs.trap[]);
  create operator public.~~ (function = public.joined, leftarg = text, rightarg = theirs.trap[]);
  create function theirs.of_row(theirs.held) returns boolean language sql immutable as 'select true';
  reset role;
  create table watched (id int primary key, status text, email citext, tags text[], doc jsonb,
                        feeling theirs.mood);
  grant select on watched to ${role};`;

/** Filters, each of another shape. */
export const attempts: readonly string[] = [
  // a string as a value of a type that is made of a domain
  `'{x}'::theirs.trap[] is null`,
  `cast('{x}' as theirs.trap[]) is null`,
  `'{x}'::theirs._trap is null`,
  `'{x}'::"theirs"."_trap" is null`,
  `theirs._trap '{x}' is null`,
  `theirs.pair '(x,1)' is null`,
  `theirs.pair('(x,1)') is null`,
  `'(x,1)'::theirs.pair is null`,
  `'{"(x,1)"}'::theirs.pair[] is null`,
  `'("(x,1)",{x})'::theirs.nested is null`,
  `'(x,1)'::theirs.pairs is null`,
  `'{"(x,1)"}'::theirs.pairs[] is null`,
  `'[a,b]'::theirs.span is null`,
  `'{[a,b]}'::theirs.spanmultirange is null`,
  `'{[a,b]}'::theirs.span_multirange is null`,
  `'{"[a,b]"}'::theirs.span[] is null`,
  `'{x}'::theirs.traps is null`,
  `'{"{x}"}'::theirs.traps[] is null`,
  `'x'::theirs.trap is null`,
  `'x'::theirs.deep is null`,
  `'{x}'::theirs.deep[] is null`,
  `1::theirs.counted is null`,
  `'{1}'::theirs.counted[] is null`,
  `'(x)'::theirs."Mixed Case" is null`,
  `'(x)'::THEIRS.${'Long_'.repeat(12)}abcdefghij is null`,
  `'{x}' ::\n theirs . trap [ ] is null`,
  `'(x,{y})'::theirs.held is null`,
  `'{"(x,{y})"}'::theirs.held[] is null`,
  `'{x}'::theirs.trap[3] is null`,
  `'{x}'::theirs.trap array is null`,
  `'{x}'::new.trap[] is null`,
  `cast('{x}' as new.trap[]) is null`,
  `new._trap '{x}' is null`,
  `new.takes('{x}')`,
  `'{x}'::pg_temp.trap[] is null`,
  `'{x}'::trap[] is null`,
  `'{x'\n'y}'::theirs.trap[] is null`,
  // a string that becomes one beside another
  `coalesce('{x}', null::theirs.trap[]) is null`,
  `nullif(null::theirs.trap[], '{x}') is null`,
  `greatest('{x}', null::theirs.trap[]) is null`,
  `case when true then '{x}' else null::theirs.trap[] end is null`,
  `case null::theirs.trap[] when '{x}' then true end`,
  `null::theirs.trap[] = '{x}'`,
  `null::theirs.trap[] is distinct from '{x}'`,
  `null::theirs.trap[] in ('{x}', '{y}')`,
  `null::theirs.trap[] between '{x}' and '{y}'`,
  `row(null::theirs.trap[], 1) = row('{x}', 1)`,
  `row('x', 1)::theirs.pair is null`,
  `array['(x,1)', null::theirs.pair] is null`,
  `array['x', 'y']::theirs.trap[] is null`,
  `array['(x,1)']::theirs.pair[] is null`,
  `null::theirs.span @> '[a,b]'`,
  `null::theirs.trap[] || '{x}' is null`,
  `('{x}'::theirs.trap[])[1] = 'x'`,
  // a string that a function or an operator takes
  `theirs.takes('{x}')`,
  `theirs.takes(a => '{x}')`,
  `theirs.takes(null)`,
  `theirs.many('(x,1)', '(y,2)')`,
  `theirs.many(variadic '{"(x,1)"}')`,
  `takes('(x,1)')`,
  `public.takes('(x,1)')`,
  `public.lower('{x}') = ''`,
  `new.status operator(theirs.=!) '{x}'`,
  `new.status =! '{x}'`,
  `new.email::text =! '{x}'`,
  `public.joined('a', '{x}')`,
  `array_append('{x}', null::theirs.trap) is null`,
  `array_position('{x}', null::theirs.trap) = 1`,
  `jsonb_populate_record(null::theirs.pair, '{"a": "x"}') is null`,
  `jsonb_populate_record('(x,1)'::theirs.pair, '{}') is null`,
  `jsonb_to_record('{"a": "x"}') is null`,
  `num_nulls('{x}'::theirs.trap[]) = 0`,
  // strings that say that they are none
  `unknown '{x}'::theirs.trap[] is null`,
  `'{x}'::unknown::theirs.trap[] is null`,
  `cast(cast('{x}' as unknown) as theirs.trap[]) is null`,
  `text '{x}'::theirs.trap[] is null`,
  `('{x}')::theirs.trap[] is null`,
  `('{x}' collate "C")::theirs.trap[] is null`,
  `date '2025-01-01'::theirs.trap is null`,
  `theirs.date '{x}' is null`,
  `extract('{x}'::theirs.trap[] from new.doc) is null`,
  `theirs.extract('{x}') is null`,
  `'today'::theirs.trap = 'x'`,
  `'{now}'::theirs.trap[] is null`,
  // behind more than one row
  `(select '{x}'::theirs.trap[]) is null`,
  `exists (select '{x}'::theirs.trap[])`,
  `(values ('{x}'::theirs.trap[])) is null`,
  `unnest('{x}'::theirs.trap[]) is null`,
  `'{x}'::theirs.trap[] = any (select b from theirs.held)`,
  `(table theirs.held) is null`,
  `max('{x}'::theirs.trap[]) is null`,
  `row_number() over (partition by '{x}'::theirs.trap[]) = 1`,
  `(select b from theirs.held where b = '{x}') is null`,
  `(select h from theirs.held h where theirs.of_row('(x,{y})')) is null`,
  // an immutable function of constants, which planning would run
  `theirs.mark(1)`,
  `theirs.mark('x'::text)`,
  `new.status = 'a' and theirs.mark(new.status)`,
  `(theirs.mark(1)) is true`,
  `'a'::theirs.mood = 'b' and theirs.mark(1)`,
];

/** What has the same words in it, and is taken. */
export const harmless: readonly string[] = [
  `new.status = 'a'`,
  `new.status like '{x}'`,
  `new.email = '{x}' or new.email like '(x,1)'`,
  `new.feeling = 'a' and new.feeling in ('b', 'a')`,
  `new.feeling = 'a'::theirs.mood`,
  `'{x}' = new.tags or '{a,b}'::text[] && new.tags`,
  `new.doc @> '{"a": "x"}' and new.doc ->> 'a' = '(x,1)'`,
  `date '2025-01-01' < timestamp with time zone '2025-01-01' + interval '1 day'`,
  `extract('year' from date '2025-01-01') = 2025`,
  `numeric(10, 2) '1.5' = 1.5 and character varying 'x' = 'x'\n'y'`,
];
