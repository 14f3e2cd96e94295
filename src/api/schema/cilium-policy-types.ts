/** Field lists of the policies of `cilium.io/v2`. What must be there is checked by validation. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const V2 = 'io.k8s.api.cilium.io.v2';

const ref = (name: string): FieldType => ({ r: name });
const own = (name: string): FieldType => ref(`${V2}.${name}`);
const listOf = (type: FieldType): FieldType => ({ a: type });
const selector = ref(`${META}.LabelSelector`);
const text = (description: string): Field => ['s', description];

const TYPE_META: Definition['p'] = {
  apiVersion: ['s', 'Group and version of the object.', 1],
  kind: ['s', 'Kind of the object.', 1],
};

const POLICY_FIELDS: Definition['p'] = {
  spec: [own('Rule'), 'What is to be enforced; this or specs, or both.'],
  specs: [listOf(own('Rule')), 'Several of them, each for its own endpoints.'],
  status: [own('CiliumNetworkPolicyStatus'), 'What became of it.'],
};

/** An object and its list. */
const kind = (
  name: string,
  description: string,
  fields: Definition['p'] = POLICY_FIELDS,
): Record<string, Definition> => ({
  [`${V2}.${name}`]: {
    d: description,
    p: { ...TYPE_META, metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'], ...fields },
  },
  [`${V2}.${name}List`]: {
    d: `A list of objects of kind ${name}.`,
    p: {
      ...TYPE_META,
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(own(name)), 'The objects.', 1],
    },
  },
});

const WHICH =
  'At most one kind of peer in a rule; none: every peer, if there are ports. An empty list: no peer.';

const peers = (side: 'from' | 'to'): Definition['p'] => ({
  [`${side}Endpoints`]: [
    listOf(selector),
    `Pods by their labels; of the policy’s namespace unless the selector names namespaces. ${WHICH}`,
  ],
  [`${side}Entities`]: [
    { a: 's' },
    'all, world, cluster, host, remote-node, kube-apiserver; none, init, ingress, health, unmanaged, which are nobody here.',
  ],
  [`${side}CIDR`]: [
    { a: 's' },
    'Addresses and ranges outside of the cluster: pods and nodes are never meant.',
  ],
  [`${side}CIDRSet`]: [listOf(own('CIDRRule')), 'Ranges outside of the cluster, with exceptions.'],
  [`${side}Nodes`]: [listOf(selector), 'Nodes by their labels.'],
  [`${side}Groups`]: [{ a: 'o' }, 'Refused: there are no groups of cloud providers here.'],
  [`${side}Requires`]: [listOf(selector), 'Refused: deprecated, and gone from the API.'],
});

const ICMPS: Field = [listOf(own('ICMPRule')), 'ICMP messages, in a rule without toPorts.'];
const allowPorts: Field = [
  listOf(own('PortRule')),
  'Destination ports, and what requests to them may be. Absent: everything, ICMP too.',
];
const denyPorts: Field = [listOf(own('PortDenyRule')), 'Destination ports. Absent: everything, ICMP too.'];
const AUTHENTICATION: Field = [own('Authentication'), 'How the peer must have proved who it is.'];
const SERVICES: Field = [
  listOf(own('Service')),
  'The pods of Services, or the addresses outside of the cluster of those without a selector.',
];
const PORTS: Field = [listOf(own('PortProtocol')), 'At most 40; none: no port.'];
const TLS = 'Refused: TLS is not ended or begun on the way yet.';

