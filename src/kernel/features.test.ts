import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { type missingFeatures, probe } from './features.ts';
import { run } from './spawn.ts';
import { needsRoot } from './test-netns.ts';

test('the probe tries everything and leaves this thread and its links alone', { skip: needsRoot }, () => {
  const before = [fs.readlinkSync('/proc/thread-self/ns/net'), fs.readdirSync('/sys/class/net').join()];
  const features = probe();
  const after = [fs.readlinkSync('/proc/thread-self/ns/net'), fs.readdirSync('/sys/class/net').join()];
  assert.deepEqual(after, before);
  assert.equal(Object.keys(features).length, 13);
  for (const [name, feature] of Object.entries(features)) {
    assert.equal(feature.ok, feature.why === undefined, name);
    assert.equal(feature.ok, feature.hint === undefined, name);
  }
  assert.ok(features.netns.ok && features.veth.ok);
});

test('without root everything that needs it is named with the reason', { skip: needsRoot }, async () => {
  const script = `import { missingFeatures, probe } from ${JSON.stringify(new URL('features.ts', import.meta.url).pathname)};
    process.setuid(65534);
    process.stdout.write(JSON.stringify(missingFeatures(probe())));`;
  const { stdout, stderr } = await run([process.execPath, '--input-type=module', '-e', script]);
  const missing = JSON.parse(stdout || stderr) as ReturnType<typeof missingFeatures>;
  assert.equal(missing[0]?.[0], 'root');
  const netns = missing.find(([name]) => name === 'netns')?.[1];
  assert.match(netns?.why ?? '', /root/);
  assert.match(netns?.hint ?? '', /CONFIG_NET_NS/);
  assert.ok(missing.some(([name]) => name === 'vxlan'));
});
