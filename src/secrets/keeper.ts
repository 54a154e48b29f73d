/**
 * The secrets of subscriptions, as they stand today. What a definition holds of its secret is
 * `kept:` and a number, which says only when it was given; the secret itself is read from
 * `pgstream.subscription_secrets`, and sealed there where it is not.
 */
import { randomBytes } from 'node:crypto';
import type { Sql } from 'postgres';
import { PgstreamError } from '../errors.js';
import type { Log } from '../log.js';
import { arrayLiteral } from '../source/array-literal.js';
import type { Transactions } from '../source/transactions.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { isSealed, keyIdOf, seal, unseal, type Binding, type Key } from './seal.js';

export interface KeeperOptions {
  readonly sql: Sql;
  readonly transactions: Transactions;
  /** Repeats work while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  readonly keys: readonly Key[];
  /** Something is to be read at once. */
  readonly onWanted: () => void;
  readonly log: Log;
}

interface Row {
  readonly id: string;
  readonly subscription: number;
  readonly secret: string;
  readonly binding: Binding;
}

interface Kept {
  readonly id: bigint;
  readonly secret: string | PgstreamError;
}

export class SecretKeeper {
  readonly #options: KeeperOptions;
  readonly #kept = new Map<number, Kept>();
  /** The numbers that were asked for, by subscription. */
  readonly #wanted = new Map<number, bigint>();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /**
   * The secrets to sign with, null for none; undefined while they are being read.
   *
   * @throws PgstreamError where they cannot be known.
   */
  secretOf({ id, secret }: Subscription): string | null | undefined {
    const [, number] = /^kept:(\d+)$/.exec(secret ?? '') ?? [];
    if (number === undefined) return secret;
    const kept = this.#kept.get(id);
    if (!kept || kept.id < BigInt(number)) {
      this.#wanted.set(id, BigInt(number));
      this.#options.onWanted();
      return undefined;
    }
    if (kept.secret instanceof PgstreamError) throw kept.secret;
    return kept.secret;
  }

  /** Reads what is wanted; the ids of the subscriptions that it is about. */
  async read(): Promise<readonly number[]> {
    const { sql, keepTrying } = this.#options;
    const asked = new Map(this.#wanted);
    const wanted = [...asked.keys()];
    if (wanted.length === 0) return wanted;
    const rows = await keepTrying(async () => rowsOf(sql, wanted));
    const found = new Map(rows.map((row) => [row.subscription, row]));
    for (const [id, number] of asked) {
      if (this.#wanted.get(id) === number) this.#wanted.delete(id);
      const row = found.get(id);
      this.#kept.set(
        id,
        row ? { id: BigInt(row.id), secret: this.#open(row) } : { id: number, secret: gone },
      );
    }
    await this.#sealAll(rows);
    return wanted;
  }

  /** Seals whatever is not, or not with the first key. */
  async sealOld(): Promise<void> {
    const { sql, keys, keepTrying } = this.#options;
    const [first] = keys;
    if (first) await this.#sealAll(await keepTrying(async () => rowsNotSealedWith(sql, first.id)));
  }

  #open({ subscription, id, secret, binding }: Row): string | PgstreamError {
    if (!isSealed(secret)) return secret;
    try {
      return unseal(this.#options.keys, [{ subscription, id }, binding], secret);
    } catch (error) {
      if (error instanceof PgstreamError) return error;
      throw error;
    }
  }

  async #sealAll(rows: readonly Row[]): Promise<void> {
    const { transactions, keys, log } = this.#options;
    const [first] = keys;
    if (!first) return;
    for (const row of rows) {
      const secret = this.#open(row);
      if (secret instanceof PgstreamError || this.#isOurs(row, first)) continue;
      const { subscription, id } = row;
      const sealed = seal(first, { subscription, id }, secret, randomBytes(12));
      await transactions.run((client) =>
        client.query(
          'update pgstream.subscription_secrets set secret = $3 where id = $1 and secret = $2',
          [id, row.secret, sealed],
        ),
      );
      log.debug({ subscription, key: first.id }, 'sealed the secret of a subscription');
    }
  }

  /** Whether it is sealed for its row, with this key. */
  #isOurs({ subscription, id, secret }: Row, key: Key): boolean {
    if (keyIdOf(secret) !== key.id) return false;
    try {
      unseal([key], [{ subscription, id }], secret);
      return true;
    } catch {
      return false;
    }
  }
}

/** The definition is older than the end of its secret; a newer one is on its way. */
const gone = new PgstreamError('secret_gone', 'the secret has been taken away');

const columns = (sql: Sql) => sql`
  k.id::text, k.subscription::float8 as subscription, k.secret,
  json_build_object('owner', s.owner, 'url', s.url, 'schema', s.schema_name,
    'table', s.table_name, 'name', s.name) as binding
  from pgstream.subscription_secrets k
  join pgstream.webhook_subscriptions s
    on s.id = k.subscription and s.secret = format('kept:%s', k.id)`;

const rowsOf = (sql: Sql, subscriptions: readonly number[]) => sql<Row[]>`
  select ${columns(sql)}
  where k.subscription = any(${arrayLiteral(subscriptions.map(String))}::bigint[])`;

const rowsNotSealedWith = (sql: Sql, keyId: string) => sql<Row[]>`
  select ${columns(sql)}
  where not starts_with(k.secret, ${`sealed:v1:${keyId}:`})`;
