/**
 * What the five letters of a SQLSTATE stand for.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */

/** What a statement can fail with because of the rows that it reads or writes, or who runs it. */
const conditions = `
  08000 connection exception
  08001 sqlclient unable to establish sqlconnection
  08003 connection does not exist
  08004 sqlserver rejected establishment of sqlconnection
  08006 connection failure
  08P01 protocol violation
  21000 cardinality violation
  22001 string data right truncation
  22003 numeric value out of range
  22004 null value not allowed
  22007 invalid datetime format
  22008 datetime field overflow
  22009 invalid time zone displacement value
  2200B escape character conflict
  2200C invalid use of escape character
  2200D invalid escape octet
  2200F zero length character string
  2200M invalid xml document
  2200N invalid xml content
  22011 substring error
  22012 division by zero
  22013 invalid preceding or following size
  22014 invalid argument for ntile function
  22015 interval field overflow
  22016 invalid argument for nth value function
  22018 invalid character value for cast
  22019 invalid escape character
  2201B invalid regular expression
  2201E invalid argument for logarithm
  2201F invalid argument for power function
  2201G invalid argument for width bucket function
  2201W invalid row count in limit clause
  2201X invalid row count in result offset clause
  22021 character not in repertoire
  22023 invalid parameter value
  22024 unterminated c string
  22025 invalid escape sequence
  22026 string data length mismatch
  2202E array subscript error
  22030 duplicate json object key value
  22031 invalid argument for sql json datetime function
  22032 invalid json text
  22033 invalid sql json subscript
  22034 more than one sql json item
  22035 no sql json item
  22036 non numeric sql json item
  22037 non unique keys in a json object
  22038 singleton sql json item required
  22039 sql json array not found
  2203A sql json member not found
  2203B sql json number not found
  2203C sql json object not found
  2203D too many json array elements
  2203E too many json object members
  2203F sql json scalar required
  22P01 floating point exception
  22P02 invalid text representation
  22P03 invalid binary representation
  22P04 bad copy file format
  22P05 untranslatable character
  23502 not null violation
  23503 foreign key violation
  23505 unique violation
  23514 check violation
  23P01 exclusion violation
  25006 read only sql transaction
  2F005 function executed no return statement
  3F000 invalid schema name
  40001 serialization failure
  40P01 deadlock detected
  42501 insufficient privilege
  42601 syntax error
  42702 ambiguous column
  42703 undefined column
  42704 undefined object
  42725 ambiguous function
  42804 datatype mismatch
  42809 wrong object type
  42846 cannot coerce
  42883 undefined function
  42P01 undefined table
  42P02 undefined parameter
  42P22 indeterminate collation
  44000 with check option violation
  53100 disk full
  53200 out of memory
  53300 too many connections
  54000 program limit exceeded
  54001 statement too complex
  54023 too many arguments
  55000 object not in prerequisite state
  55006 object in use
  55P03 lock not available
  57014 query canceled
  57P01 admin shutdown
  57P02 crash shutdown
  57P03 cannot connect now
  58030 io error
  58P01 undefined file
  P0001 raise exception
  P0002 no data found
  P0003 too many rows
  P0004 assert failure
  XX000 internal error
  XX001 data corrupted
  XX002 index corrupted
`;

/** The classes, by their first two letters. */
const classes = `
  08 connection exception
  0A feature not supported
  21 cardinality violation
  22 data exception
  23 integrity constraint violation
  25 invalid transaction state
  28 invalid authorization specification
  2F sql routine exception
  38 external routine exception
  39 external routine invocation exception
  40 transaction rollback
  42 syntax error or access rule violation
  53 insufficient resources
  54 program limit exceeded
  55 object not in prerequisite state
  57 operator intervention
  58 system error
  F0 configuration file error
  HV error of a foreign data wrapper
  P0 error of PL/pgSQL
  XX internal error
`;

const names = new Map(
  [...conditions.matchAll(/^ +(\w+) (.+)$/gm), ...classes.matchAll(/^ +(\w+) (.+)$/gm)].map(
    ([, code, name]) => [code!, name!] as const,
  ),
);

/** The condition in words, or its class, with the SQLSTATE behind: `division by zero (22012)`. */
export const conditionOf = (code: string): string =>
  `${names.get(code) ?? names.get(code.slice(0, 2)) ?? 'error'} (${code})`;

/** The SQLSTATEs that `conditionOf` has words of their own for. */
export const knownConditions: readonly string[] = [...names.keys()].filter(
  ({ length }) => length === 5,
);
