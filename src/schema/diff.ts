/** What differs between two versions of a schema, each thing told once, always in the same order. */
import {
  describeColumn,
  describeDefault,
  describeEnum,
  describeIdentity,
  describeSequence,
  describeTable,
  literal,
  oneLine,
  qualified,
} from './describe.js';
import {
  keyOf,
  type ColumnDocument,
  type SchemaDocument,
  type TableDocument,
  type ViewDocument,
} from './document.js';
import { keyBetween, match, type Match } from './match.js';
import { indexesOf, partsOf, type Part } from './parts.js';
import { renamesOf, rewritten, type Names, type Renames } from './renames.js';

type ObjectKind = 'schema' | 'type' | 'sequence' | 'table' | 'column' | 'materialized view';

export interface Change {
  readonly kind: 'dropped' | 'changed' | 'added';
  readonly object: ObjectKind | Part['object'];
  /** Qualified, and as SQL writes it; of what is renamed the old one. */
  readonly name: string;
  /** What it is, or what has changed. */
  readonly details: string;
  /** Whether it came with the table or view above it. */
  readonly isPart?: boolean;
}

const signs = { dropped: '-', changed: '~', added: '+' } as const;

/** As a line: `+ column public.t.note text`. */
export const formatChange = ({ kind, object, name, details }: Change): string =>
  oneLine(`${signs[kind]} ${object} ${name} ${details}`.trimEnd());

/** Types come first, since columns are of them; what is dropped with a table is told by the table. */
export function diffSchemas(
  schema: string,
  before: SchemaDocument,
  after: SchemaDocument,
): Change[] {
  const key = keyBetween(before, after);
  const tables = match(before.tables, after.tables, keyOf);
  const types = match(before.enum_types, after.enum_types, key);
  const sequences = match(before.sequences, after.sequences, key);
  const views = match(before.materialized_views, after.materialized_views, key);
  const renames: Renames = {
    objects: new Map(
      [tables, types, sequences, views].flatMap(({ kept }) => [...renamesOf(kept, schema)]),
    ),
    columns: new Map(
      tables.kept.map(([old, now]) => [
        qualified(schema, old.name),
        renamesOf(match(old.columns, now.columns, keyOfColumn).kept),
      ]),
    ),
  };

  const wasDropped = Boolean(before.dropped);
  const schemaChanges: Change[] =
    wasDropped === Boolean(after.dropped)
      ? []
      : [
          {
            kind: wasDropped ? 'added' : 'dropped',
            object: 'schema',
            name: qualified(schema),
            details: '',
          },
        ];
  return [
    ...schemaChanges,
    ...listed(schema, 'type', types, describeEnum, (old, now) => [
      changed(describeEnum(old), describeEnum(now)),
    ]),
    ...listed(schema, 'sequence', sequences, describeSequence, (old, now) => [
      changed(describeSequence(old), describeSequence(now)),
    ]),
    ...listed(
      schema,
      'table',
      tables,
      describeTable,
      (old, now) => [
        changed(rewritten(describeTable(old), renames), describeTable(now)),
        changedComment(old.comment, now.comment),
      ],
      (old, now) => tableParts(schema, old, now, renames),
    ),
    ...listed(
      schema,
      'materialized view',
      views,
      () => '',
      (old, now) => [
        rewritten(old.definition, renames) !== now.definition && 'has another definition',
      ],
      (old, now) => viewParts(schema, old, now, renames),
    ),
  ];
}

interface Named {
  readonly name: string;
}

type Detail = string | false | undefined;

