import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { decodeMessage, encodeMessage, query, RCODE } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import type { Netns } from '../../kernel/netns.ts';
import { bindUdp, connectTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { addressesOf, peerSeen, testHost, until } from '../testing/host.ts';

const SERVERS = ['10.9.1.1', 'fd00:9:1::1'];

/** The code of the agent's answer; undefined where nothing answers. */
async function askedByUdp(from: Netns, own: string, server: string, name: string) {
  const socket = createSocket(own.includes(':') ? 'udp6' : 'udp4');
  const answer = new Promise<number | undefined>((resolve) => {
    socket.on('message', (data) => resolve(decodeMessage(data).rcode));
    socket.on('error', () => resolve(undefined));
    setTimeout(resolve, 500, undefined);
  });
  try {
    socket.bind({ fd: bindUdp(from, own, 0) });
    socket.send(encodeMessage(query(1, name, TYPE.A)), 53, server);
    return await answer;
  } finally {
    socket.close();
  }
}

test('a container that publishes port 53 is asked by others from outside, and takes no questions meant for the agent', {
  skip: needsRoot,
}, async (t) => {
  const host = await testHost(t, { dns: { domain: 'dns.test', servers: [] } });
  await host.startAgent();
  const [one, two] = [host.container('one'), host.container('two')];
  const { out } = await host.cni('ADD', 'one');
  const portMappings = ['udp', 'tcp'].map((protocol) => ({ hostPort: 53, containerPort: 53, protocol }));
  const { code } = await host.cni('ADD', 'two', { runtimeConfig: { portMappings } });
  assert.equal(code, 0);
  const own = addressesOf(out);
  const answers = (name: string, rcode: number) =>
    Promise.all(
      SERVERS.map((server) =>
        until(`${server} to answer for ${name}`, async () => {
          const from = own.find((address) => address.includes(':') === server.includes(':')) ?? '';
          return (await askedByUdp(one, from, server, name)) === rcode;
        }),
      ),
    );
  await answers('two.dns.test', RCODE.NOERROR);
  for (const server of SERVERS) (await connectTcp(one, { host: server, port: 53 })).destroy();
  for (const address of ['192.0.2.1', '2001:db8::1'])
    assert.match(await peerSeen({ from: host.outside, to: two, address, port: 53 }), /2$/);
  await host.stopAgent('SIGKILL');
  await host.startAgent();
  await answers('two.dns.test', RCODE.NOERROR);
  assert.equal((await host.cni('DEL', 'two')).code, 0);
  await answers('two.dns.test', RCODE.NXDOMAIN);
});
