/*
 * Which words of the process still have to be looked at: a bit for each aligned 8-byte word of its private writable memory. A word
 * is covered when it is accounted for already, or owns nothing: the inside of objects and of their tables, free blocks and chunks,
 * dead stack. What isn't covered in the end is somebody's memory of which nothing is known: it is searched for references.
 *
 * One bit a word: 1.6 % of the memory it is over.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "symbols/maps.h"

struct cover_region {
	uint64_t start, size;
	const uint8_t *bytes;
	uint64_t *bits; /* size / 8 of them; set: covered */
	uint32_t mapping;
};

struct cover {
	struct cover_region *regions; /* sorted by start */
	size_t n;
	size_t last; /* found last */
};

/* Over all private writable memory there is; nothing is covered. False: not enough memory. */
bool cover_init(struct cover *cover, const struct memory *memory, const struct maps *maps);
void cover_clear(struct cover *cover);

/* Cover or uncover the words that lie at least partly in [start, end). */
void cover_set(struct cover *cover, uint64_t start, uint64_t end);
void cover_unset(struct cover *cover, uint64_t start, uint64_t end);

bool cover_has(const struct cover *cover, uint64_t address);

/* Visit the words not covered of [start, end) that are not 0. */
typedef void cover_visit(void *context, uint64_t address, uint64_t word);
void cover_walk(const struct cover *cover, const struct cover_region *region, cover_visit *visit, void *context);

/* The region that holds `address`, or NULL. */
const struct cover_region *cover_find(const struct cover *cover, uint64_t address);
