/** Cluster-wide policies that let some pass and deny the rest, which languages without tiers say by closing. */
import type { Direction } from '../decision.ts';
import { type Policy, policyOf, type Rule } from '../model.ts';
import type { Peer } from '../peers.ts';
import { TIERS } from '../tiers.ts';
import { anybody, BOTH, type Lose } from './loss.ts';

/** Undefined if a direction of it does not end so. */
export function closing(policy: Policy, lose: Lose): Policy | undefined {
  const parts = BOTH.map((direction) => partOf(policy, direction));
  if (parts.some((part) => part === undefined)) return undefined;
  const known = parts.filter((part) => part !== undefined);
  const isolates = Object.fromEntries(BOTH.map((direction, i) => [direction, known[i]!.rest !== undefined]));
  lose('spec', 'is asked together with NetworkPolicies now, and not before or behind them', anybody());
  for (const [i, direction] of BOTH.entries()) {
    const { rest } = known[i]!;
    if (rest && !isEverybody(rest.peers))
      lose(rest.ref.path, 'what is no pod is denied too', { directions: [direction], others: 'outside' });
  }
  return policyOf({
    ...policy,
    tier: TIERS.default,
    isolates: isolates as Record<Direction, boolean>,
    rules: known.flatMap(({ allow }) => allow),
  });
}

interface Part {
  readonly allow: readonly Rule[];
  /** The rule that denies whatever is left; undefined where there are no rules. */
  readonly rest: Rule | undefined;
}

function partOf({ rules }: Policy, direction: Direction): Part | undefined {
  const own = rules.filter(({ ref }) => ref.direction === direction);
  if (own.length === 0) return { allow: [], rest: undefined };
  const at = own.findIndex((rule) => rule.verdict !== 'allow');
  const rest = own[at];
  const isRest = rest?.verdict === 'deny' && rest.ports === null && isEveryPod(rest.peers);
  return isRest ? { allow: own.slice(0, at), rest } : undefined;
}

const isEveryPod = (peers: readonly Peer[] | null): boolean =>
  isEverybody(peers) ||
  (peers ?? []).some(
    (peer) =>
      peer.type === 'pods' &&
      !peer.accounts &&
      peer.pods.text === '*' &&
      'selector' in peer.namespace &&
      peer.namespace.selector.text === '*',
  );

const isEverybody = (peers: readonly Peer[] | null): boolean =>
  peers === null ||
  ([4, 6] as const).every((family) =>
    peers.some(
      (peer) =>
        peer.type === 'block' &&
        peer.cidr.family === family &&
        peer.cidr.length === 0 &&
        peer.except.length === 0,
    ),
  );
