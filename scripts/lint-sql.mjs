// Checks every file of sql/ and migrations/ with the parser of Postgres and against our own rules.
// Prints `file:line: message` for each finding and exits 1 when there is one.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query';

const maxColumns = 100;
const searchPath = ['pg_catalog', 'pg_temp'];

process.chdir(path.join(import.meta.dirname, '..'));
await loadModule();
const findings = ['migrations', 'sql'].flatMap(sqlFiles).flatMap(lintFile);
for (const { file, line, message } of findings) console.log(`${file}:${line}: ${message}`);
process.exitCode = findings.length > 0 ? 1 : 0;

function sqlFiles(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .filter((file) => file.endsWith('.sql'))
    .sort((one, other) => one.localeCompare(other))
    .map((file) => path.join(directory, file));
}

function lintFile(file) {
  const text = readFileSync(file, 'utf8');
  const found = [...lintLines(text), ...lintStatements(withoutPsql(text))];
  return found.map((finding) => ({ file, ...finding }));
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
    return [...lintSearchPath(stmt), ...lintPlpgsql(stmt, text)].map((message) => ({
      line,
      message,
    }));
  });
}

/** A procedure is free of the rule: one with a setting of its own could not commit. */
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
