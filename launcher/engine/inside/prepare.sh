#!/bin/sh
# Runs as root in the container that becomes the base image. Arguments: Debian packages.
set -eu
export DEBIAN_FRONTEND=noninteractive

missing=
for package in "$@"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086 - a list of package names
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
  apt-get clean
  rm -rf /var/lib/apt/lists/*
fi

# One user, whose number is the same in every image. Ubuntu's images have given it to somebody else.
taken=$(getent passwd 1000 | cut -d: -f1)
[ -z "$taken" ] || userdel --remove "$taken" 2>/dev/null
taken=$(getent group 1000 | cut -d: -f1)
[ -z "$taken" ] || groupdel "$taken"
groupadd --gid 1000 jovyan
useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash --comment '' jovyan

# Nothing here may make anybody root.
find / -xdev \( -type f -o -type d \) -perm /6000 -exec chmod a-s {} +
