/** See README.md. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { parse } from 'yaml';
import { loadEstate } from '../../src/cli/policy/read-estate.ts';
import { partyText } from '../../src/policy/analyse/connectivity.ts';
import { workloadText } from '../../src/policy/analyse/estate.ts';
import { type Opening, openerText, openings } from '../../src/policy/openings/openings.ts';

interface Expected {
  readonly openings: readonly string[];
  readonly unopened?: readonly string[];
}

const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

function openingText({ workload, port, protocol, verdict, by, entry, from, ranges, why }: Opening): string {
  const only = ranges ? `; only from ${ranges.map(partyText).join(', ')}` : '';
  const because = why === undefined ? '' : ranges ? `; else ${why}` : `; ${why}`;
  return `${workloadText(workload)} ${port}/${protocol} ${verdict}: ${openerText(by)}, ${entry}, ${from}${only}${because}`;
}

for (const folder of folders)
  test(`openings: ${folder}`, async () => {
    const at = (name: string) => join(import.meta.dirname, folder, name);
    const expected = parse(readFileSync(at('expect.yaml'), 'utf8')) as Expected;
    const { estate, openers } = await loadEstate(
      { files: [at('world.yaml')], live: false, dataDir: '/nonexistent', namespace: 'default' },
      { stdin: new PassThrough(), stderr: new PassThrough() },
    );
    const told = openings(estate, openers);
    assert.deepEqual(told.openings.map(openingText).toSorted(), expected.openings.toSorted());
    assert.deepEqual(
      told.unopened.map(({ by, message }) => `${openerText(by)}: ${message}`).toSorted(),
      (expected.unopened ?? []).toSorted(),
    );
  });

test('the corpus is there', () => assert.ok(folders.length >= 7));
