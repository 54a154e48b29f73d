/**
 * Refreshes the cached tables of foreign databases that are due. It has a connection of its own, so
 * that a foreign database that is slow or away keeps nothing else waiting; what fails is noted by
 * pgstream.refresh_due() itself, for pgstream.cached_status. The log holds nothing of the rows.
 */
import postgres from 'postgres';
import { exitCode } from '../errors.js';
import type { Log } from '../log.js';
import { postgresOptions, type Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { withoutTexts } from '../settings/server-error.js';
import { conditionOf } from '../settings/sqlstate.js';
import { oneAtATime } from './one-at-a-time.js';

/** How often it is looked whether something is due. */
const lookMs = 1_000;

export class ForeignRefresher {
  readonly #sql: postgres.Sql;
  readonly #connection: Connection;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #reason: string | undefined;
  #failing = new Set<string>();
  #isStopped = false;

  constructor(connection: Connection, log: Log) {
    this.#sql = postgres({
      ...postgresOptions({ ...connection, applicationName: 'pgstream refresh' }),
      max: 1,
    });
    this.#connection = connection;
    this.#log = log;
    const refresh = oneAtATime(
      () => this.#refresh(),
      () => undefined,
    );
    this.#timer = setInterval(refresh, lookMs);
  }

  /** Also ends a refresh that is under way: nothing of it is kept. */
  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#sql.end({ timeout: 0 }).catch(() => undefined);
  }

  async #refresh(): Promise<void> {
    if (this.#isStopped) return;
    try {
      const [due] = await this.#sql`
        select from pgstream.cached_tables where next_refresh_at <= clock_timestamp() limit 1`;
      if (due) await this.#call();
      if (due) await this.#tell();
      if (this.#reason !== undefined) this.#log.info('foreign tables can be refreshed again');
      this.#reason = undefined;
    } catch (error) {
      const { message: reason, exitCode: exit } = databaseError(error, this.#connection);
      // That our own database is away, the others of the runner tell.
      if (this.#isStopped || exit === exitCode.cannotConnect) return;
      if (reason !== this.#reason) {
        this.#log.warn({ reason }, 'cannot refresh cached tables');
      }
      this.#reason = reason;
    }
  }

  /** Triggers and constraints of others run over what is written, also when it is committed. */
  async #call(): Promise<void> {
    try {
      await this.#sql`call pgstream.refresh_due()`.simple();
    } catch (error) {
      throw withoutTexts(error);
    }
  }

  /** Each cached table once, when it begins to fail, with the SQLSTATE that its error begins with. */
  async #tell(): Promise<void> {
    const failing = await this.#sql<{ target: string; code: string }[]>`
      select target::text, pg_catalog.left(last_error, 5) as code
      from pgstream.cached_tables where failures > 0`;
    for (const { target, code } of failing) {
      if (this.#failing.has(target)) continue;
      const reason = conditionOf(code);
      this.#log.warn({ target, reason }, 'a cached table could not be refreshed');
    }
    this.#failing = new Set(failing.map(({ target }) => target));
  }
}
