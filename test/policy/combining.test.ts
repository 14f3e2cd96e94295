/** docs/combining-policies.md and the worlds that prove it name each other. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TIERS } from '../../src/policy/tiers.ts';

const root = join(import.meta.dirname, '..', '..');
const words = readFileSync(join(root, 'docs', 'combining-policies.md'), 'utf8');
const named = [...words.matchAll(/`([a-z0-9-]+\/[a-z0-9-]+)`/g)].map(([, name = '']) => name);
const worlds = named.filter((name) => !name.startsWith('test/') && !name.startsWith('src/'));

test('every world that the document names is there', () => {
  assert.ok(worlds.length > 10);
  for (const name of worlds) assert.ok(existsSync(join(import.meta.dirname, `${name}.yaml`)), name);
});

test('every world about combining is named in the document', () => {
  const files = readdirSync(join(import.meta.dirname, 'combining')).map((file) => file.replace('.yaml', ''));
  assert.deepEqual(
    files.filter((file) => !worlds.includes(`combining/${file}`)),
    [],
  );
});

test('the document’s steps are the engine’s tiers, in its order', () => {
  const steps = [...words.matchAll(/^\| \d \| (.+?) \|/gm)].map(([, step = '']) => step);
  assert.deepEqual(
    steps.map((step) => step.split(':')[0]),
    ['no policy', 'tier Admin', 'NetworkPolicy', 'tier Baseline', 'nothing'],
  );
  assert.ok(TIERS.admin < TIERS.default && TIERS.default < TIERS.baseline);
});

test('the mesh’s steps are in the order in which it is asked', () => {
  const steps = [...words.matchAll(/^\| [a-f] \| (.+?) \|/gm)].map(([, step = '']) => step);
  assert.deepEqual(steps, ['no policy', 'PeerAuthentication', 'CUSTOM', 'DENY', 'ALLOW', 'nothing']);
});
