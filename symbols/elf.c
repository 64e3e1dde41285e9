#include "symbols/elf.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

#define SYMBOLS_AT_MAX 10000000u /* of one table */

#define PAGE 4096u
/* No ELF file of a CPython has more than a handful. */
#define SEGMENTS_MAX 512u
/* Where the user's half of the address space ends on x86-64 (5-level page tables included). */
#define ADDRESS_MAX (1ull << 56)

static struct elf_file *elf_corrupt(const char *name, const char *cause, GError **error)
{
	error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_FAILED, cause, NULL, "cannot read the ELF file %s", name);
	return NULL;
}

/* A segment is taken only when its address arithmetic can't wrap. */
static bool segments_load(struct elf_file *elf)
{
	size_t n;
	if (elf_getphdrnum(elf->elf, &n) || n > SEGMENTS_MAX)
		return false;
	elf->segments = g_new0(GElf_Phdr, n + 1);
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr header;
		if (!gelf_getphdr(elf->elf, (int)i, &header))
			return false;
		if (header.p_type != PT_LOAD)
			continue;
		if (header.p_vaddr >= ADDRESS_MAX || header.p_memsz > ADDRESS_MAX - header.p_vaddr ||
		    header.p_filesz > header.p_memsz || header.p_offset > INT64_MAX ||
		    header.p_filesz > INT64_MAX - header.p_offset)
			return false;
		const GElf_Phdr *last = elf->n_segments ? &elf->segments[elf->n_segments - 1] : NULL;
		if (last && header.p_vaddr < last->p_vaddr + last->p_memsz)
			return false;
		elf->segments[elf->n_segments++] = header;
	}
	return true;
}

struct elf_file *elf_open(int fd, const char *name, GError **error)
{
	g_autoptr(elf_file_t) elf = g_new0(struct elf_file, 1);
	elf->fd = fd;
	elf_version(EV_CURRENT);
	elf->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf->elf)
		return elf_corrupt(name, elf_errmsg(-1), error);
	GElf_Ehdr header;
	if (elf_kind(elf->elf) != ELF_K_ELF) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, "it isn't an ELF file", NULL, "cannot read %s",
			  name);
		return NULL;
	}
	if (!gelf_getehdr(elf->elf, &header))
		return elf_corrupt(name, elf_errmsg(-1), error);
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN, "only 64-bit x86-64 is supported", NULL,
			  "%s is for another machine", name);
		return NULL;
	}
	elf->position_fixed = header.e_type == ET_EXEC;
	if (!segments_load(elf))
		return elf_corrupt(name, "its program headers are corrupt", error);
	return g_steal_pointer(&elf);
}

void elf_close(struct elf_file *elf)
{
	if (!elf)
		return;
	if (elf->elf)
		elf_end(elf->elf);
	if (elf->fd >= 0)
		close(elf->fd);
	g_free(elf->segments);
	g_free(elf);
}

/* Compare a name with "wanted" or "wanted.<what the compiler appended>". */
static bool name_is(const char *name, const char *wanted, bool local)
{
	size_t length = strlen(wanted);
	if (strncmp(name, wanted, length))
		return false;
	return !name[length] || (local && name[length] == '.');
}

static void symbol_match(struct elf_symbol *wanted, const GElf_Sym *symbol, bool local, bool *is_local)
{
	if (!wanted->found || (*is_local && !local)) {
		wanted->found = true;
		wanted->ambiguous = false;
		wanted->value = symbol->st_value;
		wanted->size = symbol->st_size;
		*is_local = local;
	} else if (*is_local && local && wanted->value != symbol->st_value) {
		wanted->ambiguous = true;
	}
}

