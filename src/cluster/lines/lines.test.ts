import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { changedLinks } from './change.ts';
import { createLine, seededRandom } from './line.ts';
import { betweenProblem, groupsOf, linkBetween, placeProblems, placesOf } from './places.ts';
import { createSwitch } from './switch.ts';
import { linkFields, type LinkSettings, settingsProblem, settingsText } from './values.ts';

function lineOf(settings: LinkSettings, { seed = 1, room = { left: 1 << 20 } } = {}) {
  const out: Uint8Array[] = [];
  const deliver = (frame: Uint8Array) => out.push(frame);
  return { line: createLine({ settings, random: seededRandom(seed, 'a b'), deliver, room }), out, room };
}
const frame = (length = 100) => Buffer.alloc(length);

test('values are read as files and flags write them, and nothing else is', () => {
  const cases: [keyof typeof linkFields, string, number | undefined][] = [
    ['latency', '20ms', 20],
    ['latency', '1.5ms', 1.5],
    ['latency', '300us', 0.3],
    ['latency', '10s', 10_000],
    ['latency', '11s', undefined],
    ['latency', '20', undefined],
    ['latency', '-1ms', undefined],
    ['jitter', '0', 0],
    ['loss', '1%', 0.01],
    ['loss', '0.5', 0.5],
    ['loss', '100%', 1],
    ['loss', '101%', undefined],
    ['loss', '2', undefined],
    ['bandwidth', '100Mbit', 100e6],
    ['bandwidth', '10M', 10e6],
    ['bandwidth', '1.5gbit', 1.5e9],
    ['bandwidth', '1kbit', undefined],
    ['mtu', '1400', 1400],
    ['mtu', '1279', undefined],
    ['blackHoleAbove', '1e3', undefined],
  ];
  for (const [field, text, value] of cases) {
    const read = linkFields[field].read(text);
    assert.ok(
      value === undefined ? read === undefined : Math.abs((read ?? -1) - value) < 1e-9,
      `${field} ${text}`,
    );
  }
  assert.match(
    settingsProblem({ latency: 1, jitter: 2 }) ?? '',
    /jitter 2 ms is more than the latency, 1 ms/,
  );
  assert.equal(
    settingsText({ latency: 20, jitter: 2, loss: 0.01, bandwidth: 1e8, blackHoleAbove: 1400 }),
    '20 ms ± 2 ms, 1 % lost, 100 Mbit/s, black hole above 1400 bytes',
  );
  assert.equal(settingsText({}), 'nothing');
});

test('frames wait the latency, in their order whatever the jitter, and none is lost that must not be', () => {
  const arrivals = fc.array(fc.nat(50), { maxLength: 60 });
  fc.assert(
    fc.property(arrivals, fc.nat(100), fc.nat(100), (gaps, latency, jitter) => {
      const { line, out, room } = lineOf({ latency, jitter: Math.min(jitter, latency) });
      const sent = gaps.map((_, i) => Buffer.alloc(100, i));
      let now = 0;
      let previous = 0;
      for (const [i, gap] of gaps.entries()) {
        now += gap;
        line.take(sent[i]!, now);
      }
      while (line.due < Infinity) {
        assert.ok(line.due >= previous);
        previous = line.due;
        line.release(line.due);
      }
      assert.deepEqual(out, sent);
      assert.equal(room.left, 1 << 20, 'all room is given back');
      assert.ok(previous <= now + latency + jitter);
    }),
  );
});

test('nothing is handed on before its time', () => {
  const { line, out } = lineOf({ latency: 20 });
  line.take(frame(), 100);
  line.release(119.99);
  assert.equal(out.length, 0);
  assert.equal(line.due, 120);
  line.release(120.5);
  assert.equal(out.length, 1);
  assert.equal(line.counters.late, 0.5);
});

test('the same seed loses the same frames, as many as asked', () => {
  const lost = (seed: number) => {
    const { line, out } = lineOf({ loss: 0.1 }, { seed });
    return Array.from({ length: 5000 }, () => {
      const before = out.length;
      line.take(frame(), 0);
      return out.length === before;
    });
  };
  assert.deepEqual(lost(7), lost(7));
  assert.notDeepEqual(lost(7), lost(8));
  const share = lost(7).filter(Boolean).length / 5000;
  assert.ok(share > 0.08 && share < 0.12, String(share));
  const { line, out } = lineOf({ loss: 1 });
  for (let i = 0; i < 100; i++) line.take(frame(), i);
  assert.equal(out.length, 0, 'all of it');
});

