# What keys do: sign, encrypt, agree, hash. OpenSSL is the judge where it can be.

_key() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G "$1" -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|$2" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_readpublic -Q -c key.ctx -f pem -o key.pem 2>/dev/null || true
    head -c 300 /dev/urandom >data
}

_sign_and_openssl_verifies() {
    local key hash scheme
    read -r key hash scheme <<<"$1"
    _key "$key" sign
    tpm2_sign -Q -c key.ctx -g "$hash" -s "$scheme" -f plain -o plain data
    if [[ $scheme == rsapss ]]; then
        openssl dgst "-$hash" -verify key.pem -sigopt rsa_padding_mode:pss -signature plain data
    else
        openssl dgst "-$hash" -verify key.pem -signature plain data
    fi
    tpm2_sign -Q -c key.ctx -g "$hash" -s "$scheme" -o sig data
    tpm2_verifysignature -c key.ctx -g "$hash" -m data -s sig
    echo changed >data
    refused 2db tpm2_verifysignature -c key.ctx -g "$hash" -m data -s sig
}
for_each _sign_and_openssl_verifies "rsa2048 sha1 rsassa" "rsa2048 sha256 rsassa" "rsa2048 sha384 rsassa" \
    "rsa2048 sha512 rsassa" "rsa2048 sha256 rsapss" "rsa2048 sha384 rsapss" "rsa2048 sha512 rsapss" \
    "rsa3072 sha256 rsassa" "rsa3072 sha384 rsapss" "ecc256 sha1 ecdsa" "ecc256 sha256 ecdsa" "ecc256 sha512 ecdsa" \
    "ecc384 sha256 ecdsa" "ecc384 sha384 ecdsa" "ecc521 sha512 ecdsa"

sign_and_verify_ecschnorr() {
    _key ecc256 sign
    tpm2_sign -Q -c key.ctx -g sha256 -s ecschnorr -o sig data
    tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
    echo changed >data
    refused 2db tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
}

sign_of_a_digest() {
    _key ecc256 sign
    openssl dgst -sha256 -binary data >digest
    tpm2_sign -Q -c key.ctx -g sha256 -d -f plain -o plain digest
    openssl dgst -sha256 -verify key.pem -signature plain data
}

sign_with_a_ticket_by_a_restricted_key() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc256:ecdsa-sha256:null -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted" \
        -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    head -c 100 /dev/urandom >data
    tpm2_hash -C o -g sha256 -o digest -t ticket data
    tpm2_sign -Q -c key.ctx -g sha256 -d -t ticket -o sig digest
    tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
    openssl dgst -sha256 -binary data >digest2
    fails tpm2_sign -Q -c key.ctx -g sha256 -d -o sig2 digest2
}

a_restricted_key_does_not_sign_what_looks_like_an_attestation() {
    printf '\xffTCG%0100d' 7 >data
    tpm2_hash -C o -g sha256 -o digest -t ticket data
    # A ticket of a forged attestation is empty: it names the NULL hierarchy.
    equal "$(hex ticket)" 8024400000070000
}

sign_with_a_key_for_decryption_is_refused() {
    _key ecc256 decrypt
    fails tpm2_sign -Q -c key.ctx -g sha256 -o sig data
}

sign_with_the_wrong_auth_is_refused() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc -p auth -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    echo data >data
    refused 98e tpm2_sign -Q -c key.ctx -p wrong -g sha256 -o sig data
    tpm2_sign -Q -c key.ctx -p auth -g sha256 -o sig data
}

sign_with_a_scheme_other_than_the_keys_is_refused() {
    _key rsa2048:rsassa-sha256 sign
    fails tpm2_sign -Q -c key.ctx -g sha256 -s rsapss -o sig data
    tpm2_sign -Q -c key.ctx -g sha256 -s rsassa -o sig data
}