static void table_search(const struct elf_file *elf, Elf_Scn *section, const GElf_Shdr *header,
			 struct elf_symbol *symbols, size_t n, bool *is_local)
{
	Elf_Data *data = elf_getdata(section, NULL);
	if (!data || !data->d_buf)
		return;
	/* first letters sort out nearly everything before a strcmp */
	uint8_t first[256] = {0};
	for (size_t i = 0; i < n; i++)
		first[(uint8_t)symbols[i].name[0]] = 1;
	size_t count = data->d_size / sizeof(Elf64_Sym);
	for (size_t i = 1; i < count && i < INT32_MAX; i++) {
		GElf_Sym symbol;
		if (!gelf_getsym(data, (int)i, &symbol))
			return;
		unsigned type = GELF_ST_TYPE(symbol.st_info);
		if (symbol.st_shndx == SHN_UNDEF || type == STT_FILE || type == STT_SECTION || type == STT_TLS)
			continue;
		const char *name = elf_strptr(elf->elf, header->sh_link, symbol.st_name);
		if (!name || !first[(uint8_t)name[0]])
			continue;
		bool local = GELF_ST_BIND(symbol.st_info) == STB_LOCAL;
		for (size_t k = 0; k < n; k++)
			if (symbols[k].name[0] == name[0] && name_is(name, symbols[k].name, local))
				symbol_match(&symbols[k], &symbol, local, &is_local[k]);
	}
}

size_t elf_symbols_find(const struct elf_file *elf, struct elf_symbol *symbols, size_t n)
{
	g_autofree bool *is_local = g_new0(bool, n + 1);
	for (size_t i = 0; i < n; i++)
		symbols[i].found = symbols[i].ambiguous = false;
	Elf_Scn *section = NULL;
	while ((section = elf_nextscn(elf->elf, section))) {
		GElf_Shdr header;
		if (gelf_getshdr(section, &header) && (header.sh_type == SHT_DYNSYM || header.sh_type == SHT_SYMTAB))
			table_search(elf, section, &header, symbols, n, is_local);
	}
	size_t found = 0;
	for (size_t i = 0; i < n; i++)
		found += symbols[i].found;
	return found;
}

static Elf_Scn *section_by_name(const struct elf_file *elf, const char *name, GElf_Shdr *header)
{
	size_t strings;
	if (elf_getshdrstrndx(elf->elf, &strings))
		return NULL;
	Elf_Scn *section = NULL;
	while ((section = elf_nextscn(elf->elf, section))) {
		if (!gelf_getshdr(section, header))
			continue;
		const char *found = elf_strptr(elf->elf, strings, header->sh_name);
		if (found && !strcmp(found, name))
			return section;
	}
	return NULL;
}

char *elf_symbol_at(const struct elf_file *elf, uint64_t address)
{
	Elf_Scn *section = NULL;
	while ((section = elf_nextscn(elf->elf, section))) {
		GElf_Shdr header;
		GElf_Sym symbol;
		if (!gelf_getshdr(section, &header) || (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM) ||
		    !header.sh_entsize)
			continue;
		Elf_Data *data = elf_getdata(section, NULL);
		size_t n = data ? MIN(header.sh_size / header.sh_entsize, SYMBOLS_AT_MAX) : 0;
		for (size_t i = 0; i < n && gelf_getsym(data, (int)i, &symbol); i++) {
			unsigned type = GELF_ST_TYPE(symbol.st_info);
			if ((type != STT_OBJECT && type != STT_FUNC) || symbol.st_shndx == SHN_UNDEF ||
			    address - symbol.st_value >= symbol.st_size)
				continue;
			const char *raw = elf_strptr(elf->elf, header.sh_link, symbol.st_name);
			if (!raw || !*raw)
				continue;
			g_autofree char *name = text_escape(raw, strlen(raw));
			uint64_t offset = address - symbol.st_value;
			return offset ? g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", name, offset)
				      : g_steal_pointer(&name);
		}
	}
	return NULL;
}

bool elf_section_find(const struct elf_file *elf, const char *name, struct elf_section *section)
{
	GElf_Shdr header;
	if (!section_by_name(elf, name, &header))
		return false;
	section->address = header.sh_addr;
	section->offset = header.sh_offset;
	section->size = header.sh_size;
	return true;
}

