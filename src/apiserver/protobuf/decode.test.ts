import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiFailure } from '../failure.ts';
import { decodeProtobuf } from './decode.ts';

const field = (number: number, value: Buffer | string | number): Buffer => {
  if (typeof value === 'number') return Buffer.from([number << 3, value]);
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
};
const body = (apiVersion: string, kind: string, ...fields: Buffer[]) =>
  Buffer.concat([
    Buffer.from('k8s\0', 'latin1'),
    field(1, Buffer.concat([field(1, apiVersion), field(2, kind)])),
    field(2, Buffer.concat(fields)),
  ]);
const code = (wanted: number) => (error: unknown) => error instanceof ApiFailure && error.code === wanted;

test('a message becomes the JSON it stands for; empty fields are left out, pointers to zero are kept', () => {
  const metadata = field(1, Buffer.concat([field(1, 'n'), field(2, ''), field(7, 0), field(8, '')]));
  const labels = field(11, Buffer.concat([field(1, 'a'), field(2, 'b')]));
  assert.deepEqual(decodeProtobuf(body('v1', 'Namespace', metadata, field(2, ''), field(3, field(1, '')))), {
    kind: 'Namespace',
    apiVersion: 'v1',
    metadata: { name: 'n' },
  });
  assert.deepEqual(
    decodeProtobuf(
      body('apps/v1', 'Deployment', field(1, labels), field(2, Buffer.concat([field(1, 0), field(5, 0)]))),
    ),
    { kind: 'Deployment', apiVersion: 'apps/v1', metadata: { labels: { a: 'b' } }, spec: { replicas: 0 } },
  );
});

test('bytes are base64, ports are numbers or texts', () => {
  const data = Buffer.concat([field(1, 'k'), field(2, Buffer.from([0, 255]))]);
  assert.deepEqual(decodeProtobuf(body('v1', 'Secret', field(2, data)))['data'], { k: 'AP8=' });
  const port = (target: Buffer) => field(2, field(1, Buffer.concat([field(3, 80), field(4, target)])));
  const portOf = (target: Buffer) =>
    (decodeProtobuf(body('v1', 'Service', port(target)))['spec'] as { ports: unknown }).ports;
  assert.deepEqual(portOf(Buffer.concat([field(1, 0), field(2, 99)])), [{ port: 80, targetPort: 99 }]);
  assert.deepEqual(portOf(Buffer.concat([field(1, 1), field(2, 0), field(3, 'http')])), [
    { port: 80, targetPort: 'http' },
  ]);
});

test('a pod is read with what JSON has in place of its inner messages', () => {
  const cpu = field(1, Buffer.concat([field(1, 'cpu'), field(2, field(1, '100m'))]));
  const probe = Buffer.concat([field(1, field(4, Buffer.concat([field(1, 80), field(2, '')]))), field(2, 0)]);
  const container = Buffer.concat([field(1, 'c'), field(8, cpu), field(10, probe)]);
  const files = Buffer.concat([field(1, 'data'), field(2, field(2, field(1, '')))]);
  const status = field(3, Buffer.concat([field(1, ''), field(9, '')]));
  const spec = field(2, Buffer.concat([field(1, files), field(2, container), field(11, 1), field(13, 0)]));
  assert.deepEqual(decodeProtobuf(body('v1', 'Pod', field(1, field(1, 'p')), spec, status)), {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'p' },
    spec: {
      volumes: [{ name: 'data', emptyDir: {} }],
      containers: [
        {
          name: 'c',
          resources: { limits: { cpu: '100m' } },
          livenessProbe: { grpc: { port: 80, service: '' } },
        },
      ],
      hostNetwork: true,
    },
  });
});

test('what the tables do not know is refused by name, not dropped', () => {
  assert.throws(
    () => decodeProtobuf(body('v1', 'Namespace', field(9, 'x'))),
    (error: unknown) => code(415)(error) && /field 9 of Namespace/.test((error as Error).message),
  );
  assert.throws(() => decodeProtobuf(body('v1', 'Node')), code(415));
});

test('no bytes break the decoder', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.boolean(),
      fc.constantFrom('Secret', 'Pod', 'PodSpec', 'Probe'),
      (bytes, framed, kind) => {
        const given = framed ? body('v1', kind, Buffer.from(bytes)) : Buffer.from(bytes);
        try {
          decodeProtobuf(given);
        } catch (error) {
          assert.ok(error instanceof ApiFailure, String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});
