/**
 * The order of one subscription's deliveries.
 *
 * Invariants: two deliveries with a key in common run one after the other, in the order in which
 * they were added; a barrier runs after every earlier delivery of its table and before every later
 * one; nothing else waits for anything. A delivery that is retried keeps its place.
 */
export interface Place {
  /** The table that a barrier holds up. */
  readonly table: number;
  /** The rows that the event is of: none, one, or two where an update changes the key. */
  readonly keys: readonly number[];
  readonly barrier: boolean;
  /** How many earlier deliveries this one waits for; kept by Lanes. */
  waitsFor: number;
  /** The later deliveries that wait for this one; kept by Lanes. */
  followers: Place[];
}

interface TableLane<P> {
  /** Everything of the table that is not done. */
  readonly open: Set<P>;
  /** The last barrier, while it is not done. */
  barrier: P | undefined;
}

export class Lanes<P extends Place> {
  /** The last delivery of each key that is not done. */
  readonly #last = new Map<number, P>();
  readonly #tables = new Map<number, TableLane<P>>();

  /** Adds a delivery behind all earlier ones. True when it may run now. */
  add(place: P): boolean {
    const lane = this.#lane(place.table);
    if (place.barrier) {
      for (const earlier of lane.open) follow(place, earlier);
      lane.barrier = place;
    } else {
      if (lane.barrier) follow(place, lane.barrier);
      for (const key of place.keys) {
        const earlier = this.#last.get(key);
        if (earlier && earlier !== place) follow(place, earlier);
        this.#last.set(key, place);
      }
    }
    lane.open.add(place);
    return place.waitsFor === 0;
  }

  /** A delivery is done. Returns those that may run now. */
  done(place: P): P[] {
    const lane = this.#lane(place.table);
    lane.open.delete(place);
    if (lane.barrier === place) lane.barrier = undefined;
    if (lane.open.size === 0) this.#tables.delete(place.table);
    for (const key of place.keys) {
      if (this.#last.get(key) === place) this.#last.delete(key);
    }
    return (place.followers as P[]).filter((follower) => --follower.waitsFor === 0);
  }

  #lane(table: number): TableLane<P> {
    let lane = this.#tables.get(table);
    if (!lane) {
      lane = { open: new Set(), barrier: undefined };
      this.#tables.set(table, lane);
    }
    return lane;
  }
}

function follow(later: Place, earlier: Place): void {
  earlier.followers.push(later);
  later.waitsFor++;
}
