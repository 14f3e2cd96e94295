import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deepOnly } from './deep-only.ts';
import { execute, type LocalCluster, root, upCluster } from './local-cluster.ts';

interface Pod {
  metadata: { name: string; uid: string };
  spec: { nodeName?: string };
  status: {
    hostIPs?: { ip: string }[];
    podIPs?: { ip: string }[];
    conditions?: { type: string; status: string; message?: string }[];
  };
}

const isReady = ({ status }: Pod): boolean =>
  status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;

async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(200);
  }
  throw new Error(`never: ${what}`);
}

/** Which pods answer there, of so many calls; undefined: a call got no answer. */
async function answering(cluster: LocalCluster, netns: string, url: string, calls = 24) {
  const script = `for i in $(seq ${calls}); do curl -sS -m 5 ${url} || exit 1; echo; done`;
  const inside = [`--net=${cluster.paths.netns(netns)}`, 'sh', '-c', script];
  const { code, stdout } = await execute('nsenter', inside);
  if (code !== 0) return undefined;
  const names = stdout.match(/"pod":"[^"]+"/g) ?? [];
  assert.equal(names.length, calls, stdout);
  return new Set(names).size;
}

for (const datapath of ['ebpf', 'nftables', 'iptables'])
  test(`pods on the network of their nodes serve and are served, by ${datapath}`, {
    timeout: 300_000,
    skip: deepOnly('the pod host has one in its own tests'),
  }, async (t) => {
    const manifests = join(root, 'test/manifests/host-network');
    const cluster = await upCluster(t, manifests, '--nodes', '2', '--datapath', datapath, '--no-wait');
    const list = async () =>
      (JSON.parse(await cluster.must('get', 'pods', '-o', 'json')) as { items: Pod[] }).items;
    const pods = await eventually('three pods ready', async () => {
      const ready = (await list()).filter(isReady);
      return ready.length === 3 ? ready : undefined;
    });
    const caller = pods.find(({ metadata }) => metadata.name === 'caller')!;
    const servers = pods.filter((pod) => pod !== caller);

    await t.test('at the addresses of their nodes, one on each; one too many waits', async () => {
      assert.equal(new Set(servers.map(({ spec }) => spec.nodeName)).size, 2);
      for (const { status } of servers) assert.deepEqual(status.podIPs, status.hostIPs);
      await eventually('the reason', async () =>
        (await list()).some(({ status }) =>
          status.conditions?.some(({ message = '' }) =>
            message.includes("2 node(s) didn't have free ports for the requested pod ports"),
          ),
        )
          ? true
          : undefined,
      );
    });
    await t.test('reached as they are and by their service: from a pod, nodes, and outside', async () => {
      const service = JSON.parse(await cluster.must('get', 'service', 'on-node', '-o', 'json')) as {
        spec: { clusterIPs: string[] };
      };
      const host = (address: string) => (address.includes(':') ? `[${address}]` : address);
      const inside = [`pod-${caller.metadata.uid}`, 'node-1', 'node-2'];
      for (const from of inside) {
        for (const { ip } of servers.flatMap(({ status }) => status.podIPs ?? []))
          assert.equal(await answering(cluster, from, `http://${host(ip)}:18090/`, 1), 1, `${from} to ${ip}`);
        for (const ip of service.spec.clusterIPs)
          await eventually(`both answer ${from} at ${ip}`, async () =>
            (await answering(cluster, from, `http://${host(ip)}/`)) === 2 ? true : undefined,
          );
      }
      for (const at of ['10.240.0.1', '10.240.0.2', 'fd00:10:240::1', 'fd00:10:240::2'])
        for (const from of [...inside, 'outside']) {
          await eventually(`both answer ${from} at the port of ${at}`, async () =>
            (await answering(cluster, from, `http://${host(at)}:30090/`)) === 2 ? true : undefined,
          );
        }
    });
    await t.test(
      'no process of the node listens at the loopback that they share, for a debugger neither',
      async () => {
        const listening = async () =>
          (await execute('nsenter', [`--net=${cluster.paths.netns('node-1')}`, 'ss', '-lntupH'])).stdout;
        const pids = new Set((await listening()).match(/(?<=pid=)\d+/g));
        assert.ok(pids.size > 0);
        for (const pid of pids) process.kill(Number(pid), 'SIGUSR1');
        assert.match(await cluster.must('logs', servers[0]!.metadata.name), /GET \//);
        assert.doesNotMatch(await listening(), /127\.0\.0\.1:|\[::1\]:/);
      },
    );
    await t.test('logs and commands as of any pod; a port is shut when its pod is gone', async () => {
      const [{ metadata, spec }] = servers as [Pod];
      assert.match(await cluster.must('logs', metadata.name), /GET \//);
      const said = await cluster.must(
        'exec',
        metadata.name,
        '--',
        'sh',
        '-c',
        'hostname; cat /etc/resolv.conf',
      );
      assert.match(said, new RegExp(`^${spec.nodeName}\nnameserver .*svc\\.cluster\\.local`, 's'));
      await cluster.must('delete', 'deployment', 'on-node');
      await eventually('the port is shut', async () =>
        (await answering(cluster, 'node-1', 'http://10.240.0.1:18090/', 1)) === undefined ? true : undefined,
      );
      await cluster.must('delete', 'pod', 'caller');
    });
  });
