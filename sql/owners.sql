-- What is done to a relation of somebody else is done with the rights of its owner.
--
-- Whoever writes a table, changes the type of a column or makes a view runs code that others have
-- attached: triggers, checks, defaults, domains, index expressions, policies, the functions of a
-- view. A superuser who does so on a table of another role runs that role's code as a superuser.
-- SET ROLE is no way out: the code can take it back. Nor is a SECURITY DEFINER function of the
-- owner: deferred triggers and held cursors run at the commit, when it is over, and settings stay.
--
-- Postgres has one boundary for such code, the security-restricted operation: the user is switched
-- and cannot be switched back, settings are put back, and held cursors, temporary relations and
-- deferred triggers are refused with 42501. SQL gets there by REFRESH MATERIALIZED VIEW, which runs
-- the view's query as the view's owner. So the statements are run by the query of a materialized
-- view that is made without data, given to the owner, refreshed and dropped, in one transaction:
-- nobody else ever sees it.
--
-- Invariants:
-- 1. Statements on a relation run as its owner, inside, unless the owner could become the current
--    role and the session's role without us. Then nothing can be gained.
-- 2. Where neither is possible it is an error, and nothing is done.
-- 3. The owner is granted nothing that lasts. Inside, the statements are run by a temporary copy of
--    pgstream._execute(), which runs them as whoever calls it: with no rights but the owner's. It
--    uses no name of schema pgstream, on which the owner has no rights.
-- 4. Nothing that the owner has had in its hands is read by the caller: planning a query runs what
--    statistics and indexes call. What the statements yield comes out through a temporary table of
--    the caller's, into which the owner may insert and no more. What it says could be the owner's
--    invention; it is the owner's relation that it is about.
-- 5. Nothing stays behind in the session. The one thing that Postgres itself lets through is a
--    type, function or operator in the temporary schema (a domain pg_temp.text would catch every
--    ::text of a session that does not pin its search_path), so that is looked for. What is said
--    by SET CONSTRAINTS lasts as long as the transaction: so what is confined comes first in one.

drop function if exists pgstream._execute(text[], text);

create or replace function pgstream._execute(
  statements text[], question text default null, result text default null,
  out counts bigint[], out answer text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set row_security = off
as $$
declare
  v_statement text;
  v_count bigint;
begin
  foreach v_statement in array statements loop
    execute v_statement;
    get diagnostics v_count = row_count;
    counts := counts || v_count;
  end loop;
  if question is not null then
    execute question into answer;
  end if;
  if result is not null then
    execute format('insert into %s (counts, answer) values ($1, $2)', result::regclass)
      using counts, answer;
  end if;
end
$$;

comment on function pgstream._execute is
  'Runs statements, one after the other, and returns how many rows each has written, and what the '
  'question yields. result: a table that gets this too. Policies are never evaluated: a table with '
  'some that bind the reader is an error.';

create or replace function pgstream._could_become(role oid, another oid) returns boolean
  language sql stable parallel safe
  -- before 16 a member of a role can always become it
  return pg_has_role(role, another, case
    when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end);

comment on function pgstream._could_become is
  'Whether the code of a role could run as another one without us.';

create or replace function pgstream._oid_of(role name) returns oid
  language sql stable parallel safe
  return (select r.oid from pg_roles r where r.rolname = role);

comment on function pgstream._oid_of is 'The oid of a role.';

create or replace function pgstream._could_become_us(role oid) returns boolean
  language sql stable parallel safe
  return pgstream._could_become(role, pgstream._oid_of(current_user))
         and pgstream._could_become(role, pgstream._oid_of(session_user));

comment on function pgstream._could_become_us is
  'Whether the code of a role could run as the current role, and as that of the session, without '
  'us.';

create or replace function pgstream._is_confined(owner oid, relation text) returns boolean
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if pgstream._could_become_us(owner) then
    return false;
  elsif not pg_has_role(owner, 'usage') then
    raise exception 'role % may not act for role %, which owns %', current_user,
      owner::regrole, relation
      using errcode = 'insufficient_privilege',
            detail = 'What is done to a relation, and the code attached to it, has the rights of '
                     'its owner.',
            hint = format('grant %s to %I; or do it as a superuser.', owner::regrole,
                          current_user);
  end if;
  return true;
end
$$;

comment on function pgstream._is_confined is
  'Whether what is done to a relation is done as its owner, and not as the current role, with no '
  'less rights. Fails with 42501 where neither is possible.';

create or replace function pgstream._owner_of(rel oid) returns oid
  language sql stable parallel safe
  return (select c.relowner from pg_class c where c.oid = rel);

comment on function pgstream._owner_of is 'Who owns a relation.';

create or replace function pgstream._execute_as_owner(
  owner oid, relation text, statements text[], question text default null,
  out counts bigint[], out answer text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_problem text;
  v_deferred text;
begin
  if statements = '{}' and question is null then
    return;
  elsif not pgstream._is_confined(owner, relation) then
    select * into counts, answer from pgstream._execute(statements, question);
    return;
  end if;
  begin
    select * into counts, answer
    from pgstream._execute_inside(owner, relation, statements, question);
  exception when insufficient_privilege then
    get stacked diagnostics v_problem = message_text;
    v_deferred := pgstream._deferred_triggers(to_regclass(relation));
    raise exception 'not with the rights of role %, which owns %: %', owner::regrole, relation,
      v_problem
      using errcode = 'insufficient_privilege',
            detail = 'What is done to a relation, and the code attached to it, has the rights of '
                     'its owner. That code can be neither deferred nor change roles, and leaves '
                     'nothing in the session.',
            hint = case when v_deferred is not null
              then format('Deferred to the commit: %s. Make them not deferrable.', v_deferred)
              else format('Grant role %s what it lacks, or see what is attached: \d+ %s',
                          owner::regrole, relation) end;
  end;
end
$$;

comment on function pgstream._execute_as_owner is
  'Runs statements on a relation with the rights of its owner, or fails with 42501.';
