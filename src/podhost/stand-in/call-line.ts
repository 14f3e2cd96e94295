/** A call in a pod's log. */
import type { CallReport } from './types.ts';

export function callLine({ url, status, grpcStatus, ms, remote, attempts = [], error }: CallReport): string {
  const code = status ?? (grpcStatus === undefined ? undefined : `grpc-status ${grpcStatus}`);
  const tried = attempts.length > 1 ? ` (tried ${attempts.join(', ')})` : '';
  return `calls ${url} ${error ?? code} ${ms}ms${remote ? ` at ${remote.address}` : ''}${tried}`;
}
