#include "symbols/interpreter.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "symbols/debug_offsets.h"
#include "symbols/elf.h"
#include "symbols/probe.h"
#include "symbols/scan.h"
#include "symbols/sources.h"
#include "symbols/validate.h"
#include "symbols/version.h"

enum symbol {
	SYMBOL_RUNTIME,
	SYMBOL_GC_GENERATION0,
	SYMBOL_GC_ENABLED,
	SYMBOL_GC_COLLECTING,
	SYMBOL_INTERP_HEAD,
	SYMBOL_INTERPRETER_HEAD_FUNCTION,
	SYMBOL_THREAD_CURRENT,
	SYMBOL_GIL_COND,
	SYMBOL_VERSION,
	SYMBOL_TYPE_TYPE,
	SYMBOL_ARENAS,
	SYMBOL_MAXARENAS,
	SYMBOL_METHOD_CACHE,
	SYMBOL_ALLOCATED_BLOCKS,
	SYMBOL_GET_ALLOCATED_BLOCKS,
	SYMBOL_REF_TOTAL,
	SYMBOL_NEGATIVE_REFCOUNT,
	SYMBOL_TRACE_REFS,
	SYMBOL_TRACE_REFS_OLD,
	SYMBOLS
};

static const struct elf_symbol symbol_names[SYMBOLS] = {
	[SYMBOL_RUNTIME] = {.name = "_PyRuntime"},
	[SYMBOL_GC_GENERATION0] = {.name = "_PyGC_generation0"},
	[SYMBOL_GC_ENABLED] = {.name = "enabled"},
	[SYMBOL_GC_COLLECTING] = {.name = "collecting"},
	[SYMBOL_INTERP_HEAD] = {.name = "interp_head"},
	[SYMBOL_INTERPRETER_HEAD_FUNCTION] = {.name = "PyInterpreterState_Head"},
	[SYMBOL_THREAD_CURRENT] = {.name = "_PyThreadState_Current"},
	[SYMBOL_GIL_COND] = {.name = "gil_cond"},
	[SYMBOL_VERSION] = {.name = "Py_Version"},
	[SYMBOL_TYPE_TYPE] = {.name = "PyType_Type"},
	[SYMBOL_ARENAS] = {.name = "arenas"},
	[SYMBOL_MAXARENAS] = {.name = "maxarenas"},
	[SYMBOL_METHOD_CACHE] = {.name = "method_cache"},
	[SYMBOL_ALLOCATED_BLOCKS] = {.name = "_Py_AllocatedBlocks"},
	[SYMBOL_GET_ALLOCATED_BLOCKS] = {.name = "_Py_GetAllocatedBlocks"},
	[SYMBOL_REF_TOTAL] = {.name = "_Py_RefTotal"},
	[SYMBOL_NEGATIVE_REFCOUNT] = {.name = "_Py_NegativeRefcount"},
	[SYMBOL_TRACE_REFS] = {.name = "_Py_AddToAllObjects"},
	[SYMBOL_TRACE_REFS_OLD] = {.name = "_Py_PrintReferences"},
};

/* one file of the process that may hold the interpreter */
struct candidate {
	const struct mapping *mapping;
	int rank; /* how its name speaks for it, 0 is best */
};

/* the search in one candidate */
struct attempt {
	const struct maps *maps;
	const struct interpreter_access *access;
	const struct elf_file *elf;
	const struct mapping *mapping;
	struct elf_symbol symbols[SYMBOLS];
	struct interpreter *found;
};

