#include "symbols/dwarf.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

#include "base/error.h"

/* Bounds for foreign debug information: chrome's has 10 million top-level DIEs, a CPython's 1 million. */
#define DIES_MAX       50000000u
#define NESTING_MAX    16
#define MEMBERS_MAX    100000u
#define PATH_MAX_PARTS 16
/* decompressed; a section that claims more isn't one of an interpreter */
#define SECTION_BYTES_MAX (1ull << 30)

/* source files that between them use every structure we read */
static const char *const quick_units[] = {
	"gc.c",
	"gcmodule.c",
	"gc_free_threading.c",
	"obmalloc.c",
	"pystate.c",
	"ceval.c",
	"ceval_gil.c",
	"dictobject.c",
	"setobject.c",
	"typeobject.c",
	"frameobject.c",
	"frame.c",
	"genobject.c",
	"unicodeobject.c",
	"longobject.c",
	"codeobject.c",
	"descrobject.c",
	"funcobject.c",
	"methodobject.c",
	"moduleobject.c",
	"weakrefobject.c",
	"odictobject.c",
	"memoryobject.c",
	"bytearrayobject.c",
	"tupleobject.c",
	"listobject.c",
	"floatobject.c",
	"cellobject.c",
	"bytesobject.c",
	"sliceobject.c",
	"capsule.c",
	"traceback.c",
	"_collectionsmodule.c",
	"_functoolsmodule.c",
	"itertoolsmodule.c",
	"bytesio.c",
	"bufferedio.c",
	"_threadmodule.c",
	"parking_lot.c",
	"_asynciomodule.c",
	"arraymodule.c",
	"_pickle.c",
	"_struct.c",
};

/* without these no layout is complete */
static const char *const essential[] = {"PyObject",
					"PyTypeObject",
					"PyInterpreterState",
					"PyThreadState",
					"PyDictObject",
					"PyGC_Head",
					"PyDictKeysObject|_dictkeysobject"};

/* a structure that some field is in, by the name the field's path starts with */
struct wanted {
	char *name;
	bool found;
	Dwarf_Die type; /* its complete definition */
};

struct search {
	GHashTable *by_name; /* name -> struct wanted *; two names may lead to one */
	GPtrArray *wanted;
	size_t n_found;
	uint64_t dies; /* budget */
};

static void wanted_free(void *data)
{
	struct wanted *wanted = data;
	g_free(wanted->name);
	g_free(wanted);
}

static void wanted_add(struct search *search, const char *name, size_t length)
{
	g_autofree char *key = g_strndup(name, length);
	if (g_hash_table_contains(search->by_name, key))
		return;
	struct wanted *wanted = g_new0(struct wanted, 1);
	wanted->name = g_strdup(key);
	g_ptr_array_add(search->wanted, wanted);
	g_hash_table_insert(search->by_name, g_steal_pointer(&key), wanted);
}

static void search_init(struct search *search)
{
	memset(search, 0, sizeof(*search));
	search->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	search->wanted = g_ptr_array_new_with_free_func(wanted_free);
	search->dies = DIES_MAX;
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		for (const char *at = py_layout_fields[i].path; *at;) {
			wanted_add(search, at, strcspn(at, ".|"));
			at += strcspn(at, "|");
			at += *at == '|';
		}
	}
}

static void search_clear(struct search *search)
{
	g_hash_table_destroy(search->by_name);
	g_ptr_array_free(search->wanted, TRUE);
}

/* follow typedefs, qualifiers and (for "initialized.tp_dict" and the like) arrays down to a structure or union */
static bool type_peel(Dwarf_Die *die)
{
	for (unsigned depth = 0; depth < 32; depth++) {
		Dwarf_Attribute attribute;
		Dwarf_Die next;
		switch (dwarf_tag(die)) {
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
			return true;
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_atomic_type:
		case DW_TAG_array_type:
			if (!dwarf_attr(die, DW_AT_type, &attribute) || !dwarf_formref_die(&attribute, &next))
				return false;
			*die = next;
			break;
		default:
			return false;
		}
	}
	return false;
}

static bool is_complete(Dwarf_Die *die)
{
	return !dwarf_hasattr(die, DW_AT_declaration) && dwarf_haschildren(die);
}

