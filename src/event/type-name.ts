/** The name of a type, or of its array type, as `format_type` prints it. */
export function typeName(schema: string, name: string): string {
  const isArray = name.startsWith('_');
  const parts = ['public', 'pg_catalog'].includes(schema) ? [name] : [schema, name];
  if (isArray) parts.push(parts.pop()!.slice(1));
  const quoted = parts.map((part) => (/^[a-z_][a-z0-9_$]*$/.test(part) ? part : `"${part}"`));
  return quoted.join('.') + (isArray ? '[]' : '');
}
