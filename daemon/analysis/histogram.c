#include "daemon/analysis/histogram.h"

#include "daemon/heap/buffer.h"
#include "daemon/heap/candidate.h"
#include "daemon/heap/size.h"
#include "daemon/heap/type.h"

#define MAX_THREADS 8
#define MAX_REFS    (1ll << 36) /* to one object: as many as half a terabyte has words; beyond, the count is corrupt */

/* the counters of one type, beside the type table: index is type->index */
struct row {
	int64_t count, gc_count, bytes, refs, refs_max, immortal, owned;
};

/* one thread's counters */
struct counter {
	heap_t *heap;
	struct row *rows;
	size_t n_rows;
	int64_t unreadable;
	int64_t unborn;        /* candidate_unborn() */
	int64_t *region_bytes; /* of objects outside the allocator, by region of the memory */
	struct places *places; /* NULL: not asked for */
	const struct histogram_also *also;
	uint64_t sought_mask; /* bit i: an address with these six bits is sought */
};

static inline uint64_t sought_bit(uint64_t address)
{
	return 1ull << (address >> 4 & 63);
}

/* Bytes of an object that lie together at its address: what it keeps elsewhere isn't part of it. */
static int64_t inline_bytes(const struct object *object, int64_t bytes)
{
	const struct type *type = object->type;
	return type->kind == TYPE_ATOM || type->itemsize ? bytes : type->prefix + (int64_t)type->basicsize;
}

static void count_outside(struct counter *counter, const struct object *object, int64_t bytes)
{
	const struct memory_region *region = memory_find(counter->heap->memory, object->address);
	if (region)
		counter->region_bytes[region - counter->heap->memory->regions] += inline_bytes(object, bytes);
}

static struct row *row_at(struct counter *counter, size_t index)
{
	if (index >= counter->n_rows) {
		size_t n = MAX(counter->n_rows * 2, index + 1024);
		counter->rows = g_renew(struct row, counter->rows, n);
		memset(counter->rows + counter->n_rows, 0, (n - counter->n_rows) * sizeof(struct row));
		counter->n_rows = n;
	}
	return &counter->rows[index];
}

/* Each object is met by one thread only, so the flags need no lock. */
static void note_sought(struct counter *counter, uint64_t address)
{
	for (size_t i = 0; i < counter->also->n_sought; i++)
		if (counter->also->sought[i] == address)
			counter->also->found[i] = true;
}

/* What is asked for about single objects. */
static void note_object(struct counter *counter, const struct object *object, int64_t bytes)
{
	if (object->outside)
		count_outside(counter, object, bytes);
	if (counter->places)
		places_add(counter->places, object->address, object->type->index);
	if (counter->sought_mask & sought_bit(object->address))
		note_sought(counter, object->address);
}

/* How large it is. False: it isn't an object yet. */
static bool measure(struct counter *counter, const struct object *object, int64_t *bytes)
{
	*bytes = 0;
	if (object_getsizeof(counter->heap, object, bytes))
		return true;
	if (candidate_unborn(counter->heap, object)) {
		counter->unborn++;
		return false;
	}
	counter->unreadable++;
	return true;
}

static void count_object(struct counter *counter, const struct object *object, struct row *row)
{
	const struct py_layout *layout = counter->heap->layout;
	const struct buffer_rule *buffer = object->type->buffer;
	int64_t bytes;
	if (!measure(counter, object, &bytes))
		return;
	note_object(counter, object, bytes);
	row->count++;
	row->gc_count += object->tracked;
	row->bytes += bytes;
	if (buffer && buffer->measure(counter->heap, object, &bytes))
		row->owned += bytes;
	struct refcount refcount = object_refcount(layout, object->bytes);
	if (refcount.immortal) {
		row->immortal++;
	} else if (refcount.count > -MAX_REFS && refcount.count < MAX_REFS) {
		row->refs += refcount.count;
		row->refs_max = MAX(row->refs_max, refcount.count);
	} else {
		counter->unreadable++;
	}
}

static void row_add(struct row *total, const struct row *row)
{
	total->count += row->count;
	total->gc_count += row->gc_count;
	total->bytes += row->bytes;
	total->refs += row->refs;
	total->refs_max = MAX(total->refs_max, row->refs_max);
	total->immortal += row->immortal;
	total->owned += row->owned;
}

/* Whether nothing but the type's row is asked for of most objects of the type. */
static bool are_common(const struct counter *counter, const struct object *object)
{
	const struct type *type = object->type;
	return object->common && !counter->places && !counter->sought_mask && !object->outside && !type->buffer &&
	       !(type->flags & PY_FLAG_TYPE);
}

