/** What `pgstream.schema_log.schema` holds: see docs/schema-log.md for what each key means. */

export interface ColumnDocument {
  /** Lasting; no later column of the table gets it. */
  readonly pgstream_id: string;
  readonly name: string;
  readonly type: string;
  readonly default: string | null;
  readonly nullable: boolean;
  readonly unique: boolean;
  readonly metadata: string | null;
  readonly generated?: string;
  readonly identity?: string;
  readonly missing?: unknown;
}

export interface IndexDocument {
  readonly name: string;
  readonly columns: readonly string[];
  readonly unique: boolean;
  readonly definition: string;
}

export interface ConstraintDocument {
  readonly name: string;
  /** Left out by foreign keys, which have a list of their own. */
  readonly type?: string;
  readonly definition: string;
}

export interface TableDocument {
  readonly oid: string;
  readonly name: string;
  /** Lasting, also through renames. */
  readonly pgstream_id: string;
  readonly columns: readonly ColumnDocument[];
  readonly primary_key_columns: readonly string[];
  readonly indexes?: readonly IndexDocument[];
  readonly constraints?: readonly ConstraintDocument[];
  readonly foreign_keys?: readonly ConstraintDocument[];
  readonly inherits?: readonly string[];
  readonly partition_key?: string;
  readonly partition_bound?: string;
  readonly comment?: string;
}

export interface SequenceDocument {
  readonly oid: string;
  readonly name: string;
  readonly data_type: string;
  readonly start_value: string;
  readonly minimum_value: string;
  readonly maximum_value: string;
  readonly increment: string;
  readonly cycle_option: string;
}

export interface EnumDocument {
  readonly oid: string;
  readonly name: string;
  readonly values: readonly string[];
}

export interface ViewDocument {
  readonly oid: string;
  readonly name: string;
  readonly definition: string;
  readonly indexes: readonly IndexDocument[];
}

interface Lists {
  readonly tables: readonly TableDocument[] | null;
  readonly sequences?: readonly SequenceDocument[];
  readonly enum_types?: readonly EnumDocument[];
  readonly materialized_views?: readonly ViewDocument[];
}

type Gone = readonly { readonly oid: string; readonly pgstream_id?: string }[];

/** A whole version of a schema. */
export interface SchemaDocument extends Lists {
  /** The schema is gone. */
  readonly dropped?: boolean;
}

/** A version as it is logged: where it is partial, what has changed since the one before. */
export interface LoggedDocument extends SchemaDocument {
  readonly partial?: boolean;
  readonly dropped_tables?: Gone;
  readonly dropped_sequences?: Gone;
  readonly dropped_enum_types?: Gone;
  readonly dropped_materialized_views?: Gone;
}

/** Before its first version nothing is known of a schema. */
export const nothing: SchemaDocument = { tables: null };

/** The whole of a version, out of the whole of the one before and what is logged. */
export function wholeOf(before: SchemaDocument, logged: LoggedDocument): SchemaDocument {
  if (!logged.partial) return logged;
  return {
    tables: merge(before.tables, logged.tables, logged.dropped_tables),
    sequences: merge(before.sequences, logged.sequences, logged.dropped_sequences),
    enum_types: merge(before.enum_types, logged.enum_types, logged.dropped_enum_types),
    materialized_views: merge(
      before.materialized_views,
      logged.materialized_views,
      logged.dropped_materialized_views,
    ),
  };
}

function merge<T extends Gone[number]>(
  before: readonly T[] | null | undefined,
  changed: readonly T[] | null | undefined,
  gone: Gone | undefined,
): T[] {
  const documents = new Map(before?.map((document) => [keyOf(document), document]));
  for (const document of gone ?? []) documents.delete(keyOf(document));
  for (const document of changed ?? []) documents.set(keyOf(document), document);
  return [...documents.values()];
}

/** Tables are told apart by their lasting id, all else by oid. */
export const keyOf = (document: Gone[number]): string => document.pgstream_id ?? document.oid;
