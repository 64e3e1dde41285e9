/* What writing and reading an image share. */
#pragma once
#include "daemon/target/image.h"

#define IMAGE_MAGIC "reftop image 1\n"
#define IMAGE_PIECE (256u << 10)

enum image_kind { IMAGE_META = 1, IMAGE_MAPS, IMAGE_THREADS, IMAGE_REGIONS, IMAGE_PAGES, IMAGE_END };

struct image_section {
	uint32_t kind, zero;
	uint64_t size, stored, address;
};

struct image_region {
	uint64_t start, size, mapping, zero;
};

/* the fields of an interpreter that stand in META as numbers, by name */
struct image_number {
	const char *name;
	uint16_t position, size;
};
extern const struct image_number image_numbers[];
extern const size_t image_n_numbers;
uint64_t image_number_get(const interpreter_t *interpreter, const struct image_number *number);
void image_number_set(interpreter_t *interpreter, const struct image_number *number, uint64_t value);
