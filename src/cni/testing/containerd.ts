/** For tests: Debian's containerd, with everything of its own in a folder. */

/** Where its CRI finds plugins and lists of networks, and the image of its sandboxes. */
export interface ContainerdFiles {
  folder: string;
  socket: string;
  binDir: string;
  confDir: string;
  image: string;
}

/** Its containers are put in no cgroup of systemd's, and its layers are folders: both work on any kernel and file system. */
export const containerdConfig = ({ folder, socket, binDir, confDir, image }: ContainerdFiles): string =>
  `version = 2
root = "${folder}/containerd"
state = "/run/containerd"
[grpc]
address = "${socket}"
[ttrpc]
address = "/run/containerd/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${image}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${binDir}"
conf_dir = "${confDir}"
`;
