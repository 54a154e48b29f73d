// Checks every file of sql/ and migrations/ with the parser of Postgres and against our own rules, and
// that no SQL of ours, that in src/ included, resolves names anywhere but in pg_catalog.
// Prints `file:line: message` for each finding and exits 1 when there is one.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query';
import { unqualified } from './unqualified.mjs';

const maxColumns = 100;
const searchPath = ['pg_catalog', 'pg_temp'];
/** Who may set another search_path, to what, since their statements name everything with its schema. */
const otherPaths = {
  // for the values of a row, printed as the runner sees them; and for statements of the caller
  'sql/preview_changes.sql': ["'public'", 'path'],
  // for expressions of users
  'sql/preview.sql': ["program ->> 'path'"],
  'sql/expression_analysis.sql': ['path'],
  'src/evaluation/evaluator.ts': ['${path}'],
  // for the rows of a snapshot
  'src/snapshot/reader.ts': ['${printingPath}'],
};
/** Where `public` in the path is defined, and who may use it. */
const printing = ['src/settings/connection.ts', 'src/snapshot/reader.ts'];
/** Stands for the user, who sets what he likes. */
const notOurs = 'src/demo/demo.ts';

process.chdir(path.join(import.meta.dirname, '..'));
await loadModule();
const findings = [
  ...['migrations', 'sql'].flatMap((directory) => filesOf(directory, '.sql')).flatMap(lintFile),
  ...filesOf('src', '.ts').flatMap(lintProgram),
];
for (const { file, line, message } of findings) console.log(`${file}:${line}: ${message}`);
process.exitCode = findings.length > 0 ? 1 : 0;

function filesOf(directory, ending) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .filter((file) => file.endsWith(ending))
    .sort((one, other) => one.localeCompare(other))
    .map((file) => path.join(directory, file));
}

function lintFile(file) {
  const text = readFileSync(file, 'utf8');
  const found = [
    ...lintLines(text),
    ...lintPaths(file, text),
    ...lintStatements(withoutPsql(text)),
  ];
  return found.map((finding) => ({ file, ...finding }));
}

function lintProgram(file) {
  const text = readFileSync(file, 'utf8');
  return [...lintPaths(file, text), ...lintSessions(file, text)].map((finding) => ({
    file,
    ...finding,
  }));
}

