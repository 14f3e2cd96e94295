/** Names and link addresses that follow from an attachment alone, so that nothing has to be looked up to remove it. */
import { createHash } from 'node:crypto';
import type { Attachment } from './types.ts';

export const OWNER_PREFIX = 'heddle:pod:';
/** Of a link on its way: whoever finds it after a crash knows that its ADD did not end. */
const UNFINISHED_PREFIX = 'heddle:new:';

const digest = (attachment: Attachment): Buffer =>
  createHash('sha256')
    .update(
      attachment.ifName === 'eth0'
        ? attachment.containerId
        : `${attachment.containerId}/${attachment.ifName}`,
    )
    .digest();

export const LINK_PREFIX = 'hd';

/** The host's end of a pod's veth: `hd` and ten hex digits (an interface name has at most 15). */
export const hostInterfaceName = (attachment: Attachment): string =>
  `${LINK_PREFIX}${digest(attachment).toString('hex', 0, 5)}`;

/** Locally administered unicast addresses of both ends, the same at every try. */
export function macAddresses(attachment: Attachment): { host: string; pod: string } {
  const hash = digest(attachment);
  return { host: mac(0xee, hash.subarray(5, 10)), pod: mac(0xf6, hash.subarray(10, 15)) };
}

function mac(first: number, rest: Uint8Array): string {
  return [first, ...rest].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The link's alias: who it belongs to. The kernel keeps at most 255 bytes. */
export const ownerAlias = (pod: { namespace: string; name: string; uid: string }): string =>
  `${OWNER_PREFIX}${pod.namespace}/${pod.name}:${pod.uid}`.slice(0, 255);

/**
 * With all that a lost address book cannot be written again without, behind a blank each: the network, and how the
 * runtime knows the attachment.
 */
export function fullAlias(alias: string, network: string, { containerId, ifName }: Attachment): string {
  const tail = ` ${network} ${containerId}/${ifName}`;
  // The kernel counts bytes; ids and networks have one for each character.
  const head = Buffer.from(alias).subarray(0, Math.max(OWNER_PREFIX.length, 255 - tail.length));
  return `${head.toString()}${tail}`;
}

export interface Mark {
  /** `namespace/name` */
  readonly label: string;
  readonly network: string;
  readonly attachment: Attachment;
}

/** What `fullAlias` says; undefined of any other, and of what would obey nobody but a terminal. */
export function parseFullAlias(alias = ''): Mark | undefined {
  if (/\p{Cc}/u.test(alias)) return undefined;
  const match = /^heddle:pod:(.*) ([^ ]+) ([^ /]+)\/([^ /]+)$/.exec(alias);
  if (!match) return undefined;
  const [, head = '', network = '', containerId = '', ifName = ''] = match;
  const colon = head.lastIndexOf(':');
  return {
    label: colon < 0 ? head : head.slice(0, colon),
    network,
    attachment: { containerId, ifName },
  };
}

/** The same while the attachment is being made. */
export const unfinishedAlias = (alias: string): string =>
  `${UNFINISHED_PREFIX}${alias.slice(OWNER_PREFIX.length)}`;

export const isOwned = (alias: string | undefined): boolean =>
  alias !== undefined && (alias.startsWith(OWNER_PREFIX) || alias.startsWith(UNFINISHED_PREFIX));

export const isFinished = (link: { alias?: string | undefined } | undefined): boolean =>
  link?.alias?.startsWith(OWNER_PREFIX) === true;

export function parseOwnerAlias(alias: string): { namespace: string; name: string; uid: string } | undefined {
  const match = /^heddle:pod:([^/:]*)\/([^/:]*):(.+)$/.exec(alias);
  return match ? { namespace: match[1]!, name: match[2]!, uid: match[3]! } : undefined;
}
