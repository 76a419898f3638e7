# One command after the other, as the IBM TSS calls them: handles stay in the TPM, sessions are HMAC sessions by default.

export TPM_INTERFACE_TYPE=socsim TPM_SERVER_NAME=127.0.0.1 TPM_ENCRYPT_SESSIONS=0
export TPM_COMMAND_PORT=${COMMAND_PORT:-} TPM_PLATFORM_PORT=${PLATFORM_PORT:-1}
if [[ ${TCTI_KIND:-} == mssim ]]; then export TPM_SERVER_TYPE=mssim; else export TPM_SERVER_TYPE=raw; fi

# _answers RC COMMAND...: the utility says this response code.
_answers() {
    local code=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "was not refused: $*"
        return 1
    fi
    grep -qE "rc 0*$code\b" <<<"$output" || { echo "refused otherwise than by $code: $* -> $(grep -o 'rc .*' <<<"$output" | head -1)"; return 1; }
}

_quiet() {
    local output
    output=$("$@" 2>&1) || { echo "failed: $* -> $output"; return 1; }
}

_primary() { _quiet tsscreateprimary -hi o -ecc nistp256 -st -pwdk sto; }
# _key TYPE...: creates and loads a key below the primary, as 80000001.
_key() {
    _primary
    _quiet tsscreate -hp 80000000 -pwdp sto -pwdk key -kt f -kt p -opr key.priv -opu key.pub "$@"
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
}
_data() { head -c 100 /dev/urandom >data; }
_session() { _quiet tssstartauthsession -se "$1" "${@:2}"; }

primary_keys_in_all_hierarchies() {
    local hierarchy
    for hierarchy in e o p n; do
        _quiet tsscreateprimary -hi $hierarchy -rsa -pwdk sto
        _quiet tssflushcontext -ha 80000000
    done
}

sign_with_rsa_and_password() {
    _key -si -rsa; _data
    _quiet tsssign -hk 80000001 -halg sha256 -if data -os sig -pwdk key -ipu key.pub
    _quiet tssverifysignature -hk 80000001 -halg sha256 -if data -is sig
    _quiet tssreadpublic -ho 80000001 -opem key.pem
    openssl dgst -sha256 -verify key.pem -signature <(tail -c 256 sig) data
    _answers 98e tsssign -hk 80000001 -halg sha256 -if data -os sig -pwdk wrong || _answers 9a2 tsssign -hk 80000001 -halg sha256 -if data -os sig -pwdk wrong
}

sign_with_ecc_and_hmac_session() {
    _key -si -ecc nistp256; _data
    _session h
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key -se0 02000000 1
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key -se0 02000000 1
    _quiet tssverifysignature -hk 80000001 -ecc -halg sha256 -if data -is sig
    _answers 9a2 tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk wrong -se0 02000000 1 ||
        _answers 98e tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk wrong -se0 02000000 1
}

_bound_session() {
    _key -si -ecc nistp256; _data
    _session h -bi 80000001 -pwdb key -halg "$1"
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key -se0 02000000 1
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key -se0 02000000 0
    _answers 910 tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key -se0 02000000 0 || true
}
for_each _bound_session sha1 sha256 sha384

_salted_session() {
    _quiet tsscreateprimary -hi o $1 -st -pwdk sto
    _session h -hs 80000000
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt f -kt p -pwdk key -opr key.priv -opu key.pub -se0 02000000 61
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub -se0 02000000 61
}
salted_session_by_rsa_encrypts_parameters() { _salted_session "-rsa"; }
salted_session_by_ecc_encrypts_parameters() { _salted_session "-ecc nistp256"; }

encryption_by_xor() {
    _primary
    _session h -sym xor -bi 80000000 -pwdb sto
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt f -kt p -pwdk key -opr key.priv -opu key.pub -se0 02000000 61
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub -se0 02000000 61
}

