/**
 * What happens to an object between its defaults and its validation, in this order. Each step may change the
 * object (a copy of the request's) or refuse the request.
 */
import type { Resource } from '../../api/resource.ts';
import type { KubeObject } from '../../api/types.ts';
import type { User } from '../authenticate.ts';
import type { Deps } from '../deps.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { podPools } from './pod-pools.ts';
import { serviceAccount } from './service-account.ts';

export interface AdmissionRequest {
  readonly operation: 'create' | 'update' | 'delete';
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly user: User;
  /** Undefined on delete. */
  readonly object: KubeObject | undefined;
  readonly before: KubeObject | undefined;
}

export type Admission = (request: AdmissionRequest, deps: Pick<Deps, 'store' | 'accountTokens'>) => void;

const CHAIN: readonly Admission[] = [namespaceLifecycle, serviceAccount, podPools];

/** @throws ApiFailure */
export function admit(request: AdmissionRequest, deps: Pick<Deps, 'store' | 'accountTokens'>): void {
  for (const step of CHAIN) step(request, deps);
}
