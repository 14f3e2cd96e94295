import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createNetns, currentNetns, deleteNetns, inNetns, inScratchNetns, openNetns } from './netns.ts';
import { openRoute } from './route.ts';
import { needsRoot, testFolder, testNetns } from './test-netns.ts';

const here = () => fs.readlinkSync('/proc/thread-self/ns/net');
const skip = needsRoot;

test('a new namespace has nothing but lo, which is up', { skip }, (t) => {
  const route = openRoute(testNetns(t));
  assert.deepEqual(
    route.links().map(({ name, up }) => ({ name, up })),
    [{ name: 'lo', up: true }],
  );
  route.close();
});

test('visits nest and end where they began, also by an error', { skip }, (t) => {
  const [a, b] = [testNetns(t), testNetns(t)];
  const home = here();
  const [inA, inB, againA] = inNetns(a, () => [here(), inNetns(b, here), here()]);
  assert.equal(new Set([home, inA, inB]).size, 3);
  assert.equal(againA, inA);
  assert.throws(
    () =>
      inNetns(a, () => {
        throw new Error('inside');
      }),
    /inside/,
  );
  assert.equal(here(), home);
  assert.equal(currentNetns(), currentNetns());
});

test('what returns a promise is refused: it would go on elsewhere', { skip }, (t) => {
  const home = here();
  assert.throws(() => inNetns(testNetns(t), () => Promise.resolve()), /synchronous/);
  assert.equal(here(), home);
});

test('a scratch namespace leaves this thread and no file behind', { skip }, () => {
  const home = here();
  const inside = inScratchNetns(() => here());
  assert.notEqual(inside, home);
  assert.equal(here(), home);
});

test('a name is used once, and deleting it twice is no error', { skip }, (t) => {
  const path = join(testFolder(t), 'ns');
  createNetns(path);
  t.after(() => deleteNetns(path));
  assert.throws(() => createNetns(path), { code: 'NetnsExists' });
  deleteNetns(path);
  assert.equal(fs.existsSync(path), false);
  deleteNetns(path);
  assert.throws(() => openNetns(path), { code: 'NetnsMissing' });
});

test('a failed creation leaves no file', { skip }, (t) => {
  assert.throws(() => createNetns(join(testFolder(t), 'missing', 'ns')), { code: 'Kernel' });
});

test('threads of the pool stay in the first namespace', { skip }, async (t) => {
  const ns = testNetns(t);
  const home = here();
  const later = inNetns(ns, () => ({ done: fs.promises.stat('/') }));
  await later.done;
  const places = new Set(
    fs.readdirSync('/proc/self/task').map((id) => fs.readlinkSync(`/proc/self/task/${id}/ns/net`)),
  );
  assert.deepEqual([...places], [home]);
});
