import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { run } from '../../kernel/spawn.ts';
import { importBusybox, ociPod } from '../oci/testing.ts';
import { add, outputOf, processPod, sh, statusOf } from '../process/test-pods.ts';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';

async function nodeWithProfiles(t: TestContext, files: Record<string, unknown>): Promise<TestNode> {
  const node = await createTestNode();
  t.after(() => node.close());
  await node.startHost();
  for (const [name, content] of Object.entries(files)) {
    const path = join(node.folder, 'seccomp', name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return node;
}

const securityContext = (localhostProfile?: string) => ({
  seccompProfile: {
    type: 'Localhost' as const,
    ...(localhostProfile === undefined ? {} : { localhostProfile }),
  },
});

/** Nothing can be closed to all others (the kernel's second or third argument), nor links be made. */
const STRICT = {
  defaultAction: 'SCMP_ACT_ALLOW',
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
  ],
  syscalls: [
    { names: ['link', 'linkat', 'no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 },
    { names: ['symlink', 'symlinkat'], action: 'SCMP_ACT_KILL_PROCESS' },
    ...[['chmod', 1] as const, ['fchmodat', 2] as const].map(([name, index]) => ({
      names: [name],
      action: 'SCMP_ACT_ERRNO',
      args: [{ index, value: 0o700, op: 'SCMP_CMP_EQ' }],
    })),
  ],
};

const TRY = `cd /tmp; touch file; chmod 700 file 2>&1; chmod 701 file && echo changed; ln file hard 2>&1
ln -s file soft; echo "killed $?"; grep -E '^Seccomp:' /proc/self/status`;

test('a profile below the node’s folder decides on system calls, of the container and of who enters it', {
  skip: needsRoot,
}, async (t) => {
  const node = await nodeWithProfiles(t, { 'team/strict.json': STRICT });
  await importBusybox(node, 'test/busybox:1');
  const more = { securityContext: securityContext('team/strict.json') };
  const wait = '; exec sleep 1000';
  for (const pod of [
    processPod('process', [sh('main', TRY, more)], { restartPolicy: 'Never' }),
    ociPod('image', { command: ['sh', '-c', TRY], ...more }),
  ]) {
    const said = await outputOf(node, pod);
    assert.match(said, /file.*: Operation not permitted\nchanged\n/);
    assert.match(said, /hard.*: No space left on device/);
    assert.match(said, /killed 159\n(Bad system call.*\n)?Seccomp:\t2\n/);
  }
  for (const pod of [
    processPod('entered', [sh('main', `true${wait}`, more)]),
    ociPod('entered-image', { command: ['sh', '-c', `true${wait}`], ...more }),
  ]) {
    add(node, pod);
    await eventually('it is Ready', () => isReady(node.pods.get(pod.metadata.uid!)));
    const { argv, env } = await node.host
      .find('shop', pod.metadata.name)!
      .processes()!
      .enter(undefined, ['sh', '-c', TRY], { tty: false });
    const { stdout } = await run(
      argv.filter((word) => word !== '--control'),
      { env },
    );
    assert.match(stdout, /file.*: Operation not permitted\nchanged\n(.*\n)*killed 159\n/);
  }
});

const BIG = 2 ** 33;
const ranges: [op: string, value: number, errnoRet: number, valueTwo?: number][] = [
  ['EQ', 5, 71],
  ['MASKED_EQ', 0xf_0000_000f, 72, 0x1_0000_0003],
  ['LT', 3, 73],
  ['LE', 3, 74],
  ['GT', BIG, 75],
  ['GE', BIG, 76],
  ['NE', 7, 77],
];

test('conditions of a profile are about all 64 bits of an argument', { skip: needsRoot }, async (t) => {
  const syscalls = ranges.map(([op, value, errnoRet, valueTwo = 0]) => ({
    names: ['getpgid'],
    action: 'SCMP_ACT_ERRNO',
    errnoRet,
    args: [{ index: 0, value, valueTwo, op: `SCMP_CMP_${op}` }],
  }));
  const node = await nodeWithProfiles(t, { ranges: { defaultAction: 'SCMP_ACT_ALLOW', syscalls } });
  const number = process.arch === 'arm64' ? 155 : 121;
  const values = [5, 0x1_0000_0003, 2, 3, BIG + 1, BIG, 8, BIG - 1, 2 ** 32 + 5, 7];
  const script = `for (${values.join(', ')}) { $! = 0; syscall(${number}, $_); print $! + 0, " " }`;
  const main = {
    name: 'main',
    image: 'none',
    command: ['perl', '-e', script],
    securityContext: securityContext('ranges'),
  };
  const said = await outputOf(node, processPod('ranges', [main], { restartPolicy: 'Never' }));
  assert.match(said, /^71 72 73 74 75 76 77 77 77 [03] \n?$/);
});

test('a profile that is missing, broken, a link or elsewhere is named, and the container waits for it', {
  skip: needsRoot,
}, async (t) => {
  const node = await nodeWithProfiles(t, {
    broken: '{',
    'wrong.json': { defaultAction: 'ALLOW' },
    'a/b': STRICT,
  });
  symlinkSync('a', join(node.folder, 'seccomp/linked'));
  symlinkSync('a/b', join(node.folder, 'seccomp/link'));
  const cases: [profile: string | undefined, reason: string, words: RegExp][] = [
    [
      undefined,
      'CreateContainerConfigError',
      /^localhostProfile must be set if seccompProfile type is Localhost\.$/,
    ],
    ['missing', 'CreateContainerError', /^cannot load seccomp profile ".*\/seccomp\/missing": ENOENT/],
    ['broken', 'CreateContainerError', /JSON/],
    ['wrong.json', 'CreateContainerError', /defaultAction: expected one of .*, found "ALLOW"$/],
    ['link', 'CreateContainerError', /link is a symbolic link/],
    ['linked/b', 'CreateContainerError', /linked is a symbolic link/],
    ['../seccomp/a/b', 'CreateContainerError', /without "\.\."/],
    ['/etc/passwd', 'CreateContainerError', /below the folder of profiles/],
    ['a', 'CreateContainerError', /it is not a file/],
  ];
  for (const [i, [profile]] of cases.entries())
    add(node, processPod(`p${i}`, [sh('main', 'true', { securityContext: securityContext(profile) })]));
  for (const [i, [profile, reason, words]] of cases.entries()) {
    const found = await eventually(`${profile} is told`, () => {
      const { reason: told, message } = statusOf(node, `p${i}`)?.state?.waiting ?? {};
      return message === undefined ? undefined : { told, message };
    });
    assert.equal(found.told, reason);
    assert.match(found.message, words);
  }
  // Once it is there, the container starts.
  writeFileSync(join(node.folder, 'seccomp/missing'), JSON.stringify(STRICT));
  await eventually('it has run', () => statusOf(node, 'p1')?.restartCount);
});
