#include "daemon/analysis/owners.h"

#include "base/error.h"
#include "base/search.h"
#include "daemon/analysis/images.h"
#include "daemon/heap/candidate.h"
#include "daemon/heap/type.h"
#include "symbols/pthread.h"

#define RED_ZONE          128   /* x86-64 ABI: bytes below the stack pointer that are in use */
#define DESCRIPTOR_RANGE  16384 /* bytes at the end of a thread's stack in which glibc's struct pthread begins */
#define POOL_SIZE_CLASS   36    /* of pymalloc's pool_header (daemon/heap/pymalloc.c) */
#define POOL_HEADER_BYTES 48
#define SLACK             32 /* bytes a block or chunk may be larger than what was asked for */
#define AST_BLOCK_HEADER  32 /* CPython Python/pyarena.c: size, offset, next, memory */

const struct owners_image *owners_image_at(const struct owners *owners, uint64_t address)
{
	size_t n = SEARCH_UP_TO(owners->images, owners->n_images, start, address);
	return n && address < owners->images[n - 1].end ? &owners->images[n - 1] : NULL;
}

/* ---- blocks of the allocator ---- */

static bool holds_object(const struct owners *owners, const struct block *block)
{
	for (uint64_t offset = 0; offset <= 48 && offset < block->size; offset += 16) {
		if (table_find(owners->table, block->address + offset) != TABLE_NONE)
			return true;
	}
	return false;
}

/*
 * A dead object in a free list: a type where an object has it, and a count of 0, or from 3.14 on a link in its place. It owns nothing,
 * but for instances of heap types their type: that word stays. A struct of C code that begins with a 0 and the address of a type is none:
 * an instance of that type would lie elsewhere in a block, or have another size.
 */
static bool is_dead(struct owners *owners, uint64_t address, const uint8_t *bytes, uint64_t size, uint64_t *type_word)
{
	const struct py_layout *layout = owners->heap->layout;
	const uint64_t head = layout->shape.gc == PY_GC_NONE ? 0 : layout->gc_head_size;
	const uint64_t offsets[] = {0, head, head + 16};
	struct allocator_hint hint = {0};
	for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
		uint64_t offset = offsets[i];
		if (offset + layout->object_size > size)
			break;
		uint64_t count = load_u64(bytes, offset);
		bool link =
			layout->shape.refcount == PY_REFCOUNT_FLAGS && allocator_owns(&owners->allocator, &hint, count);
		if (count && !link)
			continue;
		const struct type *type = type_get(owners->heap, load_u64(bytes, offset + layout->ob_type));
		if (!type || type->prefix != offset || (link && type->flags & PY_FLAG_HEAPTYPE))
			continue;
		uint64_t least = type->prefix + type->basicsize;
		if (least > size || (type->flags & PY_FLAG_HEAPTYPE && !type->itemsize && least + SLACK < size))
			continue;
		*type_word = type->flags & PY_FLAG_HEAPTYPE ? address + offset + layout->ob_type : 0;
		return true;
	}
	return false;
}

static void visit_block(struct owners *owners, const struct block *block)
{
	uint64_t type_word;
	if (holds_object(owners, block))
		return;
	if (!is_dead(owners, block->address, block->bytes, block->size, &type_word))
		cover_unset(&owners->cover, block->address, block->address + block->size);
	else if (type_word)
		cover_unset(&owners->cover, type_word, type_word + 8);
}

static void visit_blocks(void *context, const struct blocks *blocks)
{
	for (size_t i = 0; i < blocks->n; i++) {
		struct block block = blocks_nth(blocks, i);
		visit_block(context, &block);
	}
}

static void cover_allocator(struct owners *owners)
{
	const struct pymalloc *pymalloc = &owners->allocator.pymalloc;
	const struct mimalloc *mimalloc = &owners->allocator.mimalloc;
	struct block_stats stats = {0};
	for (size_t i = 0; i < pymalloc->n_arenas; i++)
		cover_set(&owners->cover, pymalloc->arenas[i].start, pymalloc->arenas[i].end);
	for (size_t i = 0; i < mimalloc->n_segments; i++)
		cover_set(&owners->cover, mimalloc->segments[i].start, mimalloc->segments[i].end);
	size_t parts = owners->allocator.known ? allocator_parts(&owners->allocator) : 0;
	for (size_t i = 0; i < parts; i++)
		allocator_walk(owners->heap, &owners->allocator, i, visit_blocks, owners, &stats);
}

