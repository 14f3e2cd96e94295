/** What others need to judge tokens by themselves: OpenID Connect Discovery 1.0, section 4, and RFC 7517. */
import type { AccountTokens } from './account-tokens.ts';
import type { Answer } from './deps.ts';

const KEYS = '/openid/v1/jwks';

export function openidAnswer(path: string, tokens: AccountTokens): Answer | undefined {
  const headers = { 'cache-control': 'public, max-age=3600' };
  if (path === KEYS)
    return { code: 200, body: tokens.keys(), contentType: 'application/jwk-set+json', headers };
  if (path !== '/.well-known/openid-configuration') return undefined;
  return {
    code: 200,
    body: {
      issuer: tokens.issuer,
      jwks_uri: `${tokens.issuer}${KEYS}`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    },
    headers,
  };
}
