import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { kubectl, kubectlPath, type KubectlResult } from '../kubectl.ts';
import { inTerminal } from '../terminal.ts';
import { busyboxLayer, layoutOf, writeFiles } from '../../src/image/testing/make.ts';
import { dialer } from './stream-client.ts';
import { inventory, manySessions, untilAsBefore } from './stream-sessions.ts';
import { execute, root, upCluster } from './local-cluster.ts';

/** Milliseconds: generous, for machines that do other things as well. */
const PATIENCE = 120_000;

test('pods of processes: started, logged, entered, restarted and ended, as kubectl sees them', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const images = ['--image-dir', join(home, 'images')];
  const image = (...args: string[]) => execute(join(root, 'heddle'), ['image', ...args, ...images]);
  const web = layoutOf({
    layers: [busyboxLayer()],
    config: { Cmd: ['httpd', '-f', '-v', '-p', '80', '-h', '/srv'], User: 'web' },
  });
  const imported = await image('import', writeFiles(join(home, 'web'), web), '--name', 'test/web:1');
  assert.equal(imported.code, 0, imported.stderr);
  const cluster = await upCluster(
    t,
    join(root, 'test/manifests/processes'),
    '--nodes',
    '1',
    '--allow-host',
    ...images,
  );
  const { kubeconfig } = cluster.paths;
  const ask = (args: string, input?: string) =>
    kubectl(['-n', 'work', ...args.split(' ')], { kubeconfig, home, ...(input ? { input } : {}) });
  const must = async (args: string, input?: string): Promise<string> => {
    const { code, stdout, stderr } = await ask(args, input);
    assert.equal(code, 0, `kubectl ${args}: ${stderr}`);
    return stdout;
  };
  const eventually = async (
    args: string,
    holds: (result: KubectlResult) => boolean,
  ): Promise<KubectlResult> => {
    for (const end = Date.now() + PATIENCE; ; await sleep(300)) {
      const result = await ask(args);
      if (holds(result)) return result;
      if (Date.now() > end) throw new Error(`kubectl ${args}: ${result.stdout}${result.stderr}`);
    }
  };

  const pod = (await must('get pods -l app=worker -o jsonpath={.items[0].metadata.name}')).trim();
  const [node] = (await must('get nodes -o jsonpath={.items[*].metadata.name}')).split(' ');
  await eventually(`logs ${pod} -c main`, ({ stdout }) => stdout === `hello s3cret\non ${node}\n`);
  await eventually(`logs ${pod} -c helper --tail 1`, ({ stdout }) => stdout === 'helping\n');
  assert.match(await must(`logs ${pod} -c main --timestamps`), /^20\d\d-\S+Z hello s3cret\n/);
  assert.match(await must(`get pod ${pod} --no-headers`), /2\/2 +Running +0 /);

  // Who it is, by the token where Kubernetes puts it, at the address that its environment names.
  const place = '/var/run/secrets/kubernetes.io/serviceaccount';
  const asks = (path: string) =>
    kubectl(
      [
        '-n',
        'work',
        'exec',
        pod,
        '-c',
        'main',
        '--',
        'sh',
        '-c',
        `curl -sS --max-time 60 --cacert ${place}/ca.crt -H "Authorization: Bearer $(cat ${place}/token)" ${path}`,
      ],
      { kubeconfig, home },
    );
  const self = 'apis/authentication.k8s.io/v1/selfsubjectreviews';
  const me = await asks(
    `-X POST -H 'Content-Type: application/json' -d '{}' https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/${self}`,
  );
  assert.match(me.stdout, /"username":"system:serviceaccount:work:default"/, me.stderr);
  assert.match(me.stdout, new RegExp(`"authentication.kubernetes.io/pod-name":\\["${pod}"\\]`));
  const secrets = await asks(
    `https://kubernetes.default.svc/api/v1/namespaces/$(cat ${place}/namespace)/secrets`,
  );
  assert.match(secrets.stdout, /cannot list resource \\"secrets\\" .* in the namespace \\"work\\"/);

  const input = 'x'.repeat(300_000);
  assert.equal(await must(`exec -i ${pod} -c main -- cat`, input), input);
  assert.equal(await must(`exec ${pod} -c main -- cat /data/prepared`), 'hello s3cret\n');
  const code = await kubectl(
    ['-n', 'work', 'exec', pod, '-c', 'helper', '--', 'sh', '-c', 'echo no >&2; exit 5'],
    {
      kubeconfig,
      home,
    },
  );
  assert.equal(code.code, 5);
  assert.match(code.stderr, /^no$/m);
  assert.match((await ask(`exec ${pod} -c nosuch -- true`)).stderr, /nosuch is not valid for pod/);

  // Looked into: among the processes of a container, and nobody else's.
  const look = (target: string, pod: string, more: string[]) =>
    kubectl(['-n', 'work', 'debug', pod, '--profile=general', `--target=${target}`, '-c', 'look', ...more], {
      kubeconfig,
      home,
    });
  const SEES = ['--', 'sh', '-c', 'cat /proc/1/cmdline /proc/[0-9]*/cmdline | tr "\\0" " "'];
  const webPod = (await must('get pods -l app=web -o jsonpath={.items[0].metadata.name}')).trim();
  for (const [name, target, image, own] of [
    [pod, 'main', 'none', /inside .*cat \/data\/prepared/],
    [webPod, 'main', 'test/web:1', /^httpd -f/],
  ] as const) {
    const asked = await look(target, name, ['--image', image, ...SEES]);
    assert.equal(asked.code, 0, asked.stderr);
    const { stdout } = await eventually(`logs ${name} -c look`, (result) => result.stdout !== '');
    assert.match(stdout, own);
    assert.doesNotMatch(stdout, /supervisor|heddle-pause hold|bwrap/);
    const over = '{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}';
    await eventually(`get pod ${name} -o jsonpath=${over}`, (result) => result.stdout === '0');
  }

  // Sessions of all kinds that end in all ways leave nothing behind.
  const targets = {
    namespace: 'work',
    shell: { pod, container: 'main' },
    web: { pod: webPod, port: 80 },
  };
  const dial = await dialer(kubeconfig);
  const held = await inventory(cluster);
  await manySessions(dial, targets, 24);
  // Descriptors are compared in test/deep/streaming.test.ts, on a cluster where nothing else happens.
  await untilAsBefore(cluster, held, { descriptors: false });

  // By tar, there and back.
  const mine = join(home, 'mine');
  writeFileSync(mine, input);
  await must(`cp ${mine} ${pod}:/data/theirs -c main`);
  await must(`cp ${pod}:/data/theirs ${mine}.back -c main`);
  assert.equal(readFileSync(`${mine}.back`, 'utf8'), input);
  const typed = (words: string) => {
    const one = inTerminal(`${kubectlPath()} --kubeconfig ${kubeconfig} -n work ${words}`);
    t.after(one.close);
    return one;
  };
  for (const where of [`${pod} -c main`, 'deploy/web']) {
    const session = typed(`exec -it ${where} -- sh`);
    session.type('tty; stty size; echo $((40 + 2))\n');
    await session.said('/dev/pts/');
    await session.said('44 133\r\n');
    await session.said('42\r\n');
    session.type('(echo go; sleep 100000)\n');
    await session.said('\r\ngo\r\n');
    session.type('\x03');
    await session.said('^C');
    await session.resize(101, 31);
    session.type('until [ "$(stty size)" = "31 101" ]; do sleep 0.1; done; exit 3\n');
    assert.equal(await session.over, 3, where);
  }

  // To a container that has a terminal: left, found again as it was.
  const first = typed('attach -it shell');
  first.type('mine=kept; stty size; echo got $((50 + 5))\n');
  await first.said('44 133\r\n');
  await first.said('got 55\r\n');
  first.close();
  await first.over;
  const second = typed('attach -it shell');
  second.type('echo $mine $((60 + 6)); exit 4\n');
  await second.said('kept 66\r\n');
  await second.over;
  const codeOf = 'get pod shell -o jsonpath={.status.containerStatuses[0].state.terminated.exitCode}';
  await eventually(codeOf, ({ stdout }) => stdout === '4');

  // Of an image: served, entered, logged.
  const page = 'served from an image\n';
  const service = await must('get service web -o jsonpath={.spec.clusterIP}');
  assert.equal(await must(`exec ${pod} -c main -- curl -sS http://${service}/index.html`), page);
  assert.match(await must('exec deploy/web -- id'), /^uid=1000\(web\) gid=1001\(web\)/);
  await eventually('logs deploy/web', ({ stdout }) => stdout.includes('response:200'));
  assert.equal(await cluster.must('exec', 'deploy/web', '-n', 'work', '--', 'cat', '/srv/index.html'), page);
  const inUse = await image('rm', 'test/web:1');
  assert.deepEqual([inUse.code, /in use by .*work\/web-/.test(inUse.stderr)], [1, true], inUse.stderr);
  const webStarted = () => must('get pods -l app=web -o jsonpath={.items[0].status.containerStatuses}');
  const webBefore = await webStarted();

  // Gone and come back, the agent finds everything as it was.
  const started = await must(`get pod ${pod} -o jsonpath={.status.containerStatuses}`);
  const agent = (await cluster.status()).processes.find(({ name }) => name === `agent-${node}`)!;
  process.kill(agent.pid, 'SIGKILL');
  await eventually(`exec ${pod} -c main -- true`, (result) => result.code === 0);
  assert.equal(await must(`get pod ${pod} -o jsonpath={.status.containerStatuses}`), started);
  assert.equal(await must(`logs ${pod} -c main`), `hello s3cret\non ${node}\n`);
  await eventually('exec deploy/web -- id', (result) => result.code === 0);
  assert.equal(await webStarted(), webBefore);
  assert.equal(await must(`exec ${pod} -c main -- curl -sS http://${service}/index.html`), page);

  await must(`apply -f ${join(root, 'test/manifests/processes-late.yaml')}`);
  await eventually('get pod crash', ({ stdout }) => stdout.includes('CrashLoopBackOff'));
  assert.equal(await must('logs crash --previous'), 'trying\n');
  const last = await must('get pod crash -o jsonpath={.status.containerStatuses[0].lastState.terminated}');
  assert.match(last, /"exitCode":7/);
  await eventually('get pod once', ({ stdout }) => stdout.includes('Completed'));
  assert.equal(await must('get pod once -o jsonpath={.status.phase}'), 'Succeeded');
  assert.equal(await must('logs -f once'), 'done\n');
  await eventually('get pod nosy', ({ stdout }) => stdout.includes('HostAccessRefused'));
  await eventually('get events', ({ stdout }) => /BackOff .*pod\/crash/.test(stdout));

  // With --allow-host, what a pod names of the machine, as its root.
  assert.match(await cluster.must('status'), /^host +pods may have files of this machine/m);
  writeFileSync(join(home, 'secret'), 'of the machine\n', { mode: 0o600 });
  const borrower = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'borrower', namespace: 'work', annotations: { 'heddle.dev/runtime': 'oci' } },
    spec: {
      restartPolicy: 'Never',
      securityContext: { runAsUser: 0 },
      volumes: [{ name: 'home', hostPath: { path: home, type: 'Directory' } }],
      containers: [
        {
          name: 'main',
          image: 'test/web:1',
          command: ['cat', '/home/secret'],
          volumeMounts: [{ name: 'home', mountPath: '/home', readOnly: true }],
        },
      ],
    },
  };
  await must('apply -f -', JSON.stringify(borrower));
  await eventually('logs borrower', ({ stdout }) => stdout === 'of the machine\n');

  // TERM first, and time to say good-bye.
  const [words] = await Promise.all([must(`logs -f ${pod} -c main`), must(`delete pod ${pod}`)]);
  assert.match(words, /bye\n$/);
  assert.equal(await cluster.must('logs', 'deploy/worker', '-n', 'work', '-c', 'helper'), 'helping\n');
});
