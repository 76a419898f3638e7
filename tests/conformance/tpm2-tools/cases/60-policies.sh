# Policies: what is sealed under each opens when it holds, and only then.

_session() { tpm2_startauthsession --policy-session -S session.ctx; }
_trial() { tpm2_startauthsession -S trial.ctx; }

# Seals under the digest in the file `policy`.
_seal() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    printf secret >secret
    tpm2_create -Q -C primary.ctx -L policy -i secret -a "fixedtpm|fixedparent${1:-}" -u seal.pub -r seal.priv ${2:-}
    tpm2_load -Q -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
}

_opens() { equal "$(tpm2_unseal -c seal.ctx -p session:session.ctx"${1:-}")" secret; }
_stays_shut() { refused "$1" tpm2_unseal -c seal.ctx -p session:session.ctx; }
_end() { tpm2_flushcontext session.ctx; }

sealed_without_userwithauth_does_not_open_by_auth() {
    tpm2_createpolicy -Q --policy-pcr -l sha256:0 -L policy
    _seal
    refused 12f tpm2_unseal -c seal.ctx
}

a_fresh_session_does_not_open() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    _seal; _session
    _stays_shut 99d
}

a_trial_session_does_not_authorize() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    _seal
    fails tpm2_unseal -c seal.ctx -p session:trial.ctx
}

_policypcr() {
    tpm2_pcrextend "10:$1=$(printf "%0$(($(openssl dgst "-$1" -binary /dev/null | wc -c) * 2))d" 5)"
    _trial; tpm2_policypcr -Q -S trial.ctx -l "$1:0,10" -L policy
    _seal
    _session; tpm2_policypcr -Q -S session.ctx -l "$1:0,10"; _opens; _end
    tpm2_pcrextend "10:$1=$(printf "%0$(($(openssl dgst "-$1" -binary /dev/null | wc -c) * 2))d" 5)"
    _session; tpm2_policypcr -Q -S session.ctx -l "$1:0,10"; _stays_shut 99d
}
for_each _policypcr sha256 sha384

policypcr_with_a_given_digest_that_does_not_match_is_refused() {
    head -c 32 /dev/urandom >values
    _session
    refused 1c4 tpm2_policypcr -Q -S session.ctx -l sha256:0 -f values
}

policypcr_notices_a_change_between_policy_and_use() {
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:0 -L policy
    _seal
    _session; tpm2_policypcr -Q -S session.ctx -l sha256:0
    tpm2_pcrextend "5:sha256=$(printf %064d 1)"
    _stays_shut 128
}

policypcr_shortcut_of_the_tools() {
    tpm2_createpolicy -Q --policy-pcr -l sha256:0,1,2 -L policy
    _seal
    equal "$(tpm2_unseal -c seal.ctx -p pcr:sha256:0,1,2)" secret
    refused 99d tpm2_unseal -c seal.ctx -p pcr:sha256:0,1
}

policyauthvalue_needs_the_auth() {
    _trial; tpm2_policyauthvalue -Q -S trial.ctx -L policy
    _seal "" "-p auth"
    _session; tpm2_policyauthvalue -Q -S session.ctx; _opens +auth; _end
    _session; tpm2_policyauthvalue -Q -S session.ctx
    refused 98e tpm2_unseal -c seal.ctx -p session:session.ctx+wrong
}

policypassword_needs_the_auth() {
    _trial; tpm2_policypassword -Q -S trial.ctx -L policy
    _seal "" "-p auth"
    _session; tpm2_policypassword -Q -S session.ctx; _opens +auth; _end
    _session; tpm2_policypassword -Q -S session.ctx
    refused 98e tpm2_unseal -c seal.ctx -p session:session.ctx+wrong
}

policypassword_and_policyauthvalue_have_the_same_digest() {
    _trial; tpm2_policypassword -Q -S trial.ctx -L a; tpm2_flushcontext trial.ctx
    _trial; tpm2_policyauthvalue -Q -S trial.ctx -L b
    cmp a b
}

