# shellcheck shell=bash disable=SC2154 # variables are run's
# Sourced by run: the cases. `run` comes first: what it leaves is what most others start from.

readonly CASES=(no_install no_sudo no_network_before run second_run no_network_after root two_at_once interrupted full_disk
    path_with_spaces shell test)
readonly CLONE=/home/newcomer/vouchsafe

# says PATTERN FILE: what was printed has to match.
says() {
    grep -qE -- "$1" "$2" || { cat "$2"; printf 'nothing like "%s" was printed\n' "$1"; return 1; }
}

# is_silent_on PATTERN FILE
is_silent_on() {
    ! grep -E -- "$1" "$2" || { printf 'this was printed\n'; return 1; }
}

# fails COMMAND...: the command has to fail.
fails() {
    if "$@"; then
        printf 'this did not fail: %s\n' "$*"
        return 1
    fi
}

# A machine on which nothing was run yet.
new_machine() {
    rm -rf "${place:?}/$1"
    open_layer "$1" "$place/base"
    clone "$CLONE"
}

# A machine on which `make run` was run.
used_machine() {
    [[ -d $place/run/upper ]] || { printf 'the case run comes first\n'; return 1; }
    rm -rf "${place:?}/$1"
    open_layer "$1" "$place/run/upper" "$place/base"
}

case_run() {
    new_machine run
    local started=$SECONDS
    as newcomer "cd $CLONE && make run" | tee "$place/run.out"
    printf 'make run took %d s\n' "$((SECONDS - started))"
    says '^VERIFIED' "$place/run.out"
}

# Nothing is installed, and what is not the run itself takes at most 20 seconds.
case_second_run() {
    used_machine second_run
    local started=$SECONDS
    as newcomer "cd $CLONE && make run" 2>&1 | while IFS= read -r line; do
        printf '%d %s\n' "$((SECONDS - started))" "$line"
    done | tee "$place/second_run.out"
    says 'VERIFIED' "$place/second_run.out"
    is_silent_on 'setup: (installing|reading|downloading|running)' "$place/second_run.out"
    local before
    before=$(sed -n 's/^\([0-9]*\) \[.*machine: the image boots.*/\1/p' "$place/second_run.out")
    printf '%s s before the machine starts\n' "$before"
    ((before <= 20))
}

case_test() {
    used_machine test
    as newcomer "cd $CLONE && make test" 2>&1 | tee "$place/test.out"
    says '^[0-9]+ passed, 0 failed' <(tail -n 1 "$place/test.out")
}

case_root() {
    used_machine root
    chroot "$root" sh -c "cp -r /home/newcomer/.cargo /home/newcomer/.rustup /root/; chown -R root:root $CLONE; cd $CLONE; PATH=/root/.cargo/bin:\$PATH HOME=/root make run" | tee "$place/root.out"
    says '^VERIFIED' "$place/root.out"
}

case_no_network_before() {
    new_machine no_network_before
    local started=$SECONDS
    fails without_network chroot "$root" su --login newcomer -c "cd $CLONE && make run" >"$place/offline.out" 2>&1
    ((SECONDS - started < 30))
    says 'a network' "$place/offline.out"
    # Nothing remembers that there was none.
    as newcomer "cd $CLONE && ! ls target/guests/apt-*/stamp"
    fails without_network chroot "$root" su --login newcomer -c "cd $CLONE && tools/setup/guests.sh busybox" >"$place/offline.out" 2>&1
    as newcomer "cd $CLONE && ! ls target/guests/apt-*/stamp"
}

case_no_network_after() {
    used_machine no_network_after
    # As if the indexes were old.
    find "$root$CLONE/target/guests" -name stamp -delete
    without_network chroot "$root" su --login newcomer -c "cd $CLONE && make run" 2>&1 | tee "$place/offline.out"
    says 'no network' "$place/offline.out"
    says '^VERIFIED' "$place/offline.out"
}

