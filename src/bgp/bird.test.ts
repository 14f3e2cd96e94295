import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { birdConfig } from './testing/bird-config.ts';
import { startBird } from './testing/bird.ts';
import {
  exchangeLab,
  packetsPass,
  peersOf,
  podRanges,
  waitForAnswer,
  waitForRoutes,
} from './testing/exchange.ts';
import { speak } from './testing/speak.ts';
import { until } from './testing/until.ts';

for (const [kind, as] of [
  ['eBGP', 65001],
  ['iBGP', 65002],
  ['eBGP with AS numbers of four octets', 4200000001],
] as const)
  test(`bird and this speaker exchange routes of both families by ${kind}, and packets take them`, {
    skip: needsRoot,
  }, async (context) => {
    const lab = exchangeLab(context);
    const bird = await startBird(lab.t, lab.router.ns, birdConfig({ peerAs: as }));
    const speaker = speak(lab.t, lab.node, { localASN: as, peers: peersOf('bird', 65002) });
    speaker.advertise(podRanges);
    await waitForRoutes(speaker, 5);
    const [learned] = speaker.routes().get('192.168.50.0/24') ?? [];
    assert.deepEqual(learned?.attributes.communities, ['65002:50']);
    assert.deepEqual(learned?.attributes.largeCommunities, ['65002:1:50']);
    const told = await waitForAnswer(bird, 'show route all 10.244.1.0/24', /BGP\.as_path/);
    assert.match(told, /\(65001,100\)/);
    assert.match(told, /\(65001, 7, 8\)/);
    assert.match(told, kind === 'iBGP' ? /BGP\.as_path: *\n/ : new RegExp(`BGP.as_path: ${as}`));
    await packetsPass(lab);
    speaker.advertise([]);
    await waitForAnswer(bird, 'show route 10.244.1.0/24', /not found/i);
    await bird.ask('disable heddle4');
    await until(
      'what bird told to be gone',
      () => lab.node.route.routes().filter(({ dst }) => dst === '192.168.50.0/24'),
      (left) => left.length === 0,
    );
    assert.match(speaker.status().peers[0]?.lastError?.text ?? '', /Administrative Shutdown/);
  });

test('bird goes on with a session whose speaker changes others, and has a new key from the next connection on', {
  skip: needsRoot,
}, async (context) => {
  const lab = exchangeLab(context);
  const bird = await startBird(
    lab.t,
    lab.router.ns,
    birdConfig({ more: 'passive; password "new";', peers: [4] }),
  );
  const [four, six] = peersOf('bird', 65002, { password: 'old' });
  assert.ok(four && six);
  const speaker = speak(lab.t, lab.node, { localASN: 65001, peers: [four] });
  speaker.advertise(podRanges);
  speaker.update([{ ...four, password: 'new' }, six]);
  await until('the session', () => speaker.status().peers[0]?.state === 'established');
  speaker.update([{ ...four, password: 'new' }]);
  await waitForAnswer(bird, 'show route 10.244.1.0/24', /heddle4/);
  assert.deepEqual(
    speaker.status().peers.map(({ name, state, restarts }) => [name, state, restarts]),
    [['bird4', 'established', 0]],
  );
});
