# Sessions: HMAC, bound, salted, encrypted, audited; and the lockout.

_key() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G hmac -p auth -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    echo data >data
}

hmac_session_authorises() {
    _key
    tpm2_startauthsession --hmac-session -S session.ctx
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
    refused 98e tpm2_hmac -c key.ctx -p session:session.ctx+wrong -o mac2 data
}

_hmac_session_hash() {
    _key
    tpm2_startauthsession --hmac-session -g "$1" -S session.ctx
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
}
for_each _hmac_session_hash sha1 sha256 sha384 sha512

bound_session_authorises_its_object() {
    _key
    tpm2_startauthsession --hmac-session --bind-context key.ctx --bind-auth auth -S session.ctx
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
}

bound_session_with_the_wrong_auth_does_not_work() {
    _key
    tpm2_startauthsession --hmac-session --bind-context key.ctx --bind-auth wrong -S session.ctx
    fails tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
}

_salted_session() {
    tpm2_createprimary -Q -G "$1" -c salt.ctx
    _key
    tpm2_startauthsession --hmac-session --tpmkey-context salt.ctx -S session.ctx
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
    refused 98e tpm2_hmac -c key.ctx -p session:session.ctx+wrong -o mac data
}
for_each _salted_session rsa ecc ecc384

salted_and_bound_session() {
    tpm2_createprimary -Q -G ecc -c salt.ctx
    _key
    tpm2_startauthsession --hmac-session --tpmkey-context salt.ctx --bind-context key.ctx --bind-auth auth -S session.ctx
    tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
}

_encrypted_parameters() {
    tpm2_createprimary -Q -G ecc -c salt.ctx
    tpm2_createprimary -Q -C e -G ecc -c primary.ctx
    printf secret >secret
    tpm2_create -Q -C primary.ctx -i secret -p auth -u seal.pub -r seal.priv
    tpm2_load -Q -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    tpm2_startauthsession --hmac-session -g "$1" --tpmkey-context salt.ctx -S session.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt --enable-decrypt
    equal "$(tpm2_unseal -c seal.ctx -p session:session.ctx+auth)" secret
}
for_each _encrypted_parameters sha1 sha256 sha384 sha512

encrypted_creation_of_a_key_with_auth() {
    tpm2_createprimary -Q -G ecc -p parent -c primary.ctx
    tpm2_startauthsession --hmac-session --tpmkey-context primary.ctx -S session.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt --enable-decrypt
    tpm2_create -Q -C primary.ctx -P session:session.ctx+parent -G hmac -p auth -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -P parent -u key.pub -r key.priv -c key.ctx
    echo data >data
    tpm2_hmac -c key.ctx -p auth -o mac data
}

encrypted_random_numbers() {
    tpm2_createprimary -Q -G ecc -c salt.ctx
    tpm2_startauthsession --hmac-session --tpmkey-context salt.ctx -S session.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt
    equal "$(tpm2_getrandom --hex -S session.ctx 16 | wc -c)" 32
}

encrypted_nv() {
    tpm2_createprimary -Q -G ecc -c salt.ctx
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -p auth -s 8 0x01000001
    tpm2_startauthsession --hmac-session --tpmkey-context salt.ctx -S session.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt --enable-decrypt
    printf 12345678 | tpm2_nvwrite -Q -C 0x01000001 -P session:session.ctx+auth -i - 0x01000001
    equal "$(tpm2_nvread -C 0x01000001 -P session:session.ctx+auth 0x01000001)" 12345678
}

policy_session_encrypts_too() {
    tpm2_createprimary -Q -G ecc -c salt.ctx
    tpm2_createprimary -Q -C e -G ecc -c primary.ctx
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    tpm2_flushcontext trial.ctx
    printf secret >secret
    tpm2_create -Q -C primary.ctx -L policy -i secret -a "fixedtpm|fixedparent" -u seal.pub -r seal.priv
    tpm2_load -Q -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    tpm2_startauthsession --policy-session --tpmkey-context salt.ctx -S session.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    equal "$(tpm2_unseal -c seal.ctx -p session:session.ctx)" secret
}

session_without_continue_ends() {
    _key
    tpm2_startauthsession --hmac-session -S session.ctx
    tpm2_sessionconfig session.ctx --disable-continuesession
    # The tool means to save the session afterwards. Up to 5.6 it fails at that, later ones know that there is none.
    if tools_before 5.7; then
        refused 910 tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
    else
        tpm2_hmac -c key.ctx -p session:session.ctx+auth -o mac data
    fi
    [[ -s mac ]]
    equal "$(tpm2_getcap handles-loaded-session)$(tpm2_getcap handles-saved-session)" ""
}

audit_session_changes_its_digest() {
    tpm2_startauthsession --audit-session -S audit.ctx
    tpm2_getrandom 4 -S audit.ctx --cphash cp --rphash rp >/dev/null 2>&1 || tpm2_getrandom 4 -S audit.ctx >/dev/null
    tpm2_sessionconfig audit.ctx >config
    grep -qi audit config
}

