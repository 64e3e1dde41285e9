#include "daemon/target/copy.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/search.h"
#include "daemon/target/changes.h"

#define CHUNK CHUNK_BYTES
#define THREAD_HEAP                                                                                                    \
	(64ull << 20) /* glibc malloc/arena.c, HEAP_MAX_SIZE: a heap of a thread starts at a multiple of it */
#define PIECE       (1ull << 20)   /* bytes a call: larger ones aren't faster, smaller ones are slower */
#define PIECE_RUNS  256            /* runs a call, at most IOV_MAX */
#define SPARSE      (256ull << 20) /* mappings from this size on may be mostly empty: look before cutting them */
#define UNSCANNABLE (256ull << 30)
#define LOST_LIMIT  64 /* unreadable pages in a row after which the rest of a chunk isn't tried */

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static enum plan_kind classify(const struct mapping *mapping, enum snapshot_extent extent)
{
	const char *path = mapping->path;
	if (!mapping->readable)
		return PLAN_NOTHING;
	if (path[0] == '[') {
		/* [vvar] and [vdso] are the kernel's, and what else there may be one day is not a heap */
		if (!strcmp(path, "[heap]") || starts_with(path, "[anon:"))
			return PLAN_ANONYMOUS;
		return starts_with(path, "[stack") && extent == SNAPSHOT_ALL ? PLAN_ANONYMOUS : PLAN_NOTHING;
	}
	if (!path[0])
		return mapping->shared || mapping->inode ? PLAN_NOTHING : PLAN_ANONYMOUS;
	if (path[0] != '/')
		return PLAN_NOTHING; /* anon_inode:…, socket:… */
	if (mapping->shared)
		return mapping->writable || starts_with(path, "/dev/") ? PLAN_NOTHING : PLAN_LAZY;
	/* private mappings of these two are anonymous memory */
	if (!strcmp(path, "/dev/zero") || starts_with(path, "/anon_hugepage"))
		return PLAN_ANONYMOUS;
	if (starts_with(path, "/dev/") && !starts_with(path, "/dev/shm/"))
		return PLAN_NOTHING; /* device memory: reading it may do something */
	return PLAN_FILE;
}

static void plan_mapping(struct plan *plan, uint32_t i, struct lazy_files *files, enum snapshot_extent extent)
{
	const struct mapping *mapping = &plan->maps->mappings[i];
	struct plan_mapping *planned = &plan->mappings[i];
	planned->kind = classify(mapping, extent);
	/* without PAGEMAP_SCAN the kernel makes 2 MB of text of each GB of address space, empty or not */
	if (!plan->presence->scan && mapping->end - mapping->start > UNSCANNABLE)
		planned->kind = PLAN_NOTHING;
	if (planned->kind == PLAN_FILE || planned->kind == PLAN_LAZY) {
		planned->file = lazy_files_open(files, plan->pid, mapping);
		if (planned->file->device || (planned->file->fd < 0 && planned->kind == PLAN_LAZY))
			planned->kind = PLAN_NOTHING;
		else if (planned->file->fd < 0)
			planned->kind = PLAN_RESIDENT;
	}
	if (planned->kind == PLAN_NOTHING)
		return;
	planned->hugetlb = starts_with(mapping->path, "/anon_hugepage") || (planned->file && planned->file->hugetlb);
	planned->window = pool_window(plan->pool, mapping->start, mapping->end);
	if (planned->window)
		return;
	struct presence_sum sum = {0};
	if (planned->kind != PLAN_LAZY)
		presence_scan(plan->presence, mapping->start, mapping->end, PRESENCE_ANONYMOUS, NULL, &sum);
	plan->missing += sum.content;
	planned->kind = PLAN_NOTHING;
}

/* the first chunk of an earlier plan that starts at `address` or behind it; the end of its chunks if there is none */
static const struct chunk *chunk_from(const struct plan *before, uint64_t address)
{
	size_t low = 0, high = before ? before->n_chunks : 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (before->chunks[middle].start < address)
			low = middle + 1;
		else
			high = middle;
	}
	return before && low < before->n_chunks ? &before->chunks[low] : NULL;
}

static void chunk_add(GArray *chunks, uint32_t mapping, uint64_t start, uint64_t end)
{
	struct chunk chunk = {.start = start, .end = end, .mapping = mapping};
	if (start < end)
		g_array_append_val(chunks, chunk);
}

