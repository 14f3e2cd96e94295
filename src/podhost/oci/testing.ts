/** For tests: pods of images that the tests make themselves. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RUNTIME_ANNOTATION } from '../../api/runtime.ts';
import type { Pod } from '../../api/types.ts';
import { importImages } from '../../image/import.ts';
import { machineArchitecture } from '../../image/platform.ts';
import { busyboxLayer, layoutOf, tarOfFiles, type TarEntry } from '../../image/testing/make.ts';
import { type TestNode, testPod } from '../test-node.ts';
import type { Spec } from '../process/test-pods.ts';

/** Busybox with what `config` and `more` say; its id. */
export async function importBusybox(
  node: TestNode,
  name: string,
  config: Record<string, unknown> = {},
  more: readonly TarEntry[] = [],
): Promise<string> {
  const path = join(node.folder, 'image.tar');
  writeFileSync(path, tarOfFiles(layoutOf({ name, layers: [busyboxLayer(more)], config })));
  const [done] = await importImages({
    path,
    store: node.images,
    architecture: machineArchitecture(),
    maxBytes: 1 << 30,
    maxEntries: 10_000,
    now: () => new Date(),
  });
  return done!.id;
}

export function ociPod(
  name: string,
  container: Partial<Spec['containers'][number]>,
  spec: Partial<Spec> = {},
): Pod {
  const pod = testPod(name, {
    restartPolicy: 'Never',
    containers: [{ name: 'main', image: 'test/busybox:1', imagePullPolicy: 'IfNotPresent', ...container }],
    ...spec,
  });
  return { ...pod, metadata: { ...pod.metadata, annotations: { [RUNTIME_ANNOTATION]: 'oci' } } };
}
