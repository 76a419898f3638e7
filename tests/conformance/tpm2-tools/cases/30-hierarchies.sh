# Hierarchies: primary keys, authorisations, clear, persistent objects.

_createprimary() {
    local hierarchy=${1%% *} algorithm=${1##* } attributes="fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
    case $algorithm in
    *dsa* | *pss* | hmac*) attributes+="|sign" ;;
    *) attributes+="|restricted|decrypt" ;;
    esac
    tpm2_createprimary -Q -C "$hierarchy" -G "$algorithm" -a "$attributes" -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -n name
    equal "$(stat -c %s name)" 34
}
for_each _createprimary "o ecc" "o rsa" "e ecc" "e rsa" "p ecc" "p rsa" "n ecc" "n rsa" \
    "o ecc384" "o aes128" "o aes256" "o hmac" "o ecc256:ecdsa-sha256" "o rsa2048:rsapss-sha256:null"

_primary_is_the_same_again() {
    tpm2_createprimary -Q -C "$2" -G "$1" -c first.ctx
    tpm2_readpublic -Q -c first.ctx -o first.pub
    tpm2_flushcontext -t
    reboot
    tpm2_createprimary -Q -C "$2" -G "$1" -c second.ctx
    tpm2_readpublic -Q -c second.ctx -o second.pub
    cmp first.pub second.pub
}
primary_ecc_is_the_same_after_a_reboot() { _primary_is_the_same_again ecc o; }
primary_rsa_is_the_same_after_a_reboot() { _primary_is_the_same_again rsa o; }

null_primary_is_another_after_a_reboot() {
    tpm2_createprimary -Q -C n -G ecc -c first.ctx
    tpm2_readpublic -Q -c first.ctx -o first.pub
    tpm2_flushcontext -t
    reboot
    tpm2_createprimary -Q -C n -G ecc -c second.ctx
    tpm2_readpublic -Q -c second.ctx -o second.pub
    fails cmp first.pub second.pub
}

primaries_of_hierarchies_differ() {
    local hierarchy
    for hierarchy in o e p; do
        tpm2_createprimary -Q -C $hierarchy -G ecc -c primary.ctx
        tpm2_readpublic -Q -c primary.ctx -o $hierarchy.pub
        tpm2_flushcontext -t
    done
    fails cmp o.pub e.pub
    fails cmp o.pub p.pub
}

primary_depends_on_its_unique_field() {
    printf '%064d' 7 | xxd -r -p >x
    (printf '\x20\0'; cat x; printf '\x20\0'; cat x) >unique
    tpm2_createprimary -Q -G ecc -c first.ctx
    tpm2_readpublic -Q -c first.ctx -o first.pub
    tpm2_flushcontext -t
    tpm2_createprimary -Q -G ecc -u unique -c second.ctx
    tpm2_readpublic -Q -c second.ctx -o second.pub
    fails cmp first.pub second.pub
}

createprimary_returns_creation_data_and_ticket() {
    tpm2_createprimary -Q -G ecc -c primary.ctx --creation-data data -d hash -t ticket -l sha256:0,1 -q aabb
    equal "$(tail -c +3 data | openssl dgst -sha256 -r | cut -d' ' -f1)" "$(hex hash | cut -c5-)"
    [[ $(hex data) == *0002aabb ]]
}

createprimary_with_the_wrong_auth_is_refused() {
    tpm2_changeauth -c owner owner
    refused 9a2 tpm2_createprimary -Q -G ecc -c primary.ctx
    refused 9a2 tpm2_createprimary -Q -P other -G ecc -c primary.ctx
    tpm2_createprimary -Q -P owner -G ecc -c primary.ctx
}

createprimary_without_sensitivedataorigin_is_refused() {
    fails tpm2_createprimary -Q -G ecc -a "restricted|decrypt|fixedtpm|fixedparent|userwithauth" -c primary.ctx
}

