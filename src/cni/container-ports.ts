/** Runtimes say all host ports of a container anew for each network that it is in. */
import type { Ipam } from '../ipam/ipam.ts';
import { attachmentOf, baseAttachment, detailsOf } from './attachment.ts';
import type { PortMapping } from './host-ports.ts';
import type { Attachment } from './types.ts';

/** Those that lead to no other interface of the container yet: the first that has one keeps it. */
export function portsLeft(
  ipam: Pick<Ipam, 'list'>,
  { containerId, ifName }: Attachment,
  ports: readonly PortMapping[],
): PortMapping[] {
  if (ports.length === 0) return [];
  const held = ipam.list().flatMap((each) => {
    const other = baseAttachment(attachmentOf(each.key));
    const isBeside = other.containerId === containerId && other.ifName !== ifName;
    return isBeside ? (detailsOf(each).ports ?? []) : [];
  });
  return ports.filter((port) => !held.some((each) => isSame(each, port)));
}

const isSame = (a: PortMapping, b: PortMapping): boolean =>
  a.hostPort === b.hostPort &&
  a.containerPort === b.containerPort &&
  a.protocol === b.protocol &&
  a.hostIP === b.hostIP;
