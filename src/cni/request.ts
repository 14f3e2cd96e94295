/** From environment and standard input to a request, checked as the specification's section "Parameters" says. */
import { CniCode, CniError } from './error.ts';
import type { RawRequest } from './frame.ts';
import type { CniCommand, CniRequest, NetConf } from './types.ts';
import { atLeast, checkVersion, LATEST_VERSION, type SUPPORTED_VERSIONS } from './version.ts';

const commands = new Set<string>(['ADD', 'DEL', 'CHECK', 'STATUS', 'VERSION', 'GC']);
const needs: Record<CniCommand, readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  STATUS: [],
  VERSION: [],
  GC: [],
};

/** Sections "CHECK", "STATUS" and "GC" of the specification, which earlier versions do not have. */
const since: Partial<Record<CniCommand, (typeof SUPPORTED_VERSIONS)[number]>> = {
  CHECK: '0.4.0',
  STATUS: '1.1.0',
  GC: '1.1.0',
};

/** @throws CniError */
export function parseRequest({ env, stdin }: RawRequest): CniRequest {
  const command = parseCommand(env['CNI_COMMAND']);
  for (const name of needs[command])
    if (!env[name]) throw new CniError(CniCode.invalidEnvironment, `${name} is not set; ${command} needs it`);
  const containerId = env['CNI_CONTAINERID'] ?? '';
  if (containerId !== '' && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(containerId))
    throw new CniError(
      CniCode.invalidEnvironment,
      `CNI_CONTAINERID "${containerId}" is not letters, digits, "_", "." and "-" after a letter or digit`,
    );
  const config = parseConfig(stdin);
  if (command === 'VERSION') return versionRequest(config);
  const cniVersion = checkVersion(config.cniVersion);
  const floor = since[command];
  if (floor !== undefined && !atLeast(cniVersion, floor))
    throw new CniError(
      CniCode.incompatibleVersion,
      `${command} is not in version ${cniVersion} of the specification; expected cniVersion ${floor} or newer`,
    );
  checkName(config.name);
  return {
    command,
    containerId,
    ifName: checkIfName(env['CNI_IFNAME'] ?? ''),
    netns: env['CNI_NETNS'] ?? '',
    args: parseArgs(env['CNI_ARGS'] ?? ''),
    config,
    cniVersion,
  };
}

/** Who asks which versions there are may speak any. */
const versionRequest = (config: NetConf): CniRequest => ({
  command: 'VERSION',
  containerId: '',
  ifName: '',
  netns: '',
  args: {},
  config,
  cniVersion: typeof config.cniVersion === 'string' && config.cniVersion ? config.cniVersion : LATEST_VERSION,
});

/** Section "Network configuration objects": what the network is called on this machine, also in names of files. */
function checkName(name: unknown): void {
  if (typeof name === 'string' && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) return;
  throw new CniError(
    CniCode.invalidConfig,
    `the network's name ${JSON.stringify(name) ?? '(there is none)'} is not letters, digits, "_", "." and "-" after a letter or digit`,
  );
}

function parseCommand(text: string | undefined): CniCommand {
  if (text !== undefined && commands.has(text)) return text as CniCommand;
  throw new CniError(
    CniCode.invalidEnvironment,
    `CNI_COMMAND "${text ?? ''}" is not one of ${[...commands].join(', ')}`,
  );
}

/** The kernel's rule (dev_valid_name) as the specification repeats it. */
function checkIfName(name: string): string {
  if (name.length > 15 || name === '.' || name === '..' || /[/:\s]/.test(name))
    throw new CniError(CniCode.invalidEnvironment, `CNI_IFNAME "${name}" is not the name of an interface`);
  return name;
}

function parseConfig(stdin: Buffer): NetConf {
  let value: unknown;
  try {
    value = JSON.parse(stdin.toString('utf8'));
  } catch (error) {
    throw new CniError(CniCode.decode, 'the network configuration is not JSON', String(error));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CniError(CniCode.decode, 'the network configuration is not a JSON object');
  return value as NetConf;
}

/** `K8S_POD_NAME=web;IgnoreUnknown=1`. @throws CniError */
export function parseArgs(text: string): Record<string, string> {
  const args: Record<string, string> = {};
  for (const pair of text.split(';')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals <= 0)
      throw new CniError(CniCode.invalidEnvironment, `CNI_ARGS has "${pair}"; expected KEY=VALUE`);
    args[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  return args;
}

export const formatArgs = (args: Readonly<Record<string, string>>): string =>
  Object.entries(args)
    .map(([key, value]) => `${key}=${value}`)
    .join(';');
