create or replace function pgstream.register_transform(function regprocedure) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
begin
  select p.* into v_function from pg_proc p where p.oid = function;
  if v_function.oid is null or v_function.prokind <> 'f' or v_function.proretset
     or v_function.prosecdef then
    raise exception '% cannot be a transform', function
      using errcode = 'wrong_object_type',
            hint = 'Register a plain function that returns one value, without SECURITY DEFINER.';
  end if;
  insert into pgstream.transforms (function) values (function::text) on conflict do nothing;
end
$$;

comment on function pgstream.register_transform is
  'Lets expressions of subscriptions call a function, which the caller declares to depend on '
  'nothing but its arguments. For administrators: whoever may change that function decides what is '
  'sent. It runs only where PGSTREAM_EVALUATOR_URL is set.';

create or replace function pgstream.unregister_transform(function regprocedure) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_found boolean;
begin
  delete from pgstream.transforms t where t.function = unregister_transform.function::text;
  v_found := found;
  perform set_config('pgstream.recheck', 'on', true);
  update pgstream.webhook_subscriptions s
  set filter = s.filter
  where s.program @> '{"foreign": true}';
  perform set_config('pgstream.recheck', '', true);
  return v_found;
end
$$;

comment on function pgstream.unregister_transform is
  'Takes back pgstream.register_transform(); subscriptions that call the function become invalid.';
