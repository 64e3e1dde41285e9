#include "daemon/source/live.h"

#include <malloc.h>
#include <string.h>

#include "base/error.h"
#include "daemon/analysis/histogram.h"
#include "daemon/analysis/memory_parts.h"
#include "daemon/source/live_private.h"
#include "daemon/target/core.h"
#include "daemon/target/image.h"
#include "daemon/target/process.h"

/*
 * The collector's lists of a target met in the middle of a collection are headed on a C stack. Where only the lists are
 * walked the target is looked at again: it is a matter of a few milliseconds, unless the target does nothing but
 * collect; then what was got is used. The census of all objects finds them whatever list they are in, and costs the
 * target no second stop.
 */
#define COLLECTION_TRIES   5
#define COLLECTION_WAIT_US 3000

#define TRACER_LOOK_US 2000

#define LARGE (256 * 1024) /* bytes */

static const char *const mode_names[] = {
	[SNAPSHOT_QUIET] = "quiet",     [SNAPSHOT_STOP] = "stop",
	[SNAPSHOT_PRECOPY] = "precopy", [SNAPSHOT_NONBLOCKING] = "nonblocking",
	[SNAPSHOT_CORE] = "core",       [SNAPSHOT_IMAGE] = "image",
};

static const char *const layout_names[] = {
	[LAYOUT_DWARF] = "dwarf",
	[LAYOUT_DEBUG_OFFSETS] = "debug_offsets",
	[LAYOUT_BUILTIN] = "builtin",
};

void live_describe_target(const struct live *live, const snapshot_t *snapshot, sample_t *sample)
{
	const interpreter_t *python = target_interpreter(live->target);
	struct sample_target *target = &sample->target;
	target->pid = target_pid(live->target);
	target->start_time_us = target_start_time(live->target);
	target->exe = sample_text(sample, target_exe(live->target));
	sample_cmdline(sample, target_cmdline(live->target));
	target->python = sample_text(sample, python->version_text);
	target->debug = python->debug;
	target->free_threaded = python->free_threaded;
	target->layout = layout_names[python->origin];
	target->rss = (int64_t)snapshot->rss;
}

void live_describe_snapshot(const snapshot_t *snapshot, const char *coverage, sample_t *sample)
{
	sample->time_us = snapshot->time_us;
	sample->snapshot = (struct sample_snapshot){
		.mode = mode_names[snapshot->mode],
		.consistent = snapshot->consistent,
		.coverage = coverage,
		.pause_us = snapshot->pause_us,
		.elapsed_us = snapshot->elapsed_us,
		.bytes_copied = (int64_t)snapshot->bytes_copied,
		.walk_us = snapshot->resumed_us ? g_get_monotonic_time() - snapshot->resumed_us : SAMPLE_UNKNOWN,
		.torn = SAMPLE_UNKNOWN,
		.streamed = snapshot->streamed,
	};
}

/*
 * A process has one tracer at a time. Another reftop is one for milliseconds only (a recording next to a view), a debugger for longer.
 * After a refusal: whether to try again, until `until` (monotonic) and one time after the tracer has gone.
 */
gboolean live_tracer_may_go(pid_t pid, gint64 until, gboolean *gone)
{
	struct process process;
	if (*gone || g_get_monotonic_time() > until || !process_read(pid, &process))
		return FALSE;
	*gone = !process.tracer;
	g_usleep(TRACER_LOOK_US);
	return TRUE;
}

static target_t *open_patiently(pid_t pid, GError **error)
{
	gint64 until = g_get_monotonic_time() + LIVE_TRACER_WAIT_US;
	for (gboolean gone = FALSE;;) {
		g_autoptr(GError) problem = NULL;
		target_t *target = target_open(pid, &problem);
		if (target)
			return target;
		if (problem->code != REFTOP_ERROR_DENIED || !live_tracer_may_go(pid, until, &gone)) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return NULL;
		}
	}
}

