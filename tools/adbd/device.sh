#!/bin/sh
# Becomes adbd, in the network that it is started in and a root folder of its own: everything of the
# host, but a /data that is empty, of a given size and gone afterwards.
#
#   unshare --mount tools/adbd/device.sh ADBD FOLDER PORT DATA_SIZE
#
# FOLDER is empty and becomes the root. adbd gives a shell to whoever reaches the port, without
# asking: start it in a network namespace that nobody else is in (`unshare --net`).
set -eu
adbd=$1 folder=$2 port=$3 size=$4

mount -t tmpfs tmpfs "$folder"
for entry in /*; do
  name=$(basename "$entry")
  if [ "$name" = data ]; then continue
  elif [ -L "$entry" ]; then cp -P "$entry" "$folder/"
  elif [ -d "$entry" ]; then mkdir "$folder/$name" && mount --rbind "$entry" "$folder/$name"
  fi
done
mkdir "$folder/data"
mount -t tmpfs -o "size=$size" tmpfs "$folder/data"
mkdir -p "$folder/data/local/tmp"
chmod 771 "$folder/data/local/tmp"
ADBD_PORT=$port exec chroot "$folder" "$adbd"
