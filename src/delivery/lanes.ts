/**
 * The order of one subscription's deliveries.
 *
 * Invariants
 * - By key: two deliveries with a key in common run one after the other, in the order in which they
 *   were added; a barrier runs after every earlier delivery of its tables and before every later one.
 * - Strict: a delivery runs after every earlier one and before every later one, whatever their kind.
 * - Nothing else waits for anything. A delivery that is tried again keeps its place.
 */
export type Ordering = 'key' | 'strict' | 'none';

export interface Place {
  /** How it is ordered; settled when it is added. */
  ordering: Ordering;
  /** The tables whose barriers hold it up; those that it holds up, where it is a barrier itself. */
  readonly tables: readonly number[];
  /** The rows that the event is of: none, one, or two where an update changes the key. */
  readonly keys: readonly number[];
  readonly barrier: boolean;
  /** How many earlier deliveries this one waits for; kept by Lanes. */
  waitsFor: number;
  /** The later deliveries that wait for this one; kept by Lanes. */
  followers: Place[];
}

interface Lane<P> {
  /** What was added after the last barrier and is not done. */
  readonly sinceBarrier: Set<P>;
  /** The last barrier, while it is not done. */
  barrier: P | undefined;
}

export class Lanes<P extends Place> {
  /** The last delivery of each key that is not done. */
  readonly #last = new Map<number, P>();
  readonly #tables = new Map<number, Lane<P>>();
  /** The lane of everything; its barriers are the deliveries in strict order. */
  readonly #all: Lane<P> = { sinceBarrier: new Set(), barrier: undefined };

  /** Adds a delivery behind all earlier ones. True when it may run now. */
  add(place: P): boolean {
    place.waitsFor = 0;
    place.followers = [];
    this.#eachEarlier(place, (earlier) => {
      earlier.followers.push(place);
      place.waitsFor++;
    });
    enter(this.#all, place, place.ordering === 'strict');
    if (place.ordering === 'key') {
      for (const table of place.tables) enter(this.#lane(table), place, place.barrier);
      if (!place.barrier) for (const key of place.keys) this.#last.set(key, place);
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
  done(place: P): P[] {
    leave(this.#all, place);
    if (place.ordering === 'key') {
      for (const table of place.tables) {
        const lane = this.#lane(table);
        leave(lane, place);
        if (!lane.barrier && lane.sinceBarrier.size === 0) this.#tables.delete(table);
      }
      for (const key of place.keys) {
        if (this.#last.get(key) === place) this.#last.delete(key);
      }
    }
    return (place.followers as P[]).filter((follower) => --follower.waitsFor === 0);
  }

  #eachEarlier(place: P, visit: (earlier: P) => void): void {
    visitLane(this.#all, place.ordering === 'strict', visit);
    if (place.ordering !== 'key') return;
    for (const table of place.tables) {
      const lane = this.#tables.get(table);
      if (lane) visitLane(lane, place.barrier, visit);
    }
    if (place.barrier) return;
    for (const key of place.keys) {
      const earlier = this.#last.get(key);
      if (earlier) visit(earlier);
    }
  }

  #lane(table: number): Lane<P> {
    let lane = this.#tables.get(table);
    if (!lane) {
      lane = { sinceBarrier: new Set(), barrier: undefined };
      this.#tables.set(table, lane);
    }
    return lane;
  }
}

function visitLane<P>(lane: Lane<P>, isBarrier: boolean, visit: (earlier: P) => void): void {
  if (lane.barrier) visit(lane.barrier);
  if (isBarrier) lane.sinceBarrier.forEach(visit);
}

function enter<P>(lane: Lane<P>, place: P, isBarrier: boolean): void {
  if (isBarrier) {
    lane.sinceBarrier.clear();
    lane.barrier = place;
  } else {
    lane.sinceBarrier.add(place);
  }
}

function leave<P>(lane: Lane<P>, place: P): void {
  lane.sinceBarrier.delete(place);
  if (lane.barrier === place) lane.barrier = undefined;
}
