/** How far snapshots have come: a bar on a terminal, a line whenever something changes elsewhere. */
import type { TableStatus } from '../snapshot/request.js';

interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Progress {
  show(status: readonly TableStatus[]): void;
  /** Leaves what is there, and goes to the next line. */
  end(): void;
}

const barWidth = 24;

export function createProgress(output: Output): Progress {
  return output.isTTY ? createBar(output) : createLines(output);
}

function createBar(output: Output): Progress {
  let isShown = false;
  return {
    show(status) {
      const text = barOf(status).slice(0, (output.columns ?? 80) - 1);
      output.write(`\r\u001b[2K${text}`);
      isShown = true;
    },
    end() {
      if (isShown) output.write('\n');
    },
  };
}

function createLines(output: Output): Progress {
  const last = new Map<string, string>();
  return {
    show(status) {
      for (const each of status) {
        const key = `${each.request} ${each.schema}.${each.table}`;
        const text = `${each.state}${each.reason === null ? '' : `: ${each.reason}`}`;
        if (last.get(key) === text) continue;
        last.set(key, text);
        output.write(`${each.schema}.${each.table}: ${text}\n`);
      }
    },
    end() {},
  };
}

/** `[######----]  42 %  1234 of 2900 rows  app.orders: running` */
export function barOf(status: readonly TableStatus[]): string {
  const sum = (of: (each: TableStatus) => number) =>
    status.reduce((total, each) => total + of(each), 0);
  const rows = sum((each) => each.rows);
  const expected = sum(({ state, rows: done, estimated }) =>
    state === 'done' ? done : Math.max(done, estimated ?? 0),
  );
  const isOver = status.every(({ state }) => state === 'done');
  const share = isOver ? 1 : Math.min(rows / Math.max(expected, 1), 0.99);
  const filled = Math.round(share * barWidth);
  const bar = `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}]`;
  const percent = `${Math.floor(share * 100)}`.padStart(3);
  const current = status.find(({ state }) => state !== 'done' && state !== 'pending') ?? status[0];
  const what = current
    ? `${current.schema}.${current.table}: ${[current.state, current.reason].filter(Boolean).join(', ')}`
    : 'deleted';
  return `${bar} ${percent} %  ${rows} of ${expected} rows  ${what}`;
}