a_changed_signature_is_refused() {
    _key ecc256 sign
    tpm2_sign -Q -c key.ctx -g sha256 -o sig data
    change sig 20
    refused 2db tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
}

verifysignature_gives_a_ticket() {
    _key ecc256 sign
    tpm2_sign -Q -c key.ctx -g sha256 -o sig data
    tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig -t ticket
    [[ $(hex ticket) == 8022* ]]
}

hmac_signature_is_made_and_verified() {
    _key hmac:sha256 sign
    tpm2_sign -Q -c key.ctx -g sha256 -s hmac -o sig data
    tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
    echo changed >data
    refused 2db tpm2_verifysignature -c key.ctx -g sha256 -m data -s sig
}

_rsaencrypt_openssl_padding() {
    _key rsa2048 decrypt
    head -c 32 /dev/urandom >plain
    case $1 in
    rsaes) openssl pkeyutl -encrypt -pubin -inkey key.pem -in plain -out cipher ;;
    oaep) openssl pkeyutl -encrypt -pubin -inkey key.pem -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -in plain -out cipher ;;
    null) (head -c 1 /dev/zero; head -c 255 /dev/urandom) >plain
        openssl pkeyutl -encrypt -pubin -inkey key.pem -pkeyopt rsa_padding_mode:none -in plain -out cipher ;;
    esac
    tpm2_rsadecrypt -Q -c key.ctx -s "$1" -o out cipher
    if [[ $1 == null ]]; then
        equal "$(hex out | sed 's/^\(00\)*//')" "$(hex plain | sed 's/^\(00\)*//')"
    else
        cmp plain out
    fi
}
for_each _rsaencrypt_openssl_padding rsaes oaep null

_rsaencrypt_and_decrypt() {
    _key rsa2048 decrypt
    head -c 50 /dev/urandom >plain
    tpm2_rsaencrypt -Q -c key.ctx -s "$1" -o cipher plain
    equal "$(stat -c %s cipher)" 256
    tpm2_rsadecrypt -Q -c key.ctx -s "$1" -o out cipher
    cmp plain out
    change cipher 100
    fails tpm2_rsadecrypt -Q -c key.ctx -s "$1" -o out2 cipher
}
for_each _rsaencrypt_and_decrypt rsaes oaep

rsa_oaep_label_is_authenticated() {
    _key rsa2048 decrypt
    echo plain >plain
    tpm2_rsaencrypt -Q -c key.ctx -s oaep -l label -o cipher plain
    tpm2_rsadecrypt -Q -c key.ctx -s oaep -l label -o out cipher
    cmp plain out
    fails tpm2_rsadecrypt -Q -c key.ctx -s oaep -l other -o out2 cipher
}

rsadecrypt_with_a_signing_key_is_refused() {
    _key rsa2048 sign
    head -c 256 /dev/zero >cipher
    fails tpm2_rsadecrypt -Q -c key.ctx -s rsaes -o out cipher
}

rsaencrypt_of_too_much_is_refused() {
    _key rsa2048 decrypt
    head -c 246 /dev/urandom >plain
    fails tpm2_rsaencrypt -Q -c key.ctx -s rsaes -o cipher plain
}

_encryptdecrypt_openssl() {
    local mode bits
    read -r mode bits <<<"$1"
    tpm2_createprimary -Q -G ecc -c primary.ctx
    head -c $((bits / 8)) /dev/urandom >aes
    head -c 16 /dev/urandom >iv
    head -c 256 /dev/urandom >plain
    tpm2_import -Q -C primary.ctx -G aes -i aes -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_encryptdecrypt -Q -c key.ctx -G "$mode" --iv iv -o cipher plain
    openssl enc "-aes-$bits-$mode" -K "$(hex aes)" -iv "$(hex iv)" -nopad -in plain -out expected
    cmp cipher expected
    tpm2_encryptdecrypt -Q -d -c key.ctx -G "$mode" --iv iv -o out cipher
    cmp plain out
}
for_each _encryptdecrypt_openssl "cfb 128" "cfb 256"

