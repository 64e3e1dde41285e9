#include "daemon/analysis/population.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/heap/type.h"

/* an object is one word: its address without the three bits that are always 0, then its type */
#define TYPE_BITS    20
#define ADDRESS_BITS 47
#define TYPE_MASK    ((1ull << TYPE_BITS) - 1)
#define DIGIT_BITS   11

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

/*
 * Radix sort of the address bits; digits that are the same in all words cost a look only. `spare` has room for as many words. Returns
 * which of both holds the result.
 */
static uint64_t *sort(uint64_t *words, uint64_t *spare, size_t n)
{
	for (unsigned shift = TYPE_BITS; shift < 64; shift += DIGIT_BITS) {
		size_t first[(1 << DIGIT_BITS) + 1] = {0};
		for (size_t i = 0; i < n; i++)
			first[(words[i] >> shift & ((1 << DIGIT_BITS) - 1)) + 1]++;
		if (n && first[(words[0] >> shift & ((1 << DIGIT_BITS) - 1)) + 1] == n)
			continue;
		for (size_t i = 1; i <= 1 << DIGIT_BITS; i++)
			first[i] += first[i - 1];
		for (size_t i = 0; i < n; i++)
			spare[first[words[i] >> shift & ((1 << DIGIT_BITS) - 1)]++] = words[i];
		uint64_t *other = words;
		words = spare;
		spare = other;
	}
	return words;
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

static bool pack(population_t *population, const uint64_t *words, size_t n)
{
	uint64_t before = 0;
	for (size_t i = 0; i < n; i++) {
		population->size += number_size((words[i] >> TYPE_BITS) - before) + number_size(words[i] & TYPE_MASK);
		before = words[i] >> TYPE_BITS;
	}
	population->packed = g_try_malloc(population->size + 1);
	uint8_t *at = population->packed;
	before = 0;
	for (size_t i = 0; at && i < n; i++) {
		at = put_number(at, (words[i] >> TYPE_BITS) - before);
		at = put_number(at, words[i] & TYPE_MASK);
		before = words[i] >> TYPE_BITS;
	}
	population->n = n;
	return population->packed != NULL;
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
	uint64_t *words = g_try_new(uint64_t, all + 1), *spare = g_try_new(uint64_t, all + 1);
	if (!words || !spare) {
		g_free(words);
		g_free(spare);
		return NULL;
	}
	size_t at = 0;
	for (size_t i = 0; i < n; at += places[i++]->n)
		if (places[i]->n)
			memcpy(words + at, places[i]->words, places[i]->n * sizeof(*words));
	population_t *population = g_new0(population_t, 1);
	bool packed = pack(population, sort(words, spare, all), all);
	g_free(words);
	g_free(spare);
	if (!packed) {
		population_free(population);
		return NULL;
	}
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
