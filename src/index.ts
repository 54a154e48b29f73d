/** pgstream as a library: what the command line does, without a process of its own. */
export { PgstreamError, exitCode, type ExitCode } from './errors.js';
export { init, tearDown, type InitOptions } from './install/init.js';
export { createLog, type Log, type LogLevel } from './log.js';
export { run, type RunOptions } from './runner.js';
export { resolveConnection, type Connection } from './settings/connection.js';
export { loadSettings, type Settings } from './settings/settings.js';
