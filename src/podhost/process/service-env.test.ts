import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from '../../api/types.ts';
import { testPod } from '../test-node.ts';
import { serviceEnvOf } from './service-env.ts';

const service = (name: string, namespace: string, spec: Service['spec']): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec,
});
const services = [
  service('web-front', 'shop', {
    clusterIP: '10.96.0.7',
    ports: [
      { name: 'http-alt', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  }),
  service('six', 'shop', { clusterIP: 'fd00::7', ports: [{ port: 80 }] }),
  service('headless', 'shop', { clusterIP: 'None', ports: [{ port: 80 }] }),
  service('elsewhere', 'other', { clusterIP: '10.96.0.9', ports: [{ port: 80 }] }),
  service('kubernetes', 'default', { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] }),
];
const api = {
  KUBERNETES_SERVICE_HOST: '10.96.0.1',
  KUBERNETES_SERVICE_PORT: '443',
  KUBERNETES_SERVICE_PORT_HTTPS: '443',
  KUBERNETES_PORT: 'tcp://10.96.0.1:443',
  KUBERNETES_PORT_443_TCP: 'tcp://10.96.0.1:443',
  KUBERNETES_PORT_443_TCP_PROTO: 'tcp',
  KUBERNETES_PORT_443_TCP_PORT: '443',
  KUBERNETES_PORT_443_TCP_ADDR: '10.96.0.1',
};

test('a pod is told of the services of its namespace and of the API server, by address', () => {
  assert.deepEqual(serviceEnvOf(testPod('a'), services), {
    ...api,
    WEB_FRONT_SERVICE_HOST: '10.96.0.7',
    WEB_FRONT_SERVICE_PORT: '80',
    WEB_FRONT_SERVICE_PORT_HTTP_ALT: '80',
    WEB_FRONT_SERVICE_PORT_DNS: '53',
    WEB_FRONT_PORT: 'tcp://10.96.0.7:80',
    WEB_FRONT_PORT_80_TCP: 'tcp://10.96.0.7:80',
    WEB_FRONT_PORT_80_TCP_PROTO: 'tcp',
    WEB_FRONT_PORT_80_TCP_PORT: '80',
    WEB_FRONT_PORT_80_TCP_ADDR: '10.96.0.7',
    WEB_FRONT_PORT_53_UDP: 'udp://10.96.0.7:53',
    WEB_FRONT_PORT_53_UDP_PROTO: 'udp',
    WEB_FRONT_PORT_53_UDP_PORT: '53',
    WEB_FRONT_PORT_53_UDP_ADDR: '10.96.0.7',
    SIX_SERVICE_HOST: 'fd00::7',
    SIX_SERVICE_PORT: '80',
    SIX_PORT: 'tcp://[fd00::7]:80',
    SIX_PORT_80_TCP: 'tcp://[fd00::7]:80',
    SIX_PORT_80_TCP_PROTO: 'tcp',
    SIX_PORT_80_TCP_PORT: '80',
    SIX_PORT_80_TCP_ADDR: 'fd00::7',
  });
});

test('without links there is the API server alone', () => {
  assert.deepEqual(serviceEnvOf(testPod('a', { enableServiceLinks: false }), services), api);
});