static snapshot_t *snapshot_patiently(struct live *live, const struct snapshot_options *options, GError **error)
{
	gint64 until = g_get_monotonic_time() + LIVE_TRACER_WAIT_US;
	for (gboolean gone = FALSE;;) {
		g_autoptr(GError) problem = NULL;
		snapshot_t *snapshot = target_snapshot(live->target, options, &problem);
		if (snapshot)
			return snapshot;
		if (problem->code != REFTOP_ERROR_DENIED ||
		    !live_tracer_may_go(target_pid(live->target), until, &gone)) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return NULL;
		}
	}
}

static uint64_t memory_limit(const struct live *live)
{
	if (live->options.memory)
		return (uint64_t)live->options.memory;
	if (live->options.nonblocking)
		return LIVE_PIECES;
	g_autofree char *text = NULL;
	g_file_get_contents("/proc/meminfo", &text, NULL, NULL);
	const char *available = text ? strstr(text, "MemAvailable:") : NULL;
	return available ? g_ascii_strtoull(available + strlen("MemAvailable:"), NULL, 10) * 1024 / 2 : 0;
}

snapshot_t *live_take_snapshot(struct live *live, enum snapshot_extent extent, heap_t **heap, GError **error)
{
	/* what is watched is read on its own */
	bool watches = live->watched && live->watched->len;
	struct snapshot_options options = {.extent = extent,
					   .sparing = !live->needs_all && !watches,
					   .nonblocking = live->options.nonblocking,
					   .precopy = live->options.precopy,
					   .keep_tracking = live->options.again,
					   .stream_limit = memory_limit(live),
					   .max_pause_us = live->options.max_pause_us};
	int64_t pause_us = 0;
	for (int tries = 1;; tries++) {
		g_autoptr(snapshot_t) snapshot = snapshot_patiently(live, &options, error);
		if (!snapshot)
			return NULL;
		pause_us += MAX(snapshot->pause_us, 0);
		g_autoptr(GError) problem = NULL;
		*heap = heap_open(&snapshot->memory, snapshot->maps, target_interpreter(live->target), &problem);
		if (snapshot_missed(snapshot)) {
			live->needs_all = TRUE;
			options.sparing = false;
			g_clear_pointer(heap, heap_free);
			continue;
		}
		/* what was copied while the target ran may not fit together; the next copy may */
		if (!*heap && !snapshot->consistent && tries < COLLECTION_TRIES)
			continue;
		if (!*heap) {
			g_propagate_error(error, g_steal_pointer(&problem));
			target_incomplete(live->target, error);
			return NULL;
		}
		if (!live->options.gc_only || !(*heap)->collecting || tries == COLLECTION_TRIES) {
			/* what all the looks together cost the target */
			if (snapshot->pause_us >= 0)
				snapshot->pause_us = pause_us;
			return g_steal_pointer(&snapshot);
		}
		g_clear_pointer(heap, heap_free);
		g_usleep(COLLECTION_WAIT_US);
	}
}

/* What malloc grows has a name or a look; its other arenas and large blocks have neither. */
static enum memory_kind kind_of(const struct memory *memory, const struct mapping *mapping)
{
	if (mapping->inode)
		return MEMORY_FILE;
	return glibc_is_main_heap(memory, mapping) ? MEMORY_HEAP : MEMORY_ANONYMOUS;
}

static int64_t resident_bytes(void *context, uint64_t start, uint64_t end)
{
	return (int64_t)snapshot_resident(context, start, end);
}

static void describe_memory(const snapshot_t *snapshot, const struct histogram_memory *memory, sample_t *sample)
{
	g_autofree struct memory_span *spans = g_new0(struct memory_span, snapshot->maps->n + 1);
	for (size_t i = 0; i < snapshot->maps->n; i++) {
		const struct mapping *mapping = &snapshot->maps->mappings[i];
		spans[i] = (struct memory_span){mapping->start, mapping->end, kind_of(&snapshot->memory, mapping), 0};
	}
	for (size_t i = 0; i < snapshot->memory.n_regions; i++) {
		uint32_t mapping = snapshot->memory.regions[i].mapping;
		if (mapping < snapshot->maps->n)
			spans[mapping].object_bytes += memory->region_bytes[i];
	}
	sample->totals.has_memory = true;
	sample->totals.memory = memory_parts(&memory->census, spans, snapshot->maps->n, (int64_t)snapshot->rss,
					     resident_bytes, (void *)snapshot);
}

