-- Who may do what. No role is created and nothing is granted by default: an administrator makes
-- roles what they are to be. Each function can be called again, and what was granted by an earlier
-- version is brought up to date whenever this code is installed.

create or replace function pgstream._grant_columns(
  relation regclass, privilege text, among text[], not_among text[], role regrole
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant %s (%s) on %s to %s', privilege, (
      select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
      from pg_attribute a
      where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
        and (among is null or a.attname = any (among))
        and a.attname <> all (not_among)),
    relation, role);
end
$$;

comment on function pgstream._grant_columns is
  'Grants a privilege on some columns of a relation, or on all but some.';

create or replace function pgstream._grant_functions(names text[], role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'pgstream'::regnamespace and p.proname = any (names)
  loop
    execute format('grant execute on function %s to %s', v_function, role);
  end loop;
end
$$;

comment on function pgstream._grant_functions is 'Grants the use of functions of ours.';

create or replace function pgstream._grant_previewing(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant select on pgstream._signing to %s', role);
  perform pgstream._grant_functions(
    '{preview,preview_begin,preview_changes,_preview_changes,_previewed_changes,_capture_change,'
    '_capture_changes,_captured_changes,_refuse_commit,_preview_setting,_preview_request,'
    '_preview_texts,_preview_program,_preview_table,_compile_program,_untrusted_type,'
    '_untrusted_role,_untrusted_owner,_untrusted_schema,_is_readable,_expression_columns,'
    '_plain_type,_is_catalog_reference,_wanted_tables,_tables_matching,_wants_rows,'
    '_wants_business,is_system_schema,_is_pattern,_name_matches,_event_body,_event_headers,'
    '_event_row,_event_value,_event_type,_event_source,_event_time,_percent_encoded,_sign,'
    '_hmac_sha256}', role);
end
$$;

comment on function pgstream._grant_previewing is
  'Grants the previews and all that they call. None of it tells more than the role may see.';

create or replace function pgstream._grant_watching(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant usage on schema pgstream to %s', role);
  perform pgstream._grant_columns(
    'pgstream.webhook_subscriptions', 'select', null, '{secret,headers}', role);
  execute format('grant select on pgstream.webhook_status, pgstream.deliveries to %s', role);
  execute format('grant delete on pgstream.deliveries to %s', role);
  perform pgstream._grant_columns(
    'pgstream.deliveries', 'update', '{state,replayed,attempts,active_for}', '{}', role);
  perform pgstream._grant_columns(
    'pgstream.replication_status', 'select',
    '{slot_name,state,problem,heartbeat_at,confirmed_lsn,lag_bytes,lag_seconds}', '{}', role);
  perform pgstream._grant_functions('{replay,wait_delivered,_name_matches}', role);
  execute format('grant insert (subscription) on pgstream.replay_requests to %s', role);
  perform pgstream._grant_previewing(role);
  perform pgstream._grant_snapshots(role);
end
$$;

comment on function pgstream._grant_watching is
  'Grants what subscribers and operators share: to see, replay and skip what they may see.';

create or replace function pgstream._grant_subscribing(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_closed constant text[] := array[
    'id', 'owner', 'disabled_reason', 'created_at', 'program', 'invalid_reason', 'store_id',
    'store_secret'];
begin
  perform pgstream._grant_columns(
    'pgstream.webhook_subscriptions', 'insert', null, v_closed, role);
  perform pgstream._grant_columns(
    'pgstream.webhook_subscriptions', 'update', null, v_closed, role);
  execute format('grant delete on pgstream.webhook_subscriptions to %s', role);
end
$$;

comment on function pgstream._grant_subscribing is
  'Grants the writing of subscriptions; row-level security keeps it to one''s own.';

create or replace function pgstream.grant_subscriber(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._grant_watching(role);
  perform pgstream._grant_subscribing(role);
  perform pgstream._grant_functions('{_subscriber}', role);
end
$$;

comment on function pgstream.grant_subscriber is
  'Lets a role make subscriptions of its own to what it may SELECT, and see, change, replay and '
  'skip what is its own and nothing else. Secrets and headers can be written, not read.';

create or replace function pgstream.grant_operator(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._grant_watching(role);
  perform pgstream._grant_columns(
    'pgstream.webhook_subscriptions', 'update', '{enabled}', '{}', role);
  execute format(
    'grant select on pgstream.replication_status, pgstream.status, pgstream.ddl_error to %s', role);
  perform pgstream._grant_functions('{_operator,_upkeep_is_on}', role);
end
$$;

comment on function pgstream.grant_operator is
  'Lets a role see the state of all subscriptions and deliveries, and pause, replay and skip '
  'them. It reads no secret, no header and no body.';

create or replace function pgstream.grant_runner(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_role record;
begin
  perform pgstream.grant_operator(role);
  perform pgstream._grant_subscribing(role);
  execute format('grant select on pgstream.webhook_subscriptions, pgstream.migrations, '
                 'pgstream.schema_log, pgstream.row_security_exemptions, pgstream.cached_tables '
                 'to %s', role);
  execute format('grant select, insert, update, delete on pgstream.webhook_deliveries, '
                 'pgstream.subscription_state to %s', role);
  execute format('grant select, delete on pgstream.subscription_changes to %s', role);
  execute format('grant update (commit_lsn) on pgstream.subscription_changes to %s', role);
  execute format('grant update (acked) on pgstream.schema_log to %s', role);
  execute format('grant select, insert, update, delete on pgstream.schema_positions to %s', role);
  execute format('grant select, insert, update on pgstream.runner_lease to %s', role);
  execute format('grant select on pgstream.subscription_secrets to %s', role);
  execute format('grant update (secret) on pgstream.subscription_secrets to %s', role);
  perform pgstream._grant_functions(
    '{reconcile,schema_at,_restrictions,_rights_fingerprint,_disable_subscription,_runner,'
    '_untrusted_code,_untrusted_role,'
    'copy_subscriptions,stored_subscriptions,note_copied,note_states,'
    '_resend_rewritten}', role);
  execute format('grant select, delete on pgstream.replay_requests to %s', role);
  execute format('grant select on pgstream.copied_status to %s', role);
  perform pgstream._grant_snapshotting(role);

  select r.rolcanlogin and (r.rolreplication or r.rolsuper) as suffices into v_role
  from pg_roles r
  where r.oid = role;
  if not v_role.suffices then
    raise notice 'role % also needs LOGIN and REPLICATION', role
      using detail = 'pgstream run reads the slot, which takes attributes that cannot be granted.',
            hint = format('As a superuser: alter role %s login replication; (on Amazon RDS: grant '
                          'rds_replication to %s;)', role, role);
  end if;
end
$$;

comment on function pgstream.grant_runner is
  'Lets a role be that of pgstream run, with everything that this needs and no more. It owns what '
  'is subscribed to over HTTP, and what it may SELECT is what that is sent.';

create or replace function pgstream._revoke(kind text, role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := coalesce(pgstream._kinds_of(role), '{}');
  v_kind text;
begin
  execute format('revoke all on all tables in schema pgstream from %s', role);
  execute format('revoke all on all functions in schema pgstream from %s', role);
  execute format('revoke all on schema pgstream from %s', role);
  foreach v_kind in array array_remove(v_kinds, kind) loop
    case v_kind
      when 'runner' then perform pgstream.grant_runner(role);
      when 'operator' then perform pgstream.grant_operator(role);
      when 'subscriber' then perform pgstream.grant_subscriber(role);
      when 'emitter' then perform pgstream.grant_emitter(role);
      when 'listener' then perform pgstream.grant_listener(role);
    end case;
  end loop;
end
$$;

comment on function pgstream._revoke is
  'Revokes all that a role was granted, and grants again what it is apart from the kind.';

create or replace function pgstream._kinds_of(role regrole) returns text[]
  language sql stable parallel safe
begin atomic
  select array_agg(k.kind order by k.kind)
  from (values ('subscriber', '_subscriber'), ('operator', '_operator'), ('runner', '_runner'),
               ('emitter', 'emit'), ('listener', '_listener')) k(kind, marker)
  join pg_proc p on p.proname = k.marker and p.pronamespace = 'pgstream'::regnamespace
  cross join lateral aclexplode(p.proacl) a
  where a.grantee = role
    -- a runner is one in passing
    and (k.kind <> 'operator' or not exists (
      select from pg_proc r, aclexplode(r.proacl) b
      where r.proname = '_runner' and r.pronamespace = 'pgstream'::regnamespace
        and b.grantee = role));
end;

comment on function pgstream._kinds_of is
  'What a role was made: subscriber, operator, runner, emitter, listener.';

create or replace function pgstream.revoke_subscriber(role regrole) returns void
  language sql volatile parallel unsafe
  return pgstream._revoke('subscriber', role);

comment on function pgstream.revoke_subscriber is
  'Takes back what pgstream.grant_subscriber() gave. The role''s subscriptions stay, and are sent '
  'what the role may SELECT: delete or disable them if that is not meant.';

create or replace function pgstream.revoke_operator(role regrole) returns void
  language sql volatile parallel unsafe
  return pgstream._revoke('operator', role);

comment on function pgstream.revoke_operator is
  'Takes back what pgstream.grant_operator() gave.';

create or replace function pgstream.revoke_runner(role regrole) returns void
  language sql volatile parallel unsafe
  return pgstream._revoke('runner', role);

comment on function pgstream.revoke_runner is
  'Takes back what pgstream.grant_runner() gave; the attributes LOGIN and REPLICATION stay.';

create or replace function pgstream.revoke_emitter(role regrole) returns void
  language sql volatile parallel unsafe
  return pgstream._revoke('emitter', role);

comment on function pgstream.revoke_emitter is 'Takes back what pgstream.grant_emitter() gave.';

create or replace function pgstream.revoke_listener(role regrole) returns void
  language sql volatile parallel unsafe
  return pgstream._revoke('listener', role);

comment on function pgstream.revoke_listener is
  'Takes back what pgstream.grant_listener() gave: within seconds nothing more of them is sent.';
