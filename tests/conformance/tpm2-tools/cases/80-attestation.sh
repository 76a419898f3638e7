# Endorsement and attestation keys, quotes, certificates, credentials, audit.

_ek_and_ak() {
    tpm2_createek -Q -c ek.ctx -G "$1" -u ek.pub
    tpm2_createak -Q -C ek.ctx -c ak.ctx -G "$2" -g "${4:-sha256}" -s "$3" -u ak.pub -f pem -n ak.name -r ak.priv
}

_createek() {
    tpm2_createek -Q -c ek.ctx -G "$1" -u ek.pub
    tpm2_flushcontext -t
    tpm2_readpublic -Q -c ek.ctx -n name
}
for_each _createek rsa ecc

createek_is_the_same_every_time() {
    tpm2_createek -Q -c ek.ctx -G ecc -u first.pub
    tpm2_flushcontext -t
    tpm2_createek -Q -c ek.ctx -G ecc -u second.pub
    cmp first.pub second.pub
}

createek_has_the_template_of_the_ek_profile() {
    tpm2_createek -Q -c ek.ctx -G rsa -u ek.pub -f tss
    # EK Credential Profile 2.3, B.3.3: RSA, SHA-256, attributes 000300b2, PolicySecret of the endorsement hierarchy.
    [[ $(hex ek.pub) == *0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100800* ]]
}

createek_below_a_persistent_handle() {
    tpm2_createek -Q -c 0x81010001 -G ecc -u ek.pub
    equal "$(tpm2_getcap handles-persistent)" "- 0x81010001"
}

_createak() {
    local ek ak scheme hash
    read -r ek ak scheme hash <<<"$1"
    _ek_and_ak "$ek" "$ak" "$scheme" "$hash"
    openssl pkey -pubin -in ak.pub -noout
}
for_each _createak "ecc ecc ecdsa sha256" "rsa rsa rsassa sha256" "rsa rsa rsapss sha256" "rsa ecc ecdsa sha256" \
    "ecc rsa rsassa sha256" "ecc ecc ecdsa sha384" "ecc rsa rsassa sha384"

_quote() {
    local ak scheme hash
    read -r ak scheme hash <<<"$1"
    _ek_and_ak ecc "$ak" "$scheme" "$hash"
    tpm2_pcrextend "10:sha256=$(printf %064d 1)"
    tpm2_quote -Q -c ak.ctx -l sha256:0,1,10,16 -q aabbccdd -m quote -s sig -o pcrs -g "$hash" --scheme "$scheme"
    [[ $scheme != rsapss ]] || return 0
    tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -g "$hash" -q aabbccdd
    fails tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -g "$hash" -q aabbccde
    change quote 90
    fails tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -g "$hash" -q aabbccdd
}
for_each _quote "ecc ecdsa sha256" "rsa rsassa sha256" "rsa rsapss sha256" "ecc ecdsa sha384" "rsa rsassa sha512"

quote_of_two_banks() {
    _ek_and_ak ecc ecc ecdsa
    tpm2_quote -Q -c ak.ctx -l sha256:0,1+sha384:2,3 -q 00 -m quote -s sig -o pcrs -g sha256
    tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -g sha256 -q 00
}

quote_does_not_check_after_a_register_changed() {
    _ek_and_ak ecc ecc ecdsa
    tpm2_quote -Q -c ak.ctx -l sha256:16 -q 00 -m quote -s sig -g sha256
    tpm2_pcrextend "16:sha256=$(printf %064d 1)"
    tpm2_pcrread -Q -o pcrs sha256:16
    fails tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -l sha256:16 -g sha256 -q 00
}

quote_says_magic_type_and_name() {
    _ek_and_ak ecc ecc ecdsa
    tpm2_quote -Q -c ak.ctx -l sha256:0 -q 0102 -m quote -s sig -g sha256
    [[ $(hex quote) == ff54434780180022000b* ]]
    [[ $(hex quote) == *00020102* ]]
    openssl dgst -sha256 -verify ak.pub -signature <(tpm2_print -t TPMS_ATTEST quote >/dev/null; cat sig) quote 2>/dev/null || true
}

