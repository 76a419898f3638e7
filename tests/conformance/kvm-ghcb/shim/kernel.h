/* What the GHCB half of KVM's sev.c expects of the kernel, as little of it as it takes. Included in front of everything. */
#ifndef JUDGE_KERNEL_H
#define JUDGE_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32;
typedef uint64_t u64, __u64;
typedef int32_t s32, __s32;
typedef int64_t s64, __s64;
typedef u64 gpa_t, gfn_t, kvm_pfn_t;
typedef int sev_ret_code;

#define __packed __attribute__((packed))
#define __aligned(bytes) __attribute__((aligned(bytes)))
#define __always_inline inline __attribute__((always_inline))
#define __maybe_unused __attribute__((unused))
#define fallthrough __attribute__((fallthrough))
#define likely(condition) (condition)
#define unlikely(condition) (condition)
#define static_assert _Static_assert
#define BUILD_BUG_ON(condition) ((void)sizeof(char[1 - 2 * !!(condition)]))
#define READ_ONCE(place) (place)
#define WRITE_ONCE(place, value) ((place) = (value))
#define BUG() abort()
#define BIT(number) (1UL << (number))
#define BIT_ULL(number) (1ULL << (number))
#define GENMASK_ULL(high, low) ((~0ULL >> (63 - (high))) & (~0ULL << (low)))
#define GENMASK(high, low) GENMASK_ULL(high, low)
#define lower_32_bits(value) ((u32)(value))
#define upper_32_bits(value) ((u32)((u64)(value) >> 32))
#define IS_ALIGNED(value, unit) (((value) & ((typeof(value))(unit) - 1)) == 0)
#define check_mul_overflow(a, b, result) __builtin_mul_overflow(a, b, result)
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define PMD_SIZE (1UL << 21)
#define PAGE_ALIGNED(address) IS_ALIGNED(address, PAGE_SIZE)
#define INVALID_PAGE (~(u64)0)
#define ASSERT_STRUCT_OFFSET(type, member, offset) BUILD_BUG_ON(offsetof(type, member) != (offset))
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#define gfn_to_gpa(gfn) ((gpa_t)(gfn) << PAGE_SHIFT)

static inline bool test_bit(unsigned long number, const unsigned long *words)
{
    return ((const u8 *)words)[number / 8] >> (number % 8) & 1;
}

static inline void __set_bit(unsigned long number, unsigned long *words)
{
    ((u8 *)words)[number / 8] |= (u8)(1 << (number % 8));
}

/* What KVM would write into the kernel's log is part of the answer: people search for it. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define pr_err(...) note(__VA_ARGS__)
#define pr_info(...) note(__VA_ARGS__)
#define pr_warn_ratelimited(...) note(__VA_ARGS__)
#define vcpu_unimpl(vcpu, ...) ((void)(vcpu), note(__VA_ARGS__))
#define WARN_ON_ONCE(condition) ({ bool holds = !!(condition); if (holds) note("WARN_ON_ONCE: " #condition "\n"); holds; })
#define KVM_BUG_ON(condition, kvm) WARN_ON_ONCE(condition)

/* One thread, so no locks. */
struct mutex { int unused; };
#define guard(kind) (void)

#endif
