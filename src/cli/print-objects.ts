/** Objects as JSON or YAML, as `kubectl get -o` writes them. */
import type { KubeObject } from '../api/types.ts';

/** One object alone (unless a `list` is wanted), several as a List. managedFields are left out: they are for machines. */
export async function writeObjects(
  objects: readonly KubeObject[],
  format: 'json' | 'yaml',
  out: NodeJS.WritableStream,
  options: { list?: boolean } = {},
): Promise<void> {
  const shown = objects.map(withoutManagedFields);
  const [first] = shown;
  const value =
    shown.length === 1 && first && !options.list
      ? first
      : { apiVersion: 'v1', items: shown, kind: 'List', metadata: { resourceVersion: '' } };
  if (format === 'json') out.write(`${JSON.stringify(value, null, 4)}\n`);
  else {
    // Loaded only here: it is the slowest part of the CLI's start.
    const { stringify } = await import('yaml');
    // Version 1.1 quotes what other readers would take for no text (yes, 0644, 22:22).
    out.write(
      stringify(value, {
        indentSeq: false,
        lineWidth: 0,
        version: '1.1',
        aliasDuplicateObjects: false,
        sortMapEntries: true,
      }),
    );
  }
}

function withoutManagedFields(object: KubeObject): KubeObject {
  if (!object.metadata?.managedFields) return object;
  const { managedFields: _dropped, ...metadata } = object.metadata;
  return { ...object, metadata };
}
