import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { below, type CgroupSet, v1Paths } from '../../kernel/cgroup-set.ts';
import type { Controller } from '../../kernel/cgroup-limits.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { importBusybox, ociPod } from '../oci/testing.ts';
import { createTestNode, eventually, isReady, testPod } from '../test-node.ts';
import { containerLimits, oomScore, podLimits, sharesOf } from './limits.ts';
import { add, logOf, processPod, remove, sh, statusOf } from './test-pods.ts';

const MIB = 1 << 20;
const own = { name: 'main', image: 'none' };

test('limits and requests become what the kernel is told, as a kubelet reckons it', () => {
  assert.deepEqual(containerLimits(own), { shares: 2, pids: 4096 });
  const resources = { limits: { memory: '64Mi', cpu: '250m' } };
  assert.deepEqual(containerLimits({ ...own, resources }), {
    memory: 64 * MIB,
    cpu: 0.25,
    shares: 256,
    pids: 4096,
  });
  assert.deepEqual([0, 0.1, 1, 1.5, 1000].map(sharesOf), [2, 102, 1024, 1536, 262_144]);
  const sized = { ...own, resources };
  assert.deepEqual(podLimits(testPod('two', { containers: [sized, { ...sized, name: 'b' }] })), {
    cpu: 0.5,
    shares: 512,
  });
  // One without a limit may use what the others leave.
  assert.deepEqual(podLimits(testPod('part', { containers: [sized, { ...own, name: 'b' }] })), {
    shares: 256,
  });
  // The largest that is needed at one time.
  const initContainers = [
    { ...sized, name: 'side', restartPolicy: 'Always' },
    { ...own, name: 'init', resources: { limits: { memory: '200Mi', cpu: '2' } } },
  ];
  assert.deepEqual(podLimits(testPod('inits', { initContainers, containers: [sized] })), {
    cpu: 2.25,
    shares: 2304,
  });
});

test('who asks for little goes first when the machine is short of memory', () => {
  const GIB = 1 << 30;
  const score = (requests?: Record<string, string>, limits?: Record<string, string>) => {
    const container = { ...own, resources: { requests, limits } };
    return oomScore(testPod('one', { containers: [container] }), container, 8 * GIB);
  };
  assert.equal(score(undefined), 1000);
  assert.equal(score({ cpu: '1', memory: '1Gi' }), 875);
  assert.equal(score({ memory: '1' }), 999);
  assert.equal(score({ memory: '8Gi' }), 3);
  assert.equal(score({ cpu: '1', memory: '4Gi' }, { cpu: '1', memory: '4Gi' }), -997);
  const sidecar = { ...own, name: 'side', restartPolicy: 'Always' };
  const containers = [{ ...own, resources: { requests: { memory: '4Gi' } } }];
  assert.equal(oomScore(testPod('side', { initContainers: [sidecar], containers }), sidecar, 8 * GIB), 500);
});

const GROW = 'echo up; exec tail /dev/zero';
const resources = { limits: { memory: '16Mi', cpu: '500m' }, requests: { memory: '16Mi', cpu: '250m' } };
const FILES: Record<Controller, [v1: string, v2: string]> = {
  memory: ['memory.limit_in_bytes', 'memory.max'],
  cpu: ['cpu.shares', 'cpu.weight'],
  pids: ['pids.max', 'pids.max'],
};

/** What the kernel has; undefined where it has no such controller. */
function valueOf({ places }: CgroupSet, controller: Controller): string | undefined {
  const place = places[controller];
  if ('why' in place) return undefined;
  return readFileSync(join(place.path, FILES[controller][place.version - 1]!), 'utf8').trim();
}

test('a container that takes more memory than its limit is ended and started again, whatever runs it', {
  skip: needsRoot,
}, async (t) => {
  const node = await createTestNode();
  t.after(() => node.close());
  const { places } = node.cgroups;
  if ('why' in places.memory) return t.skip(`no memory controller: ${places.memory.why}`);
  await importBusybox(node, 'test/busybox:1');
  await node.startHost();
  const forever = {
    command: ['sh', '-c', 'echo up; trap "exit 0" TERM; while :; do sleep 0.1; done'],
    resources,
  };
  add(
    node,
    processPod('grow', [sh('main', GROW, { resources })]),
    ociPod('box', { command: ['sh', '-c', GROW], resources }, { restartPolicy: 'Always' }),
    ociPod('calm', forever),
    processPod('still', [{ ...own, ...forever }]),
  );
  for (const name of ['grow', 'box']) {
    const last = await eventually(`${name} is started again`, () => {
      const status = statusOf(node, name);
      return (status?.restartCount ?? 0) > 0 ? status?.lastState?.terminated : undefined;
    });
    assert.deepEqual([last.reason, last.exitCode], ['OOMKilled', 137], JSON.stringify([name, last]));
  }
  for (const name of ['calm', 'still']) {
    await eventually(`${name} is Ready`, () => isReady(node.pods.get(`uid-${name}`)));
    await eventually(`${name} has said so`, () => logOf(node, name) === 'up\n');
    const { status } = node.pods.get(`uid-${name}`)!;
    assert.equal(status?.qosClass, 'Burstable');
    const box = name === 'calm' && places.memory.version === 2 ? ['c-main', 'box'] : ['c-main'];
    const groups = below(node.cgroups, `uid-${name}`, ...box);
    assert.equal(valueOf(groups, 'memory'), String(16 * MIB));
    if (!('why' in places.pids)) assert.equal(valueOf(groups, 'pids'), '4096');
    if (!('why' in places.cpu)) assert.equal(valueOf(groups, 'cpu'), places.cpu.version === 1 ? '256' : '35');
    const first = node.host.find('shop', name)!;
    assert.ok(first.processes()?.isStarted);
    for (const path of v1Paths(groups)) assert.notEqual(readFileSync(join(path, 'cgroup.procs'), 'utf8'), '');
  }
  // An agent that comes looks at once what its pods have written.
  const storage = { limits: { 'ephemeral-storage': '1Mi' } };
  const script = 'head -c 2000000 /dev/zero > /var-of-its-own; echo up; exec sleep 1000';
  add(node, ociPod('fill', { command: ['sh', '-c', script], resources: storage }));
  await eventually('it has written', () => logOf(node, 'fill') === 'up\n');
  await node.stopHost();
  await node.startHost();
  await eventually('it is evicted', () => {
    const { phase, reason, containerStatuses } = node.pods.get('uid-fill')!.status!;
    return phase === 'Failed' && reason === 'Evicted' && containerStatuses?.[0]?.state?.terminated;
  });
  assert.equal(
    node.pods.get('uid-fill')!.status!.message,
    'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ',
  );
  const layer = join(node.folder, 'state/pods/uid-fill/oci-main/layer');
  await eventually('what it wrote is removed', () => !existsSync(layer));
  for (const name of ['grow', 'box', 'calm', 'still', 'fill']) {
    await remove(node, name);
    for (const path of v1Paths(below(node.cgroups, `uid-${name}`))) assert.ok(!existsSync(path), path);
  }
});