/* What was born and died since the sample before; unknown in the first one, and where there are too many objects. */
static void describe_turnover(struct live *live, population_t *now, sample_t *sample)
{
	size_t n = 0;
	sample->has_turnover = live->population && now;
	g_autofree struct turnover *rows = sample->has_turnover ? population_compare(live->population, now, &n) : NULL;
	g_autoptr(GHashTable) by_type = g_hash_table_new(NULL, NULL);
	for (size_t i = 0; i < n; i++)
		g_hash_table_insert(by_type, GSIZE_TO_POINTER(rows[i].type), &rows[i]);
	for (size_t i = 0; i < sample->n_types && sample->has_turnover; i++) {
		struct sample_type *type = &sample->types[i];
		const struct turnover *row = g_hash_table_lookup(by_type, GSIZE_TO_POINTER(type->address));
		type->born = row ? row->born : 0;
		type->died = row ? row->died : 0;
	}
	population_free(live->population);
	live->population = now;
	/* a list of all objects and what it was made from are tens of megabytes that nobody needs until the next sample */
	malloc_trim(0);
}

sample_t *live_make_sample(struct live *live, snapshot_t *snapshot, heap_t *heap, audit_t *audit, GError **error)
{
	g_autoptr(sample_t) sample = sample_new();
	uint64_t sought[SOURCE_WATCHES];
	bool found[SOURCE_WATCHES] = {false};
	struct histogram_also also = {.locate = live->options.turnover && live->most_located,
				      .most_objects = live->most_located,
				      .sought = sought,
				      .found = found,
				      .n_sought = live_watch_sought(live, sought)};
	enum census_coverage coverage = live->options.gc_only ? CENSUS_GC : CENSUS_ALL;
	struct histogram_memory memory;
	if (!histogram_take(heap, coverage, sample, &memory, &also, error))
		return NULL;
	if (coverage == CENSUS_ALL && !target_is_file(live->target))
		describe_memory(snapshot, &memory, sample);
	if (snapshot_missed(snapshot)) {
		live->needs_all = TRUE;
		histogram_memory_clear(&memory);
		population_free(also.population);
		return NULL;
	}
	live_watch_fill(live, heap, &memory.census, found, audit, sample);
	int64_t damaged = memory.census.damaged + sample->totals.unreadable;
	histogram_memory_clear(&memory);
	snapshot_settle(snapshot);
	if (live->options.turnover)
		describe_turnover(live, also.population, sample);
	live_describe_target(live, snapshot, sample);
	live_describe_snapshot(snapshot, coverage == CENSUS_GC ? "gc" : "all", sample);
	if (!snapshot->consistent)
		sample->snapshot.torn = damaged;
	sample_seal(sample);
	return g_steal_pointer(&sample);
}

/* A sample of nothing: the reason is all there is. */
static sample_t *make_skipped(const struct live *live, const GError *why)
{
	sample_t *sample = sample_new();
	const snapshot_t none = {.rss = (uint64_t)SAMPLE_UNKNOWN};
	g_auto(GStrv) lines = g_strsplit(why->message, "\n", -1);
	const char *cause = lines[0] && lines[1] ? strstr(lines[1], "cause: ") : NULL;
	live_describe_target(live, &none, sample);
	sample->time_us = g_get_real_time();
	sample->snapshot.mode = "skipped";
	sample->snapshot.coverage = live->options.gc_only ? "gc" : "all";
	sample->snapshot.skipped = sample_text(sample, cause ? cause + strlen("cause: ") : why->message);
	struct sample_totals *totals = &sample->totals;
	totals->objects = totals->gc_objects = totals->bytes = totals->refs = totals->immortal = totals->unreadable =
		SAMPLE_UNKNOWN;
	sample_seal(sample);
	return sample;
}

