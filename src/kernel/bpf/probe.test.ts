import assert from 'node:assert/strict';
import fs from 'node:fs';
import { release } from 'node:os';
import { test } from 'node:test';
import { findCgroup2Mount } from '../cgroup.ts';
import { needsRoot } from '../test-netns.ts';
import { type BpfFeatures, missingBpf, probeBpf } from './probe.ts';

test('this kernel has what the eBPF data path needs, and the probe leaves nothing', {
  skip: needsRoot,
}, () => {
  const open = () => fs.readdirSync('/proc/self/fd').length;
  const features = probeBpf();
  const before = open();
  assert.deepEqual(probeBpf(), features);
  assert.equal(open(), before);
  assert.deepEqual(missingBpf(features), []);
  const [major = 0, minor = 0] = release().split('.').map(Number);
  assert.equal(features.tcx.ok, major > 6 || (major === 6 && minor >= 6));
  assert.equal(features.xdp.ok, true);
  const cgroups = fs.readdirSync(findCgroup2Mount()!);
  assert.ok(!cgroups.some((name) => name.startsWith('heddle-probe')));
});

test('without root nothing is tried, and every feature says so', { skip: needsRoot }, () => {
  const uid = process.geteuid!();
  process.seteuid!(65534);
  try {
    const features = probeBpf();
    assert.deepEqual(missingBpf(features)[0]?.[0], 'root');
    for (const feature of Object.values(features)) {
      assert.equal(feature.ok, false);
      assert.ok(feature.why && feature.hint && feature.purpose);
    }
  } finally {
    process.seteuid!(uid);
  }
});

test('what is optional is not missing', { skip: needsRoot }, () => {
  const features = probeBpf();
  const without = { ...features, tcx: { ...features.tcx, ok: false }, btf: { ...features.btf, ok: false } };
  assert.deepEqual(
    missingBpf(without satisfies BpfFeatures).map(([name]) => name),
    ['btf'],
  );
});