static bool pool_block_at(const struct owners *owners, uint64_t address, uint64_t *start, uint64_t *end)
{
	const struct py_shape *shape = &owners->heap->layout->shape;
	uint64_t pool = address & ~(uint64_t)(shape->pool_bytes - 1);
	uint32_t size_class;
	if (!owners->allocator.pymalloc.n_ranges ||
	    !memory_u32(owners->heap->memory, pool + POOL_SIZE_CLASS, &size_class) || size_class >= 64 ||
	    address < pool + POOL_HEADER_BYTES)
		return false;
	uint64_t size = (size_class + 1) * shape->block_alignment, first = pool + POOL_HEADER_BYTES;
	*start = first + (address - first) / size * size;
	*end = *start + size;
	return true;
}

/* The block of an arena that holds `address`, whole. */
static void cover_block(struct owners *owners, uint64_t address, uint64_t end)
{
	uint64_t start, whole;
	if (!owners_block_at(owners, address, &start, &whole)) {
		start = address;
		whole = end;
	}
	cover_set(&owners->cover, start, MAX(whole, end));
}

bool owners_block_at(const struct owners *owners, uint64_t address, uint64_t *start, uint64_t *end)
{
	struct allocator_hint hint = {0};
	if (allocator_owns(&owners->allocator, &hint, address)) {
		const struct mimalloc *mimalloc = &owners->allocator.mimalloc;
		return mimalloc->n_segments ? mimalloc_block_at(owners->heap, mimalloc, address, start, end)
					    : pool_block_at(owners, address, start, end);
	}
	const struct glibc_chunk *chunk = glibc_chunk_at(&owners->glibc, address);
	if (!chunk)
		return false;
	*start = chunk->start;
	*end = chunk->end;
	return true;
}

/* ---- objects outside ---- */

static void cover_object(struct owners *owners, references_t *references, const struct table_object *entry)
{
	struct object object;
	if (!object_at(owners->heap, entry->address, &object))
		return;
	uint64_t size = references_object_size(references, &object);
	bool in_image = owners_image_at(owners, entry->address) != NULL;
	uint64_t start = entry->address - (in_image ? 0 : object.type->prefix);
	cover_set(&owners->cover, start, entry->address + size);
	if (!in_image)
		addresses_add(&owners->tables, start);
}

bool owners_init(struct owners *owners, heap_t *heap, const struct table *table, references_t *references,
		 const struct owners_view *view, GError **error)
{
	memset(owners, 0, sizeof(*owners));
	owners->view = view;
	owners->heap = heap;
	owners->table = table;
	addresses_init(&owners->tables);
	if (!allocator_open(heap, &owners->allocator)) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN,
			  "the state of its allocator isn't where the layout says", NULL,
			  "cannot explain the references of the process");
		owners_clear(owners);
		return false;
	}
	if (!cover_init(&owners->cover, view->memory, view->maps) ||
	    !glibc_find(view->memory, view->maps, &owners->allocator, &owners->glibc)) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_FAILED, "there is not enough memory", NULL,
			  "cannot explain the references of the process");
		owners_clear(owners);
		return false;
	}
	g_autoptr(GArray) images = images_find(view->memory, view->maps);
	owners->n_images = images->len;
	owners->images = (struct owners_image *)g_array_free(g_steal_pointer(&images), FALSE);
	cover_allocator(owners);
	struct allocator_hint hint = {0};
	for (size_t i = 0; i < table->n; i++) {
		if (!allocator_owns(&owners->allocator, &hint, table->objects[i].address))
			cover_object(owners, references, &table->objects[i]);
	}
	return true;
}

void owners_clear(struct owners *owners)
{
	allocator_clear(&owners->allocator);
	cover_clear(&owners->cover);
	glibc_clear(&owners->glibc);
	addresses_clear(&owners->tables);
	g_free(owners->images);
	memset(owners, 0, sizeof(*owners));
}

