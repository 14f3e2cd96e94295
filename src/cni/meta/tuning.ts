/** Settings of a container's network, and of one interface in it. The latter are put back by DEL. */
import { readFileSync } from 'node:fs';
import { readLinkSettings, writeLinkSettings, type LinkSettings } from '../../kernel/link-settings.ts';
import type { Netns } from '../../kernel/netns.ts';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import { errnoCode } from '../../lib/errors.ts';
import { CniCode, CniError } from '../error.ts';
import { withRoute } from '../main/inside.ts';
import type { Tuning } from './metas.ts';
import type { TuningConfig } from './types.ts';

/** One regular expression a line, of settings with dots; without the file all below `net.` may be set. */
export const ALLOW_LIST = '/etc/cni/tuning/allowlist.conf';

export function createTuning(allowList = ALLOW_LIST): Tuning {
  function checkAllowed({ sysctl }: TuningConfig): void {
    const allowed = readAllowList(allowList);
    if (!allowed) return;
    for (const key of sysctl.keys()) {
      const dotted = key.replaceAll('/', '.');
      if (!allowed.some((pattern) => pattern.test(dotted)))
        throw new CniError(
          CniCode.invalidConfig,
          `sysctl "${dotted}" is not allowed by ${allowList}`,
          'an administrator adds a line with an expression that matches it',
        );
    }
  }

  return {
    backup(netns, ifName, config) {
      checkAllowed(config);
      const now = readLinkSettings(linkOf(netns, ifName));
      return pick(now, config.link);
    },
    apply(netns, ifName, { sysctl, link }) {
      const target = linkOf(netns, ifName);
      if (Object.values(link).some((value) => value !== undefined)) writeLinkSettings(target, link);
      for (const [key, value] of sysctl) writeSysctl(netns, key, value);
    },
    restore(netns, ifName, backup) {
      const index = withRoute(netns, (route) => route.link(ifName)?.index);
      if (index === undefined || !backup || Object.keys(backup).length === 0) return;
      writeLinkSettings({ ifindex: index, ns: netns }, backup);
    },
    faults(netns, ifName, { sysctl, link }) {
      const now: LinkSettings = readLinkSettings(linkOf(netns, ifName));
      const settings = Object.entries(pick(link, link)) as [keyof LinkSettings, unknown][];
      return [
        ...settings.flatMap(([key, value]) =>
          now[key] === value ? [] : [`${key} of ${ifName} is ${now[key]}; expected ${String(value)}`],
        ),
        ...[...sysctl].flatMap(([key, value]) => {
          const found = readSysctl(netns, key);
          const same = found.split(/\s+/).join(' ') === value.trim().split(/\s+/).join(' ');
          return same ? [] : [`${key.replaceAll('/', '.')} is ${found}; expected ${value}`];
        }),
      ];
    },
  };
}

/** Those of `from` that `which` names. */
function pick(from: LinkSettings, which: LinkSettings): LinkSettings {
  const entries = Object.entries(from) as [keyof LinkSettings, never][];
  return Object.fromEntries(entries.filter(([key]) => which[key] !== undefined));
}

function linkOf(netns: Netns, ifName: string) {
  const ifindex = withRoute(netns, (route) => route.link(ifName)?.index);
  if (ifindex === undefined)
    throw new CniError(CniCode.invalidConfig, `the container has no interface ${ifName} to tune`);
  return { ifindex, ns: netns };
}

function readAllowList(file: string): RegExp[] | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw new CniError(CniCode.io, `${file} cannot be read: ${errnoCode(error)}`);
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      try {
        return new RegExp(line);
      } catch {
        throw new CniError(CniCode.invalidConfig, `${file} has "${line}", which is no regular expression`);
      }
    });
}