enum outcome {
	OUTCOME_NONE, /* no interpreter in this file */
	OUTCOME_FOUND,
	OUTCOME_ERROR, /* there is one, and it can't be read: *error says why */
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* --- which files to look at --- */

static int rank_of(const char *path)
{
	const char *name = base_name(path);
	if (g_str_has_prefix(name, "libpython"))
		return strstr(name, ".so") ? 0 : 4;
	if (g_str_has_prefix(name, "python"))
		return 1;
	if (strstr(name, ".cpython-") || strstr(path, "/lib-dynload/"))
		return -1; /* an extension module holds no interpreter */
	if (!strstr(name, ".so"))
		return 2; /* an executable that embeds one */
	static const char *const system[] = {"ld-",   "libc.",      "libc-",    "libm.",    "libm-",
					     "libdl", "libpthread", "librt",    "libgcc_s", "libstdc++",
					     "libz.", "libssl",     "libcrypto"};
	for (size_t i = 0; i < G_N_ELEMENTS(system); i++)
		if (g_str_has_prefix(name, system[i]))
			return -1;
	return 3;
}

static gint candidate_compare(gconstpointer a, gconstpointer b)
{
	const struct candidate *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank - y->rank;
	return (x->mapping > y->mapping) - (x->mapping < y->mapping);
}

/* Every file of which something executable is mapped, once. */
static GArray *candidates_list(const struct maps *maps)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct candidate));
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		if (!mapping->executable || !mapping->inode || mapping->path[0] != '/')
			continue;
		bool seen = false;
		for (guint k = 0; k < list->len && !seen; k++) {
			const struct mapping *other = g_array_index(list, struct candidate, k).mapping;
			seen = other->inode == mapping->inode && other->device_major == mapping->device_major &&
			       other->device_minor == mapping->device_minor;
		}
		struct candidate candidate = {mapping, rank_of(mapping->path)};
		if (!seen && candidate.rank >= 0)
			g_array_append_val(list, candidate);
	}
	g_array_sort(list, candidate_compare);
	return list;
}

/* --- version and build --- */

static uint64_t symbol_address(const struct attempt *attempt, enum symbol which)
{
	const struct elf_symbol *symbol = &attempt->symbols[which];
	return symbol->found && !symbol->ambiguous ? symbol->value + attempt->found->bias : 0;
}

static void version_set(struct interpreter *found, uint32_t version)
{
	found->version = version;
	version_format(version, found->version_text);
}

/* from the surest to the vaguest; false: it isn't known at all */
static bool version_find(struct attempt *attempt)
{
	struct interpreter *found = attempt->found;
	const struct interpreter_access *access = attempt->access;
	uint8_t head[24];
	uint32_t version = 0;
	uint64_t exported;
	if (found->runtime && access->read(access->context, found->runtime, head, sizeof(head)) &&
	    debug_offsets_version(head, sizeof(head), &version, &found->free_threaded)) {
		version_set(found, version);
		return true;
	}
	uint64_t at = symbol_address(attempt, SYMBOL_VERSION);
	if (at && access_u64(access, at, &exported) && exported >> 24 == 3 && exported <= UINT32_MAX)
		version = (uint32_t)exported;
	if (!version)
		version = version_scan(attempt->elf, found->bias, access, NULL);
	if (version) {
		version_set(found, version);
		return true;
	}
	version = version_from_name(attempt->mapping->path);
	for (size_t i = 0; !version && i < attempt->maps->n; i++)
		version = version_from_name(attempt->maps->mappings[i].path);
	if (version)
		version_set(found, version);
	return version != 0;
}

/*
 * Py_DEBUG implies Py_REF_DEBUG, whose counters are exported, and up to 3.7 Py_TRACE_REFS, which puts two pointers in
 * front of every object. Without symbols the names of the files that are loaded tell: python3.11d,
 * math.cpython-311d-….so.
 */
static void build_find(struct attempt *attempt)
{
	struct interpreter *found = attempt->found;
	found->debug = attempt->symbols[SYMBOL_REF_TOTAL].found || attempt->symbols[SYMBOL_NEGATIVE_REFCOUNT].found;
	if (!found->symbols_found)
		for (size_t i = 0; i < attempt->maps->n && !found->debug; i++) {
			bool free_threaded;
			version_flags_from_name(attempt->maps->mappings[i].path, &found->debug, &free_threaded);
		}
	unsigned minor = found->version >> 16 & 0xff;
	found->trace_refs = minor <= 7 ? found->debug : minor <= 12 && attempt->symbols[SYMBOL_TRACE_REFS].found;
}

static void unsupported(const struct interpreter *found, const char *cause, GError **error)
{
	error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, cause, "`reftop version` lists the versions it knows",
		  "CPython %s%s%s is not supported", found->version_text,
		  found->free_threaded ? " (free-threaded)" : "", found->debug ? " (debug build)" : "");
}

/* --- the roots --- */

/*
 * PyInterpreterState_Head() of 2.7 to 3.6 is `return interp_head;`, exported when the variable isn't:
 *     [endbr64] [push %rbp; mov %rsp,%rbp] mov DISPLACEMENT(%rip),%rax
 */
