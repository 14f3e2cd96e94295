/** Volumes: unique names, exactly one source, the fields a source cannot do without. */
import type { IVolume } from 'kubernetes-models/v1/Volume';
import { duplicate, forbidden, formatted, invalid, type Problems, required } from './field-error.ts';
import { dns1123Label, dns1123Subdomain } from './formats.ts';

/** `place` in `source` that must not be empty. */
const REQUIRED: Readonly<Record<string, string>> = {
  configMap: 'name',
  secret: 'secretName',
  hostPath: 'path',
  persistentVolumeClaim: 'claimName',
  nfs: 'server',
  csi: 'driver',
};

export function* validateVolumes(volumes: readonly IVolume[], path: string): Problems {
  const names = new Set<string>();
  for (const [i, volume] of volumes.entries()) {
    const at = `${path}[${i}]`;
    if (!volume.name) yield required(`${at}.name`);
    else yield* formatted(`${at}.name`, volume.name, dns1123Label);
    if (names.has(volume.name)) yield duplicate(`${at}.name`, volume.name);
    names.add(volume.name);
    yield* validateSource(volume, at);
  }
}

function* validateSource(volume: IVolume, path: string): Problems {
  const sources = Object.entries(volume).filter(
    ([key, value]) => key !== 'name' && value !== undefined && value !== null,
  );
  if (sources.length === 0) yield required(path, 'must specify a volume type');
  for (const [key] of sources.slice(1))
    yield forbidden(`${path}.${key}`, 'may not specify more than 1 volume type');
  const [first] = sources;
  if (!first) return;
  const [key, source] = first;
  const field = Object.hasOwn(REQUIRED, key) ? REQUIRED[key] : undefined;
  if (field && !(source as Record<string, unknown>)[field]) yield required(`${path}.${key}.${field}`);
  yield* validateItems(volume, path);
  if (volume.hostPath?.path?.split('/').includes('..'))
    yield invalid(`${path}.hostPath.path`, volume.hostPath.path, "must not contain '..'");
  if (volume.configMap?.name)
    yield* formatted(`${path}.configMap.name`, volume.configMap.name, dns1123Subdomain);
  if (volume.secret?.secretName)
    yield* formatted(`${path}.secret.secretName`, volume.secret.secretName, dns1123Subdomain);
}

function* validateItems(volume: IVolume, path: string): Problems {
  for (const key of ['configMap', 'secret'] as const) {
    const source = volume[key];
    const mode = source?.defaultMode;
    if (mode !== undefined && (mode < 0 || mode > 0o777))
      yield invalid(
        `${path}.${key}.defaultMode`,
        mode,
        'must be a number between 0 and 0777 (octal), both inclusive',
      );
    yield* validateKeys(source?.items, `${path}.${key}`);
  }
  yield* validatePaths(volume.downwardAPI?.items, `${path}.downwardAPI`);
  for (const [i, source] of (volume.projected?.sources ?? []).entries())
    yield* validateProjection(source, `${path}.projected.sources[${i}]`);
}

type Projection = NonNullable<NonNullable<IVolume['projected']>['sources']>[number];

function* validateProjection(source: Projection, path: string): Problems {
  for (const key of ['configMap', 'secret'] as const)
    yield* validateKeys(source[key]?.items, `${path}.${key}`);
  yield* validatePaths(source.downwardAPI?.items, `${path}.downwardAPI`);
  const { serviceAccountToken: token, clusterTrustBundle: bundle } = source;
  if (token) yield* validateLocalPath(token.path, `${path}.serviceAccountToken.path`);
  if (bundle) yield* validateLocalPath(bundle.path, `${path}.clusterTrustBundle.path`);
}

function* validateKeys(
  items: readonly { readonly key: string; readonly path: string }[] | undefined,
  path: string,
): Problems {
  for (const [i, { key }] of (items ?? []).entries()) if (!key) yield required(`${path}.items[${i}].key`);
  yield* validatePaths(items, path);
}

function* validatePaths(items: readonly { readonly path: string }[] | undefined, path: string): Problems {
  for (const [i, item] of (items ?? []).entries())
    yield* validateLocalPath(item.path, `${path}.items[${i}].path`);
}

/** Inside of the volume, and no name of those that whoever fills it keeps for itself. */
function* validateLocalPath(path: string, at: string): Problems {
  if (!path) yield required(at);
  else if (path.startsWith('/')) yield invalid(at, path, 'must be a relative path');
  else if (path.split('/').includes('..')) yield invalid(at, path, "must not contain '..'");
  else if (path.startsWith('..')) yield invalid(at, path, "must not start with '..'");
}