static void chunks_even(GArray *chunks, uint32_t mapping, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end;) {
		uint64_t until = MIN((at / CHUNK + 1) * CHUNK, end);
		chunk_add(chunks, mapping, at, until);
		at = until;
	}
}

/*
 * Of reserved address space, terabytes sometimes, most is empty: one chunk for each empty stretch, which is scanned in no time, and
 * even ones where there is something.
 */
static void chunks_sparse(const struct plan *plan, GArray *chunks, uint32_t mapping, uint64_t start, uint64_t end)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	struct presence_sum sum = {0};
	if (end - start < SPARSE || !presence_scan(plan->presence, start, end, PRESENCE_CONTENT, runs, &sum)) {
		chunks_even(chunks, mapping, start, end);
		return;
	}
	uint64_t at = start;
	for (guint i = 0; i < runs->len; i++) {
		const struct presence_run *run = &g_array_index(runs, struct presence_run, i);
		uint64_t from = MAX(run->start / CHUNK * CHUNK, at),
			 to = MIN((run->end + CHUNK - 1) / CHUNK * CHUNK, end);
		chunk_add(chunks, mapping, at, MIN(from, to));
		chunks_even(chunks, mapping, from, to);
		at = MAX(at, to);
	}
	chunk_add(chunks, mapping, at, end);
}

/* Cut a mapping into chunks, where an earlier plan has cut the same memory as it did. */
static void chunks_make(const struct plan *plan, GArray *chunks, uint32_t i, const struct plan *before)
{
	const struct mapping *mapping = &plan->maps->mappings[i];
	const struct chunk *old = chunk_from(before, mapping->start),
			   *end = before ? before->chunks + before->n_chunks : NULL;
	for (uint64_t at = mapping->start; at < mapping->end;) {
		if (old && old < end && old->start == at && old->end <= mapping->end) {
			g_array_append_vals(chunks, old, 1);
			g_array_index(chunks, struct chunk, chunks->len - 1).mapping = i;
			at = old++->end;
			continue;
		}
		while (old && old < end && old->start <= at)
			old++;
		uint64_t until = old && old < end && old->start < mapping->end ? old->start : mapping->end;
		chunks_sparse(plan, chunks, i, at, until);
		at = until;
	}
}

static void plan_chunks(struct plan *plan, const struct plan *before)
{
	GArray *chunks = g_array_new(FALSE, FALSE, sizeof(struct chunk));
	for (uint32_t i = 0; i < plan->maps->n; i++) {
		if (plan->mappings[i].kind != PLAN_NOTHING && plan->mappings[i].kind != PLAN_LAZY)
			chunks_make(plan, chunks, i, before);
	}
	plan->n_chunks = chunks->len;
	plan->chunks = (struct chunk *)(void *)g_array_free(chunks, FALSE);
}

struct plan *plan_new(pid_t pid, int mem, const struct presence *presence, struct pool *pool, struct lazy_files *files,
		      struct maps *maps, enum snapshot_extent extent, const struct plan *before)
{
	struct plan *plan = g_new0(struct plan, 1);
	*plan = (struct plan){.pid = pid, .mem = mem, .presence = presence, .pool = pool, .maps = maps};
	plan->mappings = g_new0(struct plan_mapping, maps->n);
	pool_begin(pool);
	for (uint32_t i = 0; i < maps->n; i++)
		plan_mapping(plan, i, files, extent);
	plan_chunks(plan, before);
	return plan;
}

void plan_stream(struct plan *plan)
{
	size_t n = 0;
	for (size_t k = 0; k < plan->n_chunks; k++) {
		if (plan->mappings[plan->chunks[k].mapping].kind != PLAN_ANONYMOUS)
			plan->chunks[n++] = plan->chunks[k];
	}
	plan->n_chunks = n;
	for (uint32_t i = 0; i < plan->maps->n; i++) {
		if (plan->mappings[i].kind == PLAN_ANONYMOUS)
			plan->mappings[i] = (struct plan_mapping){.kind = PLAN_STREAM};
	}
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	maps_free(plan->maps);
	g_free(plan->mappings);
	g_free(plan->chunks);
	g_free(plan);
}

static int64_t clock_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static struct chunk *work_next(struct work *work)
{
	if (atomic_load_explicit(&work->stop, memory_order_relaxed))
		return NULL;
	size_t i = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed),
	       end = work->limit ? work->limit : work->plan->n_chunks;
	if (i < end && work->deadline_ns && clock_now() > work->deadline_ns) {
		work->late = true;
		work->stop = true;
		return NULL;
	}
	return i < end ? &work->plan->chunks[i] : NULL;
}

