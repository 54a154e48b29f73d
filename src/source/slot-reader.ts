/** How a slot is read, by the output plugin that it was made with. */
import type { Decoder, OutputPlugin, PluginOptions } from '../replication/plugin.js';
import { pgoutputDecoder } from '../replication/plugin.js';
import { publications } from '../install/publications.js';
import type { FinderOptions } from './streamed-tables.js';
import { Wal2jsonReader } from './wal2json-reader.js';

export interface SlotReader extends Decoder {
  /** What the server is to be asked for by the next connection. */
  options(): Promise<PluginOptions>;
  /**
   * Subscriptions want more, from here on, than the server was asked for: what it sends after this is
   * to be discarded, and the stream to begin again.
   */
  readonly isOutgrown: boolean;
}

export function openReader(plugin: OutputPlugin, options: FinderOptions): SlotReader {
  switch (plugin) {
    case 'pgoutput':
      return {
        ...pgoutputDecoder(),
        isOutgrown: false,
        options: async () => ({
          proto_version: '1',
          publication_names: publications.map((name) => `"${name}"`).join(','),
        }),
      };
    case 'wal2json':
      return new Wal2jsonReader(options);
  }
}