/* The most references to one of some common objects of which some aren't objects yet. */
static int64_t most_refs(heap_t *heap, const struct objects *objects)
{
	int64_t most = 0, bytes;
	for (size_t i = 0; i < objects->n; i++) {
		const struct object object = objects_nth(objects, i);
		if (object_getsizeof(heap, &object, &bytes) || !candidate_unborn(heap, &object))
			most = MAX(most, object_refcount(heap->layout, object.bytes).count);
	}
	return most;
}

/* Common objects of one form; the compiler makes a loop of its own for each. */
static inline __attribute__((always_inline)) void count_form(struct counter *counter, const struct objects *objects,
							     enum size_form form, struct row *row)
{
	const struct size_terms terms = size_terms_of(counter->heap, form, &objects->first);
	const bool one_by_one = form != SIZE_FIXED && form != SIZE_TEXT;
	uint64_t units = form == SIZE_TEXT ? objects->characters : 0;
	int64_t asked = 0, asked_bytes = 0, unborn = 0, unborn_refs = 0;
	for (size_t i = 0; i < objects->n && one_by_one; i++) {
		uint64_t more;
		if (G_LIKELY(size_units(&terms, form, objects->first.bytes + objects->offsets[i], &more))) {
			units += more;
			continue;
		}
		const struct object object = objects_nth(objects, i);
		int64_t bytes;
		if (measure(counter, &object, &bytes)) {
			asked++;
			asked_bytes += bytes;
		} else {
			unborn++;
			unborn_refs += object_refcount(counter->heap->layout, object.bytes).count;
		}
	}
	row->count = (int64_t)objects->n - unborn;
	row->gc_count = objects->first.tracked ? row->count : 0;
	row->bytes = (row->count - asked) * (int64_t)terms.base + (int64_t)(units * terms.unit) + asked_bytes;
	row->refs = objects->refs - unborn_refs;
	row->refs_max = unborn ? most_refs(counter->heap, objects) : objects->refs_max;
}

static void count_each(struct counter *counter, const struct objects *objects, struct row *row)
{
	for (size_t i = 0; i < objects->n; i++) {
		const struct object object = objects_nth(objects, i);
		count_object(counter, &object, row);
	}
}

static void count_objects(void *context, const struct objects *objects)
{
	struct counter *counter = context;
	struct row row = {0};
	enum size_form form =
		are_common(counter, &objects->first) ? size_form_of(counter->heap, objects->first.type) : SIZE_ASKED;
	switch (form) {
	case SIZE_FIXED:
		count_form(counter, objects, SIZE_FIXED, &row);
		break;
	case SIZE_ITEMS:
		count_form(counter, objects, SIZE_ITEMS, &row);
		break;
	case SIZE_DIGITS:
		count_form(counter, objects, SIZE_DIGITS, &row);
		break;
	case SIZE_SIGNED_DIGITS:
		count_form(counter, objects, SIZE_SIGNED_DIGITS, &row);
		break;
	case SIZE_TEXT:
		count_form(counter, objects, SIZE_TEXT, &row);
		break;
	case SIZE_LIST:
		count_form(counter, objects, SIZE_LIST, &row);
		break;
	case SIZE_DICT:
		count_form(counter, objects, SIZE_DICT, &row);
		break;
	case SIZE_ASKED:
		count_each(counter, objects, &row);
		break;
	}
	/* not before: sizing may find new types, and the rows may move */
	row_add(row_at(counter, objects->first.type->index), &row);
}

static void forget(void *context)
{
	struct counter *counter = context;
	if (counter->n_rows)
		memset(counter->rows, 0, counter->n_rows * sizeof(*counter->rows));
	memset(counter->region_bytes, 0, counter->heap->memory->n_regions * sizeof(*counter->region_bytes));
	counter->unreadable = counter->unborn = 0;
	if (counter->places)
		places_forget(counter->places);
	for (size_t i = 0; counter->also && i < counter->also->n_sought; i++)
		counter->also->found[i] = false;
}

static void fill_types(const struct counter *counter, sample_t *sample)
{
	size_t n = MIN(type_count(counter->heap), counter->n_rows);
	sample->types = g_new0(struct sample_type, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct row *row = &counter->rows[i];
		const struct type *type = type_nth(counter->heap, i);
		if (!row->count)
			continue;
		sample->types[sample->n_types++] = (struct sample_type){
			.address = type->address,
			.module = sample_text(sample, type->module),
			.qualname = sample_text(sample, type->qualname),
			.count = row->count,
			.gc_count = row->gc_count,
			.bytes = row->bytes,
			.refs = row->refs,
			.refs_max = row->refs_max,
			.immortal = row->immortal,
			.owned = type->buffer ? row->owned : SAMPLE_UNKNOWN,
		};
		sample->totals.objects += row->count;
		sample->totals.gc_objects += row->gc_count;
		sample->totals.bytes += row->bytes;
		sample->totals.refs += row->refs;
		sample->totals.immortal += row->immortal;
	}
}

