-- What a subscription may be sent: what its owner may SELECT, asked of the catalogs whenever it
-- matters, and recorded nowhere. Row policies cannot be evaluated on an event, so a table with
-- row-level security that binds the owner is sent only where an administrator has said so.

create or replace function pgstream._restrictions(role_name name, relations oid[])
  returns table (
    relation oid, columns text[], problem text, reason text, remedy text
  )
  language sql stable parallel safe
begin atomic
  with role as (
    select r.oid, r.rolsuper, r.rolbypassrls
    from (values (1)) one(row)
    left join pg_roles r on r.rolname = role_name
  ), asked as (
    select a.oid, c.oid is null as is_gone, c.relnamespace, n.nspname, c.relowner,
           format('%I.%I', n.nspname, c.relname) as name,
           c.relrowsecurity, c.relforcerowsecurity,
           r.oid as role, r.rolbypassrls
    from unnest(relations) a(oid)
    cross join role r
    left join pg_class c on c.oid = a.oid
    left join pg_namespace n on n.oid = c.relnamespace
    where r.rolsuper is not true
  ), judged as (
    select a.*,
      case
        when a.role is null then 'role'
        when a.is_gone then 'gone'
        when not has_schema_privilege(a.role, a.relnamespace, 'usage') then 'schema'
        when not has_any_column_privilege(a.role, a.oid, 'select') then 'table'
        when a.relrowsecurity and not a.rolbypassrls
          and not (pg_has_role(a.role, a.relowner, 'usage') and not a.relforcerowsecurity)
          and not exists (
            select from pgstream.row_security_exemptions e
            where e.relation = a.oid and e.role_name = _restrictions.role_name)
          then 'row security'
      end as problem
    from asked a
  ), shown as (
    select j.*, case
      when j.problem is null and not has_table_privilege(j.role, j.oid, 'select') then array(
        select t.attname::text
        from pg_attribute t
        where t.attrelid = j.oid and t.attnum > 0 and not t.attisdropped
          and has_column_privilege(j.role, j.oid, t.attnum, 'select')
        order by t.attnum)
      end as columns
    from judged j
  )
  select s.oid, s.columns, s.problem,
    case s.problem
      when 'role' then format('role "%s" does not exist', role_name)
      when 'gone' then 'the table is gone, and with it what was granted on it'
      when 'schema' then format('role "%s" has no USAGE on schema %I', role_name, s.nspname)
      when 'table' then format('role "%s" may not SELECT from %s', role_name, s.name)
      when 'row security' then
        format('%s has row-level security, which binds role "%s"', s.name, role_name)
    end,
    case s.problem
      when 'role' then 'update pgstream.webhook_subscriptions set owner = ... where id = ...;'
      when 'schema' then format('grant usage on schema %I to %I;', s.nspname, role_name)
      when 'table' then format('grant select on %s to %I;', s.name, role_name)
      when 'row security' then
        format('select pgstream.allow_rls(%L, %L);', s.name, quote_ident(role_name))
    end
  from shown s
  where s.problem is not null or s.columns is not null;
end;

comment on function pgstream._restrictions is
  'Those of the relations of which the role may not read everything. columns: what it may read, '
  'null where it is nothing. problem: role, gone, schema, table or row security, with the reason '
  'and what an administrator can do about it; null where some columns can be read.';

create or replace function pgstream._rights_fingerprint() returns text
  language sql stable parallel safe