createprimary_that_signs_and_decrypts_restricted_is_refused() {
    refused 2c2 tpm2_createprimary -Q -G ecc -c primary.ctx \
        -a "restricted|decrypt|sign|fixedtpm|fixedparent|userwithauth|sensitivedataorigin"
}

createprimary_fixedtpm_without_fixedparent_is_refused() {
    refused 2c2 tpm2_createprimary -Q -G ecc -c primary.ctx -a "restricted|decrypt|fixedtpm|userwithauth|sensitivedataorigin"
}

_changeauth() {
    tpm2_changeauth -c "$1" first
    tpm2_changeauth -c "$1" -p first second
    refused 9a2 tpm2_changeauth -c "$1" -p first third
    tpm2_changeauth -c "$1" -p second
    tpm2_changeauth -c "$1" again
}
for_each _changeauth owner endorsement platform

changeauth_of_lockout() {
    tpm2_changeauth -c lockout first
    tpm2_changeauth -c lockout -p first second
    refused 98e tpm2_changeauth -c lockout -p first third
    refused 921 tpm2_changeauth -c lockout -p second third
}

owner_auth_survives_a_reboot_and_platform_auth_does_not() {
    tpm2_changeauth -c owner owner
    tpm2_changeauth -c platform platform
    reboot
    refused 9a2 tpm2_changeauth -c owner other
    tpm2_changeauth -c platform other
}

changeauth_longer_than_the_hash_is_refused() {
    tpm2_changeauth -c owner "$(printf '%032d' 1)"
    fails tpm2_changeauth -c platform "$(printf '%065d' 1)"
}

_clear_with() {
    tpm2_changeauth -c owner owner
    tpm2_createprimary -Q -P owner -G ecc -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -o before.pub
    tpm2_evictcontrol -Q -P owner -c primary.ctx 0x81000000
    tpm2_nvdefine -Q -P owner -s 8 0x01000001
    tpm2_flushcontext -t
    tpm2_clear -c "$1"
    equal "$(tpm2_getcap handles-persistent)$(tpm2_getcap handles-nv-index)" ""
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -o after.pub
    fails cmp before.pub after.pub
}
for_each _clear_with l p

clear_keeps_the_platform_primary() {
    tpm2_createprimary -Q -C p -G ecc -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -o before.pub
    tpm2_flushcontext -t
    tpm2_clear -c p
    tpm2_createprimary -Q -C p -G ecc -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -o after.pub
    cmp before.pub after.pub
}

clear_resets_the_lockout_auth() {
    tpm2_changeauth -c lockout lockout
    refused 98e tpm2_clear wrong
    tpm2_clear -c p
    tpm2_changeauth -c lockout other
}

clearcontrol_disables_clear() {
    tpm2_clearcontrol -C l s
    refused 120 tpm2_clear
    refused 9a2 tpm2_clearcontrol -C p -P wrong c || true
    fails tpm2_clearcontrol -C l c
    tpm2_clearcontrol -C p c
    tpm2_clear
}

_hierarchycontrol_disables() {
    tpm2_hierarchycontrol -C p "$1" clear
    refused 185 tpm2_createprimary -Q -C "$2" -G ecc -c primary.ctx
    reboot
    tpm2_createprimary -Q -C "$2" -G ecc -c primary.ctx
}
hierarchycontrol_disables_owner() { _hierarchycontrol_disables shEnable o; }
hierarchycontrol_disables_endorsement() { _hierarchycontrol_disables ehEnable e; }
hierarchycontrol_disables_platform() { _hierarchycontrol_disables phEnable p; }

hierarchycontrol_by_the_owner_only_disables() {
    tpm2_hierarchycontrol -C o shEnable clear
    fails tpm2_hierarchycontrol -C o shEnable set
    tpm2_hierarchycontrol -C p shEnable set
    tpm2_createprimary -Q -C o -G ecc -c primary.ctx
}

