/** For tests: throw-away namespaces that are gone when the test ends, however it ends. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { mountBpffs, unmountLazy } from './mount.ts';
import { closeNetns, createNetns, deleteNetns, type Netns } from './netns.ts';

/** A reason to skip, for the `skip` option of tests that need the kernel's rights; false where they are there. */
export const needsRoot: string | false = process.geteuid?.() === 0 ? false : 'needs root';

/** A folder of this test's own. */
export function testFolder(t: Pick<TestContext, 'after'>): string {
  const folder = fs.mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A new namespace; its `lo` is up. */
export function testNetns(t: Pick<TestContext, 'after'>): Netns {
  const folder = fs.mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  const path = join(folder, 'netns');
  const ns = createNetns(path);
  t.after(() => {
    closeNetns(ns);
    deleteNetns(path);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return ns;
}

/** A bpffs of this test's own: what is pinned in it goes with the test. */
export function testBpffs(t: Pick<TestContext, 'after'>): string {
  const folder = fs.mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  mountBpffs(folder);
  t.after(() => {
    unmountLazy(folder);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
