import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupTreePids, findCgroup2Mount } from '../../src/kernel/cgroup.ts';
import { cpuTime } from '../../src/kernel/process.ts';
import { type LocalCluster, localCluster } from '../scenarios/local-cluster.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

const manifest = ({ pods, probes }: Size) => `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: many
spec:
  replicas: ${pods}
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
${
  probes
    ? `          readinessProbe:
            httpGet:
              path: /ready
              port: 8080
`
    : ''
}---
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

interface Size {
  readonly pods: number;
  readonly nodes: number;
  /** Of the sum of PSS, in bytes. */
  readonly memory: number;
  /** Each has a readiness probe, asked every ten seconds. */
  readonly probes: boolean;
  /** Of a processor, in per cent, when nothing goes on any more. */
  readonly idle?: number;
}

const sizes: readonly Size[] = [
  { pods: 30, nodes: 3, memory: 1e9, probes: true },
  { pods: 100, nodes: 5, memory: 1.5e9, probes: true },
  { pods: 1000, nodes: 10, memory: 5e9, probes: false, idle: 10 },
  { pods: 1000, nodes: 10, memory: 5e9, probes: true },
];

for (const size of sizes) {
  const { pods, nodes, memory: limit, probes } = size;
  test(`${pods} pods on ${nodes} nodes${probes ? ', probed,' : ''} become Ready, are served, and take less than ${limit / 1e9} GB together`, {
    skip: deep ? false : 'takes minutes: npm run check:deep (not in CI)',
    timeout: 400_000,
  }, async (t) => {
    const { apiPort, must, paths, status } = await localCluster(t);
    const folder = mkdtempSync(join(tmpdir(), 'heddle-manifests-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'many.yaml');
    writeFileSync(file, manifest(size));
    const before = kernelMemory();
    const began = performance.now();
    // It gives up after two minutes, as a user would.
    await must('up', '--detach', '--stand-in', '--nodes', `${nodes}`, '--api-port', `${apiPort}`, '-f', file);
    t.diagnostic(`all Ready after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    const { memory } = await status();
    const sum = memory?.pss ?? 0;
    t.diagnostic(`sum of PSS: ${mebibytes(sum)} in ${memory?.processes} processes`);
    const kernel = kernelMemory();
    for (const [name, bytes] of Object.entries(kernel))
      t.diagnostic(`${name}: ${mebibytes(bytes - (before[name] ?? 0))} more than before`);
    assert.ok(sum > 0 && sum < limit, `${sum} bytes`);
    assert.ok((await readyEndpoints(must)).every((count) => count >= pods));
    const idle = await idlePercent(join(findCgroup2Mount() ?? '', paths.cgroup));
    t.diagnostic(`idle: ${idle.toFixed(1)} % of a processor`);
    assert.ok(idle < (size.idle ?? 100), `${idle} % of a processor`);
  });
}

async function readyEndpoints(must: LocalCluster['must']): Promise<number[]> {
  const slices = JSON.parse(await must('get', 'endpointslices', '-o', 'json')) as {
    items: { addressType: string; endpoints: { conditions: { ready: boolean } }[] }[];
  };
  return ['IPv4', 'IPv6'].map(
    (family) =>
      slices.items
        .filter((slice) => slice.addressType === family)
        .flatMap(({ endpoints }) => endpoints)
        .filter(({ conditions }) => conditions.ready).length,
  );
}

/** Of the whole machine, in bytes: eBPF maps are in vmalloc, per-processor memory and what no other line has. */
function kernelMemory(): Record<string, number> {
  const info = readFileSync('/proc/meminfo', 'utf8');
  const names = ['SUnreclaim', 'SReclaimable', 'Percpu', 'VmallocUsed', 'MemAvailable'];
  return Object.fromEntries(
    names.map((name) => [name, Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(info)?.[1]) * 1024]),
  );
}

/** A share of 40 seconds, after 20 in which what is still to be done is done. */
async function idlePercent(cgroup: string): Promise<number> {
  const used = () => cgroupTreePids(cgroup).reduce((sum, pid) => sum + (cpuTime(pid) ?? 0), 0);
  await sleep(20_000);
  const before = used();
  await sleep(40_000);
  return (used() - before) / 400;
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
