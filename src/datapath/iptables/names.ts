/** Names of chains as kube-proxy makes them: users' scripts and eyes look for these. */
import { createHash } from 'node:crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 4648 section 6 of SHA-256, the first 16 letters. */
export function nameHash(text: string): string {
  const bytes = createHash('sha256').update(text).digest();
  let out = '';
  for (let bit = 0; out.length < 16; bit += 5) {
    const pair = bytes.readUInt16BE(bit >> 3);
    out += ALPHABET[(pair >> (11 - (bit & 7))) & 31];
  }
  return out;
}

/** All frontends of one Service's port that balance alike would share one; a plan knows frontends only. */
export const chainName = (kind: 'SVC' | 'SVL' | 'EXT' | 'FW', text: string): string =>
  `KUBE-${kind}-${nameHash(text)}`;

export const endpointChain = (service: string, protocol: string, endpoint: string): string =>
  `KUBE-SEP-${nameHash(`${service}${protocol.toLowerCase()}${endpoint}`)}`;

const OURS = /^KUBE-(?:SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}$/;
export const isFrontendChain = (name: string): boolean => OURS.test(name);
