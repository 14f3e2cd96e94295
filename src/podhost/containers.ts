/** Which container somebody means. */
import type { Pod } from '../api/types.ts';
import { HeddleError } from '../lib/errors.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];

/**
 * The name may be left out where there is one container, or one is marked as the default.
 * @throws HeddleError `NoSuchContainer`
 */
export function findContainer({ spec, metadata }: Pod, asked: string | undefined): Container {
  const all: Container[] = [
    ...(spec?.containers ?? []),
    ...(spec?.initContainers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ];
  const wanted = asked ?? metadata.annotations?.['kubectl.kubernetes.io/default-container'] ?? all[0]?.name;
  const found = all.find((one) => one.name === wanted);
  if (found) return found;
  throw new HeddleError('NoSuchContainer', `container ${wanted} is not valid for pod ${metadata.name}`, {
    hint: `it has ${all.map((one) => one.name).join(', ')}`,
  });
}
