import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonWriter } from '../../src/event/json-writer.js';
import { joinDocuments, sliceOf } from '../../src/event/slice.js';

/** Texts as documents of one writer, which lie side by side as far as its blocks go. */
function written(texts: readonly string[]) {
  const writer = new JsonWriter();
  return texts.map((text) => {
    const bytes = Buffer.from(text);
    writer.string(bytes, 0, bytes.length);
    return writer.take();
  });
}

const lengths = fc.oneof(fc.nat(50), fc.nat(20_000), fc.constantFrom(32_765, 32_766, 32_767));

test('documents come out as they went in, whatever lies beside them', () => {
  fc.assert(
    fc.property(fc.array(lengths, { maxLength: 30 }), (all) => {
      const texts = all.map((length, i) => String.fromCharCode(97 + (i % 26)).repeat(length));
      const documents = written(texts);
      for (const [i, text] of texts.entries()) {
        expect(documents[i]!.toBuffer().toString()).toBe(JSON.stringify(text));
      }
    }),
    { numRuns: 50 },
  );
});

test('an array has its documents in order, some of them missing, repeated or from elsewhere', () => {
  const picks = fc.array(fc.tuple(fc.nat(19), fc.boolean()), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.array(lengths, { minLength: 20, maxLength: 20 }), picks, (all, chosen) => {
      const texts = all.map((length, i) => `${i}${'x'.repeat(length)}`);
      const documents = written(texts);
      const parts = chosen.map(([i, isElsewhere]) =>
        isElsewhere ? sliceOf(Buffer.from(JSON.stringify(texts[i]))) : documents[i]!,
      );
      const expected = JSON.stringify(chosen.map(([i]) => texts[i]));
      expect(joinDocuments(parts).toString()).toBe(expected);
    }),
    { numRuns: 50 },
  );
});
