/** Which image a container gets: of those that were imported, for nothing is pulled. */
import type { ImageRecord, ImageStore } from '../../image/store.ts';
import { parseReference, referenceText, shortName } from '../../image/reference.ts';
import { HeddleError } from '../../lib/errors.ts';
import { ConfigError } from '../process/environment.ts';
import type { Container } from '../process/types.ts';

/** The container waits, with the reason that a kubelet gives. */
export class ImageError extends ConfigError {
  override readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * `Always` means the image that has the name when the container starts: importing another is all the pulling there is.
 * @throws ImageError `InvalidImageName`, `ErrImageNeverPull`, `ImagePullBackOff`
 */
export function imageOf(
  { image = '', imagePullPolicy, name }: Container,
  store: Pick<ImageStore, 'find'>,
): ImageRecord {
  const full = fullName(image, name);
  const found = store.find(full);
  if (found) return found;
  if (imagePullPolicy === 'Never')
    throw new ImageError(
      'ErrImageNeverPull',
      `Container image "${image}" is not present with pull policy of Never; ${hint(full)}`,
    );
  throw new ImageError(
    'ImagePullBackOff',
    `image "${image}" is not on this machine, and nothing is pulled: ${hint(full)}`,
  );
}

const hint = (full: string): string => `import it with "heddle image import FILE --name ${shortName(full)}"`;

function fullName(image: string, container: string): string {
  try {
    return referenceText(parseReference(image));
  } catch (error) {
    const words = error instanceof HeddleError ? error.message : String(error);
    throw new ImageError('InvalidImageName', `container ${container}: ${words}`);
  }
}
