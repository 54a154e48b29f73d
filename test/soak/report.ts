/** The figures of a soak, and what was wrong. */
import type { PointResult } from './crash-points.js';

export interface Report {
  readonly seed: number;
  /** As sentences; none when all is well. */
  readonly offences: readonly string[];
  readonly points: readonly PointResult[];
  readonly changes: number;
  readonly deliveries: number;
  readonly repeats: number;
  readonly kills: number;
  /** How often a runner ended by itself, as it may, and was started again. */
  readonly restarts: number;
  readonly crashes: number;
  /** MiB. */
  readonly worstLag: number;
  readonly worstRss: number | undefined;
  readonly seconds: number;
}

const mostOffences = 20;

export function format(report: Report): string {
  const { offences, points, seconds, changes, worstRss } = report;
  const figures: [string, string | number][] = [
    ['seed', report.seed],
    ['changes', changes],
    ['deliveries', report.deliveries],
    ['repeats', report.repeats],
    ['kills of a runner', report.kills],
    ['ends of its own', report.restarts],
    ['crashes of Postgres', report.crashes],
    ['worst slot lag', `${report.worstLag.toFixed(1)} MiB`],
    ['worst RSS', worstRss === undefined ? 'unknown' : `${worstRss.toFixed(0)} MiB`],
    ['seconds', seconds.toFixed(1)],
    ['changes a second', Math.round(changes / seconds)],
    ...points.map(({ point, outcome }): [string, string] => [point, outcome]),
    ['offences', offences.length],
  ];
  const width = Math.max(...figures.map(([name]) => name.length));
  return [
    ...figures.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    ...offences.slice(0, mostOffences),
  ].join('\n');
}
