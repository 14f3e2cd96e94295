/** Where a container runtime answers. */
import { HeddleError } from '../lib/errors.ts';

export const DEFAULT_ENDPOINT = 'unix:///run/containerd/containerd.sock';

/** @throws HeddleError `BadFlag` */
export function socketOf(endpoint: string): string {
  const path = endpoint.startsWith('unix://') ? endpoint.slice('unix://'.length) : endpoint;
  if (path.startsWith('/') && !path.includes('\0')) return path;
  throw new HeddleError('BadFlag', `--cri-endpoint "${endpoint}": expected unix:///path of a socket`);
}
