import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseProfile, profileText, runcSeccomp } from './profile.ts';

const machine = { arch: 'x64', kernel: '6.1.0-9-amd64', capabilities: ['CAP_CHOWN'] };
const read = (json: unknown) => parseProfile(JSON.stringify(json), machine);
const call = (more: object) => ({ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', ...more });
const profile = (...syscalls: object[]) => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });

test('a profile becomes what runc reads, and what heddle-pause reads', () => {
  const args = [{ index: 1, value: 448, valueTwo: 64, op: 'SCMP_CMP_MASKED_EQ' }];
  const whole = read({
    ...profile(call({ errnoRet: 13, args }), call({ names: ['kill'], action: 'SCMP_ACT_KILL_PROCESS' })),
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
  });
  assert.deepEqual(runcSeccomp(whole), {
    defaultAction: 'SCMP_ACT_ALLOW',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [
      { names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 13, args },
      { names: ['kill'], action: 'SCMP_ACT_KILL_PROCESS', args: [] },
    ],
  });
  assert.equal(
    profileText(whole),
    'filter 2 7fff0000\ncall mkdir 5000d 1 MASKED_EQ 448 64\ncall kill 80000000\n',
  );
});

test('a rule without conditions stands for all of its call; two conditions on one argument are two rules', () => {
  const on = (value: number) => ({ index: 0, value, op: 'SCMP_CMP_EQ' });
  assert.equal(
    profileText(read(profile(call({ args: [on(1)] }), call({})))),
    'filter 0 7fff0000\ncall mkdir 50001\n',
  );
  assert.equal(
    profileText(read(profile(call({ args: [on(1), on(2)] })))),
    'filter 0 7fff0000\ncall mkdir 50001 0 EQ 1 0\ncall mkdir 50001 0 EQ 2 0\n',
  );
});

test('what a rule says that holds without it too takes no other rule’s place', () => {
  const args = [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }];
  assert.equal(
    profileText(read(profile(call({ args }), call({ action: 'SCMP_ACT_ALLOW' })))),
    'filter 0 7fff0000\ncall mkdir 50001 0 EQ 1 0\n',
  );
});

test('a profile of more calls and conditions than a filter can have is refused before it is laid out', () => {
  const args = Array.from({ length: 4000 }, () => ({ index: 0, value: 1, op: 'SCMP_CMP_EQ' }));
  const names = Array.from({ length: 4000 }, (_, i) => `call${i}`);
  assert.throws(() => read(profile(call({ args, names }))), /syscalls\[0\]: more than 4096 calls/);
});

const conditions: [what: object, applies: boolean][] = [
  [{ includes: { caps: ['CAP_CHOWN'] } }, true],
  [{ includes: { caps: ['CAP_CHOWN', 'CAP_KILL'] } }, false],
  [{ excludes: { caps: ['CAP_KILL', 'CAP_CHOWN'] } }, false],
  [{ includes: { arches: ['arm64'] } }, false],
  [{ excludes: { arches: ['arm64'] }, includes: { arches: ['amd64'] } }, true],
  [{ includes: { minKernel: '6.1' } }, true],
  [{ includes: { minKernel: '6.2' } }, false],
  [{ excludes: { minKernel: '4.8' } }, false],
];
for (const [what, applies] of conditions)
  test(`a rule of Docker's with ${JSON.stringify(what)} ${applies ? 'applies' : 'does not apply'}`, () =>
    assert.equal(read(profile(call(what))).rules.length, applies ? 1 : 0));

const broken: [what: object, words: RegExp][] = [
  [{}, /defaultAction: expected one of SCMP_ACT_KILL/],
  [profile(call({ action: 'SCMP_ACT_NOTIFY' })), /syscalls\[0\]\.action/],
  [profile({ action: 'SCMP_ACT_ALLOW' }), /syscalls\[0\]: it names no system call/],
  [profile(call({ names: ['a b'] })), /"a b" is no name/],
  [
    profile(call({ args: [{ index: 6, op: 'SCMP_CMP_EQ' }] })),
    /args\[0\]\.index: expected a number from 0 to 5/,
  ],
  [profile(call({ args: [{ index: 0, value: -1, op: 'SCMP_CMP_EQ' }] })), /args\[0\]\.value/],
  [profile(call({ args: [{ index: 0, op: 'x' }] })), /args\[0\]\.op/],
  [profile(call({ errnoRet: 5000 })), /errnoRet/],
  [profile(call({ includes: { minKernel: 'new' } })), /minKernel/],
  [{ ...profile(), listenerPath: '/x' }, /listenerPath/],
  [{ ...profile(), architectures: ['SCMP_ARCH_X86'], archMap: [{}] }, /architectures and archMap/],
  [{ ...profile(), syscalls: {} }, /syscalls: expected a list/],
];
for (const [what, words] of broken)
  test(`${JSON.stringify(what).slice(0, 120)} is no profile`, () => assert.throws(() => read(what), words));

test('whatever is read, lines have what lines may have', () => {
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.oneof(value, fc.jsonValue());
  const rule = fc.record(
    {
      names: maybe(fc.array(fc.constantFrom('read', 'x\ncall y', 'mkdir'))),
      action: maybe(fc.constantFrom('SCMP_ACT_ALLOW', 'SCMP_ACT_TRACE')),
      errnoRet: maybe(fc.integer()),
      args: maybe(
        fc.array(
          fc.record({
            index: fc.nat(7),
            value: fc.maxSafeInteger(),
            op: fc.constantFrom('SCMP_CMP_EQ', 'SCMP_CMP_LT'),
          }),
        ),
      ),
    },
    { requiredKeys: [] },
  );
  const any = fc.record({ defaultAction: fc.constant('SCMP_ACT_ERRNO'), syscalls: maybe(fc.array(rule)) });
  fc.assert(
    fc.property(any, (json) => {
      let text: string;
      try {
        text = profileText(read(json));
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof TypeError), String(error));
        return;
      }
      assert.match(text, /^filter 0 50001\n(call [a-z]+ [0-9a-f]+( [0-5] [A-Z_]+ \d+ \d+)*\n)*$/);
    }),
  );
});
