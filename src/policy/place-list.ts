/** Who and where all are, and how that differs from the world before. */
import { createPodDirectory, type PodDifference, type PodDirectory } from './pod-directory.ts';
import { sameItems } from './policy-list.ts';
import { buildPlaces, type Places } from './scene.ts';
import type { World } from './world.ts';

export interface PlaceChange {
  /**
   * The very same object as before where nothing has changed. Where only pods have, what the former one says of pods is
   * not true any more: it must not be asked.
   */
  readonly places: Places;
  /** Undefined: more than pods has changed, or all of them. */
  readonly pods: PodDifference | undefined;
}

const NONE: PodDifference = { gone: [], come: [], addresses: new Set() };

export function createPlaces(): (world: World) => PlaceChange {
  let last: { readonly places: Places; readonly directory: PodDirectory } | undefined;
  return (world) => {
    const former = last?.places;
    if (former && isSameBesidePods(former, world)) {
      if (sameItems(former.world.pods, world.pods)) return { places: former, pods: NONE };
      const pods = last!.directory.change(world.pods);
      if (pods) {
        const places = { ...former, world, pods: last!.directory.pods };
        last = { places, directory: last!.directory };
        return { places, pods };
      }
    }
    const directory = createPodDirectory(world.pods);
    last = { places: buildPlaces(former ? withSameLists(former, world) : world, directory), directory };
    return { places: last.places, pods: undefined };
  };
}

const isSameBesidePods = (former: Places, world: World): boolean =>
  sameItems(former.world.nodes, world.nodes) &&
  sameItems(former.namespaces, world.namespaces) &&
  sameItems(former.world.nodeLocal ?? [], world.nodeLocal ?? []) &&
  sameItems(former.accounts ?? [], world.serviceAccounts ?? []) &&
  sameItems(former.world.names ?? [], world.names ?? []);

/** Lists that say what they said are the very same ones. */
function withSameLists(former: Places, world: World): World {
  const namespaces = sameItems(former.namespaces, world.namespaces) ? former.namespaces : world.namespaces;
  const isSame = sameItems(former.accounts ?? [], world.serviceAccounts ?? []);
  const accounts = isSame && former.accounts ? { serviceAccounts: former.accounts } : {};
  return { ...world, namespaces, ...accounts };
}
