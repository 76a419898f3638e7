# Objects below a primary key: create, load, import, duplicate, contexts.

_storage() { tpm2_createprimary -Q -G ecc -c primary.ctx; }

_create() {
    local attributes="fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
    case $1 in
    *:null:*) attributes+="|restricted|decrypt" ;;
    *oaep | *rsaes | *ecdh | xor*) attributes+="|decrypt" ;;
    *ssa | *pss* | *dsa* | *ecdaa | *schnorr | hmac*) attributes+="|sign" ;;
    *) attributes+="|sign|decrypt" ;;
    esac
    _storage
    tpm2_create -Q -C primary.ctx -G "$1" -a "$attributes" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx -n name
    tpm2_readpublic -Q -c key.ctx -n again -o key2.pub
    cmp name again
}
for_each _create rsa2048 rsa3072 ecc256 ecc384 ecc521 aes128 aes256 aes128cfb aes256ctr aes128cbc hmac hmac:sha384 \
    xor rsa2048:rsassa rsa2048:rsapss:null rsa2048:oaep rsa2048:rsaes ecc:ecdsa ecc384:ecdsa-sha384 ecc:ecdh ecc:ecdaa \
    ecc:ecschnorr rsa:null:aes128cfb ecc:null:aes128cfb

create_below_a_child() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt" \
        -u parent.pub -r parent.priv -c parent.ctx
    tpm2_create -Q -C parent.ctx -G ecc -u child.pub -r child.priv
    tpm2_load -Q -C parent.ctx -u child.pub -r child.priv -c child.ctx
    fails tpm2_load -Q -C primary.ctx -u child.pub -r child.priv -c child2.ctx
}

create_below_an_rsa_primary() {
    tpm2_createprimary -Q -G rsa -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
}

create_loaded_gives_a_usable_key() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv -c key.ctx
    echo data >data
    tpm2_sign -Q -c key.ctx -g sha256 -o sig data
    tpm2_flushcontext -t
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c again.ctx
    tpm2_verifysignature -c again.ctx -g sha256 -m data -s sig
}

create_with_a_parent_that_is_no_storage_key_is_refused() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv -c key.ctx
    fails tpm2_create -Q -C key.ctx -G ecc -u child.pub -r child.priv
}

create_with_the_wrong_parent_auth_is_refused() {
    tpm2_createprimary -Q -G ecc -p parent -c primary.ctx
    refused 9a2 tpm2_create -Q -C primary.ctx -P wrong -G hmac -u key.pub -r key.priv ||
        refused 98e tpm2_create -Q -C primary.ctx -P wrong -G hmac -u key.pub -r key.priv
    tpm2_create -Q -C primary.ctx -P parent -G hmac -u key.pub -r key.priv
}

load_of_a_changed_private_part_is_refused() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv
    change key.priv 60
    refused 1df tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
}

load_of_a_changed_public_part_is_refused() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv
    tpm2_create -Q -C primary.ctx -G ecc -u other.pub -r other.priv
    refused 1df tpm2_load -Q -C primary.ctx -u other.pub -r key.priv -c key.ctx
}

load_under_another_parent_is_refused() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -u key.pub -r key.priv
    tpm2_createprimary -Q -C e -G ecc -c other.ctx
    refused 1df tpm2_load -Q -C other.ctx -u key.pub -r key.priv -c key.ctx
}

readpublic_exports_pem_and_der() {
    _storage
    tpm2_create -Q -C primary.ctx -G rsa -u key.pub -r key.priv -c key.ctx
    tpm2_readpublic -Q -c key.ctx -f pem -o key.pem
    tpm2_readpublic -Q -c key.ctx -f der -o key.der
    says "2048 bit" openssl pkey -pubin -in key.pem -noout -text
    says "65537" openssl pkey -pubin -inform der -in key.der -noout -text
}

