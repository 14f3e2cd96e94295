import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CILIUM_NODE, CILIUM_POD_IP_POOL, NODE } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/types.ts';
import { prefixOf } from '../objects.ts';
import type { AdmissionRequest } from './chain.ts';
import { podPools } from './pod-pools.ts';

const named = (name: string, rest: object) => ({ metadata: { name }, ...rest }) as unknown as KubeObject;
const pool = (name: string, cidr: string) => named(name, { spec: { ipv4: { cidrs: [cidr], maskSize: 28 } } });

/** What the deletion of `before` is answered with these in the store. */
function remove(before: KubeObject, nodes: readonly KubeObject[], holders: readonly KubeObject[]): void {
  const items = new Map([
    [prefixOf(NODE), nodes],
    [prefixOf(CILIUM_NODE), holders],
  ]);
  const list = (prefix: string) => ({
    items: (items.get(prefix) ?? []).map((object, i) => ({
      key: `${prefix}${i}`,
      value: JSON.stringify(object),
      revision: 1,
    })),
  });
  const request = {
    operation: 'delete',
    resource: { kind: CILIUM_POD_IP_POOL },
    name: before.metadata.name,
    subresource: '',
    before,
  } as unknown as AdmissionRequest;
  podPools(request, { store: { list } } as unknown as Parameters<typeof podPools>[1]);
}

const holder = (name: string, ...cidrs: string[]) =>
  named(name, { spec: { ipam: { pools: { allocated: [{ pool: 'blue', cidrs }] } } } });

test('a pool of which a node has a block is not deleted, and who has it is said', () => {
  const blue = pool('blue', '10.7.0.0/24');
  assert.throws(
    () => remove(blue, [], [holder('a', '10.7.0.0/28'), holder('b')]),
    /node a has blocks of it: delete the pods with addresses of it first/,
  );
  const many = ['a', 'b', 'c', 'd', 'e'].map((name, i) => holder(name, `10.7.0.${i * 16}/28`));
  assert.throws(() => remove(blue, [], many), /a, b, c and 2 more nodes have blocks of it/);
  remove(blue, [named('a', { spec: { podCIDRs: ['10.0.0.0/28'] } })], [holder('a'), named('b', {})]);
});

test('the pool that nodes have their first blocks of stays while there are nodes', () => {
  const own = pool('default', '10.0.0.0/24');
  const node = named('a', { spec: { podCIDRs: ['10.0.0.16/28'] } });
  assert.throws(() => remove(own, [node], []), /node a got the first blocks of it/);
  remove(own, [], []);
});
