/** The runners: one that is meant to run, started again whenever it ends, and now and then a second. */
import path from 'node:path';
import { eventually } from '../helpers/poll.js';
import { startRunner, type Runner } from '../helpers/runner.js';
import { slot } from './database.js';
import type { Observer } from './endpoint.js';

const preload = path.join(import.meta.dirname, 'crash-point.mjs');

export interface Run {
  readonly number: number;
  readonly runner: Runner;
  /** Whether we bring about its end; otherwise it is started again. */
  doomed: boolean;
  ended: boolean;
  /** It stopped working, did not end, and was killed for that. */
  stuck: boolean;
}

/** Why a runner may end by itself: it is started again then. */
const goodReason = /another process has read from slot/;
const cannotConnect = 4;

/** A runner that says that it has stopped ends within so many seconds. */
const mostSecondsToEnd = 5;

export class Fleet {
  readonly #url: string;
  #runs = 0;
  #current: Run | undefined;
  #closed = false;
  /** What no runner may do, as sentences. */
  readonly offences: string[] = [];
  /** How often a runner ended by itself, with a good reason. */
  restarts = 0;
  kills = 0;
  /** Told of each request. */
  observe: Observer = () => undefined;

  constructor(url: string) {
    this.#url = url;
  }

  get current(): Run {
    return this.#current!;
  }

  /** Starts the runner that is meant to run. */
  start(): Run {
    return (this.#current = this.launch());
  }

  /** Starts a runner beside the current one; `point` is where it kills itself. */
  launch({ doomed = false, point }: { doomed?: boolean; point?: unknown } = {}): Run {
    const number = ++this.#runs;
    const runner = startRunner(
      ['run', '--init', '--pgurl', this.#url, '--replication-slot', slot],
      {
        execArgv: ['--import', preload],
        env: {
          PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
          SOAK_RUN: String(number),
          ...(point !== undefined && { SOAK_POINT: JSON.stringify(point) }),
        },
      },
    );
    const run: Run = { number, runner, doomed, ended: false, stuck: false };
    const watch = this.#watch(run);
    void runner.exited.then(({ code, signal }) => {
      run.ended = true;
      clearInterval(watch);
      if (run.doomed || this.#closed) return;
      if (run.stuck) this.kills++;
      else if (code === cannotConnect || goodReason.test(runner.stderr)) this.restarts++;
      else {
        const end = runner.stderr.slice(-400);
        this.offences.push(`run ${number} ended by itself (${signal ?? code}): ${end}`);
      }
      if (this.#current === run) this.start();
    });
    return run;
  }

  /** Waits until the current runner streams, or has done so before. */
  async streaming(): Promise<void> {
    await eventually(() => this.current.runner.stderr.includes('"streaming"'), { timeout: 60_000 });
  }

  /** Kills a runner that has stopped working and does not end. */
  #watch(run: Run): NodeJS.Timeout {
    const { number, runner } = run;
    let seconds = 0;
    return setInterval(() => {
      if (!runner.stderr.slice(-200).includes('"stopped"') || ++seconds < mostSecondsToEnd) return;
      const end = runner.stderr.slice(-400);
      if (seconds === mostSecondsToEnd) {
        this.offences.push(`run ${number} stopped and did not end: ${end}`);
        run.stuck = true;
        void runner.kill();
      }
    }, 1_000);
  }

  /** The current runner is no longer meant to run, `run` is. */
  promote(run: Run): void {
    this.#current = run;
  }

  /** Kills a runner, whatever state it is in. */
  async kill(run: Run): Promise<void> {
    run.doomed = true;
    this.kills++;
    await run.runner.kill();
  }

  /** Asks a runner to end, which has to take less than half a minute. */
  async stop(run: Run): Promise<void> {
    run.doomed = true;
    const begun = performance.now();
    const { code, signal } = await run.runner.kill('SIGTERM');
    const seconds = (performance.now() - begun) / 1_000;
    // Before it is ready it has nothing to finish.
    const isFine = code === 0 || signal === 'SIGTERM' || code === cannotConnect;
    if (!run.stuck && (!isFine || seconds > 30)) {
      const end = run.runner.stderr.slice(-400);
      this.offences.push(`run ${run.number} stopped with ${code} after ${seconds} s: ${end}`);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#current?.runner.kill();
  }
}
