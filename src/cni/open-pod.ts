import { type Netns, openNetns } from '../kernel/netns.ts';
import { errorText } from '../lib/errors.ts';
import { CniCode, CniError } from './error.ts';

/** The container's namespace. @throws CniError unknownContainer */
export function openPod(path: string): Netns {
  try {
    return openNetns(path);
  } catch (error) {
    throw new CniError(CniCode.unknownContainer, `CNI_NETNS ${path} cannot be opened`, errorText(error));
  }
}
