/**
 * Preloaded into a runner: marks its requests with the number of its run and of its tenure in that
 * run, and kills it at one point of its work, which SOAK_POINT describes as `CrashPoint` of
 * crash-points.ts does.
 */
import { subscribe } from 'node:diagnostics_channel';

const { SOAK_RUN: run = '0', SOAK_POINT: point } = process.env;

const { Tenure } = await import(new URL('../../dist/tenure.js', import.meta.url));
const { work } = Tenure.prototype;
let tenure = 0;
Tenure.prototype.work = function () {
  tenure++;
  return work.call(this);
};

subscribe('undici:request:create', ({ request }) => {
  request.addHeader('x-soak-run', run);
  request.addHeader('x-soak-tenure', String(tenure));
});

if (point) {
  const { place, nth } = JSON.parse(point);
  let left = nth;
  /** True when this is the call that counts. */
  const isDue = () => --left === 0;
  if (place.channel) subscribe(place.channel, () => isDue() && die());
  if (place.method) await wrap(place, isDue);
}

async function wrap({ module, type, method, when }, isDue) {
  const { [type]: target } = await import(new URL(`../../dist/${module}`, import.meta.url));
  const original = target.prototype[method];
  if (!original) throw new Error(`there is no ${type}.prototype.${method}`);
  target.prototype[method] = function (...args) {
    const due = isDue();
    if (due && when === 'before') die();
    const result = original.apply(this, args);
    if (!due) return result;
    if (typeof result?.then !== 'function') die();
    return result.then((value) => {
      die();
      return value;
    });
  };
}

function die() {
  process.kill(process.pid, 'SIGKILL');
}
