/**
 * Policies as most languages can say them: for pods of one namespace, closed, and each rule lets something in or out.
 * What a policy has beyond it is lost.
 */
import type { LabelSelector } from '../../api/selector.ts';
import type { Direction, RuleRef } from '../decision.ts';
import type { Policy, PortMatch, Rule } from '../model.ts';
import { isLeaf, type Peer } from '../peers.ts';
import { TIERS } from '../tiers.ts';
import { closing } from './closing.ts';
import { anybody, BOTH, type Lose } from './loss.ts';

export interface Grant {
  readonly ref: RuleRef;
  /** Of leaves, or ranges that mean nothing of the cluster. Null: everybody. */
  readonly peers: readonly Peer[] | null;
  readonly ports: readonly PortMatch[] | null;
}

export interface Grants {
  readonly policy: Policy;
  readonly namespace: string;
  readonly pods: LabelSelector;
  /** Directions that it closes, with what it lets pass there. */
  readonly rules: Readonly<Partial<Record<Direction, readonly Grant[]>>>;
}

/** One for each namespace that it is for; none if it cannot be said so. @param namespaces that are known */
export function grantsOf(
  original: Policy,
  namespaces: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[],
  lose: Lose,
): Grants[] {
  const policy = original.tier === TIERS.default ? original : (closing(original, lose) ?? original);
  const { subject, tier, rules: all, isolates } = policy;
  const pods = subject.pods.written;
  if (tier !== TIERS.default || all.some(({ verdict }) => verdict !== 'allow')) {
    const why = tier !== TIERS.default ? 'stands before or behind other policies' : 'denies, or passes on';
    lose('spec', `${why}, which is not rendered to this language`, anybody());
    return [];
  }
  if (!pods || subject.accounts) {
    lose('spec', 'selects its pods by more than their labels', anybody());
    return [];
  }
  const rules: Partial<Record<Direction, readonly Grant[]>> = {};
  for (const direction of BOTH) {
    const own = all.filter(({ ref }) => ref.direction === direction);
    if (isolates[direction]) rules[direction] = own.flatMap((rule) => grantOf(rule, lose));
    else for (const { ref } of own) lose(ref.path, 'lets pass without closing its pods', anybody(direction));
  }
  // Without a direction it would be written as one that closes.
  if (!rules.ingress && !rules.egress) return [];
  return namesOf(policy, namespaces, lose).map((namespace) => ({ policy, namespace, pods, rules }));
}

function namesOf(
  { subject }: Policy,
  namespaces: Parameters<typeof grantsOf>[1],
  lose: Lose,
): readonly string[] {
  // No namespace has no name: such a policy is for nobody.
  if ('name' in subject.namespace) return [subject.namespace.name].filter((name) => name !== '');
  const { selector } = subject.namespace;
  lose('spec', 'is for namespaces by their labels; those that come later are left out', {
    directions: [],
    others: 'any',
  });
  return namespaces.filter(({ labels }) => selector.selects(labels)).map(({ name }) => name);
}

function grantOf(rule: Rule, lose: Lose): Grant[] {
  const { ref, peers, ports } = rule;
  const [direction, path] = [ref.direction, ref.path];
  const beyond = [
    rule.l7 && 'asks for requests',
    rule.auth && 'asks for proof of identity',
    rule.sourcePorts && 'asks for source ports',
    rule.log && 'is told, and decides nothing',
  ].find(Boolean);
  if (beyond) {
    lose(path, `${beyond}: left out`, anybody(direction));
    return [];
  }
  const known = peers?.filter((peer) => {
    if (isPlain(peer)) return true;
    lose(path, `cannot say "${peer.text}": left out`, anybody(direction));
    return false;
  });
  const sayable = ports?.filter((port) => {
    if ('name' in port || 'first' in port) return true;
    lose(path, 'is for ICMP messages or protocols without ports: left out', anybody(direction));
    return false;
  });
  // What nothing is left of lets nothing pass; a list without members would let everything.
  if (known?.length === 0 || sayable?.length === 0) return [];
  return [{ ref, peers: known ?? null, ports: sayable ?? null }];
}

/** A leaf that labels or ranges say, or a range that means nothing of the cluster. */
function isPlain(peer: Peer): boolean {
  if (peer.type === 'pods') {
    const { namespace, pods, accounts } = peer;
    return (
      !accounts &&
      pods.written !== undefined &&
      ('name' in namespace || namespace.selector.written !== undefined)
    );
  }
  if (peer.type === 'all-of') return outsideRange(peer) !== undefined;
  return isLeaf(peer) && (peer.type === 'block' || (peer.type === 'entity' && peer.entity !== 'host'));
}

/** The block of `outsideBlock`. */
export function outsideRange(peer: Peer): Extract<Peer, { type: 'block' }> | undefined {
  if (peer.type !== 'all-of' || peer.peers.length !== 2) return undefined;
  const block = peer.peers.find((each) => each.type === 'block');
  const isOutside = peer.peers.some((each) => each.type === 'entity' && each.entity === 'world');
  return isOutside ? block : undefined;
}
