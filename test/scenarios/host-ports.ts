/** What must hold of host ports in a cluster of two nodes or more, whatever its data path. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute, type LocalCluster, root } from './local-cluster.ts';

interface Pod {
  metadata: { name: string; uid: string; labels?: Record<string, string> };
  spec: { nodeName?: string };
  status: {
    podIPs?: { ip: string }[];
    conditions?: { type: string; status: string; message?: string }[];
  };
}

const PORT = 18_080;
const isReady = ({ status }: Pod): boolean =>
  status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;

async function podsOf(cluster: LocalCluster): Promise<Pod[]> {
  return (JSON.parse(await cluster.must('get', 'pods', '-o', 'json')) as { items: Pod[] }).items;
}

/** Who the server saw; undefined: no answer. */
async function seen(
  cluster: LocalCluster,
  netns: string,
  host: string,
  seconds = 10,
): Promise<string | undefined> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${PORT}/`;
  const curl = ['curl', '-s', '-m', String(seconds), url];
  const { code, stdout } = await execute('nsenter', [`--net=${cluster.paths.netns(netns)}`, ...curl]);
  if (code !== 0) return undefined;
  return (JSON.parse(stdout) as { peer: { address: string } }).peer.address;
}

/** Tries until it is so, or the test's own time is over: policies and ports come a moment after the pod. */
async function eventually(what: string, wanted: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await wanted()); tries++) {
    if (tries === 200) throw new Error(`never: ${what}`);
    await sleep(200);
  }
}

export async function checkHostPorts(t: TestContext, cluster: LocalCluster, nodes: number): Promise<void> {
  await cluster.must('apply', '-f', join(root, 'test/manifests/host-ports'));
  let pods: Pod[] = [];
  const ported = () => pods.filter(({ metadata }) => metadata.labels?.['app'] === 'ported');
  await eventually('pods ready', async () => {
    pods = await podsOf(cluster);
    return (
      ported().filter(isReady).length === Math.min(3, nodes) &&
      pods.some((pod) => pod.metadata.name === 'caller' && isReady(pod))
    );
  });
  const [server] = ported().filter(isReady);
  const caller = pods.find(({ metadata }) => metadata.name === 'caller');
  assert.ok(server && caller);
  const node = server.spec.nodeName ?? '';
  const host = `10.240.0.${node.split('-')[1]}`;
  const six = `fd00:10:240::${node.split('-')[1]}`;
  const other = node === 'node-1' ? 'node-2' : 'node-1';

  await t.test('each on a node of its own; one too many waits, and is told why', async () => {
    const used = new Set(
      ported()
        .filter(isReady)
        .map(({ spec }) => spec.nodeName),
    );
    assert.equal(used.size, Math.min(3, nodes));
    if (nodes >= 3) return;
    const why = (pod: Pod) =>
      pod.status.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? '';
    await eventually('the reason', async () =>
      (await podsOf(cluster)).some((pod) =>
        /2 node\(s\) didn't have free ports for the requested pod ports/.test(why(pod)),
      ),
    );
  });
  await t.test(
    'reached from outside, who is seen as it is; from nodes, the own one too, from pods and itself',
    async () => {
      await eventually('outside', async () => (await seen(cluster, 'outside', host)) === '10.240.0.254');
      for (const [from, to] of [
        [other, host],
        [node, host],

        [`pod-${caller.metadata.uid}`, host],
        [`pod-${server.metadata.uid}`, host],
      ] as const)
        assert.ok(await seen(cluster, from, to), `${from} to ${to}`);
      const address = caller.status.podIPs?.[0]?.ip;
      if (caller.spec.nodeName !== node)
        assert.equal(
          await seen(cluster, `pod-${caller.metadata.uid}`, host),
          address,
          'a pod is seen as it is',
        );
    },
  );
  await t.test('a policy of the pod decides by who calls', async () => {
    assert.equal(await seen(cluster, 'outside', six, 1), undefined);
    await cluster.must('delete', 'networkpolicy', 'not-from-outside-v6');
    await eventually(
      'outside, by IPv6',
      async () => (await seen(cluster, 'outside', six)) === 'fd00:10:240::fe',
    );
  });
  if (nodes >= 3) return;
  await t.test('closed when the pod is gone', async () => {
    await cluster.must('delete', 'deployment', 'ported');
    await eventually('closed', async () => (await seen(cluster, 'outside', host, 1)) === undefined);
    await cluster.must('delete', 'pod', 'caller');
  });
}
