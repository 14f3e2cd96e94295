/**
 * Programs at the node's links. A pod's link keeps its programs for as long as it is there, whether or not the plan
 * knows the pod: they let nothing through that the maps do not know.
 */
import type { Netns } from '../../../kernel/netns.ts';
import type { Difference } from '../../backend.ts';
import { createHookPins, type Hook, type Place } from '../hook-pins.ts';
import type { Programs } from '../loader.ts';

const POD_HOOKS: readonly Hook[] = [
  { name: 'from-pod', program: 'from_pod', direction: 'ingress' },
  { name: 'to-pod', program: 'to_pod', direction: 'egress' },
];
const TO_OVERLAY: Hook = { name: 'to-overlay', program: 'to_overlay', direction: 'egress' };
const FRAMED_HOOKS: readonly Hook[] = [
  { name: 'from-overlay', program: 'from_overlay', direction: 'ingress' },
  TO_OVERLAY,
];
/** Packets of such a tunnel have no frame. */
const BARE_HOOKS: readonly Hook[] = [
  { name: 'from-tunnel', program: 'from_tunnel', direction: 'ingress' },
  TO_OVERLAY,
];
const HOOKS: readonly Hook[] = [
  ...POD_HOOKS,
  ...FRAMED_HOOKS,
  ...BARE_HOOKS.filter((hook) => hook !== TO_OVERLAY),
];

export interface NodeLink {
  readonly index: number;
  readonly name: string;
}

export interface TunnelNow extends NodeLink {
  readonly isFramed: boolean;
}

export interface LinkPrograms {
  /** Says what was missing. */
  attachPod(link: NodeLink): Difference[];
  attachTunnels(links: readonly TunnelNow[]): Difference[];
  /** Replaces programs of earlier runs too, and forgets links that are gone. */
  prune(pods: readonly NodeLink[], tunnels: readonly TunnelNow[]): Difference[];
  verify(pods: readonly NodeLink[], tunnels: readonly TunnelNow[]): Difference[];
  /** Whether at the link runs this very program, not one of an earlier or another build. */
  runs(program: string, index: number): boolean;
  /** Lets go of pins of links that are not among these. */
  forget(links: readonly NodeLink[]): void;
  /** Detaches everything. */
  remove(): void;
}

interface NamedPlace extends Place {
  /** Of the link. */
  readonly name: string;
}

const placesAt = (hooks: readonly Hook[], link: NodeLink): NamedPlace[] =>
  hooks.map((hook) => ({ hook, ...link }));

const tunnelPlaces = (link: TunnelNow): NamedPlace[] =>
  placesAt(link.isFramed ? FRAMED_HOOKS : BARE_HOOKS, link);

const wanted = (pods: readonly NodeLink[], tunnels: readonly TunnelNow[]): NamedPlace[] => [
  ...pods.flatMap((link) => placesAt(POD_HOOKS, link)),
  ...tunnels.flatMap(tunnelPlaces),
];

/** @param ns of the node */
export function createLinkPrograms(
  programs: Pick<Programs, 'program' | 'linkPath'>,
  ns: Netns,
): LinkPrograms {
  const pins = createHookPins(programs, ns, HOOKS);

  // Each time: the number, and so the pin, may be that of an earlier link, whose programs went with it.
  const attach = (places: readonly NamedPlace[]) => places.filter(pins.attach).map(missing);

  return {
    attachPod: (link) => attach(placesAt(POD_HOOKS, link)),
    attachTunnels: (links) => attach(links.flatMap(tunnelPlaces)),
    prune(pods, tunnels) {
      const places = wanted(pods, tunnels);
      pins.detachBut(places);
      return attach(places);
    },
    verify: (pods, tunnels) =>
      wanted(pods, tunnels)
        .filter((place) => !pins.isAttached(place))
        .map(missing),
    runs(program, index) {
      const hook = HOOKS.find((each) => each.program === program);
      return hook !== undefined && pins.runs({ hook, index });
    },
    forget(links) {
      const known = new Set(links.map(({ index }) => index));
      for (const place of pins.all()) if (!known.has(place.index)) pins.detach(place);
    },
    remove() {
      // The overlay's first: an answer that comes by there afterwards is for whoever translates now.
      const places = pins.all().toSorted((a, b) => (a.hook.name < b.hook.name ? -1 : 1));
      for (const place of places) pins.detach(place);
    },
  };
}

const missing = ({ hook, name }: NamedPlace): Difference => ({
  kind: 'missing',
  what: `program ${hook.program} at ${name}`,
});
