/** What is done to the runner and to Postgres: drawn before anything starts, from the seed alone. */
import { between, pick, randomFor, shuffle } from './random.js';

export type Fault =
  /** kill -9 of the runner. */
  | { readonly kind: 'kill' }
  /** SIGTERM: what is under way is finished and confirmed. */
  | { readonly kind: 'stop' }
  /** The runner stands still for a while. */
  | { readonly kind: 'pause'; readonly forMs: number }
  /** A second runner waits for the slot, which the first one loses in one of these ways. */
  | {
      readonly kind: 'stand-by';
      readonly waitsMs: number;
      readonly loss: 'kill' | 'stop' | 'pause';
      /** Which of two goes on when the first one was only paused. */
      readonly stays: 'first' | 'second';
    }
  /** Every process of Postgres is killed. */
  | { readonly kind: 'crash' }
  /** The walsender of the slot is terminated. */
  | { readonly kind: 'cut-stream' }
  /** The SQL connections of the runner are terminated. */
  | { readonly kind: 'cut-sql' };

export interface Step {
  readonly afterMs: number;
  /** Since when: the runner streams, or the step before was done. */
  readonly since: 'streaming' | 'last';
  readonly fault: Fault;
}

/** How many of each. */
export type Faults = Readonly<Record<Fault['kind'], number>>;

/** So many kills, and the other faults in proportion. */
export const faultsFor = (kills: number): Faults => ({
  kill: kills,
  stop: Math.ceil(kills / 20),
  pause: Math.ceil(kills / 10),
  'stand-by': Math.ceil(kills / 10),
  crash: Math.ceil(kills / 10),
  'cut-stream': Math.ceil(kills / 10),
  'cut-sql': Math.ceil(kills / 10),
});

export function planFaults(seed: number, faults: Faults, mostMs: number): Step[] {
  const random = randomFor(seed, 'faults');
  const kinds = Object.entries(faults).flatMap(([kind, count]) =>
    Array.from({ length: count }, () => kind as Fault['kind']),
  );
  return shuffle(random, kinds).map((kind) => {
    const afterMs = between(random, [20, mostMs]);
    const since = pick(random, ['streaming', 'last'] as const);
    switch (kind) {
      case 'pause':
        return { afterMs, since, fault: { kind, forMs: between(random, [50, 2_500]) } };
      case 'stand-by': {
        const waitsMs = between(random, [200, mostMs]);
        const loss = pick(random, ['kill', 'stop', 'pause'] as const);
        const stays = pick(random, ['first', 'second'] as const);
        return { afterMs, since, fault: { kind, waitsMs, loss, stays } };
      }
      default:
        return { afterMs, since, fault: { kind } };
    }
  });
}

/** What an endpoint does to requests. */
export type Trouble = 'refuses' | 'fails' | 'is busy' | 'hangs' | 'resets' | 'is slow';

export interface Spell {
  readonly afterMs: number;
  readonly trouble: Trouble;
  readonly forMs: number;
}

/** The troubles of one endpoint, without end: all kinds of them in turn, in an order of chance. */
export function* planSpells(seed: number, endpoint: string): Generator<Spell, never> {
  const random = randomFor(seed, `endpoint ${endpoint}`);
  const all: Trouble[] = ['refuses', 'fails', 'is busy', 'hangs', 'resets', 'is slow'];
  for (;;) {
    for (const trouble of shuffle(random, all)) {
      const afterMs = between(random, [300, 5_000]);
      yield { afterMs, trouble, forMs: between(random, [300, 4_000]) };
    }
  }
}
