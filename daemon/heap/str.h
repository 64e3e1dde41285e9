/* str objects of the target (CPython Include/cpython/unicodeobject.h). */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"

struct str {
	uint64_t length; /* code points */
	uint8_t kind;    /* bytes a code point: 1, 2, 4; 0: a legacy string that isn't ready (<= 3.11) */
	bool ascii, compact;
	uint64_t data; /* address of the code points; 0: none */
};

bool str_read(const heap_t *heap, uint64_t address, struct str *str);
/* The same of an object that is known to be a str, and whose `bytes` are at hand: at least layout->ascii_size of them. */
bool str_read_at(const heap_t *heap, uint64_t address, const uint8_t *bytes, struct str *str);

/* Whether the str at `address` is this ASCII text. */
bool str_equals(const heap_t *heap, uint64_t address, const char *text);

/* Its first `max` code points as UTF-8, not escaped, or NULL when it is no readable str. Free with g_free(). */
char *str_text(const heap_t *heap, uint64_t address, uint64_t max);
