import type postgres from 'postgres';

let count = 0;

/** Subscribes and returns the id; whatever the row does not say is the default. */
export async function insertSubscription(
  sql: postgres.ISql,
  row: Record<string, unknown> = {},
): Promise<number> {
  const values = { url: 'http://localhost/hook', name: `s${++count}`, ...row };
  const [inserted] = await sql<{ id: number }[]>`
    insert into pgstream.webhook_subscriptions ${sql(values)} returning id::integer`;
  return inserted!.id;
}

/** Inserts a delivery as a runner would, and returns its webhook id. */
export async function insertDelivery(
  sql: postgres.ISql,
  subscription: number,
  row: Record<string, unknown> = {},
): Promise<string> {
  const id = `msg_${++count}`;
  const values = {
    webhook_id: id,
    subscription,
    commit_lsn: '0/1',
    ordinal: count,
    schema_name: 'public',
    table_name: 'orders',
    action: 'I',
    committed_at: '2026-01-01 00:00:00+00',
    barrier: false,
    body: '{}',
    ...row,
  };
  await sql`
    insert into pgstream.webhook_deliveries
    select * from jsonb_populate_record(null::pgstream.webhook_deliveries,
      ${sql.json({ ...defaults, ...values } as never)})`;
  return id;
}

const defaults = {
  state: 'pending',
  attempts: 0,
  active_for: '0',
  replayed: false,
  format: 'pgstream',
  lane_tables: [],
  lane_keys: [],
};

/** Writes the lease of a slot, as the runner that holds it would; it is never silent. */
export async function writeLease(
  sql: postgres.ISql,
  slot: string,
  row: Record<string, unknown> = {},
): Promise<void> {
  const values = {
    slot_name: slot,
    epoch: 1,
    heartbeat_at: 'infinity',
    state: 'streaming',
    ...row,
  };
  await sql`
    insert into pgstream.runner_lease
    select * from jsonb_populate_record(null::pgstream.runner_lease, ${sql.json(values as never)})
    on conflict (slot_name) do update
    set holder = excluded.holder, heartbeat_at = excluded.heartbeat_at, state = excluded.state,
        problem = excluded.problem, confirmed_commit_at = excluded.confirmed_commit_at`;
}
