/** Repeatable chance: the same seed and purpose give the same numbers. */
export interface Random {
  /** A whole number below `below`. */
  (below: number): number;
}

/** Each purpose draws from a sequence of its own, so that none depends on the timing of another. */
export function randomFor(seed: number, purpose: string): Random {
  let state = seed | 0;
  for (const letter of purpose) state = Math.imul(state ^ letter.codePointAt(0)!, 0x01000193);
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** One of a list. */
export const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;

/** A whole number from `least` to `most`. */
export const between = (random: Random, [least, most]: readonly [number, number]): number =>
  least + random(most - least + 1);

export function shuffle<T>(random: Random, list: readonly T[]): T[] {
  const shuffled = [...list];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
  }
  return shuffled;
}
