/**
 * Subscriptions whose expressions have failed or taken long. Each has a queue of its own, which is
 * judged event by event on a connection beside the common one, so that nobody else waits for it; it
 * comes back to the common queue when an event of its has been judged.
 */
import { setImmediate } from 'node:timers/promises';
import { Queue } from '../delivery/queue.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Asker } from './asker.js';
import type { Evaluator } from './evaluator.js';
import type { Program } from './program.js';
import { eventsOf, send, skip, type Pending, type Target, type Verdict } from './question.js';

export interface TroubledOptions {
  readonly asker: Asker;
  readonly evaluator: Evaluator;
  readonly onTrouble: (subscription: Subscription, reason: string, isInvalid: boolean) => void;
  readonly settle: (question: Pending, target: Target, verdict: Verdict) => void;
  readonly fail: (error: unknown) => void;
}

/** After so many failures in a row nothing more is evaluated, until the expressions are changed. */
const mostFailures = 100;
const mostTimeouts = 3;

interface Trouble {
  program: Program | null;
  readonly queue: Queue<{ readonly question: Pending; readonly target: Target }>;
  failures: number;
  timeouts: number;
  /** Why nothing is evaluated any more. */
  invalid: string | undefined;
}

export class Troubled {
  readonly #options: TroubledOptions;
  readonly #troubles = new Map<number, Trouble>();
  /** Programs that have failed. */
  readonly #failed = new WeakSet<Program>();
  #isWorking = false;
  #isStopped = false;

  constructor(options: TroubledOptions) {
    this.#options = options;
  }

  /** Takes over those of the targets that have to come after something that is in trouble. */
  divert(question: Pending): void {
    if (this.#troubles.size === 0) return;
    const isTroubled = ({ subscription }: Target) => this.#troubles.has(subscription.id);
    const leaving = question.targets.filter(isTroubled);
    if (leaving.length === 0) return;
    question.targets = question.targets.filter((target) => !isTroubled(target));
    for (const target of leaving) this.take(question, target);
  }

  /** Takes over a target. */
  take(question: Pending, target: Target): void {
    const { id, program } = target.subscription;
    let trouble = this.#troubles.get(id);
    if (!trouble) {
      trouble = { program, queue: new Queue(), failures: 0, timeouts: 0, invalid: undefined };
      this.#troubles.set(id, trouble);
    }
    trouble.queue.push({ question, target });
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#work().catch((error: unknown) => {
      if (!this.#isStopped) this.#options.fail(error);
    });
  }

  /** Settles nothing more. */
  stop(): void {
    this.#isStopped = true;
  }

  async #work(): Promise<void> {
    await setImmediate();
    for (;;) {
      const turns = [...this.#troubles].filter(([, { queue }]) => queue.length > 0);
      if (turns.length === 0 || this.#isStopped) break;
      for (const [id, trouble] of turns) {
        const { question, target } = trouble.queue.peek()!;
        const verdict = await this.#judgeAlone(trouble, question, target);
        if (this.#isStopped) return;
        trouble.queue.shift();
        this.#options.settle(question, target, verdict);
        if (trouble.queue.length === 0 && trouble.failures === 0) this.#troubles.delete(id);
      }
    }
    this.#isWorking = false;
  }

  async #judgeAlone(trouble: Trouble, question: Pending, target: Target): Promise<Verdict> {
    const { asker, evaluator, onTrouble } = this.#options;
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
    const refusal = trouble.invalid ?? (await asker.refusalsOf(question.plan)).get(position);
    if (refusal !== undefined) return { kind: 'failed', reason: refusal, isInvalid: true };
    const obstacle = question.plan.obstacles(question.captured)?.get(position);
    if (obstacle) return { kind: 'failed', reason: obstacle, isInvalid: false };

    let verdict: Verdict = skip;
    const error = await asker.evaluate(
      evaluator,
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
    const reason = `${subjectOf(subscription.program!)} fails: ${error.message}`;
    if (isInvalid) {
      trouble.invalid = `${reason}, ${trouble.failures} times in a row; change filter or payload`;
    }
    if (isInvalid || !this.#failed.has(subscription.program!)) {
      this.#failed.add(subscription.program!);
      onTrouble(subscription, reason, isInvalid);
    }
    return { kind: 'failed', reason, isInvalid };
  }
}

const subjectOf = ({ filter, payload }: Program): string =>
  payload === undefined ? 'the filter' : filter === undefined ? 'the payload' : 'filter or payload';

const isSame = (a: Program | null, b: Program | null) =>
  a === b || JSON.stringify(a) === JSON.stringify(b);
