/** Follows a slot through the loss and return of connections. */
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../delivery/backoff.js';
import type { PgstreamError } from '../errors.js';
import type { Log } from '../log.js';
import { isAway, reconnectBackoff } from '../source/persist.js';
import { positionOf, type Arrivals } from './copy-data.js';
import { formatLsn } from './lsn.js';
import type { PluginOptions } from './plugin.js';
import { slotError, slotMoved } from './slot-error.js';
import { openStream, type Stream, type StreamOptions } from './stream.js';

export type FollowerState = 'starting' | 'waiting' | 'streaming' | 'reconnecting';

export interface FollowOptions extends Omit<StreamOptions, 'startLsn' | 'plugin'> {
  /** What the output plugin is told by the next connection. */
  readonly plugin: () => Promise<PluginOptions>;
  /** Where the next connection has to begin. */
  readonly resumeAt: () => bigint;
  /** Where the slot is confirmed up to, read while we hold it. */
  readonly slotPosition: () => Promise<bigint>;
  /** Awaited before each connection is opened: we may read the slot, and nobody else does. */
  readonly ready?: (signal: AbortSignal) => Promise<void>;
  /** A connection is lost: what comes next comes from another one. */
  readonly onInterrupted: () => void;
  readonly log: Log;
}

const inUse = '55006';

export class SlotFollower {
  readonly #options: FollowOptions;
  #stream: Stream | undefined;
  #state: FollowerState = 'starting';
  #received = 0n;
  #isToBeginAgain = false;

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  get state(): FollowerState {
    return this.#state;
  }

  /** A position that the server has reached: about the greatest that it has told us of. */
  get received(): bigint {
    return this.#received;
  }

  /**
   * All that arrives, over as many connections as it takes, until the signal fires. Throws a
   * PgstreamError on anything that waiting does not mend.
   */
  async *batches(signal: AbortSignal): AsyncGenerator<Arrivals> {
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#options.ready?.(signal);
        await this.#connect();
        failures = 0;
        for await (const arrivals of this.#stream!.batches(signal)) {
          this.#note(arrivals);
          yield arrivals;
          if (this.#isToBeginAgain) break;
        }
        if (signal.aborted) return;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        const { connection, slot } = this.#options;
        await this.#pause(slotError(error, connection, slot), failures, signal);
      }
      await this.close();
      this.#options.onInterrupted();
    }
  }

  /** What was handed out last, and has not been read, comes again from another connection. */
  beginAgain(): void {
    this.#isToBeginAgain = true;
  }

  /** Confirms what is done and leaves the slot. What has arrived can still be read. */
  async close(): Promise<void> {
    await this.#stream?.close();
  }

  async #connect(): Promise<void> {
    const { resumeAt, log, slot } = this.#options;
    const plugin = await this.#options.plugin();
    this.#isToBeginAgain = false;
    this.#stream = await openStream({ ...this.#options, plugin, startLsn: resumeAt() });
    const position = await this.#options.slotPosition();
    const confirmed = this.#options.confirmed();
    if (position > confirmed) throw slotMoved(slot, confirmed, position);
    this.#state = 'streaming';
    log.info({ slot, position: formatLsn(resumeAt()) }, 'streaming');
  }

  #note({ bytes, ends }: Arrivals): void {
    const position = positionOf(bytes, ends.at(-2) ?? 0);
    if (position > this.#received) this.#received = position;
  }

  async #pause(error: PgstreamError, failures: number, signal: AbortSignal): Promise<void> {
    if (error.code !== inUse && !isAway(error)) throw error;
    this.#state = error.code === inUse ? 'waiting' : 'reconnecting';
    const retryInMs = backoffMs(reconnectBackoff, failures, Math.random());
    this.#options.log.warn({ reason: error.message, retryInMs }, 'not streaming; trying again');
    await sleep(retryInMs, undefined, { signal }).catch(() => undefined);
  }
}
