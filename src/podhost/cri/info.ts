/** What a runtime tells of a container beside the CRI (`verbose`), as containerd and CRI-O have it. */
export interface ContainerInfo {
  /** Of its first process; 0 where it is not told. */
  pid: number;
  /** Of the runtime-spec that it was started with. */
  process?: SpecProcess;
}

export interface SpecProcess {
  cwd?: string;
  noNewPrivileges?: boolean;
  user?: { uid?: number; gid?: number; additionalGids?: number[] };
  capabilities?: { bounding?: string[] };
}

export function parseInfo(info: Readonly<Record<string, string>>): ContainerInfo {
  try {
    const told = JSON.parse(info['info'] ?? '{}') as {
      pid?: unknown;
      runtimeSpec?: { process?: SpecProcess };
    } | null;
    const pid = Number.isSafeInteger(told?.pid) ? Number(told?.pid) : 0;
    const process = told?.runtimeSpec?.process;
    return process ? { pid, process } : { pid };
  } catch {
    return { pid: 0 };
  }
}