policycommandcode_allows_one_command() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    _seal
    _session; tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal; _opens; _end
    _session; tpm2_policycommandcode -Q -S session.ctx TPM2_CC_ObjectChangeAuth
    _stays_shut 99d
}

policycommandcode_twice_with_another_is_refused() {
    _session; tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    refused 1c4 tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Sign
}

policyor_opens_by_either_branch() {
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:16 -L one; tpm2_flushcontext trial.ctx
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L two TPM2_CC_Unseal; tpm2_flushcontext trial.ctx
    _trial; tpm2_policyor -Q -S trial.ctx -L policy sha256:one,two
    _seal
    _session; tpm2_policypcr -Q -S session.ctx -l sha256:16; tpm2_policyor -Q -S session.ctx sha256:one,two; _opens; _end
    tpm2_pcrextend "16:sha256=$(printf %064d 1)"
    _session; tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    tpm2_policyor -Q -S session.ctx sha256:one,two; _opens; _end
    _session; tpm2_policypcr -Q -S session.ctx -l sha256:16
    refused 1c4 tpm2_policyor -Q -S session.ctx sha256:one,two
}

policyor_of_eight_branches() {
    local number list=
    for number in 0 1 2 3 4 5 6 7; do
        _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:$number -L branch$number; tpm2_flushcontext trial.ctx
        list+=",branch$number"
    done
    _trial; tpm2_policyor -Q -S trial.ctx -L policy "sha256:${list#,}"
    _seal
    _session; tpm2_policypcr -Q -S session.ctx -l sha256:7; tpm2_policyor -Q -S session.ctx "sha256:${list#,}"; _opens
}

policysecret_of_the_owner() {
    tpm2_changeauth -c owner owner
    _trial; tpm2_policysecret -Q -S trial.ctx -c owner -L policy owner
    tpm2_createprimary -Q -P owner -G ecc -c primary.ctx
    printf secret >secret
    tpm2_create -Q -C primary.ctx -L policy -i secret -a "fixedtpm|fixedparent" -u seal.pub -r seal.priv
    tpm2_load -Q -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    _session; tpm2_policysecret -Q -S session.ctx -c owner owner; _opens; _end
    _session
    refused 9a2 tpm2_policysecret -Q -S session.ctx -c owner wrong
    _stays_shut 99d
}

policysecret_of_an_object() {
    tpm2_createprimary -Q -G ecc -p object -c object.ctx
    _trial; tpm2_policysecret -Q -S trial.ctx -c object.ctx -L policy object
    _seal
    _session; tpm2_policysecret -Q -S session.ctx -c object.ctx object; _opens; _end
    _session
    fails tpm2_policysecret -Q -S session.ctx -c object.ctx wrong
}

policysecret_ticket_works_with_policyticket() {
    _trial; tpm2_policysecret -Q -S trial.ctx -c owner -L policy
    _seal
    tpm2_readpublic -Q -c primary.ctx
    _session
    tpm2_policysecret -Q -S session.ctx -c owner --expiration=-100 --ticket ticket --timeout timeout
    _end
    printf '\x40\0\0\1' >owner.name
    _session
    tpm2_policyticket -Q -S session.ctx -n owner.name --ticket ticket --timeout timeout
    _opens; _end
    change ticket 20
    _session
    refused 5e0 tpm2_policyticket -Q -S session.ctx -n owner.name --ticket ticket --timeout timeout
}

policysecret_with_an_expiration_in_the_past_stays_shut() {
    _trial; tpm2_policysecret -Q -S trial.ctx -c owner -L policy
    _seal
    _session
    tpm2_policysecret -Q -S session.ctx -c owner --expiration 1 || tpm2_policysecret -Q -S session.ctx -c owner -t 1
    local now
    now=$(tpm2_readclock | awk '/^time/ { print $2 }')
    until (($(tpm2_readclock | awk '/^time/ { print $2 }') > now + 1100)); do :; done
    _stays_shut 9a3
}

