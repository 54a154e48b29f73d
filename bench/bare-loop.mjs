// The least that sending takes: posts the same bytes again and again over so many connections of
// undici, the next request on each as soon as the last was answered. Told what, and then how often, by
// its parent, whom it answers.
import { once } from 'node:events';
import { Client } from 'undici';

const [{ origin, headers, body, connections }] = await once(process, 'message');
const options = { path: '/up', method: 'POST', headers, body: Buffer.from(body, 'base64') };
const clients = Array.from(
  { length: connections },
  () => new Client(origin, { headersTimeout: 0, bodyTimeout: 0 }),
);

process.on('message', (requests) => {
  let begun = 0;
  let answered = 0;
  for (const client of clients) {
    const next = () => {
      if (begun++ < requests) client.dispatch(options, handler);
    };
    const handler = {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData() {},
      onResponseEnd() {
        if (++answered === requests) process.send('answered');
        next();
      },
      onResponseError(_controller, error) {
        throw error;
      },
    };
    next();
  }
});
process.send('ready');
