import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAST_APPLIED, SERVICE_NAME } from '../../api/labels.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { createPlan } from '../../datapath/plan/plan.ts';
import { createKeepers } from './kept.ts';

const metadata = { namespace: 'shop', name: 'cart', uid: 'u', resourceVersion: '7' };

const service: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { ...metadata, annotations: { [LAST_APPLIED]: '{}', 'heddle.dev/balance': 'maglev' } },
  spec: {
    clusterIP: '10.96.0.1',
    clusterIPs: ['10.96.0.1'],
    selector: { app: 'cart' },
    sessionAffinity: 'ClientIP',
    ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
  },
};

const slice = (address: string): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { ...metadata, labels: { [SERVICE_NAME]: 'cart', other: 'x' } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: [
    {
      addresses: [address],
      nodeName: 'node-1',
      conditions: { ready: true },
      hints: { forZones: [{ name: 'a' }] },
      targetRef: { kind: 'Pod', name: 'p' },
    },
  ],
});

test('a plan of what is kept is the plan of the objects', () => {
  const kept = createKeepers();
  const plans = [
    [service, slice('10.244.1.2')] as const,
    [kept.service(service), kept.slice(slice('10.244.1.2'))] as const,
  ].map(([one, other]) => {
    const plan = createPlan({ node: 'node-1' });
    plan.setService(one);
    plan.setSlices('shop/cart', [other]);
    plan.update();
    return plan.state;
  });
  assert.deepEqual(plans[1], plans[0]);
  assert.equal(plans[0]?.services.size, 1);
});

test('what nobody reads is left out, and what many have alike is kept once', () => {
  const kept = createKeepers();
  const [a, b] = [kept.slice(slice('10.244.1.2')), kept.slice(slice('10.244.1.3'))];
  assert.deepEqual(Object.keys(a.metadata).toSorted(), ['labels', 'name', 'namespace']);
  assert.deepEqual(a.metadata.labels, { [SERVICE_NAME]: 'cart' });
  assert.equal(a.ports, b.ports);
  assert.equal(a.endpoints?.[0]?.conditions, b.endpoints?.[0]?.conditions);
  assert.deepEqual(kept.service(service).metadata.annotations, { 'heddle.dev/balance': 'maglev' });
});
