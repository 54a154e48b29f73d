import { named, type NamedCase } from './case.js';
import { alterations } from './cases/alterations.js';
import { data } from './cases/data.js';
import { indexes } from './cases/indexes.js';
import { neighbours } from './cases/neighbours.js';
import { objects } from './cases/objects.js';
import { partitions } from './cases/partitions.js';
import { programs } from './cases/programs.js';
import { rights } from './cases/rights.js';
import { settings } from './cases/settings.js';
import { tables } from './cases/tables.js';
import { transactions } from './cases/transactions.js';

/** Every case, in the order in which a reader meets them. */
export const battery: readonly NamedCase[] = [
  tables,
  alterations,
  data,
  indexes,
  partitions,
  objects,
  programs,
  transactions,
  rights,
  settings,
  neighbours,
].flatMap(named);
