/** Rules that ask for the sender's port, where nothing can. */
import type { Rule } from './model.ts';

/**
 * Tables do not tell ports of senders apart. `closed`: a rule that does matches none if it allows, and denies all
 * that it may match if it denies or passes. `open`: what some port of the sender may is allowed.
 */
export type SourcePorts = 'closed' | 'open';

export function withoutSources(rule: Rule, how: SourcePorts): Rule {
  if (!rule.sourcePorts) return rule;
  const isAllowing = rule.verdict === 'allow';
  if (how === 'open') return isAllowing ? rule : { ...rule, ports: [] };
  // One that asks for proof does so of others too that allow the same.
  return isAllowing && !rule.auth ? { ...rule, ports: [] } : { ...rule, verdict: 'deny' };
}
