/** Filters of system calls as a container runtime is told of them, and as whoever enters a container gets them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { ProfileType, type SecurityProfile } from '../../cri/types.ts';
import { capabilitiesOf } from '../oci/capabilities.ts';
import type { Container } from '../process/types.ts';
import { profileText, runcSeccomp } from '../seccomp/profile.ts';
import { hasOwnProfile, isUnconfined, seccompOf } from '../seccomp/wanted.ts';

export interface Profiles {
  /** @throws ConfigError, CreateError for a profile that is not there or cannot be read */
  of(pod: Pod, container: Container): Promise<SecurityProfile>;
  /** Arguments of `heddle-pause enter`. */
  toEnter(pod: Pod, container: Container): string[];
}

/** `folder`: the pod's own; `profiles`: the node's. */
export function createProfiles(folder: string, profiles: string): Profiles {
  const forRuntime = (container: string) => join(folder, `seccomp-${container}.json`);
  const forEntry = (container: string) => join(folder, `seccomp-${container}`);
  return {
    async of(pod, container) {
      const capabilities = capabilitiesOf(container.securityContext);
      const wanted = seccompOf(pod, container, { folder: profiles, capabilities });
      if (wanted === 'default') return { profileType: ProfileType.runtimeDefault };
      if (wanted === 'unconfined') return { profileType: ProfileType.unconfined };
      const { name } = container;
      await writeFile(forRuntime(name), JSON.stringify(runcSeccomp(wanted)), { mode: 0o600 });
      await writeFile(forEntry(name), profileText(wanted), { mode: 0o600 });
      return { profileType: ProfileType.localhost, localhostRef: forRuntime(name) };
    },
    toEnter: (pod, container) => [
      ...(isUnconfined(pod, container) ? ['--unconfined'] : []),
      ...(hasOwnProfile(pod, container) ? ['--seccomp', forEntry(container.name)] : []),
    ],
  };
}
