/** `heddle datapath move`: nodes go over to another backend, one after another, while packets flow. */
import type { TranslatedFlow } from '../datapath/backend.ts';
import { createNames, endText, type Names } from '../datapath/dump/source.ts';
import { type NodeViewJson, viewFromJson } from '../datapath/dump/wire.ts';
import { HeddleError } from '../lib/errors.ts';
import { protocolName } from '../lib/protocols.ts';
import type { Agents } from './datapath-nodes.ts';

export interface CutRow {
  readonly node: string;
  readonly protocol: string;
  readonly client: string;
  readonly clientName: string | null;
  readonly address: string;
  readonly service: string | null;
  readonly backend: string;
  readonly backendName: string | null;
}

export interface MoveRow {
  readonly node: string;
  readonly from: string;
  readonly to: string;
  readonly moved: boolean;
}

export interface MoveOutput {
  readonly nodes: readonly MoveRow[];
  /** Connections that their backend translates, and the other one does not go on with: they end. */
  readonly cut: readonly CutRow[];
}

export interface MoveRequest {
  readonly to: string;
  readonly dryRun: boolean;
  /** Also where connections end. */
  readonly anyway: boolean;
}

/** @throws HeddleError `WouldCut`, `SocketCall` */
export async function moveNodes(
  agents: Agents,
  { to, dryRun, anyway }: MoveRequest,
  onStep: (text: string) => void,
): Promise<MoveOutput> {
  const views = (await agents.ask<NodeViewJson>('/datapath/plan')).map(({ answer }) => viewFromJson(answer));
  const going = views.filter(({ backend }) => backend !== to);
  const cut: CutRow[] = [];
  for (const view of going) {
    const flows = await agents.askOne<TranslatedFlow[]>(
      view.node,
      `/datapath/will-cut?to=${encodeURIComponent(to)}`,
    );
    const names = createNames(view);
    cut.push(...flows.map((flow) => cutRow(view.node, flow, names)));
  }
  const rows = (moved: boolean) =>
    views.map(({ node, backend }) => ({ node, from: backend, to, moved: moved && backend !== to }));
  if (dryRun) return { nodes: rows(false), cut };
  if (cut.length > 0 && !anyway) throw wouldCut(to, cut);
  for (const { node } of going) {
    onStep(`moving ${node} to ${to}`);
    await agents.askOne(node, `/datapath/move?to=${encodeURIComponent(to)}`, {});
  }
  return { nodes: rows(true), cut };
}

function cutRow(node: string, flow: TranslatedFlow, names: Names): CutRow {
  const protocol = protocolName(flow.protocol);
  return {
    node,
    protocol,
    client: endText(flow.client, flow.clientPort),
    clientName: names.address(flow.client) ?? null,
    address: endText(flow.address, flow.port),
    service: names.service(flow.address, protocol, flow.port) ?? null,
    backend: endText(flow.backend, flow.backendPort),
    backendName: names.address(flow.backend) ?? null,
  };
}

const SHOWN = 5;

const wouldCut = (to: string, cut: readonly CutRow[]): HeddleError =>
  new HeddleError(
    'WouldCut',
    `moving to ${to} ends ${cut.length} connection${cut.length === 1 ? '' : 's'}: ${cut
      .slice(0, SHOWN)
      .map(cutText)
      .join('; ')}${cut.length > SHOWN ? '; …' : ''}`,
    { hint: '--dry-run -o json lists them all, --anyway moves' },
  );

export const cutText = ({ client, clientName, address, service, backendName, backend }: CutRow): string =>
  `${clientName ?? client} to ${service ?? address} (${backendName ?? backend})`;
