import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { PgstreamError } from '../errors.js';

const attempts = 10;

type Launch = (port: number) => Promise<void>;

/**
 * Launches a server on a free port and returns it. A port that is free now can be taken a moment
 * later, so a launch that finds it so is repeated with another one.
 */
export async function onFreePort(launch: Launch): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      await launch(port);
      return port;
    } catch (error) {
      if (attempt === attempts || !isAddressInUse(error)) throw error;
    }
  }
}

/**
 * Launches a server on the port that it had before, with patience: while the server was away, an
 * outgoing connection may have got the port for a moment.
 */
export async function onSamePort(port: number, launch: Launch): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(port);
    } catch (error) {
      if (attempt === attempts || !isAddressInUse(error)) throw error;
      await delay(attempt * 50);
    }
  }
}

function isAddressInUse(error: unknown): boolean {
  return error instanceof PgstreamError && error.code === 'address_in_use';
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
