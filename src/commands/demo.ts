import type { Command } from 'commander';
import { print, say } from './output.js';
import { stopSignal } from './stop-signal.js';

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('show events arriving, on a throw-away Postgres')
    .option('--once', 'end when they have arrived')
    .action(async ({ once = false }: { once?: boolean }) => {
      const { demo } = await import('../demo/demo.js');
      await demo({
        signal: stopSignal(() => undefined),
        once,
        say,
        show: (event) => print(event),
      });
    });
}
