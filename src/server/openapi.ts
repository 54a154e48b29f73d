/** The description of the HTTP server for tools: https://spec.openapis.org/oas/v3.1.0 */
import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { version } from '../version.js';
import type { Route } from './server.js';

const json = (schema: object) => ({ 'application/json': { schema } });

const error = {
  type: 'object',
  required: ['message'],
  properties: {
    message: { type: 'string', description: 'What is wrong.' },
    hint: { type: 'string', description: 'What to do about it.' },
  },
};

const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } };

/** An OpenAPI document of these routes. */
export function describeApi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    (paths[route.path] ??= {})[route.method.toLowerCase()] = describeRoute(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'pgstream', version },
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    paths,
  };
}

function describeRoute({ path, open, summary, takes, answers }: Route): object {
  const usual = {
    ...(!open && { 401: STATUS_CODES[401]! }),
    403: 'Without a token: a web page asks that is not of this machine.',
    ...(takes && { 413: STATUS_CODES[413]! }),
    421: 'Without a token: the server is called by a name that is not of this machine.',
  };
  const responses = Object.entries({ ...answers, ...usual }).map(([status, description]) => {
    const isError = Number(status) >= 400 && !(path === '/ready' && status === '503');
    return [status, { description, ...(isError && { content: json(error) }) }] as const;
  });
  return {
    summary,
    ...(open && { security: [] }),
    ...(path.includes('{id}') && { parameters: [id] }),
    ...(takes && {
      requestBody: { required: true, content: json(z.toJSONSchema(takes, { io: 'input' })) },
    }),
    responses: Object.fromEntries(responses),
  };
}
