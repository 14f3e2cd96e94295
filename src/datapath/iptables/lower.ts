/**
 * A frontend is a rule of KUBE-SERVICES (or KUBE-NODEPORTS) that leads to KUBE-SVC-…, which chooses one KUBE-SEP-…,
 * which translates. Frontends that clients outside use lead to KUBE-EXT-… first: it says who must be answered through
 * this node, and where Local policies send clients outside, KUBE-SVL-…. KUBE-FW-… lets the ranges of a balancer's
 * clients through to it. nat cannot drop or refuse: what is left untranslated meets filter.
 */
import { slotList, weightOf } from '../nftables/weights.ts';
import type { BackendAddress, ServiceFrontend, Settings } from '../plan/tables.ts';
import { chainName, endpointChain } from './names.ts';
import type { Chain, Family, Rule, TableName, TableObject } from './objects.ts';
import {
  cidrText,
  comment,
  familyOf,
  hostCidr,
  LOOPBACK,
  matching,
  oneHost,
  probability,
  reject,
} from './words.ts';

interface Context {
  readonly frontend: ServiceFrontend;
  readonly family: Family;
  /** `default/web 10.96.0.1:80` */
  readonly label: string;
  /** Ranges of this family. */
  readonly pods: readonly string[];
  readonly ownPods: readonly string[];
  /** Whose node ports are at the loopback addresses. */
  readonly loopbackFor: string | undefined;
}

export function lowerFrontend(frontend: ServiceFrontend, settings: Settings | undefined): TableObject[] {
  const family = familyOf(frontend.address);
  const ofFamily = (cidrs: readonly string[] = []) =>
    cidrs.filter((cidr) => familyOf(cidr) === family).map(cidrText);
  const end = family === 4 ? frontend.address : `[${frontend.address}]`;
  const context: Context = {
    frontend,
    family,
    label: `${frontend.service} ${end}:${frontend.port}`,
    pods: ofFamily(settings?.podCidrs),
    ownPods: ofFamily(settings?.nodePodCidrs),
    loopbackFor: settings?.nodePortAddresses
      ? undefined
      : settings?.nodeAddresses.find((address) => familyOf(address) === 4),
  };
  return frontend.kind === 'ClusterIP' ? cluster(context) : external(context);
}

const open = (backends: readonly BackendAddress[]): BackendAddress[] =>
  backends.filter((backend) => weightOf(backend) > 0);

function cluster(context: Context): TableObject[] {
  const { frontend } = context;
  const backends = open(frontend.backends);
  if (backends.length === 0) return [unserved(context, 'KUBE-SERVICES')];
  const name = chainName('SVC', keyOf(frontend));
  const { pods, label } = context;
  const outsiders = pods.length === 1 ? `! -s ${pods[0]} ` : '';
  return [
    dispatch(context, 'KUBE-SERVICES', `${label} cluster IP`, name),
    ...balance(context, name, backends, [
      `${matching(frontend, `${label} cluster IP`, outsiders)} -j KUBE-MARK-MASQ`,
    ]),
  ];
}

function external(context: Context): TableObject[] {
  const { frontend, label, family } = context;
  const inside = open(frontend.backends);
  const outside = open(frontend.externalBackends ?? frontend.backends);
  const isEmpty = inside.length === 0 || outside.length === 0;
  const note = `${label} ${NOTES[frontend.kind]}`;
  const { sourceRanges } = frontend;
  const ranges = sourceRanges?.filter((range) => familyOf(range) === family).map(cidrText);
  const admitted = ranges && admittedFrom([...ranges, ...context.pods]);
  const refusal = isEmpty
    ? [
        ...(admitted ?? ['']).map((from) => unserved(context, 'KUBE-EXTERNAL-SERVICES', from)),
        ...(admitted
          ? [unserved(context, 'KUBE-EXTERNAL-SERVICES', '', ' -m addrtype --src-type LOCAL')]
          : []),
      ]
    : [];
  if (inside.length === 0 && outside.length === 0)
    return [...refusal, ...(admitted ? [turnedAway(context, note)] : [])];
  const ext = chainName('EXT', keyOf(frontend));
  const parts = [...refusal, ...externalChains(context, ext, inside, outside)];
  const from = frontend.kind === 'NodePort' ? 'KUBE-NODEPORTS' : 'KUBE-SERVICES';
  if (!admitted) return [...parts, dispatch(context, from, note, ext), ...atLoopback(context, note, ext)];
  const guard = chainName('FW', keyOf(frontend));
  return [
    ...parts,
    dispatch(context, from, note, guard),
    turnedAway(context, note),
    chain(context, 'nat', guard, [
      ...admitted.map((from) => `${from}${comment(note)} -j ${ext}`),
      `${comment(note)} -m addrtype --src-type LOCAL -j ${ext}`,
    ]),
  ];
}

/** A node port of the first address is at the loopback addresses too, as kube-proxy's iptables mode has it: IPv4 alone. */
function atLoopback(context: Context, note: string, ext: string): Rule[] {
  const { frontend, loopbackFor } = context;
  if (frontend.kind !== 'NodePort' || frontend.address !== loopbackFor) return [];
  const at = matching({ ...frontend, address: LOOPBACK }, `${note} at loopback`);
  return [rule(context, 'nat', 'KUBE-NODEPORTS', `${at} -j ${ext}`)];
}

/** Matches of sources; iptables does not print the range of all addresses. */
function admittedFrom(ranges: readonly string[]): string[] {
  if (ranges.some((range) => range.endsWith('/0'))) return [''];
  return [...new Set(ranges)].map((range) => `-s ${range} `);
}

const NOTES = { NodePort: 'node port', ExternalIP: 'external IP', LoadBalancer: 'loadbalancer IP' } as Record<
  string,
  string
