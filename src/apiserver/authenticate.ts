/** Who asks: the subject of a client certificate (CN is the name, each O a group), or a known token. */
import { timingSafeEqual, createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { HeddleError } from '../lib/errors.ts';
import { unauthorized } from './failure.ts';

export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
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

export type Authenticate = (request: IncomingMessage) => User;

/** The result throws ApiFailure 401 for credentials that are wrong; none at all is the anonymous user. */
export function createAuthenticate(tokens: readonly TokenEntry[] = []): Authenticate {
  // Compared as digests: equal lengths, and no timing that tells how much was right.
  const known = tokens.map(({ token, user }) => ({ digest: digestOf(token), user }));
  const ofSocket = new WeakMap<object, User>();
  return (request) => {
    const header = request.headers.authorization;
    if (header !== undefined) {
      const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
      const digest = token === undefined ? undefined : digestOf(token);
      const entry = digest && known.find((one) => timingSafeEqual(one.digest, digest));
      if (!entry) throw unauthorized();
      return entry.user;
    }
    const socket = request.socket as TLSSocket;
    let user = ofSocket.get(socket);
    if (!user) ofSocket.set(socket, (user = certificateUser(socket)));
    return user;
  };
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
