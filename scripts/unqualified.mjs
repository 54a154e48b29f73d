// The functions and operators that a statement leaves to the search_path. Whoever may create in a
// schema of the path could put a better match there.
import { parseSync } from 'libpg-query';

/** Their names, as they stand in the statement. The parser has to be loaded: `loadModule()`. */
export const unqualified = (statement) => (parseSync(statement).stmts ?? []).flatMap(namesIn);

function namesIn(node) {
  if (Array.isArray(node)) return node.flatMap(namesIn);
  if (node === null || typeof node !== 'object') return [];
  return Object.entries(node).flatMap(([kind, value]) => [
    ...namesOf(kind, value),
    ...namesIn(value),
  ]);
}

function namesOf(kind, value) {
  switch (kind) {
    case 'FuncCall':
      return bare(value.funcname);
    case 'A_Expr':
      return bare(value.name);
    case 'SortBy':
      return bare(value.useOp ?? []);
    // These look for an operator `=`, whether it is written or not.
    case 'SubLink':
      return value.testexpr ? bare(value.operName ?? [{ String: { sval: '= any' } }]) : [];
    case 'CaseExpr':
      return value.arg ? ['case … when'] : [];
    default:
      return [];
  }
}

const bare = (parts) => (parts.length === 1 ? [parts[0].String.sval] : []);
