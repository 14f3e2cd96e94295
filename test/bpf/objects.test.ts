/** What is committed of the eBPF programs is what their source says, for machines that have no compiler. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const BPF = join(import.meta.dirname, '../../bpf');
const OBJECTS = join(BPF, 'objects');

const recorded = readFileSync(join(OBJECTS, 'CLANG'), 'utf8').trim();

function compiler(): string | undefined {
  try {
    return execFileSync('clang', ['-dumpversion'], { encoding: 'utf8' }).split('.')[0];
  } catch {
    return undefined;
  }
}

const has = compiler();
const skip =
  has !== recorded &&
  `the objects were made by clang ${recorded}, here is ${has ?? 'none'}: on Debian 12 it is compared (not in CI)`;

test('each program that is committed is what its source gives, and none is missing', { skip }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bpf-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  execFileSync('make', ['-s', '-C', BPF, `OUT=${folder}`]);
  const built = readdirSync(folder).filter((name) => name.endsWith('.bpf.o'));
  assert.deepEqual(
    readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o')),
    built,
    'run: make -C bpf objects',
  );
  for (const name of built) {
    execFileSync('llvm-strip', ['-g', join(folder, name)]);
    assert.ok(
      readFileSync(join(folder, name)).equals(readFileSync(join(OBJECTS, name))),
      `${name} is not what its source gives; run: make -C bpf objects`,
    );
  }
});