quote_with_a_key_that_does_not_sign_is_refused() {
    tpm2_createprimary -Q -C e -G ecc -c primary.ctx
    fails tpm2_quote -Q -c primary.ctx -l sha256:0 -q 00 -m quote -s sig -g sha256
}

_activatecredential() {
    local ek=${1%% *} ak=${1##* }
    if [[ $ak == ecc ]]; then _ek_and_ak "$ek" ecc ecdsa; else _ek_and_ak "$ek" rsa rsassa; fi
    printf 0123456789abcdef >secret
    tpm2_readpublic -Q -c ek.ctx -o ek.tss
    tpm2_makecredential -Q -u ek.tss -s secret -n "$(hex ak.name)" -o credential
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -Q -S session.ctx -c e
    tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out -P session:session.ctx
    cmp secret out
}
for_each _activatecredential "ecc ecc" "ecc rsa" "rsa ecc" "rsa rsa"

activatecredential_made_without_a_tpm() {
    _ek_and_ak rsa ecc ecdsa
    printf 0123456789abcdef >secret
    openssl pkey -in /dev/null 2>/dev/null || true
    tpm2_readpublic -Q -c ek.ctx -f pem -o ek.pem
    TPM2TOOLS_TCTI=none tpm2_makecredential -Q -T none -u ek.pem -G rsa -s secret -n "$(hex ak.name)" -o credential
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -Q -S session.ctx -c e
    tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out -P session:session.ctx
    cmp secret out
}

activatecredential_for_another_name_is_refused() {
    _ek_and_ak ecc ecc ecdsa
    printf 0123456789abcdef >secret
    tpm2_readpublic -Q -c ek.ctx -o ek.tss
    tpm2_makecredential -Q -u ek.tss -s secret -n "000b$(printf %064d 1)" -o credential
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -Q -S session.ctx -c e
    refused 1df tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out -P session:session.ctx
}

activatecredential_that_was_changed_is_refused() {
    _ek_and_ak ecc ecc ecdsa
    printf 0123456789abcdef >secret
    tpm2_readpublic -Q -c ek.ctx -o ek.tss
    tpm2_makecredential -Q -u ek.tss -s secret -n "$(hex ak.name)" -o credential
    change credential 16
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -Q -S session.ctx -c e
    fails tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out -P session:session.ctx
}

activatecredential_without_the_policy_is_refused() {
    _ek_and_ak ecc ecc ecdsa
    printf 0123456789abcdef >secret
    tpm2_readpublic -Q -c ek.ctx -o ek.tss
    tpm2_makecredential -Q -u ek.tss -s secret -n "$(hex ak.name)" -o credential
    tpm2_startauthsession --policy-session -S session.ctx
    fails tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o out -P session:session.ctx
}

# Makes a signing key in key.ctx, and what is certified in object.ctx.
_certifier() {
    tpm2_createprimary -Q -C e -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G "$1" -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign" -u key.pub -r key.priv
    tpm2_create -Q -C primary.ctx -G ecc -u object.pub -r object.priv --creation-data creation.data -d creation.hash -t creation.ticket
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_readpublic -Q -c key.ctx -f pem -o key.pem
    tpm2_load -Q -C primary.ctx -u object.pub -r object.priv -c object.ctx -n object.name
}

_certify() {
    local key=${1%% *} scheme=${1##* }
    _certifier "$key"
    tpm2_certify -Q -C key.ctx -c object.ctx -g sha256 --scheme "$scheme" -f plain -o attest -s sig
    openssl dgst -sha256 -verify key.pem $([[ $scheme != rsapss ]] || echo -sigopt rsa_padding_mode:pss) -signature sig attest
    [[ $(hex attest) == ff5443478017*$(hex object.name)* ]]
}
for_each _certify "ecc256 ecdsa" "rsa2048 rsassa" "rsa2048 rsapss"

certify_with_the_wrong_auth_is_refused() {
    _certifier ecc256
    tpm2_changeauth -Q -C primary.ctx -c object.ctx -r new.priv auth
    tpm2_load -Q -C primary.ctx -u object.pub -r new.priv -c new.ctx
    refused 98e tpm2_certify -Q -C key.ctx -c new.ctx -P wrong -g sha256 -o attest -s sig
    tpm2_certify -Q -C key.ctx -c new.ctx -P auth -g sha256 -o attest -s sig
}

certifycreation_proves_the_creation() {
    _certifier ecc256
    tpm2_certifycreation -Q -C key.ctx -c object.ctx -d creation.hash -t creation.ticket -g sha256 -s ecdsa -f plain -o sig --attestation attest
    openssl dgst -sha256 -verify key.pem -signature sig attest
    [[ $(hex attest) == ff544347801a* ]]
}

certifycreation_of_another_hash_is_refused() {
    _certifier ecc256
    change creation.hash 8
    refused 4e0 tpm2_certifycreation -Q -C key.ctx -c object.ctx -d creation.hash -t creation.ticket -g sha256 -s ecdsa -f plain -o sig --attestation attest
}

certifycreation_of_another_object_is_refused() {
    _certifier ecc256
    fails tpm2_certifycreation -Q -C key.ctx -c key.ctx -d creation.hash -t creation.ticket -g sha256 -s ecdsa -f plain -o sig --attestation attest
}

_gettime() {
    local key=${1%% *} scheme=${1##* }
    _certifier "$key"
    tpm2_gettime -c key.ctx -g sha256 -s "$scheme" -f plain -q 0011 -o sig --attestation attest >/dev/null
    openssl dgst -sha256 -verify key.pem -signature sig attest
    [[ $(hex attest) == ff5443478019* ]]
}
for_each _gettime "ecc256 ecdsa" "rsa2048 rsassa"

command_audit_digest_is_signed() {
    _certifier ecc256
    tpm2_setcommandauditstatus TPM2_CC_GetRandom
    tpm2_getrandom 8 >/dev/null
    tpm2_getcommandauditdigest -Q -c key.ctx -g sha256 -s sig -m attest
    [[ $(hex attest) == ff5443478015* ]]
    tpm2_setcommandauditstatus TPM2_CC_GetRandom --clear-list
}

session_audit_digest_is_signed() {
    _certifier ecc256
    tpm2_startauthsession --audit-session -S audit.ctx
    tpm2_getrandom 8 -S audit.ctx >/dev/null
    tpm2_sessionconfig audit.ctx --enable-audit
    tpm2_getrandom 8 -S audit.ctx >/dev/null
    tpm2_getsessionauditdigest -Q -c key.ctx -g sha256 -s sig -m attest -S audit.ctx
    [[ $(hex attest) == ff5443478016* ]]
}

restricted_ak_does_not_sign_outside_digests() {
    _ek_and_ak ecc ecc ecdsa
    echo data | openssl dgst -sha256 -binary >digest
    fails tpm2_sign -Q -c ak.ctx -g sha256 -d -o sig digest
}

ak_is_loaded_again_after_a_reboot() {
    _ek_and_ak ecc ecc ecdsa
    tpm2_readpublic -Q -c ak.ctx -o ak.tss
    tpm2_flushcontext -t
    reboot
    tpm2_createek -Q -c ek.ctx -G ecc -u ek.pub
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -Q -S session.ctx -c e
    tpm2_load -Q -C ek.ctx -P session:session.ctx -u ak.tss -r ak.priv -c again.ctx
    tpm2_quote -Q -c again.ctx -l sha256:0 -q 00 -m quote -s sig -o pcrs -g sha256
    tpm2_checkquote -Q -u ak.pub -m quote -s sig -f pcrs -g sha256 -q 00
}
