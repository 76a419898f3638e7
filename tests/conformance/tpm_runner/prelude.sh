# What the cases share. The runner sources this, then the case's file, and calls the function.

# Runs one case: every command has to succeed, and what fails says where.
run_case() {
    set -Eeuo pipefail
    trap 'echo "line $LINENO of ${FUNCNAME[0]:-?}: $BASH_COMMAND"' ERR
    # shellcheck source=/dev/null
    source "$1"
    tpm2_startup -c
    "$2"
}

# refused RC COMMAND...: the TPM has to answer with this response code, in hexadecimal.
refused() {
    local code=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "was not refused: $*"
        return 1
    fi
    if ! grep -qiE "0x0*$code\b" <<<"$output"; then
        echo "refused otherwise than by 0x$code: $* -> $(grep -oiE '\(0x[0-9a-f]+\)[^\n]*' <<<"$output" | head -1 || tail -1 <<<"$output")"
        return 1
    fi
}

# fails COMMAND...: the tool has to fail; for what the tool itself checks.
fails() {
    if "$@" >/dev/null 2>&1; then
        echo "did not fail: $*"
        return 1
    fi
}

# equal TEXT TEXT
equal() {
    [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }
}

# differ TEXT TEXT
differ() {
    [[ $1 != "$2" ]] || { echo "both are '$1'"; return 1; }
}

# says PATTERN COMMAND...: what the command prints has to match.
says() {
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) || { echo "failed: $* -> $output"; return 1; }
    grep -qE -- "$pattern" <<<"$output" || { echo "no '$pattern' in: $output"; return 1; }
}

# silent_on PATTERN COMMAND...: what the command prints must not match.
silent_on() {
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) || { echo "failed: $* -> $output"; return 1; }
    ! grep -qE -- "$pattern" <<<"$output" || { echo "'$pattern' is in: $output"; return 1; }
}

# Judges are known by their versions, not by their words.

# older VERSION THAN: whether a version is older than another.
older() {
    [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]
}

# tools_before VERSION: whether tpm2-tools are older.
tools_before() {
    older "$(tpm2_getcap --version | sed -n 's/.*version="\([0-9.]*\).*/\1/p')" "$1"
}

# systemd_before VERSION: whether systemd is older.
systemd_before() {
    older "$(systemd-creds --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" "$1"
}

# hex FILE: its bytes.
hex() {
    xxd -p "$1" | tr -d '\n'
}

# change FILE OFFSET: makes the byte there another one, whatever it is.
change() {
    local byte
    byte=$(xxd -p -s "$2" -l 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((0x$byte ^ 0xff)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# skip REASON: ends the case.
skip() {
    echo "$1"
    exit 77
}

# The machine's reset line, without a shutdown of the TPM. Startup is then awaited.
reset_line() {
    swtpm_ioctl --tcp "127.0.0.1:$CONTROL_PORT" -i
}

# at_locality N COMMAND...: runs a tool whose commands come from this locality. Both TCTIs say 0 by themselves, so the
# tool gets a raw connection, and the control channel the locality.
at_locality() {
    local locality=$1 status=0
    shift
    swtpm_ioctl --tcp "127.0.0.1:$CONTROL_PORT" -l "$locality"
    TPM2TOOLS_TCTI="cmd:$RUNNER/raw_relay.sh $COMMAND_PORT" "$@" || status=$?
    swtpm_ioctl --tcp "127.0.0.1:$CONTROL_PORT" -l 0
    return $status
}

# A TPM reset as a reboot does it, and Startup(CLEAR).
reboot() {
    tpm2_shutdown -c
    reset_line
    tpm2_startup -c
}

# for_each FUNCTION VALUE...: defines a case for each value, named after it.
for_each() {
    local body=$1 value
    shift
    for value in "$@"; do
        eval "${body#_}_${value//[^a-zA-Z0-9]/_}() { $body '$value'; }"
    done
}

# Tools leave what they load in the TPM. swtpm has room for three objects, so its cases flush before each tool that
# loads; ours has room for what a case leaves.
if [[ ${FLUSH_BEFORE_LOADING:-} == 1 ]]; then
    for tool in activatecredential certify certifycreation changeauth create createak createek createprimary duplicate \
        ecdhkeygen ecdhzgen encryptdecrypt evictcontrol gettime hmac import load loadexternal makecredential nvcertify \
        policyauthorize policyduplicationselect policysecret policysigned print quote readpublic rsadecrypt rsaencrypt \
        sessionaudit sign startauthsession unseal verifysignature commit zgen2phase getcommandauditdigest \
        getsessionauditdigest certifyX509certutil hash policyticket; do
        eval "tpm2_$tool() { command tpm2_flushcontext -t >/dev/null 2>&1 || true; command tpm2_$tool \"\$@\"; }"
    done
fi
