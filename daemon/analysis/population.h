/*
 * Where every object of one sample is, and of which type: what tells births and deaths between two samples.
 *
 * An object is known by its address and type. One that died and whose place another of its type took meanwhile is seen as the same
 * one, so births and deaths are lower bounds. Some 3 bytes an object, and 16 more while it is made. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/heap/heap.h"

/* objects as one thread of a census meets them */
struct places;
struct places *places_new(size_t most);
void places_free(struct places *places);
/* None yet, once more. */
void places_forget(struct places *places);
void places_add(struct places *places, uint64_t address, uint32_t type);

typedef struct population population_t;

/* All objects of `heap` from the places of `n` threads; NULL when there are too many of them. */
population_t *population_new(const heap_t *heap, struct places *const *places, size_t n);
void population_free(population_t *population); /* NULL is fine */
size_t population_objects(const population_t *population);

/* one type's part in a change */
struct turnover {
	uint64_t type; /* its address */
	int64_t born, died;
};

/* What changed from one to the other, a row for each type of either, by address; *n of them. Free with g_free(). */
struct turnover *population_compare(const population_t *before, const population_t *now, size_t *n);