static bool chunk_scan(const struct plan *plan, const struct chunk *chunk, GArray *runs, struct presence_sum *sum)
{
	/* a writable page of a file mapping that was never written to is the file's: only the others are the process's own */
	enum presence_filter filter =
		plan->mappings[chunk->mapping].kind == PLAN_FILE ? PRESENCE_ANONYMOUS : PRESENCE_CONTENT;
	g_array_set_size(runs, 0);
	return presence_scan(plan->presence, chunk->start, chunk->end, filter, runs, sum);
}

static void chunk_look(const struct plan *plan, struct chunk *chunk, const GArray *runs)
{
	const struct presence_run *run = (const struct presence_run *)(const void *)runs->data;
	chunk->prepared = true;
	chunk->shared = presence_shared(plan->presence, run, runs->len);
	chunk->samples[0] = chunk->samples[1] = 0;
	if (!chunk->shared && runs->len) {
		const struct presence_run *middle = &run[runs->len / 2];
		chunk->samples[0] = run[0].start;
		chunk->samples[1] =
			middle->start + (middle->end - middle->start) / plan->presence->page / 2 * plan->presence->page;
	}
}

/* Append, or lengthen the last run; but runs don't cross the border of the chunk, which may be that of a mapping. */
static void run_append(GArray *runs, const struct chunk *chunk, uint64_t start, uint64_t end)
{
	struct presence_run *last = runs->len ? &g_array_index(runs, struct presence_run, runs->len - 1) : NULL;
	if (last && last->end == start && last->start >= chunk->start) {
		last->end = end;
		return;
	}
	struct presence_run run = {start, end};
	g_array_append_val(runs, run);
}

/* Find out whether a chunk that is there as a whole is needed. `runs`: its pages, of which those that are stay. */
static void chunk_spare(const struct plan *plan, struct chunk *chunk, GArray *runs, const struct presence_sum *sum)
{
	uint64_t page = plan->presence->page, size = chunk->end - chunk->start;
	const struct mapping *mapping = &plan->maps->mappings[chunk->mapping];
	/*
	 * What a mapping begins with tells what it is. In malloc's heaps, the main one and those of threads, the heads of its blocks lie anywhere, and are
	 * needed to walk it; blocks above 32 MB are never in one.
	 */
	if (!plan->sparing || size != CHUNK || sum->content != size || chunk->start == mapping->start ||
	    plan->mappings[chunk->mapping].kind != PLAN_ANONYMOUS || mapping->path[0] ||
	    mapping->start % THREAD_HEAP == 0)
		return;
	bool looked = chunk->barren;
	const struct barren_chunk *before =
		plan->barren ? (const struct barren_chunk *)(const void *)plan->barren->data : NULL;
	size_t n = before ? SEARCH_UP_TO(before, plan->barren->len, start, chunk->start) : 0;
	bool known = n && before[n - 1].start == chunk->start;
	chunk->barren = looked || barren_look(plan->pid, plan->mem, chunk->shared, &plan->ranges, chunk->start,
					      chunk->end, page, known ? &before[n - 1].kept : NULL, &chunk->kept);
	if (!chunk->barren)
		return;
	chunk->resident = sum->resident;
	g_array_set_size(runs, 0);
	for (unsigned i = 0; i < chunk->kept.n; i++) {
		uint64_t start = chunk->start + chunk->kept.kept[i] * page;
		run_append(runs, chunk, start, start + page);
	}
}

/* The pages of a barren chunk that are copied, as far as they are still there. */
static bool chunk_kept(const struct plan *plan, const struct chunk *chunk, GArray *runs)
{
	struct presence_sum sum = {0};
	g_array_set_size(runs, 0);
	for (unsigned i = 0; i < chunk->kept.n; i++) {
		uint64_t start = chunk->start + chunk->kept.kept[i] * plan->presence->page;
		if (!presence_scan(plan->presence, start, start + plan->presence->page, PRESENCE_CONTENT, runs, &sum))
			return false;
	}
	return true;
}

