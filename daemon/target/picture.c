/* From copied pages to a picture: regions, residence, sums; and back to where the storage came from. */
#include <string.h>
#include <unistd.h>

#include "base/search.h"
#include "daemon/target/target.h"

static int run_compare(const void *a, const void *b)
{
	const struct presence_run *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

static struct presence_run *run_at(GArray *runs, guint i)
{
	return i < runs->len ? &g_array_index(runs, struct presence_run, i) : NULL;
}

static void runs_gather(snapshot_t *snapshot, const struct copy_result results[2])
{
	struct snapshot_private *own = snapshot->private;
	own->copied = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	own->lost = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	for (int i = 0; i < 2; i++) {
		const struct copy_result *result = &results[i];
		g_array_append_vals(own->copied, result->copied->data, result->copied->len);
		g_array_append_vals(own->lost, result->lost->data, result->lost->len);
		snapshot->bytes_copied += result->bytes;
		snapshot->bytes_missing += result->missing;
	}
	snapshot->bytes_missing += own->plan->missing;
	g_array_sort(own->copied, run_compare);
	g_array_sort(own->lost, run_compare);
}

/* Zeros where the windows hold what earlier snapshots left there. */
static void windows_settle(struct snapshot_private *own)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	for (guint w = 0; w < own->pool->windows->len; w++) {
		struct window *window = own->pool->windows->pdata[w];
		if (!window->used)
			continue;
		/* what belongs into a window is decided by the mapping: windows may overlap */
		g_array_set_size(runs, 0);
		guint k = 0;
		for (size_t i = 0; i < own->plan->maps->n; i++) {
			const struct mapping *mapping = &own->plan->maps->mappings[i];
			const struct presence_run *run;
			while ((run = run_at(own->copied, k)) && run->start < mapping->end) {
				if (own->plan->mappings[i].window == window)
					g_array_append_vals(runs, run, 1);
				k++;
			}
		}
		pool_settle(window, (const struct presence_run *)(const void *)runs->data, runs->len);
	}
	pool_trim(own->pool);
}

static void region_add(GArray *regions, const struct snapshot_private *own, uint32_t i, uint64_t start, uint64_t end)
{
	const struct plan *plan = own->plan;
	const struct plan_mapping *planned = &plan->mappings[i];
	const struct mapping *mapping = &plan->maps->mappings[i];
	struct memory_region region = {
		.start = start,
		.size = end - start,
		.bytes = planned->kind == PLAN_STREAM ? stream_bytes(own->stream, i) + (start - mapping->start)
						      : planned->window->bytes + (start - planned->window->start),
		.mapping = i,
		.constant = mapping_is_constant(mapping),
		.spared = planned->spared,
		.lazy = planned->spared || planned->kind == PLAN_FILE || planned->kind == PLAN_LAZY ||
			planned->kind == PLAN_STREAM,
	};
	if (start < end)
		g_array_append_val(regions, region);
}

/* Whether any of [address, address + size) was left out. */
static bool spares(const struct snapshot_private *own, uint64_t address, uint64_t size)
{
	bool maybe = false;
	for (uint64_t n = address / CHUNK_BYTES; n <= (address + size - 1) / CHUNK_BYTES && !maybe; n++)
		maybe = own->spared_bits[n % SPARED_BITS / 64] >> n % 64 & 1;
	if (!maybe)
		return false;
	const struct presence_run *runs = (const struct presence_run *)(const void *)own->spared->data;
	size_t i = SEARCH_UP_TO(runs, own->spared->len, end, address);
	return i < own->spared->len && runs[i].start < address + size;
}

/*
 * What was left out is wanted, if it is an object: it was none when it was looked at, and if the page still holds no address it was none when the
 * snapshot was taken.
 */
static bool snapshot_barren(const struct memory *memory, uint64_t address, uint64_t size)
{
	struct snapshot_private *own = memory->context;
	const struct presence *presence = own->plan->presence;
	uint64_t page = presence->page, start = address / page * page;
	if (!spares(own, address, size) || start != (address + size - 1) / page * page)
		return false;
	_Atomic uint64_t *seen = &own->verified[start / page % G_N_ELEMENTS(own->verified)];
	if (atomic_load_explicit(seen, memory_order_relaxed) == start)
		return true;
	struct presence_sum sum = {0};
	g_autofree uint8_t *bytes = g_malloc(page);
	bool barren = presence_scan(presence, start, start + page, PRESENCE_CONTENT, NULL, &sum) &&
		      sum.content == page && pread(own->plan->mem, bytes, page, (off_t)start) == (ssize_t)page &&
		      !barren_keeps(&own->plan->ranges, bytes, page);
	if (barren)
		atomic_store_explicit(seen, start, memory_order_relaxed);
	return barren;
}

