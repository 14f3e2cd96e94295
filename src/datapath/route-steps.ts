/**
 * How a node goes over from one way between nodes to another, in steps that all nodes take together. After each of
 * them every node hears what every other may send, and no pod sends more than fits wherever it may pass. Pure.
 */
import { HeddleError } from '../lib/errors.ts';
import { type Encapsulation, ENCAPSULATIONS } from './encapsulation.ts';

export interface WayOfNode {
  readonly sends: Encapsulation;
  /** With `sends`. */
  readonly accepts: readonly Encapsulation[];
  /** Of pods' links. */
  readonly mtu: number;
  /** Of what pods send, where that is less: their links still take in more. */
  readonly limit?: number;
}

/**
 * `accept`: also what comes by the other way, and pods send what fits both; `send`: by the other way; `resize`: pods'
 * links are as it wants them; `settle`: nothing else is heard any more.
 */
export type RouteStep = 'accept' | 'send' | 'resize' | 'settle';

export const ROUTE_STEPS: readonly RouteStep[] = ['accept', 'send', 'resize', 'settle'];

export const wayOf = (way: Encapsulation, mtuOf: (way: Encapsulation) => number): WayOfNode => ({
  sends: way,
  accepts: [way],
  mtu: mtuOf(way),
});

/**
 * The same step twice is as once.
 * @throws HeddleError `RouteStep` where an earlier one was left out
 */
export function takeStep(
  now: WayOfNode,
  step: RouteStep,
  to: Encapsulation,
  mtuOf: (way: Encapsulation) => number,
): WayOfNode {
  const { sends, mtu } = now;
  const accepts = ENCAPSULATIONS.filter((way) => now.accepts.includes(way) || way === sends);
  const must = (condition: boolean, first: RouteStep): void => {
    if (condition) return;
    throw new HeddleError(
      'RouteStep',
      `${step} ${to}: this node sends by ${sends} and hears ${accepts.join(', ')}`,
      {
        hint: `${first} ${to} comes before; "heddle datapath route ${to}" takes all steps`,
      },
    );
  };
  const limited = (ways: readonly Encapsulation[]): number => Math.min(mtu, ...ways.map(mtuOf));
  switch (step) {
    case 'accept': {
      const both = ENCAPSULATIONS.filter((way) => accepts.includes(way) || way === to);
      return { sends, accepts: both, mtu, limit: limited(both) };
    }
    case 'send':
      must(accepts.includes(to), 'accept');
      return { ...now, sends: to, accepts };
    case 'resize':
      must(sends === to, 'send');
      return { sends, accepts, mtu: mtuOf(to), limit: Math.min(mtuOf(to), limited(accepts)) };
    case 'settle':
      must(sends === to && mtu === mtuOf(to), 'resize');
      return wayOf(to, mtuOf);
    default:
      throw new HeddleError('BadRequest', `step ${String(step)}: expected ${ROUTE_STEPS.join(', ')}`);
  }
}
