import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { expect } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { normalEvent, normalText, stepsOf, type Step } from './markdown.js';
import { eventually } from './poll.js';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const hasProgram = (name: string) => spawnSync(name, ['--version']).status === 0;
const hasPsql = hasProgram('psql');
const hasCurl = hasProgram('curl');

interface Background {
  child: ChildProcess;
  output: string;
}

/**
 * Executes a document, from a place on, as its reader would, on a Postgres of its own, and compares
 * what it shows. The addresses in the document are replaced by free ones.
 */
export async function execute(document: string, from = ''): Promise<void> {
  const server = await startPostgres();
  const directory = await mkdtemp(path.join(tmpdir(), 'pgstream-docs-'));
  const reader = new Reader(server.url, directory);
  try {
    await reader.prepare();
    const text = await readFile(path.join(root, document), 'utf8');
    for (const step of stepsOf(text.slice(text.indexOf(from)))) {
      await reader.follow(step);
    }
  } finally {
    await reader.leave();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

class Reader {
  readonly #databaseUrl: string;
  readonly #directory: string;
  readonly #background = new Map<string, Background>();
  /** What stands in the document, and what it is here. */
  readonly #names = new Map<string, string>();
  #eventsSeen = 0;

  constructor(databaseUrl: string, directory: string) {
    this.#databaseUrl = databaseUrl;
    this.#directory = directory;
    this.#names.set('localhost:5432', new URL(databaseUrl).host);
    this.#names.set('port => 5432', `port => ${new URL(databaseUrl).port}`);
  }

  async prepare(): Promise<void> {
    await symlink(path.join(root, 'tools'), path.join(this.#directory, 'tools'));
    const shim = path.join(this.#directory, 'pgstream');
    await writeFile(shim, `#!/bin/sh\nexec "${process.execPath}" "${root}/dist/cli.js" "$@"\n`);
    await chmod(shim, 0o755);
    await writeFile(path.join(this.#directory, 'environment'), '');
  }

  async follow(step: Step): Promise<void> {
    const code = step.code.trim();
    if (code === 'npm test') return; // this is it
    let output = '';
    if (code === 'npm run demo') await this.#watchDemo();
    else if (code.startsWith('pgstream run')) await this.#startRunner(code);
    else if (code.startsWith('node tools/webhook.mjs')) output = await this.#startEndpoint(code);
    else if (step.language === 'sql') output = await this.#query(code);
    else output = await this.#shell(code);
    if (!step.texts.some((text) => text.includes('ERROR'))) expect(output).not.toContain('ERROR');
    for (const text of step.texts) this.#compare(code, output, text);
    await this.#expectEvents(step.events);
  }

  async leave(): Promise<void> {
    for (const name of this.#background.keys()) await this.#stop(name);
  }

  #compare(code: string, output: string, expected: string): void {
    if (!hasPsql && /^(select|insert|\\d)/i.test(code)) {
      console.warn(`not compared, since there is no psql: ${code}`);
      return;
    }
    expect(normalText(this.#asWritten(output))).toContain(normalText(expected));
  }

  /** Events of different rows may come in any order. */
  async #expectEvents(expected: string[]): Promise<void> {
    if (expected.length === 0) return;
    const seen = this.#eventsSeen;
    const received = await eventually(() => {
      const { output } = this.#background.get('endpoint')!;
      const events = output.match(/^\{\n[\s\S]*?^\}$/gm) ?? [];
      if (events.length < seen + expected.length) throw new Error(`${events.length} events`);
      return events.slice(seen);
    });
    this.#eventsSeen += expected.length;
    expect(received.map(normalEvent).toSorted()).toEqual(expected.map(normalEvent).toSorted());
  }

  async #startRunner(code: string): Promise<void> {
    await this.#stop('runner');
    const runner = this.#start('runner', code);
    await eventually(() => {
      if (!runner.output.includes('"msg":"streaming"')) throw new Error(runner.output);
    });
    const { host } = new URL(/"url":"([^"]+)"/.exec(runner.output)![1]!);
    this.#names.set('localhost:9900', host);
  }

  async #startEndpoint(code: string): Promise<string> {
    const endpoint = this.#start('endpoint', `${code} 0`);
    const port = await eventually(() => /listening on :(\d+)/.exec(endpoint.output)?.[1] ?? null);
    this.#names.set('localhost:9910', `localhost:${port}`);
    return endpoint.output.replace(port!, '9910');
  }

  async #watchDemo(): Promise<void> {
    const demo = this.#start('demo', 'pgstream demo');
    await eventually(
      () => {
        if (!demo.output.includes('try it yourself')) throw new Error(demo.output);
      },
      { timeout: 30_000 },
    );
    await this.#stop('demo');
  }

  async #shell(code: string): Promise<string> {
    if (code.startsWith('pgstream tear-down')) await this.#stop('runner');
    if (code.startsWith('curl') && !hasCurl) return this.#post(code);
    const script = `set -e; . ./environment; ${this.#asHere(code)}\nexport -p > ./environment`;
    const { stdout } = await run('sh', ['-c', script], this.#options());
    return stdout;
  }

  async #post(code: string): Promise<string> {
    const body = /-d '([^']*)'/.exec(code)![1]!;
    const response = await fetch(this.#asHere(/http:\S+$/.exec(code)![0]), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: this.#asHere(body),
    });
    return response.text();
  }

  async #query(code: string): Promise<string> {
    if (!hasPsql) {
      if (code.startsWith('\\')) return '';
      const sql = postgres(this.#databaseUrl, { max: 1, onnotice: () => undefined });
      await sql.unsafe(this.#asHere(code)).catch(() => undefined); // some are meant to fail
      await sql.end();
      return '';
    }
    const psql = spawn('psql', ['-X', '-q', '-d', this.#databaseUrl, '-f', '-'], this.#options());
    const output = collect(psql);
    psql.stdin.end(this.#asHere(code));
    await once(psql, 'close');
    return output.output;
  }

  #start(name: string, code: string): Background {
    const script = `. ./environment; exec ${this.#asHere(code)}`;
    const background = collect(spawn('sh', ['-c', script], this.#options()));
    this.#background.set(name, background);
    return background;
  }

  async #stop(name: string): Promise<void> {
    const child = this.#background.get(name)?.child;
    if (!child) return;
    this.#background.delete(name);
    if (child.exitCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
    if (name !== 'endpoint') expect(child.exitCode, name).toBe(0);
  }

  #options() {
    return {
      cwd: this.#directory,
      env: {
        PATH: `${this.#directory}:${process.env['PATH']}`,
        HOME: process.env['HOME'] ?? '/',
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      },
    };
  }

  #asHere(text: string): string {
    for (const [written, here] of this.#names) text = text.replaceAll(written, here);
    return text;
  }

  #asWritten(text: string): string {
    for (const [written, here] of this.#names) text = text.replaceAll(here, written);
    return text;
  }
}

function collect(child: ChildProcess): Background {
  const background: Background = { child, output: '' };
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => (background.output += text));
  }
  return background;
}
