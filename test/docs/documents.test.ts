import { it } from 'vitest';
import { execute } from '../helpers/documentation.js';

it('the README does what it shows, step by step', () => execute('README.md', '## Try it'));

it('what is said of foreign databases is what they do', () => execute('docs/foreign.md'));

it('the tutorial does what it shows, step by step', () => execute('docs/tutorial.md'));
