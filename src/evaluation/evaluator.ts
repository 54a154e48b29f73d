/**
 * A connection on which expressions of users are evaluated, made anew when it is lost.
 *
 * It can do nothing but read, each statement has a time limit, and where code of a user goes on beyond
 * that limit, because it caught the cancellation, the connection is broken off: a server that notices
 * ends its process, which nothing can catch.
 */
import pg from 'pg';
import { pgOptions, sessionSettings, type Connection } from '../settings/connection.js';
import { isServerError } from '../settings/server-error.js';
import { conditionOf } from '../settings/sqlstate.js';
import type { Statement } from './statement.js';

export interface EvaluatorOptions {
  readonly connection: Connection;
  /** Repeats the making of the connection while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  /** Ends a process of the server, where we may. */
  readonly terminate: (pid: number) => void;
}

/**
 * The expressions could not be evaluated, and it is they that are to blame. The message holds nothing
 * of the row: it is a condition of Postgres, or a sentence of ours.
 */
export class EvaluationError extends Error {
  readonly isTimeout: boolean;

  constructor(message: string, isTimeout: boolean) {
    super(message);
    this.isTimeout = isTimeout;
  }
}

/** What an event was answered: its position, the programs that match, and their payloads. */
export type Answer = readonly [i: number, matched: string, ...payloads: (string | null)[]];

export const timeoutMs = 2_000;
/** Beyond the limit of the server. */
const watchdogMs = 2_000;
/** An expression that has cost so many connections is not tried on another one. */
const mostLosses = 3;
/** Statements that a session may hold, since each takes memory of the server. */
const mostStatements = 500;
const queryCanceled = '57014';
/** What happens to a server or a connection, and may be otherwise on the next one. */
const isOfServer = /^(08|55|57(?!014)|58)/;

/** Beside what every session of ours is pinned to: all that a verdict could depend on. */
const settings = {
  default_transaction_read_only: 'on',
  statement_timeout: String(timeoutMs),
  lock_timeout: String(timeoutMs),
  idle_in_transaction_session_timeout: '10s',
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  array_nulls: 'on',
  lc_numeric: 'C',
  lc_time: 'C',
  xmloption: 'content',
  default_text_search_config: 'pg_catalog.simple',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
  plan_cache_mode: 'force_generic_plan',
};

export class Evaluator {
  readonly #options: EvaluatorOptions;
  #client: pg.Client | undefined;
  #names = new Map<string, string>();
  #path: string = sessionSettings.search_path;
  #isClosed = false;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
  }

  /**
   * The answers to a JSON array of events, in any order. Rejects with an EvaluationError where it is
   * the expressions that fail.
   */
  async evaluate(statement: Statement, events: string): Promise<readonly Answer[]> {
    for (let losses = 1; ; losses++) {
      const client = await this.#connected();
      try {
        return await this.#run(client, statement, events);
      } catch (error) {
        if (this.#isClosed) throw error;
        if (isServerError(error) && !isOfServer.test(error.code)) {
          throw error.code === queryCanceled
            ? new EvaluationError(`it takes longer than ${timeoutMs} ms`, true)
            : new EvaluationError(conditionOf(error.code), false);
        }
        this.#drop(client);
        if (error instanceof EvaluationError) throw error;
        if (losses === mostLosses) {
          throw new EvaluationError('the connection is lost whenever it is evaluated', true);
        }
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#client) this.#drop(this.#client);
  }

  async #run(client: pg.Client, statement: Statement, events: string): Promise<readonly Answer[]> {
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const { processID: pid } = client as unknown as { processID: number };
        this.#drop(client);
        this.#options.terminate(pid);
        reject(new EvaluationError('it takes longer than allowed and cannot be cancelled', true));
      }, timeoutMs + watchdogMs);
    });
    const work = this.#query(client, statement, events);
    try {
      return await Promise.race([work, overdue]);
    } finally {
      clearTimeout(timer);
      work.catch(() => undefined);
    }
  }

  async #query(
    client: pg.Client,
    { text, path, foreign }: Statement,
    events: string,
  ): Promise<readonly Answer[]> {
    if (path !== this.#path) {
      await client.query(`set search_path = ${path}`);
      this.#path = path;
    }
    const query = { name: this.#nameOf(text), text, values: [events], rowMode: 'array' as const };
    if (!foreign) return (await client.query<Answer[]>(query)).rows as unknown as Answer[];
    // What functions of others leave behind in the session goes with the transaction.
    await client.query('begin read only');
    try {
      return (await client.query<Answer[]>(query)).rows as unknown as Answer[];
    } finally {
      await client.query('rollback');
    }
  }

  #nameOf(text: string): string {
    let name = this.#names.get(text);
    if (!name) this.#names.set(text, (name = `pgstream_${this.#names.size}`));
    return name;
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client && this.#names.size < mostStatements) return this.#client;
    if (this.#client) this.#drop(this.#client);
    return this.#options.keepTrying(async () => {
      const client = this.#open();
      try {
        await client.connect();
        // Where the platform cannot tell, only the time limit ends what goes on.
        await client.query('set client_connection_check_interval = 1000').catch(() => undefined);
      } catch (error) {
        destroy(client);
        throw error;
      }
      this.#names = new Map();
      this.#path = sessionSettings.search_path;
      if (this.#isClosed) destroy(client);
      return (this.#client = client);
    });
  }

  #open(): pg.Client {
    const base = pgOptions(this.#options.connection);
    const pinned = Object.entries(settings).map(
      ([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`,
    );
    const client = new pg.Client({ ...base, options: [base.options, ...pinned].join(' ') });
    client.on('error', () => {
      if (this.#client === client) this.#client = undefined;
    });
    return client;
  }

  #drop(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined;
    destroy(client);
  }
}

function destroy(client: pg.Client): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}
