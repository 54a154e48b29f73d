#!/usr/bin/env node
// A webhook endpoint for trying things out: prints every event that it is sent, and accepts it.
// The port is 9910, or the first argument; 0 is any free one.
import http from 'node:http';
import { text } from 'node:stream/consumers';

const port = Number(process.argv[2] ?? 9910);

const server = http.createServer(async (request, response) => {
  const body = await text(request);
  response.end();
  process.stdout.write(`${indent(body)}\n`);
});
server.listen(port, '127.0.0.1', () => {
  process.stderr.write(`listening on :${server.address().port}...\n`);
});

/** JSON with line breaks; unlike JSON.parse it keeps every digit of a number. */
function indent(json) {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  return json.replace(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{[]|[}\]]|,|:/g, (token) => {
    if (token === '{' || token === '[') return token + (depth++, line());
    if (token === '}' || token === ']') return (depth--, line()) + token;
    if (token === ',') return `,${line()}`;
    return token === ':' ? ': ' : token;
  });
}
