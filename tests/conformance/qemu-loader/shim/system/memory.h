/* Guest memory: RAM of the machine, and regions that the loader adds. */
#ifndef JUDGE_MEMORY_H
#define JUDGE_MEMORY_H

#include "exec/hwaddr.h"
#include "qapi/error.h"
#include "qom/object.h"

typedef unsigned __int128 Int128;
#define int128_make64(value) ((Int128)(value))
#define int128_lt(first, second) ((first) < (second))

struct RAMBlock { uint8_t *host; };
struct MemoryRegion { struct RAMBlock *ram_block; uint64_t start, bytes; struct MemoryRegion *next; };
struct MemoryRegionSection { struct MemoryRegion *mr; hwaddr offset_within_region; Int128 size; };

#define get_system_memory() ((struct MemoryRegion *)NULL)
#define memory_region_is_ram(region) ((region)->ram_block != NULL)
#define memory_region_unref(region) ((void)(region))
#define memory_region_init_ram_guest_memfd(region, owner, name, bytes, errp) make_ram(region, bytes)
#define memory_region_init_ram(region, owner, name, bytes, errp) make_ram(region, bytes)
#define memory_region_get_ram_ptr(region) ((void *)(region)->ram_block->host)
#define qemu_map_ram_ptr(block, offset) ((void *)((block)->host + (offset)))

struct MemoryRegionSection memory_region_find(struct MemoryRegion *root, hwaddr address, uint64_t bytes);
void memory_region_add_subregion(struct MemoryRegion *root, hwaddr address, struct MemoryRegion *region);
bool make_ram(struct MemoryRegion *region, uint64_t bytes);

#endif
