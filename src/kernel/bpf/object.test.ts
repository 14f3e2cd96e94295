import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { spawnIn } from '../spawn.ts';
import { testFolder } from '../test-netns.ts';
import { openObject } from './object.ts';
import { programStats } from './stats.ts';
import { compileObject, needsBpf } from './test-object.ts';

const skip = needsBpf;

/** What takes the verifier long: many branches whose outcomes all differ in what follows. */
const branches = Array.from(
  { length: 11 },
  (_, i) => `if (bpf_get_prandom_u32() & 1) { sum += ${1 << i}; asm volatile("" : "+r"(sum)); }`,
).join('\n');
const SLOW = `
SEC("tc") int slow(struct __sk_buff *skb) {
  volatile __u64 seen[4] = {};
  __u64 sum = 0;
  ${branches}
  if (sum < 4096) seen[sum & 3] = sum;
  return seen[0] + sum;
}`;

test('signals that come while programs are judged disturb nothing, and are delivered', {
  skip,
}, async (t) => {
  const path = await compileObject(testFolder(t), 'slow', SLOW);
  const ignore = () => {};
  const another = async () => {
    await once(process, 'SIGWINCH');
  };
  process.on('SIGWINCH', ignore);
  t.after(() => process.off('SIGWINCH', ignore));
  const script = `setInterval(() => process.kill(${process.pid}, 'SIGWINCH'), 1)`;
  const child = spawnIn({ argv: [process.execPath, '-e', script] });
  t.after(() => child.kill('SIGKILL'));
  await another();
  for (let i = 0; i < 3; i++) {
    const object = openObject(path);
    const { programs } = object.load();
    object.close();
    if (i === 0) t.diagnostic(`${programStats(programs.get('slow')!).verifiedInstructions} instructions`);
    for (const fd of programs.values()) fs.closeSync(fd);
  }
  await another();
  child.kill('SIGKILL');
  await once(child, 'exit');
});

test('what is no object of programs is refused', { skip }, (t) => {
  const path = `${testFolder(t)}/text.bpf.o`;
  fs.writeFileSync(path, 'no ELF');
  assert.throws(() => openObject(path), { code: 'BpfObject', message: /text\.bpf\.o/ });
  assert.throws(() => openObject(`${path}.not`), { code: 'BpfObject' });
});
