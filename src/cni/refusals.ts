/** What a request may not ask for, whatever it says beside. */
import { statSync } from 'node:fs';
import { CniCode, CniError } from './error.ts';
import { MAIN_KINDS, mainKindOf } from './main/config.ts';
import { META_KINDS, metaKindOf } from './meta/config.ts';
import type { CniRequest } from './types.ts';

/** @throws CniError for types that are not Heddle's, or not this agent's */
export function refuseKinds(
  { config }: CniRequest,
  { mains, metas }: { mains?: unknown; metas?: unknown },
): void {
  const { type = 'heddle-cni' } = config;
  const known = mainKindOf(config) ?? metaKindOf(config);
  const functions = metaKindOf(config) ?? config['firewall'] ?? config['tuning'];
  if (known === undefined && type !== 'heddle-cni' && type.startsWith('heddle-'))
    throw new CniError(
      CniCode.invalidConfig,
      `type "${type}" is unknown: expected heddle-cni, or one of ${[...MAIN_KINDS, ...META_KINDS].map((kind) => `heddle-${kind}`).join(', ')}`,
    );
  const missing = (mainKindOf(config) !== undefined && !mains) || (functions !== undefined && !metas);
  if (missing)
    throw new CniError(
      CniCode.unsupportedField,
      `type "${type}" with what it asks for is not supported by the agent of a cluster's node: it connects pods in its own way`,
    );
}

/** A runtime that names the node's own namespace would have us rename the node's links. */
export function refuseOwnNamespace(path: string): void {
  const inode = (file: string) => {
    try {
      return statSync(file).ino;
    } catch {
      return undefined;
    }
  };
  const asked = inode(path);
  if (asked !== undefined && asked === inode('/proc/self/ns/net'))
    throw new CniError(CniCode.invalidEnvironment, `CNI_NETNS ${path} is the node's own network namespace`);
}
