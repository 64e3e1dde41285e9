#include "symbols/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/debug_offsets.h"
#include "symbols/dwarf.h"

static uint32_t *member_at(const struct py_layout *layout, size_t field)
{
	return (uint32_t *)(void *)((char *)layout + py_layout_fields[field].position);
}

/* --- separate debug files --- */

static int debug_open_own(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The debug file at `path`, as the target sees it or as we do, when it is of the same build. */
static struct elf_file *debug_file_open(const struct layout_question *question, const char *path, const char *build_id)
{
	for (int own = 0; own < 2; own++) {
		int fd = -1;
		if (own)
			fd = debug_open_own(path);
		else if (question->access->open_path)
			fd = question->access->open_path(question->access->context, path);
		if (fd < 0)
			continue;
		struct elf_file *elf = elf_open(fd, path, NULL);
		g_autofree char *id = elf ? elf_build_id(elf) : NULL;
		if (elf && (!build_id || !g_strcmp0(id, build_id)))
			return elf;
		elf_close(elf);
	}
	return NULL;
}

/* where gdb and elfutils look, in their order */
static struct elf_file *debug_file_find(const struct layout_question *question)
{
	uint32_t checksum;
	g_autofree char *build_id = elf_build_id(question->elf), *link = elf_debuglink(question->elf, &checksum);
	struct elf_file *elf = NULL;
	if (build_id && strlen(build_id) > 2) {
		g_autofree char *path =
			g_strdup_printf("/usr/lib/debug/.build-id/%.2s/%s.debug", build_id, build_id + 2);
		elf = debug_file_open(question, path, build_id);
	}
	/* without a build-id the checksum of the whole file would have to be computed: nobody has made such files for
	 * 15 years */
	if (elf || !link || !build_id)
		return elf;
	g_autofree char *directory = g_path_get_dirname(question->path);
	for (int i = 0; i < 3 && !elf; i++) {
		g_autofree char *path = i == 0   ? g_strdup_printf("%s/%s", directory, link)
					: i == 1 ? g_strdup_printf("%s/.debug/%s", directory, link)
						 : g_strdup_printf("/usr/lib/debug%s/%s", directory, link);
		elf = debug_file_open(question, path, build_id);
	}
	return elf;
}

/* --- DWARF, remembered by build-id: several processes run the same interpreter --- */

struct remembered {
	bool found;
	struct dwarf_layout read;
};

static GMutex memory_lock;
static GHashTable *memory; /* build-id -> struct remembered *; never freed, a few KiB an interpreter */

static bool dwarf_read_uncached(const struct layout_question *question, struct dwarf_layout *read)
{
	if (dwarf_layout_read(question->elf, DWARF_QUICK, read, NULL))
		return true;
	g_autoptr(elf_file_t) separate = debug_file_find(question);
	return separate && dwarf_layout_read(separate, DWARF_QUICK, read, NULL);
}

/* `known` is the memory's, or *owned which the caller clears */
static const struct dwarf_layout *dwarf_read(const struct layout_question *question, struct dwarf_layout *owned)
{
	g_autofree char *build_id = elf_build_id(question->elf);
	if (!build_id)
		return dwarf_read_uncached(question, owned) ? owned : NULL;
	g_mutex_lock(&memory_lock);
	if (!memory)
		memory = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	struct remembered *entry = g_hash_table_lookup(memory, build_id);
	if (!entry) {
		entry = g_new0(struct remembered, 1);
		entry->found = dwarf_read_uncached(question, &entry->read);
		g_hash_table_insert(memory, g_steal_pointer(&build_id), entry);
	}
	g_mutex_unlock(&memory_lock);
	return entry->found ? &entry->read : NULL;
}

/* --- candidates --- */

static void candidate_add(GArray *candidates, enum layout_origin origin, const struct layout_question *question,
			  const struct py_layout *layout, bool debug, bool trace_refs)
{
	struct layout_candidate candidate = {
		.origin = origin, .debug = debug, .trace_refs = trace_refs, .layout = *layout};
	py_shape_find(question->version, question->free_threaded, &candidate.layout.shape);
	/* bpo-27987 made both larger at once (3.7.4, and where a distributor took the patch) */
	if (candidate.layout.gc_head_size == 24)
		candidate.layout.shape.block_alignment = 8;
	g_array_append_val(candidates, candidate);
}

/* What DWARF doesn't describe (structures private to extension modules with a file of their own) the nearest table has.
 */
static void dwarf_candidate(GArray *candidates, const struct layout_question *question,
			    const struct py_builtin *builtin)
{
	struct dwarf_layout owned = {0};
	const struct dwarf_layout *read = dwarf_read(question, &owned);
	if (!read)
		return;
	struct py_layout layout = read->layout;
	for (size_t i = 0; i < py_layout_n_fields; i++)
		if (!read->known[i])
			*member_at(&layout, i) = builtin ? *member_at(builtin->layout, i) : PY_ABSENT;
	bool trace_refs = layout.ob_refcnt == 16 && !question->free_threaded;
	candidate_add(candidates, LAYOUT_DWARF, question, &layout, question->debug, trace_refs);
	if (read == &owned)
		dwarf_layout_clear(&owned);
}

static int builtin_distance(const struct py_builtin *builtin, const struct layout_question *question)
{
	return abs((int)(builtin->version >> 8 & 0xff) - (int)(question->version >> 8 & 0xff));
}

static gint builtin_compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct py_builtin *x = *(const struct py_builtin *const *)a, *y = *(const struct py_builtin *const *)b;
	const struct layout_question *question = data;
	const struct py_builtin *best =
		py_builtin_find(question->version, x->debug, question->free_threaded, x->trace_refs);
	if (x == y)
		return 0;
	if (x->layout == best->layout || y->layout == best->layout)
		return x->layout == best->layout ? -1 : 1;
	return builtin_distance(x, question) - builtin_distance(y, question);
}

