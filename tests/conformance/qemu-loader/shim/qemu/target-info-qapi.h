/* The target is always x86-64. */
#ifndef JUDGE_TARGET_INFO_H
#define JUDGE_TARGET_INFO_H

enum { SYS_EMU_TARGET_X86_64 = 1 };
#define target_arch() SYS_EMU_TARGET_X86_64

#endif
