/** What the reference's plugins made before a list moved here, or left. */
import { isObject } from '../lib/json.ts';
import type { Log } from '../lib/log.ts';
import { attachmentOf } from './attachment.ts';
import { hostLocalOf } from './leases/host-local-config.ts';
import { releaseHostLocal, sweepHostLocal } from './leases/host-local.ts';
import { mainKindOf } from './main/config.ts';
import type { CniRequest } from './types.ts';
import { removeInside } from './undo.ts';

/** What the reference made before its list moved here: the container's link, and its files of host-local. */
export async function undoForeign(request: CniRequest): Promise<void> {
  const { config, ifName } = request;
  if (mainKindOf(config) === undefined) return;
  if (isObject(config['ipam']) && config['ipam']['type'] === 'host-local')
    await releaseHostLocal(hostLocalOf(request).folder, request);
  removeInside(request.netns, ifName);
}

/** Files that the reference left of attachments which nobody knows. */
export async function sweepLeases(request: CniRequest, valid: ReadonlySet<string>, log: Log): Promise<void> {
  const { config } = request;
  if (mainKindOf(config) === undefined || !isObject(config['ipam'])) return;
  if (config['ipam']['type'] !== 'host-local') return;
  const { folder } = hostLocalOf(request);
  const freed = await sweepHostLocal(folder, [...valid].map(attachmentOf));
  if (freed.length > 0) log.info('addresses of nobody are free again', { addresses: freed.join(', ') });
}
