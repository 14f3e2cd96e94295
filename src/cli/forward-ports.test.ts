import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Pod, Service } from '../api/types.ts';
import { ofPod, ofService, parsePorts } from './forward-ports.ts';

for (const [text, wish] of [
  ['80', { local: 80, remote: '80' }],
  ['8080:80', { local: 8080, remote: '80' }],
  [':80', { local: 0, remote: '80' }],
  ['0:80', { local: 0, remote: '80' }],
  ['8080:http', { local: 8080, remote: 'http' }],
  [':http', { local: 0, remote: 'http' }],
  ['http', { local: 0, remote: 'http' }],
] as const)
  test(`${text} is read`, () => assert.deepEqual(parsePorts(text), wish));

for (const text of ['', ':', '0', '70000', '80:', '80:0', '99999:80', '80:80:80', 'a b', '-1', '8080:HTTP'])
  test(`"${text}" is refused, with what was expected`, () =>
    assert.throws(() => parsePorts(text), {
      code: 'BadFlag',
      message: /expected PORT, LOCAL:PORT or :PORT/,
    }));

test('whatever is read has ports that there are', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const { local, remote } = parsePorts(text);
        assert.ok(local >= 0 && local < 65_536 && remote !== '');
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'BadFlag');
      }
    }),
  );
});

const pod = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: { containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 8000 }] }] },
} as unknown as Pod;
const service = (spec: object) =>
  ({ metadata: { name: 'web', namespace: 'shop' }, spec }) as unknown as Service;
const ports = [
  { name: 'web', port: 80, targetPort: 'http' },
  { name: 'raw', port: 81, targetPort: 9000 },
  { name: 'same', port: 82 },
];

test('a port of a service is the one of the pod that it leads to', () => {
  assert.equal(ofService(service({ ports }), pod, '80'), 8000);
  assert.equal(ofService(service({ ports }), pod, 'web'), 8000);
  assert.equal(ofService(service({ ports }), pod, 'raw'), 9000);
  assert.equal(ofService(service({ ports }), pod, '82'), 82);
  assert.equal(ofService(service({ ports, clusterIP: 'None' }), pod, '80'), 80);
  assert.throws(() => ofService(service({ ports }), pod, '83'), {
    code: 'NoSuchPort',
    hint: 'it has 80 web, 81 raw, 82 same',
  });
});

test('a port of a pod is a number, or a name that it gives to one', () => {
  assert.equal(ofPod(pod, '1234'), 1234);
  assert.equal(ofPod(pod, 'http'), 8000);
  assert.throws(() => ofPod(pod, 'grpc'), { code: 'NoSuchPort', hint: 'named ones: http' });
});
