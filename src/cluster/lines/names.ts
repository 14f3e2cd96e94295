/** The link of a bridge whose other end is the process `lines`, by the index of its group. */
export const lineTap = (group: number): string => `line-${group + 1}`;