readpublic_gives_the_qualified_name() {
    _storage
    tpm2_readpublic -c primary.ctx -n name -q qualified >/dev/null
    # Part 1, 16: the qualified name of a primary key is made of its hierarchy's handle and its name.
    equal "$(hex qualified)" "000b$( (printf '\x40\0\0\1'; cat name) | openssl dgst -sha256 -r | cut -d' ' -f1)"
}

changeauth_of_an_object() {
    _storage
    tpm2_create -Q -C primary.ctx -G hmac -p first -u key.pub -r key.priv -c key.ctx
    echo data >data
    tpm2_changeauth -Q -C primary.ctx -c key.ctx -p first -r new.priv second
    tpm2_load -Q -C primary.ctx -u key.pub -r new.priv -c new.ctx
    refused 98e tpm2_hmac -c new.ctx -p first -o mac data
    tpm2_hmac -c new.ctx -p second -o mac data
    tpm2_hmac -c key.ctx -p first -o mac data
}

changeauth_of_an_object_with_the_wrong_auth_is_refused() {
    _storage
    tpm2_create -Q -C primary.ctx -G hmac -p first -u key.pub -r key.priv -c key.ctx
    refused 98e tpm2_changeauth -Q -C primary.ctx -c key.ctx -p wrong -r new.priv second
}

contexts_load_again_and_again() {
    _storage
    tpm2_readpublic -Q -c primary.ctx -n first
    tpm2_flushcontext -t
    tpm2_readpublic -Q -c primary.ctx -n second
    cmp first second
}

a_changed_context_is_refused() {
    _storage
    change primary.ctx 120
    refused 1df tpm2_readpublic -c primary.ctx
}

a_context_of_an_older_boot_is_refused() {
    tpm2_createprimary -Q -G ecc -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|stclear" -c primary.ctx
    reboot
    fails tpm2_readpublic -c primary.ctx
}

a_context_of_a_persistent_owner_key_outlives_a_resume() {
    _storage
    tpm2_shutdown
    reset_line
    tpm2_startup
    tpm2_readpublic -Q -c primary.ctx
}

contexts_of_a_cleared_hierarchy_are_refused() {
    _storage
    tpm2_clear
    fails tpm2_readpublic -c primary.ctx
}

flushcontext_of_all_transient_objects() {
    _storage
    tpm2_readpublic -Q -c primary.ctx
    tpm2_flushcontext -t
    equal "$(tpm2_getcap handles-transient)" ""
}

loaded_objects_run_out_with_object_memory() {
    local number
    for number in $(seq 1 80); do
        command tpm2_createprimary -Q -G ecc -c "$number.ctx" >/dev/null 2>output || break
    done
    grep -q 0x902 output
    tpm2_flushcontext -t
    _storage
}

_loadexternal_openssl() {
    case $1 in
    rsa) openssl genrsa -out key.pem 2048 2>/dev/null ;;
    ecc256) openssl ecparam -name prime256v1 -genkey -noout -out key.pem ;;
    ecc384) openssl ecparam -name secp384r1 -genkey -noout -out key.pem ;;
    esac
    openssl pkey -in key.pem -pubout -out pub.pem
    echo data >data
    openssl dgst -sha256 -sign key.pem -out sig data
    tpm2_loadexternal -Q -C o -G "${1%%[0-9]*}" -u pub.pem -c key.ctx
    if [[ $1 == rsa ]]; then
        tpm2_verifysignature -c key.ctx -g sha256 -m data -f rsassa -s sig
    else
        tpm2_verifysignature -c key.ctx -g sha256 -m data -f ecdsa -s sig
    fi
    echo other >data
    fails tpm2_verifysignature -c key.ctx -g sha256 -m data -f rsassa -s sig
}
for_each _loadexternal_openssl rsa ecc256 ecc384

loadexternal_of_a_private_key_signs() {
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl pkey -in key.pem -pubout -out pub.pem
    echo data >data
    tpm2_loadexternal -Q -C n -G ecc -r key.pem -c key.ctx
    tpm2_sign -Q -c key.ctx -g sha256 -f plain -o sig data
    openssl dgst -sha256 -verify pub.pem -signature sig data
}

