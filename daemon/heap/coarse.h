/*
 * A set of addresses, coarsely: what isn't in it is told apart at once, of what may be in it one has to look closer. It goes by four digits in the
 * middle of an address, those of a unit of 64 KB within its 4 GB; numbers and text, which are no addresses, have some such digits, too.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define COARSE_UNIT_BITS 16
#define COARSE_UNITS     65536

struct coarse {
	uint8_t units[COARSE_UNITS]; /* 1: an address with these digits is in it */
};

static inline void coarse_add(struct coarse *coarse, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	uint64_t first = start >> COARSE_UNIT_BITS, last = (end - 1) >> COARSE_UNIT_BITS;
	for (uint64_t unit = first; unit <= last && unit - first < COARSE_UNITS; unit++)
		coarse->units[unit % COARSE_UNITS] = 1;
}

static inline bool coarse_has(const struct coarse *coarse, uint64_t address)
{
	return coarse->units[(address >> COARSE_UNIT_BITS) % COARSE_UNITS];
}

/* Whether the address that lies at `word` may be in it: only the digits that it goes by are read, which are two bytes of it. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "where the digits of an address lie");
static inline uint8_t coarse_has_at(const struct coarse *coarse, const uint8_t *word)
{
	uint16_t digits;
	memcpy(&digits, word + COARSE_UNIT_BITS / 8, sizeof(digits));
	return coarse->units[digits];
}
