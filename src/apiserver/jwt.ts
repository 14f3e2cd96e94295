/** JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, with ES256 (RFC 7518 section 3.4) alone. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { isObject } from '../lib/json.ts';

export interface SigningKey {
  /** Names the key: the same for the same key. */
  readonly id: string;
  readonly private: KeyObject;
  readonly public: KeyObject;
}

export type Claims = Readonly<Record<string, unknown>>;

/** Of a PEM with a key of P-256. */
export function signingKey(pem: string): SigningKey {
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return {
    id: createHash('sha256').update(der).digest('base64url'),
    private: privateKey,
    public: publicKey,
  };
}

/** ES256 signs with R and S side by side, not with their DER. */
const dsaEncoding = 'ieee-p1363';

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export function signToken(key: SigningKey, claims: Claims): string {
  const text = `${encoded({ alg: 'ES256', kid: key.id })}.${encoded(claims)}`;
  const signature = sign('sha256', Buffer.from(text), { key: key.private, dsaEncoding });
  return `${text}.${signature.toString('base64url')}`;
}

/** The claims of a token that `key` has signed, whatever they say; undefined for all others. */
export function claimsOf(key: SigningKey, token: string): Claims | undefined {
  const [header = '', payload = '', signature = '', ...more] = token.split('.');
  if (more.length > 0 || signature === '') return undefined;
  const { alg, kid } = parsed(header) ?? {};
  if (alg !== 'ES256' || kid !== key.id) return undefined;
  const bytes = Buffer.from(signature, 'base64url');
  const signed = Buffer.from(`${header}.${payload}`);
  if (!verify('sha256', signed, { key: key.public, dsaEncoding }, bytes)) return undefined;
  return parsed(payload);
}

function parsed(part: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A set of the one key (RFC 7517 section 5). */
export const keySet = (key: SigningKey): object => ({
  keys: [{ use: 'sig', kid: key.id, alg: 'ES256', ...key.public.export({ format: 'jwk' }) }],
});
