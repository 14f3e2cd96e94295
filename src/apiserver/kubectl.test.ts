/** A real kubectl against the server: what users type, for every kind. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { kubectl } from '../../test/kubectl.ts';
import { apiVersionOf } from '../api/kinds.ts';
import { registry } from '../api/registry.ts';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
let home: string;
before(async () => {
  api = await startHarness();
  home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
});
after(async () => {
  await api.close();
  rmSync(home, { recursive: true, force: true });
});

/** Runs and expects success; the output. */
async function k(args: string, input?: string): Promise<string> {
  const result = await tryK(args, input);
  assert.equal(result.code, 0, `kubectl ${args}: ${result.stderr}`);
  return result.stdout;
}
const tryK = (args: string, input = '') =>
  kubectl(args.split(' '), { kubeconfig: api.kubeconfig, home, input });

const list = (...items: object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
const podSpec = { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }] }] };
const template = { metadata: { labels: { app: 'web' } }, spec: podSpec };
const selector = { matchLabels: { app: 'web' } };

/** One object of each kind, as a user would write it. */
const one = (kind: string, apiVersion: string, name: string, rest: object) => ({
  apiVersion,
  kind,
  metadata: { name },
  ...rest,
});
const EVERY_KIND = [
  one('Namespace', 'v1', 'every', {}),
  one('Node', 'v1', 'every', { spec: { podCIDR: '10.244.0.0/24', podCIDRs: ['10.244.0.0/24'] } }),
  one('ConfigMap', 'v1', 'every', { data: { a: '1' } }),
  one('Secret', 'v1', 'every', { stringData: { password: 'x' } }),
  one('ServiceAccount', 'v1', 'every', {}),
  one('Pod', 'v1', 'every', { spec: podSpec }),
  one('Service', 'v1', 'every', { spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } }),
  one('Event', 'v1', 'every', {
    involvedObject: { apiVersion: 'v1', kind: 'Pod', name: 'every', namespace: 'default' },
    reason: 'Tested',
    message: 'it was tested',
    type: 'Normal',
  }),
  one('Deployment', 'apps/v1', 'every', { spec: { replicas: 2, selector, template } }),
  one('ReplicaSet', 'apps/v1', 'every', { spec: { replicas: 1, selector, template } }),
  one('EndpointSlice', 'discovery.k8s.io/v1', 'every', {
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.1.2.3'] }],
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  }),
  one('NetworkPolicy', 'networking.k8s.io/v1', 'every', {
    spec: {
      podSelector: selector,
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ port: 80, protocol: 'TCP' }] }],
    },
  }),
  one('CiliumNetworkPolicy', 'cilium.io/v2', 'every', {
    spec: {
      endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'shop' } }],
          toPorts: [
            { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ method: 'GET', path: '/.*' }] } },
          ],
        },
      ],
      egressDeny: [{ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] }],
      enableDefaultDeny: { egress: false },
    },
  }),
  one('CiliumClusterwideNetworkPolicy', 'cilium.io/v2', 'every', {
    specs: [{ endpointSelector: {}, ingress: [{ fromEntities: ['cluster'] }] }],
  }),
  one('AdminNetworkPolicy', 'policy.networking.k8s.io/v1alpha1', 'every', {
    spec: {
      priority: 5,
      subject: { namespaces: {} },
      ingress: [
        {
          action: 'Deny',
          from: [{ namespaces: {} }],
          ports: [{ portNumber: { port: 80, protocol: 'TCP' } }],
        },
      ],
    },
  }),
  one('BaselineAdminNetworkPolicy', 'policy.networking.k8s.io/v1alpha1', 'default', {
    spec: { subject: { namespaces: {} }, egress: [{ action: 'Deny', to: [{ networks: ['10.0.0.0/8'] }] }] },
  }),
  one('ClusterNetworkPolicy', 'policy.networking.k8s.io/v1alpha2', 'every', {
    spec: {
      tier: 'Baseline',
      priority: 5,
      subject: { pods: { namespaceSelector: {}, podSelector: selector } },
      egress: [
        { action: 'Pass', to: [{ nodes: {} }], protocols: [{ tcp: { destinationPort: { number: 80 } } }] },
      ],
    },
  }),
  one('AuthorizationPolicy', 'security.istio.io/v1', 'every', {
    spec: { action: 'DENY', rules: [{ to: [{ operation: { ports: ['80'], methods: ['GET'] } }] }] },
  }),
  one('PeerAuthentication', 'security.istio.io/v1', 'every', {
    spec: {
      selector: { matchLabels: { app: 'every' } },
      mtls: { mode: 'STRICT' },
      portLevelMtls: { 8080: { mode: 'PERMISSIVE' } },
    },
  }),
  one('NetworkPolicy', 'projectcalico.org/v3', 'every', {
    spec: {
      tier: 'security',
      order: 7.5,
      selector: "role == 'db'",
      ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80, '90:99', 'http'] } }],
    },
  }),
  one('GlobalNetworkPolicy', 'projectcalico.org/v3', 'every', {
    spec: { order: 7.5, egress: [{ action: 'Deny', destination: { notNets: ['10.0.0.0/8'] } }] },
  }),
  one('Tier', 'projectcalico.org/v3', 'every', { spec: { order: 300, defaultAction: 'Pass' } }),
  one('NetworkSet', 'projectcalico.org/v3', 'every', { spec: { nets: ['192.0.2.0/24', '198.51.100.7'] } }),
  one('GlobalNetworkSet', 'projectcalico.org/v3', 'every', { spec: { nets: ['2001:db8::/32'] } }),
  one('Lease', 'coordination.k8s.io/v1', 'every', {
    spec: { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-01-31T12:00:00.000000Z' },
  }),
  one('CiliumCIDRGroup', 'cilium.io/v2', 'every', { spec: { externalCIDRs: ['192.0.2.0/24'] } }),
  one('CiliumLoadBalancerIPPool', 'cilium.io/v2alpha1', 'every', {
    spec: { blocks: [{ cidr: '192.0.2.0/24' }], serviceSelector: selector },
  }),
  one('CiliumNode', 'cilium.io/v2', 'every', {
    spec: {
      ipam: {
        pools: {
          requested: [{ pool: 'every', needed: { 'ipv4-addrs': 8 } }],
          allocated: [{ pool: 'every', cidrs: ['10.20.3.0/24'] }],
        },
      },
    },
  }),
  // After the node: a pool of which one has blocks is not deleted.
  one('CiliumPodIPPool', 'cilium.io/v2alpha1', 'every', {
    spec: { ipv4: { cidrs: ['10.20.0.0/16'], maskSize: 24 }, podSelector: selector },
  }),
  one('IPReservation', 'projectcalico.org/v3', 'every', { spec: { reservedCIDRs: ['10.20.0.7'] } }),
  one('IPReservation', 'crd.projectcalico.org/v1', 'every', { spec: { reservedCIDRs: ['10.20.0.8/31'] } }),
  one('CiliumBGPClusterConfig', 'cilium.io/v2', 'every', {
    spec: {
      nodeSelector: selector,
      bgpInstances: [
        { name: 'a', localASN: 65001, peers: [{ name: 'b', peerAddress: '192.0.2.1', peerASN: 65002 }] },
      ],
    },
  }),
  one('CiliumBGPPeerConfig', 'cilium.io/v2', 'every', {
    spec: { timers: { holdTimeSeconds: 90 }, families: [{ afi: 'ipv4', safi: 'unicast' }] },
  }),
  one('CiliumBGPAdvertisement', 'cilium.io/v2', 'every', {
    spec: { advertisements: [{ advertisementType: 'PodCIDR', attributes: { localPreference: 50 } }] },
  }),
  one('CiliumBGPNodeConfig', 'cilium.io/v2', 'every', {
    spec: { bgpInstances: [{ name: 'a', localASN: 65001, routerID: '192.0.2.9' }] },
  }),
  one('CiliumBGPNodeConfigOverride', 'cilium.io/v2', 'every', {
    spec: { bgpInstances: [{ name: 'a', localPort: 1179 }] },
  }),
  one('UplinkProtection', 'heddle.dev/v1alpha1', 'every', {
    spec: { denied: ['198.51.100.0/24'], limits: { packets: { perSecond: 1000 } }, nodeSelector: selector },
  }),
];

