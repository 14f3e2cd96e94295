import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createAccountTokens } from './account-tokens.ts';
import { claimsOf, signingKey, signToken } from './jwt.ts';
import { type Harness, ISSUER, startHarness } from './testing/harness.ts';

let server: Harness;
before(async () => {
  server = await startHarness();
  await create('/api/v1/namespaces', { metadata: { name: 'shop' } });
  for (const name of ['cart', 'other', 'quiet'])
    await create(`${shop}/serviceaccounts`, {
      metadata: { name },
      ...(name === 'quiet' ? { automountServiceAccountToken: false } : {}),
    });
});
after(() => server.close());

const shop = '/api/v1/namespaces/shop';
const user = 'system:serviceaccount:shop:cart';

async function create(path: string, body: object) {
  const made = await server.request('POST', path, { body });
  assert.equal(made.status, 201, made.text);
  return made.json;
}

const pod = (name: string, spec: object = {}) =>
  create(`${shop}/pods`, {
    metadata: { name },
    spec: { serviceAccountName: 'cart', containers: [{ name: 'main', image: 'x:1' }], ...spec },
  });

const request = (spec: object, account = 'cart') =>
  server.request('POST', `${shop}/serviceaccounts/${account}/token`, {
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec },
  });

async function tokenOf(spec: object): Promise<string> {
  const { status, json, text } = await request(spec);
  assert.equal(status, 201, text);
  return json.status.token;
}

const as = (token: string) => ({ as: 'none' as const, headers: { authorization: `Bearer ${token}` } });

async function whoIs(token: string) {
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const { status, json } = await server.request('POST', path, { body: {}, ...as(token) });
  return status === 201 ? json.status.userInfo : status;
}

const review = async (spec: object) =>
  (await server.request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: { spec } })).json
    .status;

const bodyOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());

test('a token says whose it is, by whom, for whom and until when', async () => {
  const { metadata } = await pod('told');
  const ref = { apiVersion: 'v1', kind: 'Pod', name: 'told', uid: metadata.uid };
  const { json } = await request({ audiences: ['vault'], expirationSeconds: 700, boundObjectRef: ref });
  const claims = bodyOf(json.status.token);
  const { uid } = (await server.request('GET', `${shop}/serviceaccounts/cart`)).json.metadata;
  assert.deepEqual([claims.iss, claims.sub, claims.aud], [ISSUER, user, ['vault']]);
  assert.deepEqual([claims.exp - claims.iat, claims.nbf], [700, claims.iat]);
  assert.equal(Date.parse(json.status.expirationTimestamp), claims.exp * 1000);
  assert.deepEqual(claims['kubernetes.io'], {
    namespace: 'shop',
    pod: { name: 'told', uid: metadata.uid },
    serviceaccount: { name: 'cart', uid },
  });
});

test('who shows a token is the account, with its groups and its pod, and has no right but to ask about itself', async () => {
  const { metadata } = await pod('shown');
  const ref = { apiVersion: 'v1', kind: 'Pod', name: 'shown' };
  const token = await tokenOf({ boundObjectRef: ref });
  const { username, groups, extra } = await whoIs(token);
  assert.equal(username, user);
  assert.deepEqual(groups, ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated']);
  assert.deepEqual(extra['authentication.kubernetes.io/pod-uid'], [metadata.uid]);
  assert.equal((await server.request('GET', '/api', as(token))).status, 200);
  const refused = await server.request('GET', `${shop}/secrets`, as(token));
  assert.equal(refused.status, 403);
  assert.match(
    refused.json.message,
    /User "system:serviceaccount:shop:cart" cannot list resource "secrets" in API group "" in the namespace "shop"/,
  );
  const other = await server.request('POST', `${shop}/serviceaccounts/other/token`, {
    body: {},
    ...as(token),
  });
  assert.equal(other.status, 403, 'no account gets tokens of another');
});

test('a token ends with its pod, and with its account', async () => {
  await pod('gone');
  const bound = await tokenOf({ boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'gone' } });
  assert.equal((await whoIs(bound)).username, user);
  await server.request('DELETE', `${shop}/pods/gone?gracePeriodSeconds=0`);
  assert.equal(await whoIs(bound), 401);
  await pod('gone');
  assert.equal(await whoIs(bound), 401, 'a pod of the same name is another one');
  await create(`${shop}/serviceaccounts`, { metadata: { name: 'brief' } });
  const free = (await request({}, 'brief')).json.status.token;
  assert.match((await whoIs(free)).username, /:brief$/);
  await server.request('DELETE', `${shop}/serviceaccounts/brief`);
  await create(`${shop}/serviceaccounts`, { metadata: { name: 'brief' } });
  assert.equal(await whoIs(free), 401);
});

