/** `heddle policy connectivity --exposure`: what holds for pods that are not known. */
import { HeddleError } from '../../lib/errors.ts';
import { workloadText } from '../../policy/analyse/estate.ts';
import type { Exposure } from '../../policy/analyse/exposure.ts';
import { allowedOf, portSetText } from '../../policy/analyse/port-set.ts';
import type { CliDeps } from '../deps.ts';
import { printValue, writeAll } from './common.ts';
import { tableIn } from './render-graph.ts';

export const exposureOutput = (list: readonly Exposure[]) => ({
  workloads: list.map(({ workload, direction, isolated, anyPod, awaited }) => ({
    workload: { namespace: workload.namespace, name: workload.name, kind: workload.kind },
    direction,
    isolated,
    anyPod: allowedOf(anyPod),
    awaited: awaited.map(({ who, set }) => ({ who, allowed: allowedOf(set) })),
  })),
});

export async function printExposure(
  list: readonly Exposure[],
  format: 'text' | 'json' | 'yaml' | 'csv' | 'md' | 'dot' | 'svg',
  deps: CliDeps,
): Promise<void> {
  if (format === 'dot' || format === 'svg')
    throw new HeddleError(
      'BadFlag',
      `-o "${format}": exposure is not drawn; expected text, json, yaml, csv or md`,
    );
  if (format === 'json' || format === 'yaml') return printValue(exposureOutput(list), format, deps);
  const rows = list.flatMap(({ workload, direction, isolated, anyPod, awaited }) => {
    const head = [workloadText(workload), direction, isolated ? 'yes' : 'no'];
    return [
      [...head, 'any pod', portSetText(anyPod)],
      ...awaited.map(({ who, set }) => [...head, who, portSetText(set)]),
    ];
  });
  const table = tableIn(format, ['WORKLOAD', 'DIRECTION', 'ISOLATED', 'UNKNOWN POD', 'ALLOWED'], rows);
  return writeAll([table], deps.stdout);
}
