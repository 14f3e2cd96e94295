import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podFiles } from '../files.ts';
import { containerArgv, mountProblem } from './argv.ts';
import { ConfigError } from './environment.ts';
import { identityOf } from './identity.ts';
import { inUsr, stagingOf } from './stage.ts';
import { processPod, sh } from './test-pods.ts';
import type { Container } from './types.ts';

const volumes = [
  { name: 'data', emptyDir: {} },
  { name: 'config', configMap: { name: 'c' } },
];
const podWith = (container: Partial<Container>) =>
  processPod('web', [sh('main', ':', container)], { volumes });

function argvOf(
  more: Partial<Container>,
  env: Record<string, string> = {},
  argv: string[] = ['true'],
): string[] {
  const pod = podWith(more);
  const container = pod.spec!.containers[0]!;
  return containerArgv({
    program: '/heddle-pause',
    pod,
    container,
    identity: identityOf(pod, container),
    folder: '/state',
    podFiles: podFiles('/state'),
    files: { environment: '/state/env', termination: '/state/termination' },
    env,
    argv,
  });
}

/** Where the sandbox binds what is at `source`. */
const placeOf = (argv: readonly string[], source: string): string | undefined =>
  argv[argv.indexOf(source) + 1];

for (const [path, place] of [
  ['/../oldroot/etc/nologin', '/oldroot/etc/nologin'],
  ['../../oldroot/etc', '/oldroot/etc'],
  ['/data/../../oldroot/x', '/oldroot/x'],
  ['data', '/data'],
] as const)
  test(`${path} is a place inside of the container's root`, () => {
    const mounted = argvOf({ volumeMounts: [{ name: 'data', mountPath: path }] });
    assert.equal(placeOf(mounted, '/state/volumes/data'), place);
    assert.equal(placeOf(argvOf({ terminationMessagePath: path }), '/state/termination'), place);
  });

const NUL = 'x\0--bind\0/\0/host';
for (const [what, argv] of [
  ['the place of a volume', () => argvOf({ volumeMounts: [{ name: 'data', mountPath: `/${NUL}` }] })],
  ['subPath', () => argvOf({ volumeMounts: [{ name: 'config', mountPath: '/c', subPath: NUL }] })],
  ['terminationMessagePath', () => argvOf({ terminationMessagePath: `/${NUL}` })],
  ['workingDir', () => argvOf({ workingDir: '/\0--unconfined\0--user\x000:0' })],
  ['an argument', () => argvOf({}, {}, ['echo', NUL])],
  ['a variable', () => argvOf({}, { A: NUL })],
] as const)
  test(`a NUL in ${what} brings no words of its own to the command line`, () =>
    assert.throws(argv, (error) => error instanceof ConfigError && /has a NUL/.test(error.message)));

test('bwrap mounts nothing where a program of the pod could have put a link, by whatever name it goes', () => {
  const mountsOf = (outer: string, inner: string) => {
    const pod = podWith({
      volumeMounts: [
        { name: 'data', mountPath: outer },
        { name: 'config', mountPath: inner },
      ],
    });
    const [container] = pod.spec!.containers;
    return stagingOf({ pod, container: container!, folder: '/f', env: {}, placed: inUsr });
  };
  for (const [outer, inner] of [
    ['/data', '/data/in'],
    ['/data/', '/x/../data/in'],
    ['data', '/data/in'],
    ['/usr/sbin', '/sbin/in'],
    ['/sbin', '/usr/sbin/in'],
    ['/lib64', '/usr/lib64/in'],
  ] as const)
    assert.deepEqual(
      [mountsOf(outer, inner).mounts.length, mountsOf(outer, inner).stage?.[5]],
      [1, '0/in'],
      `${outer} ${inner}`,
    );
  for (const [outer, inner] of [
    ['/data', '/database'],
    ['/library', '/usr/library'],
  ] as const)
    assert.equal(mountsOf(outer, inner).stage, undefined, `${outer} ${inner}`);
  const own = podWith({
    terminationMessagePath: '/usr/sbin/last',
    volumeMounts: [{ name: 'data', mountPath: '/sbin/' }],
  });
  assert.match(mountProblem(own, own.spec!.containers[0]!) ?? '', /lies inside of .*, an emptyDir/);
});
