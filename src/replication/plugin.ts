/** The output plugins that a slot can have, and what reads what they write. */
import { dataHeaderBytes } from './copy-data.js';
import { createScratch, decode, type Message } from './pgoutput.js';

export const outputPlugins = ['pgoutput', 'wal2json'] as const;
export type OutputPlugin = (typeof outputPlugins)[number];

export const isOutputPlugin = (name: string | null): name is OutputPlugin =>
  (outputPlugins as readonly (string | null)[]).includes(name);

/** Options of an output plugin by name, as START_REPLICATION takes them. */
export type PluginOptions = Readonly<Record<string, string>>;

/** Takes a message; a promise where the next one has to wait for it. */
export type Take = (message: Message) => Promise<void> | undefined;

export interface Decoder {
  /**
   * Hands over what the XLogData from `start` to `end` says. Its bytes may be changed; what is handed
   * over refers to them, and holds until `take` is done with it.
   */
  decode(bytes: Buffer, start: number, end: number, take: Take): ReturnType<Take>;
  /** The connection has broken; what comes next comes from another one. */
  interrupted(): void;
}

export function pgoutputDecoder(): Decoder {
  const scratch = createScratch();
  return {
    decode: (bytes, start, end, take) => take(decode(bytes, start + dataHeaderBytes, end, scratch)),
    interrupted: () => undefined,
  };
}
