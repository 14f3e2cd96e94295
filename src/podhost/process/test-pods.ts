/** Pods of processes for tests. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RUNTIME_ANNOTATION } from '../../api/runtime.ts';
import type { Pod } from '../../api/types.ts';
import { eventually, type TestNode, testPod } from '../test-node.ts';
import type { Container } from './types.ts';

export type Spec = NonNullable<Pod['spec']>;

export const sh = (name: string, script: string, more: Partial<Container> = {}): Container => ({
  name,
  image: 'none',
  command: ['sh', '-c', script],
  ...more,
});

export function processPod(name: string, containers: Container[], spec: Partial<Spec> = {}): Pod {
  const pod = testPod(name, { containers, ...spec });
  return { ...pod, metadata: { ...pod.metadata, annotations: { [RUNTIME_ANNOTATION]: 'process' } } };
}

export function add(node: TestNode, ...pods: Pod[]): void {
  for (const pod of pods) node.pods.set(pod.metadata.uid!, pod);
  node.changed();
}

export const statusOf = (node: TestNode, name: string, container = 0) =>
  node.pods.get(`uid-${name}`)?.status?.containerStatuses?.[container];

/** What a run of a container has printed. */
export function logOf(node: TestNode, name: string, container = 'main', attempt = 0): string {
  const path = join(node.folder, 'logs', `shop_${name}_uid-${name}`, container, `${attempt}.log`);
  if (!existsSync(path)) return '';
  return readFileSync(path, 'utf8').replaceAll(/^\S+ (stdout|stderr) [PF] /gm, '');
}

export async function remove(node: TestNode, name: string): Promise<void> {
  const pod = node.pods.get(`uid-${name}`)!;
  const deletion = { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30 };
  add(node, { ...pod, metadata: { ...pod.metadata, ...deletion } });
  await eventually(`${name} is gone`, () => !node.pods.has(`uid-${name}`) && !node.host.find('shop', name));
}

/** What the only container of a pod that ends has printed, once it has ended. */
export async function outputOf(node: TestNode, pod: Pod): Promise<string> {
  add(node, pod);
  const { name, uid } = pod.metadata;
  await eventually(`${name} has ended`, () => {
    const phase = node.pods.get(uid!)?.status?.phase;
    return phase === 'Succeeded' || phase === 'Failed';
  });
  return logOf(node, name);
}
