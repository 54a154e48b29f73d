import { named, type NamedCase } from './case.js';
import { alterations } from './cases/alterations.js';
import { tables } from './cases/tables.js';

/** Every case, in the order in which a reader meets them. */
export const battery: readonly NamedCase[] = [tables, alterations].flatMap(named);
