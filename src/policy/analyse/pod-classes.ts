/** Sorts pods by the peer terms that hold for them, as the compiler's identities do, but also pods without address. */
import type { Address, Family } from '../../lib/ip.ts';
import { nestBlocks } from '../blocks.ts';
import type { PeerClass } from '../identities.ts';
import { addressTerms, nodeEntities, podEntities } from '../terms.ts';
import { type NamedPorts, namedPortsText } from '../named-ports.ts';
import type { Peers } from '../peer-terms.ts';
import { hasAccount, type PodPeer } from '../peers.ts';
import type { Alike } from '../roles.ts';
import type { Scene } from '../scene.ts';
import type { WorldPod } from '../world.ts';

const noNames: NamedPorts = new Map();

export function createPodClasses(scene: Scene, groups: readonly Alike[], peers: Peers, family: Family) {
  const classes: PeerClass[] = [];
  const byText = new Map<string, number>();
  const blocks = nestBlocks(addressTerms(scene, peers));
  const held = createHolders(scene, peers.pods);
  const ofNode = nodeEntities(peers);
  const alikeOf = new Map<WorldPod, readonly string[]>();
  for (const group of groups) {
    const own = [...held(group), ...podEntities(peers)];
    for (const pod of group.pods) alikeOf.set(pod, own);
  }
  return {
    classes,
    number(pod: WorldPod, address: Address | undefined): number {
      const within = address ? blocks.match(address) : [];
      const own = alikeOf.get(pod) ?? (pod.hostNetwork === true ? ofNode : []);
      const all = within.length === 0 ? own : [...own, ...within];
      const named = pod.hostNetwork === true ? noNames : peers.names(all, pod);
      const text = `${family} ${all.join(' | ')} # ${namedPortsText(named)}`;
      const known = byText.get(text);
      if (known !== undefined) return known;
      byText.set(text, classes.length);
      return classes.push({ identity: 0, terms: new Set(all), named }) - 1;
    },
  };
}

/** The pod terms that hold for pods alike, in one order for all. */
function createHolders(scene: Scene, terms: ReadonlyMap<string, PodPeer>) {
  const byNamespace = new Map<string, [string, PodPeer][]>();
  const open: [string, PodPeer][] = [];
  for (const entry of [...terms].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { namespace } = entry[1];
    if (!('name' in namespace)) open.push(entry);
    else byNamespace.set(namespace.name, [...(byNamespace.get(namespace.name) ?? []), entry]);
  }
  const openIn = new Map<string, [string, PodPeer][]>();
  return (alike: Alike): string[] => {
    const { namespace, labels } = alike;
    let here = openIn.get(namespace);
    if (!here) {
      const own = scene.namespaceLabels(namespace);
      here = open.filter(([, peer]) => 'selector' in peer.namespace && peer.namespace.selector.selects(own));
      openIn.set(namespace, here);
    }
    return [...(byNamespace.get(namespace) ?? []), ...here].flatMap(([text, { pods, accounts }]) =>
      pods.selects(labels) && hasAccount(scene, accounts, alike) ? [text] : [],
    );
  };
}
