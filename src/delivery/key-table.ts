const leastSlots = 8;
/** A table without anything in it keeps no more than this. */
const mostEmptySlots = 256;

/**
 * Values by key, where keys are hashes of 31 bits: an open-addressed table with linear probing that
 * uses its memory again and again. A `Map` makes a new table for every few hundred keys that come and
 * go, and the chain of old ones keeps all that was in them alive until the next full collection.
 */
export class KeyTable<V extends object> {
  #keys = new Int32Array(leastSlots);
  /** Undefined in a free slot; there are always as many of these as others, so that each search ends. */
  #values: (V | undefined)[] = emptySlots(leastSlots);
  #size = 0;

  get(key: number): V | undefined {
    return this.#values[this.#find(key)];
  }

  set(key: number, value: V): void {
    let slot = this.#find(key);
    if (this.#values[slot] === undefined) {
      if (2 * (this.#size + 1) > this.#keys.length) {
        this.#resize(2 * this.#keys.length);
        slot = this.#find(key);
      }
      this.#size++;
      this.#keys[slot] = key;
    }
    this.#values[slot] = value;
  }

  delete(key: number): void {
    const [keys, values, mask] = [this.#keys, this.#values, this.#keys.length - 1];
    let hole = this.#find(key);
    if (values[hole] === undefined) return;
    // What a search would not reach beyond the hole moves into it.
    for (let slot = (hole + 1) & mask; values[slot] !== undefined; slot = (slot + 1) & mask) {
      const distance = (slot - keys[slot]!) & mask;
      if (distance < ((slot - hole) & mask)) continue;
      keys[hole] = keys[slot]!;
      values[hole] = values[slot];
      hole = slot;
    }
    values[hole] = undefined;
    if (--this.#size === 0 && keys.length > mostEmptySlots) this.#resize(leastSlots);
  }

  /** Where the key is, or else the free slot where it would be. */
  #find(key: number): number {
    const [keys, values, mask] = [this.#keys, this.#values, this.#keys.length - 1];
    let slot = key & mask;
    while (values[slot] !== undefined && keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #resize(slots: number): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#keys = new Int32Array(slots);
    this.#values = emptySlots(slots);
    for (const [slot, value] of values.entries()) {
      if (value === undefined) continue;
      const key = keys[slot]!;
      const place = this.#find(key);
      this.#keys[place] = key;
      this.#values[place] = value;
    }
  }
}

const emptySlots = (count: number): undefined[] => Array.from({ length: count }, () => undefined);
