/* Processors are counted, and nothing else. */
#ifndef JUDGE_CPU_H
#define JUDGE_CPU_H

#include "qemu/queue.h"
#include "qemu/typedefs.h"

struct CPUState { struct CPUState *next; };
extern struct CPUState *first_processor;
#define CPU_FOREACH(cpu) for ((cpu) = first_processor; (cpu) != NULL; (cpu) = (cpu)->next)
struct CPUState *qemu_get_cpu(int index);

#endif