test('bandwidth spaces frames, and its queue is bounded', () => {
  const { line } = lineOf({ bandwidth: 8e6, latency: 5 });
  line.take(frame(1000), 0);
  assert.equal(line.due, 6, '1,000 bytes at 1,000 a millisecond, then the latency');
  for (let i = 0; i < 1000; i++) line.take(frame(1000), 0);
  assert.equal(line.counters.overflowed, 1001 - 100, 'a tenth of a second waits');
  const slow = lineOf({ bandwidth: 8000 }).line;
  for (let i = 0; i < 100; i++) slow.take(frame(1514), 0);
  assert.equal(slow.counters.overflowed, 84, 'and some full frames, however slow');
});

test('all lines together hold no more than the room', () => {
  const { line, room } = lineOf({ latency: 1000 }, { room: { left: 250 } });
  for (let i = 0; i < 5; i++) line.take(frame(), 0);
  assert.deepEqual([line.counters.overflowed, room.left], [3, 50]);
});

test('longer packets than the link carries vanish; the Ethernet header does not count', () => {
  const { line, out } = lineOf({ blackHoleAbove: 1400 });
  line.take(frame(1414), 0);
  line.take(frame(1415), 0);
  assert.deepEqual([out.length, line.counters.tooLong], [1, 1]);
});

test('a change of the link reaches what is on its way, in order', () => {
  const { line, out } = lineOf({ latency: 5000 });
  line.take(Buffer.alloc(20, 1), 0);
  line.take(Buffer.alloc(20, 2), 1);
  line.set({ latency: 10 }, 100);
  line.take(Buffer.alloc(20, 3), 105);
  line.release(110);
  line.release(115);
  assert.deepEqual(
    out.map((each) => each[0]),
    [1, 2, 3],
  );
});

const nodes = [
  { name: 'a1', region: 'eu', zone: 'eu-a', rack: 'r1' },
  { name: 'a2', region: 'eu', zone: 'eu-a', rack: 'r2' },
  { name: 'b1', region: 'eu', zone: 'eu-b', rack: 'r1' },
  { name: 'u1', region: 'us', zone: 'us-a' },
  { name: 'lost' },
];

test('a zone is one bridge, until a link is declared between racks', () => {
  const names = (links: { between: [string, string] }[]) => groupsOf(nodes, links).map(({ name }) => name);
  assert.deepEqual(names([]), ['eu-a', 'eu-b', 'us-a', '']);
  assert.deepEqual(names([{ between: ['eu-a/r1', 'eu-a/r2'] }]), ['eu-a/r1', 'eu-a/r2', 'eu-b', 'us-a', '']);
  assert.deepEqual(groupsOf([{ name: 'x' }, { name: 'y' }], [])[0]?.nodes, ['x', 'y']);
});

test('the narrowest link between two bridges counts', () => {
  const links = [
    { between: ['eu', 'us'], latency: 80 },
    { between: ['us-a', 'eu-b'], latency: 70 },
    { between: ['eu-a/r1', 'eu-b/r1'], latency: 1 },
    { between: ['eu-a', 'eu-b'], latency: 5 },
  ] as const;
  const groups = groupsOf(nodes, links);
  const latency = (a: string, b: string) => {
    const [x, y] = [a, b].map((name) => groups.find((group) => group.name === name));
    assert.ok(x && y);
    const [one, other] = [linkBetween(x, y, links)?.latency, linkBetween(y, x, links)?.latency];
    assert.equal(one, other);
    return one;
  };
  assert.equal(latency('eu-a/r1', 'eu-b/r1'), 1);
  assert.equal(latency('eu-a/r2', 'eu-b/r1'), 5);
  assert.equal(latency('us-a', 'eu-b/r1'), 70);
  assert.equal(latency('us-a', 'eu-a/r2'), 80);
  assert.equal(latency('us-a', ''), undefined);
  assert.equal(latency('eu-a/r1', 'eu-a/r2'), undefined);
});

