/** Lists of peers that rules have: rules which ask the same of their peers have one set, and a set has a small number. */
import type { Policy, Rule } from '../model.ts';
import type { Peer } from '../peers.ts';
import type { PolicyDifference } from '../roles.ts';

/** Of a rule for everybody. */
export const EVERYBODY = -1;

export interface PeerSets {
  /** Returns whether `all` is another one now. */
  update(difference: PolicyDifference): boolean;
  /** Of a rule that has come and has not gone; `EVERYBODY` or its place in `all`. */
  of(rule: Rule): number;
  /** Undefined where a set has gone. */
  readonly all: readonly (readonly Peer[] | undefined)[];
}

interface Known {
  readonly id: number;
  readonly text: string;
  rules: number;
}

export function createPeerSets(): PeerSets {
  const byText = new Map<string, Known>();
  const byRule = new Map<Rule, Known>();
  const all: (readonly Peer[] | undefined)[] = [];
  const free: number[] = [];

  function add(rule: Rule, peers: readonly Peer[]): boolean {
    const text = textOf(peers);
    const known = byText.get(text);
    const set = known ?? { id: free.pop() ?? all.length, text, rules: 0 };
    set.rules++;
    byRule.set(rule, set);
    if (known) return false;
    byText.set(text, set);
    all[set.id] = peers;
    return true;
  }

  function remove(rule: Rule): boolean {
    const set = byRule.get(rule);
    byRule.delete(rule);
    if (!set || --set.rules > 0) return false;
    byText.delete(set.text);
    all[set.id] = undefined;
    free.push(set.id);
    return true;
  }

  return {
    all,
    update({ gone, come }) {
      let differs = false;
      // What stays in another rule is never gone in between.
      for (const { rule, peers } of rulesWithPeers(come)) differs = add(rule, peers) || differs;
      for (const { rule } of rulesWithPeers(gone)) differs = remove(rule) || differs;
      return differs;
    },
    of: (rule) => byRule.get(rule)?.id ?? EVERYBODY,
  };
}

const rulesWithPeers = (policies: readonly Policy[]) =>
  policies.flatMap(({ rules }) => rules.flatMap((rule) => (rule.peers ? [{ rule, peers: rule.peers }] : [])));

/** With lengths, so that no text of a peer can look like two. */
const textOf = (peers: readonly Peer[]): string =>
  [...new Set(peers.map(({ text }) => text))]
    .sort()
    .map((text) => `${text.length} ${text}`)
    .join('\n');