three_sessions_on_one_command() {
    _primary
    _session h; _session h; _session h
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt f -kt p -pwdk key -opr key.priv -opu key.pub \
        -se0 02000000 1 -se1 02000001 21 -se2 02000002 41
}

audit_session() {
    _key -si -rsa
    _session h
    _quiet tssgetrandom -by 8 -se0 02000000 81
    _quiet tssgetrandom -by 8 -se0 02000000 81
    _quiet tssgetsessionauditdigest -hk 80000001 -pwdk key -hs 02000000 -oa attest -os sig
    [[ $(hex attest) == ff5443478016* ]]
}

seal_and_unseal_by_password() {
    _primary; echo secret >secret
    _quiet tsscreate -hp 80000000 -pwdp sto -bl -if secret -kt f -kt p -pwdk seal -opr s.priv -opu s.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr s.priv -ipu s.pub
    _quiet tssunseal -ha 80000001 -pwd seal -of out
    cmp secret out
}

policy_session_with_getdigest() {
    _session t
    _quiet tsspolicycommandcode -ha 03000000 -cc 15e
    says "$( (head -c 32 /dev/zero; printf '\0\0\x01\x6c\0\0\x01\x5e') | openssl dgst -sha256 -r | cut -c1-8 | sed 's/../& /g')" tsspolicygetdigest -ha 03000000
    _quiet tsspolicyrestart -ha 03000000
}

policypcr_seals() {
    _primary; echo secret >secret
    _session t
    _quiet tsspolicypcr -ha 03000000 -bm 10000 -halg sha256
    tsspolicygetdigest -ha 03000000 -of policy >/dev/null
    _quiet tssflushcontext -ha 03000000
    _quiet tsscreate -hp 80000000 -pwdp sto -bl -if secret -kt f -kt p -uwa -pol policy -opr s.priv -opu s.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr s.priv -ipu s.pub
    _session p
    _quiet tsspolicypcr -ha 03000000 -bm 10000 -halg sha256
    _quiet tssunseal -ha 80000001 -of out -se0 03000000 1
    cmp secret out
    _answers 99d tssunseal -ha 80000001 -of out -se0 03000000 1
    _quiet tsspcrextend -ha 16 -halg sha256 -ic data
    _quiet tsspolicypcr -ha 03000000 -bm 10000 -halg sha256
    _answers 99d tssunseal -ha 80000001 -of out -se0 03000000 1
}

policysigned_by_rsa() {
    openssl genrsa -traditional -aes128 -passout pass:rrrr -out signer.pem 2048 2>/dev/null
    openssl rsa -in signer.pem -passin pass:rrrr -pubout -out signer.pub 2>/dev/null
    _quiet tssloadexternal -ipem signer.pub -hi o
    _session p
    _quiet tsspolicysigned -hk 80000000 -ha 03000000 -sk signer.pem -pwdk rrrr -halg sha256 -exp -200 -tk ticket -to timeout
    [[ -s ticket && -s timeout ]]
}

policysecret_of_an_object() {
    _primary
    _session p
    _quiet tsspolicysecret -ha 80000000 -pwde sto -hs 03000000
    _answers 98e tsspolicysecret -ha 80000000 -pwde wrong -hs 03000000 || _answers 9a2 tsspolicysecret -ha 80000000 -pwde wrong -hs 03000000
}

hash_sequence_in_steps() {
    head -c 500 /dev/urandom >a; head -c 300 /dev/urandom >b
    _quiet tsshashsequencestart -pwda aaa -halg sha256
    _quiet tsssequenceupdate -pwds aaa -hs 80000000 -if a
    _answers 98e tsssequenceupdate -pwds bbb -hs 80000000 -if a || _answers 9a2 tsssequenceupdate -pwds bbb -hs 80000000 -if a
    _quiet tsssequencecomplete -hi n -pwds aaa -hs 80000000 -if b -of digest
    equal "$(hex digest)" "$(cat a b | openssl dgst -sha256 -r | cut -d' ' -f1)"
}

