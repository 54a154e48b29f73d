-- The names of the migrations that have run, where a dump without data has them too: ledger.sql.
do $$
begin
  execute format('comment on table pgstream.migrations is %L', (
    select format('The migrations that have run, oldest first: %s.',
                  string_agg(m.name, ', ' order by m.id))
    from pgstream.migrations m));
end
$$;