static bool snapshot_load(const struct memory *memory, const struct memory_region *region, uint64_t offset,
			  uint64_t size)
{
	struct snapshot_private *own = memory->context;
	if (region->spared) {
		bool there = !spares(own, region->start + offset, size);
		if (!there)
			own->missed = true;
		return there;
	}
	if (own->stream && own->plan->mappings[region->mapping].kind == PLAN_STREAM)
		return stream_load(own->stream, region, offset, size);
	struct lazy *lazy = region->mapping < own->plan->maps->n ? own->lazies[region->mapping] : NULL;
	return lazy && lazy_load(lazy, region->start + offset, size);
}

static uint64_t snapshot_content(const struct memory *memory, uint64_t address)
{
	const struct snapshot_private *own = memory->context;
	const struct mapping *mapping = maps_find(own->plan->maps, address);
	size_t i = mapping ? (size_t)(mapping - own->plan->maps->mappings) : 0;
	if (mapping && own->plan->mappings[i].kind == PLAN_STREAM)
		return stream_content(own->stream, i, address);
	if (!mapping || own->plan->mappings[i].kind != PLAN_ANONYMOUS)
		return address;
	/* the first copied run that ends behind it */
	const struct presence_run *runs = (const struct presence_run *)(const void *)own->copied->data;
	size_t i_run = SEARCH_UP_TO(runs, own->copied->len, end, address);
	uint64_t next = i_run < own->copied->len ? runs[i_run].start : UINT64_MAX;
	return MAX(address, MIN(next, mapping->end));
}

/* What barren chunks leave out, to own->spared, and to the target for the next time. */
static void spared_gather(snapshot_t *snapshot)
{
	struct snapshot_private *own = snapshot->private;
	const struct plan *plan = own->plan;
	uint64_t page = plan->presence->page;
	own->spared = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	GArray *barren = g_array_new(FALSE, FALSE, sizeof(struct barren_chunk));
	for (size_t k = 0; k < plan->n_chunks; k++) {
		const struct chunk *chunk = &plan->chunks[k];
		if (!chunk->barren)
			continue;
		struct barren_chunk noted = {chunk->start, chunk->kept};
		g_array_append_val(barren, noted);
		plan->mappings[chunk->mapping].spared = true;
		own->spared_bits[chunk->start / CHUNK_BYTES % SPARED_BITS / 64] |= 1ull
										   << chunk->start / CHUNK_BYTES % 64;
		struct presence_run run = {chunk->start, chunk->start};
		for (unsigned i = 0; i <= chunk->kept.n; i++) {
			run.end = i < chunk->kept.n ? chunk->start + chunk->kept.kept[i] * page : chunk->end;
			if (run.start < run.end)
				g_array_append_val(own->spared, run);
			snapshot->bytes_spared += run.end - run.start;
			run.start = run.end + page;
		}
	}
	if (plan->sparing && own->target->barren)
		g_array_unref(own->target->barren);
	if (plan->sparing)
		own->target->barren = barren;
	else
		g_array_unref(barren);
}

