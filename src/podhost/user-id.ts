import { createHash } from 'node:crypto';

/** A user id of the pod's own, the same at every call, far from those of people and systems. */
export function podUserId(uid: string): number {
  return 0x4000_0000 + (createHash('sha256').update(uid).digest().readUInt32BE(0) & 0x1fff_ffff);
}
