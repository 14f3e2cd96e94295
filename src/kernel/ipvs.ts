/** Virtual services of one namespace: IPVS, programmed by netlink. */
import { genlFamily, genlHeader } from './genetlink.ts';
import {
  destinationPart,
  IPVS_CMD,
  type IpvsDestination,
  type IpvsKey,
  type IpvsListed,
  type IpvsService,
  parseDestination,
  parseService,
  serviceKeyPart,
  servicePart,
} from './ipvs-codec.ts';
import type { Request } from './netlink.ts';
import { netlinkError, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';
import { errnoName } from './ffi.ts';

const NETLINK_GENERIC = 16;

/** `add` of what is there already and `delete` of what is not are no errors. */
export type IpvsEdit =
  | { readonly do: 'add' | 'set'; readonly service: IpvsService }
  | { readonly do: 'delete'; readonly service: { readonly key: IpvsKey } }
  | { readonly do: 'add' | 'set' | 'delete'; readonly of: IpvsKey; readonly destination: IpvsDestination };

export interface Ipvs {
  services(): IpvsService[];
  service(key: IpvsKey): IpvsService | undefined;
  /** Empty where there is no such service. */
  destinations(key: IpvsKey): IpvsListed[];
  /** In order, many at once. @throws HeddleError `Netlink` for the first that failed; those after it are tried too */
  run(edits: readonly IpvsEdit[]): void;
  close(): void;
}

/** `tcp 10.96.0.1:80`, `fwmark 7 IPv6`: as ipvsadm names them. */
export function ipvsText(key: IpvsKey): string {
  if ('fwmark' in key) return `fwmark ${key.fwmark} IPv${key.family}`;
  const protocol = { 6: 'tcp', 17: 'udp', 132: 'sctp' }[key.protocol] ?? String(key.protocol);
  return `${protocol} ${key.family === 6 ? `[${key.address}]` : key.address}:${key.port}`;
}

/** What two edits of one kind that come to the same answer with. */
const HARMLESS: Readonly<Record<IpvsEdit['do'], readonly string[]>> = {
  add: ['EEXIST'],
  set: [],
  delete: ['ESRCH', 'ENOENT'],
};
const COMMANDS = {
  service: { add: IPVS_CMD.NEW_SERVICE, set: IPVS_CMD.SET_SERVICE, delete: IPVS_CMD.DEL_SERVICE },
  destination: { add: IPVS_CMD.NEW_DEST, set: IPVS_CMD.SET_DEST, delete: IPVS_CMD.DEL_DEST },
} as const;

/** @throws HeddleError `KernelFeature` where this kernel has no IPVS */
export function openIpvs(ns?: Netns): Ipvs {
  const socket = openNetlink(NETLINK_GENERIC, ns);
  const where = ns ? ` in ${ns.path}` : '';
  let type: number;
  try {
    type = genlFamily(
      socket,
      'IPVS',
      'kernel option CONFIG_IP_VS (modprobe ip_vs); or choose another data path: heddle up --datapath nftables',
    );
  } catch (error) {
    socket.close();
    throw error;
  }

  const make = (command: number, what: string, parts: readonly Buffer[]): Request => ({
    type,
    flags: 0,
    parts: [genlHeader(command), ...parts],
    what: what + where,
  });

  function request(edit: IpvsEdit): Request {
    if ('of' in edit) {
      const { of, destination } = edit;
      return make(
        COMMANDS.destination[edit.do],
        `${edit.do} the destination ${destination.address} port ${destination.port} of ${ipvsText(of)}`,
        [serviceKeyPart(of), destinationPart(destination)],
      );
    }
    const part = edit.do === 'delete' ? serviceKeyPart(edit.service.key) : servicePart(edit.service);
    return make(COMMANDS.service[edit.do], `${edit.do} the virtual service ${ipvsText(edit.service.key)}`, [
      part,
    ]);
  }

  return {
    services: () => socket.dump(make(IPVS_CMD.GET_SERVICE, 'list virtual services', []), parseService),
    service: (key) =>
      socket.get(
        make(IPVS_CMD.GET_SERVICE, `read the virtual service ${ipvsText(key)}`, [serviceKeyPart(key)]),
        parseService,
        'ESRCH',
      ),
    destinations: (key) =>
      socket.dump(
        make(IPVS_CMD.GET_DEST, `list destinations of ${ipvsText(key)}`, [serviceKeyPart(key)]),
        (message) => parseDestination(message, key.family),
      ),
    run(edits) {
      const requests = edits.map(request);
      const answers = socket.exchange(requests);
      for (const [i, edit] of edits.entries()) {
        const [answer, asked] = [answers[i], requests[i]];
        if (!answer || !asked || answer.errno === 0) continue;
        if (!HARMLESS[edit.do].includes(errnoName(answer.errno))) throw netlinkError(asked, answer);
      }
    },
    close: () => socket.close(),
  };
}
