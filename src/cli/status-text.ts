/** `heddle status` for people. */
import Table from 'cli-table3';
import type { CliDeps } from './deps.ts';
import { auditLine } from './status-audit.ts';
import { bgpLines } from './status-bgp.ts';
import type { ProcessRow, Status } from './status-gather.ts';
import { runtimeLine } from './status-runtime.ts';
import { routingWords } from './status-routing.ts';

const MB = 1 << 20;

const stateWords: Record<Status['state'], string> = {
  running: 'running',
  busy: 'on its way up or down',
  unsupervised: 'running without its supervisor: nothing is restarted; "heddle down" removes it',
  down: 'down, its data is kept; "heddle up" continues it',
};

export function statusText(status: Status, deps: Pick<CliDeps, 'color'>): string {
  const { apiServer, nodes, pods } = status;
  const lines = [
    `cluster ${status.id} in ${status.dataDir}: ${stateWords[status.state]}`,
    `API server  ${apiServer.url} ${apiServer.version ?? `does not answer: ${apiServer.error}`}`,
  ];
  if (status.processes.length > 0) lines.push('', processTable(status.processes, deps));
  if (status.memory)
    lines.push(`${status.memory.processes} processes in all, ${Math.round(status.memory.pss / MB)} MB (PSS)`);
  if (nodes) lines.push('', `nodes  ${nodes.filter(({ ready }) => ready).length} of ${nodes.length} Ready`);
  for (const { name, ready, why } of nodes ?? [])
    if (!ready || why !== null) lines.push(`  ${name}: ${why ?? 'not Ready'}`);
  if (pods) lines.push(`pods   ${pods.ready} of ${pods.total} Ready`);
  for (const { name, why } of pods?.waiting.slice(0, 20) ?? [])
    lines.push(`  ${name}: ${why ?? 'not Ready'}`);
  for (const { from, to } of status.publish) lines.push(`published  ${from} → ${to}`);
  lines.push(runtimeLine(status.containerRuntime));
  const missing = status.features.filter(({ ok }) => !ok).map(({ name, why }) => `${name} (${why})`);
  lines.push(
    '',
    `datapath  ${status.datapath ?? 'none'}; Node.js ${status.versions.node}; Linux ${status.versions.kernel}`,
  );
  lines.push(`routing   ${routingWords(status.routing)}`);
  lines.push(`limits    ${limitWords(status.limits)}`);
  if (status.allowHost)
    lines.push('host      pods may have files of this machine, and be privileged (--allow-host)');
  const audit = auditLine(status.audit);
  if (audit !== undefined) lines.push(audit);
  lines.push(...bgpLines(status.bgp));
  if (missing.length > 0) lines.push(`missing   ${missing.join(', ')}`);
  return `${lines.join('\n')}\n`;
}

/** Where something sets them: by what; else why not. */
const limitWords = (limits: Status['limits']): string =>
  Object.entries(limits)
    .map(([name, { by, why }]) => (by === null ? `no ${name} (${why})` : `${name} (${by})`))
    .join(', ');

function processTable(rows: readonly ProcessRow[], { color }: Pick<CliDeps, 'color'>): string {
  const table = new Table({
    head: ['PROCESS', 'STATE', 'PID', 'UP', 'RESTARTS', 'PSS', 'LAST EXIT'],
    style: { head: [], border: [], compact: true },
    chars: plainBorders,
  });
  for (const row of rows)
    table.push([
      row.name,
      color && row.state !== 'running' ? `\x1b[31m${row.state}\x1b[0m` : row.state,
      row.pid ?? '',
      row.uptime === null ? '' : age(row.uptime),
      row.restarts,
      row.pss === null ? '' : `${Math.round(row.pss / MB)} MB`,
      row.lastExit ?? '',
    ]);
  return table.toString();
}

const plainBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
};

function age(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
