/** Field lists of `policy.networking.k8s.io`. What must be there is checked by validation, as of a CRD. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const V1ALPHA1 = 'io.k8s.api.policy.networking.v1alpha1';
const V1ALPHA2 = 'io.k8s.api.policy.networking.v1alpha2';

const ref = (name: string): FieldType => ({ r: name });
const listOf = (name: string): FieldType => ({ a: ref(name) });
const selector = (description: string): Field => [ref(`${META}.LabelSelector`), description];
const NAME: Field = ['s', 'For people: who reads logs and counters. At most 100 characters.'];

const TYPE_META: Definition['p'] = {
  apiVersion: ['s', 'Group and version of the object.', 1],
  kind: ['s', 'Kind of the object.', 1],
};

/** An object, its list and its status. */
const kind = (group: string, name: string, description: string): Record<string, Definition> => ({
  [`${group}.${name}`]: {
    d: description,
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      spec: [ref(`${group}.${name}Spec`), 'What is to be enforced.', 1],
      status: [ref(`${group}.${name}Status`), 'What became of it.'],
    },
  },
  [`${group}.${name}List`]: {
    d: `A list of objects of kind ${name}.`,
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(`${group}.${name}`), 'The objects.', 1],
    },
  },
  [`${group}.${name}Status`]: {
    d: 'State of a policy.',
    p: { conditions: [listOf(`${META}.Condition`), 'By type.'] },
  },
});

const PODS: Definition = {
  d: 'Pods by their labels and those of their namespace.',
  p: {
    namespaceSelector: selector('Namespaces; empty: all.'),
    podSelector: selector('Pods in them; empty: all.'),
  },
};

const subject = (pods: string): Definition => ({
  d: 'Pods that a policy applies to; never those on the host network. One of the fields.',
  p: {
    namespaces: selector('All pods in these namespaces; empty: all.'),
    pods: [ref(pods), 'Some pods in some namespaces.'],
  },
});

const ingressPeer = (pods: string): Definition['p'] => ({
  namespaces: selector('All pods in these namespaces; empty: all.'),
  pods: [ref(pods), 'Some pods in some namespaces.'],
});

const egressPeer = (pods: string): Definition['p'] => ({
  ...ingressPeer(pods),
  nodes: selector('Nodes, by all of their addresses; empty: all.'),
  networks: [{ a: 's' }, 'Ranges, 10.0.0.0/8 or fd00::/8, whoever is there: pods as well. At most 25.'],
  domainNames: [{ a: 's' }, 'Refused: there is no policy by name yet.'],
});

const PRIORITY: Field = ['i', '0 to 1000; the lower decides first.'];

const ADMIN_RULES = {
  ingress: `${V1ALPHA1}.AdminNetworkPolicyIngressRule`,
  egress: `${V1ALPHA1}.AdminNetworkPolicyEgressRule`,
};
const rules = (of: { ingress: string; egress: string }, most: number): Definition['p'] => ({
  ingress: [listOf(of.ingress), `For what is sent to these pods; the first that matches. At most ${most}.`],
  egress: [listOf(of.egress), `For what these pods send; the first that matches. At most ${most}.`],
});
const CLUSTER_RULES = {
  ingress: `${V1ALPHA2}.ClusterNetworkPolicyIngressRule`,
  egress: `${V1ALPHA2}.ClusterNetworkPolicyEgressRule`,
};
const CLUSTER_ACTION: Field = ['s', 'Accept, Deny, or Pass: leave the rest of the tier out.'];
const protocols: Field = [
  listOf(`${V1ALPHA2}.ClusterNetworkPolicyProtocol`),
  'Protocols and destination ports, at most 25. Absent: everything, ICMP too.',
];
const protocol = (name: string): Field => [
  ref(`${V1ALPHA2}.ClusterNetworkPolicyProtocol${name}`),
  `${name}, by its ports.`,
];
const ports = (name: string): Definition => ({
  d: `What of ${name}.`,
  p: { destinationPort: [ref(`${V1ALPHA2}.Port`), 'A port or a range of them.'] },
});
const adminPorts: Field = [
  listOf(`${V1ALPHA1}.AdminNetworkPolicyPort`),
  'Destination ports, at most 100. Absent: everything, ICMP too.',
];

