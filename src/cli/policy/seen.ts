/** Flows for `heddle policy generate`: a file of what agents answer on GET /flows, or the agents of the cluster. */
import { readSources } from '../../api/manifest/files.ts';
import { manifestError } from '../../api/manifest/problem.ts';
import { errorText, HeddleError } from '../../lib/errors.ts';
import { tryParseAddress } from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import type { FlowPage } from '../../observe/flow-event.ts';
import type { SeenFlow } from '../../policy/analyse/seen-flows.ts';
import type { CliDeps } from '../deps.ts';

export interface Seen {
  /** Those that passed. */
  readonly flows: readonly SeenFlow[];
  /** Records that were lost, as far as the source says. */
  readonly lost: number;
}

/** @param path of a file, `-` for stdin; true = the agents of the running cluster. @throws HeddleError `BadManifest` */
export async function readSeen(path: string | true, dataDir: string, deps: CliDeps): Promise<Seen> {
  if (path === true) {
    const { agentsOf } = await import('../datapath-nodes.ts');
    const answers = await agentsOf(dataDir, undefined, deps).ask<FlowPage>('/flows?since=0&limit=1000000');
    return join(answers.map(({ node, answer }) => seenIn(answer, node)));
  }
  const { sources, problems } = await readSources([path], {
    stdin: deps.stdin as AsyncIterable<Uint8Array | string>,
  });
  const unread = manifestError(problems);
  if (unread) throw unread;
  return join(sources.flatMap(({ file, text }) => valuesOf(file, text).map((value) => seenIn(value, file))));
}

const join = (list: readonly Seen[]): Seen => ({
  flows: list.flatMap(({ flows }) => flows),
  lost: list.reduce((sum, { lost }) => sum + lost, 0),
});

/** One value, or one a line. */
function valuesOf(file: string, text: string): unknown[] {
  if (text.trim() === '') return [];
  try {
    return [JSON.parse(text)];
  } catch {
    return text.split('\n').flatMap((line, i) => {
      if (line.trim() === '') return [];
      try {
        return [JSON.parse(line) as unknown];
      } catch (error) {
        throw new HeddleError(
          'BadManifest',
          `${file}:${i + 1}: it cannot be read as JSON: ${errorText(error)}`,
          {
            hint: 'expected what an agent answers on GET /flows, a list of its events, or one event a line',
          },
        );
      }
    });
  }
}

/** A page, a list of events (or of pages), or an event. */
function seenIn(value: unknown, where: string): Seen {
  if (Array.isArray(value)) return join(value.map((each, i) => seenIn(each, `${where}[${i}]`)));
  if (isObject(value) && 'events' in value) {
    const lost = typeof value['lost'] === 'number' ? value['lost'] : 0;
    const { flows } = seenIn(value['events'] ?? [], where);
    return { flows, lost };
  }
  const flow = flowIn(value);
  if (flow === undefined)
    throw new HeddleError(
      'BadManifest',
      `${where}: expected an event with src, dst, protocol, dport and verdict, not ${JSON.stringify(value)?.slice(0, 80)}`,
    );
  return { flows: flow === null ? [] : [flow], lost: 0 };
}

/** Null: it did not pass. Undefined: it is no event. */
function flowIn(value: unknown): SeenFlow | null | undefined {
  if (!isObject(value)) return undefined;
  const { src, dst, protocol, dport, verdict } = value;
  if (typeof src !== 'string' || typeof dst !== 'string' || typeof protocol !== 'string') return undefined;
  if (!tryParseAddress(src) || !tryParseAddress(dst) || !isPort(dport)) return undefined;
  if (verdict !== 'allow' && verdict !== 'deny') return undefined;
  return verdict === 'deny' ? null : { src, dst, protocol: protocol.toUpperCase(), port: dport };
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65535;
