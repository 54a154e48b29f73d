import { toRfc3339 } from '../event/commit.js';
import { eventType, type Format } from '../event/format.js';
import { isAlone, type Batch } from './batch.js';
import type { Delivery } from './delivery.js';

/** The headers of a subscription's requests that do not depend on the attempt. */
export class RequestHeaders {
  readonly #own: Readonly<Record<string, string>>;
  readonly #source: string;
  #format: Format | undefined;
  #isArray = false;
  #list: readonly string[] = [];

  /** `own` are those of the subscription; `source` is that of CloudEvents. */
  constructor(own: Readonly<Record<string, string>>, source: string) {
    this.#own = own;
    this.#source = source;
  }

  /** Names and values in turn. */
  of(batch: Pick<Batch, 'members' | 'isArray'>): readonly string[] {
    const { format } = batch.members[0]!;
    if (format === this.#format && batch.isArray === this.#isArray) return this.#list;
    const list = Object.entries({ ...this.#own, ...formatHeaders(batch, this.#source) }).flat();
    if (isAlone(batch.members[0])) return list;
    this.#format = format;
    this.#isArray = batch.isArray;
    this.#list = list;
    return list;
  }
}

const json = { 'content-type': 'application/json' };

/** `source` is that of CloudEvents. Made of what a stored delivery tells, so that they last. */
function formatHeaders(
  { members, isArray }: Pick<Batch, 'members' | 'isArray'>,
  source: string,
): Readonly<Record<string, string>> {
  const first = members[0]!;
  switch (first.format) {
    case 'cloudevents':
      return { 'content-type': `application/cloudevents${isArray ? '-batch' : ''}+json` };
    case 'cloudevents_binary':
      return { ...json, ...cloudEventHeaders(first, source) };
    default:
      return json;
  }
}

/** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md */
function cloudEventHeaders({ id, event }: Delivery, source: string): Record<string, string> {
  const { schema, table, committedAt } = event;
  return {
    'ce-specversion': '1.0',
    'ce-id': id,
    'ce-source': source,
    'ce-type': headerValue(eventType(event)),
    ...(schema !== '' && { 'ce-subject': headerValue(`${schema}.${table}`) }),
    'ce-time': toRfc3339(committedAt),
  };
}

/** What is not printable ASCII, and space, quote and percent, is percent-encoded UTF-8. */
const headerValue = (text: string): string =>
  text.replace(/[^!#$&-~]/gu, (character) =>
    Buffer.from(character)
      .toString('hex')
      .replace(/../g, (byte) => `%${byte.toUpperCase()}`),
  );