loadexternal_of_a_private_key_into_owner_is_refused() {
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    fails tpm2_loadexternal -Q -C o -G ecc -r key.pem -c key.ctx
}

loadexternal_of_an_aes_key() {
    head -c 16 /dev/urandom >aes
    tpm2_loadexternal -Q -C n -G aes -r aes -c key.ctx
    head -c 32 /dev/zero >plain
    tpm2_encryptdecrypt -Q -c key.ctx -G cbc -o cipher plain 2>/dev/null || tpm2_encryptdecrypt -Q -c key.ctx -o cipher plain
    tpm2_readpublic -Q -c key.ctx
}

_import_openssl() {
    _storage
    case $1 in
    rsa) openssl genrsa -out key.pem 2048 2>/dev/null ;;
    ecc) openssl ecparam -name prime256v1 -genkey -noout -out key.pem ;;
    esac
    openssl pkey -in key.pem -pubout -out pub.pem
    tpm2_import -Q -C primary.ctx -G "$1" -i key.pem -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    echo data >data
    tpm2_sign -Q -c key.ctx -g sha256 -f plain -o sig data
    openssl dgst -sha256 -verify pub.pem -signature sig data
}
for_each _import_openssl rsa ecc

import_of_an_aes_key_encrypts_as_openssl_does() {
    _storage
    head -c 16 /dev/urandom >aes
    head -c 64 /dev/urandom >plain
    tpm2_import -Q -C primary.ctx -G aes -i aes -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_encryptdecrypt -Q -c key.ctx -o cipher plain
    openssl enc -aes-128-cfb -K "$(hex aes)" -iv "$(printf '%032d' 0)" -in plain -out expected
    cmp cipher expected
}

import_of_an_hmac_key_macs_as_openssl_does() {
    _storage
    head -c 32 /dev/urandom >key
    echo data >data
    tpm2_import -Q -C primary.ctx -G hmac -i key -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_hmac -c key.ctx -o mac data
    equal "$(hex mac)" "$(openssl dgst -sha256 -mac hmac -macopt "hexkey:$(hex key)" -r data | cut -d' ' -f1)"
}

import_of_a_changed_duplicate_is_refused() {
    _duplicate_to_new_parent none
    change dup.dpriv 12
    fails tpm2_import -Q -C new.ctx -u key.pub -r imported.priv -i dup.dpriv -s dup.seed
}

# Makes key.ctx below primary.ctx, and dup.* for the parent new.ctx; the inner wrapper's algorithm is the argument.
_duplicate_to_new_parent() {
    _storage
    tpm2_createprimary -Q -C e -G ecc -c new.ctx
    tpm2_readpublic -Q -c new.ctx -o new.pub
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Duplicate
    tpm2_flushcontext trial.ctx
    tpm2_create -Q -C primary.ctx -G ecc -L policy -a "sensitivedataorigin|userwithauth|sign|decrypt" \
        -u key.pub -r key.priv -c key.ctx
    tpm2_flushcontext -t
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Duplicate
    if [[ $1 == none ]]; then
        tpm2_duplicate -Q -C new.ctx -c key.ctx -G null -p session:session.ctx -r dup.dpriv -s dup.seed
    else
        head -c 16 /dev/urandom >inner
        tpm2_duplicate -Q -C new.ctx -c key.ctx -G aes -i inner -p session:session.ctx -r dup.dpriv -s dup.seed
    fi
    tpm2_flushcontext session.ctx
    tpm2_flushcontext -t
}

_duplicate_and_import() {
    _duplicate_to_new_parent "$1"
    if [[ $1 == none ]]; then
        tpm2_import -Q -C new.ctx -u key.pub -r imported.priv -i dup.dpriv -s dup.seed
    else
        tpm2_import -Q -C new.ctx -u key.pub -r imported.priv -i dup.dpriv -s dup.seed -k inner
    fi
    tpm2_load -Q -C new.ctx -u key.pub -r imported.priv -c imported.ctx
    echo data >data
    tpm2_sign -Q -c imported.ctx -g sha256 -o sig data
    tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
}
for_each _duplicate_and_import none aes

