/** A flow in a user's words, from flags or from a case of a file: what they say apart, and together. */
import type { Command } from 'commander';
import { HeddleError } from '../../lib/errors.ts';
import { type Family, tryParseAddress } from '../../lib/ip.ts';
import type { Estate } from '../../policy/analyse/estate.ts';
import type { Flow, FlowPeer, Protocol } from '../../policy/world.ts';
import { collect } from '../flags.ts';
import { findEnd, portOf } from './ends.ts';
import { flagName, type NameOf, requestOf, type RequestWords } from './request.ts';

/** Each as the user wrote it. */
export interface FlowWords extends RequestWords {
  readonly from: string;
  readonly to: string;
  readonly port?: string | undefined;
  readonly protocol?: string | undefined;
  readonly sourcePort?: string | undefined;
  /** `8`, `3/4`: type and code. */
  readonly icmp?: string | undefined;
  readonly ipv6?: boolean | undefined;
  readonly tls?: string | undefined;
  readonly principal?: string | undefined;
  readonly sni?: string | undefined;
  /** The address where the request began. */
  readonly remote?: string | undefined;
  /** `name=allow`, `name=deny` */
  readonly authorizers?: readonly string[] | undefined;
}

export interface FlowFlags extends Omit<FlowWords, 'headers' | 'claims' | 'authorizers'> {
  readonly header?: string[];
  readonly claim?: string[];
  readonly authorizer?: string[];
}

export const withFlow = (command: Command): Command =>
  command
    .requiredOption('--from <end>', 'a workload, a pod or an address')
    .requiredOption('--to <end>', 'a workload, a pod or an address')
    .option('--port <port>', 'of the destination: a number, or its name there (53 with --dns)')
    .option(
      '--protocol <name>',
      'tcp, udp, sctp, icmp, or an IP protocol number (tcp; udp with --dns, icmp with --icmp)',
    )
    .option('--source-port <port>', 'of the sender')
    .option('--icmp <type[/code]>', 'one message of ICMP, as in 8 or 3/4')
    .option('--http <request>', 'a method and a path: GET /x')
    .option('--grpc <call>', 'a service and a method: shop.v1.Cart/AddItem')
    .option('-H, --header <header>', 'of the request, "Name: value"; repeatable', collect)
    .option('--claim <name=value>', "of the request's verified token; repeatable", collect)
    .option('--dns <name>', 'a query for this name')
    .option('--kafka <request>', 'a request of Kafka and its topic: "produce orders" (version=N, client=ID)')
    .option('--not-http', 'something that no proxy reads')
    .option('--tls <how>', 'how it comes to the proxy: mutual, simple or none')
    .option('--principal <name>', "of the sender's certificate: cluster.local/ns/shop/sa/web")
    .option('--sni <name>', 'the server name that TLS asks for')
    .option('--remote <address>', 'where the request began, if a proxy handed it on')
    .option(
      '--authorizer <name=answer>',
      'what an authorizer outside says: allow or deny; repeatable',
      collect,
    )
    .option('--ipv6', 'between pods that have both families');

export const wordsOf = ({ header, claim, authorizer, ...rest }: FlowFlags): FlowWords => ({
  ...rest,
  headers: header,
  claims: claim,
  authorizers: authorizer,
});

/** @param nameOf what the user calls a field @throws HeddleError `BadFlag` */
export function readFlow(
  estate: Estate,
  words: FlowWords,
  namespace: string,
  nameOf: NameOf = flagName,
): Flow {
  const src = findEnd(estate, nameOf('from'), words.from, namespace);
  const dst = findEnd(estate, nameOf('to'), words.to, namespace);
  const kind = readProtocol(words, nameOf);
  const { protocol } = kind;
  const port = hasPorts(protocol)
    ? portOf(words.port ?? (words.dns === undefined ? undefined : '53'), protocol, dst.pod, nameOf('port'))
    : noPort(words, protocol, nameOf);
  const sourcePort =
    words.sourcePort === undefined
      ? undefined
      : portOf(words.sourcePort, protocol, undefined, nameOf('sourcePort'));
  const request = requestOf(words, protocol, nameOf);
  const peer = readPeer(words, protocol, nameOf);
  const providers = readAuthorizers(words.authorizers ?? [], nameOf);
  const family = words.ipv6 ? 6 : kind.family;
  if (words.ipv6 && kind.family === 4) throw refuse(`${nameOf('ipv6')}: protocol 1 is of IPv4`);
  return {
    src: src.end,
    dst: dst.end,
    protocol,
    port,
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(kind.icmp ? { icmp: kind.icmp } : {}),
    ...(kind.protocolNumber === undefined ? {} : { protocolNumber: kind.protocolNumber }),
    ...(request ? { request } : {}),
    ...(peer ? { peer } : {}),
    ...(providers ? { providers } : {}),
    ...(family === undefined ? {} : { family }),
  };
}

