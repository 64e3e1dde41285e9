/* str objects of the target (CPython Include/cpython/unicodeobject.h). */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"

#define STR_NO_BIT     255
#define STR_MAX_LENGTH (1ull << 40)

struct str {
	uint64_t length; /* code points */
	uint8_t kind;    /* bytes a code point: 1, 2, 4; 0: a legacy string that isn't ready (<= 3.11) */
	bool ascii, compact;
	uint64_t data; /* address of the code points; 0: none */
};

static inline bool str_state_bit(uint32_t state, uint8_t shift, bool when_absent)
{
	return shift == STR_NO_BIT ? when_absent : (state >> shift & 1) != 0;
}

bool str_read(const heap_t *heap, uint64_t address, struct str *str);
/* The same of an object that is known to be a str, and whose `bytes` are at hand: at least layout->ascii_size of them. */
static inline bool str_read_at(const heap_t *heap, uint64_t address, const uint8_t *bytes, struct str *str)
{
	const struct py_layout *layout = heap->layout;
	uint32_t state = load_u32(bytes, layout->str_state);
	str->length = load_u64(bytes, layout->str_length);
	str->kind = state >> layout->shape.str_kind_shift & 7;
	str->compact = str_state_bit(state, layout->shape.str_compact_shift, true);
	str->ascii = str_state_bit(state, layout->shape.str_ascii_shift, false);
	str->data = 0;
	if (str->kind == 3 || str->kind > 4 || str->length > STR_MAX_LENGTH)
		return false;
	if (str->compact)
		str->data = address + (str->ascii ? layout->ascii_size : layout->compact_size);
	else if (str->kind)
		memory_u64(heap->memory, address + layout->str_data, &str->data);
	return true;
}

/* Whether the str at `address` is this ASCII text. */
bool str_equals(const heap_t *heap, uint64_t address, const char *text);

/* Its first `max` code points as UTF-8, not escaped, or NULL when it is no readable str. Free with g_free(). */
char *str_text(const heap_t *heap, uint64_t address, uint64_t max);