static void search_offer(struct search *search, struct wanted *wanted, Dwarf_Die *die)
{
	Dwarf_Die type = *die;
	if (!type_peel(&type))
		return;
	if (is_complete(&type)) {
		wanted->type = type;
		wanted->found = true;
		search->n_found++;
		return;
	}
	/* a typedef of a structure declared only: its definition in another unit counts under the tag too */
	const char *tag = dwarf_diename(&type);
	if (tag && !g_hash_table_contains(search->by_name, tag))
		g_hash_table_insert(search->by_name, g_strdup(tag), wanted);
}

/* the children of a unit; false: the debug information is corrupt */
static bool unit_search(struct search *search, Dwarf_Die *unit)
{
	Dwarf_Die die;
	int more = dwarf_child(unit, &die);
	Dwarf_Off last = 0;
	while (more == 0 && search->n_found < search->wanted->len) {
		Dwarf_Off offset = dwarf_dieoffset(&die);
		if (!search->dies-- || offset <= last)
			return false; /* siblings that lead backwards would never end */
		last = offset;
		int tag = dwarf_tag(&die);
		if (tag == DW_TAG_typedef || tag == DW_TAG_structure_type || tag == DW_TAG_union_type) {
			const char *name = dwarf_diename(&die);
			struct wanted *wanted = name ? g_hash_table_lookup(search->by_name, name) : NULL;
			if (wanted && !wanted->found)
				search_offer(search, wanted, &die);
		}
		more = dwarf_siblingof(&die, &die);
	}
	return more >= 0;
}

/* Units without a name are partial ones: what dwz found in several. */
static bool unit_is_quick(Dwarf_Die *unit)
{
	const char *name = dwarf_diename(unit);
	if (!name)
		return true;
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	for (size_t i = 0; i < G_N_ELEMENTS(quick_units); i++)
		if (!strcmp(base, quick_units[i]))
			return true;
	return false;
}

static bool search_units(struct search *search, Dwarf *dwarf, bool quick)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit, skeleton;
	uint8_t kind;
	int more;
	while ((more = dwarf_get_units(dwarf, cu, &cu, NULL, &kind, &unit, &skeleton)) == 0) {
		if (!search->dies--)
			return false;
		if (search->n_found == search->wanted->len)
			return true;
		if (unit_is_quick(&unit) == quick && !unit_search(search, &unit))
			return false;
	}
	return more >= 0;
}

static struct wanted *search_find(const struct search *search, const char *name, size_t length)
{
	g_autofree char *key = g_strndup(name, length);
	struct wanted *wanted = g_hash_table_lookup(search->by_name, key);
	return wanted && wanted->found ? wanted : NULL;
}

static bool search_has_essentials(const struct search *search)
{
	for (size_t i = 0; i < G_N_ELEMENTS(essential); i++) {
		bool found = false;
		for (const char *at = essential[i]; *at && !found;) {
			size_t length = strcspn(at, "|");
			found = search_find(search, at, length) != NULL;
			at += length + (at[length] == '|');
		}
		if (!found)
			return false;
	}
	return true;
}

/* a member's offset; false: a bit field, or something that isn't a constant */
static bool member_offset(Dwarf_Die *member, uint64_t *offset)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;
	if (dwarf_hasattr(member, DW_AT_bit_size))
		return false;
	*offset = 0;
	if (!dwarf_attr(member, DW_AT_data_member_location, &attribute))
		return true; /* of a union */
	if (!dwarf_formudata(&attribute, &value)) {
		*offset = value;
		return true;
	}
	Dwarf_Op *operations;
	size_t n;
	if (dwarf_getlocation(&attribute, &operations, &n) || n != 1 || operations[0].atom != DW_OP_plus_uconst)
		return false;
	*offset = operations[0].number;
	return true;
}

static bool member_type(Dwarf_Die *member, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;
	return dwarf_attr(member, DW_AT_type, &attribute) && dwarf_formref_die(&attribute, type);
}

/*
 * Find the member `name` of `type`; members of anonymous structures and unions in it count as its own. Adds its offset
 * to *offset and sets *found.
 */