export const POLICY_TYPES: Readonly<Record<string, Definition>> = {
  ...kind(
    V1ALPHA1,
    'AdminNetworkPolicy',
    'AdminNetworkPolicy decides before any NetworkPolicy, for pods of the whole cluster.',
  ),
  [`${V1ALPHA1}.AdminNetworkPolicySpec`]: {
    d: 'For whom, in which order, and what.',
    p: {
      priority: PRIORITY,
      subject: [ref(`${V1ALPHA1}.AdminNetworkPolicySubject`), 'Pods that it applies to.'],
      ...rules(ADMIN_RULES, 100),
    },
  },
  ...kind(
    V1ALPHA1,
    'BaselineAdminNetworkPolicy',
    'BaselineAdminNetworkPolicy decides what no AdminNetworkPolicy has and no NetworkPolicy is for. There is one, named default.',
  ),
  [`${V1ALPHA1}.BaselineAdminNetworkPolicySpec`]: {
    d: 'For whom, and what.',
    p: {
      subject: [ref(`${V1ALPHA1}.AdminNetworkPolicySubject`), 'Pods that it applies to.'],
      ...rules(ADMIN_RULES, 100),
    },
  },
  [`${V1ALPHA1}.AdminNetworkPolicySubject`]: subject(`${V1ALPHA1}.NamespacedPod`),
  [`${V1ALPHA1}.NamespacedPod`]: PODS,
  [ADMIN_RULES.ingress]: {
    d: 'What is done with some of what is sent to the pods.',
    p: {
      name: NAME,
      action: [
        's',
        'Allow, Deny, or Pass (not in a baseline): leave the rest of the AdminNetworkPolicies out.',
      ],
      from: [listOf(`${V1ALPHA1}.AdminNetworkPolicyIngressPeer`), 'Sources, 1 to 100.'],
      ports: adminPorts,
    },
  },
  [ADMIN_RULES.egress]: {
    d: 'What is done with some of what the pods send.',
    p: {
      name: NAME,
      action: [
        's',
        'Allow, Deny, or Pass (not in a baseline): leave the rest of the AdminNetworkPolicies out.',
      ],
      to: [listOf(`${V1ALPHA1}.AdminNetworkPolicyEgressPeer`), 'Destinations, 1 to 100.'],
      ports: adminPorts,
    },
  },
  [`${V1ALPHA1}.AdminNetworkPolicyIngressPeer`]: {
    d: 'A source. One of the fields.',
    p: ingressPeer(`${V1ALPHA1}.NamespacedPod`),
  },
  [`${V1ALPHA1}.AdminNetworkPolicyEgressPeer`]: {
    d: 'A destination. One of the fields.',
    p: egressPeer(`${V1ALPHA1}.NamespacedPod`),
  },
  [`${V1ALPHA1}.AdminNetworkPolicyPort`]: {
    d: 'Ports. One of the fields.',
    p: {
      portNumber: [ref(`${V1ALPHA1}.Port`), 'One port.'],
      portRange: [ref(`${V1ALPHA1}.PortRange`), 'Ports from start to end.'],
      namedPort: ['s', 'Ports that the destination pod names so, of whichever protocol.'],
    },
  },
  [`${V1ALPHA1}.Port`]: {
    d: 'A port of a protocol.',
    p: { protocol: ['s', 'TCP (default), UDP or SCTP.'], port: ['i', '1 to 65535.'] },
  },
  [`${V1ALPHA1}.PortRange`]: {
    d: 'A range of ports of a protocol, both ends included.',
    p: {
      protocol: ['s', 'TCP (default), UDP or SCTP.'],
      start: ['i', '1 to 65535.'],
      end: ['i', 'Greater than start.'],
    },
  },
  ...kind(
    V1ALPHA2,
    'ClusterNetworkPolicy',
    'ClusterNetworkPolicy decides before all NetworkPolicies, or what they leave, for pods of the whole cluster.',
  ),
  [`${V1ALPHA2}.ClusterNetworkPolicySpec`]: {
    d: 'For whom, in which order, and what.',
    p: {
      tier: ['s', 'Admin: before NetworkPolicies. Baseline: for pods that none of them isolates.'],
      priority: PRIORITY,
      subject: [ref(`${V1ALPHA2}.ClusterNetworkPolicySubject`), 'Pods that it applies to.'],
      ...rules(CLUSTER_RULES, 25),
    },
  },
  [`${V1ALPHA2}.ClusterNetworkPolicySubject`]: subject(`${V1ALPHA2}.NamespacedPod`),
  [`${V1ALPHA2}.NamespacedPod`]: PODS,
  [CLUSTER_RULES.ingress]: {
    d: 'What is done with some of what is sent to the pods.',
    p: {
      name: NAME,
      action: CLUSTER_ACTION,
      from: [listOf(`${V1ALPHA2}.ClusterNetworkPolicyIngressPeer`), 'Sources, 1 to 25.'],
      protocols,
    },
  },
  [CLUSTER_RULES.egress]: {
    d: 'What is done with some of what the pods send.',
    p: {
      name: NAME,
      action: CLUSTER_ACTION,
      to: [listOf(`${V1ALPHA2}.ClusterNetworkPolicyEgressPeer`), 'Destinations, 1 to 25.'],
      protocols,
    },
  },
  [`${V1ALPHA2}.ClusterNetworkPolicyIngressPeer`]: {
    d: 'A source. One of the fields.',
    p: ingressPeer(`${V1ALPHA2}.NamespacedPod`),
  },
  [`${V1ALPHA2}.ClusterNetworkPolicyEgressPeer`]: {
    d: 'A destination. One of the fields.',
    p: egressPeer(`${V1ALPHA2}.NamespacedPod`),
  },
  [`${V1ALPHA2}.ClusterNetworkPolicyProtocol`]: {
    d: 'A protocol. One of the fields.',
    p: {
      tcp: protocol('TCP'),
      udp: protocol('UDP'),
      sctp: protocol('SCTP'),
      destinationNamedPort: ['s', 'Ports that the destination pod names so, of whichever protocol.'],
    },
  },
  [`${V1ALPHA2}.ClusterNetworkPolicyProtocolTCP`]: ports('TCP'),
  [`${V1ALPHA2}.ClusterNetworkPolicyProtocolUDP`]: ports('UDP'),
  [`${V1ALPHA2}.ClusterNetworkPolicyProtocolSCTP`]: ports('SCTP'),
  [`${V1ALPHA2}.Port`]: {
    d: 'A port or a range. One of the fields.',
    p: { number: ['i', '1 to 65535.'], range: [ref(`${V1ALPHA2}.PortRange`), 'Both ends included.'] },
  },
  [`${V1ALPHA2}.PortRange`]: {
    d: 'Ports from start to end.',
    p: { start: ['i', '1 to 65535.'], end: ['i', 'Greater than start.'] },
  },
};
