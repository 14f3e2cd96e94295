/** Field lists of `security.istio.io`. What must be there is checked by validation, as of a CRD. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const V1 = 'io.k8s.api.security.istio.io.v1';

const ref = (name: string): FieldType => ({ r: `${V1}.${name}` });
const listOf = (name: string): FieldType => ({ a: ref(name) });
const texts = (description: string): Field => [{ a: 's' }, description];

const TYPE_META: Definition['p'] = {
  apiVersion: ['s', 'Group and version of the object.', 1],
  kind: ['s', 'Kind of the object.', 1],
};

const kind = (name: string, description: string): Record<string, Definition> => ({
  [`${V1}.${name}`]: {
    d: description,
    p: {
      ...TYPE_META,
      metadata: [{ r: `${META}.ObjectMeta` }, 'Name, namespace and labels.'],
      spec: [ref(`${name}Spec`), 'What is to be enforced.'],
      status: [ref('IstioStatus'), 'What became of it.'],
    },
  },
  [`${V1}.${name}List`]: {
    d: `A list of objects of kind ${name}.`,
    p: {
      ...TYPE_META,
      metadata: [{ r: `${META}.ListMeta` }, 'Revision of the list.'],
      items: [listOf(name), 'The objects.', 1],
    },
  },
});

const SELECTOR: Field = [
  ref('WorkloadSelector'),
  'Pods of its namespace by their labels; in istio-system, of every namespace. Absent: all of them.',
];

/** A list and its opposite: `ports` and `notPorts`. */
const both = (name: string, description: string): Definition['p'] => ({
  [name]: texts(description),
  [`not${name[0]!.toUpperCase()}${name.slice(1)}`]: texts(`None of these; as ${name}.`),
});

export const ISTIO_TYPES: Readonly<Record<string, Definition>> = {
  ...kind(
    'AuthorizationPolicy',
    'AuthorizationPolicy says which requests the proxy of a pod lets through: CUSTOM before DENY before ALLOW.',
  ),
  [`${V1}.AuthorizationPolicySpec`]: {
    d: 'For whom, and what.',
    p: {
      selector: SELECTOR,
      targetRef: [ref('PolicyTargetReference'), 'Refused: there is no gateway and no waypoint yet.'],
      targetRefs: [listOf('PolicyTargetReference'), 'Refused: there is no gateway and no waypoint yet.'],
      action: ['s', 'ALLOW (default), DENY, AUDIT, CUSTOM.'],
      provider: [ref('ExtensionProvider'), 'Of action CUSTOM: who decides.'],
      rules: [listOf('Rule'), 'Requests, by any of these. None: no request.'],
    },
  },
  [`${V1}.WorkloadSelector`]: {
    d: 'Pods by their labels.',
    p: { matchLabels: [{ m: 's' }, 'All of these labels.'] },
  },
  [`${V1}.PolicyTargetReference`]: {
    d: 'What a policy is attached to.',
    p: {
      group: ['s', 'Group of the target.'],
      kind: ['s', 'Kind of the target.'],
      name: ['s', 'Name of the target.'],
      namespace: ['s', 'Namespace of the target.'],
    },
  },
  [`${V1}.ExtensionProvider`]: { d: 'An authorizer outside.', p: { name: ['s', 'Its name.'] } },
  [`${V1}.Rule`]: {
    d: 'Requests: from one of the sources, to one of the operations, under all of the conditions. Empty: all.',
    p: {
      from: [listOf('RuleFrom'), 'Sources; absent: any.'],
      to: [listOf('RuleTo'), 'Operations; absent: any.'],
      when: [listOf('Condition'), 'Conditions; absent: none.'],
    },
  },
  [`${V1}.RuleFrom`]: { d: 'A source.', p: { source: [ref('Source'), 'All of its fields.'] } },
  [`${V1}.RuleTo`]: { d: 'An operation.', p: { operation: [ref('Operation'), 'All of its fields.'] } },
  [`${V1}.Source`]: {
    d: 'Who sends. Texts: exact, prefix*, *suffix, or * for any.',
    p: {
      ...both('principals', 'Identities of peers by mutual TLS: cluster.local/ns/shop/sa/web.'),
      ...both('requestPrincipals', 'Identities of requests by their token: issuer/subject.'),
      ...both('namespaces', 'Namespaces of peers by mutual TLS.'),
      ...both('serviceAccounts', 'Service accounts of peers by mutual TLS: name, or namespace/name.'),
      ...both('ipBlocks', 'Addresses of peers: 203.0.113.4, 203.0.113.0/24.'),
      ...both('remoteIpBlocks', 'Addresses of the first sender, as X-Forwarded-For tells.'),
    },
  },
  [`${V1}.Operation`]: {
    d: 'What is asked for. Texts: exact, prefix*, *suffix, or * for any.',
    p: {
      ...both('hosts', 'Host of the HTTP request, in any case.'),
      ...both('ports', 'Ports of the pod.'),
      ...both('methods', 'Method of the HTTP request; of gRPC it is POST.'),
      ...both('paths', 'Path of the HTTP request; of gRPC /package.Service/Method. Templates: /a/{*}/{**}.'),
    },
  },
  [`${V1}.Condition`]: {
    d: 'One more attribute of the request.',
    p: {
      key: ['s', 'Which: request.headers[x-name], source.ip, connection.sni, …'],
      ...both('values', 'Any of these.'),
    },
  },
  ...kind('PeerAuthentication', 'PeerAuthentication says whether the proxy of a pod asks for mutual TLS.'),
  [`${V1}.PeerAuthenticationSpec`]: {
    d: 'For whom, and what.',
    p: {
      selector: SELECTOR,
      mtls: [ref('MutualTLS'), 'Of all ports; absent: as the namespace has it, or the mesh.'],
      portLevelMtls: [{ m: ref('MutualTLS') }, 'Of single ports of the pod; only with a selector.'],
    },
  },
  [`${V1}.MutualTLS`]: {
    d: 'Mutual TLS.',
    p: { mode: ['s', 'UNSET (default): as the next wider object; DISABLE, PERMISSIVE, STRICT.'] },
  },
  [`${V1}.IstioStatus`]: {
    d: 'State of an object.',
    p: {
      conditions: [{ a: { r: `${META}.Condition` } }, 'By type.'],
      observedGeneration: ['i', 'Generation that they are of.'],
    },
  },
};
