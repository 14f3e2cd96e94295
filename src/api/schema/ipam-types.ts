/** Field lists of the kinds about addresses of pods. What must be there is checked by validation. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const POOL = 'io.k8s.api.cilium.io.v2alpha1.CiliumPodIPPool';
const NODE = 'io.k8s.api.cilium.io.v2.CiliumNode';

const ref = (name: string): FieldType => ({ r: name });
const listOf = (type: FieldType): FieldType => ({ a: type });

/** An object and its list. */
const kind = (name: string, description: string, fields: Definition['p']): Record<string, Definition> => ({
  [name]: {
    d: description,
    p: {
      apiVersion: ['s', 'Group and version of the object.', 1],
      kind: ['s', 'Kind of the object.', 1],
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      ...fields,
    },
  },
  [`${name}List`]: {
    d: `A list of objects of kind ${name.slice(name.lastIndexOf('.') + 1)}.`,
    p: {
      apiVersion: ['s', 'Group and version of the object.', 1],
      kind: ['s', 'Kind of the object.', 1],
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(ref(name)), 'The objects.', 1],
    },
  },
});

const family = (number: 4 | 6): Field => [
  ref(`${POOL}Family`),
  `Its addresses of IPv${number}. Absent: pods of the pool have none.`,
];

const reservation = (group: string): Record<string, Definition> => {
  const name = `io.k8s.api.${group}.IPReservation`;
  return {
    ...kind(
      name,
      'IPReservation is a set of addresses that no pod is given unless it asks for the very one.',
      {
        spec: [ref(`${name}Spec`), 'Which addresses.'],
      },
    ),
    [`${name}Spec`]: {
      d: 'What is reserved.',
      p: { reservedCIDRs: [listOf('s'), 'Addresses and ranges, 10.9.8.7 or 10.9.8.0/28.'] },
    },
  };
};

export const IPAM_TYPES: Readonly<Record<string, Definition>> = {
  ...kind(POOL, 'CiliumPodIPPool is a set of addresses that pods are given, in blocks that nodes ask for.', {
    spec: [ref(`${POOL}Spec`), 'Which addresses, and for which pods.', 1],
  }),
  [`${POOL}Spec`]: {
    d: 'What a pool holds. Pods name it by the annotation ipam.cilium.io/ip-pool, their own or their namespace’s.',
    p: {
      ipv4: family(4),
      ipv6: family(6),
      podSelector: [
        ref(`${META}.LabelSelector`),
        'Pods that take addresses of it without naming it, also by io.kubernetes.pod.name and io.kubernetes.pod.namespace.',
      ],
      namespaceSelector: [
        ref(`${META}.LabelSelector`),
        'Namespaces whose pods take addresses of it without naming it; with podSelector both must select.',
      ],
    },
  },
  [`${POOL}Family`]: {
    d: 'Addresses of one family.',
    p: {
      cidrs: [listOf('s'), 'Ranges, which no other pool may share. They can be added to, not taken from.'],
      maskSize: ['i', 'Length of the prefix of a block. It cannot be changed.'],
    },
  },
  ...kind(NODE, 'CiliumNode says which blocks of pools a node asks for and has.', {
    spec: [ref(`${NODE}Spec`), 'What the node asks for and has.', 1],
    status: [ref(`${NODE}Status`), 'Why it does not have what it asks for.'],
  }),
  [`${NODE}Spec`]: {
    d: 'What the node asks for and has.',
    p: {
      addresses: [listOf(ref(`${NODE}Address`)), 'Addresses of the node itself.'],
      ipam: [ref(`${NODE}IPAM`), 'Addresses for its pods.'],
    },
  },
  [`${NODE}Address`]: {
    d: 'An address of a node.',
    p: { type: ['s', 'InternalIP.'], ip: ['s', 'The address.'] },
  },
  [`${NODE}IPAM`]: {
    d: 'Addresses for pods of a node.',
    p: {
      podCIDRs: [listOf('s'), 'Its first blocks, which it always has.'],
      pools: [ref(`${NODE}Pools`), 'Further blocks.'],
    },
  },
  [`${NODE}Pools`]: {
    d: 'Blocks by pool.',
    p: {
      requested: [listOf(ref(`${NODE}Request`)), 'How many addresses the node needs; written by the node.'],
      allocated: [
        listOf(ref(`${NODE}Allocation`)),
        'Blocks that it has: added by the controller, taken away by the node when it has no use for them.',
      ],
    },
  },
  [`${NODE}Request`]: {
    d: 'Need of addresses of one pool.',
    p: { pool: ['s', 'Name of the pool.', 1], needed: [ref(`${NODE}Needed`), 'How many, in use or soon.'] },
  },
  [`${NODE}Needed`]: {
    d: 'How many addresses.',
    p: { 'ipv4-addrs': ['i', 'Of IPv4.'], 'ipv6-addrs': ['i', 'Of IPv6.'] },
  },
  [`${NODE}Allocation`]: {
    d: 'Blocks of one pool.',
    p: { pool: ['s', 'Name of the pool.', 1], cidrs: [listOf('s'), 'The blocks.'] },
  },
  [`${NODE}Status`]: {
    d: 'State of the blocks.',
    p: { ipam: [ref(`${NODE}IPAMStatus`), 'Of its addresses.'] },
  },
  [`${NODE}IPAMStatus`]: {
    d: 'State of the addresses.',
    p: { 'operator-status': [ref(`${NODE}OperatorStatus`), 'What the controller says.'] },
  },
  [`${NODE}OperatorStatus`]: {
    d: 'What the controller says.',
    p: { error: ['s', 'Why blocks are missing.'] },
  },
  ...reservation('projectcalico.org.v3'),
  ...reservation('crd.projectcalico.org.v1'),
};
