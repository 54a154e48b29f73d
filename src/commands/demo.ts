import type { Command } from 'commander';
import { demo } from '../demo/demo.js';
import { print, say } from './output.js';
import { stopSignal } from './stop-signal.js';

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('show events arriving, on a throw-away Postgres')
    .option('--once', 'end when they have arrived')
    .action(({ once = false }: { once?: boolean }) =>
      demo({
        signal: stopSignal(() => undefined),
        once,
        say,
        show: (event) => print(event),
      }),
    );
}
