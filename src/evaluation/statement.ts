/**
 * The SQL that gives the verdicts of many programs on many events at once.
 *
 * Its one parameter is a JSON array of objects: `i` counts the events, `o` and `t` are their action and
 * time, `k<n>` the text of the n-th column of the plan. It answers a row for each event: `i`, the
 * positions of the programs whose filter is true, separated by commas, and the body of each program
 * that has a payload, null where it is not to be sent.
 */
import type { Program, ProgramColumn, Side } from './program.js';

export interface Statement {
  readonly text: string;
  /**
   * The search_path that it has to be prepared and run in: the one of its expressions, so that all
   * that is not theirs is named with its schema.
   */
  readonly path: string;
  /** Functions of others may be called by it. */
  readonly foreign: boolean;
  /** The positions of its programs, in the order of what it answers. */
  readonly programs: readonly number[];
  /** For each of its programs: where in an answer its payload is, if it has one. */
  readonly payloads: readonly (number | undefined)[];
}

/** What one event costs grows with their number, and a list of SELECT has an end. */
const mostPrograms = 100;

/** The values that some of these programs need, each once. */
export function columnsOf(programs: readonly Program[]): ProgramColumn[] {
  const columns = new Map<string, ProgramColumn>();
  for (const column of programs.flatMap((program) => program.columns ?? [])) {
    columns.set(keyOf(column), column);
  }
  return [...columns.values()];
}

export const keyOf = ({ row, name }: ProgramColumn) => `${row}.${name}`;

/**
 * The statements for these programs: one, unless they disagree on what there is to be seen. `keys` are
 * the columns of the plan, as `keyOf` tells them.
 */
export function statementsFor(
  programs: readonly Program[],
  keys: readonly string[],
): readonly Statement[] {
  const groups: Group[] = [];
  programs.forEach((program, position) => {
    let group = groups.find((each) => each.takes(program));
    if (!group) groups.push((group = new Group(program)));
    group.add(program, position);
  });
  return groups.map((group) => group.statement(keys));
}

/** Programs that see the same rows. */
class Group {
  readonly #columns = new Map<string, ProgramColumn>();
  readonly #members: { program: Program; position: number }[] = [];
  readonly #first: Program;

  constructor(first: Program) {
    this.#first = first;
  }

  takes(program: Program): boolean {
    const first = this.#first;
    if (this.#members.length >= mostPrograms) return false;
    if (first.path !== program.path || first.foreign !== program.foreign) return false;
    if (first.rows || program.rows) {
      return (
        JSON.stringify([first.columns, first.rows]) ===
        JSON.stringify([program.columns, program.rows])
      );
    }
    return (program.columns ?? []).every((column) => {
      const known = this.#columns.get(keyOf(column));
      return !known || (known.type === column.type && known.collation === column.collation);
    });
  }

  add(program: Program, position: number): void {
    this.#members.push({ program, position });
    for (const column of program.columns ?? []) this.#columns.set(keyOf(column), column);
  }

  statement(keys: readonly string[]): Statement {
    const columns = [...this.#columns.values()];
    const numbered = columns.map((column) => ({ column, key: `k${keys.indexOf(keyOf(column))}` }));
    // A column of that name would stand beside ours.
    const isHidden = columns.some(({ name }) => name === 'op');
    const within = (expression: string) =>
      isHidden ? `(select (${expression}) from ${event})` : `(${expression})`;

    const matched: string[] = [];
    const bodies: string[] = [];
    const payloads: (number | undefined)[] = [];
    this.#members.forEach(({ program: { filter = 'true', payload } }, i) => {
      matched.push(`case when ${within(filter)} then ${i} end`);
      payloads.push(payload === undefined ? undefined : 2 + bodies.length);
      if (payload === undefined) return;
      bodies.push(`case when ${within(filter)} then ${within(payload)}::text end`);
    });
    const lists = [
      'r.i',
      `pg_catalog.array_to_string(pg_catalog.array_remove(array[${matched.join(', ')}], null), ',')`,
      ...bodies,
    ];
    const fields = numbered.map(({ column, key }) => `, ${key} ${transportType(column)}`);
    const side = (row: Side) =>
      numbered
        .filter(({ column }) => column.row === row)
        .map(
          ({ column, key }) =>
            `r.${key}${isJson(column) ? `::${column.type}` : ''} as ${quote(column.name)}`,
        )
        .join(', ');
    const text =
      `select ${lists.join(', ')} ` +
      `from pg_catalog.jsonb_to_recordset($1::jsonb) as r(i integer, o text, t timestamptz${fields.join('')}), ` +
      `lateral (select ${side('old')}) as old, lateral (select ${side('new')}) as new` +
      (isHidden ? '' : `, lateral ${event}`);
    const { path, foreign } = this.#first;
    return {
      text,
      path,
      foreign,
      programs: this.#members.map(({ position }) => position),
      payloads,
    };
  }
}

const event = '(select r.o, r.t) as pgstream_event(op, pgstream_committed_at)';

const isJson = ({ type }: ProgramColumn) => type === 'json' || type === 'jsonb';

/** A JSON string stands for its text, except where the type is JSON itself. */
const transportType = (column: ProgramColumn) =>
  isJson(column)
    ? 'text'
    : `${column.type}${column.collation === undefined ? '' : ` collate ${column.collation}`}`;

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
