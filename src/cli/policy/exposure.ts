/** `heddle policy connectivity --exposure`: what holds for pods that are not known, and what is open to the outside. */
import { HeddleError } from '../../lib/errors.ts';
import { partyText } from '../../policy/analyse/connectivity.ts';
import { type Workload, workloadText } from '../../policy/analyse/estate.ts';
import type { Exposure } from '../../policy/analyse/exposure.ts';
import { allowedOf, portSetText } from '../../policy/analyse/port-set.ts';
import type { OpenerRef } from '../../policy/openings/opened.ts';
import { type Opening, type Openings, openerText } from '../../policy/openings/openings.ts';
import type { CliDeps } from '../deps.ts';
import { printValue, writeAll } from './common.ts';
import type { LoadedEstate } from './read-estate.ts';
import { tableIn } from './render-graph.ts';

type PlaceOf = LoadedEstate['placeOf'];

interface Exposed {
  readonly pods: readonly Exposure[];
  readonly openings: Openings;
  placeOf: PlaceOf;
}

const refOf = ({ namespace, name, kind }: Workload) => ({ namespace, name, kind });

function byOutput(by: OpenerRef, placeOf: PlaceOf) {
  const place = placeOf(by, by.path);
  const { kind, namespace, name, path } = by;
  return { kind, namespace, name, path, file: place?.file ?? null, line: place?.line ?? null };
}

export const exposureOutput = ({ pods, openings, placeOf }: Exposed) => ({
  workloads: pods.map(({ workload, direction, isolated, anyPod, awaited }) => ({
    workload: refOf(workload),
    direction,
    isolated,
    anyPod: allowedOf(anyPod),
    awaited: awaited.map(({ who, set }) => ({ who, allowed: allowedOf(set) })),
  })),
  openings: openings.openings.map(
    ({ workload, protocol, port, by, entry, service, from, verdict, ranges, why }) => ({
      workload: refOf(workload),
      protocol,
      port,
      by: byOutput(by, placeOf),
      entry,
      service,
      from,
      verdict,
      ranges: ranges ?? null,
      why: why ?? null,
    }),
  ),
  unopened: openings.unopened.map(({ by, message }) => ({ by: byOutput(by, placeOf), message })),
});

export async function printExposure(
  exposed: Exposed,
  format: 'text' | 'json' | 'yaml' | 'csv' | 'md' | 'dot' | 'svg',
  deps: CliDeps,
): Promise<void> {
  if (format === 'dot' || format === 'svg')
    throw new HeddleError(
      'BadFlag',
      `-o "${format}": exposure is not drawn; expected text, json, yaml, csv or md`,
    );
  if (format === 'json' || format === 'yaml') return printValue(exposureOutput(exposed), format, deps);
  const rows = exposed.pods.flatMap(({ workload, direction, isolated, anyPod, awaited }) => {
    const head = [workloadText(workload), direction, isolated ? 'yes' : 'no'];
    return [
      [...head, 'any pod', portSetText(anyPod)],
      ...awaited.map(({ who, set }) => [...head, who, portSetText(set)]),
    ];
  });
  const tables = [tableIn(format, ['WORKLOAD', 'DIRECTION', 'ISOLATED', 'UNKNOWN POD', 'ALLOWED'], rows)];
  const { openings, unopened } = exposed.openings;
  const whereIs = (by: OpenerRef): string => {
    const place = exposed.placeOf(by, by.path);
    return place ? `${openerText(by)} (${place.file}:${place.line})` : openerText(by);
  };
  if (openings.length > 0) {
    const head = ['WORKLOAD', 'PORT', 'FROM OUTSIDE', 'BY', 'SENT BY', 'ENTRY', 'WHY'];
    const told = openings.map((each) => [
      workloadText(each.workload),
      `${each.port}/${each.protocol}`,
      each.verdict,
      whereIs(each.by),
      each.from,
      each.entry,
      whyText(each),
    ]);
    tables.push(tableIn(format, head, told));
  }
  if (unopened.length > 0)
    tables.push(
      tableIn(
        format,
        ['OPENS NOTHING', 'WHY'],
        unopened.map(({ by, message }) => [whereIs(by), message]),
      ),
    );
  return writeAll([tables.join('\n')], deps.stdout);
}

function whyText({ ranges, why }: Opening): string {
  const only = ranges ? `only from ${ranges.map(partyText).join(', ')}` : '';
  return [only, why ?? ''].filter(Boolean).join('; else ');
}
