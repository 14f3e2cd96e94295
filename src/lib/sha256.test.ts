import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256 } from './sha256.ts';

test('it is what OpenSSL says, of texts of every length', () => {
  const texts = [...Array.from({ length: 200 }, (_, i) => 'x'.repeat(i)), 'é🦕'.repeat(1000)];
  const check = (text: string) => assert.equal(sha256(text), createHash('sha256').update(text).digest('hex'));
  texts.forEach(check);
  fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), check));
});
