/* A guest-physical address. */
#ifndef JUDGE_HWADDR_H
#define JUDGE_HWADDR_H

#include <stdint.h>

typedef uint64_t hwaddr;

#endif
