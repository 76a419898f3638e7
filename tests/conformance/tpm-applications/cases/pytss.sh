# tpm2-pytss: the ESAPI from Python. Each case is a few lines of it.

_python() {
    /usr/bin/python3 -c "
import os
from tpm2_pytss import *
esapi = ESAPI(os.environ['TPM2TOOLS_TCTI'])
def primary(hierarchy=ESYS_TR.OWNER, template='ecc'):
    sensitive = TPM2B_SENSITIVE_CREATE()
    return esapi.create_primary(sensitive, TPM2B_PUBLIC.parse(template, objectAttributes='userwithauth|restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin'), hierarchy)[0]
def key(parent, template, attributes, auth=b''):
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=auth))
    private, public, *_ = esapi.create(parent, sensitive, TPM2B_PUBLIC.parse(template, objectAttributes='userwithauth|fixedtpm|fixedparent|sensitivedataorigin|' + attributes))
    loaded = esapi.load(parent, private, public)
    esapi.tr_set_auth(loaded, auth)
    return loaded
def refused(code, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except TSS2_Exception as error:
        assert error.rc == code, hex(error.rc)
    else:
        raise AssertionError('was not refused')
$1
esapi.close()
"
}

pytss_random() { _python "
assert len(esapi.get_random(32)) == 32
esapi.stir_random(b'abc')
"; }

pytss_sign_and_verify() { _python "
k = key(primary(), 'ecc:ecdsa-sha256', 'sign')
digest, ticket = esapi.hash(b'data', TPM2_ALG.SHA256, ESYS_TR.OWNER)
s = esapi.sign(k, digest, TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL), ticket)
esapi.verify_signature(k, digest, s)
other, _ = esapi.hash(b'other', TPM2_ALG.SHA256, ESYS_TR.OWNER)
refused(0x2db, esapi.verify_signature, k, other, s)
"; }

pytss_parameter_encryption() { _python "
p = primary()
session = esapi.start_auth_session(p, ESYS_TR.NONE, TPM2_SE.HMAC, TPMT_SYM_DEF(algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)), TPM2_ALG.SHA256)
esapi.trsess_set_attributes(session, TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT | TPMA_SESSION.CONTINUESESSION)
for size in (1, 8, 32):
    assert len(esapi.get_random(size, session1=session)) == size
esapi.flush_context(session)
"; }

pytss_nv() { _python "
public = TPM2B_NV_PUBLIC(TPMS_NV_PUBLIC(nvIndex=0x01000010, nameAlg=TPM2_ALG.SHA256, attributes=TPMA_NV.parse('authread|authwrite'), dataSize=8))
index = esapi.nv_define_space(b'auth', public)
esapi.nv_write(index, b'12345678')
assert bytes(esapi.nv_read(index, 8)) == b'12345678'
esapi.tr_set_auth(index, b'wrong')
refused(0x98e, esapi.nv_read, index, 8)
"; }

pytss_policy() { _python "
trial = esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.TRIAL, TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL), TPM2_ALG.SHA256)
esapi.policy_command_code(trial, TPM2_CC.Unseal)
digest = esapi.policy_get_digest(trial)
import hashlib
assert bytes(digest) == hashlib.sha256(bytes(32) + bytes.fromhex('0000016c0000015e')).digest()
esapi.flush_context(trial)
"; }

pytss_contexts() { _python "
p = primary()
name = esapi.read_public(p)[1]
saved = esapi.context_save(p)
esapi.flush_context(p)
again = esapi.context_load(saved)
assert bytes(esapi.read_public(again)[1]) == bytes(name)
"; }

pytss_quote() { _python "
k = key(primary(ESYS_TR.ENDORSEMENT), 'ecc:ecdsa-sha256:null', 'sign|restricted')
quoted, signature = esapi.quote(k, 'sha256:0,1,16', b'nonce')
attest = TPMS_ATTEST.unmarshal(bytes(quoted))[0]
assert int(attest.magic) == 0xff544347 and bytes(attest.extraData) == b'nonce'
"; }

pytss_hash_sequence() { _python "
import hashlib
sequence = esapi.hash_sequence_start(b'auth', TPM2_ALG.SHA384)
esapi.tr_set_auth(sequence, b'auth')
esapi.sequence_update(sequence, b'a' * 1000)
digest, _ = esapi.sequence_complete(sequence, b'b' * 10)
assert bytes(digest) == hashlib.sha384(b'a' * 1000 + b'b' * 10).digest()
"; }

pytss_capabilities() { _python "
more, data = esapi.get_capability(TPM2_CAP.ALGS, 0, 100)
assert not more and len(data.data.algorithms) > 20
more, data = esapi.get_capability(TPM2_CAP.COMMANDS, TPM2_CC.FIRST, 3)
assert more and len(data.data.command) == 3
"; }

pytss_import() { _python "
from tpm2_pytss.utils import wrap
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import serialization
p = primary()
parent = esapi.read_public(p)[0]
outside = ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
sensitive = TPM2B_SENSITIVE.from_pem(outside)
public = TPM2B_PUBLIC.from_pem(outside, objectAttributes=TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.SIGN_ENCRYPT)
inner, duplicate, seed = wrap(parent.publicArea, public, sensitive, b'', None)
private = esapi.import_(p, inner, public, duplicate, seed, TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL))
k = esapi.load(p, private, public)
"; }