static bool file_read(int fd, void *out, size_t size, uint64_t offset)
{
	uint8_t *to = out;
	while (size) {
		ssize_t n = pread(fd, to, size, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return true;
}

bool elf_read(const struct elf_file *elf, uint64_t address, void *out, uint64_t size)
{
	for (size_t i = 0; i < elf->n_segments; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		if (address < segment->p_vaddr || address - segment->p_vaddr >= segment->p_memsz)
			continue;
		uint64_t inside = address - segment->p_vaddr;
		if (size > segment->p_memsz - inside)
			return false;
		uint64_t stored = inside < segment->p_filesz ? segment->p_filesz - inside : 0;
		if (stored > size)
			stored = size;
		memset((uint8_t *)out + stored, 0, size - stored);
		return file_read(elf->fd, out, stored, segment->p_offset + inside);
	}
	return false;
}

char *elf_build_id(const struct elf_file *elf)
{
	const void *bits;
	ssize_t size = dwelf_elf_gnu_build_id(elf->elf, &bits);
	if (size < 2 || size > 64)
		return NULL;
	GString *text = g_string_new(NULL);
	for (ssize_t i = 0; i < size; i++)
		g_string_append_printf(text, "%02x", ((const uint8_t *)bits)[i]);
	return g_string_free(text, FALSE);
}

char *elf_debuglink(const struct elf_file *elf, uint32_t *checksum)
{
	GElf_Word crc;
	const char *name = dwelf_elf_gnu_debuglink(elf->elf, &crc);
	/* it names a file next to this one; anything that leads elsewhere isn't one */
	if (!name || !name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return NULL;
	*checksum = crc;
	return g_strdup(name);
}

static bool same_file(const struct mapping *a, const struct mapping *b)
{
	return a->inode == b->inode && a->device_major == b->device_major && a->device_minor == b->device_minor;
}

/* The mapping the kernel or ld.so made of a segment is at the segment's page, has its offset and its rights to execute.
 */
static bool segment_maps(const GElf_Phdr *segment, const struct mapping *mapping, uint64_t *bias)
{
	if (mapping->offset != (segment->p_offset & ~(uint64_t)(PAGE - 1)))
		return false;
	if (mapping->executable != !!(segment->p_flags & PF_X))
		return false;
	*bias = mapping->start - (segment->p_vaddr & ~(uint64_t)(PAGE - 1));
	return true;
}

/* how many segments of the file lie where `bias` would put them */
static size_t bias_votes(const struct elf_file *elf, const struct maps *maps, const struct mapping *of, uint64_t bias)
{
	size_t votes = 0;
	for (size_t i = 0; i < elf->n_segments; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		const struct mapping *mapping = maps_find(maps, bias + segment->p_vaddr);
		uint64_t offset = segment->p_offset & ~(uint64_t)(PAGE - 1);
		votes += mapping && same_file(mapping, of) && mapping->offset <= offset &&
			 offset - mapping->offset < mapping->end - mapping->start;
	}
	return votes;
}

bool elf_bias(const struct elf_file *elf, const struct maps *maps, const struct mapping *mapping, uint64_t *bias,
	      uint64_t *start, uint64_t *end)
{
	size_t best = 0;
	*bias = 0;
	if (elf->position_fixed) {
		best = bias_votes(elf, maps, mapping, 0);
	} else {
		for (size_t i = 0; i < maps->n; i++) {
			const struct mapping *other = &maps->mappings[i];
			if (!other->inode || !same_file(other, mapping))
				continue;
			for (size_t k = 0; k < elf->n_segments; k++) {
				uint64_t candidate;
				if (!segment_maps(&elf->segments[k], other, &candidate))
					continue;
				size_t votes = bias_votes(elf, maps, mapping, candidate);
				if (votes > best) {
					best = votes;
					*bias = candidate;
				}
			}
		}
	}
	if (!best)
		return false;
	const GElf_Phdr *first = &elf->segments[0], *last = &elf->segments[elf->n_segments - 1];
	*start = *bias + (first->p_vaddr & ~(uint64_t)(PAGE - 1));
	*end = *bias + ((last->p_vaddr + last->p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1));
	return true;
}