export const CILIUM_POLICY_TYPES: Readonly<Record<string, Definition>> = {
  ...kind(
    'CiliumNetworkPolicy',
    'CiliumNetworkPolicy allows and denies connections of pods of its namespace, by labels, addresses, names, ports and requests.',
  ),
  ...kind(
    'CiliumClusterwideNetworkPolicy',
    'CiliumClusterwideNetworkPolicy is a CiliumNetworkPolicy for pods of all namespaces.',
  ),
  ...kind('CiliumCIDRGroup', 'CiliumCIDRGroup is a set of ranges that policies name.', {
    spec: [own('CiliumCIDRGroupSpec'), 'The ranges.', 1],
  }),
  [`${V2}.CiliumCIDRGroupSpec`]: {
    d: 'Ranges outside of the cluster.',
    p: { externalCIDRs: [{ a: 's' }, '10.0.0.0/8 or fd00::/8; pods and nodes are never meant.', 1] },
  },
  [`${V2}.CiliumNetworkPolicyStatus`]: {
    d: 'State of a policy.',
    p: {
      conditions: [listOf(ref(`${META}.Condition`)), 'Valid.'],
      derivativePolicies: ['o', 'Stored; nobody writes it.'],
    },
  },
  [`${V2}.Rule`]: {
    d: 'For whom, and what. A direction with rules is closed: what no policy allows is denied there.',
    p: {
      endpointSelector: [
        selector,
        'Pods that it applies to, of the policy’s namespace if it has one; empty: all.',
      ],
      nodeSelector: [selector, 'Refused: policies for nodes are not enforced yet.'],
      ingress: [listOf(own('IngressRule')), 'What may be sent to the pods. An empty rule allows nothing.'],
      ingressDeny: [listOf(own('IngressDenyRule')), 'What may not, whatever any rule allows.'],
      egress: [listOf(own('EgressRule')), 'What the pods may send. An empty rule allows nothing.'],
      egressDeny: [listOf(own('EgressDenyRule')), 'What they may not, whatever any rule allows.'],
      enableDefaultDeny: [own('DefaultDenyConfig'), 'Whether directions with rules are closed.'],
      labels: [listOf(own('Label')), 'For people; stored.'],
      description: text('For people; stored.'),
      log: [own('LogConfig'), 'Words for logs.'],
    },
  },
  [`${V2}.DefaultDenyConfig`]: {
    d: 'Whether what no rule allows is denied, where there are rules. Absent: it is.',
    p: {
      ingress: ['b', 'Of what is sent to the pods.'],
      egress: ['b', 'Of what the pods send.'],
    },
  },
  [`${V2}.Label`]: {
    d: 'A label of a rule.',
    p: { key: ['s', 'Its key.', 1], value: text('Its value.'), source: text('Where it is from.') },
  },
  [`${V2}.LogConfig`]: {
    d: 'Words for logs.',
    p: { value: text('Shown with the rules in explanations, dumps and logs. At most 32 characters.') },
  },
  [`${V2}.IngressRule`]: {
    d: 'What is allowed of what is sent to the pods. All that is given must hold.',
    p: { ...peers('from'), toPorts: allowPorts, icmps: ICMPS, authentication: AUTHENTICATION },
  },
  [`${V2}.IngressDenyRule`]: {
    d: 'What is denied of what is sent to the pods. All that is given must hold.',
    p: { ...peers('from'), toPorts: denyPorts, icmps: ICMPS },
  },
  [`${V2}.EgressRule`]: {
    d: 'What is allowed of what the pods send. All that is given must hold.',
    p: {
      ...peers('to'),
      toServices: SERVICES,
      toFQDNs: [
        listOf(own('FQDNSelector')),
        'Addresses outside of the cluster by the names that they were looked up by.',
      ],
      toPorts: allowPorts,
      icmps: ICMPS,
      authentication: AUTHENTICATION,
    },
  },
  [`${V2}.EgressDenyRule`]: {
    d: 'What is denied of what the pods send. All that is given must hold.',
    p: { ...peers('to'), toServices: SERVICES, toPorts: denyPorts, icmps: ICMPS },
  },
  [`${V2}.CIDRRule`]: {
    d: 'A range, or ranges of groups, without exceptions of them. One of cidr, cidrGroupRef and cidrGroupSelector.',
    p: {
      cidr: text('10.0.0.0/8 or fd00::/8.'),
      except: [{ a: 's' }, 'Ranges that are not meant; of cidr, within it.'],
      cidrGroupRef: text('The name of a CiliumCIDRGroup. One that is not there has no ranges.'),
      cidrGroupSelector: [selector, 'CiliumCIDRGroups by their labels; empty: all.'],
    },
  },
  [`${V2}.Service`]: {
    d: 'Destinations by Service.',
    p: {
      k8sService: [own('K8sServiceNamespace'), 'One Service.'],
      k8sServiceSelector: [own('K8sServiceSelectorNamespace'), 'Services by their labels.'],
    },
  },
  [`${V2}.K8sServiceNamespace`]: {
    d: 'A Service by its name.',
    p: { serviceName: text('Its name.'), namespace: text('Its namespace; absent: any.') },
  },
  [`${V2}.K8sServiceSelectorNamespace`]: {
    d: 'Services by their labels.',
    p: { selector: [selector, 'Labels.'], namespace: text('Their namespace; absent: any.') },
  },
  [`${V2}.FQDNSelector`]: {
    d: 'A name, or a pattern of names. One of the fields.',
    p: {
      matchName: text('The whole name.'),
      matchPattern: text(
        'A name in which * stands for characters of one label; **. in front for labels; * alone for every name.',
      ),
    },
  },
  [`${V2}.PortRule`]: {
    d: 'Ports, and what requests to them may be.',
    p: {
      ports: PORTS,
      rules: [own('L7Rules'), 'Requests, one kind of them. Absent: the connection is enough.'],
      terminatingTLS: ['o', TLS],
      originatingTLS: ['o', TLS],
      serverNames: [{ a: 's' }, 'Refused: names in TLS handshakes are not read yet.'],
      listener: ['o', 'Refused: there are no listeners of one’s own.'],
    },
  },
  [`${V2}.PortDenyRule`]: { d: 'Ports.', p: { ports: PORTS } },
  [`${V2}.PortProtocol`]: {
    d: 'A port, or a range of them.',
    p: {
      port: text('A number, or a name that means what the destination pod says; 0 or absent: every port.'),
      endPort: ['i', 'Last of a range.'],
      protocol: text('TCP, UDP, SCTP, VRRP, IGMP, or ANY (default): each of TCP, UDP and SCTP.'),
    },
  },
  [`${V2}.L7Rules`]: {
    d: 'What a request must be: one of a list. One kind of them.',
    p: {
      http: [listOf(own('PortRuleHTTP')), 'HTTP requests.'],
      kafka: [listOf(own('PortRuleKafka')), 'Kafka requests.'],
      dns: [listOf(own('FQDNSelector')), 'Names that may be asked for.'],
      l7proto: text('Refused: no other protocols are read.'),
      l7: ['o', 'Refused: no other protocols are read.'],
    },
  },
  [`${V2}.PortRuleHTTP`]: {
    d: 'An HTTP request. All that is given must hold; patterns are extended regular expressions of POSIX for the whole text.',
    p: {
      path: text('Pattern of the path.'),
      method: text('Pattern of the method.'),
      host: text('Pattern of the host.'),
      headers: [{ a: 's' }, 'Headers that must be there: X-Name, or X-Name: value.'],
      headerMatches: [listOf(own('HeaderMatch')), 'Headers that must be there.'],
    },
  },
  [`${V2}.HeaderMatch`]: {
    d: 'A header.',
    p: {
      name: ['s', 'Its name.', 1],
      value: text('Its whole value. Absent: any.'),
      mismatch: text('Refused: requests are not changed or only logged.'),
      secret: [own('Secret'), 'Refused: values are not read from Secrets.'],
    },
  },
  [`${V2}.Secret`]: {
    d: 'A Secret.',
    p: { name: ['s', 'Its name.', 1], namespace: text('Its namespace.') },
  },
  [`${V2}.PortRuleKafka`]: {
    d: 'A Kafka request. All that is given must hold.',
    p: {
      role: text('produce or consume, instead of apiKey.'),
      apiKey: text('Name of the request: produce, fetch, …'),
      apiVersion: text('Its version, a number.'),
      clientID: text('What the client calls itself.'),
      topic: text('A topic; all topics of a request must be allowed.'),
    },
  },
  [`${V2}.ICMPRule`]: {
    d: 'ICMP messages.',
    p: { fields: [listOf(own('ICMPField')), 'At most 40.'] },
  },
  [`${V2}.ICMPField`]: {
    d: 'A type of ICMP message.',
    p: {
      family: text('IPv4 (default) or IPv6.'),
      type: ['x', '0 to 255, or a name such as EchoRequest.', 1],
    },
  },
  [`${V2}.Authentication`]: {
    d: 'How the peer must have proved who it is.',
    p: { mode: ['s', 'disabled, required or test-always-fail.', 1] },
  },
};