_hash_sequence() {
    head -c 700 /dev/urandom >a; : >b
    _quiet tsshashsequencestart -pwda aaa -halg "$1"
    _quiet tsssequenceupdate -pwds aaa -hs 80000000 -if a
    _quiet tsssequenceupdate -pwds aaa -hs 80000000 -if a
    _quiet tsssequencecomplete -hi o -pwds aaa -hs 80000000 -if a -of digest -tk ticket
    equal "$(hex digest)" "$(cat a a a | openssl dgst "-$1" -r | cut -d' ' -f1)"
}
for_each _hash_sequence sha1 sha256 sha384

hmac_sequence_in_steps() {
    _key -kh; _data
    _quiet tsshmac -hk 80000001 -pwdk key -if data -os whole
    _quiet tsshmacstart -hk 80000001 -pwdk key -pwda aaa
    head -c 60 data >a; tail -c 40 data >b
    _quiet tsssequenceupdate -hs 80000002 -pwds aaa -if a
    _quiet tsssequencecomplete -hs 80000002 -pwds aaa -if b -of steps
    cmp whole steps
}

_hash_at_once() {
    _data
    _quiet tsshash -hi o -halg "$1" -if data -oh digest -tk ticket
    equal "$(hex digest)" "$(openssl dgst "-$1" -r data | cut -d' ' -f1)"
}
for_each _hash_at_once sha1 sha256 sha384

encryptdecrypt_both_commands() {
    _key -des; _data
    _quiet tssencryptdecrypt -hk 80000001 -pwdk key -if data -of cipher
    _quiet tssencryptdecrypt -hk 80000001 -pwdk key -d -2 -if cipher -of out
    cmp data out
    fails cmp data cipher
}

rsa_encrypt_and_decrypt() {
    _key -den -rsa; head -c 100 /dev/urandom >data
    _quiet tssrsaencrypt -hk 80000001 -id data -oe cipher
    _quiet tssrsadecrypt -hk 80000001 -pwdk key -ie cipher -od out
    # Without a scheme the padding is the caller's.
    cmp data <(tail -c 100 out)
}

duplicate_rewrap_and_import() {
    _session t
    _quiet tsspolicycommandcode -ha 03000000 -cc 14b
    tsspolicygetdigest -ha 03000000 -of policy >/dev/null
    _quiet tssflushcontext -ha 03000000
    _primary
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt nf -kt np -pol policy -pwdk key -opr key.priv -opu key.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
    _quiet tsscreateprimary -hi e -ecc nistp256 -st -pwdk new
    _session p
    _quiet tsspolicycommandcode -ha 03000000 -cc 14b
    _quiet tssduplicate -ho 80000001 -pwdo key -hp 80000002 -od dup -oss seed -se0 03000000 1
    tssreadpublic -ho 80000001 >/dev/null
    # The Name of what is duplicated, out of its public area.
    (printf '\0\x0b'; tail -c +3 key.pub | openssl dgst -sha256 -binary) >name
    _quiet tssrewrap -ho 80000002 -pwdo new -hn 80000000 -id dup -in name -iss seed -od dup2 -oss seed2
    _quiet tssflushcontext -ha 80000001
    _quiet tssimport -hp 80000000 -pwdp sto -ipu key.pub -id dup2 -iss seed2 -opr imported.priv
    _quiet tssload -hp 80000000 -pwdp sto -ipr imported.priv -ipu key.pub
    _data
    _quiet tsssign -hk 80000001 -pwdk key -halg sha256 -ecc -if data -os sig
}

duplicate_with_an_inner_wrapper() {
    _session t
    _quiet tsspolicycommandcode -ha 03000000 -cc 14b
    tsspolicygetdigest -ha 03000000 -of policy >/dev/null
    _quiet tssflushcontext -ha 03000000
    _primary
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt nf -kt np -pol policy -pwdk key -opr key.priv -opu key.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
    _session p
    _quiet tsspolicycommandcode -ha 03000000 -cc 14b
    head -c 16 /dev/urandom >inner
    _quiet tssduplicate -ho 80000001 -pwdo key -salg aes -ik inner -od dup -oss seed -se0 03000000 1
    _quiet tssimport -hp 80000000 -pwdp sto -ipu key.pub -id dup -iss seed -salg aes -ik inner -opr imported.priv
}

