/**
 * The order of one subscription's deliveries.
 *
 * Invariants
 * - By key: two deliveries with a key in common run one after the other, in the order in which they
 *   were added; a barrier runs after every earlier delivery of its tables and before every later one.
 * - Strict: a delivery runs after every earlier one and before every later one, whatever their kind.
 * - Nothing else waits for anything. A delivery that is tried again keeps its place.
 */
import { KeyTable } from './key-table.js';

export type Ordering = 'key' | 'strict' | 'none';

export interface Place {
  /** How it is ordered; settled when it is added. */
  ordering: Ordering;
  /** The tables whose barriers hold it up; those that it holds up, where it is a barrier itself. */
  readonly tables: readonly number[];
  /** The rows that the event is of: none, one, or two where an update changes the key. */
  readonly keys: readonly number[];
  readonly barrier: boolean;
  /** Counts those that were added; kept by Lanes, like the following. */
  turn: number;
  /** Its neighbours among all that is not done. */
  before: Place | undefined;
  behind: Place | undefined;
  /** How many earlier deliveries this one waits for. */
  waitsFor: number;
  /** The later deliveries that wait for this one. */
  followers: readonly Place[];
}

/** The followers of a delivery that nothing waits for. */
export const nobody: readonly never[] = [];

export class Lanes<P extends Place> {
  /** All that is not done, in the order in which it was added: the ends of a linked list. */
  #first: P | undefined;
  #newest: P | undefined;
  /** The last delivery of each key that is not done. */
  readonly #last = new KeyTable<P>();
  /** The last barrier of each table that is not done. */
  readonly #barriers = new Map<number, P>();
  /** The last delivery in strict order that is not done. */
  #strict: P | undefined;
  #added = 0;

  /** Of all that is not done, what was added first. */
  get first(): P | undefined {
    return this.#first;
  }

  /** All that is not done, in the order in which it was added. */
  *open(): Generator<P, void> {
    for (let place = this.#first; place; place = place.behind as P | undefined) yield place;
  }

  /** Adds a delivery behind all earlier ones. True when it may run now. */
  add(place: P): boolean {
    place.waitsFor = 0;
    place.followers = nobody;
    this.#eachEarlier(place, (earlier) => {
      if (earlier.followers === nobody) earlier.followers = [place];
      else (earlier.followers as P[]).push(place);
      place.waitsFor++;
    });
    place.turn = ++this.#added;
    this.#enter(place);
    if (place.ordering === 'strict') this.#strict = place;
    if (place.ordering === 'key') {
      if (place.barrier) for (const table of place.tables) this.#barriers.set(table, place);
      else for (const key of place.keys) this.#last.set(key, place);
    }
    return place.waitsFor === 0;
  }

  /** Whether the delivery, if it were added, would directly wait for one of this kind. */
  waitsForAny(place: P, isOfKind: (earlier: P) => boolean): boolean {
    let found = false;
    this.#eachEarlier(place, (earlier) => (found ||= isOfKind(earlier)));
    return found;
  }

  /** A delivery is done. Returns those that may run now. */
  done(place: P): readonly P[] {
    this.#leave(place);
    if (this.#strict === place) this.#strict = undefined;
    if (place.ordering === 'key') {
      if (place.barrier) {
        for (const table of place.tables) {
          if (this.#barriers.get(table) === place) this.#barriers.delete(table);
        }
      } else {
        for (const key of place.keys) if (this.#last.get(key) === place) this.#last.delete(key);
      }
    }
    if (place.followers === nobody) return nobody;
    return (place.followers as readonly P[]).filter((follower) => --follower.waitsFor === 0);
  }

  #eachEarlier(place: P, visit: (earlier: P) => void): void {
    if (this.#strict) visit(this.#strict);
    if (place.ordering === 'strict') return this.#eachSince(this.#strict, () => true, visit);
    if (place.ordering !== 'key') return;
    for (const table of this.#barriers.size > 0 ? place.tables : nobody) {
      const barrier = this.#barriers.get(table);
      if (barrier) visit(barrier);
    }
    if (place.barrier) {
      for (const table of place.tables) {
        const isOfTable = (earlier: P) =>
          earlier.ordering === 'key' && earlier.tables.includes(table);
        this.#eachSince(this.#barriers.get(table), isOfTable, visit);
      }
      return;
    }
    for (const key of place.keys) {
      const earlier = this.#last.get(key);
      if (earlier) visit(earlier);
    }
  }

  /** Those behind the barrier, or all where it is done, since what was before it is done then, too. */
  #eachSince(
    barrier: P | undefined,
    isMeant: (earlier: P) => boolean,
    visit: (earlier: P) => void,
  ): void {
    const since = barrier?.turn ?? 0;
    if (since === this.#added) return;
    for (const earlier of this.open()) if (earlier.turn > since && isMeant(earlier)) visit(earlier);
  }

  #enter(place: P): void {
    place.before = this.#newest;
    place.behind = undefined;
    if (this.#newest) this.#newest.behind = place;
    else this.#first = place;
    this.#newest = place;
  }

  #leave(place: P): void {
    const [before, behind] = [place.before as P | undefined, place.behind as P | undefined];
    if (before) before.behind = behind;
    else this.#first = behind;
    if (behind) behind.before = before;
    else this.#newest = before;
    place.before = place.behind = undefined;
  }
}
