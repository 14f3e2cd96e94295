import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { LEASE } from './kinds.ts';
import type { Lease } from './types.ts';

const STRATEGIES = ['OldestEmulationVersion'];

function* validate({ spec = {} }: Lease): Problems {
  const { leaseDurationSeconds: duration, leaseTransitions: transitions } = spec;
  if (duration !== undefined && duration <= 0)
    yield invalid('spec.leaseDurationSeconds', duration, 'must be greater than 0');
  if (transitions !== undefined && transitions < 0)
    yield invalid('spec.leaseTransitions', transitions, 'must be greater than or equal to 0');
  if (spec.strategy) yield* oneOf('spec.strategy', spec.strategy, STRATEGIES);
  if (spec.preferredHolder && !spec.strategy)
    yield required('spec.strategy', 'must be specified when `preferredHolder` is set');
}

export const lease = define<Lease>({
  kind: LEASE,
  singular: 'lease',
  name: dns1123Subdomain,
  columns: [nameColumn, text('Holder', 'Who holds it.', (one) => one.spec?.holderIdentity ?? ''), ageColumn],
  setDefaults(one) {
    one.spec ??= {};
  },
  validate,
});
