import fc from 'fast-check';

/** Draws of a property: `usual`, or as many as a deep check asks for of all properties. */
export const runs = (usual: number): { numRuns: number } => ({
  numRuns: Math.max(usual, fc.readConfigureGlobal().numRuns ?? 0),
});