static bool member_find(Dwarf_Die *type, const char *name, size_t length, uint64_t *offset, Dwarf_Die *found,
			unsigned depth, uint64_t *budget)
{
	Dwarf_Die child;
	if (depth > NESTING_MAX || dwarf_child(type, &child))
		return false;
	Dwarf_Off last = 0;
	do {
		Dwarf_Off here = dwarf_dieoffset(&child);
		if (here <= last || !(*budget)--)
			return false;
		last = here;
		uint64_t at;
		if (dwarf_tag(&child) != DW_TAG_member || !member_offset(&child, &at))
			continue;
		const char *own = dwarf_diename(&child);
		if (own && !strncmp(own, name, length) && !own[length]) {
			*offset += at;
			*found = child;
			return true;
		}
		Dwarf_Die inner;
		if (own || !member_type(&child, &inner) || !type_peel(&inner))
			continue;
		uint64_t nested = *offset + at;
		if (member_find(&inner, name, length, &nested, found, depth + 1, budget)) {
			*offset = nested;
			return true;
		}
	} while (dwarf_siblingof(&child, &child) == 0);
	return false;
}

/* "path.to.field" inside a structure -> its offset; "path.to.field@end" -> where the field ends */
static bool path_resolve(Dwarf_Die *structure, const char *path, size_t length, uint64_t *offset)
{
	static const char end_mark[] = "@end";
	const size_t mark = sizeof(end_mark) - 1;
	bool want_end = length > mark && !strncmp(path + length - mark, end_mark, mark);
	Dwarf_Die type = *structure;
	const char *end = path + length - (want_end ? mark : 0);
	uint64_t budget = MEMBERS_MAX;
	*offset = 0;
	while (path < end) {
		const char *dot = memchr(path, '.', (size_t)(end - path));
		size_t part = dot ? (size_t)(dot - path) : (size_t)(end - path);
		Dwarf_Die member, next;
		if (!member_find(&type, path, part, offset, &member, 0, &budget))
			return false;
		path += part + (dot ? 1 : 0);
		if (path < end) {
			if (!member_type(&member, &next) || !type_peel(&next))
				return false;
			type = next;
		} else if (want_end) {
			Dwarf_Word size;
			if (!member_type(&member, &next) || dwarf_aggregate_size(&next, &size))
				return false;
			*offset += size;
		}
	}
	return true;
}

/* Its first member, or the first one of that, is a PyObject (struct _object). */
static bool type_is_object(const Dwarf_Die *structure)
{
	Dwarf_Die type = *structure, member, next;
	for (unsigned depth = 0; depth < NESTING_MAX; depth++) {
		const char *name = dwarf_diename(&type);
		if (name && !strcmp(name, "_object"))
			return true;
		if (dwarf_child(&type, &member) || dwarf_tag(&member) != DW_TAG_member ||
		    !member_type(&member, &next) || !type_peel(&next))
			return false;
		type = next;
	}
	return false;
}

/* the first alternative that exists; *known when at least one of the structures does */
static uint32_t field_resolve(const struct search *search, const struct py_layout_field *field, bool *known,
			      bool *object)
{
	*known = *object = false;
	for (const char *at = field->path; *at;) {
		size_t length = strcspn(at, "|"), name = strcspn(at, ".|");
		struct wanted *wanted = search_find(search, at, name);
		if (wanted) {
			Dwarf_Word size;
			uint64_t offset;
			*known = true;
			*object = type_is_object(&wanted->type);
			if (field->is_size && !dwarf_aggregate_size(&wanted->type, &size) && size < PY_ABSENT)
				return (uint32_t)size;
			if (!field->is_size && length > name &&
			    path_resolve(&wanted->type, at + name + 1, length - name - 1, &offset) &&
			    offset < PY_ABSENT)
				return (uint32_t)offset;
		}
		at += length + (at[length] == '|');
	}
	return PY_ABSENT;
}

static void layout_fill(const struct search *search, struct dwarf_layout *out)
{
	memset(out, 0, sizeof(*out));
	out->known = g_new0(bool, py_layout_n_fields);
	out->object = g_new0(bool, py_layout_n_fields);
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t value = field_resolve(search, &py_layout_fields[i], &out->known[i], &out->object[i]);
		memcpy((char *)&out->layout + py_layout_fields[i].position, &value, sizeof(value));
		out->n_known += out->known[i];
	}
}

/* A compressed section says how large it gets; one that lies would eat our memory. */
static bool sections_are_sane(const struct elf_file *elf)
{
	Elf_Scn *section = NULL;
	while ((section = elf_nextscn(elf->elf, section))) {
		GElf_Shdr header;
		GElf_Chdr compressed;
		if (!gelf_getshdr(section, &header))
			return false;
		if (header.sh_type != SHT_NOBITS && header.sh_size > SECTION_BYTES_MAX)
			return false;
		if ((header.sh_flags & SHF_COMPRESSED) && gelf_getchdr(section, &compressed) &&
		    compressed.ch_size > SECTION_BYTES_MAX)
			return false;
	}
	return true;
}