void plan_prepare(struct work *work)
{
	struct plan *plan = work->plan;
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	struct chunk *chunk;
	while ((chunk = work_next(work))) {
		struct presence_sum sum = {0};
		if (!chunk_scan(plan, chunk, runs, &sum)) {
			work->stop = true;
			return;
		}
		chunk_look(plan, chunk, runs);
		chunk_spare(plan, chunk, runs, &sum);
		chunk->content = chunk->barren ? chunk->kept.n * plan->presence->page : sum.content;
		uint64_t bytes = __atomic_add_fetch(&plan->bytes, chunk->content, __ATOMIC_RELAXED);
		if (!work->most) {
			pool_populate(plan->pool, plan->mappings[chunk->mapping].window,
				      (const struct presence_run *)(const void *)runs->data, runs->len);
		} else if (bytes > work->most) {
			work->late = true;
			work->stop = true;
			return;
		}
	}
}

void copy_result_init(struct copy_result *result)
{
	memset(result, 0, sizeof(*result));
	result->copied = g_array_sized_new(FALSE, FALSE, sizeof(struct presence_run), 4096);
	result->lost = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
}

void copy_result_clear(struct copy_result *result)
{
	g_array_unref(result->copied);
	g_array_unref(result->lost);
}

/* where a chunk is read from, and to */
struct copier {
	const struct plan *plan;
	const struct chunk *chunk;
	uint8_t *bytes; /* what mirrors chunk->start */
	struct copy_result *result;
};

/* the next piece of the runs: filled into `pieces`, at most PIECE bytes; moves *at and *i forward. Returns how many. */
static int runs_piece(const GArray *runs, guint *i, uint64_t *at, struct iovec pieces[PIECE_RUNS], uint64_t *size)
{
	int n = 0;
	*size = 0;
	while (*i < runs->len && n < PIECE_RUNS && *size < PIECE) {
		const struct presence_run *run = &g_array_index(runs, struct presence_run, *i);
		uint64_t from = MAX(*at, run->start), to = MIN(run->end, from + (PIECE - *size));
		pieces[n++] = (struct iovec){(void *)(uintptr_t)from, to - from};
		*size += to - from;
		*at = to;
		if (to == run->end)
			(*i)++;
	}
	return n;
}

/* Read the pieces; returns bytes read in order before the first failure, with errno set if that is less than all. */
static uint64_t pieces_read(const struct copier *copier, const struct iovec *pieces, int n)
{
	const struct chunk *chunk = copier->chunk;
	if (!chunk->shared) {
		struct iovec local[PIECE_RUNS];
		for (int i = 0; i < n; i++)
			local[i] = (struct iovec){copier->bytes + ((uintptr_t)pieces[i].iov_base - chunk->start),
						  pieces[i].iov_len};
		ssize_t got = process_vm_readv(copier->plan->pid, local, (unsigned long)n, pieces, (unsigned long)n, 0);
		if (got >= 0)
			errno = EFAULT;
		return got < 0 ? 0 : (uint64_t)got;
	}
	uint64_t done = 0;
	for (int i = 0; i < n; i++) {
		uint64_t from = (uintptr_t)pieces[i].iov_base, size = pieces[i].iov_len, have = 0;
		while (have < size) {
			ssize_t got = pread(copier->plan->mem, copier->bytes + (from + have - chunk->start),
					    size - have, (off_t)(from + have));
			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0) {
				errno = got ? errno : ESRCH; /* 0: that address space is gone */
				return done + have;
			}
			have += (uint64_t)got;
		}
		done += size;
	}
	return done;
}

/* Note the first `got` bytes of the pieces as copied; the address behind them to *stopped. */
static void pieces_note(const struct copier *copier, const struct iovec *pieces, int n, uint64_t got, uint64_t *stopped)
{
	copier->result->bytes += got;
	for (int i = 0; i < n; i++) {
		uint64_t from = (uintptr_t)pieces[i].iov_base, part = MIN(got, pieces[i].iov_len);
		if (part)
			run_append(copier->result->copied, copier->chunk, from, from + part);
		*stopped = from + part;
		if (part < pieces[i].iov_len)
			return;
		got -= part;
	}
}

