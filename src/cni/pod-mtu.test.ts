import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLab } from '../datapath/testing/lab.ts';
import { openRoute } from '../kernel/route.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { setPodMtu } from './pod-mtu.ts';

test('links of pods that are there grow and shrink at both ends, and what they send is held to less', {
  skip: needsRoot,
}, (t) => {
  const node = createLab(t, 1).nodes[0]!;
  const pod = node.addPod('a');
  const inner = openRoute(pod.ns);
  t.after(() => inner.close());
  const seen = () => {
    const link = inner.link('eth0')!;
    const limits = inner.routes().filter(({ dst }) => dst === '0.0.0.0/0' || (dst === '::/0' && link));
    return [
      node.route.link(pod.interface)?.mtu,
      link.mtu,
      [...new Set(limits.filter(({ dev }) => dev === link.index).map(({ mtu }) => mtu))],
    ];
  };
  const local = { interface: pod.interface, netns: pod.ns.path };
  for (const [wanted, expected] of [
    [{ mtu: 1500, limit: 1450 }, [1500, 1500, [1450]]],
    [{ mtu: 1500 }, [1500, 1500, [undefined]]],
    [{ mtu: 1450, limit: 1400 }, [1450, 1450, [1400]]],
    [{ mtu: 1450 }, [1450, 1450, [undefined]]],
  ] as const)
    for (const _ of ['once', 'twice']) {
      setPodMtu(node.route, local, wanted);
      assert.deepEqual(seen(), expected);
    }
  setPodMtu(node.route, { ...local, netns: '/run/nowhere' }, { mtu: 1300 });
  setPodMtu(node.route, { ...local, interface: 'nobody' }, { mtu: 1300 });
  assert.deepEqual(seen(), [1450, 1450, [undefined]]);
});
