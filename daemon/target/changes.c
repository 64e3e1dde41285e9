#include "daemon/target/changes.h"

#include <string.h>
#include <unistd.h>

#include "daemon/target/track.h"

#define TABLE      POOL_TABLE
#define SAMPLE     64 /* bytes of a page by which a table is known again */
#define FRAME_BITS 9  /* of what pool_frame() has, for which page of the table it is */

/* a chunk whose pages are told apart */
struct sift {
	const struct work *work;
	const struct plan *plan;
	const struct chunk *chunk;
	struct window *window;
	GArray *runs, *right;
	uint64_t table; /* the last one that was looked at; UINT64_MAX: none */
	bool moved;     /* it was moved there */
};

/* A page in a file mapping that was never written to is the file's: only the others are the process's own. */
static enum presence_filter filter_of(const struct plan *plan, const struct chunk *chunk)
{
	return plan->mappings[chunk->mapping].kind == PLAN_FILE ? PRESENCE_ANONYMOUS : PRESENCE_CONTENT;
}

/* Whether the table that `address` is in is the one that was noted; `known` says what of one that never was. */
static bool is_noted(const struct plan *plan, struct window *window, uint64_t address, bool known)
{
	uint64_t noted = *pool_frame(window, address), page = noted % (1u << FRAME_BITS) * plan->presence->page;
	return noted ? presence_frame(plan->presence, address / TABLE * TABLE + page) == noted >> FRAME_BITS : known;
}

void changes_note_frame(const struct plan *plan, struct window *window, uint64_t address)
{
	_Atomic uint64_t *noted = pool_frame(window, address);
	uint64_t table = address / TABLE * TABLE, page = plan->presence->page;
	if (is_noted(plan, window, address, false))
		return;
	/* what was copied from another table is not of this one */
	if (*noted)
		pool_set_valid(window, MAX(table, window->start), MIN(table + TABLE, window->end), page, false);
	uint64_t frame = presence_frame(plan->presence, address);
	*noted = frame ? frame << FRAME_BITS | (address - table) / page : 0;
}

static bool has_other_bytes(const struct sift *sift, uint64_t address)
{
	uint8_t bytes[SAMPLE];
	return pread(sift->plan->mem, bytes, sizeof(bytes), (off_t)address) != sizeof(bytes) ||
	       memcmp(bytes, sift->window->bytes + (address - sift->window->start), sizeof(bytes)) != 0;
}

/*
 * mremap() moves whole tables of pages, and leaves their soft-dirty bits as they were (Linux mm/mremap.c, move_normal_pmd()): what lies at these
 * addresses now isn't what was copied from there, though nobody wrote to it. Such a table has other frames; where those can't be known its
 * first bytes may tell.
 */
static bool was_moved(struct sift *sift, uint64_t address)
{
	if (!sift->work->soft_dirty || sift->table == address / TABLE)
		return sift->moved;
	sift->table = address / TABLE;
	sift->moved = !is_noted(sift->plan, sift->window, address, true) || has_other_bytes(sift, address);
	return sift->moved;
}

/* Pages [start, end) that are in the window, and weren't written to since. */
static void add_right(struct sift *sift, uint64_t start, uint64_t end)
{
	for (uint64_t until; start < end; start = until) {
		until = MIN((start / TABLE + 1) * TABLE, end);
		presence_run_add(was_moved(sift, start) ? sift->runs : sift->right, start, until);
	}
}

/* Pages [start, end) weren't written to since: those that aren't in the window for some reason are needed nevertheless, others are right. */
static void add_clean(struct sift *sift, uint64_t start, uint64_t end)
{
	uint64_t page = sift->plan->presence->page;
	while (start < end) {
		bool valid = pool_valid(sift->window, start, page);
		uint64_t until = pool_valid_end(sift->window, start, end, page);
		if (!valid)
			presence_run_add(sift->runs, start, until);
		else if (sift->right)
			add_right(sift, start, until);
		start = until;
	}
}

/*
 * The same for pages that presence_unprotected() didn't list: one page tells whether there is a table of pages for its 2 MB at all. If
 * there is, all that isn't listed of it is there. There is one where something is listed: at `listed` on either side.
 */
static void add_unlisted(struct sift *sift, uint64_t start, uint64_t end, const uint64_t listed[2],
			 struct presence_sum *sum)
{
	const struct presence *presence = sift->plan->presence;
	while (start < end) {
		uint64_t table = start / TABLE, until = MIN((table + 1) * TABLE, end);
		if (table == listed[0] / TABLE || table == listed[1] / TABLE || presence_at(presence, start)) {
			add_clean(sift, start, until);
			if (sift->work->swapped)
				presence_scan(presence, start, until, PRESENCE_RESIDENT, NULL, sum);
			else
				sum->resident += until - start;
		}
		start = until;
	}
}

/* ---- asynchronous write protection ---- */