test('the list above has every kind that is served', () => {
  assert.deepEqual(
    EVERY_KIND.map(({ kind }) => kind).toSorted(),
    registry.map(({ kind }) => kind.kind).toSorted(),
  );
});

const deep = process.env['HEDDLE_DEEP'] === '1';
const groupOf = ({ apiVersion }: { apiVersion: string }): string => apiVersion.split('/').at(-2) ?? '';
/** Each call of kubectl starts a process: of each group one kind has all done to it, the others in the deep check. */
const hasAllDone = (each: (typeof EVERY_KIND)[number]): boolean =>
  deep || each.kind === 'Pod' || EVERY_KIND.find((other) => groupOf(other) === groupOf(each)) === each;

test('every kind: apply, apply again, get in all forms, describe, label, annotate, replace, patch, delete', async () => {
  const manifest = list(...EVERY_KIND);
  assert.match(await k('apply -f -', manifest), /deployment\.apps\/every created/);
  const second = await k('apply -f -', manifest);
  for (const line of second.trim().split('\n')) assert.match(line, /unchanged$|secret\/every configured$/);
  for (const each of EVERY_KIND) {
    const { kind, apiVersion, metadata } = each;
    const { name } = metadata;
    // Of two groups' kinds of one name, kubectl wants the group said; kinds of Calico have names that others have too.
    const group = groupOf(each);
    const word = kind.toLowerCase() + (group.endsWith('projectcalico.org') ? `.${group}` : '');
    assert.match(await k(`get ${word} ${name} -o wide`), new RegExp(`${name}|Tested`));
    const object = JSON.parse(await k(`get ${word} ${name} -o json`));
    assert.deepEqual([object.kind, object.apiVersion], [kind, apiVersion]);
    await k(`label ${word} ${name} colour=blue`);
    if (hasAllDone(each)) await changeInAllForms(word, kind, name);
    const message = await k(`delete ${word} ${name} --timeout=60s --wait=${kind !== 'Namespace'}`);
    assert.match(message, /deleted/);
  }
});

