-- An upgrade leaves the code of this version and no other: of what note_older_code.sql has noted,
-- all that was not defined again since is dropped, with the event triggers that call it. Nothing of
-- anybody else's goes with it, and nothing fails: what others still use stays, with a warning.
do $$
declare
  v_drops text[];
  v_left text[];
  v_reasons text[];
  v_drop text;
  v_message text;
  v_detail text;
begin
  with noted as (
    select n.classid, n.objid
    from jsonb_to_recordset(nullif(current_setting('pgstream.older_code', true), '')::jsonb)
      n(classid oid, objid oid, entry tid)
    where exists (select from pg_proc p where (n.classid, p.oid, p.ctid)
                    = ('pg_proc'::regclass, n.objid, n.entry))
       or exists (select from pg_rewrite w where (n.classid, w.ev_class, w.ctid)
                    = ('pg_class'::regclass, n.objid, n.entry))
       or exists (select from pg_trigger t where (n.classid, t.oid, t.ctid)
                    = ('pg_trigger'::regclass, n.objid, n.entry))
       or exists (select from pg_policy p where (n.classid, p.oid, p.ctid)
                    = ('pg_policy'::regclass, n.objid, n.entry))
  ), older as (
    select n.classid, n.objid from noted n
    union all
    select 'pg_event_trigger'::regclass, e.oid
    from pg_event_trigger e
    join noted n on n.classid = 'pg_proc'::regclass and n.objid = e.evtfoid
  )
  select array_agg(format('drop %s %s', i.type, i.identity) order by i.type, i.identity)
  into v_drops
  from older o
  cross join lateral pg_identify_object(o.classid, o.objid, 0) i;

  -- What others of them need can be dropped after those.
  while cardinality(v_drops) > 0 loop
    v_left := '{}';
    v_reasons := '{}';
    foreach v_drop in array v_drops loop
      begin
        execute v_drop;
      exception when dependent_objects_still_exist or insufficient_privilege then
        get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
        v_left := v_left || v_drop;
        v_reasons := v_reasons || coalesce(nullif(v_detail, ''), v_message);
      end;
    end loop;
    exit when v_left = v_drops;
    v_drops := v_left;
  end loop;

  for i in 1 .. coalesce(cardinality(v_left), 0) loop
    raise warning '% is not part of pgstream any more, and stays: %',
      substr(v_left[i], length('drop ') + 1), replace(v_reasons[i], E'\n', ', ')
      using hint = format('Change what uses it, if anything; then, as its owner: %s;', v_left[i]);
  end loop;
end
$$;
