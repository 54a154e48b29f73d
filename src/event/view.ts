/** A table as it is shown to those who may read all of its columns, or some of them. */
import type { Relation } from '../replication/pgoutput.js';
import { TableEncoders } from './bodies.js';
import type { Change } from './encode.js';
import type { Origin } from './formats.js';
import { columnTypes } from './logged-table.js';
import { placesOf, restrictChange, restrictIds, restrictRelation } from './restrict.js';
import type { SchemaVersions, TableIds } from './schema-versions.js';

/** How events are written while one version of the schema holds. */
interface Prepared {
  readonly epoch: number;
  readonly encoders: TableEncoders;
  /** The lasting ids. */
  readonly ids: TableIds | undefined;
}

export class View {
  /** The columns that are shown; undefined for all of them. */
  readonly columns: readonly string[] | undefined;
  readonly #relation: Relation;
  readonly #types: readonly string[];
  readonly #origin: Origin;
  readonly #places: readonly number[] | undefined;
  #prepared: Prepared | undefined;

  /** `types`: the names of all columns' types, as far as the schema log does not know better. */
  constructor(
    relation: Relation,
    types: readonly string[],
    origin: Origin,
    columns?: readonly string[],
  ) {
    this.#relation = relation;
    this.#types = types;
    this.#origin = origin;
    this.#places = columns && placesOf(relation, columns);
    this.columns = this.#places?.map((i) => relation.columns[i]!.name);
  }

  show(change: Change): Change {
    return this.#places ? restrictChange(change, this.#places) : change;
  }

  prepare(versions: SchemaVersions): Prepared {
    const { epoch } = versions;
    if (this.#prepared?.epoch === epoch) return this.#prepared;
    const logged = versions.find(this.#relation.schema, this.#relation.oid);
    const all = columnTypes(this.#relation, this.#types, logged, versions.catalogTypes);
    const places = this.#places;
    const relation = places ? restrictRelation(this.#relation, places) : this.#relation;
    const types = places ? places.map((i) => all[i]!) : all;
    const ids = logged && places ? restrictIds(logged, relation) : logged;
    const encoders = new TableEncoders({ relation, types }, this.#origin);
    return (this.#prepared = { epoch, encoders, ids });
  }
}

/** The views of one table. */
export class Views {
  readonly whole: View;
  readonly #parts = new Map<string, View>();
  readonly #make: (columns?: readonly string[]) => View;

  constructor(...table: [relation: Relation, types: readonly string[], origin: Origin]) {
    this.#make = (columns) => new View(...table, columns);
    this.whole = this.#make();
  }

  /** What somebody sees who may read these columns; undefined for all. */
  of(columns: readonly string[] | undefined): View {
    if (!columns) return this.whole;
    const key = JSON.stringify(columns);
    let view = this.#parts.get(key);
    if (!view) this.#parts.set(key, (view = this.#make(columns)));
    return view;
  }
}
