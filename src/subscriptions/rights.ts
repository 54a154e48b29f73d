/**
 * What the owners of subscriptions may read, as the catalogs last said. Read anew every two seconds,
 * so that a REVOKE acts on what is evaluated, and on what waits to be sent.
 */
import { isPattern } from './registry.js';
import type { Subscription } from './subscription.js';

/** Why nothing of a table may be read; `role`: there is no such owner, `gone`: no such table. */
export type Problem = 'role' | 'gone' | 'schema' | 'table' | 'row security';

export type Right =
  | { readonly kind: 'all' }
  | { readonly kind: 'some'; readonly columns: readonly string[] }
  | { readonly kind: 'denied'; readonly problem: Problem; readonly reason: string };

/** Something that a role does not have all rights on. */
export interface Restriction {
  readonly owner: string;
  /** The oid of the table. */
  readonly relation: number;
  /** Those that can be read; null for none. */
  readonly columns: readonly string[] | null;
  readonly problem: Problem | null;
  readonly reason: string | null;
  readonly remedy: string | null;
}

/** The tables, by oid, that something is to be known of for an owner. */
export type Question = readonly (readonly [owner: string, relations: readonly number[]])[];

/** What is done with a delivery. */
export type Verdict =
  | { readonly is: 'free' }
  /** It shows what may not be read: others go on without it. */
  | { readonly is: 'denied' }
  /** Nothing of the subscription may be sent, for this reason. */
  | { readonly is: 'held'; readonly reason: string }
  /** What may be read of its table is being asked. */
  | { readonly is: 'unknown' };

const all: Right = { kind: 'all' };
const free: Verdict = { is: 'free' };
const denied: Verdict = { is: 'denied' };
const unknown: Verdict = { is: 'unknown' };

export class Rights {
  readonly #known = new Map<string, Map<number, Right>>();
  /** What could be read before nothing could; null for all of it. */
  readonly #before = new Map<string, Map<number, readonly string[] | null>>();
  readonly #wanted = new Map<string, Set<number>>();
  readonly #onWanted: () => void;
  #epoch = 0;

  /** `onWanted` is called when something is asked that is not known yet. */
  constructor(onWanted: () => void = () => undefined) {
    this.#onWanted = onWanted;
  }

  /** Changes whenever a right does. */
  get epoch(): number {
    return this.#epoch;
  }

  /** What the owner may read of the table; undefined while that is not known. */
  of(owner: string, relation: number): Right | undefined {
    return this.#known.get(owner)?.get(relation);
  }

  /** The columns that the owner could read before a denial; undefined for all of them. */
  before(owner: string, relation: number): readonly string[] | undefined {
    return this.#before.get(owner)?.get(relation) ?? undefined;
  }

  /** Whether a delivery may be sent that shows these columns, undefined for all of its table's. */
  judge(
    subscription: Subscription,
    relation: number | undefined,
    columns: readonly string[] | undefined,
  ): Verdict {
    if (relation === undefined) return free;
    const right = this.of(subscription.owner, relation);
    if (!right) {
      this.#want(subscription.owner, relation);
      return unknown;
    }
    switch (right.kind) {
      case 'all':
        return free;
      case 'some':
        return columns?.every((name) => right.columns.includes(name)) ? free : denied;
      case 'denied':
        return isHolding(right.problem, subscription)
          ? { is: 'held', reason: right.reason }
          : denied;
    }
  }

  /** All that has been asked so far. */
  get question(): Question {
    const owners = new Set([...this.#known.keys(), ...this.#wanted.keys()]);
    return [...owners].map((owner) => [
      owner,
      [...(this.#known.get(owner)?.keys() ?? []), ...(this.#wanted.get(owner) ?? [])],
    ]);
  }

  /** What of this is not known yet. */
  unknown(question: Question): Question {
    return question.flatMap(([owner, relations]) => {
      const missing = relations.filter((relation) => !this.of(owner, relation));
      return missing.length > 0 ? [[owner, missing] as const] : [];
    });
  }

  /** Takes the answer to a question: whatever has no restriction can be read as a whole. */
  learn(question: Question, restrictions: readonly Restriction[]): void {
    const found = new Map(
      restrictions.map((each) => [`${each.relation} ${each.owner}`, each] as const),
    );
    for (const [owner, relations] of question) {
      for (const relation of relations) {
        this.#wanted.get(owner)?.delete(relation);
        this.#set(owner, relation, found.get(`${relation} ${owner}`));
      }
    }
  }

  #set(owner: string, relation: number, restriction: Restriction | undefined): void {
    const known = child(this.#known, owner, () => new Map<number, Right>());
    const last = known.get(relation);
    // Nobody can be granted or denied anything on it any more.
    if (restriction?.problem === 'gone' && last) return;
    const right = restriction ? rightOf(restriction) : all;
    if (right.kind !== 'denied') {
      const columns = right.kind === 'some' ? right.columns : null;
      child(this.#before, owner, () => new Map()).set(relation, columns);
    }
    if (last && JSON.stringify(last) === JSON.stringify(right)) return;
    known.set(relation, right);
    this.#epoch++;
  }

  #want(owner: string, relation: number): void {
    child(this.#wanted, owner, () => new Set<number>()).add(relation);
    this.#onWanted();
  }
}

/** Whether nothing at all is sent then; else a table of several is left out. */
export const isHolding = (problem: Problem, { schema, table }: Subscription): boolean =>
  problem === 'role' || (problem !== 'gone' && !isPattern(schema) && !isPattern(table));

/** Whether the event of a table is for the subscription, be it to be kept. */
export const isFor = (right: Right, subscription: Subscription): boolean =>
  right.kind !== 'denied' || right.problem === 'gone' || isHolding(right.problem, subscription);

/** The subscription, invalid where its expressions use what its owner may not read any more. */
export function withReadableProgram(subscription: Subscription, right: Right): Subscription {
  const { program, owner } = subscription;
  if (right.kind !== 'some' || !program) return subscription;
  const hidden = program.columns?.find(({ name }) => !right.columns.includes(name));
  if (!hidden) return subscription;
  const invalidReason = `role "${owner}" may not read column "${hidden.name}", which it uses`;
  return { ...subscription, invalidReason };
}

function rightOf({ columns, problem, reason, remedy }: Restriction): Right {
  if (problem === null) return { kind: 'some', columns: columns ?? [] };
  return { kind: 'denied', problem, reason: remedy ? `${reason}: ${remedy}` : String(reason) };
}

function child<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = create()));
  return value;
}
