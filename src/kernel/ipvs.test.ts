import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { formatAddress, fromBytes } from '../lib/ip.ts';
import { genlHeader } from './genetlink.ts';
import { openIpvs } from './ipvs.ts';
import {
  destinationPart,
  IPVS_FLAG,
  type IpvsKey,
  type IpvsService,
  parseDestination,
  parseService,
  servicePart,
} from './ipvs-codec.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const family = fc.constantFrom(4 as const, 6 as const);
const port = fc.integer({ min: 1, max: 65535 });
const addressOf = (of: 4 | 6) =>
  fc
    .uint8Array({ minLength: of === 4 ? 4 : 16, maxLength: of === 4 ? 4 : 16 })
    .map((b) => formatAddress(fromBytes(b)));

const key: fc.Arbitrary<IpvsKey> = family.chain((of) =>
  fc.oneof(
    fc.record({ family: fc.constant(of), fwmark: fc.integer({ min: 1, max: 0xffffffff }) }),
    fc.record({
      family: fc.constant(of),
      protocol: fc.constantFrom(6, 17, 132),
      address: addressOf(of),
      port,
    }),
  ),
);

const service: fc.Arbitrary<IpvsService> = fc.record({
  key,
  scheduler: fc.stringMatching(/^[a-z]{1,15}$/),
  flags: fc.constantFrom(0, IPVS_FLAG.FALLBACK, IPVS_FLAG.PORT, IPVS_FLAG.FALLBACK | IPVS_FLAG.PORT),
  persistence: fc.integer({ min: 0, max: 86_400 }),
});

/** Drawn records have no prototype. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value)) as unknown;

const message = (...parts: Buffer[]) => ({
  type: 30,
  flags: 0,
  sequence: 1,
  body: Buffer.concat([genlHeader(1), ...parts]),
});

test('a virtual service is read as it was written', () => {
  fc.assert(
    fc.property(service, (each) =>
      assert.deepEqual(plain(parseService(message(servicePart(each)))), plain(each)),
    ),
  );
});

test('a destination is read as it was written', () => {
  const destination = family.chain((of) =>
    fc.record({ address: addressOf(of), port, weight: fc.integer({ min: 0, max: 65535 }) }),
  );
  fc.assert(
    fc.property(destination, family, (each, of) =>
      assert.deepEqual(plain(parseDestination(message(destinationPart(each)), of)), {
        ...each,
        active: 0,
        inactive: 0,
        persistent: 0,
      }),
    ),
  );
});

test('bytes that no kernel writes are read without harm', () => {
  const damaged = fc.tuple(service, fc.array(fc.tuple(fc.nat(200), fc.nat(255))), fc.nat(200));
  fc.assert(
    fc.property(damaged, ([each, harm, cut]) => {
      const { body, ...rest } = message(servicePart(each));
      for (const [at, value] of harm) if (at < body.length) body[at] = value;
      parseService({ ...rest, body: body.subarray(0, cut) });
      parseDestination({ ...rest, body: body.subarray(0, cut) }, 4);
    }),
  );
});

/** Skips where this kernel has no IPVS. */
function opened(t: TestContext) {
  const ns = testNetns(t);
  try {
    const ipvs = openIpvs(ns);
    t.after(() => ipvs.close());
    return { ns, ipvs };
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== 'KernelFeature') throw error;
    t.skip('this kernel has no IPVS: npm run check:deep runs it in a test-bed (not in CI)');
    return undefined;
  }
}