/** The changes of one list of objects, by name: what is gone before what has taken its name. */
function listed<T extends Named>(
  schema: string,
  object: ObjectKind,
  { dropped, kept, added }: Match<T>,
  describe: (object: T) => string,
  compare: (before: T, after: T) => Detail[],
  parts: (before: T | undefined, after: T) => Change[] = () => [],
): Change[] {
  const groups: { name: string; changes: Change[] }[] = [];
  const name = (of: T) => qualified(schema, of.name);
  for (const old of dropped) {
    const change: Change = { kind: 'dropped', object, name: name(old), details: '' };
    groups.push({ name: old.name, changes: [change] });
  }
  for (const [old, now] of kept) {
    const changes = changeOf(object, name(old), renamed(old, now), compare(old, now));
    groups.push({ name: old.name, changes: [...changes, ...parts(old, now)] });
  }
  for (const now of added) {
    const change: Change = { kind: 'added', object, name: name(now), details: describe(now) };
    const its = parts(undefined, now).map((part) => ({ ...part, isPart: true }));
    groups.push({ name: now.name, changes: [change, ...its] });
  }
  return groups
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .flatMap(({ changes }) => changes);
}

function changeOf(
  object: Change['object'],
  name: string,
  newName: string | undefined,
  details: Detail[],
): Change[] {
  const all = [newName && `renamed to ${newName}`, ...details].filter((detail) => detail);
  return all.length > 0 ? [{ kind: 'changed', object, name, details: all.join(', ') }] : [];
}

const renamed = (before: Named, after: Named) =>
  before.name === after.name ? undefined : qualified(after.name);

const changed = (before: string, after: string): Detail =>
  before !== after && `${before || 'plain'} → ${after || 'plain'}`;

const changedComment = (before: string | null | undefined, after: string | null | undefined) =>
  (before ?? '') !== (after ?? '') && (after ? `comment ${literal(after)}` : 'no comment');

const keyOfColumn = ({ pgstream_id: id }: ColumnDocument) => id;

/** Columns in the order of the table, where those that are gone come first; then all else. */
function tableParts(
  schema: string,
  before: TableDocument | undefined,
  after: TableDocument,
  renames: Renames,
): Change[] {
  const name = (column: ColumnDocument) => qualified(schema, after.name, column.name);
  const { dropped, kept } = match(before?.columns, after.columns, keyOfColumn);
  const old = new Map(kept.map(([was, is]) => [is, was]));
  const siblings = before && renames.columns.get(qualified(schema, before.name));
  return [
    ...dropped.map((column): Change => ({
      kind: 'dropped',
      object: 'column',
      name: name(column),
      details: '',
    })),
    ...after.columns.flatMap((column): Change[] => {
      const was = old.get(column);
      return was
        ? changeOf(
            'column',
            name(was),
            renamed(was, column),
            columnChanges(was, column, siblings, renames),
          )
        : [
            {
              kind: 'added',
              object: 'column',
              name: name(column),
              details: describeColumn(column),
            },
          ];
    }),
    ...partChanges(
      before && partsOf(schema, before, after.name, renames),
      partsOf(schema, after, after.name),
    ),
  ];
}

function columnChanges(
  before: ColumnDocument,
  after: ColumnDocument,
  siblings: Names | undefined,
  renames: Renames,
): Detail[] {
  const oldDefault = rewritten(describeDefault(before), renames, siblings);
  return [
    changed(rewritten(before.type, renames), after.type),
    before.nullable !== after.nullable && (after.nullable ? 'nullable' : 'not null'),
    oldDefault !== describeDefault(after) &&
      (describeDefault(after) || (before.generated ? 'not generated' : 'no default')),
    before.identity !== after.identity &&
      (after.identity ? describeIdentity(after.identity) : 'no identity'),
    changedComment(before.metadata, after.metadata),
  ];
}

const viewParts = (
  schema: string,
  before: ViewDocument | undefined,
  after: ViewDocument,
  renames: Renames,
) =>
  partChanges(
    before && indexesOf(schema, before.name, before.indexes, after.name, renames),
    indexesOf(schema, after.name, after.indexes, after.name),
  );

function partChanges(before: readonly Part[] | undefined, after: readonly Part[]): Change[] {
  const parts = match(before, after, ({ object, name }) => `${object} ${name}`);
  return [
    ...parts.dropped.map(({ object, name }): Change => ({
      kind: 'dropped',
      object,
      name,
      details: '',
    })),
    ...parts.kept.flatMap(([old, now]) =>
      changeOf(now.object, now.name, undefined, [changed(old.details, now.details)]),
    ),
    ...parts.added.map((part): Change => ({ kind: 'added', ...part })),
  ];
}
