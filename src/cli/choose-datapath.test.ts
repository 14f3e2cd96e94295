import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BpfFeatures } from '../kernel/bpf/probe.ts';
import { chooseDatapath } from './choose-datapath.ts';

const names = [
  'root',
  'libbpf',
  'bpf',
  'jit',
  'btf',
  'ringBuffer',
  'mmapableArray',
  'redirectPeer',
  'netnsCookie',
  'cgroupHooks',
  'tc',
  'tcx',
  'xdp',
] as const;

const features = (lacks: string): BpfFeatures =>
  Object.fromEntries(
    names.map((name) => [
      name,
      { ok: name !== lacks, purpose: 'x', why: 'EINVAL', hint: 'CONFIG_X', required: name !== 'tcx' },
    ]),
  ) as unknown as BpfFeatures;

const never = (): BpfFeatures => assert.fail('asked the kernel');

test('what was asked for comes first, then what the cluster had; the kernel is not asked', () => {
  assert.equal(chooseDatapath('iptables', 'ebpf', never).name, 'iptables');
  assert.equal(chooseDatapath(undefined, 'nftables', never).name, 'nftables');
});

test('else it is eBPF, also where the kernel lacks what is not needed', () => {
  assert.deepEqual(
    chooseDatapath(undefined, undefined, () => features('')),
    { name: 'ebpf', why: undefined },
  );
  assert.equal(chooseDatapath(undefined, undefined, () => features('tcx')).name, 'ebpf');
});

test('a kernel without it has nftables, and it is said why', () => {
  const { name, why } = chooseDatapath(undefined, undefined, () => features('ringBuffer'));
  assert.equal(name, 'nftables');
  assert.match(why ?? '', /eBPF lacks ringBuffer: EINVAL; CONFIG_X/);
});
