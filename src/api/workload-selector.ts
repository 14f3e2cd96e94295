/** Selectors of security.istio.io: labels alone, without expressions. */
import { formatted, invalid, type Problems } from './field-error.ts';
import { qualifiedName } from './formats.ts';
import type { WorkloadSelector } from './istio-types.ts';

export function* validateWorkloadSelector(selector: WorkloadSelector | undefined, path: string): Problems {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    const at = `${path}.matchLabels[${key}]`;
    yield* formatted(at, key, qualifiedName);
    if (value.includes('*')) yield invalid(at, value, 'labels are matched as they are, * is none');
  }
}