_encryptdecrypt_mode() {
    local mode=$1
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G "aes256$mode" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    head -c 16 /dev/urandom >iv
    head -c 1600 /dev/urandom >plain
    tpm2_encryptdecrypt -Q -c key.ctx --iv iv -o cipher plain
    fails cmp cipher plain
    tpm2_encryptdecrypt -Q -d -c key.ctx --iv iv -o out cipher
    cmp plain out
}
for_each _encryptdecrypt_mode cfb ctr cbc ofb

encryptdecrypt_ecb() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G aes128ecb -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    head -c 64 /dev/urandom >plain
    : >iv
    tpm2_encryptdecrypt -Q -c key.ctx --iv iv -o cipher plain 2>/dev/null || skip "this tpm2-tools always sends an initial vector, which ECB refuses"
    tpm2_encryptdecrypt -Q -d -c key.ctx --iv iv -o out cipher
    cmp plain out
}

encryptdecrypt_of_a_part_of_a_block() {
    _key aes128cfb "decrypt|sign"
    head -c 37 /dev/urandom >plain
    tpm2_encryptdecrypt -Q -c key.ctx -o cipher plain
    equal "$(stat -c %s cipher)" 37
    tpm2_encryptdecrypt -Q -d -c key.ctx -o out cipher
    cmp plain out
}

encryptdecrypt_cbc_of_a_part_of_a_block_is_refused() {
    _key aes128cbc "decrypt|sign"
    head -c 37 /dev/urandom >plain
    fails tpm2_encryptdecrypt -Q -c key.ctx -o cipher plain
}

encryptdecrypt_returns_the_next_vector() {
    _key aes128cfb "decrypt|sign"
    head -c 64 /dev/urandom >plain
    head -c 16 /dev/urandom >iv
    tpm2_encryptdecrypt -Q -c key.ctx --iv iv:next -o whole plain
    head -c 32 plain >first
    tail -c 32 plain >second
    tpm2_encryptdecrypt -Q -c key.ctx --iv iv:middle -o a first
    tpm2_encryptdecrypt -Q -c key.ctx --iv middle:end -o b second
    cat a b | cmp - whole
    cmp next end
}

encryptdecrypt_with_a_key_that_may_not_decrypt_is_refused() {
    _key aes128cfb sign
    head -c 32 /dev/zero >plain
    tpm2_encryptdecrypt -Q -c key.ctx -o cipher plain
    fails tpm2_encryptdecrypt -Q -d -c key.ctx -o out cipher
}

_hmac() {
    _key "hmac:$1" sign
    tpm2_hmac -c key.ctx -g "$1" -o mac data
    equal "$(stat -c %s mac)" "$(openssl dgst "-$1" -binary data | wc -c)"
    tpm2_hmac -c key.ctx -g "$1" -o again data
    cmp mac again
    echo other >data
    tpm2_hmac -c key.ctx -g "$1" -o other data
    fails cmp mac other
}
for_each _hmac sha1 sha256 sha384 sha512

hmac_of_a_large_file_uses_a_sequence() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    head -c 32 /dev/urandom >key
    head -c 10000 /dev/urandom >data
    tpm2_import -Q -C primary.ctx -G hmac -i key -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_hmac -c key.ctx -o mac data
    equal "$(hex mac)" "$(openssl dgst -sha256 -mac hmac -macopt "hexkey:$(hex key)" -r data | cut -d' ' -f1)"
}

hmac_with_a_ticket() {
    _key hmac:sha256 sign
    tpm2_hmac -c key.ctx -o mac -t ticket data
    [[ $(hex ticket) == 8024* ]]
}