_signing_key() {
    openssl ecparam -name prime256v1 -genkey -noout -out signer.pem
    openssl pkey -in signer.pem -pubout -out signer.pub.pem
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx -n signer.name
}

policysigned_by_an_outside_key() {
    _signing_key
    _trial; tpm2_policysigned -Q -S trial.ctx -g sha256 -s /dev/null -f ecdsa -c signer.ctx -L policy --raw-data raw 2>/dev/null || {
        printf '\0\0\0\0' | openssl dgst -sha256 -sign signer.pem -out sig
        tpm2_policysigned -Q -S trial.ctx -g sha256 -s sig -f ecdsa -c signer.ctx -L policy
    }
    _seal
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx
    _session
    printf '\0\0\0\0' | openssl dgst -sha256 -sign signer.pem -out sig
    tpm2_policysigned -Q -S session.ctx -g sha256 -s sig -f ecdsa -c signer.ctx
    _opens; _end
    _session
    printf '\0\0\0\1' | openssl dgst -sha256 -sign signer.pem -out wrong
    refused 5db tpm2_policysigned -Q -S session.ctx -g sha256 -s wrong -f ecdsa -c signer.ctx
    _stays_shut 99d
}

policysigned_ticket_works_with_policyticket() {
    _signing_key
    tpm2_startauthsession --policy-session -S session.ctx
    (printf '\xff\xff\xff\x9c') >expiration
    openssl dgst -sha256 -sign signer.pem -out sig expiration
    tpm2_policysigned -Q -S session.ctx -g sha256 -s sig -f ecdsa -c signer.ctx --expiration=-100 --ticket ticket --timeout timeout -L policy
    tpm2_flushcontext session.ctx
    _seal
    _session
    tpm2_policyticket -Q -S session.ctx -n signer.name --ticket ticket --timeout timeout
    _opens
}

policyauthorize_lets_the_signer_change_the_policy() {
    openssl genrsa -out signer.pem 2048 2>/dev/null
    openssl pkey -in signer.pem -pubout -out signer.pub.pem
    tpm2_loadexternal -Q -C o -G rsa -u signer.pub.pem -c signer.ctx -n signer.name
    _trial; tpm2_policyauthorize -Q -S trial.ctx -n signer.name -L policy; tpm2_flushcontext trial.ctx
    _seal
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:16 -L approved; tpm2_flushcontext trial.ctx
    openssl dgst -sha256 -sign signer.pem -out sig approved
    tpm2_loadexternal -Q -C o -G rsa -u signer.pub.pem -c signer.ctx
    tpm2_verifysignature -c signer.ctx -g sha256 -m approved -f rsassa -s sig -t ticket
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:16
    tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
    _opens; _end
    tpm2_pcrextend "16:sha256=$(printf %064d 1)"
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:16
    refused 1c4 tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
}

policyauthorize_with_a_forged_ticket_is_refused() {
    _signing_key
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:16 -L approved; tpm2_flushcontext trial.ctx
    openssl dgst -sha256 -sign signer.pem -out sig approved
    tpm2_verifysignature -c signer.ctx -g sha256 -m approved -f ecdsa -s sig -t ticket
    change ticket 20
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:16
    fails tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
}

policyauthorizenv_takes_the_policy_from_an_index() {
    tpm2_nvdefine -Q -C o -a "authread|authwrite|ownerwrite" -s 34 0x01000001
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:16 -L approved; tpm2_flushcontext trial.ctx
    (printf '\0\x0b'; cat approved) | tpm2_nvwrite -Q -C 0x01000001 -i - 0x01000001
    _trial; tpm2_policyauthorizenv -Q -S trial.ctx -C 0x01000001 -L policy 0x01000001
    _seal
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:16
    tpm2_policyauthorizenv -Q -S session.ctx -C 0x01000001 0x01000001
    _opens; _end
    _session
    refused 84 tpm2_policyauthorizenv -Q -S session.ctx -C 0x01000001 0x01000001
}

