/** How the events of a table are judged: what is taken from each row, and asked of Postgres. */
import type { Action, Change } from '../event/encode.js';
import { NULL, UNCHANGED, type Relation, type Tuple } from '../replication/pgoutput.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Program, ProgramColumn } from './program.js';
import { columnsOf, keyOf, statementsFor, type Statement } from './statement.js';

/** The values that a row has for a plan. */
export interface Captured {
  /** JSON of each value, in the order of the plan's columns. */
  readonly values: readonly string[];
  /** Why a value is not known, by the position of its column; undefined where all are. */
  readonly missing: ReadonlyMap<number, string> | undefined;
  readonly bytes: number;
}

export class Plan {
  readonly subscriptions: readonly Subscription[];
  readonly programs: readonly Program[];
  readonly statements: readonly Statement[];
  readonly #relation: Relation;
  readonly #columns: readonly { readonly column: ProgramColumn; readonly index: number }[];
  /** For each program, the columns that it needs. */
  readonly #needs: readonly (readonly number[])[];
  readonly #alone = new Map<number, Statement>();

  /** `subscriptions` have programs. */
  constructor(relation: Relation, subscriptions: readonly Subscription[]) {
    this.subscriptions = subscriptions;
    this.programs = subscriptions.map(({ program }) => program!);
    this.#relation = relation;
    const columns = columnsOf(this.programs);
    this.#columns = columns.map((column) => ({
      column,
      index: relation.columns.findIndex(({ name }) => name === column.name),
    }));
    const keys = columns.map(keyOf);
    this.#needs = this.programs.map((program) =>
      (program.columns ?? []).map((column) => keys.indexOf(keyOf(column))),
    );
    this.statements = statementsFor(this.programs, keys);
  }

  /** The statement for one program alone. */
  alone(position: number): Statement {
    let statement = this.#alone.get(position);
    if (!statement) {
      const keys = this.#columns.map(({ column }) => keyOf(column));
      const [own] = statementsFor([this.programs[position]!], keys);
      this.#alone.set(position, (statement = { ...own!, programs: [position] }));
    }
    return statement;
  }

  /** Takes from a change what the programs need; the change is not needed any more then. */
  capture(change: Change): Captured {
    const values: string[] = [];
    let missing: Map<number, string> | undefined;
    let bytes = 0;
    this.#columns.forEach((each, position) => {
      const value = this.#valueOf(change, each);
      if (typeof value !== 'string') (missing ??= new Map()).set(position, value.missing);
      const text = typeof value === 'string' ? value : 'null';
      values.push(text);
      bytes += text.length;
    });
    return { values, missing, bytes };
  }

  /** Why programs, by their positions, cannot be asked of what was captured. */
  obstacles({ missing }: Captured): ReadonlyMap<number, string> | undefined {
    if (!missing) return undefined;
    const obstacles = new Map<number, string>();
    this.#needs.forEach((needs, position) => {
      const reason = needs.map((column) => missing.get(column)).find(Boolean);
      if (reason !== undefined) obstacles.set(position, reason);
    });
    return obstacles;
  }

  #valueOf(
    { action, new: row, old }: Change,
    { column, index }: { column: ProgramColumn; index: number },
  ): string | { missing: string } {
    const isAbsent = column.row === 'old' ? !hasOld(action) : row === undefined;
    if (isAbsent) return 'null';
    const name = keyOf(column);
    const definition = this.#relation.columns[index];
    if (!definition) return { missing: `${name}: the table had no such column` };
    if (column.row === 'old' && !definition.identity) {
      return { missing: `${name} was not logged: it is not part of the replica identity` };
    }
    const source = column.row === 'old' ? (old ?? row!) : row!;
    const tuple = source.spans[2 * index] === UNCHANGED && old ? old : source;
    return (
      jsonOf(tuple, index) ?? {
        missing:
          `${name} was not logged: the value is large and the update left it as it was; ` +
          `alter table ${this.#relation.schema}.${this.#relation.name} replica identity full`,
      }
    );
  }
}

const hasOld = (action: Action) => action === 'U' || action === 'D';

/** A value as JSON; undefined where the row does not have it. */
function jsonOf({ bytes, spans }: Tuple, column: number): string | undefined {
  const start = spans[2 * column];
  if (start === undefined || start === UNCHANGED) return undefined;
  if (start === NULL) return 'null';
  return JSON.stringify(bytes.toString('utf8', start, spans[2 * column + 1]));
}