/* Copy the runs of a chunk. False: the process is gone. */
static bool chunk_read(const struct copier *copier, const GArray *runs)
{
	struct iovec pieces[PIECE_RUNS];
	uint64_t page = copier->plan->presence->page, at = 0, size;
	guint i = 0, lost = 0;
	int n;
	while ((n = runs_piece(runs, &i, &at, pieces, &size))) {
		uint64_t got = pieces_read(copier, pieces, n), stopped = 0;
		int number = errno;
		/* a page is there as a whole or not at all */
		got = got == size ? size : got / page * page;
		pieces_note(copier, pieces, n, got, &stopped);
		if (got == size) {
			lost = 0;
			continue;
		}
		if (number == ESRCH || number == EPERM) {
			copier->result->failure = number;
			return false;
		}
		/* the page at `stopped` can't be read: go on behind it */
		lost = got ? 1 : lost + 1;
		copier->result->missing += page;
		run_append(copier->result->lost, copier->chunk, stopped, stopped + page);
		at = stopped + page;
		for (i = 0; i < runs->len && g_array_index(runs, struct presence_run, i).end <= at;)
			i++;
		while (lost >= LOST_LIMIT && i < runs->len) {
			const struct presence_run *run = &g_array_index(runs, struct presence_run, i++);
			run_append(copier->result->lost, copier->chunk, MAX(at, run->start), run->end);
			copier->result->missing += run->end - MAX(at, run->start);
		}
	}
	return true;
}

/* ---- chunk by chunk ---- */

/* what was copied from `first` on is in the window */
static void note_valid(const struct plan *plan, const struct chunk *chunk, const struct copy_result *result,
		       guint first)
{
	struct window *window = plan->mappings[chunk->mapping].window;
	for (guint i = first; i < result->copied->len; i++) {
		const struct presence_run *run = &g_array_index(result->copied, struct presence_run, i);
		pool_set_valid(window, run->start, run->end, plan->presence->page, true);
	}
}

/* The tables of pages that the runs are of, before anything is copied from there. */
static void note_frames(const struct plan *plan, const struct chunk *chunk, const GArray *runs)
{
	struct window *window = plan->mappings[chunk->mapping].window;
	for (guint i = 0; i < runs->len; i++) {
		const struct presence_run *run = &g_array_index(runs, struct presence_run, i);
		for (uint64_t at = run->start; at < run->end; at = (at / POOL_TABLE + 1) * POOL_TABLE)
			changes_note_frame(plan, window, at);
	}
}

/* Look at a chunk again, just before it is copied. False: the process is gone. */
static bool chunk_ready(const struct work *work, struct chunk *chunk, const GArray *runs)
{
	const struct plan *plan = work->plan;
	if (!chunk->prepared)
		chunk_look(plan, chunk, runs);
	for (int i = 0; i < 2 && !chunk->shared; i++) {
		/* did it fork since that was looked at? */
		struct presence_run page = {chunk->samples[i], chunk->samples[i] + plan->presence->page};
		chunk->shared = page.start && presence_shared(plan->presence, &page, 1);
	}
	return true;
}

static bool chunk_copy(const struct work *work, struct chunk *chunk, GArray *runs, GArray *changes,
		       struct copy_result *result)
{
	const struct plan *plan = work->plan;
	struct presence_sum sum = {0};
	guint before = result->copied->len;
	bool rest = work->pages == WORK_REST;
	g_autoptr(GArray) right = rest ? g_array_new(FALSE, FALSE, sizeof(struct presence_run)) : NULL;
	bool good = chunk->barren             ? chunk_kept(plan, chunk, runs)
		    : work->pages == WORK_ALL ? chunk_scan(plan, chunk, runs, &sum)
					      : changes_find(work, chunk, changes, runs, right, &sum);
	if (!good) {
		result->failure = ESRCH;
		return false;
	}
	if (!chunk->barren)
		chunk->resident = sum.resident;
	if (!runs->len && !right)
		return true;
	if (runs->len)
		chunk_ready(work, chunk, runs);
	if (work->soft_dirty)
		note_frames(plan, chunk, runs);
	const struct window *window = plan->mappings[chunk->mapping].window;
	struct copier copier = {plan, chunk, window->bytes + (chunk->start - window->start), result};
	if (runs->len && !chunk_read(&copier, runs))
		return false;
	if (work->pages != WORK_ALL)
		note_valid(plan, chunk, result, before);
	if (right)
		g_array_append_vals(result->copied, right->data, right->len);
	return true;
}

void plan_copy(struct work *work, struct copy_result *result)
{
	g_autoptr(GArray) runs = g_array_sized_new(FALSE, FALSE, sizeof(struct presence_run), CHUNK / 4096 / 2 + 1);
	g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct presence_change));
	struct chunk *chunk;
	while ((chunk = work_next(work))) {
		if (!chunk_copy(work, chunk, runs, changes, result)) {
			work->stop = true;
			return;
		}
	}
}