_policynv() {
    local operation operand
    read -r operation operand <<<"$1"
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -s 2 0x01000001
    printf '\x10\x20' | tpm2_nvwrite -Q -C 0x01000001 -i - 0x01000001
    _session
    printf '%s' "$operand" | xxd -r -p | tpm2_policynv -Q -S session.ctx -C 0x01000001 -i - 0x01000001 "$operation"
}
for_each _policynv "eq 1020" "neq 1021" "ugt 1010" "ult 1030" "uge 1020" "ule 1020" "sgt 1010" "slt 1030" "sge 1020" \
    "sle 1020" "bs 1000" "bc 0100"

_policynv_refused() {
    local operation operand
    read -r operation operand <<<"$1"
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -s 2 0x01000001
    printf '\x10\x20' | tpm2_nvwrite -Q -C 0x01000001 -i - 0x01000001
    _session
    printf '%s' "$operand" | xxd -r -p >operand
    refused 126 tpm2_policynv -Q -S session.ctx -C 0x01000001 -i operand 0x01000001 "$operation"
}
for_each _policynv_refused "eq 1021" "neq 1020" "ugt 1020" "ult 1020" "uge 1021" "ule 1010" "bs 0100" "bc 1000"

policynv_opens_what_is_sealed() {
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -s 1 0x01000001
    printf '\x07' | tpm2_nvwrite -Q -C 0x01000001 -i - 0x01000001
    printf '\x07' >operand
    _trial; tpm2_policynv -Q -S trial.ctx -C 0x01000001 -L policy -i operand 0x01000001 eq
    _seal
    _session; tpm2_policynv -Q -S session.ctx -C 0x01000001 -i operand 0x01000001 eq; _opens; _end
    printf '\x08' | tpm2_nvwrite -Q -C 0x01000001 -i - 0x01000001
    _session; refused 126 tpm2_policynv -Q -S session.ctx -C 0x01000001 -i operand 0x01000001 eq
    _stays_shut 99d
}

policynv_of_an_index_never_written_is_refused() {
    tpm2_nvdefine -Q -C o -a "authread|authwrite" -s 1 0x01000001
    printf '\x07' >operand
    _session; refused 14a tpm2_policynv -Q -S session.ctx -C 0x01000001 -i operand 0x01000001 eq
}

policynvwritten_tells_written_from_not() {
    _trial; tpm2_policynvwritten -Q -S trial.ctx -L policy c; tpm2_flushcontext trial.ctx
    tpm2_nvdefine -Q -C o -a "authread|policywrite" -L policy -s 1 0x01000001
    _session; tpm2_policynvwritten -Q -S session.ctx c
    printf x | tpm2_nvwrite -Q -P session:session.ctx -C 0x01000001 -i - 0x01000001; _end
    _session; tpm2_policynvwritten -Q -S session.ctx c
    printf y >y
    fails tpm2_nvwrite -Q -P session:session.ctx -C 0x01000001 -i y 0x01000001
}

policylocality_opens_there_only() {
    _trial; tpm2_policylocality -Q -S trial.ctx -L policy three
    _seal
    _session; tpm2_policylocality -Q -S session.ctx three
    _stays_shut 907
    _end
    _session; tpm2_policylocality -Q -S session.ctx three
    at_locality 3 tpm2_unseal -Q -c seal.ctx -p session:session.ctx -o out
    cmp out secret
}

policylocality_zero_opens_at_zero() {
    _trial; tpm2_policylocality -Q -S trial.ctx -L policy zero
    _seal
    _session; tpm2_policylocality -Q -S session.ctx zero; _opens
}

