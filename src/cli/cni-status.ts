/** `heddle cni status`: what a standalone agent says of itself. */
import { portText } from '../cni/host-ports.ts';
import type { AttachmentStatus, StandaloneStatus } from '../cni/standalone/status.ts';
import { HeddleError } from '../lib/errors.ts';
import { callSocket } from '../lib/unix-http.ts';
import { plainTable } from './plain-table.ts';

/** @throws HeddleError `CniAgentAway`, `SocketCall` */
export async function agentStatus(socketPath: string): Promise<StandaloneStatus> {
  try {
    return await callSocket<StandaloneStatus>({ socketPath, path: '/status' });
  } catch (error) {
    if (!(error instanceof HeddleError) || error.cause === undefined) throw error;
    throw new HeddleError('CniAgentAway', `no standalone agent answers on ${socketPath}`, {
      hint: 'start it with "heddle agent --standalone CONFIG"; --socket names another socket. Containers go on meanwhile',
      cause: error,
    });
  }
}

export function statusText(status: StandaloneStatus): string {
  const { name, socket, pid, uptimeSeconds, ranges, networks, attachments, answers, limits, repairs } =
    status;
  const lines = [
    `agent of the network ${name}: process ${pid} on ${socket}, up ${durationText(uptimeSeconds)}`,
    ...ranges.map(
      ({ cidr, taken, size, cooling }) => `range ${cidr}: ${taken} of ${size} taken, ${cooling} resting`,
    ),
    `networks: ${networks.map((each) => `${each.name} ${each.attachments}`).join(', ') || 'none in use'}`,
    `answers: ${answers.map(({ command, code, count }) => `${command}${code === 0 ? '' : ` with code ${code}`} ${count}`).join(', ') || 'none yet'}`,
    ...limits.map((limit) => `warning: ${limit}`),
    ...repairs.map((what) => `put right at its start: ${what}`),
  ];
  const table =
    attachments.length === 0
      ? []
      : [
          '',
          ...plainTable([
            [
              'CONTAINER',
              'INTERFACE',
              'NETWORK',
              'KIND',
              'LINK',
              'ADDRESSES',
              'HOST PORTS',
              'LIMITS',
              'FUNCTIONS',
            ],
            ...attachments.map(row),
          ]),
        ];
  return `${[...lines, ...table].join('\n')}\n`;
}

/** Container ids are 64 digits: the first ones say enough, as runtimes' own listings do. */
const row = (each: AttachmentStatus): string[] => [
  /^[0-9a-f]{64}$/.test(each.containerId) ? each.containerId.slice(0, 12) : each.containerId,
  each.ifName,
  each.network || '-',
  each.making ? `${each.kind} (being made)` : each.kind,
  each.link ?? '-',
  each.addresses.join(',') || '-',
  each.hostPorts.map((port) => `${portText(port)}->${port.containerPort}`).join(',') || '-',
  limitsText(each),
  each.functions.join(',') || '-',
];

function limitsText({ limits }: AttachmentStatus): string {
  const parts = [
    ['in', limits?.ingressRate],
    ['out', limits?.egressRate],
  ] as const;
  return (
    parts.flatMap(([way, rate]) => (rate === undefined ? [] : [`${way} ${rateText(rate)}`])).join(', ') || '-'
  );
}

function rateText(bits: number): string {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bits, 1)) / 3));
  return `${Number((bits / 1000 ** step).toPrecision(4))} ${units[step]}`;
}

export function durationText(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([value]) => value > 0);
  return first < 0
    ? '0s'
    : parts
        .slice(first, first + 2)
        .map(([value, unit]) => `${value}${unit}`)
        .join('');
}