/*
 * libdw decompresses every section of debug information when it begins, line tables and location lists too, which half
 * of the time goes into. In our copy of the section headers those we don't need lose their names.
 */
static void sections_hide(const struct elf_file *elf)
{
	static const char *const unneeded[] = {".debug_line",   ".debug_loclists", ".debug_loc",  ".debug_rnglists",
					       ".debug_ranges", ".debug_aranges",  ".debug_frame"};
	size_t strings;
	Elf_Scn *section = NULL;
	if (elf_getshdrstrndx(elf->elf, &strings))
		return;
	while ((section = elf_nextscn(elf->elf, section))) {
		GElf_Shdr header;
		const char *name =
			gelf_getshdr(section, &header) ? elf_strptr(elf->elf, strings, header.sh_name) : NULL;
		for (size_t i = 0; name && i < G_N_ELEMENTS(unneeded); i++) {
			if (strcmp(name, unneeded[i]) || !(header.sh_flags & SHF_COMPRESSED))
				continue;
			header.sh_name = 0;
			(void)gelf_update_shdr(section, &header);
			break;
		}
	}
}

/*
 * libdw (0.188) gives out names without looking for their end. Sections that end with a 0, as those of every compiler do (strings,
 * and the null entry that ends a unit's children), can't be run out of.
 */
static bool sections_are_terminated(const struct elf_file *elf)
{
	static const char *const needed[] = {".debug_info", ".debug_str", ".debug_line_str"};
	size_t strings;
	Elf_Scn *section = NULL;
	if (elf_getshdrstrndx(elf->elf, &strings))
		return false;
	while ((section = elf_nextscn(elf->elf, section))) {
		GElf_Shdr header;
		const char *name =
			gelf_getshdr(section, &header) ? elf_strptr(elf->elf, strings, header.sh_name) : NULL;
		for (size_t i = 0; name && i < G_N_ELEMENTS(needed); i++) {
			/* "z" for the sections that were compressed the old way: .zdebug_info */
			if (strcmp(name, needed[i]) && (strncmp(name, ".z", 2) || strcmp(name + 2, needed[i] + 1)))
				continue;
			Elf_Data *data = elf_getdata(section, NULL);
			if (data && data->d_size && ((const char *)data->d_buf)[data->d_size - 1])
				return false;
		}
	}
	return true;
}

bool dwarf_layout_read(const struct elf_file *elf, enum dwarf_effort effort, struct dwarf_layout *out, GError **error)
{
	struct elf_section info;
	memset(out, 0, sizeof(*out));
	if (!elf_section_find(elf, ".debug_info", &info) && !elf_section_find(elf, ".zdebug_info", &info)) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, NULL, NULL, "there is no debug information");
		return false;
	}
	sections_hide(elf);
	Dwarf *dwarf = sections_are_sane(elf) ? dwarf_begin_elf(elf->elf, DWARF_C_READ, NULL) : NULL;
	if (dwarf && !sections_are_terminated(elf)) {
		dwarf_end(dwarf);
		dwarf = NULL;
	}
	if (!dwarf) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "the debug information is corrupt");
		return false;
	}
	struct search search;
	search_init(&search);
	bool intact = search_units(&search, dwarf, true);
	if (intact && (effort == DWARF_ALL || !search_has_essentials(&search)))
		intact = search_units(&search, dwarf, false);
	bool complete = search_has_essentials(&search);
	if (complete || (intact && effort == DWARF_ALL && search.n_found))
		layout_fill(&search, out);
	else
		error_set(error, SYMBOLS_ERROR, intact ? REFTOP_ERROR_UNKNOWN : REFTOP_ERROR_FAILED, NULL, NULL,
			  intact ? "the debug information lacks CPython's structures"
				 : "the debug information is corrupt");
	search_clear(&search);
	dwarf_end(dwarf);
	return out->known != NULL;
}

void dwarf_layout_clear(struct dwarf_layout *layout)
{
	g_free(layout->known);
	g_free(layout->object);
	memset(layout, 0, sizeof(*layout));
}