const ipvsadm = '/usr/sbin/ipvsadm';
const listing = (path: string): string[] =>
  execFileSync('nsenter', [`--net=${path}`, ipvsadm, '-Sn'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .sort();

test('services and destinations of both families are what ipvsadm says', { skip: needsRoot }, (t) => {
  const { ns, ipvs } = opened(t) ?? {};
  if (!ns || !ipvs) return;
  const four = { family: 4, protocol: 6, address: '10.96.0.1', port: 80 } as const;
  const six = { family: 6, protocol: 17, address: 'fd00::1', port: 53 } as const;
  const mark = { family: 4, fwmark: 77 } as const;
  ipvs.run([
    { do: 'add', service: { key: four, scheduler: 'rr', flags: 0, persistence: 0 } },
    { do: 'add', of: four, destination: { address: '10.244.1.2', port: 8080, weight: 1 } },
    { do: 'add', of: four, destination: { address: '10.244.1.3', port: 8080, weight: 5 } },
    {
      do: 'add',
      service: {
        key: six,
        scheduler: 'mh',
        flags: IPVS_FLAG.FALLBACK | IPVS_FLAG.PORT,
        persistence: 600,
      },
    },
    { do: 'add', of: six, destination: { address: 'fd00:1::2', port: 5353, weight: 0 } },
    { do: 'add', service: { key: mark, scheduler: 'wlc', flags: 0, persistence: 0 } },
  ]);
  if (existsSync(ipvsadm))
    assert.deepEqual(listing(ns.path), [
      '-A -f 77 -s wlc',
      '-A -t 10.96.0.1:80 -s rr',
      '-A -u [fd00::1]:53 -s mh -p 600 -b mh-fallback,mh-port',
      '-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1',
      '-a -t 10.96.0.1:80 -r 10.244.1.3:8080 -m -w 5',
      '-a -u [fd00::1]:53 -r [fd00:1::2]:5353 -m -w 0',
    ]);
  assert.deepEqual(
    ipvs
      .services()
      .map(({ scheduler }) => scheduler)
      .sort(),
    ['mh', 'rr', 'wlc'],
  );
  assert.deepEqual(ipvs.services().find(({ scheduler }) => scheduler === 'mh')?.key, six);
  ipvs.run([
    { do: 'set', service: { key: four, scheduler: 'lc', flags: 0, persistence: 60 } },
    { do: 'set', of: four, destination: { address: '10.244.1.3', port: 8080, weight: 0 } },
    { do: 'delete', of: four, destination: { address: '10.244.1.2', port: 8080, weight: 0 } },
    { do: 'delete', of: four, destination: { address: '10.244.1.2', port: 8080, weight: 0 } },
    { do: 'delete', service: { key: six } },
    { do: 'delete', service: { key: six } },
    { do: 'delete', service: { key: mark } },
  ]);
  assert.deepEqual(ipvs.services(), [{ key: four, scheduler: 'lc', flags: 0, persistence: 60 }]);
  assert.deepEqual(ipvs.destinations(four), [
    { address: '10.244.1.3', port: 8080, weight: 0, active: 0, inactive: 0, persistent: 0 },
  ]);
  assert.deepEqual(ipvs.destinations(six), []);
});

test('every scheduler of the kernel that has a name here can be chosen', { skip: needsRoot }, (t) => {
  const { ipvs } = opened(t) ?? {};
  if (!ipvs) return;
  for (const [i, scheduler] of ['rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'sed', 'nq', 'mh'].entries())
    ipvs.run([
      {
        do: 'add',
        service: {
          key: { family: 4, protocol: 6, address: `10.96.1.${i}`, port: 80 },
          scheduler,
          flags: 0,
          persistence: 0,
        },
      },
    ]);
  assert.equal(ipvs.services().length, 9);
});

test('what the kernel refuses is an error that names the service', { skip: needsRoot }, (t) => {
  const { ipvs } = opened(t) ?? {};
  if (!ipvs) return;
  const of = { family: 4, protocol: 6, address: '10.96.0.1', port: 80 } as const;
  assert.throws(
    () => ipvs.run([{ do: 'add', of, destination: { address: '10.1.1.1', port: 1, weight: 1 } }]),
    { code: 'Netlink', message: /10\.96\.0\.1:80/ },
  );
});
