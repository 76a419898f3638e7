# First instructions of the VM at VMPL0: 32-bit protected mode, paging off, flat segments,
# ESI = physical address of the hand-off record. Everything fetched or touched here is private,
# because without paging every access is.
#
# Sets the C-bit in the page tables that the image brought along, turns paging and long mode on,
# and calls stage2_main(record) on the direct window.

.section .entry, "ax"
.code32
# Where the launch VMSAs of all other vCPUs lead (igvm/src/vcpus.rs): the region's first bytes. A host may run them whenever it likes.
# The firmware starts these vCPUs by VMSAs of its own.
    cli
1:  hlt
    jmp 1b

.globl stage2_entry
stage2_entry:
    cld
    mov esp, offset stage2_stack_top

    # The CPUID page was checked by the security processor: leaf 0x8000001F EBX bits 5:0 are the position.
    mov ebx, dword ptr [esi + {cpuid_page}]
    mov ecx, dword ptr [ebx]
    cmp ecx, 64
    ja 8f
    add ebx, 16
1:  test ecx, ecx
    jz 8f
    cmp dword ptr [ebx], 0x8000001f
    je 2f
    add ebx, 48
    dec ecx
    jmp 1b
2:  test dword ptr [ebx + 0x18], 2      # EAX bit 1: SEV
    jz 8f
    mov ecx, dword ptr [ebx + 0x1c]
    and ecx, 0x3f
    sub ecx, 32                         # the bit lies in the upper half of an entry
    jb 8f
    cmp ecx, 20
    jae 8f
    mov ebp, 1
    shl ebp, cl

    # SEV_STATUS says whether this really runs as SNP.
    mov ecx, 0xc0010131
    rdmsr
    test eax, 4
    jz 9f

    # C-bit into every present entry.
    mov edi, dword ptr [esi + {tables_start}]
    mov edx, edi
    mov ecx, dword ptr [esi + {tables_pages}]
    shl ecx, 9
3:  test byte ptr [edi], 1
    jz 4f
    or dword ptr [edi + 4], ebp
4:  add edi, 8
    dec ecx
    jnz 3b

    mov cr3, edx
    mov eax, cr4
    or eax, 0x20                        # PAE
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900                       # LME, NXE
    wrmsr
    mov eax, cr0
    or eax, 0x80010001                  # PG, WP, PE
    mov cr0, eax
    lgdt [stage2_gdt_pointer]
    ljmp 8, offset stage2_long_mode

8:  mov eax, {terminate_cpuid}
    jmp 10f
9:  mov eax, {terminate_not_snp}
10: xor edx, edx
    mov ecx, 0xc0010130
    wrmsr
    rep vmmcall
    hlt
    jmp 10b

.code64
stage2_long_mode:
    mov eax, 16
    mov ss, eax
    mov ds, eax
    mov es, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    # The tables are known to be private now: say so in CR3 as well.
    mov rax, cr3
    shl rbp, 32
    or rax, rbp
    mov cr3, rax
    mov edi, esi
    movabs rax, {direct_window}
    add rdi, rax
    mov rbx, rdi
    call stage2_main
    # stage2_main leaves the kernel's entry in RAX, its stack in RDX.
    mov rsp, rdx
    mov rdi, rbx
    jmp rax

.align 8
stage2_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
stage2_gdt_pointer:
    .word 23
    .long stage2_gdt

.section .bss
.align 16
    .skip 4096
stage2_stack_top:
.section .text
