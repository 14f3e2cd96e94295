/** The image that a container is made of: the runtime's, pulled by the runtime where the policy says so. */
import type { Cri } from '../../cri/client.ts';
import { CriFailure } from '../../cri/client.ts';
import type { Image, PodSandboxConfig } from '../../cri/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { ImageError } from '../oci/images.ts';
import type { Container } from '../process/types.ts';

export interface Images {
  /** @throws ImageError `ErrImageNeverPull`, `ErrImagePull`, `ImagePullBackOff`, `InvalidImageName` */
  of(container: Container, sandbox: PodSandboxConfig): Promise<Image>;
}

/** Milliseconds between pulls that fail: a kubelet's. */
const FIRST_MS = 10_000;
const LAST_MS = 300_000;

export function createImages(cri: Pick<Cri, 'image' | 'pullImage'>, clock: Clock): Images {
  const failures = new Map<string, { delay: number; until: number; words: string }>();

  async function pull(image: string, sandbox: PodSandboxConfig): Promise<void> {
    const before = failures.get(image);
    if (before && clock.monotonic() < before.until)
      throw new ImageError('ImagePullBackOff', `Back-off pulling image "${image}": ${before.words}`);
    try {
      await cri.pullImage(image, sandbox);
      failures.delete(image);
    } catch (error) {
      if (!(error instanceof CriFailure)) throw error;
      const delay = before ? Math.min(LAST_MS, before.delay * 2) : FIRST_MS;
      const words = `ErrImagePull: ${error.message}`;
      failures.set(image, { delay, until: clock.monotonic() + delay, words });
      throw new ImageError('ErrImagePull', `failed to pull image "${image}": ${error.message}`);
    }
  }

  return {
    async of({ image = '', imagePullPolicy, name }, sandbox) {
      if (/[\s\0]/.test(image) || image === '')
        throw new ImageError(
          'InvalidImageName',
          `container ${name}: ${JSON.stringify(image)} names no image`,
        );
      const found = imagePullPolicy === 'Always' ? undefined : await cri.image(image);
      if (found) return found;
      if (imagePullPolicy === 'Never')
        throw new ImageError(
          'ErrImageNeverPull',
          `Container image "${image}" is not present with pull policy of Never`,
        );
      await pull(image, sandbox);
      const pulled = await cri.image(image);
      if (pulled) return pulled;
      throw new ImageError('ErrImagePull', `image "${image}" was pulled and is not there`);
    },
  };
}