test('places that contradict each other, and ends of links that are none, are said', () => {
  assert.deepEqual(placeProblems(nodes), []);
  const problem = (...more: object[]) =>
    placeProblems([...nodes, ...more] as typeof nodes).map((one) => one.message);
  assert.match(problem({ name: 'x', rack: 'r9' })[0] ?? '', /rack "r9" is in no zone/);
  assert.match(
    problem({ name: 'x', region: 'us', zone: 'eu-a' })[0] ?? '',
    /zone "eu-a" is in the region "eu" and here in the region "us"/,
  );
  assert.match(problem({ name: 'x', zone: 'us' })[0] ?? '', /"us" is a region too/);
  const places = placesOf(nodes);
  assert.equal(betweenProblem(['eu-a', 'eu-b'], places), undefined);
  assert.equal(betweenProblem(['eu-a/r1', 'eu-b/r1'], places), undefined);
  assert.match(
    betweenProblem(['eu-a', 'eu-x'], places) ?? '',
    /"eu-x" is no place of a node; expected two of "eu", "eu-a"/,
  );
  assert.match(betweenProblem(['eu', 'eu-a'], places) ?? '', /"eu" is a region and "eu-a" a zone/);
  assert.match(betweenProblem(['eu', 'eu'], places) ?? '', /no link to itself/);
});

const mac = (n: number) => `02:48:00:00:00:0${n}`;
const ethernet = (to: number | 'all', from: number) =>
  Buffer.from([
    ...(to === 'all' ? Array<number>(6).fill(0xff) : [2, 0x48, 0, 0, 0, to]),
    2,
    0x48,
    0,
    0,
    0,
    from,
    8,
    0,
  ]);

function switchOf(links: { between: [string, string]; latency?: number }[]) {
  const out: string[] = [];
  const groups = groupsOf(
    ['a', 'b', 'c'].map((zone) => ({ name: `n-${zone}`, zone })),
    links,
  );
  const ports = groups.map((group, i) => ({
    ...group,
    macs: [mac(i + 1)],
    write: (each: Uint8Array) => void out.push(`${group.name} ${each[5]}`),
  }));
  return { carrier: createSwitch({ ports, links, seed: 1 }), out };
}

test('frames go where their receiver is, groups’ frames everywhere else, never back', () => {
  const { carrier, out } = switchOf([{ between: ['a', 'b'], latency: 10 }]);
  carrier.take(0, ethernet(3, 1), 0);
  assert.deepEqual(out, ['c 3'], 'no link: at once');
  carrier.take(0, ethernet(2, 1), 0);
  carrier.take(1, ethernet(2, 2), 0);
  assert.equal(carrier.due(), 10);
  carrier.release(10);
  assert.deepEqual(out.splice(0), ['c 3', 'b 2']);
  carrier.take(0, ethernet('all', 1), 20);
  carrier.release(30);
  assert.deepEqual(out.splice(0).toSorted(), ['b 255', 'c 255']);
  carrier.take(2, ethernet(9, 3), 40);
  assert.deepEqual(out.splice(0).toSorted(), ['a 9', 'b 9'], 'a stranger is looked for everywhere');
  carrier.take(1, ethernet(3, 9), 40);
  carrier.take(2, ethernet(9, 3), 40);
  assert.deepEqual(out.splice(0), ['c 3', 'b 9'], 'and found where it was heard');
  carrier.setLinks([{ between: ['a', 'c'], loss: 1 }], 50);
  carrier.take(0, ethernet(3, 1), 50);
  carrier.take(0, ethernet(2, 1), 50);
  assert.deepEqual(out, ['b 2']);
  assert.equal(carrier.counters().find(({ from, to }) => from === 'a' && to === 'c')?.lost, 1);
});

test('no bytes of a frame end the switch', () => {
  const { carrier } = switchOf([]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(2), (bytes, port) =>
      carrier.take(port, Buffer.from(bytes), 0),
    ),
  );
});

test('a change begins with what counted so far, and refuses what is no link', () => {
  const links = [{ between: ['eu', 'us'], latency: 80, loss: 0.1 }] as const;
  const running = { nodes, groups: groupsOf(nodes, links), links };
  const change = (between: [string, string], changes: object, clear = false) =>
    changedLinks(running, { between, changes, clear });
  assert.deepEqual(change(['us', 'eu'], { latency: 50 }), [
    { between: ['us', 'eu'], latency: 50, loss: 0.1 },
  ]);
  assert.deepEqual(change(['eu-a', 'us-a'], { loss: null }), [
    ...links,
    { between: ['eu-a', 'us-a'], latency: 80 },
  ]);
  assert.deepEqual(change(['eu', 'us'], {}, true), [{ between: ['eu', 'us'] }]);
  assert.throws(() => change(['eu-a', 'eu-x'], {}), /"eu-x" is no place of a node/);
  assert.throws(() => change(['eu', 'us'], { jitter: 90 }), /jitter 90 ms is more than the latency, 80 ms/);
  assert.throws(() => change(['eu-a/r1', 'eu-a/r2'], { latency: 1 }), /these racks share a bridge/);
});