hierarchycontrol_flushes_what_it_disables() {
    tpm2_createprimary -Q -C e -G ecc -c e.ctx
    tpm2_createprimary -Q -C o -G ecc -c o.ctx
    tpm2_hierarchycontrol -C p ehEnable clear
    fails tpm2_readpublic -c e.ctx
    tpm2_readpublic -Q -c o.ctx
}

_setprimarypolicy() {
    tpm2_startauthsession -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_CreatePrimary
    tpm2_flushcontext trial.ctx
    tpm2_setprimarypolicy -C "$1" -L policy -g sha256
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_CreatePrimary
    tpm2_createprimary -Q -C "$1" -P session:session.ctx -G ecc -c primary.ctx
    tpm2_flushcontext session.ctx
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_ClearControl
    fails tpm2_createprimary -Q -C "$1" -P session:session.ctx -G ecc -c primary2.ctx
}
for_each _setprimarypolicy o e p

evictcontrol_makes_and_removes() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_evictcontrol -Q -c primary.ctx 0x81000007
    tpm2_flushcontext -t
    tpm2_readpublic -Q -c 0x81000007 -n name
    tpm2_evictcontrol -Q -c 0x81000007
    fails tpm2_readpublic -c 0x81000007
    equal "$(tpm2_getcap handles-persistent)" ""
}

evictcontrol_survives_a_reboot() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_readpublic -Q -c primary.ctx -n before
    tpm2_evictcontrol -Q -c primary.ctx 0x81000007
    reboot
    tpm2_readpublic -Q -c 0x81000007 -n after
    cmp before after
}

evictcontrol_of_a_handle_in_use_is_refused() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_evictcontrol -Q -c primary.ctx 0x81000007
    refused 14c tpm2_evictcontrol -Q -c primary.ctx 0x81000007
}

evictcontrol_of_the_platforms_range_needs_the_platform() {
    tpm2_createprimary -Q -G ecc -c o.ctx
    fails tpm2_evictcontrol -Q -C o -c o.ctx 0x81800001
    tpm2_createprimary -Q -C p -G ecc -c p.ctx
    tpm2_evictcontrol -Q -C p -c p.ctx 0x81800001
    fails tpm2_evictcontrol -Q -C o -c p.ctx 0x81000001
}

evictcontrol_of_a_null_primary_is_refused() {
    tpm2_createprimary -Q -C n -G ecc -c primary.ctx
    fails tpm2_evictcontrol -Q -c primary.ctx 0x81000007
}

evictcontrol_with_the_wrong_auth_is_refused() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_changeauth -c owner owner
    refused 9a2 tpm2_evictcontrol -Q -P wrong -c primary.ctx 0x81000007
}

several_persistent_objects_are_kept() {
    local number
    tpm2_createprimary -Q -G ecc -c primary.ctx
    for number in 1 2 3 4 5 6; do
        tpm2_evictcontrol -Q -c primary.ctx 0x8100000$number
    done
    reboot
    equal "$(tpm2_getcap handles-persistent | wc -l)" 6
}

changeeps_and_changepps_change_the_primaries() {
    local hierarchy
    for hierarchy in e p; do
        tpm2_createprimary -Q -C $hierarchy -G ecc -c primary.ctx
        tpm2_readpublic -Q -c primary.ctx -o $hierarchy.before
        tpm2_flushcontext -t
    done
    tpm2_changeeps
    tpm2_changepps
    for hierarchy in e p; do
        tpm2_createprimary -Q -C $hierarchy -G ecc -c primary.ctx
        tpm2_readpublic -Q -c primary.ctx -o $hierarchy.after
        tpm2_flushcontext -t
        fails cmp $hierarchy.before $hierarchy.after
    done
}

changepps_keeps_the_platforms_indices_and_changeeps_all() {
    tpm2_nvdefine -Q -C p -a "ppread|ppwrite|platformcreate|authread" -s 8 0x01000001
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite" -s 8 0x01000002
    tpm2_changepps
    tpm2_changeeps
    equal "$(tpm2_getcap handles-nv-index | wc -l)" 2
}