begin atomic
  -- A row of a catalog that has changed was written by another transaction. Roles are a view.
  select md5(string_agg(f.parts, ' ' order by f.n))
  from (
    select 1, sum(hashtextextended(format('%s %s', c.oid, c.xmin), 0)::numeric)::text
    from pg_class c
    where c.relkind in ('r', 'p') and c.relpersistence = 'p'
    union all
    select 2, sum(hashtextextended(
      format('%s %s %s', a.attrelid, a.attnum, a.xmin), 0)::numeric)::text
    from pg_attribute a
    where a.attacl is not null
    union all
    select 3, sum(hashtextextended(format('%s %s', n.oid, n.xmin), 0)::numeric)::text
    from pg_namespace n
    where n.nspname !~ '^pg_(temp|toast_temp)_'
    union all
    select 4, sum(hashtextextended(
      format('%s %s %s %s %s', r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolbypassrls),
      0)::numeric)::text
    from pg_roles r
    union all
    select 5, sum(hashtextextended(
      format('%s %s %s', m.roleid, m.member, m.xmin), 0)::numeric)::text
    from pg_auth_members m
    union all
    select 6, d.datdba::text
    from pg_database d
    where d.datname = current_database()
    union all
    select 7, sum(hashtextextended(format('%s %s', e.relation, e.role_name), 0)::numeric)::text
    from pgstream.row_security_exemptions e
  ) f(n, parts);
end;

comment on function pgstream._rights_fingerprint is
  'The same for as long as nothing changes that pgstream._restrictions() looks at, and far cheaper '
  'to ask.';

create or replace function pgstream.allow_rls(
  relation regclass, role regrole, allow boolean default true
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant name := (select r.rolname from pg_roles r where r.oid = role);
begin
  if v_role is null or not exists (select from pg_class c where c.oid = relation) then
    raise exception 'there is no such table or role'
      using errcode = 'undefined_object',
            detail = format('relation: %s, role: %s', relation, role),
            hint = 'Write, e.g., select pgstream.allow_rls(''public.orders'', ''alice'');';
  end if;
  if allow then
    insert into pgstream.row_security_exemptions (relation, role_name)
    values (allow_rls.relation, v_role)
    on conflict on constraint row_security_exemptions_pkey do nothing;
  else
    delete from pgstream.row_security_exemptions e
    where e.relation = allow_rls.relation and e.role_name = v_role;
  end if;
end
$$;

comment on function pgstream.allow_rls is
  'Lets subscriptions of the role have the changes of all rows of a table with row-level '
  'security, whatever its policies say of them, or, with allow => false, no longer. For '
  'administrators.';

create or replace function pgstream._check_rights(
  owner name, schema_name text, table_name text
) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_pattern constant boolean :=
    pgstream._is_pattern(schema_name) or pgstream._is_pattern(table_name);
  v_relations oid[];
  v_refused record;
  v_count bigint;
begin
  if schema_name = '' and table_name = '' then
    return;
  elsif not v_is_pattern then
    v_relations := array(
      select c.oid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = schema_name and c.relname = table_name);
  else
    v_relations := array(
      select c.oid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
        and not pgstream.is_system_schema(n.nspname)
        and pgstream._name_matches(n.nspname, schema_name)
        and pgstream._name_matches(c.relname, table_name));
    if v_relations = '{}' then
      raise notice 'no table matches %.% yet', schema_name, table_name
        using hint = 'Events of those that are made later are sent from their creation on.';
    end if;
  end if;

  select r.* into v_refused
  from pgstream._restrictions(owner, v_relations) r
  where r.problem is not null
  limit 1;
  if v_refused.problem is null then
    return;
  elsif not v_is_pattern then
    raise exception 'permission denied for the changes of %.%',
      quote_ident(schema_name), quote_ident(table_name)
      using errcode = 'insufficient_privilege',
            detail = format('A subscription is sent what its owner may read, but %s.',
                            v_refused.reason),
            hint = format('As an administrator: %s', v_refused.remedy);
  end if;
  select count(*) into v_count
  from pgstream._restrictions(owner, v_relations) r
  where r.problem is not null;
  raise notice 'of the tables that match, % of % may not be read, and are not sent',
    v_count, cardinality(v_relations)
    using detail = format('The first is because %s.', v_refused.reason),
          hint = format('As an administrator: %s', v_refused.remedy);
end
$$;

comment on function pgstream._check_rights is
  'Refuses (42501) a subscription to a table of which its owner may read nothing, and says '
  '(notice) what a wildcard matches at present, if that is nothing or not all that it names.';
