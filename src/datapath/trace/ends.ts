/** From the words of a user (`shop/frontend`, `shop/cart:80`, `10.0.0.1:80`, `[fd00::1]:80`) to addresses. */
import { HeddleError } from '../../lib/errors.ts';
import { formatAddress, type Family, tryParseAddress } from '../../lib/ip.ts';
import type { Protocol } from '../../policy/world.ts';
import type { NodeView } from '../dump/source.ts';
import type { ServiceFrontend } from '../plan/tables.ts';
import type { TracePacket } from './result.ts';

export interface PacketWords {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly family?: Family | undefined;
  /** Pod that sends it, in place of who has the address `from`. */
  readonly sender?: string | undefined;
}

interface End {
  readonly addresses: readonly string[];
  readonly port: number;
}

/** @throws HeddleError `BadPacket` */
export function packetOf(words: PacketWords, views: readonly NodeView[]): TracePacket {
  const hasPorts = words.protocol === 'TCP' || words.protocol === 'UDP' || words.protocol === 'SCTP';
  const from = readEnd(words.from, views, words.protocol, false);
  const to = readEnd(words.to, views, words.protocol, true);
  if (hasPorts && to.port === 0)
    throw badPacket(
      `"${words.to}": expected a port, as in ${words.to.includes(':') ? '[fd00::1]:80' : `${words.to}:80`}`,
    );
  const { sender } = words;
  if (sender !== undefined && !views[0]?.pods.some(({ pod }) => pod === sender))
    throw badPacket(`there is no pod ${sender}`);
  const families: readonly Family[] = words.family === undefined ? [4, 6] : [words.family];
  for (const family of families) {
    const of = ({ addresses }: End) => addresses.find((each) => each.includes(':') === (family === 6));
    const [src, dst] = [of(from), of(to)];
    if (src !== undefined && dst !== undefined)
      return {
        protocol: words.protocol,
        src,
        sport: from.port,
        dst,
        dport: hasPorts ? to.port : 0,
        ...(sender === undefined ? {} : { sender }),
      };
  }
  throw badPacket(
    `${words.from} and ${words.to} have no addresses of ${words.family === undefined ? 'one family' : `family ${words.family}`}`,
  );
}

function readEnd(text: string, views: readonly NodeView[], protocol: Protocol, isServer: boolean): End {
  const { host, port } = split(text);
  const address = tryParseAddress(host);
  if (address) return { addresses: [formatAddress(address)], port };
  const node = views[0]?.nodes.find(({ name }) => host === name || host === `node/${name}`);
  if (node) return { addresses: node.addresses, port };
  if (!/^[^/\s]+\/[^/\s]+$/.test(host))
    throw badPacket(`"${text}": expected an address, namespace/pod, namespace/service or a node`);
  const service = isServer ? frontendsOf(host, views) : [];
  const pods = views[0]?.pods ?? [];
  const exact = pods.find(({ pod }) => pod === host);
  if (exact) return { addresses: exact.addresses, port };
  if (service.length > 0) return { addresses: serving(service, host, port, protocol), port };
  const member = pods.find(({ pod, addresses }) => addresses.length > 0 && isMemberOf(pod, host));
  if (member) return { addresses: member.addresses, port };
  throw badPacket(`there is no pod ${host}${isServer ? ', and no service of this name' : ''}`);
}

/** `shop/frontend-7d4b9c6f5-x2x9z` and `shop/frontend-0` belong to the workload `shop/frontend`. */
function isMemberOf(pod: string, workload: string): boolean {
  return pod.startsWith(`${workload}-`) && /^-([a-z0-9]+-)?[a-z0-9]+$/.test(pod.slice(workload.length));
}

const frontendsOf = (service: string, views: readonly NodeView[]): ServiceFrontend[] =>
  [...(views[0]?.state.services.values() ?? [])].filter((each) => each.service === service);

function serving(all: readonly ServiceFrontend[], host: string, port: number, protocol: Protocol): string[] {
  const found = all.filter((each) => each.port === port && each.protocol === protocol);
  if (found.length > 0)
    return found.toSorted((a, b) => rank(a.kind) - rank(b.kind)).map(({ address }) => address);
  const ports = [...new Set(all.map((each) => `${each.protocol} ${each.port}`))].join(', ');
  throw badPacket(
    `service ${host} has no ${protocol} port ${port === 0 ? '' : port}`.trim() + ` (it has ${ports})`,
  );
}

const rank = (kind: string): number => (kind === 'ClusterIP' ? 0 : 1);

function split(text: string): { host: string; port: number } {
  const match = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text) ?? /^([^:]*)(?::(\d{1,5}))?$/.exec(text);
  // An IPv6 address without brackets has no port.
  if (!match) return { host: text, port: 0 };
  const port = Number(match[2] ?? 0);
  if (port > 65_535 || (match[2] !== undefined && port === 0))
    throw badPacket(`"${text}": expected a port from 1 to 65535`);
  return { host: match[1] ?? '', port };
}

const badPacket = (message: string): HeddleError =>
  new HeddleError('BadPacket', message, {
    hint: 'for example: heddle datapath trace shop/frontend shop/cart:80 --protocol tcp',
  });
