import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WireError } from '../lib/protobuf.ts';
import { decode, encode } from './codec.ts';

/** Of maps, which have no order. */
const sorted = (config: object): unknown => {
  const { labels, ...rest } = config as { labels: Record<string, string> };
  return [rest, Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))];
};

test('a message is what it was after the way there and back', () => {
  const config = fc.record({
    metadata: fc.record({ name: fc.string(), attempt: fc.nat() }),
    command: fc.array(fc.string()),
    envs: fc.array(fc.record({ key: fc.string(), value: fc.string() })),
    labels: fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      fc.string(),
    ),
    stdin: fc.boolean(),
  });
  fc.assert(
    fc.property(config, (given) => {
      const back = decode('ContainerConfig', encode('ContainerConfig', given));
      const { metadata, command, envs, labels, stdin } = back;
      assert.equal(
        JSON.stringify(sorted({ metadata, command, envs, labels, stdin })),
        JSON.stringify(sorted(given)),
      );
    }),
  );
});

test('numbers below zero, lists of numbers and a zero that is there', () => {
  const resources = { cpuPeriod: 100_000, oomScoreAdj: -997 };
  assert.equal(
    decode('LinuxContainerResources', encode('LinuxContainerResources', resources))['oomScoreAdj'],
    -997,
  );
  const security = { supplementalGroups: [0, 5, 70_000], runAsUser: { value: 0 } };
  const back = decode('LinuxContainerSecurityContext', encode('LinuxContainerSecurityContext', security));
  assert.deepEqual([back['supplementalGroups'], back['runAsUser']], [[0, 5, 70_000], { value: 0 }]);
  assert.equal(back['runAsGroup'], undefined);
  // Field 5 as CRI writes it: 2026-11-23T19:48:57Z in nanoseconds.
  const status = decode('ContainerStatus', encode('ContainerStatus', { startedAt: 1_795_463_337_000 }));
  assert.equal(status['startedAt'], 1_795_463_337_000);
});

test('no bytes break the decoder', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        decode('ContainerStatusResponse', bytes);
      } catch (error) {
        assert.ok(error instanceof WireError, String(error));
      }
    }),
  );
});
