// The least that sending takes: posts the same bytes again and again over so many connections of
// undici, the next request on each as soon as the last was answered. Told what by its parent.
import { once } from 'node:events';
import { Client } from 'undici';

const [{ origin, headers, body, requests, connections }] = await once(process, 'message');
const options = { path: '/up', method: 'POST', headers, body: Buffer.from(body, 'base64') };
let begun = 0;
let answered = 0;

for (let i = 0; i < connections; i++) {
  const client = new Client(origin, { headersTimeout: 0, bodyTimeout: 0 });
  const next = () => {
    if (begun++ < requests) client.dispatch(options, handler);
  };
  const handler = {
    onRequestStart() {},
    onResponseStart() {},
    onResponseData() {},
    onResponseEnd() {
      if (++answered === requests) process.exit();
      next();
    },
    onResponseError(_controller, error) {
      throw error;
    },
  };
  next();
}
