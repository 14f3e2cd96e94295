/** One pod's life on this node. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hostPortsOf } from '../api/host-ports.ts';
import { podBandwidth } from '../api/pod-bandwidth.ts';
import type { Pod } from '../api/types.ts';
import type { DnsSettings } from '../dns/resolv-conf.ts';
import { createBackoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { type Runtime, runtimeOf } from '../api/runtime.ts';
import { unlessAborted } from '../lib/signals.ts';
import type { CriNode } from './cri/node.ts';
import { writePodFiles } from './files.ts';
import { check } from './health/check.ts';
import { createHealth, type Health } from './health/watcher.ts';
import type { LocalPod, PodHostOptions } from './pod-host.ts';
import { portsOf } from './ports.ts';
import type { PodRecord, Records } from './records.ts';
import { refusal } from './refusal.ts';
import { saidOnce } from './said-once.ts';
import { netnsIdentity, type Sandbox } from './sandbox.ts';
import type { StandInClient } from './stand-in/client.ts';
import { behaviourOf, behaviourProblems } from './stand-in/behaviour.ts';
import { standInOf } from './stand-in/pod.ts';
import type { StandInPod } from './stand-in/types.ts';
import { attachProcesses, type PodProcesses, type ProcessOptions } from './process/attach.ts';
import { type PodStatus, podStatus } from './status.ts';
import { ignoreGone, type StatusWriter } from './status-writer.ts';
import { podUserId } from './user-id.ts';

export interface WorkerDeps {
  nodeName: string;
  /** Pods that ask for no runtime are stand-ins. */
  standInByDefault: boolean;
  /** Pods may have files of the machine. */
  allowHost: boolean;
  /** What pods run as that ask for no runtime; before standInByDefault. */
  runtimeByDefault: Runtime | undefined;
  hostAddresses: readonly string[];
  paths: PodHostOptions['paths'];
  dns: DnsSettings;
  processes: ProcessOptions;
  /** The container runtime: opened when it is asked for. */
  cri(): CriNode;
  callbacks: PodHostOptions['callbacks'];
  connectTcp: PodHostOptions['connectTcp'];
  drainMs: number;
  clock: Clock;
  log: Log;
  records: Records;
  sandbox: Sandbox;
  standIn: StandInClient;
  statuses: StatusWriter;
  slots<T>(work: () => Promise<T>): Promise<T>;
  counts: { setUps: number; tearDowns: number; adopted: number };
  /** The node's local pods are others than before. */
  changed(): void;
  gone(uid: string): void;
}

export interface PodWorker {
  readonly uid: string;
  /** `namespace/name`, once known. */
  readonly label: string;
  readonly record: PodRecord | undefined;
  readonly pod: Pod | undefined;
  readonly error: string | undefined;
  /** Takes over what an earlier agent made. */
  adopt(record: PodRecord): Promise<void>;
  /** A step that failed is tried again at once. */
  retry(): void;
  /** The pod as the API server has it; undefined: it has it no longer. */
  want(pod: Pod | undefined): void;
  local(): LocalPod | undefined;
  /** The namespace that it is in, its node's maybe; undefined before it has its network and after. */
  netns(): string | undefined;
  /** What the stand-in server is to serve for it, if anything. */
  standIn(): StandInPod | undefined;
  /** Whether there is one: `standIn` puts it together each time. */
  isStandIn(): boolean;
  ready(): boolean;
  logFile(): string;
  /** Undefined for stand-ins, and before there is anything of it. */
  processes(): PodProcesses | undefined;
  /** Aborted when its network and its log are about to go: whoever uses them lets go. */
  readonly ended: AbortSignal;
  /** Resolves when no step is under way. */
  settled(): Promise<void>;
}

type Stage = 'new' | 'attached' | 'running' | 'draining' | 'gone';