policyduplicationselect_names_object_and_parent() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_createprimary -Q -C e -G ecc -c new.ctx
    tpm2_readpublic -Q -c new.ctx -n new.name
    _trial; tpm2_policyduplicationselect -Q -S trial.ctx -N new.name -L policy; tpm2_flushcontext trial.ctx
    tpm2_create -Q -C primary.ctx -G ecc -L policy -a "sensitivedataorigin|userwithauth|sign|decrypt" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx -n key.name
    _session; tpm2_policyduplicationselect -Q -S session.ctx -N new.name -n key.name
    tpm2_duplicate -Q -C new.ctx -c key.ctx -G null -p session:session.ctx -r dup.priv -s dup.seed; _end
    tpm2_createprimary -Q -C p -G ecc -c wrong.ctx
    _session; tpm2_policyduplicationselect -Q -S session.ctx -N new.name -n key.name
    fails tpm2_duplicate -Q -C wrong.ctx -c key.ctx -G null -p session:session.ctx -r dup2.priv -s dup2.seed
}

policytemplate_allows_one_template() {
    tpm2_createprimary -Q -G ecc -c primary.ctx --template-data template 2>/dev/null || skip "this tpm2-tools does not write templates"
    openssl dgst -sha256 -binary template >template.hash
    _trial; tpm2_policytemplate -Q -S trial.ctx --template-hash template.hash -L policy; tpm2_flushcontext trial.ctx
    tpm2_setprimarypolicy -C o -L policy -g sha256
    _session; tpm2_policytemplate -Q -S session.ctx --template-hash template.hash
    tpm2_createprimary -Q -P session:session.ctx -G ecc -c again.ctx; _end
    _session; tpm2_policytemplate -Q -S session.ctx --template-hash template.hash
    fails tpm2_createprimary -Q -P session:session.ctx -G ecc384 -c other.ctx
}

policycphash_allows_one_command_with_its_parameters() {
    tpm2_nvdefine -Q -C o -a "ownerread|ownerwrite|policywrite|policyread|authread" -s 8 0x01000001
    printf 12345678 >data
    tpm2_nvwrite -Q -C o -i data 0x01000001 --cphash cp.hash 2>/dev/null
    _trial; tpm2_policycphash -Q -S trial.ctx --cphash cp.hash -L policy
    tpm2_flushcontext trial.ctx
    tpm2_setprimarypolicy -C o -L policy -g sha256
    _session; tpm2_policycphash -Q -S session.ctx --cphash cp.hash
    tpm2_nvwrite -Q -C o -P session:session.ctx -i data 0x01000001
    _end
    printf 87654321 >other
    _session; tpm2_policycphash -Q -S session.ctx --cphash cp.hash
    refused 99d tpm2_nvwrite -Q -C o -P session:session.ctx -i other 0x01000001 ||
        refused 9a3 tpm2_nvwrite -Q -C o -P session:session.ctx -i other 0x01000001
}

policycphash_of_unseal_opens() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    _trial
    # The policy of the object cannot name its own cpHash, which names the object: a signer approves it afterwards.
    openssl ecparam -name prime256v1 -genkey -noout -out signer.pem
    openssl pkey -in signer.pem -pubout -out signer.pub.pem
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx -n signer.name
    tpm2_policyauthorize -Q -S trial.ctx -n signer.name -L policy; tpm2_flushcontext trial.ctx
    _seal
    tpm2_readpublic -Q -c seal.ctx -n name
    (printf '\0\x20'; (printf '\0\0\x01\x5e'; cat name) | openssl dgst -sha256 -binary) >cp.hash
    _trial; tpm2_policycphash -Q -S trial.ctx --cphash cp.hash -L approved; tpm2_flushcontext trial.ctx
    openssl dgst -sha256 -sign signer.pem -out sig approved
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx
    tpm2_verifysignature -c signer.ctx -g sha256 -m approved -f ecdsa -s sig -t ticket
    _session
    tpm2_policycphash -Q -S session.ctx --cphash cp.hash
    tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
    _opens; _end
}

