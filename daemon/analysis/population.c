#include "daemon/analysis/population.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/heap/type.h"

/* an object is one word: its address without the three bits that are always 0, then its type */
#define TYPE_BITS    20
#define ADDRESS_BITS 47
#define TYPE_MASK    ((1ull << TYPE_BITS) - 1)
#define DIGIT_BITS   8
#define DIGIT_MASK   ((1u << DIGIT_BITS) - 1)
#define FEW          32 /* words that are sorted faster one by one */

struct places {
	uint64_t *words;
	size_t n, capacity, most;
	bool overflow;
};

/*
 * Kept between samples: each object as the distance to the one before, in units of 8 bytes, and its type, both with 7 bits a byte. Mostly
 * neighbours of the commonest types: some 3 bytes an object.
 */
struct population {
	uint8_t *packed;
	size_t size, n;
	uint64_t *types; /* address of each type */
	size_t n_types;
};

struct places *places_new(size_t most)
{
	struct places *places = g_new0(struct places, 1);
	places->most = most;
	return places;
}

void places_free(struct places *places)
{
	if (places)
		g_free(places->words);
	g_free(places);
}

void places_forget(struct places *places)
{
	places->n = 0;
	places->overflow = false;
}

static bool places_grow(struct places *places)
{
	size_t capacity = MAX(places->capacity * 2, (size_t)4096);
	uint64_t *words = places->n < places->most ? g_try_renew(uint64_t, places->words, capacity) : NULL;
	if (!words)
		return false;
	places->words = words;
	places->capacity = capacity;
	return true;
}

void places_add(struct places *places, uint64_t address, uint32_t type)
{
	if (places->overflow || (places->n == places->capacity && !places_grow(places)) || type > TYPE_MASK ||
	    address >> ADDRESS_BITS) {
		places->overflow = true;
		return;
	}
	places->words[places->n++] = (address >> 3) << TYPE_BITS | type;
}

static void sort_few(uint64_t *words, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t word = words[i];
		size_t k = i;
		for (; k && words[k - 1] > word; k--)
			words[k] = words[k - 1];
		words[k] = word;
	}
}

/*
 * Radix sort in place, the highest digit first: room for as many words again would be most of what a view needs beside the copy. Bits that are
 * the same in all words cost a look only.
 */
static void sort(uint64_t *words, size_t n)
{
	uint64_t differ = 0;
	bool sorted = true;
	for (size_t i = 1; i < n; i++) {
		differ |= words[i] ^ words[0];
		sorted &= words[i - 1] <= words[i];
	}
	if (sorted)
		return;
	if (n <= FEW) {
		sort_few(words, n);
		return;
	}
	unsigned bits = 64 - (unsigned)__builtin_clzll(differ), shift = bits > DIGIT_BITS ? bits - DIGIT_BITS : 0;
	size_t next[1 << DIGIT_BITS] = {0}, end[1 << DIGIT_BITS], at = 0;
	for (size_t i = 0; i < n; i++)
		next[words[i] >> shift & DIGIT_MASK]++;
	for (size_t digit = 0; digit <= DIGIT_MASK; digit++) {
		end[digit] = at + next[digit];
		next[digit] = at;
		at = end[digit];
	}
	for (size_t digit = 0; digit <= DIGIT_MASK; digit++) {
		while (next[digit] < end[digit]) {
			uint64_t word = words[next[digit]];
			for (size_t to; (to = word >> shift & DIGIT_MASK) != digit;) {
				uint64_t other = words[next[to]];
				words[next[to]++] = word;
				word = other;
			}
			words[next[digit]++] = word;
		}
	}
	/* every round takes DIGIT_BITS of 64 bits */
	for (size_t digit = 0, from = 0; shift && digit <= DIGIT_MASK; from = end[digit++])
		sort(words + from, end[digit] - from);
}

/* ---- packing ---- */

static size_t number_size(uint64_t number)
{
	size_t size = 1;
	for (; number >= 128; number >>= 7)
		size++;
	return size;
}

static uint8_t *put_number(uint8_t *at, uint64_t number)
{
	for (; number >= 128; number >>= 7)
		*at++ = (uint8_t)(number | 128);
	*at++ = (uint8_t)number;
	return at;
}

static const uint8_t *get_number(const uint8_t *at, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0;; shift += 7) {
		*number |= (uint64_t)(*at & 127) << shift;
		if (!(*at++ & 128))
			return at;
	}
}

/* the words of several sorted places, one after the other */
struct merge {
	struct places *const *places;
	size_t n;
	size_t *at; /* of each: how many were taken */
};

static bool merge_next(struct merge *merge, uint64_t *word)
{
	size_t least = merge->n;
	for (size_t i = 0; i < merge->n; i++) {
		const struct places *places = merge->places[i];
		if (merge->at[i] < places->n && (least == merge->n || places->words[merge->at[i]] < *word)) {
			*word = places->words[merge->at[i]];
			least = i;
		}
	}
	if (least < merge->n)
		merge->at[least]++;
	return least < merge->n;
}

