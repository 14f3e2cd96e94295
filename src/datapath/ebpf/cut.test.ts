import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { keepTcp, serveTcp } from '../testing/traffic.ts';

const closed = { podSelector: { matchLabels: { app: 'b' } }, policyTypes: ['Ingress' as const] };
const SILENCE_MS = 500;

for (const family of [0, 1] as const)
  test(`what policy cut stays cut where the flow cache has lost it, IPv${family === 0 ? 4 : 6}`, {
    skip: needsRoot,
  }, async (t) => {
    const { pod, setPolicies, backends } = await createCluster(t, openEbpf);
    const [a, b] = [pod('a'), pod('b')];
    serveTcp(t, b.ns, 8080, 'b');
    const { programs } = backends[0]!;
    const forget = () => {
      for (const name of ['flows4', 'flows6', 'crowd4', 'crowd6'])
        for (const [key] of programs.map(name).entries()) programs.map(name).delete(key);
    };
    const kept = await keepTcp(t, a.ns, b.addresses[family], 8080);
    forget();
    assert.equal(await kept.echo(), true);
    await setPolicies({ b: closed });
    assert.equal(await kept.echo(SILENCE_MS), false);
    forget();
    assert.equal(await kept.echo(SILENCE_MS), false);
    await setPolicies({});
    assert.equal(await kept.echo(10_000), true);
    // Lost again, and met in its middle by what the server says.
    await setPolicies({ a: { ...closed, podSelector: { matchLabels: { app: 'a' } } } });
    forget();
    assert.equal(await kept.echo(), true);
  });
