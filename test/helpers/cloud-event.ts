import { expect } from 'vitest';

/** Expects what the specification of CloudEvents 1.0 asks of the attributes of an event. */
export function expectCloudEvent(attributes: Record<string, unknown>): void {
  const { data: _, ...context } = attributes;
  expect(context).toMatchObject({
    specversion: '1.0',
    id: expect.stringMatching(/^[^\p{Cc}]+$/u),
    source: expect.stringMatching(/^[!#-;=?-Z_a-z~%[\]]+$/), // a URI reference
    type: expect.stringMatching(/^[^\p{Cc}]+$/u),
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/),
  });
  expect(new URL(String(context['source']), 'http://base.invalid').href).toBeTruthy();
  expect(Number.isNaN(Date.parse(String(context['time'])))).toBe(false);
  if ('subject' in context) expect(context['subject']).not.toBe('');
  if ('datacontenttype' in context) expect(context['datacontenttype']).toBe('application/json');
  for (const name of Object.keys(context)) expect(name).toMatch(/^[a-z0-9]{1,20}$/);
}