static uint64_t interp_head_decode(const struct attempt *attempt)
{
	static const uint8_t endbr[] = {0xf3, 0x0f, 0x1e, 0xfa}, prologue[] = {0x55, 0x48, 0x89, 0xe5};
	uint8_t code[32];
	uint64_t at = symbol_address(attempt, SYMBOL_INTERPRETER_HEAD_FUNCTION);
	if (!at || !attempt->access->read(attempt->access->context, at, code, sizeof(code)))
		return 0;
	size_t i = 0;
	if (!memcmp(code, endbr, sizeof(endbr)))
		i += sizeof(endbr);
	if (!memcmp(code + i, prologue, sizeof(prologue)))
		i += sizeof(prologue);
	int32_t displacement;
	if (code[i] != 0x48 || code[i + 1] != 0x8b || code[i + 2] != 0x05)
		return 0;
	memcpy(&displacement, code + i + 3, sizeof(displacement));
	return at + i + 7 + (uint64_t)(int64_t)displacement;
}

/*
 * raw_allocated_blocks is a static that strip takes away, but _Py_GetAllocatedBlocks(), which is exported, reads it
 * (3.9 to 3.11): the 64-bit variable it loads by `mov DISPLACEMENT(%rip),%REGISTER` that isn't `arenas`.
 */
static uint64_t raw_blocks_decode(const struct attempt *attempt)
{
	const struct interpreter *found = attempt->found;
	uint8_t code[64];
	uint64_t at = symbol_address(attempt, SYMBOL_GET_ALLOCATED_BLOCKS);
	if (!at || !attempt->access->read(attempt->access->context, at, code, sizeof(code)))
		return 0;
	for (size_t i = 0; i + 7 <= sizeof(code); i++) {
		int32_t displacement;
		if (code[i] != 0x48 || code[i + 1] != 0x8b || (code[i + 2] & 0xc7) != 0x05)
			continue;
		memcpy(&displacement, code + i + 3, sizeof(displacement));
		uint64_t variable = at + i + 7 + (uint64_t)(int64_t)displacement;
		if (variable != found->arenas && variable >= found->image_start && variable < found->image_end)
			return variable;
	}
	return 0;
}

static void arenas_find(struct attempt *attempt)
{
	struct interpreter *found = attempt->found;
	if (found->layout.shape.obmalloc != PY_OBMALLOC_STATIC)
		return;
	found->method_cache = symbol_address(attempt, SYMBOL_METHOD_CACHE);
	found->arenas = symbol_address(attempt, SYMBOL_ARENAS);
	found->maxarenas = symbol_address(attempt, SYMBOL_MAXARENAS);
	if (!found->arenas || !found->maxarenas)
		scan_arenas(attempt->elf, found, attempt->maps, attempt->access, &found->arenas, &found->maxarenas);
	found->all_blocks = symbol_address(attempt, SYMBOL_ALLOCATED_BLOCKS);
	if (!found->all_blocks)
		found->raw_blocks = raw_blocks_decode(attempt);
}

/* 3.6 has no _PyRuntime, and two roots */
static void roots_of_36(struct attempt *attempt)
{
	struct interpreter *found = attempt->found;
	found->runtime = 0;
	found->gc_generation0 = symbol_address(attempt, SYMBOL_GC_GENERATION0);
	found->gc_enabled = symbol_address(attempt, SYMBOL_GC_ENABLED);
	found->gc_collecting = symbol_address(attempt, SYMBOL_GC_COLLECTING);
	found->thread_current = symbol_address(attempt, SYMBOL_THREAD_CURRENT);
	found->gil_cond = symbol_address(attempt, SYMBOL_GIL_COND);
	found->interp_head = symbol_address(attempt, SYMBOL_INTERP_HEAD);
	if (!found->interp_head)
		found->interp_head = interp_head_decode(attempt);
	if (!found->interp_head)
		found->interp_head = scan_interpreters(attempt->elf, found, attempt->maps, attempt->access);
	if (!found->gc_generation0)
		found->gc_generation0 = scan_generations(attempt->elf, found, attempt->access);
}

