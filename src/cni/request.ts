/** From environment and standard input to a request, checked as the specification's section "Parameters" says. */
import { CniCode, CniError } from './error.ts';
import type { RawRequest } from './frame.ts';
import type { CniCommand, CniRequest, NetConf } from './types.ts';
import { checkVersion } from './version.ts';

const commands = new Set<string>(['ADD', 'DEL', 'CHECK', 'STATUS', 'VERSION', 'GC']);
const needs: Record<CniCommand, readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  STATUS: [],
  VERSION: [],
  GC: [],
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
  return {
    command,
    containerId,
    ifName: checkIfName(env['CNI_IFNAME'] ?? ''),
    netns: env['CNI_NETNS'] ?? '',
    args: parseArgs(env['CNI_ARGS'] ?? ''),
    config,
    cniVersion: checkVersion(config.cniVersion),
  };
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
