# Platform configuration registers.

_pcrread() { says "^ +0 *: 0x0+$" tpm2_pcrread "$1:0"; }
for_each _pcrread sha256 sha384

# PCR 17 to 22 start with ones (PC Client PTP, table of PCR attributes).
_drtm_pcr_starts_with_ones() { says "0xF+$" tpm2_pcrread "sha256:$1"; }
for_each _drtm_pcr_starts_with_ones 17 22

_zero_after_reset() { says ": 0x0+$" tpm2_pcrread "sha256:$1"; }
for_each _zero_after_reset 1 7 15 16 23

_pcrextend() {
    local digest
    digest=$(printf '%0*d' "$2" 7)
    tpm2_pcrextend "10:$1=$digest"
    tpm2_pcrread -o value "$1:10"
    equal "$(hex value)" "$( (head -c $(($2 / 2)) /dev/zero; echo -n "$digest" | xxd -r -p) | openssl dgst "-$1" -r | cut -d' ' -f1)"
}
pcrextend_sha256() { _pcrextend sha256 64; }
pcrextend_sha384() { _pcrextend sha384 96; }

pcrextend_of_two_banks_and_two_registers() {
    local a b
    a=$(printf '%064d' 3) b=$(printf '%096d' 4)
    tpm2_pcrextend "8:sha256=$a,sha384=$b" "9:sha256=$a"
    differ "$(tpm2_pcrread sha256:8 | tail -1)" "$(tpm2_pcrread sha256:0 | tail -1)"
    equal "$(tpm2_pcrread sha256:8 | tail -1 | cut -d: -f2)" "$(tpm2_pcrread sha256:9 | tail -1 | cut -d: -f2)"
    silent_on "8 : 0x0+$" tpm2_pcrread sha384:8
}

pcrextend_twice_depends_on_the_order() {
    local a b
    a=$(printf '%064d' 3) b=$(printf '%064d' 4)
    tpm2_pcrextend "8:sha256=$a"
    tpm2_pcrextend "8:sha256=$b"
    tpm2_pcrextend "9:sha256=$b"
    tpm2_pcrextend "9:sha256=$a"
    differ "$(tpm2_pcrread sha256:8 | tail -1 | cut -d: -f2)" "$(tpm2_pcrread sha256:9 | tail -1 | cut -d: -f2)"
}

pcrevent_extends_all_banks_and_returns_digests() {
    echo "an event" >event
    tpm2_pcrevent 8 event >digests
    grep -q "sha256: $(openssl dgst -sha256 -r event | cut -d' ' -f1)" digests
    grep -q "sha384: $(openssl dgst -sha384 -r event | cut -d' ' -f1)" digests
    silent_on "8 : 0x0+$" tpm2_pcrread sha256:8
}

pcrevent_without_a_register_only_hashes() {
    echo "an event" >event
    tpm2_pcrevent event >digests
    grep -q "sha256: $(openssl dgst -sha256 -r event | cut -d' ' -f1)" digests
}

pcrevent_of_a_large_file_uses_a_sequence() {
    head -c 5000 /dev/urandom >event
    tpm2_pcrevent 8 event >digests
    grep -q "sha256: $(openssl dgst -sha256 -r event | cut -d' ' -f1)" digests
}

_pcrreset() {
    tpm2_pcrextend "$1:sha256=$(printf '%064d' 1)"
    silent_on ": 0x0+$" tpm2_pcrread "sha256:$1"
    tpm2_pcrreset "$1"
    says ": 0x0+$" tpm2_pcrread "sha256:$1"
}
for_each _pcrreset 16 23

_pcrreset_refused() { refused 907 tpm2_pcrreset "$1"; }
for_each _pcrreset_refused 0 7 17 20

pcr_20_is_reset_at_locality_2() {
    at_locality 2 tpm2_pcrreset 20
    says ": 0x0+$" tpm2_pcrread sha256:20
}

_extend_refused_at_locality_0() { refused 907 tpm2_pcrextend "$1:sha256=$(printf '%064d' 1)"; }
for_each _extend_refused_at_locality_0 17 18 19 20 21 22

pcr_18_is_extended_at_locality_3() {
    at_locality 3 tpm2_pcrextend "18:sha256=$(printf '%064d' 1)"
    silent_on "0xF+$" tpm2_pcrread sha256:18
}

drtm_sequence_resets_and_extends_pcr_17() {
    printf data >data
    swtpm_ioctl --tcp "127.0.0.1:$CONTROL_PORT" -h data
    tpm2_pcrread -o value sha256:17
    equal "$(hex value)" "$( (head -c 32 /dev/zero; openssl dgst -sha256 -binary data) | openssl dgst -sha256 -r | cut -d' ' -f1)"
    says "0x0+$" tpm2_pcrread sha256:18
}

hash_sequence_before_startup_is_an_hcrtm_event() {
    printf data >data
    reset_line
    swtpm_ioctl --tcp "127.0.0.1:$CONTROL_PORT" -h data
    tpm2_startup -c
    tpm2_pcrread -o value sha256:0
    equal "$(hex value)" "$( (printf '%062d04' 0 | xxd -r -p; openssl dgst -sha256 -binary data) | openssl dgst -sha256 -r | cut -d' ' -f1)"
}

startup_at_locality_3_shows_in_pcr_0() {
    reset_line
    at_locality 3 tpm2_startup -c
    says ": 0x0+3$" tpm2_pcrread sha256:0
}

pcrallocate_takes_effect_at_the_next_reset() {
    tpm2_pcrallocate sha1:all+sha256:all+sha384:none >/dev/null
    reboot
    says "sha1: \[ 0, 1," tpm2_getcap pcrs
    says "sha384: \[ \]" tpm2_getcap pcrs
    tpm2_pcrextend "10:sha1=$(printf '%040d' 1)"
    silent_on ": 0x0+$" tpm2_pcrread sha1:10
}

_pcrallocate_one_bank() {
    local bank banks=
    for bank in sha1 sha256 sha384 sha512; do
        if [[ $bank == "$1" ]]; then banks+="+$bank:all"; else banks+="+$bank:none"; fi
    done
    tpm2_pcrallocate "${banks#+}" >/dev/null
    reboot
    says "^ +3 *: 0x0+$" tpm2_pcrread "$1:3"
    echo x >event
    tpm2_pcrevent 3 event >digests
    grep -q "$1: $(openssl dgst "-$1" -r event | cut -d' ' -f1)" digests
}
for_each _pcrallocate_one_bank sha1 sha256 sha384 sha512

pcrallocate_needs_the_platform_hierarchy() {
    tpm2_changeauth -c platform secret
    refused 9a2 tpm2_pcrallocate sha256:all
    tpm2_pcrallocate -P secret sha256:all >/dev/null
}

pcr_update_counter_counts_extends() {
    local before after
    before=$(printf '\x80\x01\0\0\0\x14\0\0\x01\x7e\0\0\0\1\0\x0b\3\1\0\0' | tpm2_send | xxd -p -s 10 -l 4)
    tpm2_pcrextend "4:sha256=$(printf '%064d' 1)"
    after=$(printf '\x80\x01\0\0\0\x14\0\0\x01\x7e\0\0\0\1\0\x0b\3\1\0\0' | tpm2_send | xxd -p -s 10 -l 4)
    ((0x$after > 0x$before))
}

pcrs_survive_only_shutdown_state() {
    tpm2_pcrextend "4:sha256=$(printf '%064d' 1)"
    reboot
    says ": 0x0+$" tpm2_pcrread sha256:4
}
