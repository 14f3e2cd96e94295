/** What a node has for pods, what it is short of, and how it tells of that. */
import { DEFAULT_THRESHOLDS } from '../api/eviction.ts';
import { givenTo, podTakes } from '../api/pod-room.ts';
import type { EventRecorder } from '../client/events.ts';
import type { ClusterConfig, NodeConfig } from '../cluster/config.ts';
import type { NodePaths } from '../cluster/paths.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type MachineRoom, readMachineRoom } from '../lib/machine-room.ts';
import type { NodeState } from '../podhost/admission.ts';
import { type NodeRoom, nodeRoom, steady } from '../podhost/node-room.ts';
import { createNodePressure, type NodePressure, type Pressure } from '../podhost/pressure.ts';

export interface NodeRoomDeps {
  readonly config: Pick<ClusterConfig, 'eviction' | 'nodes' | 'nodeResources' | 'standIn' | 'runtime'>;
  readonly self: Pick<NodeConfig, 'name'>;
  readonly paths: Pick<NodePaths, 'state'>;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
}

export interface OpenNodeRoom {
  readonly pressure: NodePressure;
  /** Undefined until the machine could be read. */
  room(): NodeRoom | undefined;
  /** For who takes pods. */
  state(): NodeState;
}

/** As a kubelet names them: NodeHasDiskPressure, NodeHasNoDiskPressure, … */
const SHORT: Readonly<Record<Pressure, string>> = {
  MemoryPressure: 'NodeHasInsufficientMemory',
  DiskPressure: 'NodeHasDiskPressure',
  PIDPressure: 'NodeHasInsufficientPID',
};
const WELL: Readonly<Record<Pressure, string>> = {
  MemoryPressure: 'NodeHasSufficientMemory',
  DiskPressure: 'NodeHasNoDiskPressure',
  PIDPressure: 'NodeHasSufficientPID',
};

/** The machine has been looked at once when it resolves. */
export async function openNodeRoom(deps: NodeRoomDeps): Promise<OpenNodeRoom> {
  const { config, self, paths, events, clock, log } = deps;
  const thresholds = config.eviction ?? DEFAULT_THRESHOLDS;
  const given = givenTo(config, self.name);
  const takes = podTakes(config);
  // A kubelet's name for the node: kubectl describe asks for events of the one and the other.
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: self.name, uid: self.name } };
  const pressure = createNodePressure({
    read: () => readMachineRoom(paths.state),
    thresholds,
    changed({ type, status, message }) {
      if (status === 'True') events.event(node, 'Warning', SHORT[type], message);
      else events.event(node, 'Normal', WELL[type], message);
    },
    clock,
    log,
  });
  await pressure.look();
  let seen: MachineRoom | undefined;
  let told: MachineRoom | undefined;
  let known: NodeRoom | undefined;
  const room = () => {
    const machine = pressure.machine();
    if (!machine || machine === seen) return known;
    seen = machine;
    told = steady(told, machine);
    return (known = nodeRoom(told, thresholds, given));
  };
  const pressures = () =>
    pressure.conditions().flatMap(({ type, status }) => (status === 'True' ? [type] : []));
  return {
    pressure,
    room,
    state: () => ({
      allocatable: room()?.allocatable,
      pressures: pressures(),
      takes: (pod) => takes(pod, self.name),
    }),
  };
}
