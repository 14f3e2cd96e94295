/** Programs of the machine on a read-only view of its files: bwrap. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { v1Paths } from '../../kernel/cgroup-set.ts';
import { podFiles } from '../files.ts';
import { addedCapabilities } from '../oci/capabilities.ts';
import { profileText } from '../seccomp/profile.ts';
import { hasOwnProfile, seccompOf } from '../seccomp/wanted.ts';
import { containerArgv, workingFolder } from './argv.ts';
import { commandOf, ConfigError } from './environment.ts';
import { identityArgs, identityOf, identityProblem, outsideId } from './identity.ts';
import { joined, type Launcher, PATH } from './launcher.ts';
import { stageFolder } from './stage.ts';

export interface JailLauncherDeps {
  pod(): Pod;
  /** heddle-pause */
  program: string;
  /** The pod's own folder. */
  folder: string;
  /** Folder of the node's profiles of system calls. */
  seccomp: string;
}

const TERM = 15;

export function createJailLauncher({ pod, program, folder, seccomp }: JailLauncherDeps): Launcher {
  const profileFile = (container: string) => join(folder, `seccomp-${container}`);

  return {
    limitsItself: false,
    owners: async () => ({
      owner: 0,
      group: (id) => outsideId(pod().metadata.uid ?? '', id),
      onlyUser: () => onlyUser(pod()),
    }),
    async begin(container) {
      const mustNot = identityProblem(pod(), container);
      if (mustNot !== undefined) throw new ConfigError(mustNot);
      const identity = identityOf(pod(), container);
      return {
        base: { PATH, HOME: '/home' },
        argv(env) {
          const argv = commandOf(container, env);
          if (!argv) throw new ConfigError('no command, and there is no image that has one');
          return argv;
        },
        user: identity.user.outside,
        async command(made) {
          await mkdir(stageFolder(folder), { recursive: true, mode: 0o700 });
          const filter = seccompOf(pod(), container, {
            folder: seccomp,
            capabilities: addedCapabilities(container.securityContext),
          });
          const profile = typeof filter === 'string' ? undefined : profileFile(container.name);
          if (typeof filter !== 'string') await writeFile(profile!, profileText(filter), { mode: 0o600 });
          const argv = containerArgv({
            program,
            pod: pod(),
            container,
            identity,
            folder,
            podFiles: podFiles(folder),
            ...made,
            files: { ...made.files, ...(profile === undefined ? {} : { profile }) },
          });
          return joined(program, { score: made.score, groups: v1Paths(made.groups) }, argv);
        },
      };
    },
    enter: async (container, cgroup) => [
      cgroup,
      ...identityArgs(identityOf(pod(), container)),
      ...(hasOwnProfile(pod(), container) ? ['--seccomp', profileFile(container.name)] : []),
      '--cwd',
      workingFolder(container),
    ],
    processesOf: (cgroup) => cgroup,
    stopSignal: async () => TERM,
    // All that it may write is in memory, or a volume.
    layers: () => [],
    imageId: () => 'heddle://process',
    remove: async () => {},
  };
}

function onlyUser(pod: Pod): number | undefined {
  const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const [user, ...others] = new Set(all.map((container) => identityOf(pod, container).user.outside));
  return others.length === 0 ? user : undefined;
}