const refuse = (message: string): HeddleError => new HeddleError('BadFlag', message);

const hasPorts = (protocol: Protocol): boolean => protocol !== 'ICMP' && protocol !== 'OTHER';

function noPort(words: FlowWords, protocol: Protocol, nameOf: NameOf): undefined {
  const given = (['port', 'sourcePort'] as const).find((field) => words[field] !== undefined);
  if (given)
    throw refuse(
      `${nameOf(given)} "${words[given]}": ${protocol === 'ICMP' ? 'ICMP' : 'that protocol'} has no ports`,
    );
  return undefined;
}

interface ProtocolWords {
  readonly protocol: Protocol;
  readonly protocolNumber?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  readonly family?: Family;
}

const NAMES: Readonly<Record<string, ProtocolWords>> = {
  tcp: { protocol: 'TCP' },
  udp: { protocol: 'UDP' },
  sctp: { protocol: 'SCTP' },
  icmp: { protocol: 'ICMP' },
  icmpv6: { protocol: 'ICMP', family: 6 },
  '1': { protocol: 'ICMP', family: 4 },
  '6': { protocol: 'TCP' },
  '17': { protocol: 'UDP' },
  '58': { protocol: 'ICMP', family: 6 },
  '132': { protocol: 'SCTP' },
};

function readProtocol({ protocol, icmp, dns }: FlowWords, nameOf: NameOf): ProtocolWords {
  const text = protocol ?? (icmp === undefined ? (dns === undefined ? 'tcp' : 'udp') : 'icmp');
  const name = text.toLowerCase();
  const known = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
  const number = /^\d{1,3}$/.test(name) ? Number(name) : 0;
  if (!known && (number < 1 || number > 255))
    throw refuse(`${nameOf('protocol')} "${text}": expected tcp, udp, sctp, icmp or a number from 1 to 255`);
  const read = known ?? { protocol: 'OTHER' as const, protocolNumber: number };
  if (icmp === undefined) return read;
  if (read.protocol !== 'ICMP')
    throw refuse(`${nameOf('icmp')}: messages of ICMP are no ${text.toUpperCase()}`);
  const [, type, code = '0'] = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(icmp) ?? [];
  if (type === undefined || Number(type) > 255 || Number(code) > 255)
    throw refuse(`${nameOf('icmp')} "${icmp}": expected a type, or a type and a code, as in 8 or 3/4`);
  return { ...read, icmp: { type: Number(type), code: Number(code) } };
}

const TLS = ['mutual', 'simple', 'none'] as const;

function readPeer(words: FlowWords, protocol: Protocol, nameOf: NameOf): FlowPeer | undefined {
  const { tls, principal, sni, remote } = words;
  const given = (['tls', 'principal', 'sni', 'remote'] as const).filter(
    (field) => words[field] !== undefined,
  );
  const [first] = given;
  if (!first) return undefined;
  if (protocol !== 'TCP') throw refuse(`${nameOf(first)}: proxies take TCP alone, not ${protocol}`);
  const how = TLS.find((each) => each === tls?.toLowerCase());
  if (tls !== undefined && !how) throw refuse(`${nameOf('tls')} "${tls}": expected ${TLS.join(', ')}`);
  if (principal !== undefined && how !== undefined && how !== 'mutual')
    throw refuse(`${nameOf('principal')}: who comes with ${nameOf('tls')} ${how} proves no identity`);
  if (sni !== undefined && how === 'none')
    throw refuse(`${nameOf('sni')}: without TLS no server name is asked for`);
  if (remote !== undefined && !tryParseAddress(remote))
    throw refuse(`${nameOf('remote')} "${remote}": expected an address`);
  return {
    ...(how ? { tls: how } : principal === undefined ? {} : { tls: 'mutual' as const }),
    ...(principal === undefined ? {} : { principal: principal.replace(/^spiffe:\/\//, '') }),
    ...(sni === undefined ? {} : { sni }),
    ...(remote === undefined ? {} : { remote }),
  };
}

function readAuthorizers(list: readonly string[], nameOf: NameOf): Flow['providers'] {
  if (list.length === 0) return undefined;
  return Object.fromEntries(
    list.map((text) => {
      const [, name, answer] = /^(.+)=(allow|deny)$/i.exec(text) ?? [];
      if (name === undefined || answer === undefined)
        throw refuse(`${nameOf('authorizer')} "${text}": expected its name and an answer, as in opa=deny`);
      return [name, answer.toLowerCase() as 'allow' | 'deny'];
    }),
  );
}