importpem_signs() {
    openssl genrsa -traditional -aes128 -passout pass:rrrr -out outside.pem 2048 2>/dev/null
    _primary; _data
    _quiet tssimportpem -hp 80000000 -pwdp sto -ipem outside.pem -pwdk rrrr -rsa -opr key.priv -opu key.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
    _quiet tsssign -hk 80000001 -pwdk rrrr -halg sha256 -if data -os sig
    openssl rsa -in outside.pem -passin pass:rrrr -pubout -out outside.pub 2>/dev/null
    openssl dgst -sha256 -verify outside.pub -signature <(tail -c 256 sig) data
}

loadexternal_and_readpublic() {
    openssl ecparam -name prime256v1 -genkey -noout -out outside.pem
    openssl pkey -in outside.pem -pubout -out outside.pub
    _quiet tssloadexternal -ecc -ipem outside.pub -hi o
    _quiet tssreadpublic -ho 80000000 -opem again.pub
    cmp <(openssl pkey -pubin -in outside.pub -outform der | tail -c 64) <(openssl pkey -pubin -in again.pub -outform der | tail -c 64)
}

objectchangeauth_then_load() {
    _key -si -ecc nistp256; _data
    _quiet tssobjectchangeauth -ho 80000001 -pwdo key -hp 80000000 -pwdn new -opr new.priv
    _quiet tssload -hp 80000000 -pwdp sto -ipr new.priv -ipu key.pub
    _quiet tsssign -hk 80000002 -pwdk new -halg sha256 -ecc -if data -os sig
}

makecredential_and_activatecredential() {
    _key -si -ecc nistp256
    _quiet tsscreateprimary -hi e -rsa -st -pwdk ek
    printf 0123456789abcdef >secret
    (printf '\0\x0b'; tail -c +3 key.pub | openssl dgst -sha256 -binary) >name
    _quiet tssmakecredential -ha 80000002 -icred secret -in name -ocred cred -os seed
    _quiet tssactivatecredential -ha 80000001 -pwda key -hk 80000002 -pwdk ek -icred cred -is seed -ocred out
    cmp secret out
}

_quote() {
    _key -sir $1; head -c 20 /dev/urandom >nonce
    _quiet tssquote -hp 16 -hp 0 -hk 80000001 -pwdk key -halg sha256 -salg "$2" -qd nonce -os sig -oa attest
    [[ $(hex attest) == ff5443478018*0014$(hex nonce)* ]]
    _quiet tssverifysignature -hk 80000001 -halg sha256 "-$2" -if attest -is sig
}
quote_by_rsa() { _quote "-rsa" rsa; }
quote_by_ecc() { _quote "-ecc nistp256" ecc; }

certify_and_certifycreation() {
    _key -si -ecc nistp256
    _quiet tsscreateprimary -hi e -ecc nistp256 -st -pwdk ek -tk ticket -ch creation
    _quiet tsscertify -ho 80000002 -pwdo ek -hk 80000001 -pwdk key -salg ecc -halg sha256 -oa attest -os sig
    _quiet tsscertifycreation -ho 80000002 -hk 80000001 -pwdk key -salg ecc -halg sha256 -tk ticket -ch creation -oa attest2 -os sig2
    [[ $(hex attest) == ff5443478017* && $(hex attest2) == ff544347801a* ]]
}

gettime_and_clock() {
    _key -si -ecc nistp256
    _quiet tssgettime -hk 80000001 -pwdk key -salg ecc -oa attest -os sig
    [[ $(hex attest) == ff5443478019* ]]
    _quiet tssreadclock
}

