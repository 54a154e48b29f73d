/**
 * Transactions of one writer, as the statements of one query. They know nothing of what is in the
 * tables: a statement that finds no row changes nothing, and puts nothing into `truth` either.
 */
import { pick, type Random } from './random.js';
import { sharedRows } from './tables.js';

const keysOfWriter = 60;
const bulkRows = 1_500;

/** Puts what a change returned (seq, old_id, id, action) into `truth`. */
const noted = (change: string, tag: string, table: string) =>
  `with c as (${change}) insert into soak.truth (seq, tag, table_name, action, old_id, id) ` +
  `select seq, '${tag}', '${table}', action, old_id, id from c`;

const upsert = (table: string, rows: string) =>
  `insert into ${table} ${rows} on conflict (id) do update set seq = excluded.seq ` +
  `returning seq, case when xmax = 0 then 'I' else 'U' end as action, ` +
  `case when xmax = 0 then null else id end as old_id, id`;

const update = (table: string, set: string, where: string) =>
  `update ${table} set seq = nextval('seq')${set} where ${where} ` +
  `returning seq, 'U' as action, id as old_id, id`;

const rekey = (table: string, from: number, to: number) =>
  `update ${table} set id = ${to}, seq = nextval('seq') where id = ${from} ` +
  `and not exists (select from ${table} where id = ${to}) ` +
  `returning seq, 'U' as action, ${from} as old_id, id`;

const remove = (table: string, id: number) =>
  `delete from ${table} where id = ${id} ` +
  `returning nextval('seq') as seq, 'D' as action, id as old_id, null::integer as id`;

export interface Statement {
  readonly sql: string;
  /** Whether what it changes stays. */
  readonly kept: boolean;
}

export function transactionsOf(random: Random, writer: number): () => Statement[] {
  let count = 0;
  let tag = '';
  const key = () => writer * 10_000 + random(keysOfWriter);
  const large = () => `repeat(md5('${random(2 ** 31)}'), ${pick(random, [3, 80, 200])})`;

  const change = (): string => {
    const table = pick(random, ['item', 'entry', 'item', 'entry', 'wiped', 'shared']);
    if (table === 'shared') return shared();
    const kind = random(20);
    const note = (text: string) => noted(text, tag, table);
    if (kind < 9) return note(upsert(table, `values (${key()}, nextval('seq'), ${large()})`));
    if (kind < 13) return note(update(table, '', `id = ${key()}`));
    if (kind < 14) return note(update(table, `, pad = ${large()}`, `id = ${key()}`));
    if (kind < 15) return note(update(table, '', `id between ${key()} and ${key()}`));
    if (kind < 17) return note(rekey(table, key(), key()));
    return note(remove(table, key()));
  };
  const shared = () => noted(update('shared', '', `id = ${1 + random(sharedRows)}`), tag, 'shared');
  const bulk = () => {
    const first = writer * 10_000 + 5_000;
    const rows = `select n, nextval('seq'), null from generate_series(${first}, ${first + bulkRows - 1}) n`;
    return noted(upsert('item', rows), tag, 'item');
  };
  // The number is drawn when nobody else can write the table any more.
  const truncate = () => [
    'truncate wiped',
    `insert into soak.truth values (nextval('seq'), '${tag}', 'wiped', 'T')`,
  ];
  const changes = () => Array.from({ length: 1 + random(20) }, change);

  return () => {
    tag = `${writer}-${++count}`;
    const commits = random(7) > 0;
    const lasting = (sql: string): Statement => ({ sql, kept: commits });
    const passing = (sql: string): Statement => ({ sql, kept: false });
    const statements = changes().map(lasting);
    if (random(4) === 0) {
      statements.push(...['savepoint s', ...changes(), 'rollback to s'].map(passing));
    }
    if (random(2) === 0) {
      statements.push(...['savepoint t', ...changes(), 'release t'].map(lasting));
    }
    if (random(100) === 0) statements.push(lasting(bulk()));
    if (random(40) === 0) statements.push(...truncate().map(lasting));
    return [passing('begin'), ...statements, passing(commits ? 'commit' : 'rollback')];
  };
}
