/** Names of images, as container engines write and complete them. Pure. */
import { HeddleError } from '../lib/errors.ts';

export interface Reference {
  /** `docker.io/library/busybox` */
  readonly repository: string;
  readonly tag?: string;
  /** `sha256:…` */
  readonly digest?: string;
}

const DOMAIN =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * `busybox` is `docker.io/library/busybox:latest`; a first part is a registry when it has a dot or a port, or is
 * `localhost`. @throws HeddleError `BadImageName`
 */
export function parseReference(text: string): Reference {
  const [name = '', digest, ...more] = text.split('@');
  const colon = name.lastIndexOf(':');
  const tagged = colon > name.lastIndexOf('/');
  const repository = completed(tagged ? name.slice(0, colon) : name);
  const tag = tagged ? name.slice(colon + 1) : digest === undefined ? 'latest' : undefined;
  const slash = repository.indexOf('/');
  const good =
    more.length === 0 &&
    repository.length <= 255 &&
    DOMAIN.test(repository.slice(0, slash)) &&
    PATH.test(repository.slice(slash + 1)) &&
    (tag === undefined || TAG.test(tag)) &&
    (digest === undefined || DIGEST.test(digest));
  if (!good)
    throw new HeddleError('BadImageName', `${JSON.stringify(text)} is not the name of an image`, {
      hint: 'expected such as shop/web:1.2, registry.example:5000/shop/web, or name@sha256:<64 hex digits>',
    });
  return {
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function completed(name: string): string {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  if (slash < 0) return `docker.io/library/${name}`;
  if (!/[.:]/.test(first) && first !== 'localhost' && first === first.toLowerCase())
    return `docker.io/${name}`;
  if (first !== 'docker.io' && first !== 'index.docker.io') return name;
  const rest = name.slice(slash + 1);
  return `docker.io/${rest.includes('/') ? rest : `library/${rest}`}`;
}

/** The name in full; a digest says more than a tag. */
export const referenceText = ({ repository, tag, digest }: Reference): string =>
  digest === undefined ? `${repository}:${tag}` : `${repository}@${digest}`;

/** As people write it. */
export const shortName = (name: string): string =>
  name.replace(/^docker\.io\/library\//, '').replace(/^docker\.io\//, '');