async function changeInAllForms(word: string, kind: string, name: string): Promise<void> {
  assert.match(await k(`get ${word} ${name}`), /NAME|LAST SEEN/);
  assert.match(await k(`get ${word} ${name} -o yaml`), new RegExp(`^kind: ${kind}$`, 'm'));
  assert.match(await k(`describe ${word} ${name}`), new RegExp(name));
  await k(`annotate ${word} ${name} note=seen`);
  assert.match(await k(`get ${word} -l colour=blue -o name`), new RegExp(name));
  const patch = '{"metadata":{"annotations":{"note":"patched"}}}';
  for (const type of ['merge', 'strategic']) await k(`patch ${word} ${name} --type=${type} -p ${patch}`);
  await k(`patch ${word} ${name} --type=json -p [{"op":"remove","path":"/metadata/annotations/note"}]`);
  const now = JSON.parse(await k(`get ${word} ${name} -o json`));
  assert.equal(now.metadata.annotations?.note, undefined);
  now.metadata.labels.colour = 'red';
  assert.match(await k('replace -f -', JSON.stringify(now)), /replaced/);
}

test('two kinds of one name are told apart by their groups, as kubectl does it', async () => {
  const kube = one('NetworkPolicy', 'networking.k8s.io/v1', 'twin', { spec: { podSelector: {} } });
  const calico = one('NetworkPolicy', 'projectcalico.org/v3', 'twin', { spec: { selector: 'all()' } });
  await k('apply -f -', list(kube, calico));
  const versions = async (word: string) => (await k(`get ${word} twin -o jsonpath={.apiVersion}`)).trim();
  for (const word of ['netpol', 'networkpolicy', 'networkpolicies', 'networkpolicies.networking.k8s.io'])
    assert.equal(await versions(word), 'networking.k8s.io/v1', word);
  for (const word of ['networkpolicy.p', 'networkpolicies.projectcalico.org', 'caliconetworkpolicy'])
    assert.equal(await versions(word), 'projectcalico.org/v3', word);
  assert.match(await k('get networkpolicy.p twin'), /TIER +ORDER +AGE\ntwin +default/);
  assert.match(await k('get networkpolicy twin'), /POD-SELECTOR/);
  await k('delete networkpolicy.p twin');
  assert.equal(await versions('networkpolicy'), 'networking.k8s.io/v1');
  await k('delete networkpolicy twin');
});

test('kubectl knows the kinds, their versions and their fields', async () => {
  const resources = await k('api-resources --no-headers');
  assert.equal(resources.trim().split('\n').length, registry.length);
  assert.match(
    await k('api-versions'),
    new RegExp(`^${[...new Set(registry.map(({ kind }) => apiVersionOf(kind)))].sort().join('\n')}$`, 'm'),
  );
  for (const { kind } of registry)
    assert.match(
      await k(`explain ${kind.resource} --api-version=${apiVersionOf(kind)}`),
      new RegExp(`KIND:\\s+${kind.kind}`),
    );
  assert.match(await k('explain deployment.spec.template.spec.containers.ports.containerPort'), /<integer>/);
  assert.match(await k('version'), /Server Version: v1\.35\.0\+heddle/);
});

