/** What a webhook says, in the words that `truth` is told in as well. */

export interface Event {
  readonly table: string;
  /** Action, table, ids and seq. */
  readonly text: string;
  /** The rows that it is of: two where an update changes the id, none for a truncate. */
  readonly keys: readonly string[];
  /** The seq of the row, for a delete that of the deleted row where it is known. */
  readonly seq: number | undefined;
}

export interface Place {
  readonly commitLsn: bigint;
  /** Counts the changes of the transaction from 1. */
  readonly ordinal: number;
  readonly subscription: number;
}

type Value = number | string | null | undefined;

export interface ToldChange {
  readonly table: string;
  readonly action: string;
  readonly oldId?: Value;
  readonly id?: Value;
  readonly seq?: Value;
}

export function tell({ table, action, oldId, id, seq }: ToldChange): Event {
  const keys = new Set([oldId, id].filter((key) => key !== undefined && key !== null));
  const ids = action === 'U' ? [oldId, id] : [...keys];
  return {
    table,
    text: [action, table, ...ids, ...(action === 'I' || action === 'U' ? [seq] : [])].join(' '),
    keys: Array.from(keys, (key) => `${table} ${key}`),
    seq: seq === undefined || seq === null ? undefined : Number(seq),
  };
}

type Values = readonly { readonly name: string; readonly value: string | number }[] | null;

export function readEvent(body: Buffer): Event {
  const { Data } = JSON.parse(body.toString()) as {
    Data: { action: string; table: string; columns: Values; identity: Values };
  };
  const { action, table, columns, identity } = Data;
  const value = (values: Values, name: string) => values?.find((each) => each.name === name)?.value;
  return tell({
    table,
    action,
    oldId: value(identity, 'id'),
    id: value(columns, 'id'),
    seq: value(columns, 'seq') ?? value(identity, 'seq'),
  });
}

/** Its last three parts are the place of the event and the subscription. */
export function readId(id: string): Place {
  const parts = /_([0-9a-f]+)_(\d+)_(\d+)$/.exec(id);
  if (!parts) throw new Error(`not an id of an event: ${id}`);
  return {
    commitLsn: BigInt(`0x${parts[1]}`),
    ordinal: Number(parts[2]),
    subscription: Number(parts[3]),
  };
}
