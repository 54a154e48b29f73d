import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { textOf, type Step } from './case.js';

/** What the server sends, as `pg` reads it; see https://www.postgresql.org/docs/current/protocol-message-formats.html */
interface Message {
  readonly name: string;
  readonly text?: string;
  readonly status?: string;
  readonly fields?: readonly (string | null | { readonly name: string })[];
  readonly chunk?: Buffer;
  readonly parameterName?: string;
  readonly parameterValue?: string;
  readonly channel?: string;
  readonly payload?: string;
}

/** All of an error or a notice but the place in the server's source. */
const parts = [
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
];

/** Milliseconds until a statement is cancelled, and its session given up. */
const patience = 10_000;

export interface Session {
  readonly pid: number;
  /** I: idle, T: in a transaction, E: in one that has failed. */
  readonly status: string;
  /** Runs a statement and answers all that the server says to it, line by line. */
  run(step: Step): Promise<string[]>;
  /** Rows of a query that is none of the case's. */
  ask(sql: string, values: unknown[]): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** A session whose every message from the server is seen. */
export async function openSession(url: string, user?: string): Promise<Session> {
  const address = new URL(url);
  if (user !== undefined) address.username = user;
  const names = { database: address.pathname.slice(1), port: address.port };
  const client = new pg.Client({ connectionString: address.href });
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
  let lines: string[] = [];
  let rows: string[] = [];
  let sorted = true;
  let status = '';
  let ended = false;
  let givenUp = false;
  let settle = (): void => undefined;
  const endRows = () => {
    lines.push(...(sorted ? rows.sort() : rows));
    rows = [];
  };
  connection.on('message', (message: Message) => {
    if (message.name === 'dataRow') rows.push(withoutNumbers(rowOf(message), names.database));
    else endRows();
    const line = lineOf(message);
    if (line !== undefined) lines.push(withoutNumbers(line, names.database));
    if (message.name !== 'readyForQuery') return;
    status = message.status!;
    settle();
  });
  client.on('error', () => undefined);
  client.on('end', () => {
    ended = true;
    lines.push('the session has ended');
    settle();
  });
  await client.connect();

  const pid = (client as unknown as { processID: number }).processID;
  return {
    pid,
    get status() {
      return status;
    },
    async run(step) {
      const text = textOf(step).replace(/\{(port|database)\}/g, (_, name: 'port') => names[name]);
      lines = [];
      sorted = !/\border by\b/i.test(text);
      if (ended || givenUp) return ['the session has ended'];
      const settled = new Promise<void>((resolve) => (settle = resolve));
      const cancel = setTimeout(() => {
        givenUp = true;
        void cancelStatement(url, pid);
      }, patience);
      try {
        if (typeof step === 'object' && 'copy' in step) {
          await pipeline(Readable.from([step.rows]), client.query(copyFrom(text)));
        } else if (typeof step === 'object' && 'values' in step) {
          await client.query({ text, values: [...step.values] });
        } else {
          await client.query(text);
        }
      } catch {
        // the error is among the messages
      }
      await settled;
      clearTimeout(cancel);
      return lines;
    },
    async ask(sql, values) {
      const { rows: answer } = await client.query<Record<string, unknown>>({ text: sql, values });
      return answer;
    },
    async close() {
      await client.end();
    },
  };
}

async function cancelStatement(url: string, pid: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('select pg_cancel_backend($1)', [pid]);
  await client.end();
}

function rowOf({ fields }: Message): string {
  return `  ${fields!.map((value) => (value === null ? 'NULL' : String(value as string))).join(' | ')}`;
}

function lineOf(message: Message): string | undefined {
  switch (message.name) {
    case 'rowDescription':
      return `(${message.fields!.map((field) => (field as { name: string }).name).join(', ')})`;
    case 'dataRow':
      return undefined;
    case 'commandComplete':
      return message.text;
    case 'emptyQuery':
      return '(nothing)';
    case 'copyData':
      return `  ${message.chunk!.toString().trimEnd()}`;
    case 'parameterStatus':
      return `${message.parameterName} is ${message.parameterValue}`;
    case 'notification':
      return `notified of ${message.channel}: ${message.payload}`;
    case 'error':
    case 'notice':
      return report(message as unknown as Record<string, string | undefined>);
    default:
      return undefined;
  }
}

/** Of what is debugging, nothing: it tells of each statement that functions run. */
function report(message: Record<string, string | undefined>): string | undefined {
  const { severity, code, message: text } = message;
  if (severity?.startsWith('DEBUG')) return undefined;
  const more = parts.flatMap((part) => (message[part] ? [`${part}: ${message[part]}`] : []));
  return [`${severity} ${code}: ${text}`, ...more].join('; ');
}

/** Oids, numbers of transactions and temporary schemas, and the database's name, differ anyway. */
export function withoutNumbers(line: string, database: string): string {
  const [state = ''] = /^[A-Z]+ [0-9A-Z]{5}: /.exec(line) ?? [];
  const text = line
    .slice(state.length)
    .replaceAll(database, 'DATABASE')
    .replace(/\d{5,}/g, 'N')
    .replace(/(pg_(?:toast_)?temp)_\d+/g, '$1');
  return state + text;
}
