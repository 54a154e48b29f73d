-- Expressions that stand in the database are held to the rules of this version. One that these
-- refuse makes its subscription invalid, with the reason; its events are kept, and the upgrade goes
-- on.
do $$
begin
  perform pgstream._recheck_programs();
exception when lock_not_available then
  -- somebody is changing a subscription; the runner, which reconciles, checks again
  insert into pgstream.ddl_error (command_tag, sqlstate, message)
  values ('UPGRADE', '55P03', 'expressions of subscriptions could not be checked again');
end
$$;
