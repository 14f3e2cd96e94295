import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice } from '../../api/types.ts';
import { type SliceEndpoint, servingOf } from './endpoints.ts';

const NODES = ['node-1', 'node-2', 'node-3'];
const ZONES = ['a', 'b'];

const named = (names: readonly string[]) => fc.subarray([...names], { maxLength: 2 });

const endpoints = fc
  .uniqueArray(
    fc.record({
      host: fc.integer({ min: 1, max: 9 }),
      node: fc.constantFrom(...NODES),
      ready: fc.constantFrom(true, true, undefined, false),
      serving: fc.constantFrom(true, undefined, false),
      terminating: fc.constantFrom(true, undefined, false),
      forZones: fc.oneof({ weight: 5, arbitrary: named(ZONES) }, fc.constant(undefined)),
      forNodes: fc.oneof(
        { weight: 2, arbitrary: named(NODES) },
        { weight: 3, arbitrary: fc.constant(undefined) },
      ),
    }),
    { selector: ({ host }) => host, maxLength: 5 },
  )
  .map((list) =>
    list.map(({ host, node, ready, serving, terminating, forZones, forNodes }): SliceEndpoint => {
      const of = (names: readonly string[] | undefined) => names?.map((name) => ({ name }));
      return {
        addresses: [`10.244.0.${host}`],
        nodeName: node,
        conditions: { ready, serving, terminating },
        hints: { forZones: of(forZones), forNodes: of(forNodes) },
      };
    }),
  );

/** kube-proxy's `CategorizeEndpoints` and `topologyModeFromHints` of 1.35, told once more in its own order. */
function asKubeProxy(list: readonly SliceEndpoint[], node: string, zone: string) {
  const ready = list.filter(({ conditions }) => conditions?.ready ?? true);
  let [allNodes, allZones, anyNode, anyZone] = [true, true, false, false];
  for (const { hints } of ready) {
    const [nodes, zones] = [hints?.forNodes ?? [], hints?.forZones ?? []];
    if (nodes.length === 0) allNodes = false;
    else if (nodes.some(({ name }) => name === node)) anyNode = true;
    if (zones.length === 0) allZones = false;
    else if (zones.some(({ name }) => name === zone)) anyZone = true;
  }
  const mode = allNodes && anyNode ? 'node' : allZones && zone !== '' && anyZone ? 'zone' : 'all';
  const near = ready.filter(({ hints }) =>
    mode === 'node'
      ? hints?.forNodes?.some(({ name }) => name === node)
      : mode === 'all' || hints?.forZones?.some(({ name }) => name === zone),
  );
  const ending = (each: SliceEndpoint) =>
    (each.conditions?.serving ?? true) && (each.conditions?.terminating ?? false);
  const local = ready.filter(({ nodeName }) => nodeName === node);
  const texts = (of: readonly SliceEndpoint[]) => of.flatMap(({ addresses }) => addresses).toSorted();
  return {
    all: texts(near.length > 0 ? near : list.filter(ending)),
    local: texts(local.length > 0 ? local : list.filter((each) => each.nodeName === node && ending(each))),
  };
}

test('endpoints are chosen as kube-proxy chooses them', () => {
  const seen = new Map<string, number>();
  const port = { name: 'web', port: 80 };
  fc.assert(
    fc.property(endpoints, fc.constantFrom('', ...ZONES, 'c'), (list, zone) => {
      const slice: EndpointSlice = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 's', namespace: 'x' },
        addressType: 'IPv4',
        ports: [{ name: 'web', port: 8080, protocol: 'TCP' }],
        endpoints: list,
      };
      const place = { node: 'node-1', zone, region: '', regionOf: () => undefined };
      const serving = servingOf(port, 4, [slice], place);
      const got = {
        all: serving.all.map(({ address }) => address),
        local: serving.local.map(({ address }) => address),
      };
      const wanted = asKubeProxy(list, 'node-1', zone);
      assert.deepEqual(got, wanted);
      const key = `${wanted.all.length < list.length} ${wanted.local.length > 0}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }),
    { numRuns: 2000 },
  );
  assert.equal(seen.size, 4, `not every case was drawn: ${[...seen.keys()].join()}`);
});
