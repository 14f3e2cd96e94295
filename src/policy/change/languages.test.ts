/** What is suggested, in the language of what denies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEstate } from '../analyse/estate.ts';
import { policyObject } from '../testing/arbitraries.ts';
import { flowOf } from '../testing/flow-text.ts';
import type { World, WorldPod } from '../world.ts';
import { smallestChange } from './smallest-change.ts';

const pod = (name: string): WorldPod => ({
  namespace: 'a',
  name,
  node: '',
  labels: { app: name },
  addresses: [],
  ports: [],
});

const db = { matchLabels: { app: 'db' } };

const policy = (apiVersion: string, kind: string, name: string, spec: object) => ({
  apiVersion,
  kind,
  metadata: { name, ...(kind === 'GlobalNetworkPolicy' ? {} : { namespace: 'a' }) },
  spec,
});
const cilium = (spec: object) => policy('cilium.io/v2', 'CiliumNetworkPolicy', 'c', spec);
const calico = (spec: object) => policy('projectcalico.org/v3', 'GlobalNetworkPolicy', 'sec.g', spec);
const authz = (spec: object) => policy('security.istio.io/v1', 'AuthorizationPolicy', 'z', spec);
const admin = (spec: object) =>
  policy('policy.networking.k8s.io/v1alpha1', 'AdminNetworkPolicy', 'first', spec);
const tls = (spec: object) => policy('security.istio.io/v1', 'PeerAuthentication', 't', spec);

function ask(objects: readonly { kind: string }[], flow: string) {
  const isMesh = ({ kind }: { kind: string }) =>
    kind === 'AuthorizationPolicy' || kind === 'PeerAuthentication';
  const world = {
    pods: [
      pod('web'),
      pod('db'),
      { ...pod('old'), labels: { app: 'old', 'istio.io/dataplane-mode': 'none' } },
    ],
    namespaces: [],
    nodes: [],
    policies: objects.filter((each) => !isMesh(each)),
    mesh: objects.filter(isMesh),
    surroundings: { tiers: [{ name: 'sec', order: 10, defaultAction: 'Deny' }] },
  } as unknown as World;
  return smallestChange(
    createEstate(world, () => undefined),
    flowOf(flow),
  );
}

const WEB = 'cluster.local/ns/a/sa/default';

const http = (rules: object[]) => [
  {
    fromEndpoints: [{ matchLabels: { app: 'web' } }],
    toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: rules } }],
  },
];

for (const { what, objects, flow, op, path, value, requests } of [
  {
    what: "a request more is one more for Cilium's proxy",
    objects: [cilium({ endpointSelector: db, ingress: http([{ method: 'GET' }]) })],
    flow: 'a/web > a/db TCP 80 PUT /x.y?z',
    op: 'append',
    path: 'spec.ingress[0].toPorts[0].rules.http',
    value: { method: 'PUT', path: String.raw`/x\.y\?z` },
    requests: 'this',
  },
  {
    what: 'a sender more of a request is a rule for it alone',
    objects: [cilium({ endpointSelector: db, ingress: http([{ method: 'GET' }]) })],
    flow: 'a/old > a/db TCP 80 GET /x',
    op: 'append',
    path: 'spec.ingress',
    value: {
      fromEndpoints: [{ matchLabels: { app: 'old', 'istio.io/dataplane-mode': 'none' } }],
      toPorts: [
        { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ method: 'GET', path: '/x' }] } },
      ],
    },
    requests: 'this',
  },
  {
    what: 'a message of ICMP is named by its type',
    objects: [cilium({ endpointSelector: db, ingress: [{}] })],
    flow: 'a/web > a/db ICMP 8',
    op: 'append',
    path: 'spec.ingress',
    value: {
      fromEndpoints: [{ matchLabels: { app: 'web' } }],
      icmps: [{ fields: [{ family: 'IPv4', type: 8 }] }],
    },
  },
  {
    what: "a tier of Calico's that closes gets a rule in it",
    objects: [calico({ tier: 'sec', order: 5, selector: "app == 'db'", types: ['Ingress'] })],
    flow: 'a/web > a/db TCP 80',
    op: 'append',
    path: 'spec.ingress',
    value: {
      action: 'Allow',
      protocol: 'TCP',
      source: { selector: "app == 'web'", namespaceSelector: "projectcalico.org/name == 'a'" },
      destination: { ports: [80] },
    },
  },
  {
    what: "what a rule of Calico's denies is allowed before it",
    objects: [
      calico({
        tier: 'sec',
        order: 5,
        selector: "app == 'db'",
        ingress: [{ action: 'Allow', protocol: 'UDP' }, { action: 'Deny' }],
      }),
    ],
    flow: 'a/web > a/db TCP 80',
    op: 'insert',
    path: 'spec.ingress[1]',
    value: {
      action: 'Allow',
      protocol: 'TCP',
      source: { selector: "app == 'web'", namespaceSelector: "projectcalico.org/name == 'a'" },
      destination: { ports: [80] },
    },
  },
  {
    what: 'before a first priority nothing goes but a rule of the same object',
    objects: [
      admin({
        priority: 0,
        subject: { pods: { namespaceSelector: {}, podSelector: db } },
        ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
      }),
    ],
    flow: 'a/web > a/db TCP 80',
    op: 'insert',
    path: 'spec.ingress[0]',
    value: {
      action: 'Allow',
      from: [
        {
          pods: {
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'a' } },
            podSelector: { matchLabels: { app: 'web' } },
          },
        },
      ],
      ports: [{ portNumber: { protocol: 'TCP', port: 80 } }],
    },
  },
  {
    what: 'where no rule of the mesh allows, one more does, by who sends it and what it asks for',
    objects: [authz({ selector: db, rules: [] })],
    flow: 'a/web > a/db TCP 80 GET /x?y',
    op: 'append',
    path: 'spec.rules',
    value: {
      from: [{ source: { principals: [WEB] } }],
      to: [{ operation: { ports: ['80'], methods: ['GET'], paths: ['/x'] } }],
    },
    requests: 'this',
  },
  {
    what: 'a rule of the mesh that denies gets an exception',
    objects: [authz({ action: 'DENY', rules: [{ to: [{ operation: { paths: ['/admin*'] } }] }] })],
    flow: 'a/web > a/db TCP 80 GET /admin',
    op: 'replace',
    path: 'spec.rules[0]',
    value: [
      {
        from: [{ source: { notPrincipals: [WEB] } }],
        to: [{ operation: { paths: ['/admin*'] } }],
      },
      { to: [{ operation: { paths: ['/admin*'], notPorts: ['80'] } }] },
      { to: [{ operation: { paths: ['/admin*'], notMethods: ['GET'] } }] },
      { to: [{ operation: { paths: ['/admin*'], notPaths: ['/admin'] } }] },
    ],
    requests: 'this',
  },
  {
    what: 'STRICT mutual TLS is made permissive at the port, where it is said for the workload',
    objects: [tls({ selector: db, mtls: { mode: 'STRICT' } })],
    flow: 'a/old > a/db TCP 80',
    op: 'set',
    path: 'spec.portLevelMtls[80].mode',
    value: 'PERMISSIVE',
  },
])
  test(what, () => {
    const { change } = ask(objects, flow);
    assert.deepEqual(
      change?.edits.map((edit) => [edit.op, edit.path, edit.value]),
      [[op, path, value]],
    );
    assert.equal(change?.requests, requests);
  });

for (const { what, objects, flow, why, message, path } of [
  {
    what: 'what fails closed because it cannot be read is to be put right',
    objects: [
      admin({
        priority: 5,
        subject: { namespaces: {} },
        ingress: [{ action: 'Deny', from: [{ networks: ['10.0.0.0/8'] }] }],
      }),
    ],
    flow: 'a/web > a/db TCP 80',
    why: 'unreadable',
    message:
      /AdminNetworkPolicy first spec\.ingress\[0\] denies because it cannot be read: .*; put that right/,
    path: 'spec.ingress[0].from[0]',
  },
  {
    what: 'no policy turns what an authorizer outside says',
    objects: [authz({ action: 'CUSTOM', provider: { name: 'opa' }, rules: [{}] })],
    flow: 'a/web > a/db TCP 80 GET /x provider:opa=deny',
    why: 'authorizer',
    message: /an authorizer outside/,
    path: undefined,
  },
  {
    what: 'a sender without a certificate and without a known address has no name',
    objects: [authz({ selector: db, rules: [] })],
    flow: 'a/old > a/db TCP 80',
    why: 'nameless',
    message: /it has no certificate, and its address is not known/,
    path: undefined,
  },
  {
    what: 'a request that is allowed is not made to be denied',
    objects: [policyObject('a', 'open', { podSelector: db, ingress: [{}] })],
    flow: 'a/web > a/db TCP 80 GET /x',
    why: 'allowed',
    message: /what would deny one request is not looked for/,
    path: undefined,
  },
])
  test(what, () => {
    const answer = ask(objects, flow);
    assert.ok(!answer.change);
    assert.equal(answer.none.why, why);
    assert.match(answer.none.message, message);
    assert.equal(answer.none.at?.path, path);
  });

test('a part that names what is not there is not why another part of its rule denies', () => {
  const deny = cilium({
    endpointSelector: db,
    egressDeny: [{ toCIDRSet: [{ cidrGroupRef: 'gone' }, { cidr: '192.0.2.0/24' }] }],
  });
  const { change } = ask([deny], 'a/db > 192.0.2.1 TCP 80');
  assert.equal(change?.edits[0]?.policy.kind, 'AdminNetworkPolicy');
  assert.deepEqual([change?.also, change?.between], [[], []]);
});

for (const [closing, kind] of [
  [cilium({ endpointSelector: db, ingress: [{ fromEntities: ['host'] }] }), 'CiliumNetworkPolicy'],
  [
    policy('projectcalico.org/v3', 'NetworkPolicy', 'k', { selector: "app == 'db'", types: ['Ingress'] }),
    'NetworkPolicy.projectcalico.org',
  ],
  [policyObject('a', 'n', { podSelector: db, policyTypes: ['Ingress'] }), 'NetworkPolicy'],
] as const)
  test(`a connection that policies of kind ${kind} close out is allowed by such a policy`, () => {
    const { change } = ask([closing], 'a/web > a/db TCP 80');
    assert.deepEqual(
      change?.edits.map((edit) => edit.policy.kind),
      [kind],
    );
    assert.deepEqual([change?.also, change?.between], [[], []]);
  });