>;

/** What KUBE-FW-… did not send on is still on its way to the frontend itself. */
const turnedAway = (context: Context, note: string): Rule =>
  rule(
    context,
    'filter',
    'KUBE-PROXY-FIREWALL',
    `${matching(context.frontend, `${note} of others`)} -j DROP`,
  );

function externalChains(
  context: Context,
  name: string,
  inside: readonly BackendAddress[],
  outside: readonly BackendAddress[],
): TableObject[] {
  const { frontend, label } = context;
  const [svc, svl] = [chainName('SVC', keyOf(frontend)), chainName('SVL', keyOf(frontend))];
  const services = inside.length === 0 ? [] : balance(context, svc, inside, []);
  if (!frontend.externalBackends)
    return [
      ...services,
      chain(context, 'nat', name, [
        `${comment(`masquerade traffic for ${label} external destinations`)} -j KUBE-MARK-MASQ`,
        `-j ${svc}`,
      ]),
    ];
  const local = `-m addrtype --src-type LOCAL`;
  return [
    ...services,
    ...(outside.length === 0 ? [] : balance(context, svl, outside, [])),
    chain(context, 'nat', name, [
      ...(inside.length === 0
        ? []
        : [
            ...context.pods.flatMap((cidr) => [
              `-s ${cidr} ${comment(`masquerade pod traffic for ${label} external destinations`)} -j KUBE-MARK-MASQ`,
              `-s ${cidr} ${comment(`pod traffic for ${label} external destinations`)} -j ${svc}`,
            ]),
            `${comment(`masquerade LOCAL traffic for ${label} external destinations`)} ${local} -j KUBE-MARK-MASQ`,
            `${comment(`route LOCAL traffic for ${label} external destinations`)} ${local} -j ${svc}`,
          ]),
      ...(outside.length === 0 ? [] : [`-j ${svl}`]),
    ]),
  ];
}

/** Chooses one of `backends` and translates; `first` are rules before that. */
function balance(
  context: Context,
  name: string,
  backends: readonly BackendAddress[],
  first: readonly string[],
): TableObject[] {
  const { frontend, family, label } = context;
  const { affinitySeconds, service, protocol } = frontend;
  const chainOf = (backend: BackendAddress) =>
    endpointChain(service, protocol, `${endText(backend)}${affinitySeconds === undefined ? '' : ' sticky'}`);
  const known =
    affinitySeconds === undefined
      ? []
      : backends.map((backend) => {
          const sep = chainOf(backend);
          return `${noteOf(label, backend)} -m recent --rcheck --seconds ${affinitySeconds} --reap --name ${sep} ${oneHost(family)} --rsource -j ${sep}`;
        });
  return [
    chain(context, 'nat', name, [
      ...first,
      ...known,
      ...draws(frontend, backends).map(
        ({ backend, match }) => `${noteOf(label, backend)} ${match}-j ${chainOf(backend)}`,
      ),
    ]),
    ...backends.map((backend) => endpoint(context, chainOf(backend), backend)),
  ];
}

const noteOf = (label: string, backend: BackendAddress): string => comment(`${label} -> ${endText(backend)}`);

/** Rules are asked one after the other: each takes its share of what those before it have left. */
function draws(
  { algorithm }: ServiceFrontend,
  backends: readonly BackendAddress[],
): { backend: BackendAddress; match: string }[] {
  if (algorithm === 'round-robin')
    return slotList(backends).map((backend, i, all) => ({
      backend,
      match: i === all.length - 1 ? '' : `-m statistic --mode nth --every ${all.length - i} --packet 0 `,
    }));
  let left = backends.reduce((sum, backend) => sum + weightOf(backend), 0);
  return backends.map((backend, i) => {
    const share = weightOf(backend) / left;
    left -= weightOf(backend);
    const isLast = i === backends.length - 1;
    return {
      backend,
      match: isLast ? '' : `-m statistic --mode random --probability ${probability(share)} `,
    };
  });
}

function endpoint(context: Context, name: string, backend: BackendAddress): Chain {
  const { frontend, family } = context;
  const protocol = frontend.protocol.toLowerCase();
  const remember =
    frontend.affinitySeconds === undefined
      ? ''
      : `-m recent --set --name ${name} ${oneHost(family)} --rsource `;
  const note = comment(frontend.service);
  return chain(context, 'nat', name, [
    `-s ${hostCidr(backend.address)} ${note} -j KUBE-MARK-MASQ`,
    `-p ${protocol} ${note} ${remember}-m ${protocol} -j DNAT --to-destination ${endText(backend)}`,
  ]);
}

const endText = ({ address, port }: BackendAddress): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const keyOf = ({ service, address, protocol, port }: ServiceFrontend): string =>
  `${service}:${address}:${port}${protocol.toLowerCase()}`;

function dispatch(context: Context, from: string, note: string, to: string): Rule {
  return rule(context, 'nat', from, `${matching(context.frontend, note)} -j ${to}`);
}

function unserved(context: Context, chainOfFilter: string, from = '', more = ''): Rule {
  const { frontend, family, label } = context;
  const verdict = frontend.whenEmpty === 'drop' ? '-j DROP' : reject(family, frontend.protocol);
  const match = matching(frontend, `${label} has no endpoints`, from);
  return rule(context, 'filter', chainOfFilter, `${match}${more} ${verdict}`);
}

const rule = ({ family }: Context, table: TableName, chainOf: string, text: string): Rule => ({
  type: 'rule',
  family,
  table,
  chain: chainOf,
  rule: text,
});

const chain = ({ family }: Context, table: TableName, name: string, rules: readonly string[]): Chain => ({
  type: 'chain',
  family,
  table,
  name,
  rules,
});
