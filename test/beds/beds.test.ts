import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Bed } from './bed.ts';
import { cpio } from './cpio.ts';
import { loadOrder } from './kernel-image.ts';
import { uml } from './uml.ts';

const folders = (): string[] =>
  fs.readdirSync(tmpdir()).filter((name) => name.startsWith(`heddle-bed-${process.pid}-`));

/** Skips where the bed cannot run. */
const bedTest = (bed: Bed, what: string, fn: () => Promise<void>): void =>
  void test(`${bed.name}: ${what}`, { skip: bed.missing(), timeout: 120_000 }, fn);

bedTest(uml, 'words and exit code come out, the machine is not written to, nothing is left', async () => {
  const script =
    'uname -r; echo $HELLO; echo deep $HEDDLE_DEEP; touch /beds-were-here; modprobe ip_vs && echo loaded; exit 7';
  const { code, log, timedOut } = await uml.run(['bash', '-c', script], {
    env: { HELLO: 'hello' },
    timeout: 60,
  });
  assert.equal(code, 7, log);
  assert.equal(timedOut, false);
  assert.match(log, /^\d+\.\d+.*\nhello\ndeep 1\n.*Read-only file system\nloaded\n$/s);
  assert.equal(fs.existsSync('/beds-were-here'), false);
  assert.deepEqual(folders(), []);
});

bedTest(uml, 'a command that hangs is ended at its time limit, with the words so far', async () => {
  const { code, log, timedOut } = await uml.run(['bash', '-c', 'echo so far; sleep 1000'], { timeout: 6 });
  assert.deepEqual([code, timedOut, log], [undefined, true, 'so far\n']);
  assert.deepEqual(folders(), []);
});

test('what boots is an archive with every entry at a multiple of four', () => {
  const name = fc.stringMatching(/^[a-z/]{1,40}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.uint8Array({ maxLength: 40 }))), (files) => {
      const archive = cpio(files.map(([path, data]) => ({ name: path, mode: 0o100644, data })));
      const found: [string, Uint8Array][] = [];
      for (let at = 0; at < archive.length; ) {
        const number = (i: number) =>
          Number.parseInt(archive.toString('latin1', at + 6 + i * 8, at + 14 + i * 8), 16);
        assert.equal(archive.toString('latin1', at, at + 6), '070701');
        const [size, length] = [number(6), number(11)];
        const start = (at + 110 + length + 3) & ~3;
        found.push([
          archive.toString('latin1', at + 110, at + 109 + length),
          Uint8Array.from(archive.subarray(start, start + size)),
        ]);
        at = (start + size + 3) & ~3;
      }
      assert.deepEqual(found, [...files, ['TRAILER!!!', new Uint8Array()]]);
    }),
  );
});

test('modules are loaded after what they need, each once', () => {
  const dependencies = 'a/x.ko: a/y.ko a/z.ko\na/y.ko: a/z.ko\na/z.ko:\na/other.ko:\n';
  assert.deepEqual(loadOrder(dependencies, ['x', 'y']), ['a/z.ko', 'a/y.ko', 'a/x.ko']);
});
