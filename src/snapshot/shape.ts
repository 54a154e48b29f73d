/** A table as the stream describes it, and the key that its rows can be read by. */
import type pg from 'pg';
import { PgstreamError } from '../errors.js';
import { typeName } from '../event/type-name.js';
import type { Relation } from '../replication/pgoutput.js';
import type { OutputPlugin } from '../replication/plugin.js';
import { readKey, type KeyColumn } from './key.js';

export interface Shape {
  /** As `pg_current_snapshot()` prints it. */
  readonly snapshot: string;
  readonly relation: Relation;
  /** What the stream would tell of the types of users. */
  readonly streamedType: (typeOid: number) => string | undefined;
  /** `pg_class.relkind` */
  readonly kind: string;
  /** What tells one row from another, in this order; empty where nothing can be used for that. */
  readonly key: readonly KeyColumn[];
}

interface Row {
  snapshot: string;
  schema: string;
  name: string;
  kind: string;
  replica_identity: string;
  /** Whether it is still a table that snapshots are taken of. */
  is_fit: boolean;
  columns: {
    name: string;
    typeOid: number;
    typmod: number;
    identity: boolean;
    base: { oid: number; schema: string; name: string } | null;
  }[];
}

/**
 * Describes the table in a transaction that has locked it. Columns and types are those of the stream:
 * of generated columns, pgoutput sends stored ones from version 18 on, and wal2json always.
 */
export async function describeShape(
  client: pg.Client,
  oid: number,
  plugin: OutputPlugin,
): Promise<Shape> {
  const { rows } = await client.query<Row>({
    name: 'pgstream_shape',
    text: shapeQuery,
    values: [oid, plugin === 'wal2json'],
  });
  const row = rows[0];
  if (!row?.is_fit) {
    throw new PgstreamError('unfit_table', 'the table cannot be read any more', {
      hint: 'It was made a partition, or unlogged. Ask for what it is part of.',
    });
  }
  const { snapshot, schema, name, kind, replica_identity: replicaIdentity, columns } = row;
  const key = await readKey(client, oid);
  const sent = new Set(columns.map((column) => column.name));
  const bases = new Map(columns.map(({ typeOid, base }) => [typeOid, base]));
  return {
    snapshot,
    kind,
    relation: {
      tag: 'relation',
      oid,
      schema,
      name,
      replicaIdentity,
      columns: columns.map(({ name: column, typeOid, typmod, identity }) => ({
        name: column,
        typeOid,
        typmod,
        identity,
      })),
    },
    streamedType: (typeOid) => {
      const base = bases.get(typeOid);
      return base ? typeName(base.schema, base.name) : undefined;
    },
    key: key.every((column) => sent.has(column.name)) ? key : [],
  };
}

const shapeQuery = `
  with recursive relation as (
    select c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relpersistence,
           c.relispartition
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = $1
  ), indexes as (
    select i.indkey::smallint[] as attnums,
           case r.relreplident
             when 'd' then i.indisprimary and i.indimmediate
             when 'i' then i.indisreplident
             else false
           end as is_identity
    from relation r
    join pg_index i on i.indrelid = r.oid
    where i.indisvalid and (i.indisprimary or i.indisreplident)
  ), columns as (
    select a.attnum, a.attname, a.atttypid, a.atttypmod,
           r.relreplident = 'f' or exists (
             select from indexes i where i.is_identity and a.attnum = any (i.attnums)) as identity
    from relation r
    join pg_attribute a on a.attrelid = r.oid
    where a.attnum > 0 and not a.attisdropped
      and (a.attgenerated = ''
        or a.attgenerated = 's'
          and ($2 or current_setting('server_version_num')::integer >= 180000))
  ), bases as (
    select c.atttypid, c.atttypid as base from columns c where c.atttypid >= 16384
    union
    select b.atttypid, t.typbasetype
    from bases b
    join pg_type t on t.oid = b.base and t.typtype = 'd'
  )
  select pg_current_snapshot()::text as snapshot, r.nspname as schema, r.relname as name,
         r.relkind as kind, r.relreplident as replica_identity,
         r.relkind in ('r', 'p') and r.relpersistence = 'p' and not r.relispartition as is_fit,
         coalesce((
           select json_agg(json_build_object(
                    'name', c.attname, 'typeOid', c.atttypid::bigint, 'typmod', c.atttypmod,
                    'identity', c.identity, 'base', (
                      select json_build_object('schema', n.nspname, 'name', t.typname)
                      from bases b
                      join pg_type t on t.oid = b.base and t.typtype <> 'd'
                      join pg_namespace n on n.oid = t.typnamespace
                      where b.atttypid = c.atttypid and n.nspname <> 'pg_catalog'))
                    order by c.attnum)
           from columns c), '[]') as columns
  from relation r`;
