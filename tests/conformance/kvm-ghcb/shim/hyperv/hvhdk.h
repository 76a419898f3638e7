/* The VMCB has room for one of these; nothing here looks into it. */
struct hv_vmcb_enlightenments { unsigned char unused[32]; };
