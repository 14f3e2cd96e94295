/** The machine's container runtime in `heddle status`: which one answers, and whether it can run pods. */
import { openCri } from '../cri/client.ts';
import { DEFAULT_ENDPOINT } from '../cri/endpoint.ts';
import { errorText } from '../lib/errors.ts';

export interface ContainerRuntimeStatus {
  readonly endpoint: string;
  /** `containerd`; null where none answers. */
  readonly name: string | null;
  readonly version: string | null;
  /** Why pods of runtime `cri` cannot run. */
  readonly why: string | null;
}

export async function askRuntime(endpoint: string = DEFAULT_ENDPOINT): Promise<ContainerRuntimeStatus> {
  const cri = openCri(endpoint);
  try {
    const { runtimeName, runtimeVersion } = await cri.version();
    const unmet = (await cri.conditions()).filter(({ status }) => !status);
    const why = unmet.map(({ type, message }) => `${type} is false: ${message}`).join('; ');
    return { endpoint, name: runtimeName, version: runtimeVersion, why: why === '' ? null : why };
  } catch (error) {
    return { endpoint, name: null, version: null, why: errorText(error) };
  } finally {
    cri.close();
  }
}

export const runtimeLine = ({ endpoint, name, version, why }: ContainerRuntimeStatus): string =>
  name === null
    ? `container runtime  ${why} (pods of runtime "cri" wait for one)`
    : `container runtime  ${name} ${version} at ${endpoint}${why === null ? '' : `: ${why}`}`;
