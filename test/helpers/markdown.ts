export interface Block {
  language: string;
  code: string;
}

/** The fenced blocks of a Markdown text, in order. */
export const blocksOf = (markdown: string): Block[] =>
  [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, code]) => ({
    language: language!,
    code: code!,
  }));

/** A block that is executed, with the blocks that show what comes of it. */
export interface Step extends Block {
  texts: string[];
  events: string[];
}

export function stepsOf(markdown: string): Step[] {
  const steps: Step[] = [];
  for (const block of blocksOf(markdown)) {
    if (block.language === 'text') steps.at(-1)!.texts.push(block.code);
    else if (block.language === 'json') steps.at(-1)!.events.push(block.code);
    else steps.push({ ...block, texts: [], events: [] });
  }
  return steps;
}

/** Output of a program with what differs from run to run and from terminal to terminal made equal. */
export const normalText = (text: string): string =>
  text
    .replace(/^psql:<stdin>:\d+: /gm, '')
    .replace(/^CONTEXT:(.*\n?)(^(SQL statement|PL\/pgSQL function).*\n?)*/gm, '')
    .replace(/-+/g, '-')
    .replace(/[ \t]+/g, ' ')
    .replace(/ $/gm, '')
    .trim();

/** JSON without white space, and with ids, positions and times made equal. */
export const normalEvent = (json: string): string =>
  json
    .replace(/"(?:[^"\\]|\\.)*"|\s+/g, (token) => (token.startsWith('"') ? token : ''))
    .replace(/\b[a-v0-9]{20}\b/g, '<id>')
    .replace(/"[0-9A-F]+\/[0-9A-F]+"/g, '"<lsn>"')
    .replace(/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+00|Z)?/g, '<time>')
    .replace(/\\"oid\\": \\"\d+\\"/g, '\\"oid\\": \\"<oid>\\"');
