/** Asks Postgres what programs say of events, where they may be evaluated at all. */
import type { Subscription } from '../subscriptions/subscription.js';
import { EvaluationError, type Evaluator } from './evaluator.js';
import type { Plan } from './plan.js';
import type { Program } from './program.js';
import { send, type Verdict } from './question.js';
import type { Statement } from './statement.js';

export interface AskerOptions {
  /** Why a program may not be evaluated here; undefined where it may. */
  readonly refusal: (program: Program) => Promise<string | undefined>;
  readonly onTrouble: (subscription: Subscription, reason: string, isInvalid: boolean) => void;
}

export class Asker {
  readonly #options: AskerOptions;
  readonly #refusals = new WeakMap<Plan, ReadonlyMap<number, string>>();

  constructor(options: AskerOptions) {
    this.#options = options;
  }

  /** Tells each event that is to be sent; returns what was wrong where nothing is known of any. */
  async evaluate(
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

  /** The programs of a plan that may not be evaluated here, and why. */
  async refusalsOf(plan: Plan): Promise<ReadonlyMap<number, string>> {
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
}
