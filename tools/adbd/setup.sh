#!/usr/bin/env bash
# Android's adbd with the libraries that it loads, in one folder, for tests of phones without one.
# Needs no root and leaves the host's apt as it is.
#
#   tools/adbd/setup.sh [FOLDER]     # build/adbd; a second call does nothing
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/build/adbd}
mirror=http://deb.debian.org/debian
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() { echo "error: $1" >&2; exit 2; }
for program in apt-get dpkg-deb; do
  command -v $program >/dev/null || fail "no $program; expected a Debian or Ubuntu"
done
[ -f $keyring ] || fail "no $keyring; apt install debian-archive-keyring"
architecture=$(dpkg --print-architecture)
# Written at the end, so that a broken-off set-up is made anew.
[ -f "$folder/ready" ] && exit

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
rm -rf "$folder"/{apt,debs,root}
mkdir -p "$folder"/{apt/lists/partial,apt/cache/archives/partial,debs,root}

for suite in bookworm bookworm-backports; do
  echo "deb [arch=$architecture target=Packages signed-by=$keyring] $mirror $suite main"
done > "$folder/apt/sources.list"
: > "$folder/apt/status"
# Read after the host's configuration: proxies stay, hooks and other sources do not.
cat > "$folder/apt/apt.conf" <<END
#clear APT::Update;
#clear DPkg;
APT::Architecture "$architecture";
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
# With the C library and its loader, so that the host's may be older.
apt download {adbd,android-lib{base,boringssl,cutils,log},libsystemd0}/bookworm-backports \
  lib{c6,gcc-s1,stdc++6,brotli1,lz4-1,protobuf32,zstd1,bsd0,md0,cap2,gcrypt20,gpg-error0,lzma5} zlib1g
for deb in *.deb; do dpkg-deb -x "$deb" "$folder/root"; done

cd "$folder/root"
program=usr/lib/android-sdk/platform-tools/adbd
loader=$(find lib -name 'ld-linux*.so.*' | head -n 1)
libraries=
for library in libcutils.so.0 libbrotlidec.so.1 libc.so.6; do
  libraries+=:'$root'/$(dirname "$(find . -name $library -printf '%P\n' | head -n 1)")
done
libraries=${libraries#:}
cd ..
# The loader is told the libraries, as a variable would reach the programs that adbd starts.
cat > adbd <<END
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/root
cd /
exec "\$root/$loader" --library-path "$libraries" "\$root/$program" "\$@"
END
chmod +x adbd
root/"$loader" --library-path "${libraries//'$root'/root}" --list root/$program >/dev/null ||
  fail "adbd lacks a library; its packages have changed, mend the list above"

rm -rf apt debs
touch ready
echo "$folder: $(du -sh "$folder" | cut -f1)"
