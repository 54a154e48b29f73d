-- Nobody but the owner gets anything by default.
revoke all on schema pgstream from public;
revoke all on all tables in schema pgstream from public;
revoke all on all sequences in schema pgstream from public;
revoke all on all routines in schema pgstream from public;
revoke all on type pgstream.xid from public;
revoke all on type pgstream.foreign_text from public;

-- Nor does anybody get anything of what is new by default privileges: what marks a role as one of a
-- kind is a privilege.
do $$
declare
  v_older oid[] := nullif(current_setting('pgstream.older_relations', true), '');
  v_new record;
begin
  for v_new in
    select format('schema %I', n.nspname) as what, a.grantee
    from pg_namespace n
    cross join lateral aclexplode(n.nspacl) a
    where n.nspname = 'pgstream' and a.grantee <> n.nspowner and v_older = '{}'
    union
    select format('table %s', c.oid::regclass), a.grantee
    from pg_class c
    cross join lateral aclexplode(c.relacl) a
    where c.relnamespace = 'pgstream'::regnamespace and a.grantee <> c.relowner
      and c.oid <> all (v_older)
    union
    select format('routine %s', p.oid::regprocedure), a.grantee
    from pg_proc p
    cross join lateral aclexplode(p.proacl) a
    where p.pronamespace = 'pgstream'::regnamespace and a.grantee <> p.proowner
      and not current_setting('pgstream.older_code', true)::jsonb
              @> jsonb_build_array(jsonb_build_object('objid', p.oid::text))
      and v_older is not null
  loop
    execute format('revoke all on %s from %s cascade', v_new.what, v_new.grantee::regrole);
  end loop;
  perform set_config('pgstream.older_code', '', true);
  perform set_config('pgstream.older_relations', '', true);
end
$$;

-- Roles that were given something by an earlier version get what this one gives. Nobody but us
-- grants the use of private functions, so all of it is taken back first. Administrators grant
-- tables and public functions as well: what a kind of role had of these, and has no longer, is to
-- be revoked here by name.
do $$
declare
  v_made constant jsonb := (
    select coalesce(jsonb_agg(jsonb_build_object('role', r.oid, 'kind', k.kind)), '[]')
    from pg_roles r
    cross join lateral unnest(pgstream._kinds_of(r.oid::regrole)) k(kind)
    where r.oid <> (select n.nspowner from pg_namespace n where n.nspname = 'pgstream'));
  v_functions text;
  v_roles text;
begin
  perform set_config('client_min_messages', 'warning', true);
  select string_agg(distinct p.oid::regprocedure::text, ', '),
         string_agg(distinct a.grantee::regrole::text, ', ')
  into v_functions, v_roles
  from pg_proc p
  cross join lateral aclexplode(p.proacl) a
  where p.pronamespace = 'pgstream'::regnamespace and p.proname ^@ '_'
    and a.grantee <> p.proowner;
  if v_functions is not null then
    execute format('revoke all on routine %s from %s cascade', v_functions, v_roles);
  end if;

  perform case m.kind
      when 'runner' then pgstream.grant_runner(m.role)
      when 'operator' then pgstream.grant_operator(m.role)
      when 'subscriber' then pgstream.grant_subscriber(m.role)
      when 'emitter' then pgstream.grant_emitter(m.role)
      when 'listener' then pgstream.grant_listener(m.role)
    end
  from jsonb_to_recordset(v_made) m(role oid, kind text);
end
$$;
