import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Address,
  type Cidr,
  contains,
  firstOf,
  formatCidr,
  lastOf,
  parseAddress,
  parseCidr,
} from '../lib/ip.ts';
import type { Block } from './blocks.ts';
import { createNestedRanges, type NestedRanges } from './nested-ranges.ts';

/** Few bits, so that ranges meet, hold each other and end together. */
const cidr = fc
  .tuple(
    fc.constantFrom('10.0.0.', 'fd00::'),
    fc.integer({ min: 0, max: 15 }),
    fc.integer({ min: 0, max: 5 }),
  )
  .map(([net, host, wide]) =>
    net === 'fd00::'
      ? parseCidr(`fd00::${host.toString(16)}/${128 - wide}`)
      : parseCidr(`${net}${host}/${wide === 5 ? 0 : 32 - wide}`),
  );
const block: fc.Arbitrary<Block> = fc.record({
  ranges: fc.array(cidr, { minLength: 1, maxLength: 3 }),
  except: fc.array(cidr, { maxLength: 2 }),
});
const names = ['a', 'b', 'c', 'd', 'e'];
const steps = fc.array(
  fc.array(fc.tuple(fc.constantFrom(...names), fc.option(block, { freq: 3 })), {
    minLength: 1,
    maxLength: 3,
  }),
  {
    minLength: 2,
    maxLength: 12,
  },
);
const everywhere: readonly Address[] = ['9.255.255.255', '10.0.0.16', '10.0.0.32', 'fd00::20', 'fcff::']
  .map(parseAddress)
  .concat(Array.from({ length: 16 }, (_, i) => parseAddress(`10.0.0.${i}`)))
  .concat(Array.from({ length: 32 }, (_, i) => parseAddress(`fd00::${i.toString(16)}`)));

/** By its narrowest range or exception that holds the address; of both at once the range counts. */
function holds({ ranges, except }: Block, address: Address): boolean {
  const length = (list: readonly Cidr[]) =>
    Math.max(-1, ...list.filter((each) => contains(each, address)).map((each) => each.length));
  return length(ranges) >= 0 && length(ranges) >= length(except);
}

const termsAt = (nested: NestedRanges, address: Address) => (nested.match(address)?.terms ?? []).join(' ');

test('of ranges that come and go, each address is told which hold; only where that changes it is said to', () => {
  fc.assert(
    fc.property(steps, (changes) => {
      const nested = createNestedRanges();
      const blocks = new Map<string, Block>();
      for (const step of changes) {
        const wanted = new Map(step.map(([name, each]) => [name, each]));
        const gone = [...wanted.keys()].filter((name) => blocks.has(name));
        for (const name of gone) blocks.delete(name);
        const come = [...wanted].flatMap(([name, each]) => (each ? [[name, each] as const] : []));
        for (const [name, each] of come) blocks.set(name, each);
        const before = everywhere.map((address) => termsAt(nested, address));
        const { spans } = nested.change(gone, come);
        for (const [i, address] of everywhere.entries()) {
          const want = [...blocks].flatMap(([name, each]) => (holds(each, address) ? [name] : [])).sort();
          assert.equal(termsAt(nested, address), want.join(' '));
          const times = spans.filter(
            ({ family, first, last }) =>
              family === address.family && first <= address.value && address.value <= last,
          ).length;
          assert.equal(times, before[i] === want.join(' ') ? 0 : 1);
        }
        const fresh = createNestedRanges();
        fresh.change([], blocks);
        const said = ({ marks }: NestedRanges) =>
          marks().map((mark) => `${formatCidr(mark.cidr)} ${mark.terms.join(' ')}`);
        assert.deepEqual(said(nested), said(fresh));
      }
    }),
    { numRuns: 1000 },
  );
});

test('what is touched is what a range covers: neither those beside it nor those within an exception', () => {
  const nested = createNestedRanges();
  const block = (range: string, ...except: string[]): Block => ({
    ranges: [parseCidr(range)],
    except: except.map(parseCidr),
  });
  const hosts = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
  nested.change(
    [],
    hosts.map((range) => [range, block(range)] as const),
  );
  const touched = (gone: string[], come: [string, Block][]) => {
    const change = nested.change(gone, come);
    return {
      marks: change.touched.map(({ mark }) => formatCidr(mark.cidr)),
      spans: change.spans.map(({ family, first, last }) => `${family} ${first}-${last}`),
    };
  };
  const spanOf = (range: string) => {
    const each = parseCidr(range);
    return `${each.family} ${firstOf(each).value}-${lastOf(each).value}`;
  };
  assert.deepEqual(touched([], [['new', block('10.1.4.0/25')]]), {
    marks: ['10.1.4.0/25'],
    spans: [spanOf('10.1.4.0/25')],
  });
  assert.deepEqual(touched(['new'], []), { marks: [], spans: [spanOf('10.1.4.0/25')] });
  const around = touched([], [['all', block('0.0.0.0/0', '10.0.0.0/8')]]);
  assert.deepEqual(around.marks, ['0.0.0.0/0', '10.0.0.0/8']);
  assert.equal(around.spans.length, 2);
  assert.deepEqual(touched([], [['two', block('10.1.4.0/23')]]).marks, [
    '10.1.4.0/23',
    '10.1.4.0/24',
    '10.1.5.0/24',
  ]);
});