/* one region a mapping, less what couldn't be read */
static void regions_make(snapshot_t *snapshot)
{
	struct snapshot_private *own = snapshot->private;
	const struct plan *plan = own->plan;
	GArray *regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	guint c = 0, l = 0;
	for (uint32_t i = 0; i < plan->maps->n; i++) {
		const struct mapping *mapping = &plan->maps->mappings[i];
		const struct plan_mapping *planned = &plan->mappings[i];
		const struct presence_run *run;
		if (planned->kind == PLAN_FILE || planned->kind == PLAN_LAZY)
			own->lazies[i] = lazy_new(mapping, planned->file->fd,
						  planned->window->bytes + (mapping->start - planned->window->start));
		for (; (run = run_at(own->copied, c)) && run->start < mapping->end; c++) {
			snapshot->residence[i].copied += run->end - run->start;
			if (own->lazies[i])
				lazy_mark(own->lazies[i], run->start, run->end);
			if (planned->kind == PLAN_RESIDENT)
				region_add(regions, own, i, run->start, run->end);
		}
		uint64_t at = mapping->start;
		for (; (run = run_at(own->lost, l)) && run->start < mapping->end; l++) {
			if (planned->kind != PLAN_RESIDENT)
				region_add(regions, own, i, at, run->start);
			at = run->end;
		}
		if (planned->kind != PLAN_NOTHING && planned->kind != PLAN_RESIDENT)
			region_add(regions, own, i, at, mapping->end);
	}
	size_t n = regions->len;
	memory_init(&snapshot->memory, (struct memory_region *)(void *)g_array_free(regions, FALSE), n);
	snapshot->memory.load = snapshot_load;
	snapshot->memory.content = snapshot_content;
	if (own->spared->len)
		snapshot->memory.barren = snapshot_barren;
	snapshot->memory.context = own;
	if (own->stream)
		stream_attach(own->stream, &snapshot->memory);
}

/* resident bytes of what wasn't scanned for the copy, and of the process */
static void residence_fill(snapshot_t *snapshot)
{
	const struct plan *plan = snapshot->private->plan;
	for (size_t k = 0; k < plan->n_chunks; k++)
		snapshot->residence[plan->chunks[k].mapping].resident += plan->chunks[k].resident;
	for (size_t i = 0; i < plan->maps->n; i++) {
		const struct mapping *mapping = &plan->maps->mappings[i];
		if (plan->mappings[i].kind == PLAN_ANONYMOUS || plan->mappings[i].kind == PLAN_RESIDENT ||
		    !strncmp(mapping->path, "[v", 2))
			continue; /* [vvar] and [vdso] don't count as resident */
		struct presence_sum sum = {0};
		presence_scan(plan->presence, mapping->start, mapping->end, PRESENCE_RESIDENT, NULL, &sum);
		snapshot->residence[i].resident = sum.resident;
	}
	/* the same pages in sum; statm's figure is off by up to some dozen pages a CPU (kernel, mm/memory: per-CPU counters) */
	for (size_t i = 0; i < plan->maps->n; i++)
		snapshot->rss += snapshot->residence[i].resident;
}

void picture_make(snapshot_t *snapshot, const struct copy_result results[2])
{
	struct snapshot_private *own = snapshot->private;
	runs_gather(snapshot, results);
	windows_settle(own);
	snapshot->maps = own->plan->maps;
	snapshot->residence = g_new0(struct snapshot_residence, snapshot->maps->n);
	own->lazies = g_new0(struct lazy *, snapshot->maps->n);
	spared_gather(snapshot);
	regions_make(snapshot);
	residence_fill(snapshot);
}

/* What the lazy regions read from files stays in the windows, and must be known to be there. */
static void windows_note(struct snapshot_private *own)
{
	for (size_t i = 0; i < own->plan->maps->n; i++) {
		if (own->lazies[i])
			lazy_runs(own->lazies[i], own->plan->mappings[i].window->dirty);
	}
}

void snapshot_free(snapshot_t *snapshot)
{
	if (!snapshot)
		return;
	struct snapshot_private *own = snapshot->private;
	if (snapshot->release)
		snapshot->release(snapshot, snapshot->storage);
	if (own) {
		target_t *target = own->target;
		/* a snapshot that failed leaves windows in an unknown state */
		if (own->lazies) {
			windows_note(own);
			g_mutex_lock(&target->lock);
			if (!target->idle)
				target->idle = g_steal_pointer(&own->pool);
			g_mutex_unlock(&target->lock);
		}
		pool_free(own->pool);
		for (size_t i = 0; own->lazies && i < own->plan->maps->n; i++)
			lazy_free(own->lazies[i]);
		g_free(own->lazies);
		lazy_files_clear(&own->files);
		stream_free(own->stream);
		if (own->look)
			g_array_unref(own->look);
		if (own->copied)
			g_array_unref(own->copied);
		if (own->lost)
			g_array_unref(own->lost);
		if (own->spared)
			g_array_unref(own->spared);
		plan_free(own->plan); /* with the maps */
		g_free(own);
	}
	g_free(snapshot->memory.regions);
	g_free(snapshot->residence);
	g_free(snapshot->threads);
	g_free(snapshot);
}
