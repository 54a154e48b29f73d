// Stands in for receiver.c, and does the same, where there is no C compiler.
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const settings = { delay: 0, status: 503, record: 0 };
let counters = fresh();
let latencies = [];
let waiting = () => undefined;

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://receiver');
  if (request.method !== 'POST') {
    response.end(JSON.stringify(await control(pathname, Object.fromEntries(searchParams))));
    return;
  }
  const isUp = pathname.startsWith('/up');
  const chunks = [];
  for await (const chunk of request) if (settings.record) chunks.push(chunk);
  const status = isUp ? 204 : settings.status;
  counters.requests++;
  if (status !== 204) {
    counters.refused++;
    if (status !== 0) response.writeHead(status).end();
    return;
  }
  if (isUp && settings.record) note(Buffer.concat(chunks).toString());
  counters.last = Number(process.hrtime.bigint()) / 1e6;
  counters.first ||= counters.last;
  counters.events += request.headers['pgstream-event-ids']?.split(' ').length ?? 1;
  waiting();
  if (settings.delay > 0) await sleep(settings.delay);
  response.writeHead(204).end();
});

async function control(pathname, query) {
  if (pathname === '/samples') return latencies;
  if (pathname === '/set') {
    Object.assign(settings, { record: 0 });
    for (const [name, value] of Object.entries(query)) settings[name] = Number(value);
    counters = fresh();
    latencies = [];
  }
  while (counters.events < Number(query.events ?? 0)) {
    await new Promise((resolve) => (waiting = resolve));
  }
  return counters;
}

function note(body) {
  const sent = /"sent".*?"value":(\d+)/.exec(body)?.[1];
  const microseconds = (performance.timeOrigin + performance.now()) * 1000;
  if (sent) latencies.push(Math.round(microseconds - Number(sent)));
}

function fresh() {
  return { requests: 0, events: 0, refused: 0, first: 0, last: 0 };
}

server.listen(0, '127.0.0.1');
await once(server, 'listening');
console.log(server.address().port);
process.stdin.resume().once('end', () => process.exit());
