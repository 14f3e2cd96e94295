import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { request, type RequestOptions } from 'node:http';
import { ROOT, testHost } from '../cni/testing/host.ts';
import { connectTcp } from '../kernel/sockets.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { agentStatus, durationText, statusText } from './cni-status.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';
const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

function metricsOn(by: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ ...by, path: '/metrics', headers: { connection: 'close' } }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (part: string) => (text += part));
      res.on('end', () => resolve(text));
    })
      .on('error', reject)
      .end();
  });
}

/** Rules of the machine's own, that the function `firewall` adds to. */
const FILTER =
  'add table inet guard\nadd chain inet guard forward { type filter hook forward priority 0; policy drop; }';

it('a standalone agent says what it serves, and a purge leaves nothing of it', async (t) => {
  const host = await testHost(t, { metrics: '127.0.0.1:9469' });
  assert.equal((await host.run(['nft', '-f', '-'], {}, FILTER)).code, 0);
  const inventory = async () => [
    ...host.inventory(),
    (await host.run(['nft', '-s', 'list', 'ruleset'])).stdout,
    (await host.run(['ls', '-A', host.folder])).stdout.replace(/^(agent\.log|container-.*)\n/gm, ''),
  ];
  const untouched = await inventory();
  await assert.rejects(agentStatus(host.socket), { code: 'CniAgentAway' });
  await host.startAgent();
  const config = {
    name: 'shop',
    runtimeConfig: {
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
      bandwidth: { ingressRate: 2_500_000, ingressBurst: 1e6 },
    },
  };
  host.container('one');
  const { code, out } = await host.cni('ADD', 'one', config);
  assert.equal(code, 0, JSON.stringify(out));
  assert.notEqual((await host.cni('ADD', 'none', config)).code, 0);
  const status = await agentStatus(host.socket);
  assert.deepEqual(status.networks, [{ name: 'shop', attachments: 1 }]);
  assert.deepEqual(
    status.ranges.map(({ cidr, taken }) => [cidr, taken]),
    [
      ['10.9.1.0/24', 1],
      ['fd00:9:1::/64', 1],
    ],
  );
  const [attachment] = status.attachments;
  assert.equal(attachment?.link, out?.interfaces?.[0]?.name);
  assert.deepEqual(
    attachment?.addresses,
    out?.ips?.map(({ address }) => address.split('/')[0]),
  );
  assert.deepEqual(attachment?.limits, { ingressRate: 2_500_000, ingressBurst: 1e6 });
  const text = statusText(status);
  assert.match(text, /range 10\.9\.1\.0\/24: 1 of \d+ taken, 0 resting/);
  assert.match(text, /answers: ADD 1, ADD with code 3 1/);
  assert.match(
    text,
    /^one +eth0 +shop +heddle +hd\S+ +10\.9\.1\.\d+,fd00:\S+ +8080\/tcp->80 +in 2\.5 Mbit\/s +-$/m,
  );

  const metrics = await metricsOn({ socketPath: host.socket });
  for (const line of [
    /^heddle_cni_answers_total\{code="3",command="ADD"\} 1$/m,
    /^heddle_cni_answer_duration_seconds_count\{command="ADD"\} 2$/m,
    /^heddle_cni_attachments\{kind="heddle",network="shop"\} 1$/m,
    /^heddle_cni_host_ports\{protocol="tcp"\} 1$/m,
    /^heddle_cni_range_addresses\{range="10\.9\.1\.0\/24",state="taken"\} 1$/m,
    /^heddle_cni_foreign_packets_total \d+$/m,
  ])
    assert.match(metrics, line);
  const loopback = await connectTcp(host.ns, { host: '127.0.0.1', port: 9469, timeoutMs: 60_000 });
  assert.match(await metricsOn({ createConnection: () => loopback }), /^heddle_cni_attachments/m);

  const bridged = {
    type: 'heddle-bridge',
    bridge: 'cni7',
    isGateway: true,
    ipMasq: true,
    ipam: { type: 'host-local', dataDir: host.folder, subnet: '10.7.0.0/24' },
    firewall: { backend: 'nftables' },
    tuning: { mtu: 1400 },
  };
  host.container('two');
  const two = await host.cni('ADD', 'two', bridged);
  assert.equal(two.code, 0, JSON.stringify(two.out));
  assert.match((await inventory()).join('\n'), /comment "heddle-cni hd/);
  await host.stopAgent('SIGKILL');
  const none = `${host.folder}/none`;
  const args = `cni uninstall --bin-dir ${none} --conf-dir ${none} --purge --state-dir ${host.folder}/state`;
  const heddle = [process.execPath, '--disable-warning=ExperimentalWarning', join(ROOT, 'src/app/heddle.ts')];
  const uninstall = (...flags: string[]) =>
    host.run([...heddle, ...args.split(' '), '--socket', host.socket, ...flags]);
  const during = await inventory();
  const refused = await uninstall();
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /one\/eth0, two\/eth0 would lose the network; nothing was removed.*CniAttached/,
  );
  assert.deepEqual(await inventory(), during);
  const orphan = 'insert rule inet guard forward ip saddr 10.7.0.9 accept comment "heddle-cni hd0 10.7.0.9"';
  assert.equal((await host.run(['nft', '-f', '-'], {}, orphan)).code, 0);
  const purged = await uninstall('--force');
  assert.equal(purged.code, 0, purged.stderr);
  for (const what of ['one/eth0 of none/one', 'link cni7', '1 rule of nobody', 'table inet heddle-cni'])
    assert.ok(purged.stdout.includes(what), purged.stdout);
  assert.deepEqual(await inventory(), untouched);
  if (deep) assert.match((await uninstall()).stdout, /^the agent has left nothing on this machine$/m);
});

test('durations are told by their two largest parts', () => {
  const told = [0, 59, 61, 7_260, 90_000, 3_600 * 24 * 9].map(durationText);
  assert.deepEqual(told, ['0s', '59s', '1m1s', '2h1m', '1d1h', '9d0h']);
});
