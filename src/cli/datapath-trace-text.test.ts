import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dry, DryHop, Trace } from '../datapath/trace/result.ts';
import { traceText } from './datapath-trace-text.ts';

const trace: Trace = {
  packet: { protocol: 'TCP', src: '10.244.1.2', sport: 0, dst: '10.244.1.3', dport: 80 },
  verdict: 'allow',
  steps: [{ at: 'node-1', stage: 'source', verdict: 'pass', text: 'pod a sends' }],
  branches: [],
};
const hop: DryHop = {
  node: 'node-1',
  program: 'from_pod',
  link: 'veth1',
  attached: true,
  verdict: 'deny',
  next: 'nowhere',
  direction: 'ingress',
  src: '10.244.1.2',
  sport: 0,
  dst: '10.244.1.3',
  dport: 80,
  egressRule: 0,
  ingressRule: 7,
  egress: null,
  ingress: 'default deny ingress',
};
const textOf = (dry: Partial<Dry>) =>
  traceText({ trace, dry: { byPlan: [], ways: [], differences: [], ...dry } });

test('a difference between kernel and plan is loud, with both answers', () => {
  const text = textOf({
    ways: [{ hops: [hop], verdict: 'deny', complete: true }],
    differences: [
      { node: 'node-1', what: 'verdict', plan: 'allowed', kernel: 'denied: default deny ingress' },
    ],
  });
  assert.match(
    text,
    /run through the loaded programs:\n→ 10\.244\.1\.3:80: denied\n✗ node-1 +from_pod at veth1/,
  );
  assert.match(
    text,
    /✗ THE KERNEL DIFFERS FROM THE PLAN\n✗ node-1 +verdict\n +plan +allowed\n +kernel +denied: /,
  );
});

test('that both say the same is said, and where nobody was asked the plan is named', () => {
  const allowed = { ...hop, verdict: 'allow', next: 'pod', to: 'shop/b' } as const;
  const same = textOf({ ways: [{ hops: [allowed], verdict: 'allow', complete: true }] });
  assert.match(
    same,
    /to pod shop\/b, seen as 10\.244\.1\.2\n\nthe loaded programs say what the plan says\n$/,
  );
  const plan = textOf({ byPlan: [{ node: 'node-1', backend: 'nftables' }] });
  assert.match(
    plan,
    /data path of node-1 \(nftables\) cannot run a packet: .* what the plan says, not its kernel\n$/,
  );
  assert.match(textOf({}), /no loaded program was asked: this is what the plan says\n$/);
});