_hash() {
    local hash=${1%% *} bytes=${1##* }
    head -c "$bytes" /dev/urandom >data
    tpm2_hash -g "$hash" -o digest data
    equal "$(hex digest)" "$(openssl dgst "-$hash" -r data | cut -d' ' -f1)"
}
for_each _hash "sha1 0" "sha1 100" "sha256 0" "sha256 64" "sha256 1024" "sha256 1025" "sha256 100000" \
    "sha384 127" "sha384 5000" "sha512 128" "sha512 5000"

hash_ticket_names_the_hierarchy() {
    local hierarchy
    echo data >data
    for hierarchy in o e p; do
        tpm2_hash -C $hierarchy -o digest -t $hierarchy.ticket data
    done
    [[ $(hex o.ticket) == 802440000001* ]]
    [[ $(hex e.ticket) == 80244000000b* ]]
    [[ $(hex p.ticket) == 80244000000c* ]]
    tpm2_hash -C n -o digest -t n.ticket data
    equal "$(hex n.ticket)" 8024400000070000
}

_ecdh() {
    _key "$1" decrypt
    tpm2_ecdhkeygen -Q -c key.ctx -u ephemeral -o first
    tpm2_ecdhzgen -Q -c key.ctx -u ephemeral -o second
    cmp first second
}
for_each _ecdh ecc256 ecc384 ecc521

ecdhzgen_agrees_with_openssl() {
    _key ecc256 decrypt
    openssl ecparam -name prime256v1 -genkey -noout -out other.pem
    openssl pkey -in other.pem -pubout -outform der | tail -c 64 >xy
    (printf '\0\x20'; head -c 32 xy; printf '\0\x20'; tail -c 32 xy) >point
    tpm2_ecdhzgen -Q -c key.ctx -u point -o z 2>/dev/null || { (printf '\0\x44'; cat point) >sized; tpm2_ecdhzgen -Q -c key.ctx -u sized -o z; }
    openssl pkeyutl -derive -inkey other.pem -peerkey key.pem -out secret
    [[ $(hex z) == *$(hex secret)* ]]
}

ecdhzgen_of_a_point_off_the_curve_is_refused() {
    _key ecc256 decrypt
    tpm2_ecdhkeygen -Q -c key.ctx -u point -o z
    change point 10
    fails tpm2_ecdhzgen -Q -c key.ctx -u point -o z2
}

ecephemeral_and_zgen2phase() {
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc256:ecdh -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_ecephemeral -Q -u q -t counter ecc256
    tpm2_ecdhkeygen -Q -c key.ctx -u static -o z
    tpm2_zgen2phase -Q -c key.ctx --static-public static --ephemeral-public q -t "$(cat counter 2>/dev/null | tr -d '\0' || echo 0)" \
        --output-Z1 z1 --output-Z2 z2 2>/dev/null || tpm2_zgen2phase -Q -c key.ctx --static-public static --ephemeral-public q -t 0 --output-Z1 z1 --output-Z2 z2
    cmp z z1
}

_geteccparameters() {
    tpm2_geteccparameters -o parameters "$1"
    (($(stat -c %s parameters) > 100))
}
for_each _geteccparameters ecc256 ecc384 ecc521

commit_with_an_ecdaa_key() {
    local index
    tpm2_createprimary -Q -G ecc -c primary.ctx
    tpm2_create -Q -C primary.ctx -G ecc256:ecdaa -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign" -u key.pub -r key.priv
    tpm2_load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_commit -Q -c key.ctx -t counter -u e
    index=$((0x$(hex counter)))
    echo data >data
    tpm2_sign -Q -c key.ctx -g sha256 -s ecdaa --commit-index $index -o sig data || {
        # Some versions write the counter in the machine's own byte order.
        index=$((0x$(xxd -p counter | fold -w2 | tac | tr -d '\n')))
        tpm2_sign -Q -c key.ctx -g sha256 -s ecdaa --commit-index $index -o sig data
    }
    # A commitment is used once.
    refused 84 tpm2_sign -Q -c key.ctx -g sha256 -s ecdaa --commit-index $index -o sig2 data
}
