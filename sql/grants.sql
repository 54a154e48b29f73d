-- Nobody but the owner gets anything by default.
revoke all on schema pgstream from public;
revoke all on all tables in schema pgstream from public;
revoke all on all sequences in schema pgstream from public;
revoke all on all routines in schema pgstream from public;
revoke all on type pgstream.xid from public;
revoke all on type pgstream.foreign_text from public;

-- Roles that were given something by an earlier version get what this one gives.
do $$
begin
  perform set_config('client_min_messages', 'warning', true);
  perform case k.kind
      when 'runner' then pgstream.grant_runner(r.oid)
      when 'operator' then pgstream.grant_operator(r.oid)
      when 'subscriber' then pgstream.grant_subscriber(r.oid)
      when 'emitter' then pgstream.grant_emitter(r.oid)
      when 'listener' then pgstream.grant_listener(r.oid)
    end
  from pg_roles r
  cross join lateral unnest(pgstream._kinds_of(r.oid::regrole)) k(kind)
  where r.oid <> (select n.nspowner from pg_namespace n where n.nspname = 'pgstream');
end
$$;
