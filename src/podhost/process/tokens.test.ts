import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testPod } from '../test-node.ts';
import { createTokens } from './tokens.ts';

const pod = testPod('a', {
  volumes: [
    {
      name: 'access',
      projected: {
        sources: [
          { serviceAccountToken: { path: 'token', expirationSeconds: 1000 } },
          { serviceAccountToken: { path: 'other', audience: 'vault' } },
        ],
      },
    },
  ],
});
const own = { seconds: 1000 };

test('a token is kept until a fifth of its time is left, and until it ends when no other is to be had', async () => {
  let now = 0;
  let broken = false;
  const asked: string[] = [];
  const tokens = createTokens(
    async (_pod, { audience = 'api', seconds }) => {
      if (broken) throw new Error('no API server');
      asked.push(audience);
      return { token: `${audience} at ${now / 1000}`, expires: now + seconds * 1000 };
    },
    { now: () => now },
  );
  const current = async () => (await tokens.current(pod))(own);
  assert.equal(await current(), 'api at 0');
  assert.equal((await tokens.current(pod))({ audience: 'vault', seconds: 3600 }), 'vault at 0');
  now = 799_000;
  assert.equal(await current(), 'api at 0');
  now = 801_000;
  assert.equal(await current(), 'api at 801');
  assert.deepEqual(asked, ['api', 'vault', 'api']);
  broken = true;
  now = 1_800_000;
  assert.equal(await current(), 'api at 801');
  now = 1_802_000;
  await assert.rejects(current(), /no API server/);
  broken = false;
  assert.equal(await current(), 'api at 1802');
});
