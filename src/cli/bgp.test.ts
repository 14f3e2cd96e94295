import assert from 'node:assert/strict';
import { test } from 'node:test';
import { schemaViolations } from '../../test/schema.ts';
import {
  availableRows,
  advertisedRows,
  instanceStatus,
  overviewOf,
  peerRows,
} from '../controllers/node/bgp-report.ts';
import { pair } from '../bgp/testing/pair.ts';
import { peersText, routesText } from './bgp.ts';
import { bgpLines, sumBgp } from './status-bgp.ts';

/** A speaker with one session, that has told and taken a route. */
async function spoken() {
  const { a, b, timers } = pair();
  a.speaker.advertise([{ prefix: '10.244.1.0/24', communities: ['65001:1', '1:2:3'], med: 5 }]);
  b.speaker.advertise([{ prefix: '192.168.50.0/24' }]);
  await timers.advance(5000);
  return { speakers: [{ name: 'main', speaker: a.speaker }], timers, b };
}

const onNode = <T>(rows: readonly T[]) => rows.map((row) => ({ node: 'node-1', ...row }));

test('sessions and routes are shown, and their structured form is as docs/schemas say', async () => {
  const { speakers, timers } = await spoken();
  const peers = onNode(peerRows(speakers, timers.now()));
  assert.deepEqual(schemaViolations('bgp-peers', { peers, problems: [{ node: 'node-1', text: 'x' }] }), []);
  assert.match(
    peersText(peers),
    /node-1 +10\.1\.1\.2 +65001 +65002 +10\.1\.1\.2 +established +\ds +ipv4\/unicast +1 +1\n +ipv6\/unicast +0 +0\n/,
  );
  const available = onNode(availableRows(speakers));
  const advertised = onNode(advertisedRows(speakers));
  assert.deepEqual(schemaViolations('bgp-routes', { which: 'available', routes: available }), []);
  assert.deepEqual(schemaViolations('bgp-routes', { which: 'advertised', routes: advertised }), []);
  assert.match(
    routesText(available),
    /node-1 +65001 +10\.1\.1\.2 +192\.168\.50\.0\/24 +10\.1\.1\.2 +\{AsPath: 65002\}/,
  );
  assert.match(
    routesText(advertised),
    /10\.1\.1\.2 +10\.244\.1\.0\/24 +10\.1\.1\.1 +\{AsPath: 65001\} \{Med: 5\} \{Communities: 65001:1\} \{LargeCommunities: 1:2:3\}/,
  );
  assert.equal(peersText([]), 'no node has a BGP peer\n');
  assert.equal(routesText([]), 'no routes\n');
});

test('a session that does not stand says why, in the table and in the status', async () => {
  const { speakers, timers, b } = await spoken();
  await b.speaker.close({ words: 'maintenance' });
  await timers.advance(10);
  const rows = onNode(peerRows(speakers, timers.now()));
  assert.match(
    peersText(rows),
    /idle +- +- +- +-\nnode-1: 10\.1\.1\.2: .*Administrative Shutdown.*maintenance/,
  );
  const status = sumBgp([{ node: 'node-1', bgp: overviewOf(speakers, ['main: no Secret'], timers.now()) }]);
  assert.deepEqual(bgpLines(status).slice(0, 1), ['BGP       0 of 1 sessions stand']);
  assert.match(bgpLines(status).join('\n'), /node-1: 10\.1\.1\.2 \(10\.1\.1\.2\) idle: .*maintenance/);
  assert.match(bgpLines(status).join('\n'), /not in effect: main: no Secret/);
  assert.deepEqual(bgpLines(null), []);
});

test('the object’s status has states and counts as Cilium writes them', async () => {
  const { speakers } = await spoken();
  const [first] = speakers.map(instanceStatus);
  const [peer] = first?.peers ?? [];
  assert.deepEqual([first?.name, first?.localASN, peer?.peeringState], ['main', 65001, 'established']);
  assert.deepEqual(peer?.routeCount, [
    { afi: 'ipv4', safi: 'unicast', received: 1, advertised: 1 },
    { afi: 'ipv6', safi: 'unicast', received: 0, advertised: 0 },
  ]);
  assert.match(peer?.establishedTime ?? '', /^1970-01-01T00:00:0\dZ$/);
  assert.deepEqual(peer?.timers, { appliedHoldTimeSeconds: 90, appliedKeepaliveSeconds: 30 });
});
