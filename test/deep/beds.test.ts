/** What this machine's kernel may lack, under kernels that have it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bed, testCommand } from '../beds/bed.ts';
import { qemu } from '../beds/qemu.ts';
import { uml } from '../beds/uml.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

interface Run {
  readonly files: readonly string[];
  /** Seconds. */
  readonly timeout: number;
  /** Of the bed. Default: 2. */
  readonly processors?: number;
  /** As src/datapath/testing/pace.ts reads it. */
  readonly slice?: string;
  /** As src/datapath/testing/lab.ts reads it. */
  readonly routing?: string;
}

function under(bed: Bed, { files, timeout, processors, slice, routing }: Run): void {
  const skip = deep ? bed.missing() : 'takes minutes: npm run check:deep (not in CI)';
  const what = [
    ...files,
    ...(slice === undefined ? [] : ['slice', slice]),
    ...(routing === undefined ? [] : ['by', routing]),
  ].join(' ');
  test(`${what} under ${bed.name}`, { skip, timeout: (timeout + 60) * 1000 }, async (t) => {
    const { code, log, console, timedOut, ms } = await bed.run(testCommand(files), {
      timeout,
      memory: 2048,
      ...(processors === undefined ? {} : { processors }),
      env: {
        ...(slice === undefined ? {} : { HEDDLE_SLICE: slice }),
        ...(routing === undefined ? {} : { HEDDLE_ROUTING: routing }),
      },
    });
    const [ran, skipped] = ['pass', 'skipped'].map((word) => new RegExp(`ℹ ${word} (\\d+)`).exec(log)?.[1]);
    t.diagnostic(`${ran ?? 'no'} tests passed, ${skipped ?? 'none'} skipped, in ${Math.round(ms / 1000)} s`);
    assert.equal(code, 0, `${timedOut ? 'out of time\n' : ''}${log}\n${console}`);
    assert.ok(Number(ran) > 0, 'something ran');
    assert.doesNotMatch(log, /npm run check:deep/, 'skipped here, it would run nowhere');
  });
}

/** A boot for each part of the file's tests. */
function inSlices(bed: Bed, file: string, parts: number, timeout: number): void {
  for (let part = 1; part <= parts; part++)
    under(bed, { files: [file], timeout, processors: 1, slice: `${part}/${parts}` });
}

under(uml, {
  files: ['src/kernel/ipvs.test.ts', 'src/kernel/netns.test.ts', 'src/kernel/cgroup.test.ts'],
  timeout: 120,
});
under(qemu, { files: ['src/kernel/*.test.ts'], timeout: 400 });
under(qemu, { files: ['src/datapath/ipvs/contract.test.ts'], timeout: 900 });
// One processor: with two emulated ones Node was seen to crash (V8: JIT pages) and a run to hang.
under(qemu, { files: ['src/datapath/ipvs/guards.test.ts'], timeout: 300, processors: 1 });
// Whether an older kernel takes the eBPF programs, and they do there what they do here.
under(qemu, { files: ['src/datapath/ebpf/stack.test.ts'], timeout: 200 });
for (const file of ['contract.test.ts', 'contract-at-tc.test.ts'])
  inSlices(qemu, `src/datapath/ebpf/${file}`, 4, 600);
under(qemu, { files: ['src/datapath/ebpf/sctp.test.ts'], timeout: 600, processors: 1 });
// Ways to connect a container that this machine's kernel may lack, side by side with the reference's plugins.
under(qemu, { files: ['src/cni/standalone/links.test.ts'], timeout: 900, processors: 1 });
// Limits of pods where cgroup2 has the controllers.
under(qemu, { files: ['src/podhost/process/limits.test.ts'], timeout: 600 });
// Ways between nodes that this machine's kernel may lack.
under(uml, { files: ['src/kernel/tunnel-features.test.ts', 'src/datapath/ways.test.ts'], timeout: 120 });
under(uml, { files: ['src/datapath/path/ways.test.ts'], timeout: 240 });
for (const routing of ['geneve', 'gre'])
  for (const backend of ['ebpf', 'nftables'])
    under(qemu, {
      files: [`src/datapath/${backend}/contract.test.ts`],
      timeout: 600,
      processors: 1,
      slice: '1/8',
      routing,
    });
