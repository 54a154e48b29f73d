/**
 * Which events a subscription with expressions is sent, and with what body.
 *
 * Invariants
 * - The events of one subscription are settled in the order in which they came.
 * - Who has no expressions does not wait; who has them waits for Postgres alone. A subscription whose
 *   expressions fail or take long leaves the common queue for one of its own, event by event, on
 *   another connection, and comes back when an event of its has been judged.
 * - No event is lost: one that cannot be judged is settled as failed, with the reason.
 */
import { setImmediate } from 'node:timers/promises';
import { Queue } from '../delivery/queue.js';
import { Asker, type AskerOptions } from './asker.js';
import type { Evaluator } from './evaluator.js';
import type { Plan } from './plan.js';
import {
  eventsOf,
  send,
  skip,
  type Pending,
  type Question,
  type Target,
  type Verdict,
} from './question.js';
import type { Statement } from './statement.js';
import { Troubled } from './troubled.js';

export interface JudgeOptions extends AskerOptions {
  /** For all subscriptions, and for those in trouble. */
  readonly evaluators: { readonly main: Evaluator; readonly trouble: Evaluator };
  /** Bytes that may wait. */
  readonly mostBytes: number;
  readonly reckon: (bytes: number) => void;
  readonly fail: (error: unknown) => void;
}

const mostQuestions = 2_000;
const mostAtOnce = 1_000;
const mostEvents = 200;
const mostBytesAtOnce = 1024 * 1024;
/** By question and position; what is not there is not sent. */
type Verdicts = Map<Pending, Map<number, Verdict>>;

export class Judge {
  readonly #options: JudgeOptions;
  readonly #asker: Asker;
  readonly #troubled: Troubled;
  readonly #queue = new Queue<Pending>();
  /** Subscriptions that have had a program. */
  readonly #known = new Set<number>();
  #count = 0;
  #bytes = 0;
  #isWorking = false;
  #isStopped = false;
  #wake: (() => void) | undefined;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#asker = new Asker(options);
    this.#troubled = new Troubled({
      ...options,
      asker: this.#asker,
      evaluator: options.evaluators.trouble,
      settle: (question, target, verdict) => this.#settle(question, target, verdict),
    });
  }

  /** Whether no more events should be taken over at this moment. */
  get isFull(): boolean {
    return this.#count >= mostQuestions || this.#bytes > this.#options.mostBytes;
  }

  /** Whether events of the subscription may still have to be settled. */
  mayWait(subscription: number): boolean {
    return this.#count > 0 && this.#known.has(subscription);
  }

  /** Takes over an event; returns at once. */
  ask(question: Question): void {
    const pending: Pending = { ...question, open: question.targets.length };
    this.#count++;
    this.#bytes += question.bytes;
    this.#options.reckon(question.bytes);
    this.#queue.push(pending);
    this.#troubled.divert(pending);
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#work().catch((error: unknown) => {
      if (!this.#isStopped) this.#options.fail(error);
    });
  }

  /** A plan has been made: its subscriptions have programs. */
  expect(plan: Plan): void {
    for (const { id } of plan.subscriptions) this.#known.add(id);
  }

  /** Resolves when there is room, or when the signal fires. */
  async room(signal: AbortSignal): Promise<void> {
    const wake = () => this.#wake?.();
    signal.addEventListener('abort', wake);
    while (this.isFull && !signal.aborted) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    signal.removeEventListener('abort', wake);
  }

  /** Settles nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#troubled.stop();
    this.#options.evaluators.main.close();
    this.#options.evaluators.trouble.close();
    this.#wake?.();
  }

  async #work(): Promise<void> {
    // What arrives together is asked together.
    await setImmediate();
    while (this.#queue.length > 0 && !this.#isStopped) {
      const batch: Pending[] = [];
      for (let bytes = 0; batch.length < mostAtOnce && bytes < mostBytesAtOnce;) {
        const next = this.#queue.shift();
        if (!next) break;
        batch.push(next);
        bytes += next.captured.bytes;
      }
      await this.#judge(batch);
    }
    this.#isWorking = false;
  }

  async #judge(batch: readonly Pending[]): Promise<void> {
    const verdicts: Verdicts = new Map(batch.map((question) => [question, new Map()]));
    const troubled = new Set<number>();
    for (const [plan, questions] of byPlan(batch)) {
      const refusals = await this.#asker.refusalsOf(plan);
      for (const question of questions) {
        for (const [position, reason] of refusals) {
          verdicts.get(question)!.set(position, { kind: 'failed', reason, isInvalid: true });
        }
      }
      for (let start = 0; start < questions.length; start += mostEvents) {
        const some = questions.slice(start, start + mostEvents);
        await this.#ask(plan, refusals, some, verdicts, troubled);
      }
    }
    if (this.#isStopped) return;
    for (const question of batch) {
      const own = verdicts.get(question)!;
      for (const target of question.targets) {
        const { position, subscription } = target;
        if (troubled.has(subscription.id)) this.#troubled.take(question, target);
        else this.#settle(question, target, position === undefined ? send : own.get(position));
      }
    }
    if (troubled.size === 0) return;
    for (const later of this.#queue.first(this.#queue.length)) this.#troubled.divert(later);
  }

  /** Finds the verdicts of a plan on some events. */
  async #ask(
    plan: Plan,
    refusals: ReadonlyMap<number, string>,
    questions: readonly Pending[],
    verdicts: Verdicts,
    troubled: Set<number>,
  ): Promise<void> {
    const wanted = new Set<number>();
    for (const targets of new Set(questions.map((question) => question.targets))) {
      for (const { position } of targets) {
        if (position !== undefined && !refusals.has(position)) wanted.add(position);
      }
    }
    const obstacles = questions.map(({ captured }) => plan.obstacles(captured));
    const events = eventsOf(questions);
    const ask = (statement: Statement) =>
      this.#asker.evaluate(
        this.#options.evaluators.main,
        statement,
        events,
        (position, i, verdict) => {
          if (wanted.has(position)) verdicts.get(questions[i]!)!.set(position, verdict);
        },
      );
    for (const statement of plan.statements) {
      const asked = statement.programs.filter((position) => wanted.has(position));
      if (asked.length === 0 || (await ask(statement)) === undefined) continue;
      for (const position of asked) {
        const error = await ask(plan.alone(position));
        if (error) troubled.add(plan.subscriptions[position]!.id);
      }
    }
    obstacles.forEach((own, i) => {
      for (const [position, reason] of own ?? []) {
        if (!wanted.has(position)) continue;
        verdicts.get(questions[i]!)!.set(position, { kind: 'failed', reason, isInvalid: false });
      }
    });
  }

  #settle(question: Pending, target: Target, verdict: Verdict | undefined): void {
    if (verdict && verdict !== skip) question.settle(target, verdict);
    if (--question.open > 0) return;
    this.#count--;
    this.#bytes -= question.bytes;
    this.#options.reckon(-question.bytes);
    question.done();
    if (!this.isFull) this.#wake?.();
  }
}

function byPlan(questions: readonly Pending[]): Map<Plan, Pending[]> {
  const groups = new Map<Plan, Pending[]>();
  for (const question of questions) {
    const group = groups.get(question.plan);
    if (group) group.push(question);
    else groups.set(question.plan, [question]);
  }
  return groups;
}
