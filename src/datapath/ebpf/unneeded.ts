import { probeTunnels } from '../../kernel/tunnel-features.ts';

/**
 * Programs for links that this kernel does not have: each costs a tenth of a second to load. That of tunnels without
 * frames is for GRE alone (core/links.ts).
 */
export function unneededPrograms(): readonly string[] {
  const { gre, ip6gre } = probeTunnels();
  return gre.ok || ip6gre.ok ? [] : ['from_tunnel'];
}
