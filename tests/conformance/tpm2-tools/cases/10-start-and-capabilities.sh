# Startup, shutdown, self tests, capabilities, random numbers, clock.

startup_twice_answers_initialize() {
    # The tool counts TPM_RC_INITIALIZE as success; sent by hand it shows.
    printf '\x80\x01\0\0\0\x0c\0\0\x01\x44\0\0' | tpm2_send >response
    equal "$(hex response)" 80010000000a00000100
}

commands_before_startup_are_refused() {
    reset_line
    refused 100 tpm2_getrandom 4
    tpm2_startup -c
    tpm2_getrandom 4 >/dev/null
}

startup_state_without_shutdown_state_is_refused() {
    reset_line
    refused 1c4 tpm2_startup
    tpm2_startup -c
}

startup_state_after_shutdown_state_resumes() {
    tpm2_pcrextend 16:sha256=1111111111111111111111111111111111111111111111111111111111111111
    tpm2_pcrextend 5:sha256=1111111111111111111111111111111111111111111111111111111111111111
    tpm2_pcrread sha256:5 -o before
    tpm2_shutdown
    reset_line
    tpm2_startup
    tpm2_pcrread sha256:5 -o after
    cmp before after
    says "restart_count: 1" tpm2_readclock
}

startup_clear_after_shutdown_state_restarts() {
    tpm2_shutdown
    reset_line
    tpm2_startup -c
    says "restart_count: 1" tpm2_readclock
    says "reset_count: 0|reset_count: 1" tpm2_readclock
}

reset_without_shutdown_is_not_orderly() {
    reset_line
    tpm2_startup -c
    says "orderly: +0" tpm2_getcap properties-variable
}

orderly_shutdown_is_remembered() {
    reboot
    says "orderly: +1" tpm2_getcap properties-variable
}

reset_count_rises_with_every_reset() {
    local before after
    before=$(tpm2_readclock | awk '/reset_count/ { print $2 }')
    reboot
    reboot
    after=$(tpm2_readclock | awk '/reset_count/ { print $2 }')
    equal "$after" $((before + 2))
}

shutdown_state_then_a_command_makes_resume_impossible() {
    tpm2_shutdown
    tpm2_pcrextend 5:sha256=1111111111111111111111111111111111111111111111111111111111111111
    reset_line
    refused 1c4 tpm2_startup
}

reboot_flushes_transient_objects_and_sessions() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_startauthsession -S session.ctx
    reboot
    equal "$(tpm2_getcap handles-transient)" ""
    equal "$(tpm2_getcap handles-loaded-session)" ""
    refused 3a tpm2_flushcontext session.ctx || fails tpm2_policypassword -S session.ctx
}

selftest_full_and_of_what_is_left() {
    tpm2_selftest
    tpm2_selftest -f
}

incremental_selftest_of_algorithms() {
    tpm2_incrementalselftest rsa ecc sha256 aes hmac
}

incremental_selftest_lists_what_remains() {
    tpm2_selftest -f
    silent_on "rsa" tpm2_incrementalselftest rsa
}

test_result_is_success() {
    tpm2_selftest -f
    says "status: +success" tpm2_gettestresult
}

_testparms() { tpm2_testparms "$1"; }
for_each _testparms rsa2048 rsa2048:rsassa-sha256 rsa2048:rsapss-sha384 rsa2048:oaep-sha256 rsa3072 \
    ecc256 ecc384 ecc256:ecdsa-sha256 ecc384:ecdsa-sha384 ecc256:ecdaa-sha256 aes128cfb aes256cfb aes128ctr \
    keyedhash hmac xor:sha256

_testparms_refused() { fails tpm2_testparms "$1"; }
for_each _testparms_refused rsa1337 ecc666 aes512 sm4

_getcap() {
    tpm2_getcap "$1" >output
}
for_each _getcap algorithms commands properties-fixed properties-variable ecc-curves handles-transient \
    handles-persistent handles-permanent handles-pcr handles-nv-index handles-loaded-session \
    handles-saved-session pcrs

fixed_properties_name_family_and_sizes() {
    says 'value: +"2.0"' tpm2_getcap properties-fixed
    says "TPM2_PT_PCR_COUNT" tpm2_getcap properties-fixed
    says "TPM2_PT_MAX_DIGEST" tpm2_getcap properties-fixed
    says "TPM2_PT_INPUT_BUFFER" tpm2_getcap properties-fixed
}

