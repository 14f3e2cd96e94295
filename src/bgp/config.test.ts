import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSpeakerConfig, type PeerConfig, type SpeakerConfig } from './config.ts';
import type { FilterStatement } from './rib/filter.ts';

const peer: PeerConfig = { name: 'tor', peerAddress: '10.0.0.1', peerASN: 65002 };
const config: SpeakerConfig = { localASN: 65001, routerId: '10.0.0.2', peers: [peer] };
const filtered = (statement: FilterStatement): PeerConfig => ({
  ...peer,
  importFilter: { statements: [statement] },
});

test('a good configuration is taken', () => {
  checkSpeakerConfig(config);
  checkSpeakerConfig({
    ...config,
    peers: [peer, { ...peer, name: 'tor-2', peerAddress: 'fe80::1', interface: 'eth0' }],
  });
});

for (const [what, wrong, code, text] of [
  ['an AS of transition', { ...config, localASN: 23456 }, 'BgpConfig', /localASN 23456/],
  ['a router id that is none', { ...config, routerId: 'fd00::1' }, 'BgpConfig', /routerId "fd00::1"/],
  [
    'a peer address that is none',
    { ...config, peers: [{ ...peer, peerAddress: 'tor' }] },
    'BgpConfig',
    /peerAddress of the BGP peer tor is "tor"/,
  ],
  [
    'two peers of one name',
    { ...config, peers: [peer, { ...peer, peerAddress: '10.0.0.9' }] },
    'BgpConfig',
    /two peers have the name tor/,
  ],
  [
    'two peers of one address',
    { ...config, peers: [peer, { ...peer, name: 'b' }] },
    'BgpConfig',
    /two peers have the address/,
  ],
  [
    'a hold time of 2 s',
    { ...config, peers: [{ ...peer, timers: { holdTimeSeconds: 2 } }] },
    'BgpConfig',
    /holdTimeSeconds.*3 to 65535/,
  ],
  [
    'a restart time beyond 12 bits',
    { ...config, peers: [{ ...peer, gracefulRestart: { restartTimeSeconds: 5000 } }] },
    'BgpConfig',
    /0 to 4095/,
  ],
  [
    'a link-local peer without its link',
    { ...config, peers: [{ ...peer, peerAddress: 'fe80::1' }] },
    'BgpConfig',
    /one link only/,
  ],
  [
    'a local address of the other family',
    { ...config, peers: [{ ...peer, localAddress: 'fd00::1' }] },
    'BgpConfig',
    /localAddress/,
  ],
  [
    'GTSM over several hops',
    { ...config, peers: [{ ...peer, ttlSecurity: true, ebgpMultihop: 3 }] },
    'BgpConfig',
    /ttlSecurity and ebgpMultihop/,
  ],
  [
    'ge beyond le',
    {
      ...config,
      peers: [
        filtered({ action: 'accept', match: { prefixes: [{ prefix: '10.0.0.0/8', ge: 24, le: 16 }] } }),
      ],
    },
    'BgpFilter',
    /statement 1 of the BGP peer tor matches nothing/,
  ],
  [
    'a prefix that is none',
    { ...config, peers: [filtered({ action: 'accept', match: { prefixes: [{ prefix: '10.0.0.0' }] } })] },
    'BgpFilter',
    /"10.0.0.0"/,
  ],
  [
    'a community that is none',
    { ...config, peers: [filtered({ action: 'accept', set: { addCommunities: ['65536:1'] } })] },
    'BgpFilter',
    /community "65536:1"/,
  ],
  [
    'a preference beyond 32 bits',
    { ...config, peers: [filtered({ action: 'accept', set: { localPref: 2 ** 32 } })] },
    'BgpFilter',
    /localPref/,
  ],
] as const satisfies readonly (readonly [string, SpeakerConfig, string, RegExp])[])
  test(`refused by name: ${what}`, () => {
    assert.throws(() => checkSpeakerConfig(wrong), { code, message: text });
  });
