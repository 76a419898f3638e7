#!/usr/bin/env python3
"""Where the points of commitments.rs come from, by Python's own numbers and hashes.

Prints, for P-256, the first of the seeds "seed 0", "seed 1" and so on whose hash is the x coordinate of a point: that point's y
coordinates, and seven times the point with the first of them (Part 1, annex C.2: the second point of TPM2_Commit, and K).
"""

import hashlib

from primary_vectors import CURVES, multiply

B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def main():
    curve = CURVES[3]
    p = curve["p"]
    for number in range(100):
        seed = f"seed {number}".encode()
        x = int.from_bytes(hashlib.sha256(seed).digest(), "big") % p
        square = (x**3 - 3 * x + B) % p
        y = pow(square, (p + 1) // 4, p)
        if y * y % p == square:
            k = multiply({**curve, "x": x, "y": y}, 7)
            print(f"{seed}\n  x  {x:064x}\n  y  {y:064x}\n -y  {p - y:064x}\n  Kx {k[0]:064x}\n  Ky {k[1]:064x}")
            return


if __name__ == "__main__":
    main()
