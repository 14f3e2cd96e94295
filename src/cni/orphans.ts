/** Leases without an owner: links and addresses of attachments that nobody remembers. */
import type { Ipam } from '../ipam/ipam.ts';
import type { Route } from '../kernel/route.ts';
import { attachmentOf } from './attachment.ts';
import { hostInterfaceName, isOwned, OWNER_PREFIX } from './names.ts';

export interface OrphanDeps {
  node: Route;
  ipam: Ipam;
  /** Container ids of the attachments that are wanted, or on their way. */
  known: ReadonlySet<string>;
}

/** Removes what no known attachment owns; says what that was. Links without our mark are left alone. */
export async function removeOrphans({ node, ipam, known }: OrphanDeps): Promise<string[]> {
  const removed: string[] = [];
  const wanted = new Set<string>();
  for (const { key, label } of ipam.list()) {
    const attachment = attachmentOf(key);
    if (known.has(attachment.containerId)) {
      wanted.add(hostInterfaceName(attachment));
      continue;
    }
    await ipam.release(key);
    removed.push(`addresses of ${label}`);
  }
  for (const { name, alias } of node.links()) {
    if (!isOwned(alias) || wanted.has(name)) continue;
    if (node.deleteLink(name)) removed.push(`link ${name} of ${alias?.slice(OWNER_PREFIX.length)}`);
  }
  return removed;
}
