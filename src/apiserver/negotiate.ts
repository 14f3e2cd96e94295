/** Which form of an answer a client wants: the object, a Table, or its metadata alone. */
import { notAcceptable } from './failure.ts';

export type Form =
  | { readonly as: 'object' }
  | { readonly as: 'Table'; readonly version: string }
  | { readonly as: 'PartialObjectMetadata' };

export interface MediaRange {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** The ranges of an Accept header in order; quality is only looked at to drop those of 0. */
export function parseAccept(header: string | undefined): MediaRange[] {
  return (header ?? '')
    .split(',')
    .map((part) => {
      const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
      const parameters = Object.fromEntries(
        rest.map((piece) => {
          const at = piece.indexOf('=');
          return at < 0 ? [piece, ''] : [piece.slice(0, at), piece.slice(at + 1)];
        }),
      );
      return { type: type.toLowerCase(), parameters };
    })
    .filter(({ type, parameters }) => type !== '' && Number(parameters['q'] ?? 1) > 0);
}

const isJson = (type: string) => type === 'application/json' || type === '*/*' || type === 'application/*';

/** @throws ApiFailure 406 when none of the ranges can be served */
export function formOf(header: string | undefined): Form {
  const ranges = parseAccept(header);
  if (ranges.length === 0) return { as: 'object' };
  for (const { type, parameters } of ranges) {
    if (!isJson(type)) continue;
    const { as, g, v } = parameters;
    if (as === undefined) return { as: 'object' };
    if (g !== 'meta.k8s.io' || (v !== 'v1' && v !== 'v1beta1')) continue;
    if (as === 'Table') return { as: 'Table', version: v };
    if (as.startsWith('PartialObjectMetadata')) return { as: 'PartialObjectMetadata' };
  }
  throw notAcceptable(['application/json']);
}
