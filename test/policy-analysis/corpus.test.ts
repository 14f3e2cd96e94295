/**
 * Worlds with their answers, one idea each: `world.yaml` says what it shows, `expect.yaml` what must come out, written
 * from the Kubernetes API reference.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { CaseResult } from '../../src/cli/policy/cases.ts';
import { runCase } from '../../src/cli/policy/cases.ts';
import { partsOf } from '../../src/cli/policy/question-file.ts';
import { loadEstate } from '../../src/cli/policy/read-estate.ts';
import { connectivity, isWorkload, type Party, partyText } from '../../src/policy/analyse/connectivity.ts';
import { portSetText } from '../../src/policy/analyse/port-set.ts';

interface Expected {
  /** Only connections of these workloads. */
  readonly only?: readonly string[];
  /** Only connections to them. */
  readonly into?: boolean;
  readonly connectivity: readonly string[];
  readonly cases?: readonly unknown[];
}

const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

const load = (folder: string) =>
  loadEstate(
    {
      files: [join(import.meta.dirname, folder, 'world.yaml')],
      live: false,
      dataDir: '/nonexistent',
      namespace: 'default',
    },
    { stdin: new PassThrough(), stderr: new PassThrough() },
  );

for (const folder of folders)
  test(`world ${folder}`, async () => {
    const file = join(import.meta.dirname, folder, 'expect.yaml');
    const text = readFileSync(file, 'utf8');
    const { only, into = false, connectivity: lines } = parse(text) as Expected;
    const loaded = await load(folder);
    const isWanted = (party: Party) =>
      !only || (isWorkload(party) && only.includes(`${party.namespace}/${party.name}`));
    const told = [...connectivity(loaded.estate)]
      .filter(({ src, dst }) => isWanted(dst) || (!into && isWanted(src)))
      .map(({ src, dst, set }) => `${partyText(src)} -> ${partyText(dst)}: ${portSetText(set)}`);
    assert.deepEqual(told.toSorted(), [...lines].toSorted());
    const cases = partsOf(file, text)[0]?.get('cases')?.items() ?? [];
    const failed: CaseResult[] = cases
      .map((part) => runCase(part, loaded, 'default'))
      .filter(({ passed }) => !passed);
    assert.deepEqual(failed, []);
  });

test('the corpus is there', () => assert.ok(folders.length >= 12));
