import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { run } from '../../kernel/spawn.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { hostDevices } from '../oci/devices.ts';
import { importBusybox, ociPod } from '../oci/testing.ts';
import { refusal } from '../refusal.ts';
import { createTestNode, eventually, type TestNode } from '../test-node.ts';
import { add, outputOf, processPod, type Spec, sh, statusOf } from './test-pods.ts';
import type { Container } from './types.ts';

type Mounts = NonNullable<Container['volumeMounts']>;
type HostPaths = Record<string, NonNullable<NonNullable<Spec['volumes']>[number]['hostPath']>>;

const volumesOf = (paths: HostPaths): NonNullable<Spec['volumes']> =>
  Object.entries(paths).map(([name, hostPath]) => ({ name, hostPath }));

const make = {
  process: (name: string, script: string, volumeMounts: Mounts, volumes: Spec['volumes']) =>
    processPod(name, [sh('main', script, { volumeMounts })], { volumes, restartPolicy: 'Never' }),
  oci: (name: string, script: string, volumeMounts: Mounts, volumes: Spec['volumes']) =>
    ociPod(name, { command: ['sh', '-c', script], volumeMounts }, { volumes }),
};
const RUNTIMES = ['process', 'oci'] as const;

const data = { name: 'data', hostPath: { path: '/srv' } };
const privileged = ociPod('p', { securityContext: { privileged: true } });
const onNode = ociPod('p', {}, { hostNetwork: true });
const refused: [what: string, pod: Parameters<typeof refusal>[0], words: RegExp, evenSo?: RegExp][] = [
  ...RUNTIMES.map((runtime): (typeof refused)[number] => [
    `a hostPath (${runtime})`,
    make[runtime]('p', ':', [], [data]),
    /volume data: hostPath: .* unless "heddle up --allow-host"/,
  ]),
  ...RUNTIMES.map((runtime): (typeof refused)[number] => [
    `a hostPath with a way back (${runtime})`,
    make[runtime]('p', ':', [], volumesOf({ data: { path: '/srv/../etc' } })),
    /--allow-host/,
    /must not contain '\.\.'/,
  ]),
  [
    'a device',
    make.oci('p', ':', [], volumesOf({ data: { path: '/dev/kmsg', type: 'CharDevice' } })),
    /--allow-host/,
    /hostPath of type CharDevice/,
  ],
  [
    'privileges',
    processPod('p', [sh('main', ':', { securityContext: { privileged: true } })]),
    /container main: privileged/,
    /the process runtime does not have: container main: privileged$/,
  ],
  [
    'privileges of a container of the machine’s runtime',
    { ...privileged, metadata: { ...privileged.metadata, annotations: { 'heddle.dev/runtime': 'cri' } } },
    /container main: privileged: .* unless/,
  ],
  [
    'privileges of a container of an image',
    privileged,
    /container main: privileged: .* unless "heddle up --allow-host"/,
  ],
  ...(['hostPID', 'hostIPC'] as const).map((field): (typeof refused)[number] => [
    field,
    ociPod('p', {}, { [field]: true }),
    new RegExp(`spec.${field}: `),
    /with --allow-host, too/,
  ]),
  [
    'the network of the node of a container of the machine’s runtime',
    { ...onNode, metadata: { ...onNode.metadata, annotations: { 'heddle.dev/runtime': 'cri' } } },
    /the cri runtime does not have: spec.hostNetwork/,
    /the cri runtime does not have: spec.hostNetwork/,
  ],
];
for (const [what, pod, words, evenSo] of refused)
  test(`${what} is refused by name, with what would allow it`, () => {
    assert.match(refusal(pod, { standIn: false })?.message ?? '', words);
    const allowed = refusal(pod, { standIn: false, allowHost: true })?.message;
    if (evenSo) assert.match(allowed ?? '', evenSo);
    else assert.equal(allowed, undefined);
  });

async function openNode(t: TestContext): Promise<{ node: TestNode; host: string }> {
  const node = await createTestNode({ allowHost: true });
  t.after(() => node.close());
  await node.startHost();
  await importBusybox(node, 'test/busybox:1');
  const host = join(node.folder, 'host');
  mkdirSync(join(host, 'inner'), { recursive: true, mode: 0o777 });
  writeFileSync(join(host, 'secret'), 'of root alone\n', { mode: 0o600 });
  writeFileSync(join(host, 'open'), 'for all\n', { mode: 0o644 });
  writeFileSync(join(host, 'inner/file'), 'inside\n', { mode: 0o644 });
  symlinkSync('/etc', join(host, 'trap'));
  symlinkSync(join(host, 'inner'), join(host, 'way'));
  return { node, host };
}

