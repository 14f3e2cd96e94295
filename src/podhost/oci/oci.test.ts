import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { cgroupPids, findCgroup2Mount } from '../../kernel/cgroup.ts';
import { run } from '../../kernel/spawn.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { HeddleError } from '../../lib/errors.ts';
import { add, logOf, outputOf, remove, statusOf } from '../process/test-pods.ts';
import { createTestNode, eventually, type TestNode } from '../test-node.ts';
import { importBusybox, ociPod } from './testing.ts';

async function startedNode(t: TestContext): Promise<TestNode> {
  const node = await createTestNode();
  t.after(() => node.close());
  await node.startHost();
  return node;
}

const exec = async (node: TestNode, name: string, ...argv: string[]) => {
  const { argv: entry, env } = await node.host
    .find('shop', name)!
    .processes()!
    .enter(undefined, argv, { tty: false });
  // Nobody who might hang up.
  return run(
    entry.filter((word) => word !== '--control'),
    { env },
  );
};

const cgroupOf = (node: TestNode, name: string) =>
  join(findCgroup2Mount()!, node.folder.split('/').at(-1)!, `uid-${name}`);

/** Of the container's first process, as the machine knows it. */
const firstPid = (node: TestNode, name: string): number =>
  cgroupPids(join(cgroupOf(node, name), 'c-main/box'))[0]!;

async function running(node: TestNode, name: string) {
  const state = await eventually(`${name} runs`, () => {
    const now = statusOf(node, name)?.state;
    return now?.waiting ? undefined : now;
  });
  assert.ok(state.running, JSON.stringify([state, node.events]));
  return state.running;
}

const FACTS =
  'id; pwd; echo $GREETING $MORE $HOME; cat /etc/hostname; grep -E "^(CapEff|CapBnd|Seccomp|NoNewPrivs):" /proc/self/status';

test('a container runs what its image says, as whom it says; the pod has the last word', {
  skip: needsRoot,
}, async (t) => {
  const node = await startedNode(t);
  const config = {
    Entrypoint: ['sh', '-c'],
    Cmd: [FACTS],
    User: 'web',
    WorkingDir: '/srv/new',
    Env: ['GREETING=hello', 'MORE=image'],
  };
  const id = await importBusybox(node, 'test/busybox:1', config);
  const [image, pod] = await Promise.all([
    outputOf(node, ociPod('image', { env: [{ name: 'MORE', value: '$(GREETING) pod' }] })),
    outputOf(
      node,
      ociPod(
        'pod',
        {
          args: [
            `${FACTS}; touch /x 2>&1; cat /run/secret; echo > /part/x; ls /whole/a /whole/in; echo mine > /dev/termination-log; exit 3`,
          ],
          workingDir: '/tmp',
          securityContext: {
            runAsUser: 0,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'], add: ['CHOWN'] },
            seccompProfile: { type: 'Unconfined' },
          },
          volumeMounts: [
            { name: 'secret', mountPath: '/run/secret', subPath: 'key' },
            { name: 'data', mountPath: '/part', subPath: 'a/b' },
            { name: 'data', mountPath: '/whole' },
            { name: 'secret', mountPath: '/whole/in' },
          ],
        },
        {
          volumes: [
            { name: 'secret', secret: { secretName: 's', defaultMode: 0o400 } },
            { name: 'data', emptyDir: {} },
          ],
        },
      ),
    ).catch(String),
    // Its volume waits for it.
    Promise.resolve(
      node.secrets.set('shop/s', {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 's' },
        data: { key: 'czNjcmV0' },
      }),
    ),
  ]);
  assert.equal(
    image,
    'uid=1000(web) gid=1001(web) groups=1002(extra)\n/srv/new\nhello hello pod /srv\nimage\n' +
      'CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n',
  );
  assert.equal(
    pod,
    'uid=0(root) gid=0(root)\n/tmp\nhello image /root\npod\nCapEff:\t0000000000000001\nCapBnd:\t0000000000000001\n' +
      'NoNewPrivs:\t1\nSeccomp:\t0\ntouch: /x: Read-only file system\ns3cret/whole/a:\nb\n\n/whole/in:\nkey\n',
  );
  const end = statusOf(node, 'pod')?.state?.terminated;
  assert.deepEqual([end?.exitCode, end?.message, end?.reason], [3, 'mine\n', 'Error']);
  assert.equal(statusOf(node, 'pod')?.imageID, id);
});