void owners_account(struct owners *owners, uint64_t start, uint64_t end, bool whole)
{
	if (!whole) {
		cover_set(&owners->cover, start, end);
	} else if (allocator_owns(&owners->allocator, &owners->hint, start)) {
		cover_block(owners, start, end);
	} else {
		cover_set(&owners->cover, start, end);
		addresses_add(&owners->tables, start);
	}
}

/* ---- malloc and stacks ---- */

/* memory of an abstract syntax tree under compilation (a running main script's): its objects are kept in a list apart */
static bool is_ast_block(const struct memory *memory, uint64_t start)
{
	uint64_t words[4];
	if (!memory_read(memory, start, words, sizeof(words)))
		return false;
	return words[0] && words[0] % 4096 == 0 && words[1] <= words[0] &&
	       (words[3] & ~15ull) == ((start + AST_BLOCK_HEADER) & ~15ull);
}

/*
 * A str or bytes that no object refers to: one that C code is about to fill or to hand over, as a read in progress does. It refers to
 * nothing, and its memory still has what was there before.
 */
static bool is_atom(const struct owners *owners, uint64_t start)
{
	struct object object;
	return object_at(owners->heap, start, &object) && object.type->kind == TYPE_ATOM &&
	       !(object.type->flags & PY_FLAG_HEAPTYPE) && candidate_refcount(owners->heap, object.bytes);
}

/*
 * A buffer that was allocated and never written to, as far as its beginning goes: there are still the links it had in one of malloc's bins,
 * and behind them what was there before that.
 */
static bool is_untouched(const struct owners *owners, uint64_t start)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t link;
		if (!memory_u64(owners->heap->memory, start + 8 * i, &link))
			return false;
		const struct mapping *mapping = link ? maps_find(owners->view->maps, link) : NULL;
		const char *name = mapping && mapping->writable ? strrchr(mapping->path, '/') : NULL;
		if (!name || !g_str_has_prefix(name, "/libc"))
			return false;
	}
	return true;
}

/*
 * The loader's table of where objects are mapped, most of which is room that was never written to (glibc 2.35+, elf/dl-find_object.c, struct
 * dlfo_mappings_segment: previous, to_free, size, allocated, 32 bytes an object).
 */
static bool is_loader_table(const struct memory *memory, uint64_t start, uint64_t size)
{
	uint64_t words[4];
	return memory_read(memory, start, words, sizeof(words)) && words[1] == start && words[2] <= words[3] &&
	       words[3] < size / 32 && size - 32 * words[3] < 32 + 2 * SLACK;
}

static void cover_chunk(struct owners *owners, const struct glibc_chunk *chunk)
{
	uint64_t size = chunk->end - chunk->start, type_word;
	if (chunk->state != GLIBC_IN_USE || addresses_has(&owners->tables, chunk->start)) {
		cover_set(&owners->cover, chunk->start, chunk->end);
		return;
	}
	const uint8_t *bytes =
		memory_at(owners->heap->memory, chunk->start, MIN(size, 64)); /* is_dead() looks no further */
	/* a size of 0 in front of it is an object's count only if a type follows */
	if (size >= 64 && bytes && is_dead(owners, chunk->start, bytes, size, &type_word))
		cover_set(&owners->cover, chunk->start, chunk->end);
	else if (is_atom(owners, chunk->start) || is_untouched(owners, chunk->start) ||
		 is_loader_table(owners->heap->memory, chunk->start, size))
		cover_set(&owners->cover, chunk->start, chunk->end);
	else if (size >= 4096 && is_ast_block(owners->heap->memory, chunk->start))
		cover_set(&owners->cover, chunk->start, chunk->end);
}

/* Whether another thread's stack lies in the mapping, below. */
static bool stack_below(const struct owners_view *view, const struct mapping *mapping, uint64_t pointer)
{
	for (size_t i = 0; i < view->n_threads; i++) {
		uint64_t other = view->threads[i].stack_pointer;
		if (other >= mapping->start && other < pointer)
			return true;
	}
	return false;
}

