/**
 * How many single-character changes turn `a` into `b` (Levenshtein). What `a` lacks counts half:
 * people leave words out more often than they add any.
 */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index / 2);
  for (const [i, x] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, y] of Array.from(b).entries()) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 0.5, row[j]! + (x === y ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The name that was probably meant: the one most like `name`, unless even that is far from it. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((candidate) => ({ candidate, changes: distance(name, candidate) }))
    .toSorted((a, b) => a.changes - b.changes);
  return best && best.changes <= name.length / 4 ? best.candidate : undefined;
}
