import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { race } from './happy-eyeballs.ts';

/** Time that passes only when nothing else is to do. */
function createTime() {
  let now = 0;
  let waiting: { at: number; act: () => void }[] = [];
  return {
    now: () => now,
    after(ms: number, act: () => void) {
      const entry = { at: now + ms, act };
      waiting.push(entry);
      return { cancel: () => void (waiting = waiting.filter((one) => one !== entry)) };
    },
    async run(isOver: () => boolean) {
      for (await turn(); waiting.length > 0 && !isOver(); await turn()) {
        const next = waiting.reduce((first, one) => (one.at < first.at ? one : first));
        waiting = waiting.filter((one) => one !== next);
        now = next.at;
        next.act();
      }
    },
  };
}

interface Host {
  address: string;
  /** Milliseconds until it connects or refuses; undefined: silence. */
  answersAfter: number | undefined;
  connects: boolean;
}

interface Setting {
  six: { after: number; hosts: Host[] };
  four: { after: number; hosts: Host[] };
}

async function play({ six, four }: Setting) {
  const time = createTime();
  const starts: { address: string; at: number }[] = [];
  let open = 0;
  let outcome: { address: string; at: number } | { error: unknown } | undefined;
  const answer = ({ after, hosts }: Setting['six']) =>
    new Promise<string[]>((resolve) => time.after(after, () => resolve(hosts.map(({ address }) => address))));
  const attempt = (address: string, signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => {
      starts.push({ address, at: time.now() });
      signal.addEventListener('abort', () => reject(signal.reason));
      const host = [...six.hosts, ...four.hosts].find((one) => one.address === address)!;
      if (host.answersAfter === undefined) return;
      time.after(host.answersAfter, () => {
        if (!host.connects) return reject(new Error('ECONNREFUSED'));
        if (!signal.aborted) open++;
        resolve(address);
      });
    });
  const late = new AbortController();
  race(
    { six: answer(six), four: answer(four) },
    {
      attempt,
      discard: () => open--,
      after: time.after,
      signal: late.signal,
    },
  ).then(
    (address) => (outcome = { address, at: time.now() }),
    (error: unknown) => (outcome = { error }),
  );
  await time.run(() => outcome !== undefined);
  late.abort(new Error('enough'));
  await turn();
  return { starts, outcome: outcome!, open };
}

const hosts = (family: 4 | 6) =>
  fc
    .array(
      fc.record({
        answersAfter: fc.option(fc.integer({ min: 0, max: 900 }), { nil: undefined }),
        connects: fc.boolean(),
      }),
      { maxLength: 4 },
    )
    .map((all) =>
      all.map((one, i): Host => ({ ...one, address: family === 4 ? `10.0.0.${i}` : `fd00::${i}` })),
    );
const settings = fc.record({
  six: fc.record({ after: fc.integer({ min: 0, max: 300 }), hosts: hosts(6) }),
  four: fc.record({ after: fc.integer({ min: 0, max: 300 }), hosts: hosts(4) }),
});

test('whoever can be reached is reached, every address is tried at most once, one connection stays', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (setting) => {
      const { starts, outcome, open } = await play(setting);
      const all = [...setting.six.hosts, ...setting.four.hosts];
      const reachable = all.some(({ connects, answersAfter }) => connects && answersAfter !== undefined);
      const names = starts.map(({ address }) => address);
      assert.equal(new Set(names).size, names.length);
      assert.equal('address' in outcome, reachable);
      assert.equal(open, reachable ? 1 : 0);
      if (!reachable) assert.equal(names.length, all.length);
    }),
    { numRuns: 200 },
  );
});

test('IPv6 comes first if its answer is at most 50 ms behind, then families take turns', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (setting) => {
      const { six, four } = setting;
      fc.pre(six.hosts.length > 0 && four.hosts.length > 0);
      const { starts } = await play(setting);
      const families = starts.map(({ address }) => (address.includes(':') ? 6 : 4));
      assert.equal(
        families[0],
        six.after < four.after + 50 ? 6 : six.after > four.after + 50 ? 4 : families[0],
      );
      if (six.after > four.after + 50) return;
      const both = 2 * Math.min(six.hosts.length, four.hosts.length);
      // Answers of both are there by the second attempt, unless a failure came before.
      if (starts[1] && starts[1].at < four.after) return;
      assert.deepEqual(
        families.slice(0, both),
        [6, 4, 6, 4, 6, 4, 6, 4].slice(0, Math.min(both, families.length)),
      );
    }),
    { numRuns: 200 },
  );
});

test('an address in silence holds the next one up for 250 ms, and one that refuses for nothing', async () => {
  const silent = (address: string): Host => ({ address, answersAfter: undefined, connects: false });
  const good = (address: string): Host => ({ address, answersAfter: 3, connects: true });
  const refusing = (address: string): Host => ({ address, answersAfter: 7, connects: false });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 200 }),
      fc.integer({ min: 0, max: 200 }),
      async (six, four) => {
        fc.pre(six < four + 50);
        const dropped = await play({
          six: { after: six, hosts: [silent('fd00::1'), silent('fd00::2')] },
          four: { after: four, hosts: [good('10.0.0.1')] },
        });
        assert.deepEqual(dropped.outcome, { address: '10.0.0.1', at: six + 250 + 3 });
        const refused = await play({
          six: { after: six, hosts: [refusing('fd00::1')] },
          four: { after: four, hosts: [good('10.0.0.1')] },
        });
        assert.deepEqual(refused.outcome, { address: '10.0.0.1', at: Math.max(six + 7, four) + 3 });
      },
    ),
    { numRuns: 60 },
  );
});
