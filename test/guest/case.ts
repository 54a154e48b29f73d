/** What the battery is made of: ordinary things that people do in a database. */

/** A statement of the main session, or one that says more. */
export type Step =
  | string
  /** COPY … FROM STDIN, with what is sent. */
  | { readonly copy: string; readonly rows: string }
  /** A statement with parameters, which goes through the extended protocol. */
  | { readonly sql: string; readonly values: readonly unknown[] }
  /** In a session of this role. */
  | { readonly by: Role; readonly sql: string };

/** Roles that each cluster of the battery has: no superusers, without a right on pgstream. */
export const roles = ['guest_owner', 'guest_stranger'] as const;
type Role = (typeof roles)[number];

export interface Case {
  /** The first major version that knows what is used. */
  readonly from?: number;
  /** Extensions without which there is nothing to see. */
  readonly needs?: readonly string[];
  /** What is there before; neither shown nor compared. */
  readonly given?: string;
  /** Tables of schema app that somebody has subscribed to with such a filter, before the steps. */
  readonly filters?: Readonly<Record<string, string>>;
  /** What these subscribe to; everything where it is absent. */
  readonly events?: readonly string[];
  readonly steps: readonly Step[];
}

/**
 * By name. Each begins in an empty schema `app`, which is first on the search path, and leaves behind
 * whatever it likes, but for roles. `{port}` and `{database}` stand for those of the server.
 */
export type Cases = Readonly<Record<string, Case | readonly Step[]>>;

export type NamedCase = Case & { readonly name: string };

export function named(cases: Cases): NamedCase[] {
  return Object.entries(cases).map(([name, given]) =>
    'steps' in given ? { name, ...given } : { name, steps: given },
  );
}

export const textOf = (step: Step): string =>
  typeof step === 'string' ? step : 'copy' in step ? step.copy : step.sql;

/** By such statements a case has transactions of its own, or sessions that see what is committed. */
const ofTransactions =
  /^\s*(begin|start transaction|commit|end|rollback|abort|savepoint|release|prepare transaction)\b/i;

export const hasTransactions = ({ steps }: Case): boolean =>
  steps.some(
    (step) => (typeof step === 'object' && 'by' in step) || ofTransactions.test(textOf(step)),
  );
