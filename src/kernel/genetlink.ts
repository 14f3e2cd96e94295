/** Generic netlink (linux/genetlink.h): families have names, and numbers that differ from boot to boot. */
import { HeddleError } from '../lib/errors.ts';
import { parseAttributes, text } from './netlink.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

const CONTROLLER = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR = { FAMILY_ID: 1, FAMILY_NAME: 2 } as const;

/** struct genlmsghdr: command, version, reserved. */
export const genlHeader = (command: number, version = 1): Buffer => Buffer.from([command, version, 0, 0]);

/**
 * The number of a family. The kernel loads its module where there is one.
 * @throws HeddleError `KernelFeature` with `hint`
 */
export function genlFamily(socket: NetlinkSocket, name: string, hint: string): number {
  const id = socket.get(
    {
      type: CONTROLLER,
      flags: 0,
      parts: [genlHeader(CTRL_CMD_GETFAMILY), text(CTRL_ATTR.FAMILY_NAME, name)],
      what: `find the netlink family ${name}`,
    },
    ({ body }) => parseAttributes(body, 4).get(CTRL_ATTR.FAMILY_ID)?.readUInt16LE(0),
    'ENOENT',
  );
  if (id === undefined) throw new HeddleError('KernelFeature', `this kernel has no ${name}`, { hint });
  return id;
}
