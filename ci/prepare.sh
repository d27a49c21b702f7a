#!/usr/bin/env bash
# What a machine of a CI service needs before it builds: namespaces for the sandbox, and apt's lists, which say where Debian's
# archive is. On another distribution's machine, MLC_REPRO_DEBIAN_MIRROR says it.
set -euo pipefail

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Ubuntu keeps unprivileged programs from making user namespaces.
restriction=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if [ -e "$restriction" ] && [ "$(cat "$restriction")" != 0 ]; then
    as_root sysctl --quiet --write kernel.apparmor_restrict_unprivileged_userns=0
fi
if [ -z "${MLC_REPRO_DEBIAN_MIRROR:-}" ]; then
    # Set and empty is what a variable of the service is that nobody has given.
    if [ -z "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ]; then
        as_root apt-get update -qq
    fi
fi
