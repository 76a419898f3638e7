"""Builds the judge out of QEMU's own files: igvm.c unchanged, and functions cut out of sev.c by name."""

import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
FILES = (
    "backends/igvm.c",
    "include/system/*.h",
    "include/qemu/queue.h",
    "include/qemu/typedefs.h",
    "target/i386/sev.c",
    "target/i386/sev.h",
    "target/i386/svm.h",
    "target/i386/igvm.c",
)
# In the order in which they call each other.
FUNCTIONS = (
    "check_sev_features",
    "check_vmsa_supported",
    "sev_set_cpu_context",
    "snp_launch_update_data",
    "sev_snp_launch_update_data",
    "cgs_check_support",
    "cgs_set_guest_state",
    "cgs_get_mem_map_entry",
    "cgs_set_guest_policy",
)
# Headers of QEMU that are used as they are; all others are the shim's.
HEADERS = (
    "qemu/queue.h",
    "qemu/typedefs.h",
    "system/confidential-guest-support.h",
    "system/igvm.h",
    "system/igvm-cfg.h",
    "system/igvm-internal.h",
)


class Missing(Exception):
    """Something that this version of QEMU does not have where it was."""


def fetch(pattern):
    """The folder of the newest source that matches, or None and why."""
    script = HERE.parent / "foreign_source" / "fetch.sh"
    run = subprocess.run([script, "qemu", pattern, *FILES], capture_output=True, text=True)
    if run.returncode == 0:
        return pathlib.Path(run.stdout.strip().splitlines()[-1]), ""
    last = run.stderr.strip().splitlines()[-1:] or [f"status {run.returncode}"]
    return None, last[0].removeprefix("setup: ")


def cut(text, start, what):
    """From where the pattern matches to the first line that begins with a closing brace."""
    found = re.search(start + r"[\s\S]*?^\}[^\n]*\n", text, re.MULTILINE)
    if not found:
        raise Missing(f"no {what}")
    return found.group(0)


def types(source):
    """The structures and numbers that the functions need."""
    sev_c = (source / "target/i386/sev.c").read_text()
    sev_h = (source / "target/i386/sev.h").read_text()
    svm_h = (source / "target/i386/svm.h").read_text()
    numbers = [
        line
        for line in (sev_c + sev_h).splitlines()
        if re.match(r"#define\s+(KVM_VMSA_GPA|SVM_SEV_FEAT_SNP_ACTIVE)\s", line)
    ]
    if len(numbers) != 2:
        raise Missing("no KVM_VMSA_GPA and SVM_SEV_FEAT_SNP_ACTIVE")
    return "\n".join(
        [
            *numbers,
            cut(svm_h, r"^struct QEMU_PACKED vmcb_seg ", "struct vmcb_seg"),
            cut(sev_h, r"^struct QEMU_PACKED sev_es_save_area ", "struct sev_es_save_area"),
            cut(sev_c, r"^typedef struct SevLaunchVmsa ", "struct SevLaunchVmsa"),
            cut(sev_c, r"^typedef struct SevLaunchUpdateData ", "struct SevLaunchUpdateData"),
        ]
    )


def functions(source):
    """The functions of sev.c, each as it is."""
    sev_c = (source / "target/i386/sev.c").read_text()
    return "\n".join(
        cut(sev_c, rf"^(?:static )?(?:int|bool)\s+{name}\([^;{{]*\)\s*\{{", name) for name in FUNCTIONS
    )


def build(source, library):
    """The judge's program, built once for a version of QEMU and of what is in this folder."""
    target = source / "judge"
    program = target / "loader"
    inputs = [*HERE.glob("shim/**/*.[ch]"), HERE / "build.py", library]
    if program.exists() and all(file.stat().st_mtime < program.stat().st_mtime for file in inputs):
        return program
    include = target / "include"
    for header in HEADERS:
        if (source / "include" / header).exists():
            place = include / header
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((source / "include" / header).read_bytes())
    (target / "sev_types.inc").write_text(types(source))
    (target / "sev_parts.inc").write_text(functions(source))
    has_internal = (source / "include/system/igvm-internal.h").exists()
    flags = ["-DHAVE_INTERNAL_HEADER"] if has_internal else []
    units = [HERE / "shim/loader.c", source / "backends/igvm.c", HERE / "shim/elsewhere.c"]
    if has_internal:
        units.append(target / "madt.c")
        handler = cut((source / "target/i386/igvm.c").read_text(), r"^int qigvm_directive_madt\(", "MADT handler")
        headers = ("qemu/osdep.h", "hw/i386/acpi-build.h", "qapi/error.h", "system/igvm.h", "system/igvm-internal.h")
        (target / "madt.c").write_text("".join(f'#include "{name}"\n' for name in headers) + handler)
    compile_all(units, program, include, flags, library)
    return program


def compile_all(units, program, include, flags, library):
    """One call of the compiler; what it says of QEMU's code is not of interest unless it fails."""
    command = ["gcc", "-std=gnu11", "-O1", "-w", *flags, f"-I{HERE / 'shim'}", f"-I{include}", f"-I{program.parent}"]
    run = subprocess.run(
        [*command, "-o", program, *units, library, "-lpthread", "-ldl", "-lm"], capture_output=True, text=True
    )
    if run.returncode != 0:
        first = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[-300:])
        raise Missing(f"the shim does not fit this version: {first}")
