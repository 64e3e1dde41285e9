/* A live process's references: a snapshot of everything, audited. */
#include "daemon/analysis/audit.h"
#include "daemon/analysis/explain.h"
#include "daemon/analysis/instances.h"
#include "daemon/source/live_private.h"
#include "symbols/elf.h"

/* struct user_regs_struct of x86-64 (linux/user.h): general registers come first, up to orig_rax */
#define REGISTER_RSP      19
#define GENERAL_REGISTERS 15

/* a picture and what was made of it; valid together */
typedef struct picture {
	snapshot_t *snapshot;
	heap_t *heap;
	struct owners_thread *threads;
	struct owners_view view;
	audit_t *audit;
} picture_t;

static void picture_clear(picture_t *picture)
{
	g_clear_pointer(&picture->audit, audit_free);
	g_clear_pointer(&picture->heap, heap_free);
	g_clear_pointer(&picture->snapshot, snapshot_free);
	g_clear_pointer(&picture->threads, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(picture_t, picture_clear)

static void view_threads(struct picture *picture)
{
	const snapshot_t *snapshot = picture->snapshot;
	picture->threads = g_new0(struct owners_thread, snapshot->n_threads + 1);
	for (size_t i = 0; i < snapshot->n_threads; i++) {
		const struct snapshot_thread *thread = &snapshot->threads[i];
		struct owners_thread *own = &picture->threads[i];
		own->tid = thread->tid;
		memcpy(own->name, thread->name, sizeof(own->name));
		if (!thread->has_registers)
			continue;
		own->stack_pointer = thread->registers[REGISTER_RSP];
		own->registers = thread->registers;
		own->n_registers = GENERAL_REGISTERS;
	}
	picture->view = (struct owners_view){.memory = &snapshot->memory,
					     .maps = snapshot->maps,
					     .threads = picture->threads,
					     .n_threads = snapshot->n_threads};
}

static bool picture_take(struct live *live, struct picture *picture, GError **error)
{
	picture->snapshot = live_take_snapshot(live, SNAPSHOT_ALL, &picture->heap, error);
	if (!picture->snapshot)
		return false;
	view_threads(picture);
	picture->audit = audit_take(picture->heap, &picture->view, error);
	return picture->audit != NULL;
}

/* what the document is about, without types */
static sample_t *picture_origin(const struct live *live, const struct picture *picture)
{
	sample_t *origin = sample_new();
	live_describe_target(live, picture->snapshot, origin);
	live_describe_snapshot(picture->snapshot, "all", origin);
	return origin;
}

static leaks_t *judge(struct live *live, const struct picture *picture, size_t max_objects)
{
	leaks_t *leaks = leaks_judge(picture->audit, live->look, picture_origin(live, picture), max_objects);
	leaks->interval_us = live->look ? leaks->origin->time_us - live->look_time_us : SAMPLE_UNKNOWN;
	g_clear_pointer(&live->look, leaks_look_free);
	live->look = leaks_look_new(picture->audit);
	live->look_time_us = leaks->origin->time_us;
	return leaks;
}

struct leaks *live_leaks(source_t *source, size_t max_objects, GError **error)
{
	struct live *live = (struct live *)source;
	g_auto(picture_t) picture = {0};
	return picture_take(live, &picture, error) ? judge(live, &picture, max_objects) : NULL;
}

sample_t *live_assess(source_t *source, size_t max_objects, struct leaks **leaks, GError **error)
{
	struct live *live = (struct live *)source;
	g_auto(picture_t) picture = {0};
	*leaks = NULL;
	if (!picture_take(live, &picture, error))
		return NULL;
	sample_t *sample = live_make_sample(live, picture.snapshot, picture.heap, picture.audit, error);
	if (sample)
		*leaks = judge(live, &picture, max_objects);
	return sample;
}

/* ---- questions about objects ---- */

void live_forget(source_t *source)
{
	struct live *live = (struct live *)source;
	if (live->kept)
		picture_clear(live->kept);
	g_clear_pointer(&live->kept, g_free);
}

/* Keep a picture for the next question; it is empty then. */
static void keep(struct live *live, struct picture *picture)
{
	live_forget(&live->source);
	live->kept = g_new0(struct picture, 1);
	*live->kept = *picture;
	/* what looks at the picture looks at its new place */
	live->kept->audit->owners.view = &live->kept->view;
	memset(picture, 0, sizeof(*picture));
}

/* ---- names of static data ---- */

/* what explain_object() asks for names; files are opened as the target sees them */
struct naming {
	const struct live *live;
	const struct maps *maps;
	uint64_t image;  /* start of the one opened last */
	elf_file_t *elf; /* its file; NULL: it has none that can be read */
	uint64_t bias;
};

static void name_open(struct naming *naming, const struct owners_image *image)
{
	const struct mapping *mapping = maps_find(naming->maps, image->start);
	uint64_t start, end;
	int fd = mapping ? maps_open(target_pid(naming->live->target), mapping) : -1;
	g_clear_pointer(&naming->elf, elf_close);
	naming->image = image->start;
	naming->elf = fd >= 0 ? elf_open(fd, image->path, NULL) : NULL;
	if (naming->elf && !elf_bias(naming->elf, naming->maps, mapping, &naming->bias, &start, &end))
		g_clear_pointer(&naming->elf, elf_close);
}

static char *name_symbol(void *context, const struct owners_image *image, uint64_t offset)
{
	struct naming *naming = context;
	if (naming->image != image->start)
		name_open(naming, image);
	return naming->elf ? elf_symbol_at(naming->elf, image->start + offset - naming->bias) : NULL;
}

static bool explain(struct live *live, const struct picture *picture, const uint64_t *addresses, size_t n,
		    explain_each *each, void *context, GError **error)
{
	struct naming naming = {.live = live, .maps = picture->snapshot->maps};
	const struct explain_names names = {.symbol = name_symbol, .context = &naming};
	g_autoptr(sample_t) origin = picture_origin(live, picture);
	bool good = explain_objects(picture->audit, addresses, n, origin, &names, each, context, error);
	g_clear_pointer(&naming.elf, elf_close);
	return good;
}

static bool take_one(void *context, uint64_t address, explanation_t *explanation, const GError *problem, GError **error)
{
	*(explanation_t **)context = explanation;
	if (!explanation)
		g_propagate_error(error, g_error_copy(problem));
	return explanation != NULL;
}

struct explanation *live_explain(source_t *source, uint64_t address, GError **error)
{
	struct live *live = (struct live *)source;
	g_auto(picture_t) picture = {0};
	explanation_t *explanation = NULL;
	if (!live->kept && !picture_take(live, &picture, error))
		return NULL;
	explain(live, live->kept ? live->kept : &picture, &address, 1, take_one, &explanation, error);
	if (!live->kept && live->options.keep)
		keep(live, &picture);
	return explanation;
}

gboolean live_explain_all(source_t *source, const uint64_t *addresses, size_t n, explain_each *each, void *context,
			  GError **error)
{
	struct live *live = (struct live *)source;
	g_auto(picture_t) picture = {0};
	return picture_take(live, &picture, error) && explain(live, &picture, addresses, n, each, context, error);
}

struct instances *live_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error)
{
	struct live *live = (struct live *)source;
	g_auto(picture_t) picture = {0};
	if (!picture_take(live, &picture, error))
		return NULL;
	instances_t *instances =
		instances_find(picture.audit, type, sort, limit, picture_origin(live, &picture), error);
	if (live->options.keep)
		keep(live, &picture);
	return instances;
}
