import assert from 'node:assert/strict';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { needsBpf } from '../../kernel/bpf/test-object.ts';
import { testBpffs } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openNodePrograms } from './node-programs.ts';
import { prepareEbpf } from './prepare.ts';

const objectDir = join(import.meta.dirname, '../../../build/bpf');

test('programs that a thread has prepared are found by the opening, which loads none', {
  skip: needsBpf,
}, async (t) => {
  const pinDir = testBpffs(t);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const begin = performance.now();
  const maxEntries = { flows4: 8192 };
  await prepareEbpf({ objectDir, pinDir, maxEntries, log: silentLog });
  const prepared = performance.now();
  delay.disable();
  const programs = openNodePrograms({ objectDir, pinDir, maxEntries, log: silentLog });
  const opened = performance.now();
  t.after(() => programs.close());
  assert.deepEqual(programs.loaded, []);
  assert.equal(programs.map('flows4').maxEntries, 8192);
  assert.ok(programs.programNames.includes('from_pod'));
  t.diagnostic(
    `prepared in ${Math.round(prepared - begin)} ms, the event loop waiting ${(delay.max / 1e6).toFixed(1)} ms at most; opened in ${Math.round(opened - prepared)} ms`,
  );
});

test('what cannot be prepared is left for the opening to say', { skip: needsBpf }, async (t) => {
  await prepareEbpf({ objectDir: '/nowhere', pinDir: testBpffs(t), log: silentLog });
});
