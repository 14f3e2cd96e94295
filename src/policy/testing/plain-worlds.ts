/** Worlds with policies of the model itself, alone and among those of languages, and flows with all that rules ask of. */
import fc from 'fast-check';
import type { Request } from '../request.ts';
import type { Flow, World } from '../world.ts';
import { flowsIn, some, stagedWorlds, worldsOf } from './arbitraries.ts';
import { modelOf, type PlainPolicy, plainPolicy } from './plain-policies.ts';

export interface PlainWorld {
  readonly world: World;
  readonly policies: readonly PlainPolicy[];
}

const around: fc.Arbitrary<Pick<World, 'serviceAccounts' | 'names'>> = fc.record({
  serviceAccounts: fc.constantFrom(
    [],
    [
      { namespace: 'a', name: 'robot', labels: { trusted: 'yes' } },
      { namespace: 'b', name: 'default', labels: { trusted: 'yes' } },
    ],
  ),
  names: fc.constantFrom(
    [],
    [
      { name: 'api.example.com', addresses: ['8.8.8.8', '10.244.1.2', '2001:db8::1'] },
      { name: 'b.example.com', addresses: ['10.240.0.12', '10.244.9.9'] },
    ],
  ),
});

const policiesOf = (audits: boolean) => some([1, 2, 3, 5], (i) => plainPolicy(i, audits));

const withPolicies = (worlds: fc.Arbitrary<World>, audits: boolean): fc.Arbitrary<PlainWorld> =>
  fc.tuple(worlds, around, policiesOf(audits)).map(([world, more, policies]) => ({
    world: { ...world, ...more, policies: [...world.policies, ...policies.map(modelOf)] },
    policies,
  }));

/** Where no rule asks for the sender's port. */
export const sourcelessWorlds: fc.Arbitrary<World> = fc
  .tuple(stagedWorlds, around, policiesOf(true))
  .map(([world, more, policies]) => {
    const sourceless = policies.map((policy) => ({
      ...policy,
      rules: policy.rules.map((rule) => ({ ...rule, sourcePorts: undefined })),
    }));
    return { ...world, ...more, policies: [...world.policies, ...sourceless.map(modelOf)] };
  });

/** All of them enforced, and no others. */
export const plainWorlds = withPolicies(worldsOf(fc.constant([])), false);

/** Some audited, and among those of languages. */
export const mixedWorlds: fc.Arbitrary<World> = withPolicies(stagedWorlds, true).map(({ world }) => world);

const requests = fc.constantFrom<Request | undefined>(
  undefined,
  undefined,
  { type: 'http', method: 'GET', path: '/a/1' },
  { type: 'http', method: 'GET', path: '/b' },
  { type: 'http', method: 'POST', path: '/a' },
  { type: 'grpc', service: 'a', method: 'b' },
);

const kinds = fc.constantFrom(
  undefined,
  { type: 8, code: 0 },
  { type: 128, code: 0 },
  { type: 3, code: 4 },
  { type: 3, code: 1 },
);

/** Flows as of `flowsIn`, and more said of them. */
export const fullFlowsIn = (world: World): fc.Arbitrary<Flow> =>
  fc
    .record({
      flow: flowsIn(world),
      sourcePort: fc.constantFrom(undefined, 80, 1500),
      icmp: kinds,
      protocolNumber: fc.constantFrom(undefined, 47, 50, 51),
      request: requests,
    })
    .map(({ flow, sourcePort, icmp, protocolNumber, request }): Flow => {
      if (flow.protocol === 'ICMP') return { ...flow, icmp };
      if (flow.protocol === 'OTHER') return { ...flow, protocolNumber };
      return { ...flow, sourcePort, request: flow.protocol === 'TCP' ? request : undefined };
    });