/* Where the stack begins that a thread uses; `pointer` itself where that can't be told. */
static uint64_t stack_begin(const struct owners_view *view, const struct mapping *mapping, uint64_t pointer)
{
	uint64_t descriptor = pthread_find(view->memory, pointer, mapping->end);
	if (!descriptor)
		return stack_below(view, mapping, pointer) ? pointer : mapping->start;
	uint64_t start = pthread_stack(view->memory, descriptor);
	return start && start <= pointer ? MAX(start, mapping->start) : pointer;
}

static void cover_dead_stacks(struct owners *owners)
{
	const struct owners_view *view = owners->view;
	for (size_t i = 0; i < view->n_threads; i++) {
		uint64_t pointer = view->threads[i].stack_pointer;
		const struct mapping *mapping = pointer && view->maps ? maps_find(view->maps, pointer) : NULL;
		uint64_t start = mapping ? stack_begin(view, mapping, pointer) : pointer;
		if (pointer && pointer - RED_ZONE > start)
			cover_set(&owners->cover, start, (pointer - RED_ZONE) & ~7ull);
	}
}

/* glibc keeps the stacks of threads that ended for new ones. */
static void cover_stack_cache(struct owners *owners, const struct mapping *mapping, uint64_t from)
{
	const struct memory *memory = owners->view->memory;
	uint64_t at = from;
	while ((at = memory_content(memory, at)) < mapping->end) {
		uint64_t end = MIN((at | (PTHREAD_PAGE - 1)) + 1, mapping->end);
		uint32_t tid;
		for (at = (at + PTHREAD_ALIGN - 1) & ~(PTHREAD_ALIGN - 1ull); at < end; at += PTHREAD_ALIGN) {
			uint64_t start = pthread_at(memory, at, &tid) && !tid ? pthread_stack(memory, at) : 0;
			if (start)
				cover_set(&owners->cover, MAX(start, mapping->start), at);
		}
		at = end;
	}
}

/* Behind the mapping of a guard lies one stack; where threads are, there may be more. */
static void cover_stack_caches(struct owners *owners)
{
	const struct maps *maps = owners->view->maps;
	for (size_t i = 1; maps && i < maps->n; i++) {
		const struct mapping *guard = &maps->mappings[i - 1], *mapping = &maps->mappings[i];
		if (!mapping->writable || mapping->path[0] || mapping->end - mapping->start <= DESCRIPTOR_RANGE)
			continue;
		if (stack_below(owners->view, mapping, mapping->end))
			cover_stack_cache(owners, mapping, mapping->start);
		else if (guard->end == mapping->start && !guard->readable)
			cover_stack_cache(owners, mapping, mapping->end - DESCRIPTOR_RANGE);
	}
}

void owners_finish(struct owners *owners)
{
	for (size_t i = 0; i < owners->glibc.n; i++)
		cover_chunk(owners, &owners->glibc.chunks[i]);
	owners_cover_free_lists(owners);
	cover_dead_stacks(owners);
	cover_stack_caches(owners);
}

const struct owners_thread *owners_thread_at(const struct owners *owners, uint64_t address)
{
	const struct owners_view *view = owners->view;
	const struct mapping *mapping = view->maps ? maps_find(view->maps, address) : NULL;
	const struct owners_thread *nearest = NULL;
	for (size_t i = 0; mapping && i < view->n_threads; i++) {
		uint64_t pointer = view->threads[i].stack_pointer;
		if (pointer >= mapping->start && pointer < mapping->end && address >= pointer - RED_ZONE &&
		    (!nearest || pointer > nearest->stack_pointer))
			nearest = &view->threads[i];
	}
	return nearest;
}

enum owners_class owners_class_of(const struct owners *owners, uint64_t address)
{
	struct allocator_hint hint = {0};
	if (allocator_owns(&owners->allocator, &hint, address))
		return OWNERS_BLOCK;
	if (owners_image_at(owners, address))
		return OWNERS_STATIC;
	if (owners_thread_at(owners, address))
		return OWNERS_STACK;
	if (glibc_chunk_at(&owners->glibc, address))
		return OWNERS_CHUNK;
	return OWNERS_OTHER;
}
