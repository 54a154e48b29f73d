-- Business events: what an application says has happened, in the transaction in which it does.
--
-- An event is a row of pgstream.emitted_events that is deleted in the statement that inserts it.
-- The log keeps the insert, which is published; so the event is delivered if and when its
-- transaction, and each savepoint around it, is committed, in its place among the row changes of
-- the transaction. The table is empty for everybody at any time. What it takes on disk is dead
-- rows, which autovacuum takes away within about a minute, as soon as no transaction that is older
-- than them is open.
--
-- Who can forge an event? Whoever can insert into that table: its owner, superusers and members of
-- pg_write_all_data, who can write the subscriptions themselves as well. A grant of emit() is the
-- right to emit any type of event, but none that looks like a row change. Privileges are all that
-- this relies on: whoever can read the slot sees events and can repeat none, and there is no key
-- to keep secret, to dump or to rotate.
--
-- Why not pg_logical_emit_message()? Everybody may call it, so that a message would have to prove
-- where it comes from; and a stream that asks for messages gets those of everybody, of any prefix
-- and of up to a gigabyte, so that any role that can connect could exhaust the memory of the
-- runner, again at each start. The runner asks for none: a message of whatever content never
-- reaches it.

create or replace function pgstream._check_emitted(type text, data jsonb, key text) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_bytes bigint := octet_length(data::text);
begin
  if type is null or not pgstream._is_business_type(type) then
    raise exception '% is not a type of business events', coalesce(to_json(type)::text, 'null')
      using errcode = 'invalid_parameter_value',
            hint = 'Write at least two words of letters, digits, _ and - with a full stop between, '
                   'at most 200 characters, e.g. order.paid';
  elsif type ~ '\..*\.(inserted|updated|deleted|truncated)$' then
    raise exception '"%" is a type of row changes', type
      using errcode = 'invalid_parameter_value',
            hint = 'Choose another last word, so that nobody takes the event for a change of a '
                   'table, e.g. shop.order.changed';
  elsif data is null then
    raise exception 'the data of event "%" is null', type
      using errcode = 'null_value_not_allowed',
            hint = 'Without anything to tell, emit an empty object: {}';
  elsif v_bytes > 67108864 then
    raise exception 'the data of event "%" is too large', type
      using errcode = 'program_limit_exceeded',
            detail = format('It has %s bytes as text; at most 67108864 can be sent.', v_bytes),
            hint = 'Store it, and emit where it is.';
  elsif octet_length(key) not between 1 and 1000 then
    raise exception 'the key of event "%" has % bytes', type, octet_length(key)
      using errcode = 'invalid_parameter_value',
            hint = 'A key has 1 to 1000 bytes; null if the order does not matter.';
  elsif not exists (
    select from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid
    where r.prrelid = 'pgstream.emitted_events'::regclass and p.pubname = 'pgstream_control'
  ) then
    raise exception 'business events are not published, so that nobody would get event "%"', type
      using errcode = 'object_not_in_prerequisite_state',
            hint = 'Run pgstream init, or: select pgstream.create_publications();';
  end if;
end
$$;

comment on function pgstream._check_emitted is
  'Fails, with a hint, unless the arguments make an event that can be delivered.';

create or replace function pgstream.emit(type text, data jsonb, key text default null) returns void
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may emit must not be able to write what others emit
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  perform pgstream._check_emitted(emit.type, emit.data, emit.key);
  insert into pgstream.emitted_events (type, key, data)
  values (emit.type, emit.key, emit.data)
  returning id into v_id;
  delete from pgstream.emitted_events e where e.id = v_id;
  perform pgstream._note_emitted(emit.type, emit.data);
end
$$;

comment on function pgstream.emit is
  'Emits a business event. It is delivered if and when the transaction commits, to subscriptions '
  'whose event_types name it and that are to no schema and no table. type: e.g. order.paid. data: '
  'what the event tells. key: events of the same key arrive in the order of their commits; without '
  'one, in any order.';

create or replace function pgstream.grant_emitter(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant usage on schema pgstream to %s', role);
  execute format('grant execute on function pgstream.emit to %s', role);
end
$$;

comment on function pgstream.grant_emitter is
  'Lets a role emit business events, of any type, and nothing else.';

create or replace function pgstream.grant_listener(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant usage on schema pgstream to %s', role);
  execute format('grant select on pgstream.emitted_events to %s', role);
  execute format('grant execute on function pgstream._listener to %s', role);
end
$$;

comment on function pgstream.grant_listener is
  'Lets subscriptions of a role have business events, of any type.';

create or replace function pgstream._listener() returns void
  language sql immutable parallel safe
  return null;

comment on function pgstream._listener is
  'Does nothing: whoever may execute it was made a listener by pgstream.grant_listener().';

create or replace function pgstream._check_listener(owner name, event_types text[]) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if not event_types <@ '{I,U,D,T,*}' and exists (
    select
    from pgstream._restrictions(owner, array['pgstream.emitted_events'::regclass::oid])
  ) then
    raise exception 'role "%" may not have business events', owner
      using errcode = 'insufficient_privilege',
            hint = format('As an administrator: select pgstream.grant_listener(%L);',
                          quote_ident(owner));
  end if;
end
$$;

comment on function pgstream._check_listener is
  'Refuses (42501) a subscription to business events that its owner would get none of.';

comment on table pgstream.emitted_events is
  'What pgstream.emit() writes for the log and takes away at once; always empty.';
comment on column pgstream.emitted_events.id is 'Tells events apart.';
comment on column pgstream.emitted_events.type is 'The type of the event.';
comment on column pgstream.emitted_events.key is 'What the event is ordered by.';
comment on column pgstream.emitted_events.data is 'What the event tells.';
