/** ADD of the functions that do not make the interface. */
import type { Ipam } from '../../ipam/ipam.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Route } from '../../kernel/route.ts';
import { attachmentKey, baseAttachment, type Details, detailsOf, metaAttachment } from '../attachment.ts';
import { dressChained } from '../chained.ts';
import { CniCode, CniError } from '../error.ts';
import type { HostPorts } from '../host-ports.ts';
import { type Fields, unsupported } from '../leases/read.ts';
import { hostInterfaceName } from '../names.ts';
import { addressesIn, interfaceIn } from '../prev-result.ts';
import type { Attachment, CniRequest, CniResult } from '../types.ts';
import type { Wishes } from '../wishes.ts';
import { firewallOf, metaFields, tuningOf } from './config.ts';
import type { Metas } from './metas.ts';
import type { MetaKind } from './types.ts';

export interface MetaOptions {
  readonly request: CniRequest;
  readonly wishes: Wishes;
  readonly label: string;
  readonly netns: Netns;
  readonly node: Route;
  readonly ipam: Ipam;
  readonly hostPorts: HostPorts | undefined;
  readonly metas: Metas;
}

const NOTHING = {
  mac: undefined,
  addresses: [],
  ranges: undefined,
  ports: [],
  bandwidth: undefined,
  aliases: [],
};

/** A function in an entry of its own. The caller undoes what a failure leaves. @throws CniError */
export async function addMeta(
  options: MetaOptions,
  kind: MetaKind,
  prev: CniResult | undefined,
): Promise<CniResult> {
  const { request, wishes, label, netns, node, ipam, hostPorts } = options;
  const index = interfaceIn(prev, request.ifName);
  if (!prev || index === undefined)
    throw new CniError(
      CniCode.invalidConfig,
      `${request.config.type} needs a prevResult with ${request.ifName}: it comes after the plugin that made it`,
    );
  const attachment = metaAttachment(request, kind);
  const key = attachmentKey(attachment);
  if (kind === 'portmap' || kind === 'bandwidth') {
    if (kind === 'portmap') refusePortmapFields(request.config);
    const only =
      kind === 'portmap' ? { ...NOTHING, ports: wishes.ports } : { ...NOTHING, bandwidth: wishes.bandwidth };
    await dressChained({
      request,
      prev,
      wishes: { ...wishes, ...only },
      owner: { key, label },
      mark: hostInterfaceName(attachment),
      meta: kind,
      netns,
      node,
      ipam,
      hostPorts,
    });
    return prev;
  }
  const before = ipam.get(key);
  const details: Details = {
    ...(before ? detailsOf(before) : {}),
    ...(request.config.name === undefined ? {} : { network: request.config.name }),
    meta: kind,
    netns: request.netns,
  };
  await ipam.allocate({ key, label, details }, { none: true });
  await addFunctions(options, attachment, addressesIn(prev, index));
  return kind === 'tuning' ? tuned(prev, index, options) : prev;
}

/** Firewall and tuning, where the configuration has them. The entry of `attachment` is in the book. */
export async function addFunctions(
  options: MetaOptions,
  attachment: Attachment,
  addresses: readonly string[],
): Promise<void> {
  const { request, wishes, netns, ipam, metas } = options;
  const remember = async (more: Details) => {
    const held = ipam.get(attachmentKey(attachment));
    if (held) await ipam.allocate({ ...held, details: { ...detailsOf(held), ...more } });
  };
  const firewall = metaFields(request.config, 'firewall');
  if (firewall) {
    const rules = await metas.firewall.plan(firewallOf(firewall), addresses);
    await remember({ firewall: rules });
    await metas.firewall.allow(hostInterfaceName(attachment), rules);
  }
  const tuning = metaFields(request.config, 'tuning');
  if (tuning) {
    const config = tuningOf(tuning, request, wishes);
    const held = ipam.get(attachmentKey(attachment));
    const { ifName } = baseAttachment(attachment);
    // A second ADD must not take its own work for what was there before.
    const backup = (held && detailsOf(held).tuning) ?? metas.tuning.backup(netns, ifName, config);
    await remember({ tuning: backup, netns: request.netns });
    metas.tuning.apply(netns, ifName, config);
  }
}

/** Said before anything is done. */
export function checkFunctions({ request, wishes }: Pick<MetaOptions, 'request' | 'wishes'>): boolean {
  const firewall = metaFields(request.config, 'firewall');
  const tuning = metaFields(request.config, 'tuning');
  if (firewall) firewallOf(firewall);
  if (tuning) tuningOf(tuning, request, wishes);
  return firewall !== undefined || tuning !== undefined;
}

/** The interface as it is from now on. */
function tuned(prev: CniResult, index: number, { request, wishes }: MetaOptions): CniResult {
  const fields = metaFields(request.config, 'tuning');
  if (!fields) return prev;
  const { mac, mtu } = tuningOf(fields, request, wishes).link;
  const interfaces = (prev.interfaces ?? []).map((one, i) =>
    i === index
      ? { ...one, ...(mac === undefined ? {} : { mac }), ...(mtu === undefined ? {} : { mtu }) }
      : one,
  );
  return { ...prev, interfaces };
}

/** What the reference can do by iptables and is not done here. */
function refusePortmapFields(config: Fields): void {
  for (const key of ['conditionsV4', 'conditionsV6', 'markMasqBit', 'externalSetMarkChain', 'masqAll']) {
    const value = config[key];
    const none = value === undefined || value === null || value === false || value === '';
    if (!none && !(Array.isArray(value) && value.length === 0))
      throw unsupported(key, value, 'host ports are maps of nftables');
  }
  if (config['snat'] === false) throw unsupported('snat', false, 'a container reaches its own host ports');
  const { backend } = config;
  if (backend !== undefined && backend !== '' && backend !== 'nftables')
    throw unsupported('backend', backend, 'expected nftables');
}