test('create, expose, scale and set work by their short forms', async () => {
  await k('create namespace short');
  await k('create deployment web --image=i --replicas=2 -n short');
  await k('expose deployment web --port=80 -n short');
  await k('scale deployment web --replicas=5 -n short');
  assert.equal(await k('get deploy web -n short -o jsonpath={.spec.replicas}'), '5');
  await k('set image deployment/web i=other -n short');
  await k('create configmap cm --from-literal=a=b -n short');
  await k('create secret generic s --from-literal=a=b -n short');
  await k('create serviceaccount robot -n short');
  await k('run single --image=i -n short');
  assert.match(await k('get all -n short'), /deployment\.apps\/web[^]*|service\/web/);
  assert.match(await k('get cm,secret,sa -A'), /short\s+configmap\/cm/);
  assert.match(await k('get pods -n short --field-selector=status.phase=Pending -o name'), /pod\/single/);
});

test('a changed manifest is applied as a change, a removed field goes', async () => {
  const manifest = (replicas: number, labels: object) =>
    JSON.stringify({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'changing', labels },
      spec: { replicas, selector, template },
    });
  await k('apply -f -', manifest(1, { a: '1', b: '2' }));
  assert.match(await k('diff -f -', manifest(1, { a: '1', b: '2' })), /^$/);
  assert.equal((await tryK('diff -f -', manifest(2, { a: '1' }))).code, 1);
  assert.match(await k('apply -f -', manifest(2, { a: '1' })), /configured/);
  const { metadata, spec } = JSON.parse(await k('get deploy changing -o json'));
  assert.deepEqual([metadata.labels, spec.replicas, metadata.generation], [{ a: '1' }, 2, 2]);
});

test('delete waits for finalizers and grace; wait sees conditions and deletions', async () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'slow' },
    spec: { ...podSpec, nodeName: 'n1' },
  };
  await k('apply -f -', JSON.stringify(pod));
  const path = '/api/v1/namespaces/default/pods/slow';
  const ready = k('wait --for=condition=Ready pod/slow --timeout=20s');
  await api.request('PATCH', `${path}/status`, {
    type: 'application/strategic-merge-patch+json',
    body: { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } },
  });
  assert.match(await ready, /condition met/);
  const gone = k('wait --for=delete pod/slow --timeout=20s');
  const deleted = k('delete pod slow --timeout=20s');
  while (!(await api.request('GET', path)).json.metadata.deletionTimestamp);
  await api.request('DELETE', `${path}?gracePeriodSeconds=0`);
  assert.match(await deleted, /deleted/);
  await gone;
  await k('apply -f -', JSON.stringify({ ...pod, metadata: { name: 'forced' } }));
  await k('delete pod forced --force --grace-period=0');
});

test('get --watch prints a line for each change', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  await k('create configmap watched --from-literal=a=1');
  const watching = kubectl(['get', 'configmap', '-w', '--no-headers', '--request-timeout=4s'], {
    kubeconfig: api.kubeconfig,
    home,
    signal: stop.signal,
  });
  // The watch has begun once the server counts it.
  while (
    !/apiserver_longrunning_requests\{resource="configmaps",verb="WATCH"\} 1/.test(
      (await api.request('GET', '/metrics')).text,
    )
  );
  await k('create configmap appeared --from-literal=a=1');
  await k('delete configmap watched');
  const { stdout } = await watching;
  assert.match(stdout, /^watched\s+1/m);
  assert.match(stdout, /^appeared\s+1/m);
  assert.equal(stdout.match(/^watched/gm)?.length, 2);
});

test('mistakes are told in words that help', async () => {
  const fails = async (args: string, input: string, words: RegExp) => {
    const { code, stderr } = await tryK(args, input);
    assert.notEqual(code, 0);
    assert.match(stderr, words);
  };
  const configMap = (rest: object) =>
    JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, ...rest });
  await fails('apply -f -', configMap({ dtaa: {} }), /unknown field "dtaa"/);
  await fails(
    'create -f -',
    configMap({ metadata: { name: 'Not A Name' } }),
    /is invalid: metadata\.name: Invalid value/,
  );
  await fails('create -f - -n nowhere', configMap({}), /namespaces "nowhere" not found/);
  await fails('get pod none', '', /Error from server \(NotFound\): pods "none" not found/);
  await fails('apply --server-side -f -', configMap({}), /server-side apply is not served/);
  await fails('get pods --token=wrong --client-certificate=/dev/null', '', /./);
});

test('who am I and what may I', async () => {
  assert.match(await k('auth whoami'), /admin/);
  assert.match(await k('auth can-i create pods'), /yes/);
  await k('create serviceaccount robot');
  await k('create secret generic bound');
  const token = await k(
    'create token robot --duration 20m --audience vault --bound-object-kind Secret --bound-object-name bound',
  );
  const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
  assert.deepEqual([claims.aud, claims.exp - claims.iat], [['vault'], 1200]);
  assert.equal(claims['kubernetes.io'].secret.name, 'bound');
});
