#include "daemon/heap/outside.h"

#include <string.h>

#include "daemon/heap/candidate.h"
#include "daemon/heap/object.h"
#include "daemon/heap/references.h"
#include "daemon/heap/type.h"

#define PAGE           4096
#define LARGEST_STRUCT 2048 /* of an object, without the items that follow it */

struct frame_visit {
	outside_visit *visit;
	void *context;
};

static void visit_reference(void *context, const struct reference *reference)
{
	const struct frame_visit *frames = context;
	if (reference->kind == REFERENCE_FRAME_LOCAL || reference->kind == REFERENCE_FRAME_STACK)
		frames->visit(frames->context, reference->target);
}

void outside_frames(heap_t *heap, outside_visit *visit, void *context)
{
	struct frame_visit frames = {visit, context};
	g_autoptr(references_t) references = references_new(heap);
	references_begin(references, visit_reference, NULL, &frames);
	references_of_runtime(references);
}

/* An object of the image as the compiler left it: immortal, of a type of the same image. */
static bool is_static(heap_t *heap, const uint8_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	/* what most words aren't comes first */
	uint64_t address = object_type_address(layout, bytes);
	if (address % 8 || address < heap->python->image_start || address >= heap->python->image_end ||
	    !object_refcount(layout, bytes).immortal || !candidate_static(heap, bytes))
		return false;
	const struct type *type = type_get(heap, address);
	return type && !(type->flags & PY_FLAG_TYPE);
}

/* The type of exact ints, if it is known by now; 0: it isn't. */
static uint64_t int_type(const heap_t *heap)
{
	for (size_t i = 0; i < type_count(heap); i++) {
		const struct type *type = type_nth(heap, i);
		if (type->flags & PY_FLAG_LONG && !(type->flags & PY_FLAG_HEAPTYPE) && !strcmp(type->qualname, "int"))
			return type->address;
	}
	return 0;
}

/* The value of the int of at most one digit at `address`. */
static bool short_int(const heap_t *heap, uint64_t address, uint64_t type, int64_t *value)
{
	const struct py_layout *layout = heap->layout;
	const uint8_t *bytes = memory_at(heap->memory, address, layout->long_digit + 4ull);
	if (!bytes || object_type_address(layout, bytes) != type || !candidate_static(heap, bytes))
		return false;
	int64_t digits = load_i64(bytes, layout->ob_size);
	*value = digits * load_u32(bytes, layout->long_digit);
	return digits >= -1 && digits <= 1;
}

/*
 * One of the numbers from -5 to 256, which up to 3.8 lie one behind the other in the image and count references as any object does
 * (CPython Objects/longobject.c, small_ints): perhaps nothing refers to it now.
 */
static bool is_small_int(const heap_t *heap, uint64_t address, uint64_t type)
{
	uint64_t stride = (heap->layout->long_digit + 4 + 7) & ~7ull;
	int64_t value, other;
	return short_int(heap, address, type, &value) &&
	       ((short_int(heap, address + stride, type, &other) && other == value + 1) ||
		(short_int(heap, address - stride, type, &other) && other == value - 1));
}

static void static_page(heap_t *heap, uint64_t page, uint64_t end, uint64_t ints, outside_visit *visit, void *context)
{
	uint64_t size = MIN(PAGE, end - page), header = heap->layout->object_size;
	const uint8_t *whole = memory_at(heap->memory, page, size);
	for (uint64_t at = 0; whole && at < size; at += 8) {
		/* the last words of a page: the object goes on in the next one */
		const uint8_t *bytes = at + header <= size ? whole + at : memory_at(heap->memory, page + at, header);
		if (!bytes)
			return;
		if (is_static(heap, bytes) ||
		    (ints && object_type_address(heap->layout, bytes) == ints && is_small_int(heap, page + at, ints)))
			visit(context, page + at);
	}
}

void outside_static(heap_t *heap, outside_visit *visit, void *context)
{
	const interpreter_t *python = heap->python;
	/* a number's digits are counted in ob_size where the small ones are such objects */
	uint64_t ints = heap_has(heap->layout->long_tag) ? 0 : int_type(heap);
	for (size_t i = 0; heap->maps && i < heap->maps->n; i++) {
		const struct mapping *mapping = &heap->maps->mappings[i];
		uint64_t start = MAX(mapping->start, python->image_start), end = MIN(mapping->end, python->image_end);
		if (!mapping->writable || start >= end)
			continue;
		for (uint64_t page = start; page < end; page += PAGE)
			static_page(heap, page, end, ints, visit, context);
	}
}

void outside_chunks(heap_t *heap, const struct allocator *allocator, const struct glibc *glibc, block_visit *visit,
		    void *context)
{
	struct allocator_hint hint = {0};
	/* in mimalloc's pages there are objects of every size */
	for (size_t i = 0; i < glibc->n && !allocator->mimalloc.n_segments; i++) {
		const struct glibc_chunk *chunk = &glibc->chunks[i];
		uint64_t size = chunk->end - chunk->start;
		if (chunk->state != GLIBC_IN_USE || (allocator->known && size <= PYMALLOC_LARGEST) ||
		    allocator_owns(allocator, &hint, chunk->start))
			continue;
		struct block block = {.address = chunk->start, .size = size, .domain = BLOCK_ANY};
		memory_rest(heap->memory, NULL);
		block.bytes = memory_at(heap->memory, chunk->start, MIN(size, LARGEST_STRUCT));
		if (!block.bytes)
			continue;
		/* what is too large for pymalloc went through the hooks of raw memory, too */
		while (block_unhook(&block) && block.domain == BLOCK_RAW)
			block.domain = BLOCK_ANY;
		block_visit_one(visit, context, &block);
	}
}
