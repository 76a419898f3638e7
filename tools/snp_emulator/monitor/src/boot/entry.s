# First instructions of the monitor: PVH entry (32-bit, paging off, EBX = start_info) and the
# entry of the other processors (real mode, copied to AP_TRAMPOLINE). Both end in 64-bit mode
# with 5-level paging: the depth of a nested page table follows CR4.LA57 of the host, and the
# C-bit (bit 51) is beyond what 4 levels translate.

.section .note.Xen, "a", @note
.align 4
.long 4
.long 8
.long 18                          # XEN_ELFNOTE_PHYS32_ENTRY
.asciz "Xen"
.quad pvh_entry

.section .boot, "awx"
.code32
.globl pvh_entry
pvh_entry:
    cli
    cld
    mov esp, offset boot_stack_top
    mov dword ptr [boot_start_info], ebx
    # Identity map: 512 pages of 1 GiB.
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 30
    or eax, 0x83
    mov dword ptr [boot_pdpt + ecx*8], eax
    mov eax, ecx
    shr eax, 2
    mov dword ptr [boot_pdpt + ecx*8 + 4], eax
    inc ecx
    cmp ecx, 512
    jne 1b
    # High half: the last GiB but one, backed by the first GiB of memory.
    mov dword ptr [boot_pdpt_high + 510*8], 0x83
    mov eax, offset boot_pdpt
    or eax, 3
    mov dword ptr [boot_pml4], eax
    mov eax, offset boot_pdpt_high
    or eax, 3
    mov dword ptr [boot_pml4 + 511*8], eax
    mov eax, offset boot_pml4
    or eax, 3
    mov dword ptr [boot_pml5], eax
    mov dword ptr [boot_pml5 + 511*8], eax
    xor edi, edi
    mov eax, offset boot_pml5
    mov dword ptr [boot_cr3], eax
    jmp enter_long_mode

# EDI = 0 for the first processor, 1 for the others.
enter_long_mode:
    mov eax, 0x41620              # LA57 | PAE | OSFXSR | OSXMMEXCPT | OSXSAVE
    mov cr4, eax
    mov eax, dword ptr [boot_cr3]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x1900                # LME | NXE | SVME
    wrmsr
    mov eax, cr0
    or eax, 0x80010023            # PG | WP | NE | MP | PE
    and eax, 0x9ffffff3           # not CD, NW, TS, EM
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    .byte 0xea
    .long long_mode
    .word 0x08

.code64
long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv
    test edi, edi
    jnz 2f
    movabs rsp, offset boot_processor_stack_top
    mov rdi, qword ptr [boot_start_info]
    movabs rax, offset boot_processor_main
    jmp rax
2:  # Another processor: it takes its CR3 and stack from what the first one left for it.
    mov rax, qword ptr [ap_cr3]
    mov cr3, rax
    mov rsp, qword ptr [ap_stack]
    mov rdi, qword ptr [ap_index]
    movabs rax, offset application_processor_main
    jmp rax

.code16
.globl ap_trampoline_start
ap_trampoline_start:
    cli
    xor ax, ax
    mov ds, ax
    .byte 0x0f, 0x01, 0x16        # lgdt [disp16]
    .word 0x8000 + ap_gdt_pointer - ap_trampoline_start
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long ap_protected_mode
    .word 0x18
.align 8
ap_gdt_pointer:
    .word 39
    .long boot_gdt
.globl ap_trampoline_end
ap_trampoline_end:

.code32
ap_protected_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, 1
    jmp enter_long_mode

.align 8
boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0
boot_gdt_pointer:
    .word 39
    .quad boot_gdt
.align 8
boot_start_info: .quad 0
boot_cr3: .quad 0
.globl ap_cr3, ap_stack, ap_index
ap_cr3: .quad 0
ap_stack: .quad 0
ap_index: .quad 0
.align 4096
boot_pml5: .skip 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pdpt_high: .skip 4096
boot_stack: .skip 256
boot_stack_top:

.section .bss
.align 16
    .skip 65536
boot_processor_stack_top:

.section .text
.code64