a_saved_session_context_is_loaded_once() {
    tpm2_startauthsession --policy-session -S session.ctx
    cp session.ctx copy.ctx
    tpm2_policypassword -Q -S session.ctx
    fails tpm2_policypassword -Q -S copy.ctx
}

a_changed_session_context_is_refused() {
    tpm2_startauthsession --policy-session -S session.ctx
    cp session.ctx copy.ctx
    size=$(stat -c %s copy.ctx)
    change copy.ctx 100
    fails tpm2_policypassword -Q -S copy.ctx
}

a_flushed_session_is_gone() {
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_flushcontext session.ctx
    fails tpm2_policypassword -Q -S session.ctx
    equal "$(tpm2_getcap handles-saved-session)" ""
}

many_sessions_are_saved_at_once() {
    local number
    for number in $(seq 20); do
        tpm2_startauthsession --policy-session -S $number.ctx
    done
    equal "$(tpm2_getcap handles-saved-session | wc -l)" 20
    for number in $(seq 20); do
        tpm2_policypassword -Q -S $number.ctx
    done
}

sessions_run_out() {
    local number
    for number in $(seq 66); do
        command tpm2_startauthsession --policy-session -S $number.ctx >/dev/null 2>output || break
    done
    ((number == 65))
    grep -qi "0x905" output
}

sessions_do_not_survive_a_reboot() {
    tpm2_startauthsession --policy-session -S session.ctx
    reboot
    fails tpm2_policypassword -Q -S session.ctx
}

sessions_survive_a_resume() {
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_shutdown
    reset_line
    tpm2_startup
    tpm2_policypassword -Q -S session.ctx
}

# --- Dictionary attacks ---

_attack() {
    local number
    for number in $(seq "$1"); do
        refused 98e tpm2_hmac -c key.ctx -p wrong -o mac data
    done
}

lockout_begins_after_the_tries_that_were_set() {
    _key
    tpm2_dictionarylockout -Q -s -n 3 -t 1000 -l 1000
    _attack 3
    refused 921 tpm2_hmac -c key.ctx -p auth -o mac data
    says "TPM2_PT_LOCKOUT_COUNTER: 0x3" tpm2_getcap properties-variable
    says "inLockout: +1" tpm2_getcap properties-variable
}

lockout_ends_by_reset() {
    _key
    tpm2_dictionarylockout -Q -s -n 2 -t 1000 -l 1000
    _attack 2
    refused 921 tpm2_hmac -c key.ctx -p auth -o mac data
    tpm2_dictionarylockout -Q -c
    tpm2_hmac -c key.ctx -p auth -o mac data
    says "TPM2_PT_LOCKOUT_COUNTER: 0x0" tpm2_getcap properties-variable
}

lockout_survives_a_reboot() {
    _key
    tpm2_dictionarylockout -Q -s -n 2 -t 1000 -l 1000
    _attack 2
    reboot
    tpm2_createprimary -Q -G ecc -c primary.ctx
    refused 921 tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
}

lockout_heals_with_time() {
    _key
    tpm2_dictionarylockout -Q -s -n 1 -t 1 -l 1
    _attack 1
    # Each try loads the key again.
    until tpm2_hmac -c key.ctx -p auth -o mac data 2>/dev/null; do tpm2_flushcontext -t; done
    says "TPM2_PT_LOCKOUT_COUNTER: 0x0" tpm2_getcap properties-variable
}

objects_with_noda_are_not_locked_out() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G hmac -p auth -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    echo data >data
    tpm2_dictionarylockout -Q -s -n 1 -t 1000 -l 1000
    refused 9a2 tpm2_hmac -c key.ctx -p wrong -o mac data
    refused 9a2 tpm2_hmac -c key.ctx -p wrong -o mac data
    tpm2_hmac -c key.ctx -p auth -o mac data
}

lockout_parameters_need_the_lockout_auth() {
    tpm2_changeauth -c lockout lockout
    refused 98e tpm2_dictionarylockout -Q -s -n 3 -t 10 -l 10 -p wrong
    refused 921 tpm2_dictionarylockout -Q -s -n 3 -t 10 -l 10 -p lockout
}

lockout_parameters_are_shown() {
    tpm2_dictionarylockout -Q -s -n 7 -t 11 -l 13
    says "TPM2_PT_MAX_AUTH_FAIL: 0x7" tpm2_getcap properties-variable
    says "TPM2_PT_LOCKOUT_INTERVAL: 0xB" tpm2_getcap properties-variable
    says "TPM2_PT_LOCKOUT_RECOVERY: 0xD" tpm2_getcap properties-variable
}

owner_auth_is_not_protected_by_the_lockout() {
    tpm2_changeauth -c owner owner
    tpm2_dictionarylockout -Q -s -n 1 -t 1000 -l 1000
    refused 9a2 tpm2_createprimary -Q -P wrong -G ecc -c primary.ctx
    refused 9a2 tpm2_createprimary -Q -P wrong -G ecc -c primary.ctx
    tpm2_createprimary -Q -P owner -G ecc -c primary.ctx
}
