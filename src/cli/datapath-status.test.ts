import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DatapathRow, statusText } from './datapath-status.ts';

const row: DatapathRow = {
  node: 'node-1',
  backend: 'ebpf',
  chosen: 'configured',
  configured: 'ebpf',
  features: {},
  ready: true,
  applied: 3,
  failed: 0,
  mended: 0,
  lastError: null,
  entries: { pods: 2 },
  problems: [],
  beyondShare: [],
  maps: [],
};

test('a pod that fills what all share is named, with what it did and what it cost it', () => {
  const use = { pod: 'shop/web', share: 1, begun: 900, crowded: 800, gaveWay: 70, refused: 6 };
  assert.match(
    statusText([{ ...row, beyondShare: [use] }]),
    /node-1: shop\/web wants more .*900 begun, 800 beyond it, 70 gave way to newer ones, 6 refused/,
  );
  assert.ok(!statusText([row]).includes('wants more'));
});

test('what the tables of a node hold and take is told', () => {
  const maps = [
    { name: 'flows4', max: 8192, bytes: 1_800_000 },
    { name: 'backends', max: 131_072, bytes: 2_100_000 },
  ];
  assert.match(statusText([{ ...row, maps }]), /node-1: 2 maps take 3\.9 MB; entries at most: flows4 8192\n/);
  assert.ok(!statusText([row]).includes('maps take'));
});
