declare module 'pgpass' {
  /** Looks up the password in the file that PGPASSFILE names, or in ~/.pgpass. */
  export default function pgpass(
    connection: { host: string; port: number; database: string; user: string },
    found: (password: string | undefined) => void,
  ): void;
}