/* what the layout is needed for to find */
static void roots_find(struct attempt *attempt)
{
	struct interpreter *found = attempt->found;
	if (found->layout.shape.gc == PY_GC_GLOBAL) {
		roots_of_36(attempt);
	} else if (!found->runtime) {
		uint64_t head = scan_interpreters(attempt->elf, found, attempt->maps, attempt->access);
		found->runtime = head ? head - found->layout.runtime_interpreters_head : 0;
	}
}

/* --- the layout --- */

static enum outcome layout_find(struct attempt *attempt, GError **error)
{
	struct interpreter *found = attempt->found;
	const struct layout_question question = {
		.elf = attempt->elf,
		.path = attempt->mapping->path,
		.access = attempt->access,
		.version = found->version,
		.debug = found->debug,
		.free_threaded = found->free_threaded,
		.trace_refs = found->trace_refs,
		.kind_known = found->symbols_found,
		.runtime = found->runtime,
	};
	g_autoptr(GArray) candidates = layout_candidates(&question);
	const uint64_t runtime = found->runtime;
	const char *why = NULL;
	bool not_started = false;
	for (guint i = 0; i < candidates->len; i++) {
		const struct layout_candidate *candidate = &g_array_index(candidates, struct layout_candidate, i);
		found->layout = candidate->layout;
		found->origin = candidate->origin;
		found->debug = candidate->debug;
		found->trace_refs = candidate->trace_refs;
		found->runtime = runtime;
		roots_find(attempt);
		enum validity validity = layout_validate(found, attempt->access, &why);
		if (validity == LAYOUT_VALID) {
			if (found->origin != LAYOUT_DWARF)
				layout_probe(found, attempt->access);
			return OUTCOME_FOUND;
		}
		not_started |= validity == LAYOUT_NOT_STARTED;
	}
	uint64_t word;
	if (!access_u64(attempt->access, found->image_start, &word))
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_GONE, "it ended, or runs another program by now", NULL,
			  "the memory of CPython %s can't be read any more", found->version_text);
	else if (not_started)
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, "the interpreter is starting or has finished",
			  NULL, "CPython %s holds no objects", found->version_text);
	else if (!candidates->len)
		unsupported(found, "no layout of this build is known, and it has no debug information", error);
	else
		unsupported(found, why, error);
	return OUTCOME_ERROR;
}

/* --- one file --- */

/* Find _PyRuntime or what stands for it; false: this file has no interpreter. */
static bool interpreter_locate(struct attempt *attempt, int rank)
{
	struct interpreter *found = attempt->found;
	struct elf_section section;
	if (attempt->symbols[SYMBOL_RUNTIME].found || attempt->symbols[SYMBOL_GC_GENERATION0].found) {
		found->symbols_found = true;
		found->runtime = symbol_address(attempt, SYMBOL_RUNTIME);
		return true;
	}
	/* 3.10 and later give _PyRuntime a section of its own, which strip keeps */
	if (elf_section_find(attempt->elf, ".PyRuntime", &section) && section.address) {
		found->runtime = section.address + found->bias;
		return true;
	}
	if (rank > 2)
		return false;
	uint32_t version;
	found->runtime = scan_cookie(attempt->elf, found->bias, attempt->access, &version, &found->free_threaded);
	return found->runtime || version_scan(attempt->elf, found->bias, attempt->access, NULL);
}

static enum outcome candidate_try(struct attempt *attempt, int rank, GError **error)
{
	struct interpreter *found = attempt->found;
	memcpy(attempt->symbols, symbol_names, sizeof(symbol_names));
	elf_symbols_find(attempt->elf, attempt->symbols, SYMBOLS);
	if (!elf_bias(attempt->elf, attempt->maps, attempt->mapping, &found->bias, &found->image_start,
		      &found->image_end))
		return OUTCOME_NONE;
	if (!interpreter_locate(attempt, rank))
		return OUTCOME_NONE;
	if (!version_find(attempt)) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, "the interpreter is starting or has finished",
			  NULL, "a CPython whose version can't be told");
		return OUTCOME_ERROR;
	}
	build_find(attempt);
	if (!version_is_supported(found->version)) {
		unsupported(found,
			    found->version >> 24 == 2 ? "it is Python 2" : "this program doesn't know this version",
			    error);
		return OUTCOME_ERROR;
	}
	found->type_type = symbol_address(attempt, SYMBOL_TYPE_TYPE);
	enum outcome outcome = layout_find(attempt, error);
	if (outcome == OUTCOME_FOUND)
		arenas_find(attempt);
	return outcome;
}