test('a token for others is none for the API server, and a review says whose it is', async () => {
  const token = await tokenOf({ audiences: ['vault', 'bank'] });
  assert.equal(await whoIs(token), 401);
  const { authenticated, user: found, audiences } = await review({ token, audiences: ['bank', 'shop'] });
  assert.deepEqual([authenticated, found.username, audiences], [true, user, ['bank']]);
  assert.equal((await review({ token })).authenticated, undefined);
  const own = await tokenOf({});
  assert.deepEqual((await review({ token: own })).audiences, [ISSUER]);
  assert.equal((await review({ token: 'secret-token' })).user.username, 'robot');
  assert.match((await review({ token: 'nonsense' })).error, /invalid bearer token/);
});

test('what is not signed by this cluster, or is out of its time, is worth nothing', async () => {
  const token = await tokenOf({});
  const [header, body, signature] = token.split('.') as [string, string, string];
  const claims = bodyOf(token);
  const text = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  });
  const stranger = signToken(signingKey(pem), claims);
  const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString());
  for (const wrong of [
    stranger,
    `${text({ alg: 'ES256', kid })}.${stranger.split('.').slice(1).join('.')}`,
    `${text({ alg: 'none', kid })}.${body}.`,
    `${text({ alg: 'HS256', kid })}.${body}.${signature}`,
    `${header}.${text({ ...claims, sub: 'system:admin', 'kubernetes.io': {} })}.${signature}`,
    `${header}.${body}`,
    `${token}.${signature}`,
    `${header}.${body}.${signature.slice(0, -4)}`,
    '..',
    'a.b.c',
  ])
    assert.equal(await whoIs(wrong), 401, wrong);
  let now = Date.now();
  const clock = { now: () => now } as never;
  const tokens = createAccountTokens({ key: pem, issuer: ISSUER }, { store: server.store, clock });
  const account = (await server.request('GET', `${shop}/serviceaccounts/cart`)).json;
  const timed = tokens.issue({ account, audiences: [], seconds: 600 }).token;
  assert.ok(tokens.verify(timed));
  now += 600_000;
  assert.equal(tokens.verify(timed), undefined);
  now -= 700_000;
  assert.equal(tokens.verify(timed), undefined);
  assert.equal(claimsOf(signingKey(pem), token), undefined);
});

test('a request that does not hold together is refused with the reason', async () => {
  await pod('mine', { serviceAccountName: 'other' });
  for (const [spec, code, words] of [
    [{ expirationSeconds: 599 }, 422, /may not specify a duration less than 10 minutes/],
    [{ expirationSeconds: 2 ** 33 }, 422, /larger than 2\^32 seconds/],
    [{ expirationSeconds: '600' }, 422, /whole number/],
    [
      { boundObjectRef: { apiVersion: 'v1', kind: 'Service', name: 'x' } },
      400,
      /cannot bind token for object/,
    ],
    [{ boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'none' } }, 404, /pods "none" not found/],
    [
      { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'mine' } },
      400,
      /different serviceaccount name/,
    ],
    [
      { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'mine', uid: 'old' } },
      409,
      /does not match the UID in record/,
    ],
  ] as const) {
    const { status, json } = await request(spec);
    assert.equal(status, code, json.message);
    assert.match(json.message, words);
  }
  assert.equal((await request({}, 'nobody')).status, 404);
});

test('a pod has its account’s token mounted, unless it or the account says no', async () => {
  const volumesOf = async (name: string, spec: object) => {
    const made = await pod(name, spec);
    return [made.spec.volumes ?? [], made.spec.containers[0].volumeMounts ?? []];
  };
  const [[volume], [mount]] = await volumesOf('with', {});
  assert.match(volume.name, /^kube-api-access-[a-z0-9]{5}$/);
  assert.deepEqual(volume.projected.sources[0], {
    serviceAccountToken: { expirationSeconds: 3607, path: 'token' },
  });
  assert.deepEqual(mount, {
    name: volume.name,
    readOnly: true,
    mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
  });
  assert.deepEqual(await volumesOf('not', { automountServiceAccountToken: false }), [[], []]);
  assert.deepEqual(await volumesOf('quiet', { serviceAccountName: 'quiet' }), [[], []]);
  const [loud] = await volumesOf('loud', { serviceAccountName: 'quiet', automountServiceAccountToken: true });
  assert.equal(loud.length, 1);
});

test('whoever is known can read the key that tokens are signed with', async () => {
  const token = await tokenOf({});
  const { json } = await server.request('GET', '/.well-known/openid-configuration', as(token));
  assert.deepEqual([json.issuer, json.jwks_uri], [ISSUER, `${ISSUER}/openid/v1/jwks`]);
  const keys = (await server.request('GET', '/openid/v1/jwks', as(token))).json.keys;
  const { kid } = JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString());
  assert.deepEqual([keys[0].kid, keys[0].kty, keys[0].crv, keys[0].d], [kid, 'EC', 'P-256', undefined]);
  assert.equal((await server.request('GET', '/openid/v1/jwks', { as: 'none' })).status, 403);
});
