import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createConflist, parseConflist } from './conflist.ts';

/** Says yes to everything, but to the DEL of the container `a-bad`, and writes down what it was called for. */
const PLUGIN = `#!/bin/sh
cat > /dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >> "$CALLS"
[ "$CNI_COMMAND $CNI_CONTAINERID" = "DEL a-bad" ] && { echo '{"code": 11, "msg": "not today"}'; exit 1; }
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion": "1.1.0", "ips": []}'
exit 0
`;

test('GC goes on past an attachment that cannot be undone, and says which that was', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-gc-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'stubborn'), PLUGIN, { mode: 0o755 });
  const calls = join(folder, 'calls');
  const list = createConflist({
    list: { cniVersion: '1.1.0', name: 'net', plugins: [{ type: 'stubborn' }] },
    path: [folder],
    cacheDir: join(folder, 'cache'),
    env: { CALLS: calls },
  });
  for (const containerId of ['a-bad', 'b-good', 'c-kept'])
    await list.add({ containerId, ifName: 'eth0', netns: '/none' });
  writeFileSync(calls, '');
  await assert.rejects(list.gc([{ containerId: 'c-kept', ifName: 'eth0' }]), /a-bad\/eth0.*not today/);
  assert.deepEqual(readFileSync(calls, 'utf8').trim().split('\n').toSorted(), [
    'DEL a-bad',
    'DEL b-good',
    'GC',
  ]);
  const left = await list.list();
  assert.deepEqual(left.map(({ containerId }) => containerId).toSorted(), ['a-bad', 'c-kept']);
});

test('a list may be kept from CHECK and GC, by true or its text; anything else is refused by name', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-gc-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'stubborn'), PLUGIN, { mode: 0o755 });
  const calls = join(folder, 'calls');
  const read = (flags: object) =>
    parseConflist(
      JSON.stringify({ cniVersion: '1.1.0', name: 'net', plugins: [{ type: 'stubborn' }], ...flags }),
      'net.conflist',
    );
  const one = { containerId: 'one', ifName: 'eth0', netns: '/none' };
  for (const [flags, expected] of [
    [{}, ['CHECK one', 'GC']],
    [{ disableCheck: 'false', disableGC: false, loadOnlyInlinedPlugins: true }, ['CHECK one', 'GC']],
    [{ disableCheck: true, disableGC: 'true' }, []],
  ] as const) {
    const list = createConflist({
      list: read(flags),
      path: [folder],
      cacheDir: join(folder, 'cache'),
      env: { CALLS: calls },
    });
    await list.add(one);
    writeFileSync(calls, '');
    await list.check(one);
    await list.gc([one]);
    const made = readFileSync(calls, 'utf8').trim();
    assert.deepEqual(made === '' ? [] : made.split('\n').map((line) => line.trim()), expected);
  }
  for (const flags of [{ disableGC: 'perhaps' }, { disableCheck: 1 }, { loadOnlyInlinedPlugins: null }])
    assert.throws(() => read(flags), { code: 'BadConflist', message: /neither true nor false/ });
});
