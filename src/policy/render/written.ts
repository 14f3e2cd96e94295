/** Selectors and names as objects have them. */
import { NAMESPACE_NAME, STAGE } from '../../api/labels.ts';
import type { LabelSelector, SelectorExpression } from '../../api/selector.ts';
import type { Policy } from '../model.ts';
import type { PodPeer } from '../peers.ts';
import type { Stage } from '../stage.ts';

/** Requirements of one value as labels, where nothing else is asked of them; keys as `rename` has them. */
export function written(
  selector: LabelSelector,
  rename: (key: string) => string = (key) => key,
): LabelSelector {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: SelectorExpression[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) matchLabels[rename(key)] = value;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const name = rename(key);
    const [only] = values;
    if (operator === 'In' && values.length === 1 && only !== undefined && !Object.hasOwn(matchLabels, name))
      matchLabels[name] = only;
    else
      matchExpressions.push({ key: name, operator, ...(values.length > 0 ? { values: [...values] } : {}) });
  }
  return {
    ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}),
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}),
  };
}

/** That of the namespaces of a peer or a subject. */
export const namespacesOf = ({ namespace }: PodPeer): LabelSelector =>
  'name' in namespace
    ? { matchLabels: { [NAMESPACE_NAME]: namespace.name } }
    : written(namespace.selector.written ?? {});

/** The stage is that of the policy: said where the namespace would have it another one. */
export function metadataOf(
  { stage }: Pick<Policy, 'stage'>,
  name: string,
  place: { readonly namespace: string; readonly inherited: Stage | undefined } | undefined,
) {
  const isSaid = (place?.inherited ?? 'enforce') !== stage;
  return {
    name,
    ...(place ? { namespace: place.namespace } : {}),
    ...(isSaid ? { labels: { [STAGE]: stage } } : {}),
  };
}

/** Lists of at most `size`. */
export function* chunks<T>(list: readonly T[], size: number): Generator<T[]> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size);
}
