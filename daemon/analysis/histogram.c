#include "daemon/analysis/histogram.h"

#include "daemon/heap/size.h"
#include "daemon/heap/type.h"

/* the counters of one type, beside the type table: index is type->index */
struct row {
	int64_t count, gc_count, bytes, refs, refs_max, immortal;
};

struct counter {
	heap_t *heap;
	struct row *rows;
	size_t n_rows;
	int64_t unreadable;
};

static struct row *row_of(struct counter *counter, const struct type *type)
{
	if (type->index >= counter->n_rows) {
		size_t n = MAX(counter->n_rows * 2, (size_t)type->index + 1024);
		counter->rows = g_renew(struct row, counter->rows, n);
		memset(counter->rows + counter->n_rows, 0, (n - counter->n_rows) * sizeof(struct row));
		counter->n_rows = n;
	}
	return &counter->rows[type->index];
}

static void count_object(void *context, const struct object *object)
{
	struct counter *counter = context;
	int64_t bytes = 0;
	/* sized first: sizing may find new types, and the rows may move */
	if (!object_getsizeof(counter->heap, object, &bytes))
		counter->unreadable++;
	struct row *row = row_of(counter, object->type);
	struct refcount refcount = object_refcount(counter->heap->layout, object->bytes);
	row->count++;
	row->gc_count += object->tracked;
	row->bytes += bytes;
	if (refcount.immortal) {
		row->immortal++;
	} else {
		row->refs += refcount.count;
		row->refs_max = MAX(row->refs_max, refcount.count);
	}
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
			.owned = SAMPLE_UNKNOWN,
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

bool histogram_take(heap_t *heap, enum census_coverage coverage, sample_t *sample, GError **error)
{
	struct counter counter = {.heap = heap};
	struct census census;
	bool ok = census_take(heap, coverage, count_object, &counter, &census, error);
	if (ok) {
		fill_types(&counter, sample);
		fill_gc(heap, &census, sample);
		sample->totals.unreadable = counter.unreadable + census.unreadable;
		census_clear(&census);
	}
	g_free(counter.rows);
	return ok;
}
