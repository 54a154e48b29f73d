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
import type { Action } from '../event/encode.js';
import { Queue } from '../delivery/queue.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { EvaluationError, type Evaluator } from './evaluator.js';
import type { Captured, Plan } from './plan.js';
import type { Program } from './program.js';
import type { Statement } from './statement.js';

export type Verdict =
  /** Without a body: the usual one. */
  | { readonly kind: 'send'; readonly body?: string }
  | { readonly kind: 'skip' }
  | { readonly kind: 'failed'; readonly reason: string; readonly isInvalid: boolean };

/** An event for one subscription. */
export interface Target {
  readonly subscription: Subscription;
  /** The position of its program in the plan; none where it only keeps its place behind others. */
  readonly position: number | undefined;
}

/** An event, and those who wait for its verdicts. */
export interface Question {
  readonly plan: Plan;
  readonly captured: Captured;
  readonly action: Action;
  /** The time of the commit, as Postgres prints it. */
  readonly timestamp: string;
  readonly targets: readonly Target[];
  /** Bytes of memory that it takes. */
  readonly bytes: number;
  /** Told of whatever is not skipped. */
  readonly settle: (target: Target, verdict: Verdict) => void;
  /** All targets are settled. */
  readonly done: () => void;
}

export interface JudgeOptions {
  /** For all subscriptions, and for those in trouble. */
  readonly evaluators: { readonly main: Evaluator; readonly trouble: Evaluator };
  /** Why a program may not be evaluated here; undefined where it may. */
  readonly refusal: (program: Program) => Promise<string | undefined>;
  /** Bytes that may wait. */
  readonly mostBytes: number;
  readonly reckon: (bytes: number) => void;
  readonly onTrouble: (subscription: Subscription, reason: string, isInvalid: boolean) => void;
  readonly fail: (error: unknown) => void;
}

const mostQuestions = 2_000;
const mostAtOnce = 1_000;
const mostEvents = 200;
const mostBytesAtOnce = 1024 * 1024;
/** After so many failures in a row nothing more is evaluated, until the expressions are changed. */
const mostFailures = 100;
const mostTimeouts = 3;

interface Pending extends Omit<Question, 'targets'> {
  targets: readonly Target[];
  open: number;
}

/** By question and position; what is not there is not sent. */
type Verdicts = Map<Pending, Map<number, Verdict>>;

interface Trouble {
  program: Program | null;
  readonly queue: Queue<{ readonly question: Pending; readonly target: Target }>;
  failures: number;
  timeouts: number;
  /** Why nothing is evaluated any more. */
  invalid: string | undefined;
}

const send: Verdict = { kind: 'send' };
const skip: Verdict = { kind: 'skip' };

export class Judge {
  readonly #options: JudgeOptions;
  readonly #queue = new Queue<Pending>();
  readonly #trouble = new Map<number, Trouble>();
  /** Subscriptions that have had a program. */
  readonly #known = new Set<number>();
  /** The programs of a plan that may not be evaluated here. */
  readonly #refusals = new WeakMap<Plan, ReadonlyMap<number, string>>();
  /** Programs that have failed. */
  readonly #failed = new WeakSet<Program>();
  #count = 0;
  #bytes = 0;
  #isWorking = false;
  #isTroubleshooting = false;
  #isStopped = false;
  #wake: (() => void) | undefined;

