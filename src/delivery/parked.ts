/**
 * Deliveries that stand in the table behind one that has failed, and are not in memory. Only what
 * they are of is known, so that whatever has to come after them is parked as well.
 */
import type { Place } from './lanes.js';

/** Beyond so many the rest of the table is left unread until something has been delivered. */
const mostKeys = 100_000;

export class Parked {
  readonly #keys = new Set<number>();
  readonly #tables = new Set<number>();
  readonly #barriers = new Set<number>();
  #isStrict = false;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#keys.size > mostKeys;
  }

  add(place: Place): void {
    this.#size++;
    if (place.ordering === 'strict') this.#isStrict = true;
    for (const key of place.keys) this.#keys.add(key);
    for (const table of place.tables) {
      this.#tables.add(table);
      if (place.barrier) this.#barriers.add(table);
    }
  }

  /** Whether the delivery has to come after one that is parked. */
  blocks(place: Place): boolean {
    if (this.#size === 0) return false;
    if (this.#isStrict || place.ordering === 'strict') return true;
    if (place.ordering === 'none') return false;
    if (place.tables.some((table) => this.#barriers.has(table))) return true;
    return place.barrier
      ? place.tables.some((table) => this.#tables.has(table))
      : place.keys.some((key) => this.#keys.has(key));
  }

  clear(): void {
    this.#keys.clear();
    this.#tables.clear();
    this.#barriers.clear();
    this.#isStrict = false;
    this.#size = 0;
  }
}
