#!/usr/bin/env bash
# Installs what building, running and testing need, on Debian and Ubuntu; elsewhere says what that is.
# Does nothing when everything is there.  Needs root or sudo only when something is missing.
set -euo pipefail

packages=(
    gcc g++ libc6-dev cmake ninja-build pkg-config git # build
    libopenmpi-dev openmpi-bin                     # ranks
    libhdf5-dev libconfig-dev libjansson-dev zlib1g-dev libpcre2-dev libutf8proc-dev
    libsodium-dev
    libcmocka-dev python3 # tests
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    cat >&2 <<'TEXT'
install_deps: not a Debian or Ubuntu system, nothing installed.  Needed: a C11 compiler, CMake 3.25,
Ninja, pkg-config, an MPI 3 library with its compiler wrapper, HDF5 (C), libconfig, jansson, zlib,
PCRE2, utf8proc, libsodium, cmocka; a C++17 compiler for the emulated device; Python 3 for the static
checks.
TEXT
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [[ $state == "install ok installed" ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    if command -v sudo >/dev/null; then
        as_root=(sudo)
    else
        echo "install_deps: missing packages, and neither root nor sudo to install them; ask for:" >&2
        echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 0 # they may be there in another form; the configure step says what it does not find
    fi
fi

echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}
install update || echo "apt-get update failed; going on with the old lists" >>"$log"
if ! install install --no-install-recommends "${missing[@]}"; then
    tail -n 15 "$log" >&2
    echo "install_deps: apt-get failed (see above); missing: ${missing[*]}" >&2
    [[ ${#as_root[@]} -gt 0 ]] || exit 1
    echo "install_deps: going on, in case they are there in another form" >&2
fi
