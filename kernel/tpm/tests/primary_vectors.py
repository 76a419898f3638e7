#!/usr/bin/env python3
"""Where the vectors of primary_keys.rs come from, and those of crypto/rsa/tests: the derivation once more, by Python's own
numbers and hashes.

Prints the points and moduli of the endorsement and storage keys of the TPM that the tests' driver manufactures. From the platform's
entropy come HMAC_DRBG's state (SP 800-90A, 10.1.2) and the hierarchies' seeds; from a seed and a template's name comes a
generator of its own, and from its first bits a scalar (FIPS 186-5, A.2.1), or the starts of two searches for primes
(crypto/rsa/prime.rs).
"""

import hashlib
import hmac
import struct

CURVES = {
    3: dict(
        p=2**256 - 2**224 + 2**192 + 2**96 - 1,
        n=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        x=0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        y=0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        bytes=32,
    ),
    4: dict(
        p=2**384 - 2**128 - 2**96 + 2**32 - 1,
        n=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        x=0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        y=0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        bytes=48,
    ),
}

POLICY_A_SHA256 = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
POLICY_B_SHA384 = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
    "cb47ba09699646150f9fc000f3f80e12"
)


class Generator:
    """HMAC_DRBG with SHA-256."""

    def __init__(self, entropy, personalization):
        self.key, self.value = bytes(32), b"\1" * 32
        self.update(entropy + personalization)

    def mac(self, data):
        return hmac.digest(self.key, data, "sha256")

    def update(self, data):
        for number in (0, 1):
            self.key = self.mac(self.value + bytes([number]) + data)
            self.value = self.mac(self.value)
            if not data:
                break

    def generate(self, count):
        out = b""
        while len(out) < count:
            self.value = self.mac(self.value)
            out += self.value
        self.update(b"")
        return out[:count]


def driver_entropy(count):
    """What `FakePlatform` gives first."""
    state, out = 0, bytearray()
    for _ in range(count):
        state = (state * 6364136223846793005 + 1) % 2**64
        out.append(state >> 56)
    return bytes(out)


def seeds():
    """The owner's and the endorsement hierarchy's seed. Each hierarchy draws a seed and a proof."""
    generator = Generator(driver_entropy(48), b"Vouchsafe TPM")
    owner, _, endorsement = (generator.generate(64) for _ in range(3))
    return owner, endorsement


def multiply(curve, scalar):
    """The generator's multiple, affine, by doubling and adding."""
    p = curve["p"]
    total, addend = None, (curve["x"], curve["y"])

    def add(left, right):
        if left is None:
            return right
        if left == right:
            slope = (3 * left[0] ** 2 - 3) * pow(2 * left[1], -1, p)
        else:
            slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, p)
        x = (slope**2 - left[0] - right[0]) % p
        return x, (slope * (left[0] - x) - left[1]) % p

    while scalar:
        if scalar & 1:
            total = add(total, addend)
        addend = add(addend, addend)
        scalar >>= 1
    return total


def sized(data):
    return struct.pack(">H", len(data)) + data


def template(curve, attributes, policy, sha384, unique_bytes):
    """TPMT_PUBLIC of a storage key: AES-CFB, no scheme, no KDF."""
    hash_algorithm, key_bits = (0x0C, 256) if sha384 else (0x0B, 128)
    unique = sized(bytes(unique_bytes)) * 2
    return (
        struct.pack(">HHI", 0x23, hash_algorithm, attributes) + sized(policy)
        + struct.pack(">HHHHHH", 0x06, key_bits, 0x43, 0x10, curve, 0x10) + unique
    )


def primary_generator(seed, public, sha384):
    name = public[2:4] + hashlib.new("sha384" if sha384 else "sha256", public).digest()
    parts = [b"Primary Object Creation", name, b""]
    personalization = hashlib.sha512(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()
    return Generator(seed, personalization)


def key(seed, public, curve, sha384):
    bits = primary_generator(seed, public, sha384).generate(curve["bytes"] + 8)
    return multiply(curve, int.from_bytes(bits, "big") % (curve["n"] - 1) + 1)


def is_prime(number):
    """Miller and Rabin's test with the first bases, after a sieve: good enough to find what the engine finds."""
    if any(number % small == 0 for small in SMALL_PRIMES):
        return False
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    for base in (2, 3, 5, 7):
        power = pow(base, (number - 1) >> twos, number)
        if power not in (1, number - 1) and not any(
            (power := power * power % number) == number - 1 for _ in range(twos - 1)
        ):
            return False
    return True


SMALL_PRIMES = [number for number in range(3, 1 << 12, 2) if all(number % d for d in range(3, 64, 2) if d < number)]


def rsa_primes(generator, bits, exponent=65537):
    """The first primes of two windows of 2^13 odd numbers."""
    top = 3 << (bits - 2)
    while True:
        starts = [int.from_bytes(generator.generate(bits // 8), "big") | top | 1 for _ in range(2)]
        primes = []
        for start in starts:
            window = (number for number in range(start, start + (1 << 14), 2) if number < 1 << bits)
            primes += [next((n for n in window if n % exponent != 1 and is_prime(n)), None)]
        if None not in primes and abs(primes[0] - primes[1]) >> (bits - 100):
            return primes


def rsa_key(seed, attributes, policy):
    """The modulus of a storage key with AES-128-CFB; its template has a modulus of zeros."""
    public = struct.pack(">HHI", 0x01, 0x0B, attributes) + sized(policy) + struct.pack(">HHHH", 0x06, 128, 0x43, 0x10)
    public += struct.pack(">HI", 2048, 0) + sized(bytes(256))
    p, q = rsa_primes(primary_generator(seed, public, False), 1024)
    return p * q


def main():
    owner, endorsement = seeds()
    keys = [
        ("EK P-256 (L-2)", endorsement, 3, 0x000300B2, POLICY_A_SHA256, False, 32),
        ("EK P-384 (H-3)", endorsement, 4, 0x000300F2, POLICY_B_SHA384, True, 0),
        ("SRK P-256", owner, 3, 0x00030472, b"", False, 32),
        ("SRK P-384", owner, 4, 0x00030472, b"", True, 48),
    ]
    for name, seed, curve, attributes, policy, sha384, unique_bytes in keys:
        public = template(curve, attributes, policy, sha384, unique_bytes)
        x, y = key(seed, public, CURVES[curve], sha384)
        width = 2 * CURVES[curve]["bytes"]
        print(f"{name}\n  x {x:0{width}x}\n  y {y:0{width}x}")
    for name, seed, attributes, policy in [
        ("EK RSA-2048 (L-1)", endorsement, 0x000300B2, POLICY_A_SHA256),
        ("SRK RSA-2048", owner, 0x00030472, b""),
    ]:
        print(f"{name}\n  {rsa_key(seed, attributes, policy):0512x}")
    for bits in (2048, 3072, 4096):
        p, q = rsa_primes(Generator(bytes([7]) * 48, b""), bits // 2)
        digests = [hashlib.sha256(number.to_bytes(size // 8, "big")).hexdigest() for number, size in ((p, bits // 2), (p * q, bits))]
        print(f"RSA-{bits} of sevens\n  prime {digests[0]}\n  modulus {digests[1]}")


if __name__ == "__main__":
    main()