/* Write all of them to `out`, or, where that is NULL, only find out how many bytes they take: returned. */
static size_t pack(struct places *const *places, size_t n, uint8_t *out)
{
	g_autofree size_t *taken = g_new0(size_t, n + 1);
	struct merge merge = {places, n, taken};
	uint64_t before = 0, word = 0;
	size_t size = 0;
	uint8_t *at = out;
	while (merge_next(&merge, &word)) {
		uint64_t distance = (word >> TYPE_BITS) - before;
		if (out)
			at = put_number(put_number(at, distance), word & TYPE_MASK);
		else
			size += number_size(distance) + number_size(word & TYPE_MASK);
		before = word >> TYPE_BITS;
	}
	return out ? (size_t)(at - out) : size;
}

/* one object after the other */
struct walk {
	const uint8_t *at, *end;
	uint64_t place; /* UINT64_MAX: there is none any more */
	uint64_t type;
};

static void walk_next(struct walk *walk)
{
	uint64_t distance;
	if (walk->at == walk->end) {
		walk->place = UINT64_MAX;
		return;
	}
	walk->at = get_number(walk->at, &distance);
	walk->at = get_number(walk->at, &walk->type);
	walk->place += distance;
}

static struct walk walk_begin(const population_t *population)
{
	struct walk walk = {.at = population->packed, .end = population->packed + population->size};
	walk_next(&walk);
	return walk;
}

population_t *population_new(const heap_t *heap, struct places *const *places, size_t n)
{
	size_t all = 0;
	for (size_t i = 0; i < n; i++) {
		if (places[i]->overflow)
			return NULL;
		all += places[i]->n;
	}
	for (size_t i = 0; i < n; i++)
		sort(places[i]->words, places[i]->n);
	population_t *population = g_new0(population_t, 1);
	population->n = all;
	population->size = pack(places, n, NULL);
	population->packed = g_try_malloc(population->size + 1);
	if (!population->packed) {
		population_free(population);
		return NULL;
	}
	pack(places, n, population->packed);
	population->n_types = type_count(heap);
	population->types = g_new(uint64_t, population->n_types + 1);
	for (size_t i = 0; i < population->n_types; i++)
		population->types[i] = type_nth(heap, i)->address;
	return population;
}

void population_free(population_t *population)
{
	if (!population)
		return;
	g_free(population->packed);
	g_free(population->types);
	g_free(population);
}

size_t population_objects(const population_t *population)
{
	return population->n;
}

static int compare_types(const void *a, const void *b)
{
	const struct turnover *x = a, *y = b;
	return (x->type > y->type) - (x->type < y->type);
}

static size_t find_row(const struct turnover *rows, size_t n, uint64_t type)
{
	struct turnover key = {.type = type};
	const struct turnover *row = bsearch(&key, rows, n, sizeof(key), compare_types);
	return (size_t)(row - rows);
}

/* A row for each type of both, by address. */
static struct turnover *rows_new(const population_t *before, const population_t *now, size_t *n)
{
	size_t all = before->n_types + now->n_types;
	struct turnover *rows = g_new0(struct turnover, all + 1);
	for (size_t i = 0; i < all; i++)
		rows[i].type = i < before->n_types ? before->types[i] : now->types[i - before->n_types];
	qsort(rows, all, sizeof(*rows), compare_types);
	*n = 0;
	for (size_t i = 0; i < all; i++)
		if (!*n || rows[*n - 1].type != rows[i].type)
			rows[(*n)++] = rows[i];
	return rows;
}

static uint32_t *row_indexes(const population_t *population, const struct turnover *rows, size_t n)
{
	uint32_t *indexes = g_new(uint32_t, population->n_types + 1);
	for (size_t i = 0; i < population->n_types; i++)
		indexes[i] = (uint32_t)find_row(rows, n, population->types[i]);
	return indexes;
}

struct turnover *population_compare(const population_t *before, const population_t *now, size_t *n)
{
	struct turnover *rows = rows_new(before, now, n);
	g_autofree uint32_t *old = row_indexes(before, rows, *n), *new = row_indexes(now, rows, *n);
	struct walk x = walk_begin(before), y = walk_begin(now);
	while (x.place != UINT64_MAX || y.place != UINT64_MAX) {
		uint64_t first = MIN(x.place, y.place);
		uint32_t was = x.place == first ? old[x.type] : UINT32_MAX;
		uint32_t is = y.place == first ? new[y.type] : UINT32_MAX;
		if (x.place == first)
			walk_next(&x);
		if (y.place == first)
			walk_next(&y);
		if (was == is)
			continue;
		if (was != UINT32_MAX)
			rows[was].died++;
		if (is != UINT32_MAX)
			rows[is].born++;
	}
	return rows;
}
