import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ENDPOINT_SLICE, NODE, SERVICE } from '../../api/kinds.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { createFakeClient } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import { connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { needsRoot, testNetns } from '../../kernel/test-netns.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { readyNode, serviceOf } from '../testing.ts';
import { createHealthChecks, PROXY_HEALTH_PORT } from './health-checks.ts';

const PORT = 30_500;

const balancer = (port = PORT): Service =>
  serviceOf({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: port });

const slice = (endpoints: EndpointSlice['endpoints']): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints,
});

const here = (ready: boolean) => ({ addresses: ['10.244.0.2'], nodeName: 'node-1', conditions: { ready } });
const away = { addresses: ['10.244.1.2'], nodeName: 'node-2', conditions: { ready: true } };

async function start(t: TestContext) {
  const ns = testNetns(t);
  const client = createFakeClient();
  const of = { log: silentLog };
  const informers = {
    services: createInformer(client, SERVICE, of),
    slices: createInformer(client, ENDPOINT_SLICE, of),
    nodes: createInformer(client, NODE, of),
  };
  const state = { healthy: true };
  const checks = createHealthChecks({
    node: 'node-1',
    ...informers,
    healthy: () => state.healthy,
    listen: (port) => listenTcp(ns, '::', port),
    clock: systemClock,
    log: silentLog,
  });
  const stop = new AbortController();
  const done = [...Object.values(informers), checks].map((each) => each.run(stop.signal));
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
  await client.create(NODE, readyNode('node-1'));

  async function ask(port: number, path = '/') {
    const socket = await connectTcp(ns, { host: '127.0.0.1', port });
    socket.end(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    const [head = '', body = ''] = text.split('\r\n\r\n');
    return { code: Number(head.split(' ')[1]), head, json: JSON.parse(body || 'null') as unknown };
  }
  /** Until the answer is `code`: changes reach a node by its watch. */
  async function answers(port: number, code: number, path?: string) {
    for (;;) {
      const answer = await ask(port, path).catch(() => undefined);
      if (answer?.code === code) return answer;
      await systemClock.sleep(10);
    }
  }
  return { client, state, ask, answers };
}

test('a node with a ready endpoint is 200, one without 503, with counts', { skip: needsRoot }, async (t) => {
  const { client, answers } = await start(t);
  await client.create(SERVICE, balancer());
  const none = await answers(PORT, 503);
  const service = { namespace: 'shop', name: 'web' };
  assert.deepEqual(none.json, { service, localEndpoints: 0, serviceProxyHealthy: true });
  const made = await client.create(ENDPOINT_SLICE, slice([away, here(true)]));
  const one = await answers(PORT, 200);
  assert.deepEqual(one.json, { service, localEndpoints: 1, serviceProxyHealthy: true });
  assert.match(one.head, /x-load-balancing-endpoint-weight: 1/i);
  await client.update(ENDPOINT_SLICE, { ...made, endpoints: [away, here(false)] });
  await answers(PORT, 503);
});

test('a data path that is not programmed is 503 on every port', { skip: needsRoot }, async (t) => {
  const { client, state, answers } = await start(t);
  await client.create(SERVICE, balancer());
  await client.create(ENDPOINT_SLICE, slice([here(true)]));
  await answers(PORT, 200);
  state.healthy = false;
  const answer = await answers(PORT, 503);
  assert.equal((answer.json as { serviceProxyHealthy: boolean }).serviceProxyHealthy, false);
  assert.equal((await answers(PROXY_HEALTH_PORT, 503, '/healthz')).code, 503);
});

test('a node that is to go says so, and lives', { skip: needsRoot }, async (t) => {
  const { client, ask, answers } = await start(t);
  const good = await answers(PROXY_HEALTH_PORT, 200, '/healthz');
  assert.equal((good.json as { nodeEligible: boolean }).nodeEligible, true);
  const node = await client.get(NODE, 'node-1');
  const taints = [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' as const }];
  await client.update(NODE, { ...node, spec: { ...node.spec, taints } });
  const going = await answers(PROXY_HEALTH_PORT, 503, '/healthz');
  assert.equal((going.json as { nodeEligible: boolean }).nodeEligible, false);
  assert.equal((await ask(PROXY_HEALTH_PORT, '/livez')).code, 200);
  assert.equal((await ask(PROXY_HEALTH_PORT, '/else')).code, 404);
});

test('a port goes with its Service, and comes where another is asked for', { skip: needsRoot }, async (t) => {
  const { client, ask, answers } = await start(t);
  const made = await client.create(SERVICE, balancer());
  await answers(PORT, 503);
  await client.update(SERVICE, { ...made, spec: balancer(PORT + 1).spec });
  await answers(PORT + 1, 503);
  await assert.rejects(ask(PORT), { code: 'ECONNREFUSED' });
});
