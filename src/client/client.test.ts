import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CONFIG_MAP, DEPLOYMENT, NODE, POD } from '../api/kinds.ts';
import { HeddleError } from '../lib/errors.ts';
import { ApiError, isConflict, isExpired } from './api-error.ts';
import { type ClientOptions, createClient } from './client.ts';
import { type Answer, sendJson, startTestServer, statusOf } from './test-server.ts';

async function setUp(t: TestContext, answer: Answer, options: Partial<ClientOptions> = {}) {
  const server = await startTestServer(answer);
  const client = createClient({ server: server.url, ...options });
  t.after(async () => {
    client.close();
    await server.close();
  });
  return { server, client };
}

const pod = (name: string) => ({ metadata: { name, namespace: 'shop', resourceVersion: '7' } });
const ok: Answer = (_asked, response) => sendJson(response, 200, pod('a'));

test('every verb takes its path, method and content type', async (t) => {
  const { server, client } = await setUp(t, ok);
  const config = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace: 'shop' } } as const;
  await client.get(POD, 'a', 'shop');
  await client.get(NODE, 'node-1');
  await client.create(CONFIG_MAP, config);
  await client.update(CONFIG_MAP, config);
  await client.updateStatus(CONFIG_MAP, config);
  await client.patch(DEPLOYMENT, 'd', 'shop', { spec: {} }, { type: 'strategic' });
  await client.patch(POD, 'a', 'shop', { status: {} }, { subresource: 'status' });
  await client.patch(POD, 'a', 'shop', [], { type: 'json' });
  await client.delete(POD, 'a', 'shop', { gracePeriodSeconds: 0, preconditions: { uid: 'u' } });
  await client.deleteCollection(POD, { namespace: 'shop', labelSelector: 'a=b' });
  await client.subresource('POST', POD, 'a', 'shop', 'binding', { target: { name: 'node-1' } });
  const seen = server.asked.map(
    (one) => `${one.method} ${one.url.pathname}${one.url.search} ${one.headers['content-type'] ?? '-'}`,
  );
  assert.deepEqual(seen, [
    'GET /api/v1/namespaces/shop/pods/a -',
    'GET /api/v1/nodes/node-1 -',
    'POST /api/v1/namespaces/shop/configmaps application/json',
    'PUT /api/v1/namespaces/shop/configmaps/c application/json',
    'PUT /api/v1/namespaces/shop/configmaps/c/status application/json',
    'PATCH /apis/apps/v1/namespaces/shop/deployments/d application/strategic-merge-patch+json',
    'PATCH /api/v1/namespaces/shop/pods/a/status application/merge-patch+json',
    'PATCH /api/v1/namespaces/shop/pods/a application/json-patch+json',
    'DELETE /api/v1/namespaces/shop/pods/a application/json',
    'DELETE /api/v1/namespaces/shop/pods?labelSelector=a%3Db -',
    'POST /api/v1/namespaces/shop/pods/a/binding application/json',
  ]);
  assert.deepEqual(JSON.parse(server.asked[8]!.body), {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    preconditions: { uid: 'u' },
  });
});

test('a list names its selectors, and its items their kind', async (t) => {
  const { server, client } = await setUp(t, (_asked, response) =>
    sendJson(response, 200, { metadata: { resourceVersion: '9', continue: 'more' }, items: [pod('a')] }),
  );
  const list = await client.list(POD, { fieldSelector: 'spec.nodeName=node-1', limit: 1, continue: 'x' });
  assert.equal(server.asked[0]!.url.search, '?fieldSelector=spec.nodeName%3Dnode-1&limit=1&continue=x');
  assert.equal(list.resourceVersion, '9');
  assert.equal(list.continue, 'more');
  assert.equal(list.items[0]?.kind, 'Pod');
  assert.equal(list.items[0]?.apiVersion, 'v1');
});

test('a refusal is an ApiError with the reason that the server gave', async (t) => {
  const { client } = await setUp(t, (_asked, response) =>
    sendJson(response, 409, {
      ...statusOf(409, 'Conflict', 'the object has been modified'),
      details: { name: 'a', kind: 'pods' },
    }),
  );
  await assert.rejects(client.get(POD, 'a', 'shop'), (error: unknown) => {
    assert.ok(error instanceof ApiError && isConflict(error));
    assert.equal(error.message, 'the object has been modified');
    assert.equal(error.details?.name, 'a');
    return true;
  });
});

test('a page of a proxy instead of a Status is quoted', async (t) => {
  const { client } = await setUp(t, (_asked, response) => {
    response.writeHead(502);
    response.end('<html>bad gateway</html>');
  });
  await assert.rejects(client.get(POD, 'a', 'shop'), /HTTP 502: <html>bad gateway/);
});

test('"later" is waited for and asked again, for writes too', async (t) => {
  let count = 0;
  const { server, client } = await setUp(t, (_asked, response) => {
    if (++count <= 2)
      sendJson(response, count === 1 ? 429 : 503, statusOf(429, 'TooManyRequests', ''), {
        'retry-after': '0',
      });
    else sendJson(response, 201, pod('a'));
  });
  await client.create(POD, { ...pod('a'), apiVersion: 'v1', kind: 'Pod' });
  assert.equal(server.asked.length, 3);
});

