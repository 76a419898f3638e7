/* Functions of QEMU for guests without SEV-SNP: igvm.c names them, and an SNP guest never reaches them. */
#include "qemu/osdep.h"

int qigvm_x86_get_mem_map_entry(int index, void *entry, void *errp)
{
    (void)index, (void)entry, (void)errp;
    abort();
}

int qigvm_x86_set_vp_context(void *data, int index, void *errp)
{
    (void)data, (void)index, (void)errp;
    abort();
}
