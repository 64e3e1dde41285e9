/*
 * Looking for a number among rows that are sorted by one. Inline, as who asks knows the size of a row and where in it the number is: then
 * it is as fast as a search written out.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of `n` rows of `size` bytes, sorted by the number at `offset` of each: how many have one that isn't above `key`. */
static inline size_t search_up_to(const void *rows, size_t n, size_t size, size_t offset, uint64_t key)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (*(const uint64_t *)((const char *)rows + middle * size + offset) <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The same of an array of structs, by a field of type uint64_t: the first row above the key is rows[SEARCH_UP_TO(...)]. */
#define SEARCH_UP_TO(rows, n, field, key)                                                                              \
	search_up_to((rows), (n), sizeof(*(rows)), offsetof(__typeof__(*(rows)), field), (key))
