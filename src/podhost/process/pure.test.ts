import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { podUserId } from '../user-id.ts';
import type { LogView } from '../log-view.ts';
import { createCriReader, criRenderer } from './cri-log.ts';
import { environmentOf, expand } from './environment.ts';
import { fieldValue, resourceValue } from './fields.ts';
import { identityOf, outsideId } from './identity.ts';
import { parseLine } from './pause.ts';
import { isRestarted, loggedAttempt, restartDelay } from './restart.ts';
import { processPod, sh } from './test-pods.ts';

const facts = {
  addresses: ['10.0.0.1', 'fd00::1'],
  hostAddresses: ['192.0.2.1'],
  node: { cpus: 4, memory: 8e9 },
};

for (const [text, expected] of [
  ['$(A)', 'x'],
  ['$$(A)', '$(A)'],
  ['$(NONE)', '$(NONE)'],
  ['$A $(', '$A $('],
  ['$(A)$(A)$$', 'xx$'],
] as const)
  test(`${text} becomes ${expected}`, () => assert.equal(expand(text, { A: 'x' }), expected));

test('a text without a dollar stays as it is', () => {
  const plain = fc.string().filter((text) => !text.includes('$'));
  fc.assert(fc.property(plain, (text) => assert.equal(expand(text, { A: 'x' }), text)));
});

test('the environment is base, then whole objects, then single variables, in order', () => {
  const container = sh('main', ':', {
    envFrom: [
      { prefix: 'P_', configMapRef: { name: 'all' } },
      { secretRef: { name: 'none', optional: true } },
    ],
    env: [
      { name: 'BASE', value: '$(BASE)+' },
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'KEY', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
      { name: 'MAYBE', valueFrom: { configMapKeyRef: { name: 'all', key: 'no', optional: true } } },
    ],
  });
  const sources = {
    ...facts,
    base: { BASE: 'b' },
    configMap: (name: string) => (name === 'all' ? new Map([['a', Buffer.from('1')]]) : undefined),
    secret: (name: string) => (name === 's' ? new Map([['k', Buffer.from('2')]]) : undefined),
  };
  assert.deepEqual(environmentOf(processPod('x', [container]), container, sources), {
    BASE: 'b+',
    P_a: '1',
    IP: '10.0.0.1',
    KEY: '2',
  });
});

test('a pod knows its own fields and limits, and no others', () => {
  const container = sh('main', ':', { resources: { limits: { cpu: '1500m', memory: '64Mi' } } });
  const pod = processPod('x', [container]);
  assert.equal(fieldValue(pod, "metadata.annotations['heddle.dev/runtime']", facts), 'process');
  assert.equal(fieldValue(pod, 'status.podIPs', facts), '10.0.0.1,fd00::1');
  assert.throws(() => fieldValue(pod, 'spec.secret', facts), /is not a field that a pod may see/);
  const value = (resource: string, divisor?: string) =>
    resourceValue(pod, container, { resource, ...(divisor ? { divisor } : {}) }, facts);
  assert.equal(value('limits.cpu'), '2');
  assert.equal(value('limits.cpu', '1m'), '1500');
  assert.equal(value('limits.memory', '1Mi'), '64');
  assert.equal(value('requests.cpu'), '0');
});

test('the first restart is immediate, then 10 s doubling to 300 s', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7, 8, 50].map((failures) => restartDelay(failures) / 1000),
    [0, 10, 20, 40, 80, 160, 300, 300, 300],
  );
});

test('restart policies are those of Kubernetes', () => {
  const restarted = (policy: 'Always' | 'OnFailure' | 'Never', role: 'main' | 'init' | 'sidecar') =>
    [0, 1].map((code) => isRestarted(processPod('x', [], { restartPolicy: policy }), role, code));
  assert.deepEqual(restarted('Always', 'main'), [true, true]);
  assert.deepEqual(restarted('OnFailure', 'main'), [false, true]);
  assert.deepEqual(restarted('Never', 'main'), [false, false]);
  assert.deepEqual(restarted('Always', 'init'), [false, true]);
  assert.deepEqual(restarted('Never', 'init'), [false, false]);
  assert.deepEqual(restarted('Never', 'sidecar'), [true, true]);
});

test('ids of a pod are far from those of people, and its own user keeps its number', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.nat({ max: 2 ** 31 - 1 }), (uid, id) => {
      const outside = outsideId(uid, id);
      assert.ok(outside >= 0x4000_0000 && outside < 0x6000_0000);
    }),
  );
  const container = sh('main', ':');
  const { user } = identityOf(processPod('x', [container]), container);
  assert.deepEqual(user, { inside: podUserId('uid-x'), outside: podUserId('uid-x') });
});

test('what the holder says is understood', () => {
  assert.deepEqual(parseLine('made main.0 12 34'), ['main.0', { state: 'running', pid: 12, startedAt: 34 }]);
  const [, held] = parseLine('ended main.0 127 1 2 0 cannot start x: no such program');
  assert.equal(held.state === 'ended' && held.words, 'cannot start x: no such program');
});

test('a log reads the same however it was cut', async () => {
  const lines = [
    '2026-01-01T00:00:00Z stdout F a',
    '2026-01-01T00:00:01Z stderr P b',
    '2026-01-01T00:00:02Z stderr F c',
  ];
  const whole = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length }), async (cut) => {
      let text = '';
      const reader = createCriReader({}, async (bytes) => void (text += bytes.toString()));
      await reader.take(whole.subarray(0, cut));
      await reader.take(whole.subarray(cut));
      assert.equal(text, 'a\nbc\n');
    }),
  );
  const seen = (view: LogView) => lines.map(criRenderer(view)).join('');
  assert.equal(
    seen({ timestamps: true }),
    '2026-01-01T00:00:00Z a\n2026-01-01T00:00:01Z bc\n',
    'a line in pieces has one time before it, as a kubelet writes it',
  );
  assert.equal(seen({ since: Date.parse('2026-01-01T00:00:01Z') }), 'bc\n');
});

test('a container that is about to begin again has the log of the run before', () => {
  const ended = (attempt: number) => ({
    exitCode: 1,
    containerID: `heddle://6b607e79/main.${attempt}`,
  });
  const saved = (attempt: number, last?: number) => ({
    attempt,
    restarts: attempt,
    failures: 0,
    ...(last === undefined ? {} : { ended: ended(last) }),
  });
  assert.equal(loggedAttempt('main', saved(0), false), 0, 'it has not begun for the first time');
  assert.equal(loggedAttempt('main', saved(0), true), 0);
  assert.equal(loggedAttempt('main', saved(3, 3), false), 3, 'it waits out the back-off');
  assert.equal(loggedAttempt('main', saved(4, 3), false), 3, 'it is being made');
  assert.equal(loggedAttempt('main', saved(4, 3), true), 4);
  assert.equal(loggedAttempt('main', saved(14, 4), false), 13, 'the number is the whole one');
});
