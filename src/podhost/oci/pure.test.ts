import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ConfigError } from '../process/environment.ts';
import { capabilitiesOf, capabilityMask, capabilityProblem } from './capabilities.ts';
import { argvOf } from './oci-launcher.ts';
import { REFUSED } from './seccomp.ts';
import { signalNumber } from './signals.ts';

const image = { Entrypoint: ['serve'], Cmd: ['--port', '80'] };
const commands: [what: string, container: { command?: string[]; args?: string[] }, argv: string[]][] = [
  ['neither', {}, ['serve', '--port', '80']],
  ['args alone', { args: ['$(A)', '$$(A)'] }, ['serve', 'one', '$(A)']],
  ['a command alone', { command: ['sh'] }, ['sh']],
  ['both', { command: ['sh'], args: ['-c'] }, ['sh', '-c']],
];
for (const [what, container, argv] of commands)
  test(`a container that says ${what}, of an image that says both`, () => {
    assert.deepEqual(argvOf(container, image, { A: 'one' }), argv);
  });

test('without any command there is nothing to run', () => {
  assert.throws(() => argvOf({}, { Entrypoint: null, Cmd: [] }, {}), ConfigError);
});

test('signals are known by the names and numbers that images use', () => {
  const cases: [string | undefined, number][] = [
    ['SIGQUIT', 3],
    ['quit', 3],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMIN', 34],
    [undefined, 15],
    ['', 15],
    ['SIGNOSUCH', 15],
    ['99', 15],
    ['constructor', 15],
  ];
  for (const [text, number] of cases) assert.equal(signalNumber(text), number, String(text));
});

test('capabilities are the usual ones, less and more as the container says; those of the machine are refused', () => {
  assert.equal(capabilityMask(capabilitiesOf(undefined)), 'a80425fb');
  assert.deepEqual(capabilitiesOf({ capabilities: { drop: ['ALL'], add: ['cap_chown', 'KILL'] } }), [
    'CAP_CHOWN',
    'CAP_KILL',
  ]);
  assert.ok(!capabilitiesOf({ capabilities: { drop: ['NET_RAW'] } }).includes('CAP_NET_RAW'));
  assert.equal(
    capabilityProblem({ capabilities: { add: ['SYS_PTRACE', 'NET_ADMIN', 'ALL'] } }),
    'capabilities.add: NET_ADMIN, ALL',
  );
  assert.equal(capabilityProblem({ capabilities: { add: ['FLY'] } }), undefined);
  assert.throws(() => capabilitiesOf({ capabilities: { add: ['FLY'] } }), {
    reason: 'CreateContainerError',
    message: 'unknown capability "CAP_FLY"',
  });
});

test('runc filters what heddle-pause filters', () => {
  const source = readFileSync(join(import.meta.dirname, '../../../native/pause-seccomp.c'), 'utf8');
  const [list = ''] = /refused\[\] = \{([^}]+)\}/.exec(source) ?? [];
  const names = new Set([...list.matchAll(/\bSYS_(\w+),/g)].map(([, name]) => name));
  assert.deepEqual(new Set(REFUSED), names);
});