/** What a search_path is set to, by `set` in any form, by set_config() or for a session. */
function lintPaths(file, text) {
  const settings = [
    /\bset (?:local |session )?search_path (?:=|to) ([^;`'\n]+)/g,
    /\bset_config\('search_path', ((?:[^()]|\([^()]*\))+?), (?:true|false)\)/g,
  ];
  const allowed = [
    searchPath.join(', '),
    `'${searchPath.join(', ')}'`,
    ...(otherPaths[file] ?? []),
  ];
  // What psql runs in a transaction of its own.
  const begin = /^begin;\n(?!(set local .*\n)*set local search_path = )/m.exec(text);
  const unset = {
    line: lineAt(text, begin?.index ?? 0),
    message: 'it begins without a search_path',
  };
  return [
    begin ? unset : [],
    settings.flatMap((pattern) =>
      [...text.matchAll(pattern)]
        .filter(([, path]) => !allowed.includes(path.trim()))
        .map(({ index, 1: path }) => ({
          line: lineAt(text, index),
          message: `a search_path of ours is ${searchPath.join(', ')}, not ${path}`,
        })),
    ),
  ].flat();
}

/** Sessions of ours are opened with the pinned settings, and no others have `public` in their path. */
function lintSessions(file, text) {
  if (file === notOurs) return [];
  const rules = [
    [
      /\bnew pg\.(Client|Pool)\(|(?:= |return |await )postgres\(/g,
      /\b(pg|postgres|walsender|stream)Options\(/,
    ],
    [/\bprintingPath\b/g, printing.includes(file) ? /./ : undefined],
    [/\bsearch_path:/g, file === 'src/settings/connection.ts' ? /./ : undefined],
  ];
  const messages = [
    'a session is opened without the options of src/settings/connection.ts',
    `only ${printing.join(' and ')} may print with public in the path`,
    'only src/settings/connection.ts sets the search_path of a session',
  ];
  return rules.flatMap(([pattern, unless], i) =>
    unless?.test(text)
      ? []
      : [...text.matchAll(pattern)].map(({ index }) => ({
          line: lineAt(text, index),
          message: messages[i],
        })),
  );
}

function lintLines(text) {
  return text.split('\n').flatMap((content, index) => {
    const messages = [];
    if ([...content].length > maxColumns) messages.push(`longer than ${maxColumns} columns`);
    if (content.includes('\t')) messages.push('a tab');
    if (/\s$/.test(content)) messages.push('space at the end of the line');
    return messages.map((message) => ({ line: index + 1, message }));
  });
}

function lintStatements(sql) {
  let statements;
  try {
    statements = parseSync(sql).stmts ?? [];
  } catch (error) {
    const line = lineAt(sql, error.sqlDetails?.cursorPosition ?? 0);
    return [{ line, message: error.message }];
  }
  const bytes = Buffer.from(sql);
  return statements.flatMap(({ stmt, stmt_location: start = 0, stmt_len: length }) => {
    const end = length === undefined ? bytes.length : start + length;
    const text = bytes.subarray(start, end).toString();
    const leading = /^(\s+|--.*\n|\/\*[\s\S]*?\*\/)*/.exec(text)[0].length;
    const line = lineAt(sql, bytes.subarray(0, start).toString().length + leading);
    return [...lintSearchPath(stmt), ...lintProcedure(stmt, text), ...lintPlpgsql(stmt, text)].map(
      (message) => ({
        line,
        message,
      }),
    );
  });
}

/** A procedure with a setting of its own could not commit: it names everything with its schema. */
function lintProcedure({ CreateFunctionStmt: statement }, text) {
  if (!statement?.is_procedure) return [];
  return expressionsOf(parsePlPgSQLSync(text))
    .flatMap(({ query, parseMode }) =>
      unqualified(parseMode === 0 ? query : `select ${query.replace(/^\s*\w+\s*:=/, '')}`),
    )
    .map((name) => `${functionName(statement)} calls ${name} without its schema`);
}

function expressionsOf(node) {
  if (node === null || typeof node !== 'object') return [];
  return Object.entries(node).flatMap(([kind, value]) =>
    kind === 'PLpgSQL_expr' ? [value] : expressionsOf(value),
  );
}

function lintSearchPath({ CreateFunctionStmt: statement }) {
  if (!statement || statement.is_procedure || statement.sql_body) return [];
  const pinned = (statement.options ?? []).some(({ DefElem: option }) => {
    const setting = option.arg?.VariableSetStmt;
    const values = setting?.args?.map((value) => value.A_Const?.sval?.sval);
    return setting?.name === 'search_path' && String(values) === String(searchPath);
  });
  if (pinned) return [];
  return [`${functionName(statement)} lacks: set search_path = ${searchPath.join(', ')}`];
}

function lintPlpgsql({ CreateFunctionStmt: statement, DoStmt: block }, text) {
  if (!block && languageOf(statement) !== 'plpgsql') return [];
  try {
    parsePlPgSQLSync(text);
    return [];
  } catch (error) {
    // The parser has no catalogue, so it cannot know the fields of a variable of a row type.
    if (/^"\w+\.\w+" is not a known variable$/.test(error.message)) return [];
    return [`in the body of ${statement ? functionName(statement) : 'do'}: ${error.message}`];
  }
}

function languageOf(statement) {
  const language = statement?.options?.find(({ DefElem: option }) => option.defname === 'language');
  return language?.DefElem.arg.String.sval;
}

function functionName(statement) {
  return statement.funcname.map((part) => part.String.sval).join('.');
}

/** Blanks out what psql itself would act on, so that positions stay as they are. */
function withoutPsql(text) {
  return text
    .replace(/^[ \t]*\\.*$/gm, (command) => ' '.repeat(command.length))
    .replace(/ \\g(set|exec|x)?\b.*$/gm, (command) => ';'.padEnd(command.length));
}

function lineAt(text, position) {
  return text.slice(0, position).split('\n').length;
}
