/** The manifests of `up -f`: read and checked before anything is made, applied when the API server answers. */
import type { Client } from '../client/types.ts';
import { HeddleError } from '../lib/errors.ts';
import type { CliDeps } from './deps.ts';

export interface Manifests {
  readonly count: number;
}

export async function loadManifests(files: readonly string[], _deps: CliDeps): Promise<Manifests> {
  if (files.length > 0) throw new HeddleError('BadManifest', 'manifests are not read yet');
  return { count: 0 };
}

export async function applyManifests(_client: Client, _manifests: Manifests, _deps: CliDeps): Promise<void> {}
