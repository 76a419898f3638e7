# tpm2_ptool with its PKCS #11 module, and OpenSSL's provider for TPM keys.

_token() {
    [[ ! ${FLUSH_BEFORE_LOADING:-} ]] || skip "tpm2_ptool leaves more loaded than swtpm has room for"
    export TPM2_PKCS11_STORE=$PWD/store TPM2_PKCS11_TCTI=$TPM2TOOLS_TCTI TPM2_PKCS11_LOG_LEVEL=0
    mkdir -p store
    tpm2_ptool init >/dev/null
    tpm2_ptool addtoken --pid=1 --sopin=sopin --userpin=userpin --label=token >/dev/null
}

# Debian 13 keeps the module in a folder of its own.
_module_file() { compgen -G '/usr/lib/*/pkcs11/libtpm2_pkcs11.so' || compgen -G '/usr/lib/*/libtpm2_pkcs11.so.1' || compgen -G '/usr/lib*/pkcs11/libtpm2_pkcs11.so'; }

_module() { pkcs11-tool --module "$(_module_file | head -n 1)" --token-label token --login --pin userpin "$@"; }

ptool_makes_a_token_and_keys() {
    _token
    tpm2_ptool addkey --algorithm=ecc256 --label=token --userpin=userpin --key-label=key >/dev/null
    says "CKA_LABEL: key|key" tpm2_ptool listobjects --label=token
}

ptool_changes_a_pin() {
    _token
    tpm2_ptool changepin --label=token --user=user --old=userpin --new=other
    fails tpm2_ptool addkey --algorithm=ecc256 --label=token --userpin=userpin --key-label=key
    tpm2_ptool addkey --algorithm=ecc256 --label=token --userpin=other --key-label=key >/dev/null
}

pkcs11_signs_with_ecc() {
    _token
    tpm2_ptool addkey --algorithm=ecc256 --label=token --userpin=userpin --key-label=key >/dev/null
    head -c 100 /dev/urandom >data
    openssl dgst -sha256 -binary data >digest
    _module --sign --mechanism ECDSA --signature-format openssl --label key --input-file digest --output-file sig
    _module --read-object --type pubkey --label key --output-file key.der
    openssl dgst -sha256 -verify <(openssl pkey -pubin -inform der -in key.der) -signature sig data
}

pkcs11_signs_with_rsa() {
    _token
    tpm2_ptool addkey --algorithm=rsa2048 --label=token --userpin=userpin --key-label=key >/dev/null
    head -c 100 /dev/urandom >data
    _module --sign --mechanism SHA256-RSA-PKCS --label key --input-file data --output-file sig
    _module --read-object --type pubkey --label key --output-file key.der
    openssl dgst -sha256 -verify <(openssl pkey -pubin -inform der -in key.der) -signature sig data
}

_provider() {
    export TPM2OPENSSL_TCTI=$TPM2TOOLS_TCTI
}

openssl_provider_gives_random_numbers() {
    _provider
    equal "$(openssl rand -provider tpm2 -hex 16 | wc -c)" 33
}

openssl_provider_signs_with_ecc() {
    _provider
    openssl genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256 -out key.pem
    openssl pkey -provider tpm2 -provider default -in key.pem -pubout -out key.pub
    head -c 100 /dev/urandom >data
    openssl pkeyutl -provider tpm2 -provider default -propquery '?provider=tpm2' -inkey key.pem -sign -rawin -digest sha256 -in data -out sig
    openssl dgst -sha256 -verify key.pub -signature sig data
}

openssl_provider_signs_with_rsa() {
    _provider
    openssl genpkey -provider tpm2 -algorithm RSA -pkeyopt bits:2048 -out key.pem
    openssl pkey -provider tpm2 -provider default -in key.pem -pubout -out key.pub
    head -c 100 /dev/urandom >data
    openssl pkeyutl -provider tpm2 -provider default -propquery '?provider=tpm2' -inkey key.pem -sign -rawin -digest sha256 -in data -out sig
    openssl dgst -sha256 -verify key.pub -signature sig data
}

openssl_provider_signs_a_certificate() {
    _provider
    openssl genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256 -out key.pem
    openssl req -provider tpm2 -provider default -propquery '?provider=tpm2' -x509 -subj /CN=Test -key key.pem -out cert.pem
    says "OK" openssl verify -CAfile cert.pem cert.pem
}