static sample_t *live_next(source_t *source, GError **error)
{
	struct live *live = (struct live *)source;
	g_autoptr(GError) problem = NULL;
	sample_t *sample = NULL;
	int64_t paused_us = 0;
	for (bool again = true; again;) {
		g_autoptr(heap_t) heap = NULL;
		g_autoptr(snapshot_t) snapshot = live_take_snapshot(live, SNAPSHOT_HEAP, &heap, &problem);
		if (!snapshot)
			break;
		/* what both cost, if there is a second one */
		if (snapshot->pause_us >= 0)
			snapshot->pause_us = paused_us += snapshot->pause_us;
		sample = live_make_sample(live, snapshot, heap, NULL, &problem);
		again = !sample && !problem;
	}
	if (problem && problem->domain == TARGET_ERROR && problem->code == REFTOP_ERROR_SKIPPED)
		return make_skipped(live, problem);
	if (problem)
		g_propagate_error(error, g_steal_pointer(&problem));
	if (live->options.lean) {
		target_relax(live->target);
		malloc_trim(0);
	}
	return sample;
}

static int64_t live_paused(source_t *source)
{
	return target_paused_us(((struct live *)source)->target);
}

static gboolean live_alive(source_t *source)
{
	return target_alive(((struct live *)source)->target);
}

static void live_free(source_t *source)
{
	struct live *live = (struct live *)source;
	live_forget(source);
	target_free(live->target);
	leaks_look_free(live->look);
	population_free(live->population);
	live_watch_free(live);
	g_free(live);
}

static const struct source_ops live_ops = {
	.name = "live",
	.next = live_next,
	.alive = live_alive,
	.paused = live_paused,
	.free = live_free,
	.leaks = live_leaks,
	.explain = live_explain,
	.explain_all = live_explain_all,
	.instances = live_instances,
	.assess = live_assess,
	.watch = live_watch,
	.forget = live_forget,
	.stacks = live_stacks,
};

static source_t *live_new(target_t *target, const struct live_options *options)
{
	struct live *live = g_new0(struct live, 1);
	live->source.ops = &live_ops;
	live->target = target;
	live->options = *options;
	live->most_located = LIVE_MOST_LOCATED;
	if (options->again) {
		/*
		 * What a sample takes goes back to the kernel as soon as it is freed: the C library would learn from the first one to keep tens of
		 * megabytes in each thread's arena.
		 */
		mallopt(M_MMAP_THRESHOLD, LARGE);
		mallopt(M_TRIM_THRESHOLD, LARGE);
	}
	return &live->source;
}

void source_live_locate(source_t *source, size_t most)
{
	((struct live *)source)->most_located = MIN(most, LIVE_MOST_LOCATED);
}

void source_live_relax(source_t *source)
{
	target_relax(((struct live *)source)->target);
}

source_t *source_file_new(const struct file_options *file, const struct live_options *options, GError **error)
{
	const struct core_options core = {file->path, file->exe, file->sysroot};
	target_t *target = target_open_file(&core, error);
	return target ? live_new(target, options) : NULL;
}

gboolean source_save(source_t *source, int fd, uint64_t *bytes, int64_t *pause_us, GError **error)
{
	struct live *live = (struct live *)source;
	g_autoptr(heap_t) heap = NULL;
	g_autoptr(snapshot_t) snapshot = live_take_snapshot(live, SNAPSHOT_ALL, &heap, error);
	if (!snapshot)
		return FALSE;
	*pause_us = snapshot->pause_us;
	bool good = image_save(fd, live->target, snapshot, bytes, error);
	g_clear_pointer(&heap, heap_free);
	return good;
}

source_t *source_live_new(pid_t pid, const struct live_options *options, GError **error)
{
	g_autoptr(target_t) target = open_patiently(pid, error);
	return target ? live_new(g_steal_pointer(&target), options) : NULL;
}