export function createPodWorker(deps: WorkerDeps, uid: string, signal: AbortSignal): PodWorker {
  const { clock, callbacks, records } = deps;
  let log = deps.log.with({ uid });
  let stage: Stage = 'new';
  let pod: Pod | undefined;
  let wanted = true;
  let record: PodRecord | undefined;
  let barrier = false;
  let serving = false;
  let error: string | undefined;
  let refused: ReturnType<typeof refusal>;
  let written: PodStatus | undefined;
  let health: Health | undefined;
  /** Aborted when the pod is to go: ends its probes and everything it waits for. */
  const life = new AbortController();
  const waits = AbortSignal.any([life.signal, signal]);
  const ended = new AbortController();
  let working: Promise<void> | undefined;
  let dirty = false;
  let servedPorts = '';
  /** Problems of its annotations that an event told. */
  let told = '';
  /** Ran before this agent did: its probes go on from where the API server says they were. */
  let adopted = false;
  /** Nothing of it is left on this node. */
  let removed = false;
  let processes: PodProcesses | undefined;
  /** What its containers run in has died alone. */
  let sandboxLost = false;
  /** Ends the wait after a step that failed. */
  let resting: AbortController | undefined;

  const label = () => (record ? `${record.namespace}/${record.name}` : uid);
  const iso = () => `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
  const logFile = () => join(deps.paths.podLogs, `${record?.namespace}_${record?.name}.log`);
  const mustGo = () => !wanted || pod?.metadata.deletionTimestamp !== undefined;

  const defaults = { standIn: deps.standInByDefault, runtime: deps.runtimeByDefault };
  const runtimeFor = (one: Pod) => runtimeOf(one, defaults);

  /** Of a pod that runs programs, from the time that it has a record. */
  function programs(): PodProcesses | undefined {
    if (record?.runtime === undefined) return undefined;
    const { dns, ...shared } = deps;
    processes ??= attachProcesses({
      ...shared,
      clusterDomain: dns.clusterDomain,
      options: deps.processes,
      record: () => record!,
      pod: () => pod,
      folder: records.folder(uid),
      podLogs: deps.paths.podLogs,
      changed: touchStatus,
      sandboxLost() {
        if (sandboxLost || stage !== 'running') return;
        sandboxLost = true;
        kick();
      },
    });
    return processes;
  }

  const unfinished = () => dirty && !signal.aborted && stage !== 'gone';

  function kick(): void {
    dirty = true;
    working ??= work().finally(() => {
      working = undefined;
      if (unfinished()) kick();
    });
  }

  /** Steps until nothing is left to do; a step that fails is tried again, later and later. */
  async function work(): Promise<void> {
    const backoff = createBackoff(100, 10_000);
    while (unfinished()) {
      dirty = false;
      try {
        await step();
        error = undefined;
        backoff.reset();
      } catch (cause) {
        if (signal.aborted) return;
        dirty = true;
        // What it waited for is no longer wanted: go on with the take-down at once.
        if (cause === life.signal.reason) continue;
        error = errorText(cause);
        log.warn('a step of a pod failed; trying again', { pod: label(), stage, error });
        if (!mustGo()) tellTrouble(stage === 'new' ? 'FailedCreatePodSandBox' : 'FailedSync', error);
        touchStatus();
        resting = new AbortController();
        await clock.sleep(backoff.next(), AbortSignal.any([signal, resting.signal])).catch(() => {});
      }
    }
  }

  const tellTrouble = saidOnce((reason, message) => {
    if (pod) deps.processes.event?.(pod, 'Warning', reason, message);
  }, clock);

  async function step(): Promise<void> {
    if (mustGo()) return takeDown();
    if (!pod) return;
    refused = refusal(pod, { ...defaults, allowHost: deps.allowHost });
    if (refused) tellTrouble('FailedCreatePodSandBox', `${refused.reason}: ${refused.message}`);
    if (refused) return touchStatus();
    tellProblems(pod);
    if (sandboxLost) await leaveSandbox(pod);
    if (stage === 'new') await deps.slots(() => setUp(pod!));
    if (stage === 'attached') await start(pod);
    else if (stage === 'running') await refresh(pod);
    touchStatus();
  }

  const problemsOf = (current: Pod) =>
    behaviourProblems(current, runtimeFor(current)).join('; ').slice(0, 1000);

  /** Once for each text; the condition says it all the time. */
  function tellProblems(current: Pod): void {
    const problems = problemsOf(current);
    if (problems !== told && problems !== '')
      deps.processes.event?.(current, 'Warning', 'InvalidAnnotation', problems);
    told = problems;
  }

  async function setUp(current: Pod): Promise<void> {
    life.signal.throwIfAborted();
    const bandwidth = podBandwidth(current);
    const runtime = runtimeFor(current);
    const onNode = current.spec?.hostNetwork === true;
    // Where it has the node's ports, none has to lead to it.
    const hostPorts = onNode ? [] : hostPortsOf(current);
    record ??= {
      uid,
      namespace: current.metadata.namespace ?? 'default',
      name: current.metadata.name,
      netns: onNode ? deps.paths.netns(deps.nodeName) : deps.paths.netns(`pod-${uid}`),
      ...(onNode && { nodeNetwork: '' }),
      startTime: iso(),
      ...(runtime === undefined || runtime === 'stand-in' ? {} : { runtime }),
      ...(bandwidth && { bandwidth }),
      ...(hostPorts.length > 0 && { hostPorts }),
    };
    if (onNode) record = { ...record, nodeNetwork: netnsIdentity(record.netns) ?? '' };
    await records.save(record);
    const ends = await deps.sandbox.setUp(record, current);
    const { addresses } = ends;
    record = { ...record, ...ends };
    await Promise.all([
      records.save(record),
      writePodFiles(records.folder(uid), current, addresses, deps.dns, podUserId(uid)),
    ]);
    deps.counts.setUps++;
    stage = 'attached';
    deps.changed();
    touchStatus();
  }

  /** As a kubelet does it: what is left ends, and the pod begins again in another sandbox. */
  async function leaveSandbox(current: Pod): Promise<void> {
    const graceMs = (current.spec?.terminationGracePeriodSeconds ?? 30) * 1000;
    if (stage === 'running' && record && (await programs()!.leaveSandbox(graceMs))) {
      deps.processes.event?.(
        current,
        'Normal',
        'SandboxChanged',
        'Pod sandbox changed, it will be killed and re-created.',
      );
      const left = record;
      await deps.slots(() => deps.sandbox.tearDown(left));
      record = { ...left, addresses: undefined, runningSince: undefined };
      await records.save(record);
      stage = 'new';
      adopted = false;
      barrier = false;
      deps.changed();
    }
    sandboxLost = false;
  }

  /** The data path first: a pod that serves before its policy is in the kernel could be reached by anybody. */
  async function start(current: Pod): Promise<void> {
    waits.throwIfAborted();
    // Those of a sandbox that was lost have told their status until now.
    if (processes?.isStarted) processes = undefined;
    // Policies are not for who is on the node's network.
    if (callbacks.barrier && record?.nodeNetwork === undefined)
      await unlessAborted(callbacks.barrier(current, waits), waits);
    barrier = true;
    if (!programs()) {
      const { notes } = ports();
      if (notes.length > 0) log.info('a stand-in takes some things as given', { pod: label(), notes });
      serving = true;
      await serve();
    }
    if (record && !record.runningSince) record = { ...record, runningSince: iso() };
    if (record) await records.save(record);
    stage = 'running';
    if (programs()) await programs()!.start(adopted, signal);
    else watchHealth(current);
  }

  function watchHealth(current: Pod): void {
    health = createHealth({
      pod: current,
      address: record?.addresses?.[0] ?? '',
      adopted,
      check: (probe, target) => check(probe, target, deps),
      onChange: touchStatus,
      onFailure: (container, kind, problem) =>
        log.warn('a probe failed', { pod: label(), container, kind, problem }),
      clock,
    });
    void health.run(waits).catch((cause: unknown) => {
      log.error('the probes of a pod ended', { pod: label(), error: errorText(cause) });
    });
  }

  async function refresh(current: Pod): Promise<void> {
    if (programs()) {
      await programs()!.start(adopted, signal);
      return programs()!.update();
    }
    if (!health) watchHealth(current);
    if (portsKey() === servedPorts) return;
    await serve();
    if (record) await records.save(record);
  }

  async function serve(): Promise<void> {
    servedPorts = portsKey();
    if (record) record = { ...record, served: servedBy() };
    await deps.standIn.sync(waits);
  }

  /** In reverse: endpoints drain, the stand-in closes, the link goes, the namespace, the object. */
  async function takeDown(): Promise<void> {
    life.abort(new Error('the pod is to go'));
    if (record && stage === 'running') {
      stage = 'draining';
      touchStatus();
      void deps.standIn.sync().catch(() => {});
      await drain();
      // It was to go before this agent came: it has its time all the same.
      if (adopted && wanted) await programs()?.start(adopted, signal);
      await programs()?.stop(wanted ? Math.max(0, graceMs() - deps.drainMs) : 0);
      touchStatus();
    }
    if (serving) {
      serving = false;
      // A server that is down serves nothing either.
      await Promise.race([deps.standIn.sync(), clock.sleep(2000)]);
    }
    if (record && !removed) await remove(record);
    deps.statuses.forget(uid);
    if (pod && wanted) await callbacks.deletePod(pod).catch(ignoreGone);
    stage = 'gone';
    deps.gone(uid);
  }

  async function remove(current: PodRecord): Promise<void> {
    ended.abort(new Error('the pod was removed'));
    await programs()?.dispose();
    await deps.slots(() => deps.sandbox.tearDown(current));
    deps.counts.tearDowns++;
    stage = 'draining';
    record = { ...current, addresses: undefined };
    deps.changed();
    await Promise.all([logFile(), `${logFile()}.1`].map((path) => rm(path, { force: true })));
    await records.remove(uid);
    removed = true;
  }

  const graceMs = () => (pod?.metadata.deletionGracePeriodSeconds ?? 30) * 1000;

  async function drain(): Promise<void> {
    const end = clock.monotonic() + Math.min(deps.drainMs, graceMs());
    // An object that is removed meanwhile ends the wait.
    const waiting = () => wanted && clock.monotonic() < end && !signal.aborted;
    while (waiting())
      await clock.sleep(Math.min(50, Math.max(1, end - clock.monotonic())), signal).catch(() => {});
    signal.throwIfAborted();
  }

  function touchStatus(): void {
    if (!pod || stage === 'gone') return;
    deps.statuses.touch(uid, () => {
      if (!pod || !wanted || stage === 'gone') return undefined;
      // What the API server has is better than a guess.
      if (adopted && record?.runtime && !processes?.status()) return undefined;
      written = podStatus(pod, facts());
      return { pod, status: written };
    });
  }

  const facts = (): Parameters<typeof podStatus>[1] => ({
    hostAddresses: deps.hostAddresses,
    addresses: record?.addresses ?? [],
    startTime: record?.startTime ?? iso(),
    runningSince: stage === 'running' || stage === 'draining' ? record?.runningSince : undefined,
    barrier,
    containers: health?.containers() ?? new Map(),
    terminating: mustGo(),
    runtime: processes?.status(),
    unheeded: pod ? problemsOf(pod) : '',
    trouble:
      refused ?? (error === undefined ? undefined : { reason: 'FailedCreatePodSandBox', message: error }),
    written,
    now: iso(),
  });

  const ports = () => portsOf(pod!, callbacks.extraPorts?.(pod!) ?? []);
  const portsKey = (): string => (pod ? JSON.stringify([ports(), behaviourOf(pod).behaviour]) : servedPorts);

  function servedBy(): StandInPod | undefined {
    if (!serving || !record || record.runtime) return undefined;
    // After a restart the API server's word may come later than another pod's: what was served goes on.
    if (!pod) return record.served && { ...record.served, draining: stage === 'draining' };
    return standInOf(pod, record, {
      node: deps.nodeName,
      dns: deps.dns,
      ports: ports(),
      log: logFile(),
      draining: stage === 'draining',
    });
  }

  return {
    uid,
    get label() {
      return label();
    },
    get record() {
      return record;
    },
    get pod() {
      return pod;
    },
    get error() {
      return error;
    },
    async adopt(found) {
      record = found;
      log = deps.log.with({ pod: label() });
      if (await deps.slots(() => deps.sandbox.intact(found))) {
        stage = found.runningSince ? 'running' : 'attached';
        barrier = found.runningSince !== undefined;
        serving = barrier && found.runtime === undefined;
        adopted = found.runningSince !== undefined;
        deps.counts.adopted++;
        return;
      }
      // Half made, or lost with a reboot: what is left is removed, and the pod made anew when it is wanted.
      await programs()?.dispose();
      processes = undefined;
      await deps
        .slots(() => deps.sandbox.tearDown(found))
        .catch((cause: unknown) => {
          log.warn('cannot remove what is left of a pod yet', { error: errorText(cause) });
        });
      record = { ...found, addresses: undefined, runningSince: undefined };
    },
    want(now) {
      if (now) pod = now;
      wanted = now !== undefined;
      // Nobody waits for it any more: its time is over.
      if (!wanted) void processes?.stop(0);
      if (mustGo() && stage !== 'draining') life.abort(new Error('the pod is to go'));
      kick();
    },
    retry: () => resting?.abort(),
    local() {
      if (!record?.addresses || !record.hostInterface) return undefined;
      const { namespace, name, netns, addresses, hostInterface, mac, bandwidth } = record;
      return { uid, namespace, name, interface: hostInterface, addresses, netns, mac, bandwidth };
    },
    netns: () => record?.addresses && record.netns,
    standIn: servedBy,
    isStandIn: () => serving && record !== undefined && !record.runtime && Boolean(pod ?? record.served),
    ready: () =>
      stage === 'running' &&
      !mustGo() &&
      (record?.runtime
        ? (processes?.status()?.containers ?? [{ ready: false }])
        : [...(health?.containers().values() ?? [])]
      ).every((one) => one.ready),
    logFile,
    processes: programs,
    ended: ended.signal,
    settled: () => working ?? Promise.resolve(),
  };
}
