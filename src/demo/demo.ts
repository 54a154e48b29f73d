/** The main job on a throw-away Postgres of its own: subscribe in SQL, change rows, see events. */
import readline from 'node:readline';
import postgres, { type Sql } from 'postgres';
import { startPostgres } from '../embedded/start.js';
import { init } from '../install/init.js';
import { createLog } from '../log.js';
import { run } from '../runner.js';
import { loadSettings } from '../settings/settings.js';
import { startReceiver } from './receiver.js';

export interface DemoOptions {
  /** Ends the demo. */
  readonly signal: AbortSignal;
  /** End when the events have arrived, instead of staying for the reader. */
  readonly once: boolean;
  /** What is going on, for people. */
  readonly say: (text: string) => void;
  /** An event that has arrived. */
  readonly show: (event: string) => void;
}

/** What is done, and how many events it makes. */
const story = [
  {
    statement: 'create table customers (id serial primary key, name text, vip boolean)',
    events: 1, // the new version of the schema
  },
  { statement: "insert into customers (name) values ('alice'), ('bob')", events: 2 },
  { statement: "update customers set vip = true where name = 'alice'", events: 1 },
  { statement: "delete from customers where name = 'bob'", events: 1 },
];

export async function demo({ signal, once, say, show }: DemoOptions): Promise<void> {
  say('Starting a Postgres of its own …');
  const server = await startPostgres({ onProgress: (text) => say(`  ${text}`) });
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  let running: Promise<void> | undefined;
  let sql: Sql | undefined;
  let events = 0;
  let arrived: (() => void) | undefined;
  const receiver = await startReceiver((body) => {
    show(body);
    events++;
    arrived?.();
  });
  const speak = async (statement: string) => {
    say(`\n  sql> ${statement};`);
    await sql!.unsafe(statement);
  };
  try {
    say('\nInstalling pgstream …');
    const settings = loadSettings({
      flags: { pgurl: server.url },
      env: { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0' },
      configFile: undefined,
    });
    await init({
      connection: settings.source,
      slotName: undefined,
      parts: 'all',
      onStep: (text) => say(`  ${text}`),
      onWarning: say,
    });
    running = run(settings, { log: createLog('warn'), signal: ended });

    sql = postgres(server.url, { max: 1, onnotice: () => undefined });
    say(`\nA webhook endpoint listens on ${receiver.url}. Subscribing it to everything:`);
    await speak(`insert into pgstream.webhook_subscriptions (url) values ('${receiver.url}')`);
    say('\nMaking changes; each arrives as an event:');
    let expected = 0;
    for (const { statement, events: added } of story) {
      await speak(statement);
      expected += added;
      const all = new Promise<void>((resolve) => {
        arrived = () => events >= expected && resolve();
        arrived();
      });
      await Promise.race([all, running]);
      if (ended.aborted) return;
    }

    if (!once) {
      say(`\nAll of that in SQL alone. Now try it yourself:\n\n  psql ${server.url}\n`);
      await Promise.race([converse(sql, say, ended), running]);
    }
  } finally {
    say('\nStopping …');
    stop.abort();
    await running;
    await sql?.end({ timeout: 1 });
    await receiver.close();
    await server.stop();
  }
}

/** Takes SQL from the terminal, for machines without psql; returns when the signal fires. */
async function converse(sql: Sql, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve());
  });
  if (!process.stdin.isTTY) {
    say('Ctrl-C ends it.');
    return closed;
  }
  say('or type SQL here, one statement a line. Ctrl-C ends it.');
  const terminal = readline.createInterface({
    input: process.stdin,
    output: process.stderr,
    prompt: 'sql> ',
    signal,
  });
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  terminal.on('line', (line) => {
    const answered = line.trim() === '' ? Promise.resolve() : ask(sql, say, line);
    void answered.then(() => terminal.prompt());
  });
  terminal.prompt();
  await closed;
  terminal.close();
}

async function ask(sql: Sql, say: (text: string) => void, statement: string): Promise<void> {
  try {
    const rows = await sql.unsafe(statement);
    for (const row of rows) say(JSON.stringify(row));
    say(rows.command ? `${rows.command} ${rows.count ?? ''}` : 'done');
  } catch (error) {
    const { message, hint } = error as { message: string; hint?: string };
    say(hint ? `ERROR  ${message}\nHINT   ${hint}` : `ERROR  ${message}`);
  }
}