nv_ordinary_with_password() {
    printf 12345678 >data
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 8
    _answers 14a tssnvread -ha 01000000 -pwdn nnn -sz 8
    _quiet tssnvwrite -ha 01000000 -pwdn nnn -if data
    _quiet tssnvread -ha 01000000 -pwdn nnn -sz 8 -of out
    cmp data out
    _quiet tssnvundefinespace -hi o -ha 01000000
    _answers 18b tssnvread -ha 01000000 -pwdn nnn -sz 8
}

nv_with_bound_session_and_encryption() {
    printf 12345678 >data
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 8
    _session h -bi 01000000 -pwdb nnn
    _quiet tssnvwrite -ha 01000000 -pwdn nnn -if data -se0 02000000 21
    _quiet tssnvread -ha 01000000 -pwdn nnn -sz 8 -of out -se0 02000000 41
    cmp data out
}

nv_counter_bits_and_extend() {
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -ty c
    _quiet tssnvincrement -ha 01000000 -pwdn nnn
    _quiet tssnvdefinespace -hi o -ha 01000001 -pwdn nnn -ty b
    _quiet tssnvsetbits -ha 01000001 -pwdn nnn -bit 3 -bit 9
    _quiet tssnvread -ha 01000001 -pwdn nnn -sz 8 -of out
    equal "$(hex out)" 0000000000000208
    _quiet tssnvdefinespace -hi o -ha 01000002 -pwdn nnn -ty e
    printf data >data
    _quiet tssnvextend -ha 01000002 -pwdn nnn -if data
    _quiet tssnvread -ha 01000002 -pwdn nnn -sz 32 -of out
    equal "$(hex out)" "$( (head -c 32 /dev/zero; cat data) | openssl dgst -sha256 -r | cut -d' ' -f1)"
}

nv_locks() {
    printf 12345678 >data
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 8 +at wst +at rst
    _quiet tssnvwrite -ha 01000000 -pwdn nnn -if data
    _quiet tssnvwritelock -ha 01000000 -pwdn nnn
    _answers 148 tssnvwrite -ha 01000000 -pwdn nnn -if data
    _quiet tssnvreadlock -ha 01000000 -pwdn nnn
    _answers 148 tssnvread -ha 01000000 -pwdn nnn -sz 8
}

nv_globalwritelock() {
    printf 12345678 >data
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 8 +at gl
    _quiet tssnvglobalwritelock -hia o
    _answers 148 tssnvwrite -ha 01000000 -pwdn nnn -if data
}

nv_certify() {
    _key -si -ecc nistp256
    printf 12345678 >data
    _quiet tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 8
    _quiet tssnvwrite -ha 01000000 -pwdn nnn -if data
    _quiet tssnvcertify -ha 01000000 -pwdn nnn -hk 80000001 -pwdk key -salg ecc -sz 8 -oa attest -os sig
    [[ $(hex attest) == *3132333435363738 ]]
}

hierarchy_auth_clear_and_control() {
    _quiet tsshierarchychangeauth -hi o -pwdn aaa
    _answers 9a2 tsscreateprimary -hi o -ecc nistp256 -pwdp bbb
    _quiet tsscreateprimary -hi o -ecc nistp256 -pwdp aaa
    _quiet tsshierarchycontrol -hi p -he o -state 0
    _answers 185 tsscreateprimary -hi o -ecc nistp256 -pwdp aaa
    _quiet tsshierarchycontrol -hi p -he o -state 1
    _quiet tssclear -hi p
    _quiet tsscreateprimary -hi o -ecc nistp256
    _quiet tssclearcontrol -hi p -state 1
    _answers 120 tssclear -hi l
}

setprimarypolicy_and_seeds() {
    head -c 32 /dev/zero >policy
    _quiet tsssetprimarypolicy -hi p -pol policy -halg sha256
    _quiet tsschangeeps
    _quiet tsschangepps
}

