# NV indices: every type, every lock, every way to be authorised.

_index=0x01000001

_written() {
    tpm2_nvdefine -Q -C o -a "${1:-authread|authwrite|ownerread|ownerwrite}" -s 8 $_index
    printf 12345678 >data
    tpm2_nvwrite -Q -C "${2:-o}" -i data $_index
}

nv_write_and_read() {
    _written
    equal "$(tpm2_nvread -C o $_index)" 12345678
    equal "$(tpm2_nvread -C o -s 3 --offset 2 $_index)" 345
}

nv_write_at_an_offset() {
    _written
    printf XY | tpm2_nvwrite -Q -C o -i - --offset 6 $_index
    equal "$(tpm2_nvread -C o $_index)" 123456XY
}

nv_write_beyond_the_end_is_refused() {
    _written
    printf 1234567890 >long
    fails tpm2_nvwrite -Q -C o -i long $_index
    fails tpm2_nvread -C o -s 4 --offset 6 $_index
}

nv_read_before_the_first_write_is_refused() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 $_index
    refused 14a tpm2_nvread -C o $_index
}

nv_survives_a_reboot() {
    _written
    reboot
    equal "$(tpm2_nvread -C o $_index)" 12345678
}

nv_define_of_what_is_defined_is_refused() {
    _written
    refused 14c tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 $_index
}

nv_undefine_removes() {
    _written
    tpm2_nvundefine -Q -C o $_index
    equal "$(tpm2_getcap handles-nv-index)" ""
    fails tpm2_nvread -C o $_index
}

nv_readpublic_shows_what_was_defined() {
    _written
    tpm2_nvreadpublic $_index >public
    grep -q "size: 8" public
    grep -q "ownerwrite|authwrite|ownerread|authread|written" public
    grep -q "friendly: sha256" public
}

nv_name_changes_with_the_first_write() {
    local before after
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 $_index
    before=$(tpm2_nvreadpublic $_index | awk '/name:/ { print $2 }')
    printf 12345678 | tpm2_nvwrite -Q -C o -i - $_index
    after=$(tpm2_nvreadpublic $_index | awk '/name:/ { print $2 }')
    differ "$before" "$after"
}

_nv_size() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s "$1" $_index
    head -c "$1" /dev/urandom >data
    tpm2_nvwrite -Q -C o -i data $_index
    tpm2_nvread -C o $_index >out
    cmp data out
}
for_each _nv_size 1 64 1024 2000 2048

nv_size_of_zero_takes_the_empty_write() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 0 $_index
    says "size: 0" tpm2_nvreadpublic $_index
}

nv_auth_is_needed() {
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -p secret -s 8 $_index
    printf 12345678 >data
    refused 98e tpm2_nvwrite -Q -C $_index -P wrong -i data $_index
    tpm2_nvwrite -Q -C $_index -P secret -i data $_index
    refused 98e tpm2_nvread -C $_index -P wrong $_index
    equal "$(tpm2_nvread -C $_index -P secret $_index)" 12345678
}

nv_with_no_da_answers_bad_auth() {
    tpm2_nvdefine -Q -C o -a "authread|authwrite|no_da" -p secret -s 8 $_index
    printf 12345678 >data
    refused 9a2 tpm2_nvwrite -Q -C $_index -P wrong -i data $_index
}

nv_without_ownerread_is_not_read_by_the_owner() {
    _written "authread|authwrite" $_index
    refused 149 tpm2_nvread -C o $_index
    equal "$(tpm2_nvread -C $_index $_index)" 12345678
}

nv_without_authwrite_is_not_written_by_its_auth() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 $_index
    printf 12345678 >data
    fails tpm2_nvwrite -Q -C $_index -i data $_index
}

nv_platform_index() {
    tpm2_nvdefine -Q -C p -a "ppread|ppwrite|platformcreate|authread" -s 8 $_index
    printf 12345678 | tpm2_nvwrite -Q -C p -i - $_index
    equal "$(tpm2_nvread -C p $_index)" 12345678
    fails tpm2_nvundefine -Q -C o $_index
    tpm2_clear -c p
    equal "$(tpm2_nvread -C p $_index)" 12345678
    tpm2_nvundefine -Q -C p $_index
}

nv_policy_delete_needs_the_special_command() {
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_NV_UndefineSpaceSpecial
    tpm2_flushcontext trial.ctx
    tpm2_nvdefine -Q -C p -a "ppread|ppwrite|platformcreate|policydelete|authread" -L policy -s 8 $_index
    fails tpm2_nvundefine -Q -C p $_index
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_NV_UndefineSpaceSpecial
    tpm2_nvundefine -Q -C p -S session.ctx $_index
    equal "$(tpm2_getcap handles-nv-index)" ""
}

