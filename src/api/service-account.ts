import { ageColumn, integer, nameColumn } from './columns.ts';
import { define } from './define.ts';
import { dns1123Subdomain } from './formats.ts';
import { SERVICE_ACCOUNT } from './kinds.ts';
import type { ServiceAccount } from './types.ts';

export const serviceAccount = define<ServiceAccount>({
  kind: SERVICE_ACCOUNT,
  singular: 'serviceaccount',
  shortNames: ['sa'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    integer('Secrets', 'Number of secrets it names.', (sa) => sa.secrets?.length ?? 0),
    ageColumn,
  ],
});