policynamehash_names_the_objects() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    openssl ecparam -name prime256v1 -genkey -noout -out signer.pem
    openssl pkey -in signer.pem -pubout -out signer.pub.pem
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx -n signer.name
    _trial; tpm2_policyauthorize -Q -S trial.ctx -n signer.name -L policy; tpm2_flushcontext trial.ctx
    _seal
    tpm2_readpublic -Q -c seal.ctx -n name
    openssl dgst -sha256 -binary name >name.hash
    _trial; tpm2_policynamehash -Q -S trial.ctx -n name.hash -L approved; tpm2_flushcontext trial.ctx
    openssl dgst -sha256 -sign signer.pem -out sig approved
    tpm2_loadexternal -Q -C o -G ecc -u signer.pub.pem -c signer.ctx
    tpm2_verifysignature -c signer.ctx -g sha256 -m approved -f ecdsa -s sig -t ticket
    _session
    tpm2_policynamehash -Q -S session.ctx -n name.hash
    tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
    _opens; _end
    head -c 32 /dev/urandom >other.hash
    _session
    tpm2_policynamehash -Q -S session.ctx -n other.hash
    refused 1c4 tpm2_policyauthorize -Q -S session.ctx -i approved -n signer.name -t ticket
}

policycountertimer_opens_in_its_time() {
    _trial; tpm2_policycountertimer -Q -S trial.ctx -L policy --ult 60000000
    _seal
    _session; tpm2_policycountertimer -Q -S session.ctx --ult 60000000; _opens
}

policycountertimer_that_does_not_hold_is_refused() {
    _session
    refused 126 tpm2_policycountertimer -Q -S session.ctx --ugt 99999999999
}

policycountertimer_of_counters() {
    _session
    tpm2_policycountertimer -Q -S session.ctx resets=0 || tpm2_policycountertimer -Q -S session.ctx resets=1
    refused 126 tpm2_policycountertimer -Q -S session.ctx resets=77
}

policyrestart_clears_a_session() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    _seal
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:0
    tpm2_policyrestart -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    _opens
}

policies_of_one_session_add_up() {
    _trial
    tpm2_policypcr -Q -S trial.ctx -l sha256:0
    tpm2_policyauthvalue -Q -S trial.ctx
    tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    _seal "" "-p auth"
    _session
    tpm2_policypcr -Q -S session.ctx -l sha256:0
    tpm2_policyauthvalue -Q -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    _opens +auth; _end
    _session
    tpm2_policyauthvalue -Q -S session.ctx
    tpm2_policypcr -Q -S session.ctx -l sha256:0
    tpm2_policycommandcode -Q -S session.ctx TPM2_CC_Unseal
    refused 99d tpm2_unseal -c seal.ctx -p session:session.ctx+auth
}

policy_digest_of_a_session_equals_the_trial() {
    _trial; tpm2_policypcr -Q -S trial.ctx -l sha256:0 -L trial.digest
    _session; tpm2_policypcr -Q -S session.ctx -l sha256:0 -L session.digest
    cmp trial.digest session.digest
}

policy_digest_is_what_the_specification_calculates() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_Unseal
    equal "$(hex policy)" "$( (head -c 32 /dev/zero; printf '\0\0\x01\x6c\0\0\x01\x5e') | openssl dgst -sha256 -r | cut -d' ' -f1)"
}

_policy_session_hash() {
    tpm2_startauthsession --policy-session -g "$1" -S session.ctx
    tpm2_policycommandcode -Q -S session.ctx -L policy TPM2_CC_Unseal
    equal "$(stat -c %s policy)" "$(openssl dgst "-$1" -binary /dev/null | wc -c)"
}
for_each _policy_session_hash sha1 sha256 sha384 sha512

adminwithpolicy_keeps_the_auth_from_administration() {
    _trial; tpm2_policycommandcode -Q -S trial.ctx -L policy TPM2_CC_ObjectChangeAuth
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G hmac -L policy -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|sign" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    fails tpm2_changeauth -Q -C primary.ctx -c key.ctx -r new.priv second
    _session; tpm2_policycommandcode -Q -S session.ctx TPM2_CC_ObjectChangeAuth
    tpm2_changeauth -Q -C primary.ctx -c key.ctx -p session:session.ctx -r new.priv second
}
