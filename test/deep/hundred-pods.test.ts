import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { localCluster } from '../scenarios/local-cluster.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

const manifest = (replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: many
spec:
  replicas: ${replicas}
  selector:
    matchLabels:
      app: many
  template:
    metadata:
      labels:
        app: many
    spec:
      containers:
        - name: server
          image: registry.example/many:1.0
          ports:
            - containerPort: 8080
          readinessProbe:
            httpGet:
              path: /ready
              port: 8080
---
apiVersion: v1
kind: Service
metadata:
  name: many
spec:
  selector:
    app: many
  ports:
    - port: 80
      targetPort: 8080
`;

test('a hundred pods on five nodes become Ready and take less than 1.5 GB together', {
  skip: deep ? false : 'takes a minute: npm run check:deep (not in CI)',
  timeout: 180_000,
}, async (t) => {
  const { apiPort, must, status } = await localCluster(t);
  const folder = mkdtempSync(join(tmpdir(), 'heddle-manifests-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'many.yaml');
  writeFileSync(file, manifest(100));
  const port = String(apiPort);
  await must('up', '--detach', '--stand-in', '--nodes', '5', '--api-port', port, '-f', file);
  const { memory } = await status();
  const sum = memory?.pss ?? 0;
  t.diagnostic(`sum of PSS: ${Math.round(sum / 2 ** 20)} MiB in ${memory?.processes} processes`);
  assert.ok(sum > 0 && sum < 1.5e9, `${sum} bytes`);
  const slices = JSON.parse(await must('get', 'endpointslices', '-o', 'json')) as {
    items: { addressType: string; endpoints: { conditions: { ready: boolean } }[] }[];
  };
  for (const family of ['IPv4', 'IPv6']) {
    const endpoints = slices.items
      .filter((slice) => slice.addressType === family)
      .flatMap((s) => s.endpoints);
    const ready = endpoints.filter(({ conditions }) => conditions.ready);
    assert.ok(ready.length >= 100, `${ready.length} ${family} endpoints are ready`);
  }
});