test('a server that is not there is an error that says so', async (t) => {
  const server = await startTestServer(ok);
  await server.close();
  const client = createClient({ server: server.url });
  t.after(() => client.close());
  await assert.rejects(client.get(POD, 'a', 'shop'), (error: unknown) => {
    assert.ok(error instanceof HeddleError);
    assert.equal(error.code, 'ApiUnreachable');
    assert.match(error.hint ?? '', /is the cluster up/);
    return true;
  });
});

test('the next address is dialled when one refuses, under the same name', async (t) => {
  const { server, client: plain } = await setUp(t, ok);
  plain.close();
  const client = createClient({
    server: 'http://kubernetes.test:6443',
    dialAddresses: ['127.0.0.1:1', `127.0.0.1:${server.port}`],
  });
  t.after(() => client.close());
  await client.get(POD, 'a', 'shop');
  assert.equal(server.asked[0]?.headers.host, 'kubernetes.test:6443');
});

test('a read is repeated once when its connection is cut, a write is not', async (t) => {
  const { server, client } = await setUp(t, (_asked, response) => void response.destroy());
  await assert.rejects(client.get(POD, 'a', 'shop'), { code: 'ApiUnreachable' });
  assert.equal(server.asked.length, 2);
  await assert.rejects(client.create(POD, { ...pod('a'), apiVersion: 'v1', kind: 'Pod' }));
  assert.equal(server.asked.length, 3);
});

test('an answer that never comes is an ApiTimeout, before the head and amid the body', async (t) => {
  const { client } = await setUp(
    t,
    (asked, response) => {
      if (asked.url.pathname.endsWith('body')) response.writeHead(200).write('{');
    },
    { timeoutMs: 40 },
  );
  await assert.rejects(client.get(POD, 'head', 'shop'), { code: 'ApiTimeout' });
  await assert.rejects(client.get(POD, 'body', 'shop'), { code: 'ApiTimeout' });
});

test('an aborted request rejects with the reason of the signal', async (t) => {
  const { client } = await setUp(t, () => {});
  const stop = new AbortController();
  const asked = client.list(POD, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 10);
  await assert.rejects(asked, /enough/);
});

test('a watch gives events as they come, wherever the chunks are cut', async (t) => {
  const text = ['ADDED', 'MODIFIED', 'DELETED']
    .map((type) => `${JSON.stringify({ type, object: pod('ä😀') })}\n`)
    .join('');
  const bytes = Buffer.from(text);
  const { server, client } = await setUp(t, async (_asked, response) => {
    response.writeHead(200);
    for (let i = 0; i < bytes.length; i += 7) {
      response.write(bytes.subarray(i, i + 7));
      await new Promise(setImmediate);
    }
    response.end();
  });
  const seen: string[] = [];
  for await (const event of client.watch(POD, { resourceVersion: '5' }, new AbortController().signal))
    seen.push(`${event.type} ${event.object.metadata.name}`);
  assert.deepEqual(seen, ['ADDED ä😀', 'MODIFIED ä😀', 'DELETED ä😀']);
  const query = server.asked[0]!.url.searchParams;
  assert.equal(query.get('resourceVersion'), '5');
  assert.equal(query.get('allowWatchBookmarks'), 'true');
});

test('a revision that is gone is ApiError 410, as a status and as an event', async (t) => {
  const expired = statusOf(410, 'Expired', 'too old resource version');
  let asEvent = false;
  const { client } = await setUp(t, (_asked, response) => {
    if (asEvent) response.writeHead(200).end(`${JSON.stringify({ type: 'ERROR', object: expired })}\n`);
    else sendJson(response, 410, expired);
  });
  const read = async () => {
    for await (const _ of client.watch(POD, { resourceVersion: '1' }, new AbortController().signal));
  };
  await assert.rejects(read(), isExpired);
  asEvent = true;
  await assert.rejects(read(), isExpired);
});

test('a watch ends without an error when its connection is cut, falls silent, or is no longer wanted', async (t) => {
  let then: (response: { destroy(): unknown }) => void = () => {};
  const { client } = await setUp(t, (_asked, response) => {
    response.writeHead(200).write(`${JSON.stringify({ type: 'ADDED', object: pod('a') })}\n`);
    then(response);
  });
  const stop = new AbortController();
  let heard = () => {};
  const read = async (options: { idleTimeoutMs?: number }) => {
    let count = 0;
    for await (const _ of client.watch(POD, options, stop.signal)) {
      count++;
      heard();
    }
    return count;
  };
  then = (response) => setTimeout(() => response.destroy(), 10);
  assert.equal(await read({}), 1);
  then = () => {};
  assert.equal(await read({ idleTimeoutMs: 30 }), 1);
  heard = () => void setTimeout(() => stop.abort(), 5);
  assert.equal(await read({}), 1);
});
