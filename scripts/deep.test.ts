import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** What two properties draw, one that asks for 3 draws and one that asks for no number. */
const program = `
  import fc from 'fast-check';
  const drawn = [[], []];
  fc.assert(fc.property(fc.nat(), (n) => void drawn[0].push(n)), { numRuns: 3 });
  await fc.assert(fc.asyncProperty(fc.nat(), async (n) => void drawn[1].push(n)));
  console.log(JSON.stringify(drawn));
`;

function drawnWith(preload: string): number[][] {
  const imported = fileURLToPath(new URL(preload, import.meta.url));
  const args = ['--import', imported, '--input-type=module', '--eval', program];
  const root = fileURLToPath(new URL('..', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', cwd: root })) as number[][];
}

const lengths = (lists: number[][]): number[] => lists.map(({ length }) => length);

test('a deep check draws twenty times what each property asks for, and other cases each time', () => {
  const [one, other] = [drawnWith('deep.ts'), drawnWith('deep.ts')];
  assert.deepEqual(lengths(one), [60, 2000]);
  assert.notDeepEqual(other, one);
});

test('the usual run draws what each property asks for, and the same cases each time', () => {
  const [one, other] = [drawnWith('draws.ts'), drawnWith('draws.ts')];
  assert.deepEqual(lengths(one), [3, 100]);
  assert.deepEqual(other, one);
});
