# systemd's users of a TPM: encrypted credentials, and LUKS volumes that open by the TPM.

# From 256 on systemd-creds asks a system service unless it is root, and the service has the machine's TPM, not ours. A user
# namespace makes it root where that is permitted.
_creds() {
    local prefix=()
    if [[ $(id -u) != 0 ]] && ! systemd_before 256; then
        unshare --map-root-user true 2>/dev/null ||
            skip "systemd-creds of systemd 256 and newer wants a system service when it is not root"
        prefix=(unshare --map-root-user)
    fi
    PATH=$PATH:/usr/bin "${prefix[@]}" systemd-creds --tpm2-device="$TPM2TOOLS_TCTI" "$@"
}

credential_opens_on_this_tpm() {
    echo secret >plain
    _creds encrypt --with-key=tpm2 --tpm2-pcrs=16 --name=name plain sealed
    _creds decrypt --name=name sealed out
    cmp plain out
}

credential_stays_shut_when_a_register_changed() {
    echo secret >plain
    _creds encrypt --with-key=tpm2 --tpm2-pcrs=16 --name=name plain sealed
    tpm2_pcrextend "16:sha256=$(printf %064d 1)"
    fails _creds decrypt --name=name sealed out
}

credential_stays_shut_on_another_tpm() {
    echo secret >plain
    _creds encrypt --with-key=tpm2 --tpm2-pcrs=16 --name=name plain sealed
    tpm2_clear -c p
    fails _creds decrypt --name=name sealed out
}

_volume() {
    truncate -s 32M volume
    printf passphrase | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 volume - ||
        skip "cryptsetup cannot format a file here"
    printf passphrase >passphrase
}

cryptenroll_adds_a_tpm_slot() {
    _volume
    PASSWORD=passphrase systemd-cryptenroll --tpm2-device="$TPM2TOOLS_TCTI" --tpm2-pcrs=16 volume
    says "systemd-tpm2" cryptsetup luksDump volume
    says "tpm2" systemd-cryptenroll volume
}

cryptenroll_wipes_its_slot() {
    _volume
    PASSWORD=passphrase systemd-cryptenroll --tpm2-device="$TPM2TOOLS_TCTI" --tpm2-pcrs=16 volume
    PASSWORD=passphrase systemd-cryptenroll --wipe-slot=tpm2 volume
    silent_on "systemd-tpm2" cryptsetup luksDump volume
}
