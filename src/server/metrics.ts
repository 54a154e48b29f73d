/** `GET /metrics`: what an operator's monitoring reads, in the text format of Prometheus. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { EndpointStatus } from '../delivery/endpoint.js';
import type { Report } from '../lease/row.js';

export interface Measured {
  readonly state: Report['state'];
  /** Bytes of the log that were received and are not confirmed yet. */
  readonly lagBytes: number;
  readonly inFlight: number;
  /** Whether the log waits for a subscription whose quota is used up. */
  readonly isHolding: boolean;
  readonly subscriptions: readonly (readonly [id: number, status: EndpointStatus])[];
}

const states = ['starting', 'waiting', 'streaming', 'reconnecting', 'halted'] as const;

/** `measure` is asked whenever the metrics are read. */
export function createMetrics(measure: () => Measured): {
  readonly contentType: string;
  readonly text: () => Promise<string>;
} {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, ...labelNames: string[]) =>
    new Gauge({ name: `pgstream_${name}`, help, labelNames, registers });
  const counter = (name: string, help: string) =>
    new Counter({ name: `pgstream_${name}`, help, labelNames: ['subscription'], registers });

  const state = gauge('state', 'The state of the runner: 1 for the present one.', 'state');
  const lag = gauge('lag_bytes', 'Log that was received and is not confirmed yet.');
  const inFlight = gauge('requests_in_flight', 'Requests under way.');
  const holding = gauge('holding', '1 while a spill quota keeps the slot from being confirmed.');
  const inMemory = gauge('events_in_memory', 'Events that wait in memory alone.', 'subscription');
  const failing = gauge(
    'subscription_failing',
    '1 while events of the subscription wait because its endpoint does not accept them.',
    'subscription',
  );
  const delivered = counter('events_delivered_total', 'Events that were accepted.');
  const dropped = counter('events_dropped_total', 'Events that were lost at the spill quota.');

  return {
    contentType: registry.contentType,
    async text() {
      const now = measure();
      registry.resetMetrics();
      for (const each of states) state.set({ state: each }, each === now.state ? 1 : 0);
      lag.set(now.lagBytes);
      inFlight.set(now.inFlight);
      holding.set(now.isHolding ? 1 : 0);
      for (const [id, status] of now.subscriptions) {
        const label = { subscription: String(id) };
        inMemory.set(label, status.inMemory);
        failing.set(label, status.state === 'healthy' || status.state === 'paused' ? 0 : 1);
        delivered.inc(label, status.delivered);
        dropped.inc(label, status.dropped);
      }
      return registry.metrics();
    },
  };
}