limits_are_at_least_those_of_the_profile() {
    local number
    number=$(tpm2_getcap properties-fixed | grep -A1 TPM2_PT_HR_TRANSIENT_MIN | awk '/raw/ { print $2 }')
    ((number >= 3))
    number=$(tpm2_getcap properties-fixed | grep -A1 TPM2_PT_ACTIVE_SESSIONS_MAX | awk '/raw/ { print $2 }')
    ((number >= 64))
    number=$(tpm2_getcap properties-fixed | grep -A1 TPM2_PT_NV_INDEX_MAX | awk '/raw/ { print $2 }')
    ((number >= 2048))
}

capabilities_list_the_algorithms_of_the_profile() {
    local algorithm
    tpm2_getcap algorithms >output
    for algorithm in rsa sha1 hmac aes mgf1 keyedhash xor sha256 sha384 sha512 rsassa rsaes rsapss oaep ecdsa ecdh \
        ecdaa ecschnorr kdf1_sp800_56a kdf1_sp800_108 ecc symcipher ctr ofb cbc cfb ecb; do
        grep -qE "^$algorithm:" output || { echo "no $algorithm"; return 1; }
    done
}

capabilities_list_curves() {
    says "NIST_P256: 0x3" tpm2_getcap ecc-curves
    says "NIST_P384: 0x4" tpm2_getcap ecc-curves
}

capabilities_list_the_commands_that_the_platforms_need() {
    local command
    tpm2_getcap commands >output
    for command in CreatePrimary NV_DefineSpace NV_Read NV_Write PCR_Allocate StartAuthSession PolicyPCR Quote \
        ActivateCredential MakeCredential Import Duplicate PolicyAuthorizeNV EncryptDecrypt2 CreateLoaded; do
        grep -qiE "TPM2_CC_$command:" output || { echo "no $command"; return 1; }
    done
}

permanent_handles_are_listed() {
    says "0x40000001" tpm2_getcap handles-permanent
    says "0x4000000B" tpm2_getcap handles-permanent
}

transient_and_persistent_handles_are_listed() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    says "0x80000000" tpm2_getcap handles-transient
    tpm2_evictcontrol -Q -c primary.ctx 0x81000005
    equal "$(tpm2_getcap handles-persistent)" "- 0x81000005"
}

sessions_are_listed() {
    tpm2_startauthsession --policy-session -S session.ctx
    equal "$(tpm2_getcap handles-saved-session)" "- 0x2000000"
}

pcr_handles_are_listed() {
    equal "$(tpm2_getcap handles-pcr | wc -l)" 24
}

_getrandom() {
    equal "$(tpm2_getrandom "$1" --hex | wc -c)" $((2 * $1))
}
for_each _getrandom 1 16 32 48

getrandom_does_not_repeat() {
    differ "$(tpm2_getrandom 16 --hex)" "$(tpm2_getrandom 16 --hex)"
}

getrandom_beyond_the_largest_digest_is_refused_by_the_tool() {
    fails tpm2_getrandom 2049
}

stirrandom_takes_up_to_128_bytes() {
    head -c 128 /dev/urandom >more
    tpm2_stirrandom <more
    echo some >file
    tpm2_stirrandom file
}

clock_goes_forward_and_can_be_advanced() {
    local before
    before=$(tpm2_readclock | awk '/clock:/ { print $2 }' | head -1)
    tpm2_setclock $((before + 100000))
    (($(tpm2_readclock | awk '/ clock:/ { print $2 }') >= before + 100000))
}

clock_cannot_be_set_back() {
    tpm2_setclock 1000000
    refused 1c4 tpm2_setclock 1000
}

clock_survives_a_reset() {
    tpm2_setclock 5000000
    reboot
    (($(tpm2_readclock | awk '/ clock:/ { print $2 }') >= 5000000))
}

clock_rate_is_adjusted() {
    tpm2_clockrateadjust s
    tpm2_clockrateadjust f
    tpm2_clockrateadjust ss
    tpm2_clockrateadjust ff
}

clock_rate_with_the_wrong_auth_is_refused() {
    tpm2_changeauth -c owner owner
    refused 9a2 tpm2_clockrateadjust -p wrong s
    tpm2_clockrateadjust -p owner s
}

clock_is_set_with_platform_auth() {
    tpm2_setclock -c p 3000000
    (($(tpm2_readclock | awk '/ clock:/ { print $2 }') >= 3000000))
}