/* all tables of this minor version and kind, the likeliest first */
static GPtrArray *builtin_list(const struct layout_question *question)
{
	size_t n;
	const struct py_builtin *all = py_builtin_all(&n);
	GPtrArray *list = g_ptr_array_new();
	for (size_t i = 0; i < n; i++)
		if (all[i].minor == (question->version >> 16 & 0xff) && all[i].debug == question->debug &&
		    all[i].free_threaded == question->free_threaded && all[i].trace_refs == question->trace_refs)
			g_ptr_array_add(list, (void *)&all[i]);
	g_ptr_array_sort_with_data(list, builtin_compare, (void *)question);
	return list;
}

static gint changed_compare(gconstpointer a, gconstpointer b)
{
	return *(const int *)a - *(const int *)b;
}

/* the table that the interpreter's own offsets contradict least comes first */
static void debug_offsets_candidates(GArray *candidates, const struct layout_question *question,
				     const GPtrArray *builtins)
{
	struct scored {
		int changed;
		struct py_layout layout;
	};
	uint8_t bytes[DEBUG_OFFSETS_BYTES];
	if (!question->runtime || question->version >> 16 < 0x30d ||
	    !question->access->read(question->access->context, question->runtime, bytes, sizeof(bytes)))
		return;
	g_autoptr(GArray) scored = g_array_new(FALSE, FALSE, sizeof(struct scored));
	for (guint i = 0; i < builtins->len; i++) {
		const struct py_builtin *builtin = builtins->pdata[i];
		struct scored entry = {.layout = *builtin->layout};
		unsigned changed;
		if (!debug_offsets_apply(bytes, sizeof(bytes), &entry.layout, &changed))
			continue;
		entry.changed = (int)changed;
		g_array_append_val(scored, entry);
	}
	g_array_sort(scored, changed_compare);
	for (guint i = 0; i < scored->len; i++)
		candidate_add(candidates, LAYOUT_DEBUG_OFFSETS, question,
			      &g_array_index(scored, struct scored, i).layout, question->debug, question->trace_refs);
}

static void kind_candidates(GArray *candidates, const struct layout_question *question)
{
	g_autoptr(GPtrArray) builtins = builtin_list(question);
	debug_offsets_candidates(candidates, question, builtins);
	for (guint i = 0; i < builtins->len; i++) {
		const struct py_builtin *builtin = builtins->pdata[i];
		candidate_add(candidates, LAYOUT_BUILTIN, question, builtin->layout, builtin->debug,
			      builtin->trace_refs);
	}
}

/* without symbols nothing says how it was built: the release build is the likeliest, and the process decides */
static void other_kinds(GArray *candidates, const struct layout_question *question)
{
	for (int kind = 0; kind < 4; kind++) {
		struct layout_question other = *question;
		other.debug = kind & 1;
		other.trace_refs = kind & 2;
		if (other.debug != question->debug || other.trace_refs != question->trace_refs)
			kind_candidates(candidates, &other);
	}
}

GArray *layout_candidates(const struct layout_question *question)
{
	GArray *candidates = g_array_new(FALSE, FALSE, sizeof(struct layout_candidate));
	g_autoptr(GPtrArray) builtins = builtin_list(question);
	struct layout_question release = *question;
	release.debug = false;
	g_autoptr(GPtrArray) fallback = builtin_list(&release);
	const struct py_builtin *nearest = builtins->len   ? builtins->pdata[0]
					   : fallback->len ? fallback->pdata[0]
							   : NULL;
	dwarf_candidate(candidates, question, nearest);
	kind_candidates(candidates, question);
	if (!question->kind_known)
		other_kinds(candidates, question);
	return candidates;
}
