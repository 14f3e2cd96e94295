/** Who a container of an image runs as: what the pod says, else what the image says (containerd's rules). */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { placeIn } from '../../image/place.ts';
import { ConfigError } from '../process/environment.ts';
import type { Container } from '../process/types.ts';

export interface ContainerUser {
  uid: number;
  gid: number;
  groups: number[];
  home: string;
}

/** Above it, an id is none that a container knows. */
const MAX_ID = 0xffff;
const MAX_FILE = 1 << 20;

interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface Group {
  name: string;
  gid: number;
  members: string[];
}

/** `rootfs`: of the image. @throws ConfigError in the words of a kubelet */
export function userOf(pod: Pod, container: Container, imageUser: string, rootfs: string): ContainerUser {
  const all = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const accounts = accountsIn(rootfs);
  const groups = groupsIn(rootfs);
  const [userText = '', groupText = ''] = imageUser.split(':');
  const asked = own.runAsUser ?? all.runAsUser;
  const uid = asked ?? uidOf(userText, accounts);
  checkRoot(pod, container, uid, asked === undefined ? userText : '');
  const account = accounts.find((one) => one.uid === uid);
  const imageGroup = asked === undefined && groupText !== '' ? gidOf(groupText, groups) : account?.gid;
  const user = {
    uid,
    gid: own.runAsGroup ?? all.runAsGroup ?? imageGroup ?? 0,
    groups: moreGroups(all, account, groups),
    home: account?.home || (uid === 0 ? '/root' : '/'),
  };
  const strange = [user.uid, user.gid, ...user.groups].find((id) => id > MAX_ID);
  if (strange !== undefined)
    throw new ConfigError(`user or group ${strange}: containers of images know ids up to ${MAX_ID}`);
  return user;
}

/** Those that the pod names, and those of which the image's /etc/group says that the user is a member. */
function moreGroups(
  context: NonNullable<NonNullable<Pod['spec']>['securityContext']>,
  account: Account | undefined,
  groups: readonly Group[],
): number[] {
  const isStrict = context.supplementalGroupsPolicy === 'Strict';
  const member = account && !isStrict ? groups.filter(({ members }) => members.includes(account.name)) : [];
  const asked = [
    ...(context.supplementalGroups ?? []),
    ...(context.fsGroup === undefined ? [] : [context.fsGroup]),
  ];
  return [...new Set([...member.map(({ gid }) => gid), ...asked])];
}

function checkRoot(pod: Pod, container: Container, uid: number, name: string): void {
  const mustNot = container.securityContext?.runAsNonRoot ?? pod.spec?.securityContext?.runAsNonRoot ?? false;
  if (!mustNot) return;
  if (uid === 0) throw new ConfigError('container has runAsNonRoot and image will run as root');
  if (name !== '' && !/^\d+$/.test(name))
    throw new ConfigError(
      `container has runAsNonRoot and image has non-numeric user (${name}), cannot verify user is non-root`,
    );
}

function uidOf(text: string, accounts: readonly Account[]): number {
  if (text === '') return 0;
  if (/^\d+$/.test(text)) return Number(text);
  const found = accounts.find(({ name }) => name === text);
  if (!found) throw new ConfigError(`the image's user ${JSON.stringify(text)} is not in its /etc/passwd`);
  return found.uid;
}

function gidOf(text: string, groups: readonly { name: string; gid: number }[]): number {
  if (/^\d+$/.test(text)) return Number(text);
  const found = groups.find(({ name }) => name === text);
  if (!found) throw new ConfigError(`the image's group ${JSON.stringify(text)} is not in its /etc/group`);
  return found.gid;
}

/** passwd(5); a line that is none is passed over. */
function accountsIn(rootfs: string): Account[] {
  return linesOf(rootfs, 'etc/passwd').flatMap(([name = '', , uid = '', gid = '', , home = '']) =>
    /^\d+$/.test(uid) && /^\d+$/.test(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [],
  );
}

/** group(5) */
function groupsIn(rootfs: string): Group[] {
  return linesOf(rootfs, 'etc/group').flatMap(([name = '', , gid = '', members = '']) =>
    /^\d+$/.test(gid) ? [{ name, gid: Number(gid), members: members.split(',') }] : [],
  );
}

/** A file of the image, wherever the image's links would have it lead. */
function linesOf(rootfs: string, path: string): string[][] {
  const file = within(rootfs, path);
  const found = file === undefined ? undefined : lstatSync(file, { throwIfNoEntry: false });
  if (file === undefined || !found?.isFile() || found.size > MAX_FILE) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(':'));
}

/** A link in the last place is not followed: it could lead anywhere, and no image needs it. */
function within(rootfs: string, path: string): string | undefined {
  try {
    const place = placeIn(rootfs, path);
    return place?.base === undefined ? undefined : join(place.folder, place.base);
  } catch {
    return undefined;
  }
}
