/** Who is asked, and who is not, before subscriptions are sent an event of a table. */
import type { Relation } from '../replication/pgoutput.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Target } from './question.js';
import { Plan } from './plan.js';

/** The subscriptions that an event matches. */
export interface Split {
  /** They are sent whatever matches. */
  readonly plain: readonly Subscription[];
  /** Their expressions do not fit the table. */
  readonly invalid: readonly Subscription[];
  /** They are sent what their expressions say. */
  readonly targets: readonly Target[];
  readonly plan: Plan;
}

/** Plans of a table that are kept: one for each action, and some for those that change. */
const mostPlans = 8;

export class Plans {
  readonly #splits = new WeakMap<readonly Subscription[], Split>();
  readonly #plans = new WeakMap<Relation, Plan[]>();
  readonly #onPlan: (plan: Plan) => void;

  constructor(onPlan: (plan: Plan) => void) {
    this.#onPlan = onPlan;
  }

  /** `matches` is the same object for as long as it holds the same. */
  split(relation: Relation, matches: readonly Subscription[]): Split {
    let split = this.#splits.get(matches);
    if (!split) {
      const invalid = matches.filter(({ invalidReason }) => invalidReason);
      const valid = matches.filter(({ invalidReason }) => !invalidReason);
      const judged = valid.filter(({ program }) => program);
      split = {
        plain: valid.filter(({ program }) => !program),
        invalid,
        targets: judged.map((subscription, position) => ({ subscription, position })),
        plan: this.#plan(relation, judged),
      };
      this.#splits.set(matches, split);
    }
    return split;
  }

  #plan(relation: Relation, subscriptions: readonly Subscription[]): Plan {
    const plans = this.#plans.get(relation) ?? [];
    const known = plans.find(
      (plan) =>
        plan.subscriptions.length === subscriptions.length &&
        plan.subscriptions.every((each, i) => each === subscriptions[i]),
    );
    if (known) return known;
    const plan = new Plan(relation, subscriptions);
    this.#plans.set(relation, [plan, ...plans].slice(0, mostPlans));
    this.#onPlan(plan);
    return plan;
  }
}