for (const runtime of RUNTIMES)
  test(`files and folders of the machine are there where they are allowed, and no others (${runtime})`, {
    skip: needsRoot,
  }, async (t) => {
    const { node, host } = await openNode(t);
    const server = createServer().listen(join(host, 'socket'));
    t.after(() => server.close());
    await eventually('it listens', () => server.listening);
    const volumes = volumesOf({
      whole: { path: host },
      way: { path: join(host, 'way'), type: 'Directory' },
      made: { path: join(host, 'new/folder'), type: 'DirectoryOrCreate' },
      file: { path: join(host, 'open'), type: 'File' },
      touched: { path: join(host, 'touched'), type: 'FileOrCreate' },
      socket: { path: join(host, 'socket'), type: 'Socket' },
    });
    const mounts = [
      { name: 'whole', mountPath: '/host' },
      { name: 'whole', mountPath: '/part', subPath: 'inner' },
      { name: 'whole', mountPath: '/fixed', readOnly: true },
      { name: 'way', mountPath: '/way' },
      { name: 'made', mountPath: '/made' },
      { name: 'file', mountPath: '/file', readOnly: true },
      { name: 'touched', mountPath: '/touched' },
      { name: 'socket', mountPath: '/socket' },
    ];
    const script = `cat /host/open /part/file /way/file /file; test -d /made && test -f /touched && test -S /socket && echo kinds
      echo x 2>/dev/null > /fixed/x || echo fixed; echo x 2>/dev/null >> /file || echo fixed
      cat /host/secret 2>/dev/null; touch /host/inner/by-root 2>/dev/null && echo made; ls /host/trap/shadow 2>/dev/null`;
    const said = await outputOf(node, make[runtime]('open', script, mounts, volumes));
    const common = 'for all\ninside\ninside\nfor all\nkinds\nfixed\nfixed\n';
    // The owners of the machine's files are those of the pod in a pod of images: its root is the files' root.
    assert.equal(said, runtime === 'oci' ? `${common}of root alone\nmade\n` : common);
    if (runtime === 'oci') assert.equal(statSync(join(host, 'inner/by-root')).uid, 0);
    assert.equal(statSync(join(host, 'new/folder')).mode & 0o777, 0o755);
    assert.equal(readFileSync(join(host, 'open'), 'utf8'), 'for all\n');

    // A link that lies in the folder leads a subPath nowhere.
    const trapped = [{ name: 'whole', mountPath: '/trap', subPath: 'trap' }];
    await outputOf(node, make[runtime]('trapped', 'ls /trap', trapped, volumes));
    assert.equal(statusOf(node, 'trapped')?.state?.terminated?.reason, 'StartError');

    const missing = volumesOf({ data: { path: join(host, 'open'), type: 'Directory' } });
    add(node, make[runtime]('missing', ':', [{ name: 'data', mountPath: '/data' }], missing));
    await eventually('it is told', () =>
      node.events.some(
        ({ reason, message }) =>
          reason === 'FailedMount' && /hostPath type check failed: .*open is not a directory$/.test(message),
      ),
    );

    const nosy = `cat ${host}/open ${host}/secret; ls ${host} ${node.folder} /proc/1/root${host} /host; cat /etc/shadow | grep '^root:[*!$]'; echo end`;
    assert.equal(await outputOf(node, make[runtime]('nosy', `(${nosy}) 2>/dev/null`, [], [])), 'end\n');
  });

test('a privileged container of an image is root of the machine, but for its own files and network', {
  skip: needsRoot,
}, async (t) => {
  const { node } = await openNode(t);
  const usual = new Set(['null', 'zero', 'full', 'random', 'urandom'].map((name) => `/dev/${name}`));
  const { path: device = '/dev/null' } = hostDevices().find(({ path }) => !usual.has(path)) ?? {};
  const script = `cat /proc/self/uid_map | tr -s ' '; grep -E '^(CapEff|Seccomp):' /proc/self/status; test -e ${device} && echo devices
    mount -t tmpfs none /mnt && echo mounts; ip link set lo mtu 1400 2>&1; ip -o link | grep -c eth0
    echo 16 > /proc/sys/net/core/somaxconn && echo settings; ls ${node.folder} 2>/dev/null; id -u`;
  const rootPod = (name: string, command: string[]) =>
    ociPod(name, { command, securityContext: { privileged: true } });
  const said = await outputOf(node, rootPod('root', ['sh', '-c', `mkdir -p /mnt; ${script}`]));
  const [, own] = /^CapPrm:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
  const lines = [
    ' 0 0 4294967295',
    `CapEff:\t${own}`,
    'Seccomp:\t0',
    'devices',
    'mounts',
    '1',
    'settings',
    '0',
  ];
  assert.equal(said, `${lines.join('\n')}\n`);
  add(node, rootPod('long', ['sleep', '1000']));
  await eventually('it runs', () => statusOf(node, 'long')?.state?.running);
  const { argv, env } = await node.host
    .find('shop', 'long')!
    .processes()!
    .enter(undefined, ['sh', '-c', `cat /proc/self/uid_map | tr -s ' '; test -e ${device} && echo devices`], {
      tty: false,
    });
  const inside = await run(
    argv.filter((word) => word !== '--control'),
    { env },
  );
  assert.deepEqual([inside.stdout, inside.stderr], [' 0 0 4294967295\ndevices\n', '']);
  // Beside it, who is not is not.
  assert.match(
    await outputOf(node, ociPod('plain', { command: ['cat', '/proc/self/uid_map'] })),
    /^ +0 +1\d{9} +65536\n$/,
  );
});
