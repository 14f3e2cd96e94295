import { ageColumn, joined, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { duplicate, forbidden, formatted, invalid, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Subdomain, labelValue, qualifiedName } from './formats.ts';
import { NODE } from './kinds.ts';
import { tryParseCidr } from '../lib/ip.ts';
import type { Node } from './types.ts';

const ROLE_PREFIX = 'node-role.kubernetes.io/';

function status(node: Node): string {
  const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  if (node.spec?.unschedulable) words.push('SchedulingDisabled');
  return words.join(',');
}

function roles(node: Node): string {
  const names = Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith(ROLE_PREFIX) && label.length > ROLE_PREFIX.length)
    .map((label) => label.slice(ROLE_PREFIX.length));
  return joined(names.sort());
}

const addressOf = (node: Node, type: string): string =>
  node.status?.addresses?.find((a) => a.type === type)?.address ?? '<none>';

function* validate(node: Node): Problems {
  const spec = node.spec ?? {};
  for (const [i, taint] of (spec.taints ?? []).entries()) {
    const at = `spec.taints[${i}]`;
    yield* formatted(`${at}.key`, taint.key, qualifiedName);
    yield* formatted(`${at}.value`, taint.value ?? '', labelValue);
    yield* oneOf(`${at}.effect`, taint.effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']);
    const same = spec.taints?.findIndex((t) => t.key === taint.key && t.effect === taint.effect);
    if (same !== undefined && same < i) yield duplicate(at, taint);
  }
  yield* validateRanges(node);
}

function* validateRanges(node: Node): Problems {
  const ranges = node.spec?.podCIDRs ?? [];
  for (const [i, range] of ranges.entries())
    if (!tryParseCidr(range))
      yield invalid(
        `spec.podCIDRs[${i}]`,
        range,
        'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      );
  if (ranges.length > 2)
    yield invalid('spec.podCIDRs', ranges, 'may specify no more than one CIDR for each IP family');
  const [first, second] = ranges.map(tryParseCidr);
  if (first && second && first.family === second.family)
    yield invalid('spec.podCIDRs', ranges, 'may specify no more than one CIDR for each IP family');
  for (const [i, address] of (node.status?.addresses ?? []).entries())
    if (!address.type) yield required(`status.addresses[${i}].type`);
}

export const node = define<Node>({
  kind: NODE,
  singular: 'node',
  shortNames: ['no'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Status', 'Whether the node can take pods.', status),
    text('Roles', 'What the node-role labels say.', roles),
    ageColumn,
    text('Version', 'Version of the node agent.', (n) => n.status?.nodeInfo?.kubeletVersion ?? ''),
    text('Internal-IP', 'Address within the cluster.', (n) => addressOf(n, 'InternalIP'), true),
    text('External-IP', 'Address reachable from outside.', (n) => addressOf(n, 'ExternalIP'), true),
    text('OS-Image', 'Operating system.', (n) => n.status?.nodeInfo?.osImage || '<unknown>', true),
    text('Kernel-Version', 'Kernel.', (n) => n.status?.nodeInfo?.kernelVersion || '<unknown>', true),
    text(
      'Container-Runtime',
      'What runs the pods.',
      (n) => n.status?.nodeInfo?.containerRuntimeVersion || '<unknown>',
      true,
    ),
  ],
  setDefaults(n) {
    n.spec ??= {};
    n.status ??= {};
    if (n.spec.podCIDR && !n.spec.podCIDRs) n.spec.podCIDRs = [n.spec.podCIDR];
    if (n.spec.podCIDRs?.[0]) n.spec.podCIDR ??= n.spec.podCIDRs[0];
    if (n.status.capacity) n.status.allocatable ??= { ...n.status.capacity };
  },
  validate,
  *validateUpdate(now, before) {
    const had = before.spec?.podCIDRs ?? [];
    const has = now.spec?.podCIDRs ?? [];
    if (had.length > 0 && (has.length !== had.length || has.some((range, i) => range !== had[i])))
      yield forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid');
    if (before.spec?.providerID && now.spec?.providerID !== before.spec.providerID)
      yield forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid');
  },
  selectable: { 'spec.unschedulable': (n) => String(n.spec?.unschedulable ?? false) },
});
