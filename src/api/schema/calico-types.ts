/** Field lists of `projectcalico.org`. What must be there is checked by validation, as of a CRD. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const CALICO = 'io.k8s.api.projectcalico.org.v3';

const ref = (name: string): FieldType => ({ r: name });
const own = (name: string): FieldType => ref(`${CALICO}.${name}`);
const listOf = (type: FieldType): FieldType => ({ a: type });

const TYPE_META: Definition['p'] = {
  apiVersion: ['s', 'Group and version of the object.', 1],
  kind: ['s', 'Kind of the object.', 1],
};

/** An object and its list. */
const kind = (name: string, description: string): Record<string, Definition> => ({
  [`${CALICO}.${name}`]: {
    d: description,
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      spec: [own(`${name}Spec`), 'What it says.', 1],
    },
  },
  [`${CALICO}.${name}List`]: {
    d: `A list of objects of kind ${name}.`,
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(own(name)), 'The objects.', 1],
    },
  },
});

const SELECTOR = 'An expression over labels: role == "db" && !has(old). Empty or all(): everything.';

const policy: Definition['p'] = {
  tier: ['s', 'Name of its Tier. Default: default.'],
  order: ['n', 'Within the tier the lower decides first, equal ones by name. Absent: last.'],
  selector: ['s', `Pods that it applies to. ${SELECTOR}`],
  serviceAccountSelector: ['s', `Pods whose service account is selected. ${SELECTOR}`],
  types: [
    listOf('s'),
    'Ingress, Egress: directions in which it applies. Default: those that it has rules for; without rules Ingress.',
  ],
  ingress: [listOf(own('Rule')), 'For what is sent to the pods; the first that matches. At most 1024.'],
  egress: [listOf(own('Rule')), 'For what the pods send; the first that matches. At most 1024.'],
  performanceHints: [listOf('s'), 'AssumeNeededOnEveryNode. Hints change nothing of what is enforced.'],
};

const NETS: Field = [listOf('s'), 'Ranges, 10.0.0.0/8 or fd00::/8, whoever is there: pods as well.'];
const NETWORK_SET: Definition = {
  d: 'What it holds.',
  p: { nets: [listOf('s'), 'Addresses and ranges, 192.0.2.7 or 10.0.0.0/8.'] },
};

export const CALICO_TYPES: Readonly<Record<string, Definition>> = {
  ...kind('NetworkPolicy', 'NetworkPolicy of Calico says what pods of its namespace may send and be sent.'),
  [`${CALICO}.NetworkPolicySpec`]: { d: 'For whom, in which order, and what.', p: policy },
  ...kind(
    'GlobalNetworkPolicy',
    'GlobalNetworkPolicy says what pods of the whole cluster may send and be sent.',
  ),
  [`${CALICO}.GlobalNetworkPolicySpec`]: {
    d: 'For whom, in which order, and what.',
    p: {
      ...policy,
      namespaceSelector: ['s', `Pods in these namespaces. ${SELECTOR}`],
      doNotTrack: ['b', 'Refused if true: it is for host endpoints, and there are none.'],
      preDNAT: ['b', 'Refused if true: it is for host endpoints, and there are none.'],
      applyOnForward: ['b', 'It is for host endpoints, and there are none: for pods it changes nothing.'],
    },
  },
  [`${CALICO}.Rule`]: {
    d: 'What is done with some of the connections. All of what is given must hold.',
    p: {
      action: ['s', 'Allow, Deny, Log (and go on), or Pass: leave the rest of the tier out.'],
      ipVersion: ['i', '4 or 6.'],
      protocol: ['x', 'TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or a number from 1 to 255.'],
      notProtocol: ['x', 'Every protocol but this.'],
      icmp: [own('ICMPFields'), 'Some of ICMP.'],
      notICMP: [own('ICMPFields'), 'Everything but this of ICMP.'],
      source: [own('EntityRule'), 'Where the connection comes from.'],
      destination: [own('EntityRule'), 'Where it goes.'],
      http: [own('HTTPMatch'), 'Some HTTP requests; of ingress rules that allow.'],
      metadata: [own('RuleMetadata'), 'For people.'],
    },
  },
  [`${CALICO}.ICMPFields`]: {
    d: 'A type of ICMP message.',
    p: { type: ['i', '0 to 254.'], code: ['i', '0 to 255, with a type.'] },
  },
  [`${CALICO}.EntityRule`]: {
    d: 'One end of a connection. All of what is given must hold.',
    p: {
      nets: NETS,
      notNets: [listOf('s'), 'Everything but these ranges.'],
      selector: ['s', `Pods and network sets. ${SELECTOR}`],
      notSelector: ['s', 'Everything but pods and network sets of these labels.'],
      namespaceSelector: [
        's',
        'In these namespaces; global(): what is in none. Absent: in that of the policy, or of a GlobalNetworkPolicy anywhere.',
      ],
      ports: [listOf('x'), 'Ports: 80, "80:90", or the name of a port of the pod.'],
      notPorts: [listOf('x'), 'Every port but these.'],
      serviceAccounts: [own('ServiceAccountMatch'), 'Pods by their service accounts.'],
      services: [
        own('ServiceMatch'),
        'Endpoints of a Service, with its ports at a destination. Of the other end alone, and nothing beside it.',
      ],
    },
  },
  [`${CALICO}.ServiceMatch`]: {
    d: 'A Service.',
    p: { name: ['s', 'Its name.'], namespace: ['s', 'Its namespace. Absent: that of the policy.'] },
  },
  [`${CALICO}.ServiceAccountMatch`]: {
    d: 'Service accounts, by name and labels; what is given must hold.',
    p: { names: [listOf('s'), 'One of these.'], selector: ['s', SELECTOR] },
  },
  [`${CALICO}.HTTPMatch`]: {
    d: 'HTTP requests.',
    p: {
      methods: [listOf('s'), 'One of these. At most 20.'],
      paths: [listOf(own('HTTPPath')), 'One of these. At most 20.'],
    },
  },
  [`${CALICO}.HTTPPath`]: {
    d: 'A path. One of the fields.',
    p: { exact: ['s', 'This one.'], prefix: ['s', 'All that begin so.'] },
  },
  [`${CALICO}.RuleMetadata`]: { d: 'For people.', p: { annotations: [{ m: 's' }, 'Whatever is of use.'] } },
  ...kind('Tier', 'Tier is a group of policies that decides before or after others.'),
  [`${CALICO}.TierSpec`]: {
    d: 'Its place and its end.',
    p: {
      order: ['n', 'Lower tiers decide first, equal ones by name. Absent: last.'],
      defaultAction: [
        's',
        'Deny (default) or Pass: for what policies of it apply to and none of their rules decides.',
      ],
    },
  },
  ...kind('NetworkSet', 'NetworkSet is a set of ranges that policies of its namespace select by its labels.'),
  [`${CALICO}.NetworkSetSpec`]: NETWORK_SET,
  ...kind('GlobalNetworkSet', 'GlobalNetworkSet is a set of ranges that policies select by its labels.'),
  [`${CALICO}.GlobalNetworkSetSpec`]: NETWORK_SET,
};