nv_policy_write_and_read() {
    tpm2_startauthsession -S trial.ctx
    tpm2_policypcr -Q -S trial.ctx -l sha256:16 -L policy
    tpm2_flushcontext trial.ctx
    tpm2_nvdefine -Q -C o -a "policyread|policywrite" -L policy -s 8 $_index
    printf 12345678 >data
    tpm2_nvwrite -Q -C $_index -P pcr:sha256:16 -i data $_index
    equal "$(tpm2_nvread -C $_index -P pcr:sha256:16 $_index)" 12345678
    tpm2_pcrextend "16:sha256=$(printf %064d 1)"
    refused 99d tpm2_nvread -C $_index -P pcr:sha256:16 $_index
}

nv_writelock_lasts_until_restart_with_stclear() {
    _written "ownerread|ownerwrite|write_stclear"
    tpm2_nvwritelock -Q -C o $_index
    refused 148 tpm2_nvwrite -Q -C o -i data $_index
    equal "$(tpm2_nvread -C o $_index)" 12345678
    reboot
    tpm2_nvwrite -Q -C o -i data $_index
}

nv_writelock_with_writedefine_is_for_ever() {
    _written "ownerread|ownerwrite|writedefine"
    tpm2_nvwritelock -Q -C o $_index
    reboot
    refused 148 tpm2_nvwrite -Q -C o -i data $_index
}

nv_writelock_without_the_attribute_is_refused() {
    _written
    fails tpm2_nvwritelock -Q -C o $_index
}

nv_readlock_lasts_until_restart() {
    _written "ownerread|ownerwrite|read_stclear"
    tpm2_nvreadlock -Q -C o $_index
    refused 148 tpm2_nvread -C o $_index
    reboot
    equal "$(tpm2_nvread -C o $_index)" 12345678
}

nv_readlock_without_the_attribute_is_refused() {
    _written
    fails tpm2_nvreadlock -Q -C o $_index
}

nv_global_lock() {
    _written "ownerread|ownerwrite|globallock"
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 0x01000002
    tpm2_nvwritelock -Q -C o --global
    refused 148 tpm2_nvwrite -Q -C o -i data $_index
    tpm2_nvwrite -Q -C o -i data 0x01000002
    reboot
    tpm2_nvwrite -Q -C o -i data $_index
}

nv_writeall_takes_only_whole_writes() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|writeall" -s 8 $_index
    printf 12 >part
    fails tpm2_nvwrite -Q -C o -i part $_index
    printf 12345678 | tpm2_nvwrite -Q -C o -i - $_index
}

nv_clear_stclear_is_unwritten_after_a_reboot() {
    _written "ownerread|ownerwrite|clear_stclear"
    reboot
    refused 14a tpm2_nvread -C o $_index
}

nv_orderly_survives_a_restart_and_no_reset() {
    _written "ownerread|ownerwrite|orderly"
    tpm2_shutdown
    reset_line
    tpm2_startup -c
    equal "$(tpm2_nvread -C o $_index)" 12345678
    reboot
    refused 14a tpm2_nvread -C o $_index
}

nv_counter_counts_up_only() {
    local first
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" -s 8 $_index
    refused 14a tpm2_nvread -C o $_index
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvread -C o $_index >value
    first=$((0x$(hex value)))
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvread -C o $_index >value
    equal $((0x$(hex value))) $((first + 2))
    head -c 8 /dev/zero >zero
    fails tpm2_nvwrite -Q -C o -i zero $_index
}

nv_counter_never_goes_back_when_defined_again() {
    local number
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" -s 8 $_index
    for number in 1 2 3 4 5; do
        tpm2_nvincrement -Q -C o $_index
    done
    tpm2_nvread -C o $_index >before
    tpm2_nvundefine -Q -C o $_index
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" -s 8 $_index
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvread -C o $_index >after
    ((0x$(hex after) > 0x$(hex before)))
}

nv_counter_survives_a_reboot() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" -s 8 $_index
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvread -C o $_index >before
    reboot
    tpm2_nvread -C o $_index >after
    cmp before after
}

nv_orderly_counter_jumps_after_a_crash() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter|orderly" -s 8 $_index
    tpm2_nvincrement -Q -C o $_index
    tpm2_nvread -C o $_index >before
    reset_line
    tpm2_startup -c
    tpm2_nvread -C o $_index >after
    ((0x$(hex after) >= 0x$(hex before)))
}

nv_counter_of_another_size_is_refused() {
    fails tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=counter" -s 4 $_index
}

nv_increment_of_an_ordinary_index_is_refused() {
    _written
    fails tpm2_nvincrement -Q -C o $_index
}

nv_bits_are_only_set() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=bits" -s 8 $_index
    tpm2_nvsetbits -Q -C o -i 0x05 $_index
    tpm2_nvsetbits -Q -C o -i 0xf000000000000002 $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" f000000000000007
    fails tpm2_nvwrite -Q -C o -i value $_index
}