duplicate_without_a_policy_is_refused() {
    _storage
    tpm2_createprimary -Q -C e -G ecc -c new.ctx
    tpm2_create -Q -C primary.ctx -G ecc -a "sensitivedataorigin|userwithauth|sign|decrypt" -u key.pub -r key.priv -c key.ctx
    fails tpm2_duplicate -Q -C new.ctx -c key.ctx -G null -r dup.dpriv -s dup.seed
}

duplicate_of_a_fixed_key_is_refused() {
    _storage
    tpm2_createprimary -Q -C e -G ecc -c new.ctx
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Duplicate
    tpm2_flushcontext trial.ctx
    tpm2_create -Q -C primary.ctx -G ecc -L policy -u key.pub -r key.priv -c key.ctx
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Duplicate
    fails tpm2_duplicate -Q -C new.ctx -c key.ctx -G null -p session:session.ctx -r dup.dpriv -s dup.seed
}

_create_refused() {
    _storage
    refused "${1%% *}" tpm2_create -Q -C primary.ctx -G "$(cut -d' ' -f2 <<<"$1")" -a "$(cut -d' ' -f3 <<<"$1")" -u key.pub -r key.priv
}
create_of_a_storage_key_without_symmetric_is_refused() {
    _storage
    fails tpm2_create -Q -C primary.ctx -G ecc:ecdsa -a "restricted|decrypt|fixedtpm|fixedparent|userwithauth|sensitivedataorigin" -u key.pub -r key.priv
}
create_of_a_fixedparent_duplicable_key_is_refused() {
    _create_refused "2c2 ecc sign|fixedtpm|userwithauth|sensitivedataorigin"
}
create_of_sealed_data_that_signs_is_refused() {
    _storage
    echo secret >secret
    fails tpm2_create -Q -C primary.ctx -i secret -a "sign|fixedtpm|fixedparent|userwithauth" -u key.pub -r key.priv
}
create_of_a_key_that_can_do_nothing_is_refused() {
    _create_refused "2c2 ecc fixedtpm|fixedparent|userwithauth|sensitivedataorigin"
}

sealed_data_comes_back() {
    _storage
    head -c 128 /dev/urandom >secret
    tpm2_create -Q -C primary.ctx -i secret -u seal.pub -r seal.priv -c seal.ctx
    tpm2_unseal -Q -c seal.ctx -o out
    cmp secret out
}

sealed_data_over_128_bytes_is_refused() {
    _storage
    head -c 129 /dev/urandom >secret
    fails tpm2_create -Q -C primary.ctx -i secret -u seal.pub -r seal.priv
}

sealed_data_with_auth_needs_it() {
    _storage
    echo secret >secret
    tpm2_create -Q -C primary.ctx -i secret -p auth -u seal.pub -r seal.priv -c seal.ctx
    refused 98e tpm2_unseal -c seal.ctx
    refused 98e tpm2_unseal -c seal.ctx -p wrong
    equal "$(tpm2_unseal -c seal.ctx -p auth)" secret
}

sealed_primary_data_comes_back() {
    echo secret >secret
    tpm2_createprimary -Q -G keyedhash -i /dev/null -c seal.ctx 2>/dev/null || skip "this tpm2-tools does not seal in a primary object"
}

create_with_outside_info_and_pcr_selection() {
    _storage
    tpm2_create -Q -C primary.ctx -G ecc -q 11223344 -l sha256:1,2,3 --creation-data data -d hash -t ticket -u key.pub -r key.priv
    [[ $(hex data) == *000411223344 ]]
    equal "$(tail -c +3 data | openssl dgst -sha256 -r | cut -d' ' -f1)" "$(hex hash | cut -c5-)"
}

a_fixed_storage_key_with_another_cipher_than_its_parent_is_refused() {
    _create_refused "2d6 ecc:null:aes256cfb restricted|decrypt|fixedtpm|fixedparent|userwithauth|sensitivedataorigin"
}
