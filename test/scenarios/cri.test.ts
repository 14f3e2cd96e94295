import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findLeft, forgetLeft } from '../../src/cluster/cri-left.ts';
import { clusterPaths, CRI_PODS } from '../../src/cluster/paths.ts';
import { freePort } from '../../src/cluster/ports.ts';
import { createContainerd, IMAGE } from '../../src/podhost/cri/testing.ts';
import type { Pod } from '../../src/api/types.ts';
import { eventually, isReady } from '../../src/podhost/test-node.ts';
import { deepOnly } from './deep-only.ts';
import { execute, root } from './local-cluster.ts';

const container = (name: string, command: string) =>
  `{ name: ${name}, image: "${IMAGE}", imagePullPolicy: Never, command: [sh, -c, "${command}"] }`;
const meta = (name: string) =>
  `{ name: ${name}, labels: { app: ${name} }, annotations: { heddle.dev/runtime: cri } }`;
const caller = (name: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { containers: [{ name: main, image: any }] }
`;
const MANIFESTS = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: ${meta('web')}
    spec: { containers: [${container('main', 'httpd -f -p 80 -h /srv')}] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 8080, targetPort: 80 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: friend } } }] }]
---${caller('friend')}---${caller('stranger')}`;

/** All that a pod may ask of files, filters, probes and host ports. */
const rich = (host: string) => `
apiVersion: v1
kind: Pod
metadata: ${meta('rich')}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - { name: fast, emptyDir: { medium: Memory, sizeLimit: 1Mi } }
  - { name: data, emptyDir: {} }
  - { name: host, hostPath: { path: ${host}, type: Directory } }
  initContainers:
  - name: first
    image: "${IMAGE}"
    imagePullPolicy: Never
    command: [sh, -c, "busybox mkdir -p /data/sub/in; echo kept > /data/sub/in/file"]
    volumeMounts: [{ name: data, mountPath: /data }]
  containers:
  - name: main
    image: "${IMAGE}"
    imagePullPolicy: Never
    command: [sh, -c, "busybox mkdir -p /www; echo rich > /www/index.html; exec httpd -f -p 80 -h /www"]
    env: [{ name: HOST_IP, valueFrom: { fieldRef: { fieldPath: status.hostIP } } }]
    ports: [{ containerPort: 80, hostPort: 8090 }]
    startupProbe: { exec: { command: [cat, /www/index.html] }, periodSeconds: 1, failureThreshold: 100 }
    readinessProbe: { httpGet: { port: 80, path: / }, periodSeconds: 1 }
    livenessProbe: { tcpSocket: { port: 80 } }
    volumeMounts:
    - { name: fast, mountPath: /fast }
    - { name: data, mountPath: /sub, subPath: sub/in }
    - { name: host, mountPath: /host }
    - { name: host, mountPath: /one, subPath: file, readOnly: true }
  - name: privileged
    image: "${IMAGE}"
    imagePullPolicy: Never
    command: [sleep, "100000"]
    securityContext: { privileged: true }
---
apiVersion: v1
kind: Pod
metadata: ${meta('led-out')}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{ name: data, emptyDir: {} }]
  initContainers:
  - name: first
    image: "${IMAGE}"
    imagePullPolicy: Never
    command: [busybox, ln, -s, /etc, /data/way-out]
    volumeMounts: [{ name: data, mountPath: /data }]
  containers:
  - name: main
    image: "${IMAGE}"
    imagePullPolicy: Never
    volumeMounts: [{ name: data, mountPath: /sub, subPath: way-out }]
`;

const LOOK = `cat /sub/file; cat /host/file; cat /one; echo from the pod > /host/back; echo no > /one 2>/dev/null || echo read-only
busybox head -c 2000000 /dev/zero > /fast/much 2>/dev/null || busybox wc -c < /fast/much`;

test('pods of containerd have services, names and policies, and go with their cluster', {
  skip: deepOnly('the pod host is held to a real containerd by itself'),
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-cri-`));
  const dataDir = join(folder, 'data');
  const containerd = await createContainerd(folder, CRI_PODS);
  // The cluster's /run is the runtime's, which is not the machine's.
  const heddle = (verb: string, ...args: string[]) => {
    const inside = ['-m', '-t', String(containerd.holder), join(root, 'heddle')];
    return execute('nsenter', [...inside, verb, '--data-dir', dataDir, ...args]);
  };
  t.after(async () => {
    await heddle('down');
    await containerd.close();
    for (const one of findLeft()) if (one.cluster === clusterPaths(dataDir).id) forgetLeft(one);
    rmSync(folder, { recursive: true, force: true });
  });
  const must = async (verb: string, ...args: string[]) => {
    const { code, stdout, stderr } = await heddle(verb, ...args);
    assert.equal(code, 0, `heddle ${verb} ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await containerd.start();
  writeFileSync(join(folder, 'all.yaml'), MANIFESTS);
  const endpoint = ['--cri-endpoint', containerd.endpoint, '--api-port', String(freePort())];
  await must(
    'up',
    '--detach',
    '--stand-in',
    '--allow-host',
    '--nodes',
    '2',
    ...endpoint,
    '-f',
    join(folder, 'all.yaml'),
  );
  assert.match(await must('status'), /container runtime {2}containerd 1\.\S+ at unix:/);
  const fetch = (from: string) => heddle('exec', from, '--', 'curl', '-sS', '-m', '5', 'http://web:8080/');
  const page = 'served from an image\n';
  await eventually('the service to answer', async () => (await fetch('friend')).stdout === page);
  for (let i = 0; i < 4; i++) assert.equal((await fetch('friend')).stdout, page);
  assert.notEqual((await fetch('stranger')).code, 0);
  const names = await must(
    'exec',
    'deploy/web',
    '--',
    'busybox',
    'nslookup',
    'web.default.svc.cluster.local',
  );
  assert.match(names, /Name:\s+web\.default\.svc\.cluster\.local\nAddress: 10\.96\./);
  const host = join(folder, 'host');
  mkdirSync(host);
  writeFileSync(join(host, 'file'), 'of the machine\n');
  writeFileSync(join(folder, 'rich.yaml'), rich(host));
  await must('apply', '-f', join(folder, 'rich.yaml'));
  const get = async (pod: string) => JSON.parse(await must('get', 'pod', pod, '-o', 'json')) as Pod;
  await eventually('the rich pod to be Ready', async () => isReady(await get('rich')));
  const look = await must('exec', 'rich', '-c', 'main', '--', 'sh', '-c', LOOK);
  assert.equal(look, 'kept\nof the machine\nof the machine\nread-only\n1048576\n');
  assert.equal(readFileSync(join(host, 'back'), 'utf8'), 'from the pod\n');
  const all = await must(
    'exec',
    'rich',
    '-c',
    'privileged',
    '--',
    'busybox',
    'grep',
    'CapBnd',
    '/proc/1/status',
  );
  assert.ok(BigInt(`0x${all.split('\t')[1]!.trim()}`) & (1n << 21n), `no CAP_SYS_ADMIN: ${all}`);
  const at = (await must('exec', 'rich', '-c', 'main', '--', 'sh', '-c', 'echo $HOST_IP')).trim();
  const port = await heddle('exec', 'friend', '--', 'curl', '-sS', '-m', '5', `http://${at}:8090/`);
  assert.equal(port.stdout, 'rich\n', port.stderr);
  const told = await eventually('the way out to be refused', async () => {
    const { containerStatuses } = (await get('led-out')).status ?? {};
    return containerStatuses?.[0]?.state?.waiting?.message?.match(/.*subPath "way-out".*/)?.[0];
  });
  assert.match(told, /failed to prepare/);
  // Away, it cannot be asked to remove them.
  await containerd.kill();
  const { id } = clusterPaths(dataDir);
  const left = new RegExp(`heddle\\.dev/cluster=${id} may be left in unix:.*: no container runtime answers`);
  const down = await heddle('down');
  assert.equal(down.code, 0, down.stderr);
  assert.match(down.stderr + down.stdout, left);
  assert.match((await heddle('doctor')).stdout, left);
  await containerd.start();
  containerd.hang();
  assert.match((await heddle('doctor', '--fix')).stdout, left);
  containerd.goOn();
  assert.notEqual((await containerd.ctr('containers', 'list', '--quiet')).trim(), '');
  assert.doesNotMatch((await heddle('doctor', '--fix')).stdout, left);
  assert.equal((await containerd.ctr('containers', 'list', '--quiet')).trim(), '');
});
