/**
 * Names of types. Everywhere in here they are as `format_type` prints them with nothing but pg_catalog
 * in the path: its own types bare, others qualified. Events name types of `public` bare as well.
 */
import { qualified } from '../schema/describe.js';

/** The name of a type, or of its array type. */
export function typeName(schema: string, name: string): string {
  const isArray = name.startsWith('_');
  const names = [isArray ? name.slice(1) : name];
  if (schema !== 'pg_catalog') names.unshift(schema);
  return qualified(...names) + (isArray ? '[]' : '');
}

/**
 * The name as events have it. A type of `public` that is called like one of pg_catalog, whose names are
 * given, stays qualified: bare, it would be that one.
 */
export function eventTypeName(name: string, catalogTypes: ReadonlySet<string>): string {
  const bare = /^public\.("(?:[^"]|"")+"|[^"([]+)/.exec(name)?.[1];
  if (bare === undefined) return name;
  const own = bare.startsWith('"') ? bare.slice(1, -1).replaceAll('""', '"') : bare;
  return catalogTypes.has(own) ? name : name.slice('public.'.length);
}
