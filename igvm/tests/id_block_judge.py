"""Checks an ID block and its authentication with the `cryptography` package.

usage: id_block_judge.py ID_BLOCK ID_AUTHENTICATION ID_KEY_PEM AUTHOR_KEY_PEM

Prints the digest of the ID key structure as sev-snp-measure computes it, and the launch digest in the block. Fails if
a signature or key is not the PEM key's.
"""
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from sevsnpmeasure import id_block as judge


def check(structure, signature_at, key_at, message, pem):
    key = judge.load_private_key_from_pem_file(pem)
    assert structure[key_at : key_at + 1028] == judge.marshal_ec_public_key(key), "public key"
    r = int.from_bytes(structure[signature_at : signature_at + 72], "little")
    s = int.from_bytes(structure[signature_at + 72 : signature_at + 144], "little")
    assert not any(structure[signature_at + 144 : signature_at + 512]), "padding of the signature"
    der = utils.encode_dss_signature(r, s)
    key.public_key().verify(der, message, ec.ECDSA(hashes.SHA384()))
    return key


block = open(sys.argv[1], "rb").read()
authentication = open(sys.argv[2], "rb").read()
assert (len(block), len(authentication)) == (96, 4096)
assert authentication[:8] == b"\x01\0\0\0\x01\0\0\0", "algorithms"
assert block[48:64] == b"\xfa" * 16 and block[64:80] == b"\x1d" * 16, "identity"
assert block[80:96] == b"\x01\0\0\0\x07\0\0\0" + (0x30000).to_bytes(8, "little"), "version, SVN, policy"
id_key = check(authentication, 0x40, 0x240, block, sys.argv[3])
check(authentication, 0x680, 0x880, authentication[0x240:0x644], sys.argv[4])
print(judge.pub_to_digest(id_key).hex(), block[:48].hex())
