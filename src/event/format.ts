/** The shape of a body; a column of the subscription. */
export type Format = 'pgstream' | 'standard' | 'cloudevents' | 'cloudevents_binary' | 'debezium';

/** What an event is about: a row change, or, where there is no schema, what was emitted. */
interface Happening {
  readonly schema: string;
  readonly table: string;
  /** I, U, D or T; the type of a business event. */
  readonly action: string;
}

const verbs: Readonly<Record<string, string>> = {
  I: 'inserted',
  U: 'updated',
  D: 'deleted',
  T: 'truncated',
};

/** The `type` of an event in the formats that have one, e.g. `public.orders.updated`. */
export const eventType = ({ schema, table, action }: Happening): string =>
  schema === '' ? action : `${schema}.${table}.${verbs[action]}`;