test('containers outlive the agent; commands enter them; the image’s signal ends them; nothing is left', {
  skip: needsRoot,
}, async (t) => {
  const node = await startedNode(t);
  const script = 'trap "echo bye; exit 0" QUIT; echo up; while :; do sleep 0.1; done';
  const id = await importBusybox(node, 'test/busybox:1', {
    Cmd: ['sh', '-c', script],
    StopSignal: 'SIGQUIT',
  });
  add(node, ociPod('long', { lifecycle: { postStart: { exec: { command: ['touch', '/tmp/hooked'] } } } }));
  const { startedAt } = await running(node, 'long');
  const pid = firstPid(node, 'long');
  const [, uid = ''] = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  assert.ok(Number(uid) >= 0x6000_0000, 'root in the container is nobody on the machine');
  const inside = await exec(
    node,
    'long',
    'sh',
    '-c',
    'id; ls /tmp; grep -E "^(CapEff|Seccomp):" /proc/self/status; exit 5',
  );
  assert.deepEqual(
    [inside.code, inside.stdout],
    [5, 'uid=0(root) gid=0(root)\nhooked\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n'],
  );

  await node.stopHost();
  await node.startHost();
  await eventually('the pod is known again', () => node.host.find('shop', 'long')?.ready());
  assert.equal((await exec(node, 'long', 'id')).code, 0);
  assert.deepEqual([firstPid(node, 'long'), (await running(node, 'long')).startedAt], [pid, startedAt]);

  await assert.rejects(
    node.images.remove('test/busybox:1', { force: false }),
    (error) =>
      error instanceof HeddleError && error.code === 'ImageInUse' && error.message.includes('shop/long'),
  );
  // What it says last is on disk before the file goes.
  const log = openSync(join(node.folder, 'logs/shop_long_uid-long/main/0.log'), 'r');
  t.after(() => closeSync(log));
  await remove(node, 'long');
  assert.match(readFileSync(log, 'utf8'), /stdout F up\n\S+ stdout F bye\n$/);
  assert.equal((await node.images.remove('test/busybox:1', { force: false })).image, id);
  assert.deepEqual(readdirSync(join(node.images.root, 'uses')), []);
  assert.equal(statSync(cgroupOf(node, 'long'), { throwIfNoEntry: false }), undefined);
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(node.folder.concat('/state')));
});

test('an image that is not there is named, with what to do; the pod starts once it is', {
  skip: needsRoot,
}, async (t) => {
  const node = await startedNode(t);
  const waits = (name: string, reason: string, words: RegExp) =>
    eventually(`${name} waits`, () => {
      const waiting = statusOf(node, name)?.state?.waiting;
      return waiting?.reason === reason && words.test(waiting.message ?? '');
    });
  add(node, ociPod('never', { imagePullPolicy: 'Never' }), ociPod('bad', { image: 'No Name' }));
  add(
    node,
    ociPod('late', { command: ['echo', 'here'] }),
    ociPod('root', { securityContext: { runAsNonRoot: true } }),
  );
  add(
    node,
    ociPod('wrong', { command: ['/nosuch'] }),
    ociPod('priv', { securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }),
  );
  await waits('never', 'ErrImageNeverPull', /heddle image import FILE --name test\/busybox:1/);
  await waits('late', 'ImagePullBackOff', /"test\/busybox:1" is not on this machine, and nothing is pulled/);
  await waits('bad', 'InvalidImageName', /"No Name" is not the name of an image/);
  await waits('priv', 'NotSupported', /capabilities.add: SYS_ADMIN/);
  await importBusybox(node, 'test/busybox:1');
  await eventually('it has run', () => logOf(node, 'late') === 'here\n');
  await waits('root', 'CreateContainerConfigError', /runAsNonRoot and image will run as root/);
  await waits('never', 'CreateContainerConfigError', /neither the container nor its image has one/);
  const end = await eventually('it has failed', () => statusOf(node, 'wrong')?.state?.terminated);
  assert.deepEqual([end.reason, end.exitCode], ['StartError', 128]);
  assert.match(end.message ?? '', /exec: "\/nosuch": stat \/nosuch: no such file or directory/);
});

test('a container reaches neither the machine’s files nor those of other pods, as root with all it is given', {
  skip: needsRoot,
}, async (t) => {
  const node = await startedNode(t);
  const id = await importBusybox(node, 'test/busybox:1', {}, [
    { name: 'host', type: '2', target: '/proc/1/root/etc/shadow' },
    { name: 'suid', content: 'x', mode: 0o4755 },
  ]);
  const marks = `${node.folder}/state`;
  const tries = [
    `ls ${marks}`,
    'cat /etc/shadow',
    'cat /host',
    'mknod /tmp/disk b 254 0 && head -c1 /tmp/disk',
    'mount -t tmpfs x /tmp',
    'mount -t proc x /tmp',
    'unshare -U true',
    'echo x > /proc/sys/kernel/core_pattern',
    'echo x > /sys/kernel/uevent_helper',
    'echo 1 > /sys/fs/cgroup/cgroup.procs',
    'cat /proc/kcore',
    'chroot /proc/1/root ls /home',
    'ip link set lo down',
    'hostname other',
    'kill -9 2',
  ];
  // Deeper than the longest path that there is.
  const deep = `i=0; while [ $i -lt 40 ]; do busybox mkdir ${'d'.repeat(99)}; cd ${'d'.repeat(99)}; i=$((i+1)); done; busybox mkdir ${'e'.repeat(90)}`;
  const script = `${tries.map((one) => `(busybox ${one}) >/dev/null 2>&1 && echo "did: ${one}"`).join('; ')}; ${deep}; rm /bin/echo; busybox echo end`;
  const other = ociPod('other', { command: ['sleep', '1000'] });
  add(node, other);
  await running(node, 'other');
  assert.equal(await outputOf(node, ociPod('evil', { command: ['sh', '-c', script] })), 'end\n');
  assert.equal(readlinkSync(join(node.images.rootfs(id), 'bin/echo')), 'busybox');
  const bases = readdirSync(join(node.images.root, 'uses')).map(
    (uid) => JSON.parse(readFileSync(join(node.images.root, 'uses', uid), 'utf8')).base,
  );
  assert.equal(new Set(bases).size, 2, 'each pod has ids of its own');

  await remove(node, 'evil');

  // A holder that is killed takes its containers along.
  const pid = firstPid(node, 'other');
  const [holder] = cgroupPids(join(cgroupOf(node, 'other'), 'holder'));
  process.kill(holder!, 'SIGKILL');
  await eventually('it has ended', () => !readdirSync('/proc').includes(String(pid)));
});
