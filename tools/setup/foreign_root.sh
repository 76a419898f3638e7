# shellcheck shell=bash
# Sourced by guests.sh: runs programs of unpacked packages in their own root folder. Nothing is mounted on the system, and the
# programs have no rights beyond the caller's. Needs root.sh.

# prepare_root ROOT: the folder has what the packages' own installation would have made.
prepare_root() {
    local root=$1 part
    mkdir -p "$root"/{dev,proc/self,tmp}
    # objtool wants to know where its stack is, for messages about an overflow; any process's map will do.
    for part in maps status limits; do
        cat "/proc/self/$part" >"$root/proc/self/$part"
    done
    ln -sfn mawk "$root/usr/bin/awk"
    [[ -e $root/usr/bin/sh ]] || ln -s dash "$root/usr/bin/sh"
    for part in bin sbin lib lib64; do
        [[ -e $root/$part ]] || ln -s "usr/$part" "$root/$part"
    done
}

readonly ROOT_ENVIRONMENT=(env -i PATH=/usr/bin:/usr/sbin LC_ALL=C HOME=/)

# in_root ROOT LOG COMMAND...: runs a command in a folder that holds a system, in the first way that this machine allows.
in_root() {
    local root=$1 log=$2 way
    shift 2
    : >"$log"
    for way in as_administrator in_user_namespace by_tracing by_sudo; do
        if [[ -n ${VOUCHSAFE_ROOT_WAY:-} && $VOUCHSAFE_ROOT_WAY != "$way" ]]; then
            continue
        elif "can_$way" "$root" >>"$log" 2>&1; then
            "$way" "$root" "$@" >>"$log" 2>&1
            return
        fi
    done
    printf 'programs of another system cannot be run here: neither root, nor user namespaces, nor tracing, nor sudo is permitted\n' >>"$log"
    return 1
}

# Already root: a root folder is changed into. Its /dev needs one device only.
can_as_administrator() {
    [[ $(id -u) == 0 ]] || return 1
    [[ -c $1/dev/null ]] || mknod -m 666 "$1/dev/null" c 1 3 || return 1
    chroot "$1" /usr/bin/sh -c : </dev/null
}
as_administrator() {
    local root=$1
    shift
    "${ROOT_ENVIRONMENT[@]}" chroot "$root" "$@" </dev/null
}

# A namespace in which the caller is root. Ubuntu 24.04 and most containers forbid it.
can_in_user_namespace() {
    unshare --map-root-user --mount true </dev/null
}
in_user_namespace() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --map-root-user --mount sh -eu -c \
        'mount --rbind /dev "$0/dev"; cd /; exec env -i PATH=/usr/bin:/usr/sbin LC_ALL=C HOME=/ chroot "$0" "$@"' \
        "$root" "$@" </dev/null
}

# Debian's proot, which follows a program's system calls by ptrace and needs no rights at all. It is unpacked, not installed.
can_by_tracing() {
    tracer=$folder/proot/tree
    [[ -x $tracer/usr/bin/proot ]] || (tools proot proot) || return 1
    by_tracing "$1" /usr/bin/sh -c :
}
by_tracing() {
    local root=$1 loader=$tracer/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
    shift
    "${ROOT_ENVIRONMENT[@]}" PROOT_NO_SECCOMP=1 PROOT_TMP_DIR="$root/tmp" \
        "$loader" --library-path "$tracer/usr/lib/x86_64-linux-gnu" "$tracer/usr/bin/proot" \
        --rootfs="$root" --bind=/dev --cwd=/ "$@" </dev/null
}

# Somebody who may become root: the root folder is changed into by root, and the command runs as the caller.
can_by_sudo() {
    [[ ${VOUCHSAFE_NO_INSTALL:-} != 1 ]] && command -v sudo >/dev/null || return 1
    [[ -c $1/dev/null ]] || sudo -n mknod -m 666 "$1/dev/null" c 1 3
}
by_sudo() {
    local root=$1
    shift
    sudo -n "${ROOT_ENVIRONMENT[@]}" chroot --userspec="$(id -u):$(id -g)" "$root" "$@" </dev/null
}
