/** Who asks: the subject of a client certificate (CN is the name, each O a group), a known token, or one of a service account. */
import { timingSafeEqual, createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { HeddleError } from '../lib/errors.ts';
import type { AccountTokens, Verified } from './account-tokens.ts';
import { unauthorized } from './failure.ts';

export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const ANONYMOUS: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
const AUTHENTICATED = 'system:authenticated';

export interface TokenEntry {
  readonly token: string;
  readonly user: User;
}

/**
 * Lines of `token,name,uid,"group1,group2"`, as Kubernetes' static token file.
 * @throws HeddleError `BadTokenFile`
 */
export function parseTokens(text: string, path = 'tokens.csv'): TokenEntry[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const match = /^([^,"]+),([^,"]+),([^,"]*)(?:,"?([^"]*)"?)?$/.exec(line.trim());
    if (!match)
      throw new HeddleError('BadTokenFile', `${path} line ${i + 1}: expected token,name,uid,"group1,group2"`);
    const [, token = '', name = '', uid = '', groups = ''] = match;
    const listed = groups.split(',').map((group) => group.trim());
    return [{ token, user: { name, uid, groups: [...listed.filter((g) => g !== ''), AUTHENTICATED] } }];
  });
}

export interface Authenticate {
  /** @throws ApiFailure 401 for credentials that are wrong; none at all is the anonymous user */
  (request: IncomingMessage): User;
  /** Undefined for a token that is worth nothing to any of `audiences`; none given: the API server's own. */
  token(token: string, audiences?: readonly string[]): Verified | undefined;
}

export function createAuthenticate(
  tokens: readonly TokenEntry[] = [],
  accounts?: AccountTokens,
): Authenticate {
  // Compared as digests: equal lengths, and no timing that tells how much was right.
  const known = tokens.map(({ token, user }) => ({ digest: digestOf(token), user }));
  const ofSocket = new WeakMap<object, User>();
  const ofToken = (token: string, audiences?: readonly string[]): Verified | undefined => {
    const digest = digestOf(token);
    const entry = known.find((one) => timingSafeEqual(one.digest, digest));
    if (!entry) return accounts?.verify(token, audiences);
    // It is for the API server alone.
    const own = accounts ? [accounts.issuer] : [];
    const meant = audiences ? own.filter((one) => audiences.includes(one)) : own;
    return audiences && meant.length === 0 ? undefined : { user: entry.user, audiences: meant };
  };
  const ofRequest = (request: IncomingMessage): User => {
    const header = request.headers.authorization;
    if (header !== undefined) {
      const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
      const verified = token === undefined ? undefined : ofToken(token);
      if (!verified) throw unauthorized();
      return verified.user;
    }
    const socket = request.socket as TLSSocket;
    let user = ofSocket.get(socket);
    if (!user) ofSocket.set(socket, (user = certificateUser(socket)));
    return user;
  };
  return Object.assign(ofRequest, { token: ofToken });
}

const digestOf = (token: string) => createHash('sha256').update(token).digest();

function certificateUser(socket: TLSSocket): User {
  const subject = socket.getPeerCertificate?.()?.subject as Record<string, unknown> | undefined;
  if (!subject) return ANONYMOUS;
  if (!socket.authorized) throw unauthorized();
  const texts = (value: unknown): string[] =>
    (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === 'string');
  const name = texts(subject['CN'])[0];
  if (name === undefined) throw unauthorized();
  return { name, groups: [...texts(subject['O']), AUTHENTICATED] };
}
