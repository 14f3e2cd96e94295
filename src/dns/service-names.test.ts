import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service } from '../api/types.ts';
import { namesOf, serviceNames } from './service-names.ts';

const zone = { domain: 'cluster.local', ttl: 5 };

const slices: EndpointSlice[] = [
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name: 's' },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.244.1.2'], hostname: 'a' }, { addresses: ['10.244.1.3'] }],
  },
];

const ports = fc.array(
  fc.record({
    name: fc.constantFrom(undefined, 'http', 'DNS'),
    port: fc.constantFrom(53, 80),
    protocol: fc.constantFrom('TCP', 'UDP', undefined),
  }),
  { maxLength: 4 },
);
const addresses = fc.subarray(['10.96.0.1', 'FD00:10:96::1', 'fd00:10:96:0::1', 'nonsense']);

test('names without their records are the names that have them', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('ClusterIP', 'ExternalName'),
      fc.constantFrom('None', undefined, '10.96.0.1'),
      fc.option(addresses, { nil: undefined }),
      ports,
      (type, clusterIP, clusterIPs, list) => {
        const spec = { type, clusterIP, clusterIPs, ports: list, externalName: 'example.org' };
        const metadata = { namespace: 'shop', name: 'Cart' };
        const service = { apiVersion: 'v1', kind: 'Service', metadata, spec } as Service;
        const { names, reverse } = serviceNames(service, slices, zone);
        const quick = namesOf(service, slices, zone);
        assert.deepEqual(quick.names.toSorted(), [...names.keys()].toSorted());
        assert.deepEqual(quick.addresses.toSorted(), [...reverse.keys()].toSorted());
      },
    ),
  );
});