/* While the target runs. */
static bool protected_round(struct sift *sift, GArray *changes, struct presence_sum *sum)
{
	const struct plan *plan = sift->plan;
	const struct chunk *chunk = sift->chunk;
	enum presence_filter filter = filter_of(plan, chunk);
	if (!presence_protect(plan->presence, chunk->start, chunk->end, filter, changes))
		return false;
	for (guint i = 0; i < changes->len; i++) {
		const struct presence_change *change = &g_array_index(changes, struct presence_change, i);
		/* whatever they hold now, it isn't what the window has */
		pool_set_valid(sift->window, change->start, change->end, plan->presence->page, false);
		if (sift->work->pages == WORK_ROUND)
			presence_run_add(sift->runs, change->start, change->end);
	}
	if (sift->work->pages == WORK_ROUND)
		return true;
	g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	if (!presence_scan(plan->presence, chunk->start, chunk->end, filter, all, sum))
		return false;
	for (guint i = 0; i < all->len; i++) {
		const struct presence_run *run = &g_array_index(all, struct presence_run, i);
		add_clean(sift, run->start, run->end);
	}
	return true;
}

/*
 * While it doesn't. Of a mapping that isn't tracked all pages are unprotected.
 */
static bool protected_rest(struct sift *sift, GArray *changes, struct presence_sum *sum)
{
	const struct plan *plan = sift->plan;
	const struct chunk *chunk = sift->chunk;
	uint64_t at = chunk->start, before = UINT64_MAX; /* the last page that is listed so far */
	if (!presence_unprotected(plan->presence, chunk->start, chunk->end, changes))
		return false;
	for (guint i = 0; i <= changes->len; i++) {
		const struct presence_change *change =
			i < changes->len ? &g_array_index(changes, struct presence_change, i) : NULL;
		uint64_t until = change ? change->start : chunk->end;
		const uint64_t listed[2] = {before, change ? change->start : UINT64_MAX};
		if (at < until)
			add_unlisted(sift, at, until, listed, sum);
		if (!change)
			break;
		before = change->end - 1;
		if (!presence_scan(plan->presence, change->start, change->end, filter_of(plan, chunk), sift->runs, sum))
			return false;
		at = change->end;
	}
	return true;
}

/* ---- soft-dirty bits ---- */

/* While the target runs: all of them were just cleared, and what was copied before counts no more. */
static bool soft_dirty_first(struct sift *sift, struct presence_sum *sum)
{
	const struct plan *plan = sift->plan;
	const struct chunk *chunk = sift->chunk;
	return presence_scan(plan->presence, chunk->start, chunk->end, filter_of(plan, chunk), sift->runs, sum);
}

/*
 * Whether a page without its bit wasn't written to. What other processes may write to has none here; and of huge pages that were asked for
 * (hugetlbfs) the bits aren't cleared, nor told by pagemap (Linux fs/proc/task_mmu.c).
 */
static bool has_bits(const struct plan *plan, const struct chunk *chunk)
{
	const struct plan_mapping *planned = &plan->mappings[chunk->mapping];
	return planned->kind != PLAN_RESIDENT && !planned->hugetlb;
}

/* While it doesn't. */
static bool soft_dirty_rest(struct sift *sift, GArray *changes, struct presence_sum *sum)
{
	const struct plan *plan = sift->plan;
	const struct chunk *chunk = sift->chunk;
	bool tracked = has_bits(plan, chunk);
	if (!presence_changes(plan->presence, chunk->start, chunk->end, filter_of(plan, chunk), changes, sum))
		return false;
	for (guint i = 0; i < changes->len; i++) {
		const struct presence_change *change = &g_array_index(changes, struct presence_change, i);
		if (change->written || !tracked)
			presence_run_add(sift->runs, change->start, change->end);
		else
			add_clean(sift, change->start, change->end);
	}
	return true;
}

bool changes_soft_dirty(const struct plan *plan, struct tracker *tracker, uint64_t *bytes)
{
	g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct presence_change));
	*bytes = 0;
	for (size_t k = 0; k < plan->n_chunks; k++) {
		const struct chunk *chunk = &plan->chunks[k];
		struct presence_sum sum = {0};
		g_array_set_size(changes, 0);
		if (!presence_changes(plan->presence, chunk->start, chunk->end, filter_of(plan, chunk), changes, &sum))
			return false;
		for (guint i = 0; i < changes->len; i++) {
			const struct presence_change *change = &g_array_index(changes, struct presence_change, i);
			*bytes += change->written || !has_bits(plan, chunk) ? change->end - change->start : 0;
			if (change->written && has_bits(plan, chunk))
				track_remember(tracker, plan->presence, change->start);
		}
	}
	return true;
}

bool changes_find(const struct work *work, const struct chunk *chunk, GArray *changes, GArray *runs, GArray *right,
		  struct presence_sum *sum)
{
	struct sift sift = {.work = work,
			    .plan = work->plan,
			    .chunk = chunk,
			    .window = work->plan->mappings[chunk->mapping].window,
			    .runs = runs,
			    .right = right,
			    .table = UINT64_MAX};
	g_array_set_size(runs, 0);
	g_array_set_size(changes, 0);
	if (work->soft_dirty)
		return work->pages == WORK_FIRST ? soft_dirty_first(&sift, sum) : soft_dirty_rest(&sift, changes, sum);
	return work->pages == WORK_REST ? protected_rest(&sift, changes, sum) : protected_round(&sift, changes, sum);
}
