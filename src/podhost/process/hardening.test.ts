import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { run } from '../../kernel/spawn.ts';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { add, outputOf, processPod, sh, statusOf } from './test-pods.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

/** Perl is on every Debian, and can do what a shell cannot. */
const listen = (address: string) =>
  `use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(${address})) or die "bind: $!"; listen(S, 5); print "listening\\n"; sleep 100000`;
const connect = (address: string) =>
  `perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(${address})) or exit 1'`;
/** Fails when the kernel, or the filter, says EPERM. */
const isPermitted = (...call: string[]) =>
  `test "$(perl -e 'print syscall(${call.join(', ')}), " ", $!+0')" != "-1 1"`;

/** Numbers of x86-64 and of arm64. */
const number = (x64: number, arm64: number): string => String(process.arch === 'arm64' ? arm64 : x64);

/** Each of them must fail in a pod. */
function attempts(secret: string, victim: string): Record<string, string> {
  return {
    'reads accounts': 'cat /etc/shadow',
    'reads a file of the host by its path': `cat ${secret}`,
    'lists the host’s home of root': 'ls /root/.profile /root/.bashrc /root/.ssh',
    'writes a program of the host': 'touch /usr/bin/heddle-was-here',
    'writes in /etc': 'touch /etc/heddle-was-here',
    'writes its /etc/hosts': 'echo x >> /etc/hosts',
    'writes in the root folder': 'touch /heddle-was-here',
    'reads another pod’s volume by the host’s path': `ls ${victim}`,
    'reads its own environment file': 'cat /.heddle/env',
    'writes our program': 'cp /usr/bin/true /.heddle/pause',
    'sees processes of others': `test "$(ls -d /proc/[0-9]* | wc -l)" -gt 8`,
    'reads the first process’s memory': 'head -c1 /proc/1/mem',
    'changes the kernel’s settings': 'echo 1 > /proc/sys/kernel/printk',
    'changes its network’s settings': 'echo 1 > /proc/sys/net/ipv4/ip_forward',
    'presses magic keys': 'echo h > /proc/sysrq-trigger',
    'reads the kernel’s log': 'dmesg',
    'sees the host’s devices': 'ls /dev/kmsg /dev/mem /dev/sda /dev/vda /dev/net/tun',
    'makes a device': 'mknod /tmp/disk b 8 0',
    mounts: 'mount -t tmpfs none /tmp',
    'mounts the host’s first disk': 'mount /dev/vda /tmp',
    'makes a user namespace': 'unshare -U true',
    'makes a mount namespace': 'unshare -m true',
    'enters the first process’s namespaces': 'nsenter -t 1 -m true',
    'gets root back': 'setpriv --reuid 0 true && test "$(id -u)" != 0',
    'gets root by a setuid program': 'su -c true',
    'sees cgroups': 'ls /sys/fs/cgroup/cgroup.procs',
    'makes a raw packet socket': `perl -e 'use Socket; socket(S, 17, SOCK_RAW, 768) or exit 1'`,
    'changes its own link': 'ip link set eth0 mtu 1400',
    'opens a file by its handle': isPermitted(number(304, 265), '-100', '0', '0'),
    'loads an eBPF program': isPermitted(number(321, 280), '0', '0', '0'),
    'reads keys of the kernel': isPermitted(number(250, 219), '0', '-5', '0', '0', '0'),
    'connects to an abstract socket of the host': connect(`"\\0heddle-test-${process.pid}"`),
    'connects to an abstract socket of another pod': connect('"\\0heddle-victim"'),
    'connects to a socket file of the host': connect(`"${join(node.folder, 'host.sock')}"`),
    'connects to the holder of another pod': connect(`"${join(node.folder, 'pause/uid-victim.sock')}"`),
    'connects to a socket file in another pod’s volume': connect(`"${victim}/socket"`),
  };
}

async function listenAt(path: string): Promise<() => void> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return () => void server.close();
}

