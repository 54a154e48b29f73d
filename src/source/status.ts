/** `pgstream.subscription_state`: what SQL cannot know of the deliveries, written every second. */
import type { EndpointStatus } from '../delivery/endpoint.js';
import type { Transactions } from './transactions.js';

type Statuses = [subscription: number, status: EndpointStatus][];

const mostAtOnce = 1_000;

/** Remembers what it has written, so that only what has changed is written again. */
export class StatusWriter {
  readonly #transactions: Transactions;
  readonly #written = new Map<
    number,
    { text: string; delivered: number; dropped: number; evaluationErrors: number }
  >();

  constructor(transactions: Transactions) {
    this.#transactions = transactions;
  }

  /** Writes what has changed, a thousand subscriptions at most. What fails is written the next time. */
  async write(statuses: Statuses): Promise<void> {
    const changed = statuses
      .map(([id, status]) => ({ id, status, text: textOf(status), before: this.#written.get(id) }))
      .filter(({ text, before }) => before?.text !== text)
      .slice(0, mostAtOnce);
    if (changed.length === 0) return;
    const rows = changed.map(({ id, status, before }) => ({
      subscription: id,
      state: status.state,
      delivered: status.delivered - (before?.delivered ?? 0),
      dropped: status.dropped - (before?.dropped ?? 0),
      evaluation_errors: status.evaluationErrors - (before?.evaluationErrors ?? 0),
      in_memory: status.inMemory,
      last_success_at: status.lastSuccessAt?.toISOString() ?? null,
      last_error: status.lastFailure?.reason ?? null,
      last_error_at: status.lastFailure?.at.toISOString() ?? null,
      next_attempt_at: status.nextAttemptAt?.toISOString() ?? null,
    }));
    const upsert = `
      insert into pgstream.subscription_state as t
        (subscription, state, delivered, dropped, evaluation_errors, in_memory, last_success_at,
         last_error, last_error_at, next_attempt_at)
      select r.* from jsonb_to_recordset($1::jsonb) as r(
        subscription bigint, state text, delivered bigint, dropped bigint, evaluation_errors bigint,
        in_memory integer,
        last_success_at timestamptz, last_error text, last_error_at timestamptz,
        next_attempt_at timestamptz)
      where exists (select from pgstream.webhook_subscriptions s where s.id = r.subscription)
      on conflict (subscription) do update
      set state = excluded.state, delivered = t.delivered + excluded.delivered,
          dropped = t.dropped + excluded.dropped,
          evaluation_errors = t.evaluation_errors + excluded.evaluation_errors, in_memory = excluded.in_memory,
          last_success_at = coalesce(excluded.last_success_at, t.last_success_at),
          last_error = coalesce(excluded.last_error, t.last_error),
          last_error_at = coalesce(excluded.last_error_at, t.last_error_at),
          next_attempt_at = excluded.next_attempt_at, updated_at = now()`;
    await this.#transactions.run((client) => client.query(upsert, [JSON.stringify(rows)]));
    for (const { id, status, text } of changed) {
      const { delivered, dropped, evaluationErrors } = status;
      this.#written.set(id, { text, delivered, dropped, evaluationErrors });
    }
  }
}

/** The time of the next attempt is left out: it differs a little whenever it is asked for. */
const textOf = ({ nextAttemptAt, ...status }: EndpointStatus) =>
  JSON.stringify({ ...status, isPaused: nextAttemptAt !== undefined });