static enum outcome candidate_open(const struct maps *maps, const struct interpreter_access *access,
				   const struct candidate *candidate, interpreter_t **result, GError **error)
{
	const struct mapping *mapping = candidate->mapping;
	g_autofree char *path = text_escape(mapping->path, strlen(mapping->path));
	int fd = access->open(access->context, mapping);
	/* that some library can't be read says nothing; that the file called python can't, does */
	if (fd < 0 && candidate->rank > 1)
		return OUTCOME_NONE;
	if (fd < 0) {
		error_set(error, SYMBOLS_ERROR,
			  errno == EACCES || errno == EPERM ? REFTOP_ERROR_DENIED : REFTOP_ERROR_FAILED,
			  mapping->deleted ? "it was replaced or removed since the process started" : NULL,
			  mapping->deleted ? "run it as root, which can still open it" : NULL, "cannot open %s: %s",
			  path, g_strerror(errno));
		return OUTCOME_ERROR;
	}
	g_autoptr(elf_file_t) elf = elf_open(fd, path, candidate->rank > 1 ? NULL : error);
	if (!elf)
		return candidate->rank > 1 ? OUTCOME_NONE : OUTCOME_ERROR;
	g_autoptr(interpreter_t) found = g_new0(struct interpreter, 1);
	found->path = g_steal_pointer(&path);
	struct attempt attempt = {.maps = maps, .access = access, .elf = elf, .mapping = mapping, .found = found};
	enum outcome outcome = candidate_try(&attempt, candidate->rank, error);
	if (outcome == OUTCOME_FOUND)
		*result = g_steal_pointer(&found);
	return outcome;
}

/* --- the process --- */

static void not_found(const struct maps *maps, GError **error)
{
	for (size_t i = 0; i < maps->n; i++) {
		const char *name = base_name(maps->mappings[i].path);
		if (!g_str_has_prefix(name, "pypy") && !g_str_has_prefix(name, "libpypy"))
			continue;
		g_autofree char *shown = text_escape(name, strlen(name));
		g_autofree char *cause = g_strdup_printf("it runs %s, and only CPython's memory can be read", shown);
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, cause, NULL, "PyPy is not supported");
		return;
	}
	error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN,
		  maps->n ? "none of the files it runs is or holds a CPython"
			  : "it has no memory mapped: a zombie or a kernel thread",
		  NULL, "not a Python process");
}

interpreter_t *interpreter_find(const struct maps *maps, const struct interpreter_access *access, GError **error)
{
	g_autoptr(GArray) candidates = candidates_list(maps);
	g_autoptr(GError) first = NULL;
	for (guint i = 0; i < candidates->len; i++) {
		const struct candidate *candidate = &g_array_index(candidates, struct candidate, i);
		g_autoptr(GError) here = NULL;
		interpreter_t *result = NULL;
		if (candidate_open(maps, access, candidate, &result, &here) == OUTCOME_FOUND)
			return result;
		if (here && !first)
			first = g_steal_pointer(&here);
	}
	if (first)
		g_propagate_error(error, g_steal_pointer(&first));
	else
		not_found(maps, error);
	return NULL;
}

void interpreter_free(interpreter_t *interpreter)
{
	if (!interpreter)
		return;
	g_free(interpreter->path);
	g_free(interpreter);
}

const char *interpreter_guess(const struct maps *maps)
{
	uint32_t best = 0;
	int best_rank = INT_MAX;
	for (size_t i = 0; i < maps->n; i++) {
		const char *path = maps->mappings[i].path, *name = base_name(path);
		if (path[0] != '/')
			continue;
		if (g_str_has_prefix(name, "pypy") || g_str_has_prefix(name, "libpypy"))
			return NULL;
		uint32_t version = version_from_name(path);
		int rank = g_str_has_prefix(name, "libpython") ? 0 : g_str_has_prefix(name, "python") ? 1 : 2;
		if (rank == 1 && !maps->mappings[i].executable)
			continue; /* /usr/share/python3.zip and the like */
		if (version && rank < best_rank) {
			best = version;
			best_rank = rank;
		}
	}
	if (!best)
		return NULL;
	char text[16];
	g_snprintf(text, sizeof(text), "%u.%u", best >> 24, best >> 16 & 0xff);
	return g_intern_string(text);
}