evictcontrol_and_contexts() {
    _primary
    _quiet tssevictcontrol -hi o -ho 80000000 -hp 81000000
    _quiet tsscontextsave -ha 80000000 -of context
    _quiet tssflushcontext -ha 80000000
    _answers 910 tssreadpublic -ho 80000000
    _quiet tsscontextload -if context
    _quiet tssreadpublic -ho 80000000
    _quiet tssreadpublic -ho 81000000
    _quiet tssevictcontrol -hi o -ho 81000000 -hp 81000000
    _answers 18b tssreadpublic -ho 81000000
}

session_contexts() {
    _session h
    _quiet tsscontextsave -ha 02000000 -of context
    _answers 910 tssgetrandom -by 4 -se0 02000000 81 || _answers 918 tssgetrandom -by 4 -se0 02000000 81
    _quiet tsscontextload -if context
    _answers 1cb tsscontextload -if context || _answers 1d0 tsscontextload -if context || _answers 1cb tsscontextload -if context || fails tsscontextload -if context
    _quiet tssgetrandom -by 4 -se0 02000000 81
}

dictionary_attack() {
    _primary
    _quiet tsscreate -hp 80000000 -pwdp sto -si -ecc nistp256 -kt f -kt p -da -pwdk key -opr key.priv -opu key.pub
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
    _data
    _quiet tssdictionaryattackparameters -nmt 2 -nrt 1000 -lr 1000
    # A TPM may note the first use of an object under protection in NV, and ask for a second try (TPM_RC_RETRY).
    tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key >/dev/null || true
    _answers 98e tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk wrong
    _answers 98e tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk wrong
    _answers 921 tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key
    _quiet tssdictionaryattacklockreset
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key
}

pcrs() {
    _quiet tsspcrextend -ha 16 -halg sha256 -ic data
    _quiet tsspcrread -ha 16 -halg sha256
    _quiet tsspcrreset -ha 16
    _answers 907 tsspcrreset -ha 0
}

_capability() { _quiet tssgetcapability -cap "$1"; }
# The PCR capability (5) is not asked: this TSS has room for three banks, and the TPMs have four.
for_each _capability 0 1 2 3 4 6 7 8

random_and_stir() {
    printf data >data
    _quiet tssgetrandom -by 32 -of a
    _quiet tssgetrandom -by 32 -of b
    fails cmp a b
    _quiet tssstirrandom -if data
}

ecc_commands() {
    _quiet tsseccparameters -cv nistp256
    _quiet tsseccparameters -cv nistp384
    _quiet tssecephemeral -ecc nistp256
}

commit_with_ecdaa() {
    _key -dau -ecc nistp256
    _quiet tsscommit -hk 80000001 -pwdk key
}

createloaded_below_a_storage_key() {
    _primary; _data
    _quiet tsscreateloaded -hp 80000000 -pwdp sto -si -ecc nistp256 -kt f -kt p -opu key.pub -opr key.priv -pwdk key
    _quiet tsssign -hk 80000001 -halg sha256 -ecc -if data -os sig -pwdk key
    _quiet tssload -hp 80000000 -pwdp sto -ipr key.priv -ipu key.pub
    _quiet tssverifysignature -hk 80000002 -ecc -halg sha256 -if data -is sig
}

command_audit() {
    _key -si -ecc nistp256
    _quiet tssgetcommandauditdigest -hk 80000001 -pwdk key -salg ecc -oa attest -os sig
    [[ $(hex attest) == ff5443478015* ]]
}

shutdown_and_startup_state() {
    _quiet tssshutdown -s
    reset_line
    _quiet tssstartup -s
    _quiet tssgetrandom -by 4
}

power_cycle_through_the_platform_port() {
    [[ $TCTI_KIND == mssim ]] || skip "only mssim has a platform port"
    _primary
    _quiet tsspowerup
    _answers 100 tssgetrandom -by 4
    _quiet tssstartup -c
    _answers 910 tssreadpublic -ho 80000000
}
