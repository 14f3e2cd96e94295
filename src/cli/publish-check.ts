/** Published ports that lead nowhere: told once the manifests are applied. */
import { SERVICE } from '../api/kinds.ts';
import { isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import type { PublishedPort } from '../cluster/publish.ts';

/** A warning for each whose service is not there or lacks the port. */
export async function publishWarnings(client: Client, publish: readonly PublishedPort[]): Promise<string[]> {
  const warnings: string[] = [];
  for (const { namespace, service, port } of publish) {
    const name = `${namespace}/${service}`;
    try {
      const { spec } = await client.get(SERVICE, service, namespace);
      const ports = spec?.ports?.map((each) => each.port) ?? [];
      if (!ports.includes(port))
        warnings.push(
          `--publish: the service ${name} has no port ${port}; it has ${ports.join(', ') || 'none'}`,
        );
    } catch (error) {
      if (!isNotFound(error)) throw error;
      warnings.push(`--publish: there is no service ${name} yet; connections fail until there is`);
    }
  }
  return warnings;
}
