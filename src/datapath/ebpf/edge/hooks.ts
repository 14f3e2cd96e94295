/** Programs at the uplink and at the loopback. */
import type { Netns } from '../../../kernel/netns.ts';
import type { Difference } from '../../backend.ts';
import { createHookPins, type Hook, type Place } from '../hook-pins.ts';
import type { Programs } from '../loader.ts';

const UPLINK_HOOKS: readonly Hook[] = [
  { name: 'from-uplink', program: 'from_uplink', direction: 'ingress' },
  { name: 'to-uplink', program: 'to_uplink', direction: 'egress' },
];
const LOOPBACK_HOOKS: readonly Hook[] = [
  { name: 'to-loopback', program: 'to_loopback', direction: 'egress' },
];
/** In every namespace. */
const LOOPBACK = 1;

export interface EdgeHooks {
  /** Attaches what is missing, and takes away what is at another link. `uplink` 0: there is none. */
  prune(uplink: number): Difference[];
  verify(uplink: number): Difference[];
  runs(program: string, index: number): boolean;
  /** Detaches everything, of earlier runs too. */
  remove(): void;
}

export function createEdgeHooks(programs: Pick<Programs, 'program' | 'linkPath'>, ns: Netns): EdgeHooks {
  const pins = createHookPins(programs, ns, [...UPLINK_HOOKS, ...LOOPBACK_HOOKS]);

  const wanted = (uplink: number): Place[] =>
    uplink === 0
      ? []
      : [
          ...LOOPBACK_HOOKS.map((hook) => ({ hook, index: LOOPBACK })),
          ...UPLINK_HOOKS.map((hook) => ({ hook, index: uplink })),
        ];

  return {
    prune(uplink) {
      const places = wanted(uplink);
      pins.detachBut(places);
      return places.filter(pins.attach).map(missing);
    },
    verify: (uplink) =>
      wanted(uplink)
        .filter((place) => !pins.isAttached(place))
        .map(missing),
    runs(program, index) {
      const hook = [...UPLINK_HOOKS, ...LOOPBACK_HOOKS].find((each) => each.program === program);
      return hook !== undefined && pins.runs({ hook, index });
    },
    remove: () => pins.detachBut([]),
  };
}

const missing = ({ hook }: Place): Difference => ({ kind: 'missing', what: `program ${hook.program}` });