for (const [who, securityContext] of [
  ['a pod as it comes', undefined],
  ['a pod that is root to itself', { runAsUser: 0, runAsGroup: 0 }],
  ['a pod without a filter of system calls', { seccompProfile: { type: 'Unconfined' } }],
] as const)
  test(`${who} reaches neither the host’s files nor other pods’ files and sockets`, async (t) => {
    await node.startHost();
    mkdirSync(join(node.folder, 'open'), { mode: 0o777 });
    const secret = join(node.folder, 'open/secret');
    writeFileSync(secret, 'the host’s', { mode: 0o666 });
    t.after(await listenAt(`\0heddle-test-${process.pid}`));
    t.after(await listenAt(join(node.folder, 'host.sock')));
    const victim = join(node.folder, 'state/pods/uid-victim/volumes/data');
    add(
      node,
      processPod(
        'victim',
        [
          { name: 'abstract', image: 'none', command: ['perl', '-e', listen('"\\0heddle-victim"')] },
          {
            name: 'file',
            image: 'none',
            command: ['perl', '-e', listen('"/data/socket"')],
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          },
        ],
        { volumes: [{ name: 'data', emptyDir: {} }] },
      ),
    );
    await eventually('the victim listens', () => isReady(node.pods.get('uid-victim')));
    await eventually('its socket is there', () => existsSync(join(victim, 'socket')));
    const list = attempts(secret, victim);
    // Without the filter the kernel itself allows namespaces to users: there is nothing of ours in them.
    const allowed =
      who === 'a pod without a filter of system calls'
        ? [
            'makes a user namespace',
            'opens a file by its handle',
            'reads keys of the kernel',
            'loads an eBPF program',
          ]
        : [];
    const script = Object.entries(list)
      .filter(([name]) => !allowed.includes(name))
      .map(([name, command]) => `if ( ${command} ) >/dev/null 2>&1 </dev/null; then echo "${name}"; fi`)
      .join('\n');
    // What is its own it does reach, by the same means.
    const own = '"\\0heddle-own"';
    const control = `cat /etc/hosts >/dev/null && touch /tmp/mine
      perl -e '$| = 1; ${listen(own)}' >/tmp/said &
      until grep -q listening /tmp/said; do sleep 0.05; done
      ${connect(own)} && echo control`;
    const pod = processPod('attacker', [sh('main', `${script}\n${control}`)], {
      restartPolicy: 'Never',
      ...(securityContext ? { securityContext } : {}),
    });
    assert.equal(await outputOf(node, pod), 'control\n');
    assert.equal(readFileSync(secret, 'utf8'), 'the host’s');
    assert.equal(existsSync('/usr/bin/heddle-was-here'), false);
  });

test('capabilities that are added are those of a user namespace of the container’s own', async () => {
  await node.startHost();
  const script = `grep -E '^Cap(Eff|Bnd):' /proc/self/status; mkdir -p /tmp/root/bin; chroot /tmp/root /x 2>&1
    hostname other 2>&1; ip link set lo mtu 1400 2>&1; cat /proc/self/uid_map`;
  const capabilities = { drop: ['ALL'], add: ['SYS_CHROOT', 'CAP_KILL'] };
  const pod = (name: string, runAsUser?: number) =>
    processPod(
      name,
      [
        sh('main', script, {
          securityContext: { capabilities, ...(runAsUser === undefined ? {} : { runAsUser }) },
        }),
      ],
      { restartPolicy: 'Never' },
    );
  const root = await outputOf(node, pod('root', 0));
  // The folder is empty: chroot itself was allowed.
  assert.match(
    root,
    /^CapEff:\t0000000000040020\nCapBnd:\t0000000000040020\nchroot: failed to run command .*No such file/,
  );
  assert.match(root, /hostname: .*\n(RTNETLINK answers: )?.*(Operation not permitted|permitted)\n/);
  const user = await outputOf(node, pod('user'));
  assert.match(user, /^CapEff:\t0000000000000000\nCapBnd:\t0000000000040020\nchroot: cannot change root/);
  assert.match(user, / 1\n$/);
});

