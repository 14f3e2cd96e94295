# Shared by the scripts of this folder: where the checkout is, how to speak, which node to run.
# shellcheck shell=bash
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
stamps=$root/build/setup
node=$root/node_modules/.bin/node

step() { printf '%s\n' "==> $*" >&2; }

# fail MESSAGE HINT
fail() {
  printf 'error: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '  hint: %s\n' "$2" >&2
  exit 1
}

# A compile cache is code: it is used only when its folder belongs to whoever runs this, closed to others.
use_compile_cache() {
  local cache
  cache=$root/build/compile-cache-$(id -u)
  [ -d "$cache" ] || mkdir -m 700 -p "$cache" 2>/dev/null || return 0
  if [ ! -L "$cache" ] && [ "$(stat -c '%u %a' "$cache" 2>/dev/null)" = "$(id -u) 700" ]; then
    export NODE_COMPILE_CACHE=$cache
  fi
}
