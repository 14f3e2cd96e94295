/** Errors that say "this input is refused": nothing was tried, so the exit code is 2. */
export const usageCodes: ReadonlySet<string> = new Set([
  'BadAddress',
  'BadAgentConfig',
  'BadCidr',
  'BadFlag',
  'BadImageName',
  'BadManifest',
  'BadPacket',
  'BadProfile',
  'ClusterDiffers',
  'DataDirForeign',
  'DataDirUnsafe',
  'NoRuntime',
  'NotRoot',
  'RangeTooSmall',
  'RangesOverlap',
]);