  constructor(options: JudgeOptions) {
    this.#options = options;
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
    if (this.#trouble.size > 0) this.#divert(pending);
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#inBackground(this.#work());
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
      const refusals = await this.#refusalsOf(plan);
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
        if (troubled.has(subscription.id)) this.#hand(question, target);
        else this.#settle(question, target, position === undefined ? send : own.get(position));
      }
    }
    if (troubled.size === 0) return;
    for (const later of this.#queue.first(this.#queue.length)) this.#divert(later);
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
      this.#evaluate(this.#options.evaluators.main, statement, events, (position, i, verdict) => {
        if (wanted.has(position)) verdicts.get(questions[i]!)!.set(position, verdict);
      });
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

  /** Tells each event that is to be sent; returns what was wrong where nothing is known of any. */
  async #evaluate(
    evaluator: Evaluator,
    statement: Statement,
    events: string,
    tell: (position: number, i: number, verdict: Verdict) => void,
  ): Promise<EvaluationError | undefined> {
    try {
      for (const answer of await evaluator.evaluate(statement, events)) {
        const [i, matched] = answer;
        if (matched === '') continue;
        for (const member of matched.split(',').map(Number)) {
          const at = statement.payloads[member];
          const body = at === undefined ? undefined : answer[at];
          if (body === null) continue;
          const verdict = body === undefined ? send : { kind: 'send' as const, body: String(body) };
          tell(statement.programs[member]!, i, verdict);
        }
      }
      return undefined;
    } catch (error) {
      if (error instanceof EvaluationError) return error;
      throw error;
    }
  }

  async #refusalsOf(plan: Plan): Promise<ReadonlyMap<number, string>> {
    const known = this.#refusals.get(plan);
    if (known) return known;
    const refusals = new Map<number, string>();
    for (const [position, program] of plan.programs.entries()) {
      const refusal = await this.#options.refusal(program);
      if (refusal === undefined) continue;
      refusals.set(position, refusal);
      this.#options.onTrouble(plan.subscriptions[position]!, refusal, true);
    }
    this.#refusals.set(plan, refusals);
    return refusals;
  }

  /** Takes out of the common queue what has to come after something that is in trouble. */
  #divert(question: Pending): void {
    const isTroubled = ({ subscription }: Target) => this.#trouble.has(subscription.id);
    const leaving = question.targets.filter(isTroubled);
    if (leaving.length === 0) return;
    question.targets = question.targets.filter((target) => !isTroubled(target));
    for (const target of leaving) this.#hand(question, target);
  }

  #hand(question: Pending, target: Target): void {
    const { id, program } = target.subscription;
    let trouble = this.#trouble.get(id);
    if (!trouble) {
      trouble = { program, queue: new Queue(), failures: 0, timeouts: 0, invalid: undefined };
      this.#trouble.set(id, trouble);
    }
    trouble.queue.push({ question, target });
    if (this.#isTroubleshooting) return;
    this.#isTroubleshooting = true;
    this.#inBackground(this.#troubleshoot());
  }

  async #troubleshoot(): Promise<void> {
    await setImmediate();
    for (;;) {
      const turns = [...this.#trouble].filter(([, { queue }]) => queue.length > 0);
      if (turns.length === 0 || this.#isStopped) break;
      for (const [id, trouble] of turns) {
        const { question, target } = trouble.queue.peek()!;
        const verdict = await this.#judgeAlone(trouble, question, target);
        if (this.#isStopped) return;
        trouble.queue.shift();
        this.#settle(question, target, verdict);
        if (trouble.queue.length === 0 && trouble.failures === 0) this.#trouble.delete(id);
      }
    }
    this.#isTroubleshooting = false;
  }

  async #judgeAlone(trouble: Trouble, question: Pending, target: Target): Promise<Verdict> {
    const { subscription, position } = target;
    if (position === undefined) {
      trouble.failures = 0;
      return send;
    }
    if (!isSame(trouble.program, subscription.program)) {
      trouble.program = subscription.program;
      trouble.failures = trouble.timeouts = 0;
      trouble.invalid = undefined;
    }
    const refusal = trouble.invalid ?? (await this.#refusalsOf(question.plan)).get(position);
    if (refusal !== undefined) return { kind: 'failed', reason: refusal, isInvalid: true };
    const obstacle = question.plan.obstacles(question.captured)?.get(position);
    if (obstacle) return { kind: 'failed', reason: obstacle, isInvalid: false };

    let verdict: Verdict = skip;
    const error = await this.#evaluate(
      this.#options.evaluators.trouble,
      question.plan.alone(position),
      eventsOf([question]),
      (_, __, told) => (verdict = told),
    );
    if (!error) {
      trouble.failures = trouble.timeouts = 0;
      return verdict;
    }
    trouble.failures++;
    trouble.timeouts = error.isTimeout ? trouble.timeouts + 1 : 0;
    const isInvalid = trouble.failures >= mostFailures || trouble.timeouts >= mostTimeouts;
    if (isInvalid) {
      trouble.invalid =
        `its expressions failed ${trouble.failures} times in a row: ${error.message}; ` +
        'change filter or payload';
    }
    if (isInvalid || !this.#failed.has(subscription.program!)) {
      this.#failed.add(subscription.program!);
      this.#options.onTrouble(subscription, error.message, isInvalid);
    }
    return { kind: 'failed', reason: error.message, isInvalid };
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

  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!this.#isStopped) this.#options.fail(error);
    });
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

const isSame = (a: Program | null, b: Program | null) =>
  a === b || JSON.stringify(a) === JSON.stringify(b);

function eventsOf(questions: readonly Pending[]): string {
  const events = questions.map(({ captured, action, timestamp }, i) => {
    const values = captured.values.map((value, n) => (value === 'null' ? '' : `,"k${n}":${value}`));
    return `{"i":${i},"o":"${action}","t":"${timestamp}"${values.join('')}}`;
  });
  return `[${events.join(',')}]`;
}
