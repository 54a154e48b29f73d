import type { Sql } from 'postgres';

/**
 * Does the work now, after each notification, and after each return of the connection, when
 * notifications may have been missed; never twice at once. `fail` is told of its errors.
 */
export async function onNotification(
  sql: Sql,
  channel: string,
  work: () => Promise<void>,
  fail: (error: unknown) => void,
): Promise<void> {
  let working = false;
  let wanted = false;
  const run = async () => {
    wanted = true;
    if (working) return;
    working = true;
    while (wanted) {
      wanted = false;
      await work();
    }
    working = false;
  };
  const start = () => void run().catch(fail);
  await sql.listen(channel, start, start);
}