nv_extend_hashes() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=extend" -g sha256 -s 32 $_index
    printf data >data
    tpm2_nvextend -Q -C o -i data $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" "$( (head -c 32 /dev/zero; cat data) | openssl dgst -sha256 -r | cut -d' ' -f1)"
    fails tpm2_nvwrite -Q -C o -i value $_index
}

_nv_extend_hash() {
    local bytes
    bytes=$(openssl dgst "-$1" -binary /dev/null | wc -c)
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|nt=extend" -g "$1" -s "$bytes" $_index
    printf data | tpm2_nvextend -Q -C o -i - $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" "$( (head -c "$bytes" /dev/zero; printf data) | openssl dgst "-$1" -r | cut -d' ' -f1)"
}
for_each _nv_extend_hash sha1 sha384 sha512

# pinCount and pinLimit in eight bytes.
_pin() { printf '%08x%08x' "$1" "$2" | xxd -r -p >pin; }

nv_pinfail_locks_after_its_limit() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|authread|no_da|nt=pinfail" -p pin -s 8 $_index
    _pin 0 2
    tpm2_nvwrite -Q -C o -i pin $_index
    tpm2_nvread -C $_index -P pin $_index >/dev/null
    refused 9a2 tpm2_nvread -C $_index -P wrong $_index
    refused 9a2 tpm2_nvread -C $_index -P wrong $_index
    fails tpm2_nvread -C $_index -P pin $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" 0000000200000002
    _pin 0 2
    tpm2_nvwrite -Q -C o -i pin $_index
    tpm2_nvread -C $_index -P pin $_index >/dev/null
}

nv_pinfail_counts_again_from_zero_after_success() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|authread|no_da|nt=pinfail" -p pin -s 8 $_index
    _pin 0 5
    tpm2_nvwrite -Q -C o -i pin $_index
    refused 9a2 tpm2_nvread -C $_index -P wrong $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" 0000000100000005
    tpm2_nvread -C $_index -P pin $_index >value
    equal "$(hex value)" 0000000000000005
}

nv_pinpass_counts_uses() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|authread|no_da|nt=pinpass" -p pin -s 8 $_index
    _pin 0 2
    tpm2_nvwrite -Q -C o -i pin $_index
    tpm2_nvread -C $_index -P pin $_index >/dev/null
    tpm2_nvread -C $_index -P pin $_index >/dev/null
    fails tpm2_nvread -C $_index -P pin $_index
    tpm2_nvread -C o $_index >value
    equal "$(hex value)" 0000000200000002
}

nv_pinfail_without_no_da_is_refused() {
    refused 2c2 tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|authread|nt=pinfail" -p pin -s 8 $_index
}

_nv_bad_attributes() {
    fails tpm2_nvdefine -Q -C o -a "$1" -s 8 $_index
}
for_each _nv_bad_attributes "ownerread" "ownerwrite" "ownerread|ownerwrite|written" "ownerread|ownerwrite|writelocked" \
    "ownerread|ownerwrite|policydelete" "ownerread|ownerwrite|platformcreate" "ownerread|ownerwrite|nt=counter|clear_stclear"

nv_changeauth_needs_a_policy() {
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_NV_ChangeAuth
    tpm2_flushcontext trial.ctx
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -p first -L policy -s 8 $_index
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_NV_ChangeAuth
    tpm2_changeauth -Q -c $_index -p session:session.ctx second
    printf 12345678 >data
    refused 98e tpm2_nvwrite -Q -C $_index -P first -i data $_index
    tpm2_nvwrite -Q -C $_index -P second -i data $_index
}

nv_define_with_the_wrong_owner_auth_is_refused() {
    tpm2_changeauth -c owner owner
    refused 9a2 tpm2_nvdefine -Q -C o -P wrong -a "ownerread|ownerwrite" -s 8 $_index
    tpm2_nvdefine -Q -C o -P owner -a "ownerread|ownerwrite" -s 8 $_index
}

nv_many_indices_are_kept() {
    local number
    for number in 1 2 3 4 5 6 7 8 9; do
        tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 64 0x0100000$number
    done
    reboot
    equal "$(tpm2_getcap handles-nv-index | wc -l)" 9
}

nv_too_large_is_refused() {
    fails tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 65535 $_index
}

nv_certify_signs_the_contents() {
    _written "authread|authwrite|ownerread|ownerwrite"
    tpm2_createprimary -Q -C e -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc256:ecdsa -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_readpublic -Q -c key.ctx -f pem -o key.pem
    tpm2_nvcertify -C key.ctx -c o -g sha256 -f plain -s ecdsa --size 8 --offset 0 -o sig --attestation attest -q aabb $_index
    openssl dgst -sha256 -verify key.pem -signature sig attest
    [[ $(hex attest) == ff5443478014*3132333435363738 ]]
}
