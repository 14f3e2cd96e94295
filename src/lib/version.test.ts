import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { VERSION } from './version.ts';

test('the build and its package have the same version', () => {
  const root = join(import.meta.dirname, '..', '..');
  for (const file of ['package.json', 'package-lock.json'])
    assert.equal(
      (JSON.parse(readFileSync(join(root, file), 'utf8')) as { version: string }).version,
      VERSION,
    );
});
