import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpfAtTc } from '../testing/ebpf.ts';
import { PODS, wish } from '../testing/service-lab.ts';

const SERVERS = { b: 'the same node', c: 'another node' } as const;
const TIMES = 5;
/** More than one, so that not all of them are the first. */
const WORDS = ['one ', 'two ', 'three ', 'four '];

for (const [name, where] of Object.entries(SERVERS))
  test(`what a server of ${where} says is translated back also where the flow cache has lost its connection`, {
    skip: needsRoot,
    timeout: 30_000,
  }, async (t) => {
    const { pod, setFrontends, backends } = await createCluster(t, openEbpfAtTc, PODS);
    const server = createServer({ noDelay: true });
    server.listen({ fd: listenTcp(pod(name).ns, '::', 9000) });
    t.after(() => void server.close());
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    await setFrontends([wish('ClusterIP', [pod(name)], { target: 9000 })]);
    const client = await connectTcp(pod('a').ns, { host: '10.96.0.1', port: 80 });
    const [answering] = await accepted;
    t.after(() => [client, answering].forEach((socket) => socket.destroy()));
    const broken = once(answering, 'error').then(() => assert.fail('the client knows of no such connection'));
    broken.catch(() => {});
    let heard = '';
    client.on('data', (data) => (heard += data));
    for (let i = 1; i <= TIMES; i++) {
      for (const { programs } of backends)
        for (const map of ['flows4', 'crowd4'].map(programs.map))
          for (const [key] of map.entries()) map.delete(key);
      for (const word of WORDS) answering.write(word);
      const wanted = WORDS.join('').repeat(i);
      while (heard.length < wanted.length) await Promise.race([once(client, 'data'), broken]);
      assert.equal(heard, wanted);
    }
  });