static void fill_gc(const heap_t *heap, const struct census *census, sample_t *sample)
{
	sample->gc = g_new0(struct sample_gc, heap->n_interpreters);
	sample->n_gc = heap->n_interpreters;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_collector *collector = &heap->interpreters[i].collector;
		struct sample_gc *gc = &sample->gc[i];
		gc->interpreter = heap->interpreters[i].id;
		gc->enabled = collector->enabled;
		gc->collecting = collector->collecting;
		gc->n_generations = collector->n_generations;
		gc->permanent = census->permanent[i];
		for (size_t j = 0; j < collector->n_generations; j++) {
			gc->generations[j] = (struct sample_generation){
				.count = collector->generations[j].count,
				.threshold = collector->generations[j].threshold,
				.objects = census->lists[i * HEAP_MAX_GENERATIONS + j],
				.collections = collector->generations[j].collections,
			};
		}
	}
}

/* Add what another thread counted. */
static void counter_merge(struct counter *sum, struct counter *counter, size_t n_regions)
{
	for (size_t i = 0; i < counter->n_rows; i++) {
		const struct row *row = &counter->rows[i];
		if (!row->count)
			continue;
		row_add(row_at(sum, i), row);
	}
	for (size_t i = 0; i < n_regions; i++)
		sum->region_bytes[i] += counter->region_bytes[i];
	sum->unreadable += counter->unreadable;
	sum->unborn += counter->unborn;
}

static void counter_clear(struct counter *counter)
{
	g_free(counter->rows);
	g_free(counter->region_bytes);
	places_free(counter->places);
}

static void counter_ask(struct counter *counter, const struct histogram_also *also, size_t n_counters)
{
	counter->also = also;
	if (also && also->locate)
		counter->places = places_new(also->most_objects / n_counters);
	for (size_t i = 0; also && i < also->n_sought; i++)
		counter->sought_mask |= sought_bit(also->sought[i]);
}

static void fill_population(struct counter *counters, size_t n, struct histogram_also *also)
{
	struct places *places[MAX_THREADS];
	for (size_t i = 0; i < n; i++)
		places[i] = counters[i].places;
	also->population = population_new(counters[0].heap, places, n);
}

/* How many objects may be in the making: with a GIL one thread an interpreter makes any. What is more than that is damaged. */
static int64_t most_unborn(const heap_t *heap)
{
	return heap->layout->shape.gc == PY_GC_NONE ? INT64_MAX : (int64_t)heap->n_interpreters;
}

bool histogram_take(heap_t *heap, enum census_coverage coverage, sample_t *sample, struct histogram_memory *memory,
		    struct histogram_also *also, GError **error)
{
	struct counter counters[MAX_THREADS] = {0};
	void *contexts[MAX_THREADS];
	size_t n = MIN(g_get_num_processors(), MAX_THREADS), n_regions = heap->memory->n_regions;
	for (size_t i = 0; i < n; i++) {
		counters[i].heap = heap;
		counters[i].region_bytes = g_new0(int64_t, n_regions + 1);
		counter_ask(&counters[i], also, n);
		contexts[i] = &counters[i];
	}
	const struct census_visitor visitor = {count_objects, forget, contexts, n};
	bool ok = census_take(heap, coverage, &visitor, &memory->census, error);
	if (ok && also && also->locate)
		fill_population(counters, n, also);
	for (size_t i = 1; i < n; i++) {
		counter_merge(&counters[0], &counters[i], n_regions);
		counter_clear(&counters[i]);
	}
	if (!ok) {
		counter_clear(&counters[0]);
		return false;
	}
	fill_types(&counters[0], sample);
	fill_gc(heap, &memory->census, sample);
	sample->totals.unreadable =
		counters[0].unreadable + memory->census.unreadable + MAX(0, counters[0].unborn - most_unborn(heap));
	if (coverage == CENSUS_ALL)
		sample->totals.allocated_blocks = memory->census.allocated_blocks;
	memory->region_bytes = g_steal_pointer(&counters[0].region_bytes);
	counter_clear(&counters[0]);
	return true;
}

void histogram_memory_clear(struct histogram_memory *memory)
{
	census_clear(&memory->census);
	g_clear_pointer(&memory->region_bytes, g_free);
}
