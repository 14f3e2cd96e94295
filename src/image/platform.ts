/** Architectures as images name them (GOARCH). */
import { HeddleError } from '../lib/errors.ts';

export type Architecture = 'amd64' | 'arm64';

/** @throws HeddleError `ImagePlatform` */
export function machineArchitecture(arch: string = process.arch): Architecture {
  if (arch === 'x64') return 'amd64';
  if (arch === 'arm64') return 'arm64';
  throw new HeddleError('ImagePlatform', `images are not run on ${arch}: amd64 and arm64 alone`);
}

export const platformText = (
  platform: { os?: string; architecture?: string; variant?: string } | undefined,
): string =>
  platform
    ? [platform.os ?? 'unknown', platform.architecture ?? 'unknown', platform.variant]
        .filter(Boolean)
        .join('/')
    : 'no platform';