case_full_disk() {
    used_machine full_disk
    mkdir -p "$root/full"
    mount -t tmpfs -o size=40m,mode=1777 tmpfs "$root/full"
    fails as newcomer "cd $CLONE && CARGO_TARGET_DIR=/full/target make run" >"$place/full.out" 2>&1
    says 'MB of disk for /full/target; [0-9]+ MB are free' "$place/full.out"
    fails as newcomer "cd $CLONE && VOUCHSAFE_GUESTS=/full/guests tools/setup/guests.sh linux-new" >"$place/full.out" 2>&1
    says '(disk full|[Nn]o space|not enough free space)' "$place/full.out"
}

# Ctrl-C goes to everything in the foreground.
case_interrupted() {
    used_machine interrupted
    as newcomer "cd $CLONE && exec setsid make run" >"$place/interrupted.out" 2>&1 &
    local tries=0
    until pgrep -f qemu-system-x86_64 >/dev/null; do
        sleep 1
        tries=$((tries + 1))
        ((tries < 240))
    done
    sleep 2
    kill -INT -- "-$(pgrep --full --oldest '^make run')"
    sleep 5
    fails pgrep --list-full 'qemu|snp-emulator|workflow'
}

case_two_at_once() {
    used_machine two_at_once
    as newcomer "cd $CLONE && make run >/tmp/one 2>&1 & cd $CLONE && make run >/tmp/two 2>&1; wait; cat /tmp/one /tmp/two" | tee "$place/two.out"
    [[ $(grep -c '^VERIFIED' "$place/two.out") == 2 ]]
}

case_no_install() {
    new_machine no_install
    fails as newcomer "cd $CLONE && VOUCHSAFE_NO_INSTALL=1 make test" >"$place/no_install.out" 2>&1
    local what
    for what in gcc swtpm 'tpm2-tools' '(QEMU|qemu-system-x86)' 'nothing is installed' 'apt-get'; do
        says "$what" "$place/no_install.out"
    done
    fails chroot "$root" dpkg-query --show gcc
}

case_no_sudo() {
    new_machine no_sudo
    chroot "$root" sh -c "cp -r /home/newcomer/.cargo /home/newcomer/.rustup /home/newcomer/.profile $CLONE /home/stranger; chown -R stranger:stranger /home/stranger"
    fails as stranger "cd vouchsafe && make run" >"$place/no_sudo.out" 2>&1
    says 'stranger may not use sudo' "$place/no_sudo.out"
    says 'apt-get .*install.*gcc' "$place/no_sudo.out"
    is_silent_on '(apt offers none|readonly)' "$place/no_sudo.out"
}

case_path_with_spaces() {
    used_machine path_with_spaces
    local folder="/home/newcomer/Mein schönes Projekt"
    clone "$folder"
    # Cargo keeps what was downloaded; the rest is made anew, as everything knows its path.
    cp -a "$root$CLONE/target/guests" "$root/tmp/guests"
    as newcomer "cd '$folder' && mkdir -p target && cp -r /tmp/guests target/ && rm -rf target/guests/busybox && make run" 2>&1 | tee "$place/spaces.out"
    says '^VERIFIED' "$place/spaces.out"
    as newcomer "cd '$folder' && make run GUEST=payload RUN_FLAGS='--timeout 200'"
}

# greetings N FILE: waits until the shell has greeted N times.
greetings() {
    local tries=0
    until [[ $(grep -c 'Things to try' "$2" 2>/dev/null) -ge $1 ]]; do
        sleep 1
        tries=$((tries + 1))
        ((tries < 400)) || return 1
    done
    sleep 3
}

# What a visitor types.
visitor() {
    greetings 1 "$1" || return 0
    printf '%s\n' 'ls -l /dev/tpm0' 'tpm2_getrandom --hex 4 && echo random works' 'reboot'
    greetings 2 "$1" || return 0
    printf '%s\n' 'echo back again' 'exit'
}

case_shell() {
    used_machine shell
    local output=$place/shell.out
    : >"$output"
    visitor "$output" | as newcomer "cd $CLONE && make run INTERACTIVE=1" 2>&1 | tee "$output"
    says '/dev/tpm0$' "$output"
    says '^random works' "$output"
    says '^back again' "$output"
}
