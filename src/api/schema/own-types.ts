/** Field lists of kinds that kubernetes-models does not have, in the words of who defined them. */
import { ISTIO_TYPES } from './istio-types.ts';
import { CILIUM_BGP_TYPES } from './cilium-bgp-types.ts';
import { CILIUM_POLICY_TYPES } from './cilium-policy-types.ts';
import { CALICO_TYPES } from './calico-types.ts';
import { IPAM_TYPES } from './ipam-types.ts';
import type { Definition, FieldType } from './model.ts';
import { POLICY_TYPES } from './policy-types.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const CILIUM = 'io.k8s.api.cilium.io.v2alpha1';
const POOL = `${CILIUM}.CiliumLoadBalancerIPPool`;

const HEDDLE = 'io.k8s.api.heddle.dev.v1alpha1';
const PROTECTION = `${HEDDLE}.UplinkProtection`;
const RATE = `${HEDDLE}.RateLimit`;

const ref = (name: string): FieldType => ({ r: name });
const listOf = (name: string): FieldType => ({ a: ref(name) });

const TYPE_META: Definition['p'] = {
  apiVersion: ['s', 'Group and version of the object.', 1],
  kind: ['s', 'Kind of the object.', 1],
};

/** `io.k8s.api.cilium.io.v2alpha1.CiliumLoadBalancerIPPool` → its fields; a kind's list is there too. */
export const OWN_TYPES: Readonly<Record<string, Definition>> = {
  ...POLICY_TYPES,
  ...ISTIO_TYPES,
  ...CILIUM_POLICY_TYPES,
  ...CALICO_TYPES,
  ...IPAM_TYPES,
  ...CILIUM_BGP_TYPES,
  [POOL]: {
    d: 'CiliumLoadBalancerIPPool is a set of addresses that Services of type LoadBalancer are given.',
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      spec: [ref(`${POOL}Spec`), 'Which addresses, for which Services.', 1],
      status: [ref(`${POOL}Status`), 'How many addresses are left, and whether the pool is in conflict.'],
    },
  },
  [`${POOL}List`]: {
    d: 'CiliumLoadBalancerIPPoolList is a list of CiliumLoadBalancerIPPools.',
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(POOL), 'The pools.', 1],
    },
  },
  [`${POOL}Spec`]: {
    d: 'What a pool holds.',
    p: {
      blocks: [listOf(`${POOL}IPBlock`), 'Ranges of addresses; pools of both families hold blocks of both.'],
      disabled: ['b', 'Nothing is given out of the pool; what is given out already stays.'],
      serviceSelector: [
        ref(`${META}.LabelSelector`),
        'Services that are given addresses of it, by labels and by io.kubernetes.service.name and io.kubernetes.service.namespace. Absent: all.',
      ],
      allowFirstLastIPs: [
        's',
        'Yes (default) or No: whether the first and the last address of a CIDR are given out.',
      ],
    },
  },
  [`${POOL}IPBlock`]: {
    d: 'A range, as CIDR or by its first and last address.',
    p: {
      cidr: ['s', '192.0.2.0/24 or 2001:db8::/112'],
      start: ['s', 'First address; with `stop` instead of `cidr`. Without `stop` the only one.'],
      stop: ['s', 'Last address.'],
    },
  },
  [`${POOL}Status`]: {
    d: 'State of a pool.',
    p: {
      conditions: [
        listOf(`${META}.Condition`),
        'cilium.io/PoolConflict, cilium.io/IPsTotal, IPsAvailable and IPsUsed.',
      ],
    },
  },
  [PROTECTION]: {
    d: 'UplinkProtection says whom nodes do not hear at their uplink, and how much they hear of everybody else. Where several select a node, ranges add up and of limits the lowest counts.',
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      spec: [ref(`${PROTECTION}Spec`), 'Whom, how much, and on which nodes.', 1],
    },
  },
  [`${PROTECTION}List`]: {
    d: 'UplinkProtectionList is a list of UplinkProtections.',
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(PROTECTION), 'The objects.', 1],
    },
  },
  [`${PROTECTION}Spec`]: {
    d: 'What a node is protected from.',
    p: {
      nodeSelector: [ref(`${META}.LabelSelector`), 'Nodes, by their labels. Absent: all.'],
      denied: [
        { a: 's' },
        'Ranges whose packets are dropped without an answer, 198.51.100.0/24 or 2001:db8::/32. Nodes of the cluster and its API server are heard all the same.',
      ],
      limits: [
        ref(`${PROTECTION}Limits`),
        'For sources that are neither nodes nor the API server; established connections are outside of them.',
      ],
    },
  },
  [`${PROTECTION}Limits`]: {
    d: 'A source is an IPv4 address or the first 64 bits of an IPv6 address. What is over a limit is dropped without an answer.',
    p: {
      packets: [ref(RATE), 'Packets of each source.'],
      connections: [ref(RATE), 'New connections (TCP, SCTP) of each source.'],
      allConnections: [
        ref(RATE),
        'New connections of all sources together: what is left of a flood of SYNs with forged addresses.',
      ],
    },
  },
  [RATE]: {
    d: 'So many a second on average, and so many at once.',
    p: {
      perSecond: ['i', '1 to 100000000.', 1],
      burst: ['i', '1 to 100000000. Absent: as many as perSecond.'],
    },
  },
};
