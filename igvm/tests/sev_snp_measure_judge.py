"""Prints the launch digest of an IGVM file: read here, hashed by sev-snp-measure.

usage: sev_snp_measure_judge.py FILE VCPUS CPU_SIGNATURE

A reading of the format of its own, so that a mistake in ours does not judge itself. It expects parameters before
pages and the VMSA last, where every loader measures in the order of the file.
"""
import struct
import sys

from sevsnpmeasure.gctx import GCTX
from sevsnpmeasure.vmm_types import VMMType
from sevsnpmeasure.vmsa import VMSA

PARAMETER_AREA, PAGE_DATA, PARAMETER_INSERT, VP_CONTEXT = 0x301, 0x302, 0x303, 0x304
NORMAL, SECRETS, CPUID = 0, 1, 2
UNMEASURED = 2


def main(path, vcpus, signature):
    data = open(path, "rb").read()
    magic, _, offset, size = struct.unpack_from("<4sIII", data)
    assert magic == b"IGVM"
    digest, areas, end = GCTX(), {}, offset + size
    while offset < end:
        kind, length = struct.unpack_from("<II", data, offset)
        body = data[offset + 8 : offset + 8 + length]
        if kind == PARAMETER_AREA:
            area_size, index, _ = struct.unpack("<QII", body)
            areas[index] = area_size
        elif kind == PARAMETER_INSERT:
            gpa, _, index = struct.unpack("<QII", body)
            digest.update_unmeasured_pages(gpa, areas[index])
        elif kind == PAGE_DATA:
            gpa, _, place, flags, page_type, _ = struct.unpack("<QIIIHH", body)
            content = data[place : place + 4096] if place else bytes(4096)
            if page_type == SECRETS:
                digest.update_secrets_page(gpa)
            elif page_type == CPUID:
                digest.update_cpuid_page(gpa)
            elif flags & UNMEASURED:
                digest.update_unmeasured_pages(gpa, 4096)
            else:
                digest.update_normal_pages(gpa, content)
        elif kind == VP_CONTEXT:
            _, _, place, index, _ = struct.unpack("<QIIHH", body)
            assert index == 0
            digest.update_vmsa_page(data[place : place + 4096])
        offset += 8 + (length + 7) // 8 * 8
    for _ in range(1, vcpus):
        digest.update_vmsa_page(bytes(VMSA.build_save_area(0xFFFFFFF0, 1, signature, VMMType.QEMU)))
    print(digest.hex_ld())


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
