/** The filter of system calls that a container asks for. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { ConfigError, CreateError } from '../process/environment.ts';
import type { Container } from '../process/types.ts';
import { parseProfile, type Profile } from './profile.ts';

export type Seccomp = 'default' | 'unconfined' | Profile;

/** Bytes. */
const MAX_PROFILE = 1 << 20;

const asked = (
  pod: Pod,
  { securityContext }: Container,
): { type: string; localhostProfile?: string } | undefined =>
  securityContext?.privileged
    ? { type: 'Unconfined' }
    : (securityContext?.seccompProfile ?? pod.spec?.securityContext?.seccompProfile);

export const isUnconfined = (pod: Pod, container: Container): boolean =>
  asked(pod, container)?.type === 'Unconfined';

export const hasOwnProfile = (pod: Pod, container: Container): boolean =>
  asked(pod, container)?.type === 'Localhost';

/**
 * `folder`: of the node's profiles.
 * @throws ConfigError where no profile is named, CreateError where there is none of that name, or none that can be read
 */
export function seccompOf(
  pod: Pod,
  container: Container,
  { folder, capabilities }: { folder: string; capabilities: readonly string[] },
): Seccomp {
  const profile = asked(pod, container);
  if (profile?.type === 'Unconfined') return 'unconfined';
  if (profile?.type !== 'Localhost') return 'default';
  const name = profile.localhostProfile ?? '';
  if (name === '') throw new ConfigError('localhostProfile must be set if seccompProfile type is Localhost.');
  const at = `cannot load seccomp profile ${JSON.stringify(join(folder, name))}`;
  try {
    const text = readBelow(folder, name);
    return parseProfile(text, { arch: process.arch, kernel: release(), capabilities });
  } catch (error) {
    throw new CreateError(`${at}: ${(error as Error).message}`, { cause: error });
  }
}

/** No link is followed: where one leads is for whoever wrote it to say, not for the pod. */
function readBelow(folder: string, name: string): string {
  const parts = name.split('/');
  if (name.startsWith('/') || name.includes('\0') || parts.includes('..'))
    throw new Error('it must be a path below the folder of profiles, without ".."');
  let at = folder;
  for (const part of parts) {
    at = join(at, part);
    if (lstatSync(at).isSymbolicLink()) throw new Error(`${at} is a symbolic link`);
  }
  const fd = openSync(at, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = fstatSync(fd);
    if (!found.isFile()) throw new Error('it is not a file');
    if (found.size > MAX_PROFILE) throw new Error(`it has more than ${MAX_PROFILE} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}
