/** Asks the process that carries frames between zones. */
import { callSocket } from '../../lib/unix-http.ts';
import type { ClusterPaths } from '../paths.ts';
import type { PlaceLink } from './places.ts';
import type { LinesStatus } from './status.ts';

/** @throws HeddleError `SocketCall` */
export const linesStatus = ({ linesSocket }: Pick<ClusterPaths, 'linesSocket'>): Promise<LinesStatus> =>
  callSocket({ socketPath: linesSocket, path: '/status' });

/** All of them: what is not among them is as fast as the machine is. @throws HeddleError `SocketCall` */
export const setLinks = (
  { linesSocket }: Pick<ClusterPaths, 'linesSocket'>,
  links: readonly PlaceLink[],
): Promise<unknown> => callSocket({ socketPath: linesSocket, method: 'PUT', path: '/links', body: links });
