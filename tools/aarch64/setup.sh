#!/usr/bin/env bash
# Everything that runs LiteRT for 64-bit Arm on an x86-64 Debian or Ubuntu: an emulator, an arm64
# Python and the arm64 wheels, in one folder. Needs no root and leaves the host's apt as it is.
#
#   tools/aarch64/setup.sh [FOLDER]     # build/aarch64; a second call does nothing
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/build/aarch64}
python=${PYTHON:-$root/.venv/bin/python}
mirror=http://deb.debian.org/debian
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() { echo "error: $1" >&2; exit 2; }
[ "$(uname -m)" = x86_64 ] || fail "this host is $(uname -m), expected x86_64: the emulator is built for it"
for program in apt-get dpkg-deb; do
  command -v $program >/dev/null || fail "no $program; expected a Debian or Ubuntu"
done
[ -f $keyring ] || fail "no $keyring; apt install debian-archive-keyring"
[ -x "$python" ] || fail "no Python at $python: make setup first, or give another in PYTHON"

# The lock file's lines for these packages on the arm64 Python below, hashes included. pip itself
# would read the markers for the Python that it runs on.
pins=$("$python" - "$root/requirements.lock" <<'END'
import re
import sys

from packaging.requirements import Requirement

target = {
    'python_version': '3.11', 'python_full_version': '3.11.2',
    'sys_platform': 'linux', 'platform_machine': 'aarch64',
}
for entry in re.findall(r'^\w.*(?:\n    --hash=.*)+', open(sys.argv[1]).read(), re.M):
    requirement = Requirement(entry.split('\\')[0])
    # LiteRT declares more, but its interpreter imports NumPy only.
    if requirement.name in ('ai-edge-litert', 'numpy'):
        if requirement.marker is None or requirement.marker.evaluate(target):
            print(entry)
END
)
# Written at the end, so that a broken-off set-up and one of other versions are made anew.
[ "$(cat "$folder/ready" 2>/dev/null)" = "$pins" ] && exit

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
rm -rf "$folder"/{ready,apt,debs,qemu-aarch64,sysroot,site}
mkdir -p "$folder"/{apt/lists/partial,apt/cache/archives/partial,debs,sysroot}

# Debian 12's own QEMU, 7.2, crashes in LiteRT; the one of its backports is 10.0, and static.
cat > "$folder/apt/sources.list" <<END
deb [arch=arm64 target=Packages signed-by=$keyring] $mirror bookworm main
deb [arch=amd64 target=Packages signed-by=$keyring] $mirror bookworm-backports main
END
: > "$folder/apt/status"
# Read after the host's configuration: proxies stay, hooks and other sources do not.
cat > "$folder/apt/apt.conf" <<END
#clear APT::Update;
#clear DPkg;
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "$(id -un)";
Dir::Etc { sourcelist "$folder/apt/sources.list"; sourceparts "/dev/null"; };
Dir::Etc { preferences "/dev/null"; preferencesparts "/dev/null"; };
Dir::State { lists "$folder/apt/lists"; status "$folder/apt/status"; };
Dir::State "$folder/apt";
Dir::Cache "$folder/apt/cache";
END
apt() { apt-get -qq -c "$folder/apt/apt.conf" "$@"; }
apt update
cd "$folder/debs"
# Python and the libraries that it, NumPy and LiteRT load.
apt download qemu-user:amd64 {python3.11-minimal,libpython3.11-{minimal,stdlib}}:arm64 \
  {libc6,libgcc-s1,libstdc++6,zlib1g,libexpat1,libffi8,libssl3,libbz2-1.0,liblzma5}:arm64
dpkg-deb --fsys-tarfile qemu-user_*.deb |
  tar -x -C "$folder" --strip-components=3 ./usr/bin/qemu-aarch64
for deb in *_arm64.deb; do dpkg-deb -x "$deb" "$folder/sysroot"; done

# 2.36 is the sysroot's glibc.
"$python" -m pip install --quiet --disable-pip-version-check --target="$folder/site" --no-compile \
  --require-hashes --no-deps --only-binary=:all: --python-version=3.11 --implementation=cp \
  --platform=manylinux_2_{36..17}_aarch64 -r <(echo "$pins")

# Emulated once, which also leaves the byte code of the imports for later runs.
PYTHONPATH="$folder/site" "$folder/qemu-aarch64" -L "$folder/sysroot" \
  "$folder/sysroot/usr/bin/python3.11" -c 'import ai_edge_litert.interpreter'

rm -rf "$folder"/{apt,debs}
echo "$pins" > "$folder/ready"
echo "$folder: $(du -sh "$folder" | cut -f1)"
