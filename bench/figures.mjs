/** Rounds, and what is made of their results. NaN is what could not be measured. */

/**
 * In each round, after `prepare`, every side once, one after the other; another one begins each time.
 * The results by side, in the order of the rounds.
 */
export async function rounds(count, sides, prepare) {
  const names = Object.keys(sides);
  const results = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < count; round++) {
    await prepare?.(round);
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      results[name].push(await sides[name](round));
    }
  }
  return results;
}

export const sorted = (numbers) => [...numbers].sort((a, b) => a - b);

export function median(numbers) {
  const all = sorted(numbers);
  const middle = (all.length - 1) / 2;
  return (all[Math.floor(middle)] + all[Math.ceil(middle)]) / 2;
}

/** Of `ours` to `limit`, round by round: the median, with the least and the most. */
export function ratio(ours, limit) {
  if (limit.some(Number.isNaN)) return 'not measured';
  const all = sorted(ours.map((each, round) => each / limit[round]));
  return `${median(all).toFixed(2)} (${all[0].toFixed(2)} to ${all.at(-1).toFixed(2)})`;
}

export function quantiles(samples) {
  const all = sorted(samples);
  const at = (share) => all[Math.min(all.length - 1, Math.floor(all.length * share))];
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

/** The median, to be read: `12,345`, or `not measured`. */
export function figure(numbers, digits = 0) {
  if (numbers.some(Number.isNaN)) return 'not measured';
  return median(numbers).toLocaleString('en', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

export const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
