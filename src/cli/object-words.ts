/** How kubectl names objects: `deployment.apps/web`, `pod "web" deleted from default namespace`. */
import type { Resource } from '../api/resource.ts';

/** `deployment.apps`, `pod` */
export const kindWord = ({ kind, singular }: Resource): string =>
  kind.group === '' ? singular : `${singular}.${kind.group}`;

export const objectWord = (resource: Resource, name: string): string => `${kindWord(resource)}/${name}`;
