-- What went wrong, as it is kept where people read it who may not read the rows.
--
-- Invariant: what a row holds is never part of it. A message may quote a value where the value is
-- what is wrong, or where code of users wrote the message; of those only SQLSTATE and the names of
-- what refused are kept. DETAIL, HINT and CONTEXT, which quote rows freely, are never kept.

create or replace function pgstream._error_text(
  code text, message text, constraint_name text default null, column_name text default null
) returns text
  language sql immutable parallel safe
  return format('%s %s', code, case
    when code ^@ '23' or code ^@ '44' then format(
      'a row violates %s%s',
      case when constraint_name <> '' then format('constraint "%s"', constraint_name)
           else 'a constraint' end,
      case when column_name <> '' then format(' on column "%s"', column_name) end)
    when code ^@ '22' then 'a value does not fit what it is used for'
    when code ^@ 'P0' then 'code of a trigger, a function or a view refused a row'
    -- connections, what is not supported, roles, names, resources, locks, the server, foreign data
    when left(code, 2) in ('08', '0A', '25', '28', '2B', '2F', '3D', '3F', '40', '42', '53', '54',
                           '55', '57', '58', 'HV')
      and code not in ('42601', '55P04') then message
    else 'an error whose text may quote a row'
  end);

comment on function pgstream._error_text is
  'An error in a form that holds nothing of a row: SQLSTATE, and the message where messages of its '
  'kind name objects only.';