test('what pods call by the same number are different users to the kernel', async () => {
  await node.startHost();
  const securityContext = { runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, runAsNonRoot: true };
  const options = {
    securityContext,
    restartPolicy: 'Never' as const,
    volumes: [{ name: 'data', emptyDir: {} }],
  };
  const seen = new Set<string>();
  for (const name of ['one', 'two']) {
    const script = 'id; touch /data/file; stat -c "%u %g" /data/file; cat /proc/self/uid_map';
    const mount = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
    const text = await outputOf(node, processPod(name, [sh('main', script, mount)], options));
    const [who, file, map = ''] = text.split('\n');
    assert.match(who ?? '', /^uid=1000 gid=1000 groups=1000,2000$/);
    assert.equal(file, '1000 2000');
    seen.add(map);
  }
  assert.equal(seen.size, 2);
});

test('a path with a way back does not lead out of the container, where bwrap works as root', async () => {
  await node.startHost();
  const made = join(node.folder, 'made');
  const container = sh('main', 'ls /oldroot/*', {
    terminationMessagePath: `/../oldroot${made}-file`,
    volumeMounts: [{ name: 'data', mountPath: `/../oldroot${made}-folder` }],
  });
  const options = { restartPolicy: 'Never' as const, volumes: [{ name: 'data', emptyDir: {} }] };
  await outputOf(node, processPod('out', [container], options));
  assert.deepEqual(
    [`${made}-file`, `${made}-folder`].filter((path) => existsSync(path)),
    [],
  );
});

// As CVE-2024-21626: who enters a container has folders of the machine open.
test('a working directory that has become a link leads a command to nothing of the machine', async () => {
  await node.startHost();
  const mount = { volumeMounts: [{ name: 'w', mountPath: '/w' }], workingDir: '/w/d' };
  const made = sh('main', 'mkdir /w/d', { ...mount, name: 'made', workingDir: '/w' });
  add(
    node,
    processPod('linked', [sh('main', 'sleep 1000', mount)], {
      volumes: [{ name: 'w', emptyDir: {} }],
      initContainers: [made],
    }),
  );
  await eventually('it runs', () => statusOf(node, 'linked')?.state?.running);
  const folder = join(node.folder, 'state/pods/uid-linked/volumes/w/d');
  const look = async (target: string) => {
    rmSync(folder, { recursive: true });
    symlinkSync(target, folder);
    const { argv, env } = await node.host
      .find('shop', 'linked')!
      .processes()!
      .enter(undefined, ['echo', 'here'], { tty: false });
    const { code, stdout } = await run(
      argv.filter((word) => word !== '--control'),
      { env },
    );
    return code === 0 ? stdout : 'not started';
  };
  assert.equal(await look('/tmp'), 'here\n');
  for (let fd = 3; fd < 16; fd++) assert.equal(await look(`/proc/self/fd/${fd}`), 'not started');
});

test('whoever enters a container holds no way to the machine meanwhile', async () => {
  await node.startHost();
  add(node, processPod('entered', [sh('main', 'sleep 1000')]));
  await eventually('it runs', () => statusOf(node, 'entered')?.state?.running);
  const { argv, env } = await node.host
    .find('shop', 'entered')!
    .processes()!
    .enter(undefined, ['sh', '-c', 'echo here; cat'], { tty: false });
  const [program = '', ...rest] = argv.filter((word) => word !== '--control');
  const child = spawn(program, rest, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    const open = `/proc/${child.pid}/fd`;
    const leads = readdirSync(open).map((fd) => readlinkSync(join(open, fd)));
    assert.deepEqual(
      leads.filter((to) => !/^(pipe|socket):/.test(to)),
      [],
    );
  } finally {
    child.kill('SIGKILL');
  }
});
