/** Tables with a column of every type, and what happens to their rows. */
import type postgres from 'postgres';
import { builtinTypes, createdTypes, modifiedTypes } from './type-values.js';

export interface Column {
  name: string;
  /** As it is written in SQL. */
  type: string;
  values: readonly string[];
}

/** The groups of types that make one table each. */
export const typeGroups = [...Object.keys(builtinTypes), 'modified types', 'created types'];

export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** The columns of each group. A type that the server was built without is left out, aloud. */
export async function typeColumns(sql: postgres.Sql): Promise<Map<string, Column[]>> {
  const known = await storableTypes(sql);
  const groups = new Map<string, Column[]>();
  for (const [group, types] of Object.entries(builtinTypes)) {
    const columns: Column[] = [];
    for (const [name, values] of Object.entries(types)) {
      const type = known.get(name);
      if (type && (await canBeRead(sql, type, values[0]!))) columns.push({ name, type, values });
      else console.warn(`SKIPPED: this server has no type ${name}`);
    }
    groups.set(group, columns);
  }
  const named = (types: typeof createdTypes) =>
    Object.entries(types).map(([name, [type, ...values]]) => ({ name, type, values }));
  groups.set('modified types', named(modifiedTypes));
  groups.set('created types', named(createdTypes));
  return groups;
}

/** Built-in types that a column can have and that no value is known of. */
export async function typesWithoutValues(sql: postgres.Sql): Promise<string[]> {
  const covered = new Set(Object.values(builtinTypes).flatMap((types) => Object.keys(types)));
  const missing: string[] = [];
  for (const [name, type] of await storableTypes(sql)) {
    if (!covered.has(name) && (await canBeRead(sql, type, ''))) missing.push(name);
  }
  return missing;
}

/** Base, range and multirange types of pg_catalog, without arrays: their names in SQL. */
async function storableTypes(sql: postgres.Sql): Promise<Map<string, string>> {
  const rows = await sql<{ name: string; type: string }[]>`
    select t.typname as name, format_type(t.oid, -1) as type
    from pg_type t
    where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r', 'm')
      and not exists (select from pg_type e where e.typarray = t.oid)
    order by 1`;
  return new Map(rows.map(({ name, type }) => [name, type]));
}

/** False for types whose values Postgres makes itself, and those it was built without. */
async function canBeRead(sql: postgres.Sql, type: string, value: string): Promise<boolean> {
  try {
    await sql.unsafe(`select ${literal(value)}::${type}`);
    return true;
  } catch (error) {
    return (error as postgres.PostgresError).code !== '0A000';
  }
}

/** The values that a column and the one with arrays of its type take in turn, as SQL. */
function cellsOf({ name, type, values }: Column) {
  const single = values.map((value) => `${literal(value)}::${type}`);
  const list = [
    `array[${single.join()}, null]::${type}[]`,
    `'{}'::${type}[]`,
    `array_fill(${single.at(-1)}, array[2, 1], array[5, -1])::${type}[]`,
  ];
  return [
    { name: `"${name}"`, type, values: [...single, 'null'] },
    { name: `"${name}_list"`, type: `${type}[]`, values: [...list, 'null'] },
  ];
}

/**
 * Statements that make a table of one group and do everything to its rows: inserts, updates of
 * values, of nothing, of the primary key and of a second key, deletes and a truncate.
 */
export function tableStory(table: string, identity: string, columns: readonly Column[]): string[] {
  const cells = columns.flatMap(cellsOf);
  const rows = [...Array(Math.max(...cells.map(({ values }) => values.length))).keys()];
  const value = (cell: (typeof cells)[number], turn: number) =>
    cell.values[turn % cell.values.length]!;
  const row = (id: number) => [id, `'code ${id}'`, ...cells.map((cell) => value(cell, id))];
  return [
    `create table ${table} (id integer primary key, code text not null unique,
      ${cells.map(({ name, type }) => `${name} ${type}`).join()})`,
    `alter table ${table} replica identity ${identity}`,
    `insert into ${table} values ${rows.map((id) => `(${row(id).join()})`).join()}`,
    ...rows.map(
      (id) => `update ${table}
        set ${cells.map((cell) => `${cell.name} = ${value(cell, id + 1)}`).join()} where id = ${id}`,
    ),
    `update ${table} set id = id`,
    `update ${table} set id = id + 1000`,
    `update ${table} set code = code || '!'`,
    `insert into ${table} (id, code) values (1, 'all null')`,
    `delete from ${table} where id <> 1002`,
    `truncate ${table}`,
  ];
}
