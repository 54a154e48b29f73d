import { it } from 'vitest';
import { execute } from '../helpers/documentation.js';

it('the README does what it shows, step by step', () => execute('README.md', '## Try it'));

it('the page on filters does what it shows, step by step', () => execute('docs/filters.md'));

it('the page on previews does what it shows, step by step', () => execute('docs/preview.md'));

it('the page on snapshots does what it shows, step by step', () => execute('docs/snapshots.md'));

it('what is said of foreign databases is what they do', () => execute('docs/foreign.md'));

it('the tutorial does what it shows, step by step', () => execute('docs/tutorial.md'));

it('the page on security does what it shows, step by step', () => execute('docs/security.md'));
