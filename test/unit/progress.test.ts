import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Progress, type Transaction } from '../../src/replication/progress.js';

/** What is known of a transaction from outside. */
interface Followed {
  readonly transaction: Transaction;
  /** Where it begins; its commit lies behind. */
  readonly begin: bigint;
  end: bigint | undefined;
  held: number;
}

const steps = ['begin', 'hold', 'release', 'commit', 'keepalive', 'reconnect'] as const;
type Step = (typeof steps)[number];
const script = fc.array(fc.tuple(fc.constantFrom(...steps), fc.nat()), { maxLength: 80 });

/** The rules of the stream and of holders: who may do what when. */
class Stream {
  readonly progress = new Progress(100n);
  readonly transactions: Followed[] = [];
  current: Followed | undefined;
  position = 100n;
  keepalives: { position: bigint; whileIdle: boolean }[] = [];

  get undone(): Followed[] {
    return this.transactions.filter(({ end, held }) => end === undefined || held > 0);
  }

  take(what: Step, choice: number): void {
    this.position += 10n;
    if (what === 'keepalive') {
      this.keepalives.push({ position: this.position, whileIdle: this.undone.length === 0 });
      this.progress.keepalive(this.position);
    } else if (what === 'begin' && !this.current) {
      const transaction = this.progress.begin();
      this.current = { transaction, begin: this.position, end: undefined, held: 0 };
      this.transactions.push(this.current);
    } else if (what === 'hold' && this.current) {
      this.current.held++;
      this.current.transaction.hold();
    } else if (what === 'commit' && this.current) {
      this.current.end = this.position;
      this.progress.commit(this.position);
      this.current = undefined;
    } else if (what === 'reconnect' && this.current) {
      // The stream goes back to the BEGIN of what was not received whole; holders do not notice.
      this.position = this.current.begin;
    } else if (what === 'release') {
      const held = this.transactions.filter((followed) => followed.held > 0);
      const followed = held[choice % Math.max(1, held.length)];
      if (!followed) return;
      followed.held--;
      followed.transaction.release();
    }
  }
}

test('what is confirmed never moves back and never passes anything undone, and is at the end when all is done', () => {
  fc.assert(
    fc.property(script, (all) => {
      const stream = new Stream();
      const check = (what: Step, choice: number) => {
        const before = stream.progress.confirmed;
        stream.take(what, choice);
        const { confirmed, idle } = stream.progress;
        expect(confirmed).toBeGreaterThanOrEqual(before);
        for (const { begin, end } of stream.undone) {
          expect(confirmed).toBeLessThan(end ?? begin);
        }
        const [first] = stream.undone;
        const reached = stream.transactions
          .slice(0, first ? stream.transactions.indexOf(first) : undefined)
          .map(({ end }) => end!);
        const heard = stream.keepalives.filter(({ whileIdle }) => whileIdle);
        expect(confirmed).toBe(
          [100n, ...reached, ...heard.map(({ position }) => position)].reduce((a, b) =>
            a > b ? a : b,
          ),
        );
        expect(idle).toBe(first === undefined);
      };
      for (const [what, choice] of all) check(what, choice);
      check('commit', 0);
      while (stream.undone.length > 0) check('release', all.length);
      const last = stream.transactions.at(-1)?.end ?? 100n;
      expect(stream.progress.confirmed).toBeGreaterThanOrEqual(last);
      check('keepalive', 0);
      expect(stream.progress.confirmed).toBe(stream.position);
    }),
    { numRuns: 500 },
  );
});

describe('a keepalive', () => {
  test('is confirmed when nothing is under way, and ignored when it is older', () => {
    const progress = new Progress(100n);
    progress.keepalive(200n);
    progress.keepalive(150n);
    expect(progress.confirmed).toBe(200n);
  });

  test('between BEGIN and COMMIT is not confirmed', () => {
    const progress = new Progress(100n);
    progress.begin();
    progress.keepalive(200n);
    expect(progress.confirmed).toBe(100n);
    progress.commit(180n);
    expect(progress.confirmed).toBe(180n);
  });

  test('while a delivery is under way is not confirmed, then or later', () => {
    const progress = new Progress(100n);
    const transaction = progress.begin();
    transaction.hold();
    progress.commit(180n);
    progress.keepalive(200n);
    expect(progress.confirmed).toBe(100n);
    transaction.release();
    expect(progress.confirmed).toBe(180n);
  });
});

test('a transaction that is done before an earlier one waits for it', () => {
  const progress = new Progress(100n);
  const early = progress.begin();
  early.hold();
  progress.commit(200n);
  progress.begin();
  progress.commit(300n);
  expect(progress.confirmed).toBe(100n);
  expect(progress.idle).toBe(false);
  early.release();
  expect(progress.confirmed).toBe(300n);
  expect(progress.idle).toBe(true);
});

test('a transaction whose work is done before its COMMIT is confirmed only with the COMMIT', () => {
  const progress = new Progress(100n);
  const transaction = progress.begin();
  transaction.hold();
  transaction.release();
  expect(progress.confirmed).toBe(100n);
  progress.commit(200n);
  expect(progress.confirmed).toBe(200n);
});
