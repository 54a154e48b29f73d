import { formatTimestamp, unixMicroseconds } from '../replication/timestamp.js';

/** A time as Postgres prints it in UTC, in the form of RFC 3339. */
export const toRfc3339 = (timestamp: string): string =>
  `${timestamp.slice(0, 10)}T${timestamp.slice(11, -3)}Z`;

/** What all events of a transaction say of its commit. */
export class Commit {
  /** As Postgres prints it. */
  readonly timestamp: string;
  readonly xid: number;
  readonly #time: bigint;
  #rfc3339: string | undefined;
  #microseconds: string | undefined;

  /** `time`: microseconds since 2000-01-01 UTC. */
  constructor(time: bigint, xid: number) {
    this.#time = time;
    this.timestamp = formatTimestamp(time);
    this.xid = xid;
  }

  get rfc3339(): string {
    return (this.#rfc3339 ??= toRfc3339(this.timestamp));
  }

  /** Since 1970-01-01 UTC. */
  get microseconds(): string {
    return (this.#microseconds ??= unixMicroseconds(this.#time).toString());
  }

  get milliseconds(): string {
    return this.microseconds.slice(0, -3);
  }
}
