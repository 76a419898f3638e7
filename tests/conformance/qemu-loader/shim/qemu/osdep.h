/* What QEMU's IGVM loader expects of QEMU and glib, as little of it as it takes, over the C library. */
#ifndef JUDGE_OSDEP_H
#define JUDGE_OSDEP_H

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QEMU_PACKED __attribute__((packed))
#define TARGET_X86_64 1

typedef char gchar;
typedef unsigned char guchar;
typedef struct GError { char message[256]; } GError;
typedef struct GArray { char *data; unsigned len; } GArray;

void free_whatever(void *pointer_to_pointer);
void *zeroed(size_t bytes);
char *formatted(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool g_file_get_contents(const char *filename, gchar **contents, unsigned long *length, GError **error);

#define g_autofree __attribute__((cleanup(free_whatever)))
#define g_autoptr(type) __attribute__((cleanup(free_whatever))) type *
#define g_new0(type, count) ((type *)zeroed(sizeof(type) * (count)))
#define g_malloc0(bytes) zeroed(bytes)
#define g_free(pointer) free((void *)(pointer))
#define g_strdup_printf formatted
#define g_array_free(array, with_data) free(array)
#define G_N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static inline void *g_memdup2(const void *memory, size_t bytes)
{
    return memcpy(zeroed(bytes), memory, bytes);
}

static inline bool buffer_is_zero(const void *memory, size_t bytes)
{
    const unsigned char *byte = memory;
    while (bytes > 0 && byte[bytes - 1] == 0) {
        bytes--;
    }
    return bytes == 0;
}

#endif
