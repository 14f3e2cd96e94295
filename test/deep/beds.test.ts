/** What this machine's kernel may lack, under kernels that have it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bed, testCommand } from '../beds/bed.ts';
import { qemu } from '../beds/qemu.ts';
import { uml } from '../beds/uml.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

function under(bed: Bed, files: readonly string[], timeout: number): void {
  const skip = deep ? bed.missing() : 'takes minutes: npm run check:deep (not in CI)';
  test(`${files.join(' ')} under ${bed.name}`, { skip, timeout: (timeout + 60) * 1000 }, async (t) => {
    const { code, log, console, timedOut } = await bed.run(testCommand(files), { timeout, memory: 2048 });
    const ran = /ℹ pass (\d+)/.exec(log)?.[1];
    t.diagnostic(`${ran ?? 'no'} tests passed`);
    assert.equal(code, 0, `${timedOut ? 'out of time\n' : ''}${log}\n${console}`);
    assert.ok(Number(ran) > 0, 'something ran');
  });
}

under(uml, ['src/kernel/ipvs.test.ts', 'src/kernel/netns.test.ts', 'src/kernel/cgroup.test.ts'], 120);
under(qemu, ['src/kernel/*.test.ts'], 300);
under(qemu, ['src/datapath/ipvs/contract.test.ts'], 500);
// Whether an older kernel takes the eBPF programs.
under(qemu, ['src/datapath/ebpf/stack.test.ts'], 200);
