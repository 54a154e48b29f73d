import { randomInt } from 'node:crypto';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

const seed = Number(process.env['PGSTREAM_TEST_SEED'] ?? randomInt(2 ** 31));
const wantedChanges = 20_000;
const crashes = 20;
const writers = 6;
const keysOfWriter = 60;
/** Writers wait for the receiver when it is so many changes behind, so that crashes meet them. */
const mostBehind = 600;

/** Repeatable chance: whole numbers below `below`. */
function chance(start: number): (below: number) => number {
  let state = start | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What must arrive: the changes of each key in the order of their commits, as short texts. */
interface Ledger {
  readonly byKey: Map<number, string[]>;
  changes: number;
}

interface Change {
  readonly sql: string;
  readonly text: string;
  readonly keys: readonly number[];
}

/** The rows of one writer, whose keys nobody else touches. */
class Rows {
  readonly #random: (below: number) => number;
  readonly #writer: number;
  #version = 0;
  live = new Set<number>();

  constructor(writer: number) {
    this.#writer = writer;
    this.#random = chance(seed + writer);
  }

  #key(isLive: boolean): number | undefined {
    const all = Array.from({ length: keysOfWriter }, (_, i) => this.#writer * 1_000 + i);
    const fitting = all.filter((key) => this.live.has(key) === isLive);
    return fitting[this.#random(fitting.length || 1)];
  }

  #change(): Change {
    const version = this.#writer * 1_000_000 + ++this.#version;
    const kind = this.#random(10);
    const old = this.#key(true);
    const fresh = this.#key(false);
    if (fresh !== undefined && (old === undefined || kind < 3)) {
      this.live.add(fresh);
      const sql = `insert into item values (${fresh}, ${version})`;
      return { sql, text: `I ${fresh} ${version}`, keys: [fresh] };
    }
    if (kind === 3) {
      this.live.delete(old!);
      return { sql: `delete from item where id = ${old}`, text: `D ${old}`, keys: [old!] };
    }
    const key = kind === 4 && fresh !== undefined ? fresh : old!;
    this.live.delete(old!);
    this.live.add(key);
    const sql = `update item set id = ${key}, version = ${version} where id = ${old}`;
    return { sql, text: `U ${old} ${key} ${version}`, keys: [...new Set([old!, key])] };
  }

  #changes(): Change[] {
    return Array.from({ length: 1 + this.#random(25) }, () => this.#change());
  }

  /** One transaction: its statements, and what it leaves behind. */
  transaction(): { sql: string; changes: Change[] } {
    const before = new Set(this.live);
    const changes = this.#changes();
    const statements = ['begin', ...changes.map(({ sql }) => sql)];
    if (this.#random(4) === 0) {
      const kept = new Set(this.live);
      const undone = this.#changes();
      statements.push('savepoint s', ...undone.map(({ sql }) => sql), 'rollback to s');
      this.live = kept;
    }
    if (this.#random(2) === 0) {
      statements.push('savepoint t');
      const more = this.#changes();
      statements.push(...more.map(({ sql }) => sql), 'release t');
      changes.push(...more);
    }
    const commits = this.#random(7) > 0;
    if (!commits) this.live = before;
    statements.push(commits ? 'commit' : 'rollback');
    return { sql: statements.join(';'), changes: commits ? changes : [] };
  }
}

async function write(
  url: string,
  writer: number,
  ledger: Ledger,
  arrived: () => number,
): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const rows = new Rows(writer);
  while (ledger.changes < wantedChanges) {
    await eventually(() => ledger.changes - arrived() < mostBehind, { timeout: 30_000 });
    const { sql: text, changes } = rows.transaction();
    await sql.unsafe(text);
    for (const { keys, text: change } of changes) {
      for (const key of keys) {
        ledger.byKey.set(key, [...(ledger.byKey.get(key) ?? []), change]);
      }
    }
    ledger.changes += changes.length;
  }
}

interface Arrival {
  readonly id: string;
  readonly text: string;
  readonly keys: readonly number[];
  /** Which run of the runner sent it. */
  readonly run: number;
}

type Values = { name: string; value: number }[] | null;

function parse(body: string): { text: string; keys: number[] } {
  const { Data } = JSON.parse(body) as { Data: Record<'columns' | 'identity', Values> };
  const { action, columns, identity } = { action: '', ...Data };
  const key = columns?.find(({ name }) => name === 'id')?.value;
  const version = columns?.find(({ name }) => name === 'version')?.value;
  const old = identity?.find(({ name }) => name === 'id')?.value;
  const keys = [...new Set([old, key])].filter((each) => each !== undefined);
  return {
    text: [action, ...(action === 'U' ? [old, key] : keys), version].join(' ').trim(),
    keys,
  };
}

function group<K>(arrivals: readonly Arrival[], keysOf: (arrival: Arrival) => readonly K[]) {
  const groups = new Map<K, Arrival[]>();
  for (const arrival of arrivals) {
    for (const key of keysOf(arrival)) {
      const found = groups.get(key);
      if (found) found.push(arrival);
      else groups.set(key, [arrival]);
    }
  }
  return groups;
}

test('with a runner that is killed at random moments every committed change arrives, in order and recognisable', async () => {
  onTestFailed(() => console.error(`again with PGSTREAM_TEST_SEED=${seed}`));
  const random = chance(seed);
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  const { sql } = database;
  await sql`create table item (id integer primary key, version integer not null)`;
  await sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, max_in_flight)
    values (${receiver.url}, 'public', 'item', 16)`;

  const bodies = new Map<string, string>();
  const altered: string[] = [];
  const arrivals: Arrival[] = [];
  let run = 0;
  let untilCrash = Infinity;
  let crash = (): void => undefined;
  receiver.reply(({ headers, body }) => {
    const id = String(headers['webhook-id']);
    if (!bodies.has(id) && --untilCrash === 0) crash();
    if (body !== (bodies.get(id) ?? body)) altered.push(id);
    bodies.set(id, body);
    arrivals.push({ id, ...parse(body), run });
    return { status: random(20_000) === 0 ? 500 : 200, delay: random(6) };
  });
  const start = () => {
    run++;
    return startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: database.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      },
    });
  };

  let runner = start();
  await runner.waitForLog(/streaming/);
  const ledger: Ledger = { byKey: new Map(), changes: 0 };
  const writing = Array.from({ length: writers }, (_, i) =>
    write(database.url, i + 1, ledger, () => bodies.size),
  );
  const crashing = async () => {
    for (let i = 0; i < crashes; i++) {
      if (random(4) === 0) {
        await runner.waitForLog([/listening/, /streaming/][random(2)]!);
        await runner.kill();
      } else {
        crash = () => void runner.kill();
        untilCrash = 1 + random((1.4 * wantedChanges) / crashes);
        await eventually(() => untilCrash <= 0, { timeout: 30_000 });
        await runner.exited;
      }
      runner = start();
    }
  };
  await Promise.all([...writing, crashing()]);
  await eventually(() => expect(bodies.size).toBeGreaterThanOrEqual(ledger.changes), {
    timeout: 30_000,
  });
  expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });

  expect(altered).toEqual([]);
  const firsts = [...group(arrivals, ({ id }) => [id]).values()].map(([first]) => first!);
  const firstsByKey = group(firsts, ({ keys }) => keys);
  for (const [key, changes] of ledger.byKey) {
    expect(firstsByKey.get(key)?.map(({ text }) => text)).toEqual(changes);
  }
  expect(firsts).toHaveLength(ledger.changes);

  // Each run sends the changes of a row in their order, whether they are repeats or not.
  const places = new Map(
    [...firstsByKey].flatMap(([key, all]) =>
      all.map(({ id }, i) => [`${id} of ${key}`, i] as const),
    ),
  );
  for (const ofRun of group(arrivals, (arrival) => [arrival.run]).values()) {
    for (const [key, all] of group(ofRun, ({ keys }) => keys)) {
      const order = all.map(({ id }) => places.get(`${id} of ${key}`)!);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
  }
}, 180_000);
