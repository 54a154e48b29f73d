/** A row says the same, byte for byte, whether the stream brings it or a snapshot. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { drained, startItems } from '../helpers/items.js';
import { inState, request } from '../helpers/snapshots.js';
import { tableStory, typeColumns, type Column } from '../helpers/type-tables.js';
import { typeDefinitions } from '../helpers/type-values.js';
import { hasWal2json } from '../helpers/wal2json.js';

const hostileSettings = {
  datestyle: 'SQL, DMY',
  intervalstyle: 'iso_8601',
  timezone: 'Asia/Kolkata',
  extra_float_digits: '0',
  bytea_output: 'escape',
};

/** All that differs by its nature: where in the log, and when. */
const timeless = (body: string) =>
  body.replace(/"timestamp":"[^"]*","lsn":"[^"]*"/, '"timestamp":"","lsn":""');

const plugins = (await hasWal2json('types in snapshots')) ? ['pgoutput', 'wal2json'] : ['pgoutput'];

test.for(plugins)('every type is the same through stream and snapshot, with %s', async (plugin) => {
  const env = { PGSTREAM_POSTGRES_OUTPUT_PLUGIN: plugin };
  const { sql, url, receiver, subscribe } = await startItems({ env });
  for (const [name, value] of Object.entries({
    ...hostileSettings,
    search_path: 'app, pg_catalog',
  })) {
    const to = name === 'search_path' ? value : `'${value}'`;
    await sql.unsafe(`alter database ${new URL(url).pathname.slice(1)} set ${name} = ${to}`);
  }
  const writer = postgres(url, {
    max: 1,
    connection: hostileSettings,
    onnotice: () => undefined,
  });
  await writer.unsafe(typeDefinitions);
  await subscribe({ url: `${receiver.url}/types`, schema_name: 'app', table_name: '*' });
  const kinds = ['default', 'full', 'index'];
  const [server] = await sql<{ version: number }[]>`
    select current_setting('server_version_num')::integer as version`;
  // Scales below 0 came with version 15.
  const isKnown = ({ type }: Column) => server!.version >= 150_000 || !type.includes(',-');
  for (const [group, all] of await typeColumns(writer)) {
    const columns = all.filter(isKnown);
    for (const kind of kinds) {
      const table = `${group.replaceAll(' ', '_')}_${kind}`;
      const clause = kind === 'index' ? `using index ${table}_code_key` : kind;
      const [create, identity, insert] = tableStory(`app.${table}`, clause, columns);
      for (const statement of [create!, identity!, insert!]) await writer.unsafe(statement);
    }
  }
  await writer.unsafe(`
    create table app.generated (id integer primary key, v text,
      twice integer generated always as (id * 2) stored, w text);
    insert into app.generated (id, v, w) values (1, 'a', E'tab\\t, line\\n, \\\\N, \\x07');
    create table app.split (id integer primary key, v text) partition by range (id);
    create table app.low partition of app.split for values from (0) to (10);
    insert into app.split values (1, null)`);
  await writer.end();
  await drained(sql);
  const streamed = receiver.requests.map(({ body }) => timeless(body)).sort();
  expect(streamed.length).toBeGreaterThan(100);

  const id = await request(sql, ['*'], { schema_name: 'app' });
  await inState(sql, id, 'done');
  await drained(sql);
  const again = receiver.requests
    .slice(streamed.length)
    .map(({ body }) => timeless(body))
    .sort();
  for (const [i, body] of streamed.entries())
    expect(again[i]?.slice(0, 5_000)).toBe(body.slice(0, 5_000));
  expect(again).toEqual(streamed);
});
