/** What an agent tells of its data path: the plan, dumps with names, probes. For `heddle datapath`. */
import type { DatapathController } from '../controllers/node/datapath.ts';
import type { Backend, ProbePacket, TrackedFlow } from '../datapath/backend.ts';
import { trackedFlow } from '../datapath/conntrack-flows.ts';
import { DUMP_NAMES, dump } from '../datapath/dump/dump.ts';
import type { DumpFilter } from '../datapath/dump/source.ts';
import { viewToJson } from '../datapath/dump/wire.ts';
import { openConntrack } from '../kernel/conntrack.ts';
import { HeddleError } from '../lib/errors.ts';
import { json, readJson, type Routes, sendJson } from '../lib/socket-server.ts';

export interface DatapathRoutesDeps {
  readonly datapath: DatapathController;
  readonly backend: Backend;
}

export function datapathRoutes({ datapath, backend }: DatapathRoutesDeps): Routes {
  return {
    'GET /datapath/plan': json(() => viewToJson(datapath.view())),
    'GET /datapath/dump/': json((url) => dumpOf(url, datapath, backend)),
    'POST /datapath/probe': async (req, res) => {
      const packet = await readJson<ProbePacket>(req);
      // Null: this backend cannot.
      sendJson(res, 200, (await backend.probe?.(packet)) ?? null);
    },
  };
}

async function dumpOf(url: URL, datapath: DatapathController, backend: Backend): Promise<unknown> {
  const word = url.pathname.slice('/datapath/dump/'.length);
  const name = DUMP_NAMES.find((each) => each === word);
  if (!name) throw new HeddleError('BadRequest', `${url.pathname}: expected one of ${DUMP_NAMES.join(', ')}`);
  const query = (key: string): string | undefined => url.searchParams.get(key) ?? undefined;
  const filter: DumpFilter = {
    namespace: query('namespace'),
    service: query('service'),
    pod: query('pod'),
  };
  const source = {
    ...datapath.view(),
    counters: name === 'policy' ? await backend.counters() : new Map(),
    flows: name === 'conntrack' ? await flowsOf(backend) : [],
  };
  return dump(name, source, filter);
}

/** A backend without connections of its own leaves them to the kernel's tracking. */
async function flowsOf(backend: Backend): Promise<readonly TrackedFlow[]> {
  if (backend.flows) return backend.flows();
  const conntrack = openConntrack();
  try {
    return conntrack.list().map(trackedFlow);
  } finally {
    conntrack.close();
  }
}
