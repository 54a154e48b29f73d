/** Bodies as bytes that are prepared once, with places to fill in for each event. */

/** What is filled in: something of the event, or, by its number, a column of the new row. */
export type Slot =
  | { readonly fill: 'id' | 'time' | 'milliseconds' | 'microseconds' | 'xid' | 'lsn' }
  /** The row after the change, the replica identity before it, and that only where it was logged. */
  | { readonly fill: 'new' | 'old' | 'logged' }
  /** `,"unchanged":[…]`, or nothing. */
  | { readonly fill: 'unchanged' }
  | { readonly fill: 'column'; readonly column: number };

/** `fragments[i]` stands before `slots[i]`, and the last fragment at the end. */
export interface Template {
  readonly fragments: readonly Buffer[];
  readonly slots: readonly Slot[];
}

/** Makes a template of text, of slots, and of templates within. */
export function template(
  texts: TemplateStringsArray,
  ...parts: readonly (string | Slot | Template)[]
): Template {
  const fragments: string[] = [texts[0]!];
  const slots: Slot[] = [];
  const add = (text: string) => fragments.push(fragments.pop()! + text);
  parts.forEach((part, i) => {
    if (typeof part === 'string') add(part);
    else if ('fill' in part) {
      slots.push(part);
      fragments.push('');
    } else {
      const [first, ...rest] = part.fragments.map(String);
      add(first!);
      slots.push(...part.slots);
      fragments.push(...rest);
    }
    add(texts[i + 1]!);
  });
  return { fragments: fragments.map((text) => Buffer.from(text)), slots };
}
