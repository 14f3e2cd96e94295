/** Everything that can be known to be wrong before a cluster is started. Makes nothing. */
import { checkPortFree } from '../cluster/ports.ts';
import { missingFeatures, probe } from '../kernel/features.ts';
import { HeddleError } from '../lib/errors.ts';
import type { UpRequest } from './up-request.ts';

/** @throws HeddleError `KernelFeature`, `PortInUse` */
export function checkMachine({ config, publish }: UpRequest): void {
  const missing = missingFeatures(probe());
  if (missing.length > 0) {
    const lines = missing.map(
      ([name, { purpose, why, hint }]) => `${name} (for ${purpose}): ${why}; ${hint}`,
    );
    throw new HeddleError('KernelFeature', `this machine lacks ${missing.map(([name]) => name).join(', ')}`, {
      hint: lines.join('\n        '),
    });
  }
  checkPortFree(config.apiServer.publishedPort, '--api-port');
  for (const { hostPort } of publish) checkPortFree(hostPort, '--publish SERVICE:PORT:HOSTPORT');
}
