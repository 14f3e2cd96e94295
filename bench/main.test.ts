import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

interface Outcome {
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

const bench = (...args: string[]) =>
  new Promise<Outcome>((resolve) =>
    execFile(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr }),
    ),
  );
const source = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');

test('the list has each file that exports a benchmark, and the README has each of the list', async () => {
  const { code, stdout } = await bench('--list');
  assert.equal(code, 0);
  const listed = stdout.trim().split('\n');
  const exporting = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.ts') && /^export .*\bbenchmark\b/m.test(source(file)))
    .map((file) => file.slice(0, -3));
  assert.deepEqual(listed, exporting.toSorted());
  const table = source('README.md');
  for (const name of listed)
    assert.ok(table.includes(`\`${name}\``), `bench/README.md says nothing of ${name}`);
});

test('help is told, and what is not understood is refused without a stack', async () => {
  const { code, stdout } = await bench('--help');
  assert.equal(code, 0);
  for (const flag of ['NAME', '--quick', '--json', '--list']) assert.ok(stdout.includes(flag), stdout);
  for (const [args, why] of [
    [[], /a benchmark has to be named; there are: agent-memory, /],
    [['pod-to-pot'], /no benchmark is called "pod-to-pot"; there are: /],
    [['cni-add', 'cni-del'], /one benchmark at a time: cni-add, cni-del/],
    [['--quik'], /Unknown option '--quik'/],
  ] as const) {
    const refused = await bench(...args);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, why);
    assert.doesNotMatch(refused.stderr, /^ +at /m);
  }
});
