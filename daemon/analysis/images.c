/* The ELF files in a process's memory, by the headers that are mapped with them. */
#include "daemon/analysis/images.h"

#include <elf.h>
#include <string.h>

#define MAX_SEGMENTS 256
#define PAGE_MASK    4095ull

/* Where the file mapped at `start` ends, with what of .bss has no file behind it; 0: it is no ELF file. */
static uint64_t image_end(const struct memory *memory, uint64_t start)
{
	Elf64_Ehdr header;
	uint64_t lowest = UINT64_MAX, highest = 0;
	if (!memory_read(memory, start, &header, sizeof(header)) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr) ||
	    header.e_phnum > MAX_SEGMENTS)
		return 0;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;
		if (!memory_read(memory, start + header.e_phoff + i * sizeof(segment), &segment, sizeof(segment)))
			return 0;
		if (segment.p_type != PT_LOAD || segment.p_memsz > 1ull << 40 || segment.p_vaddr > 1ull << 47)
			continue;
		lowest = MIN(lowest, segment.p_vaddr & ~PAGE_MASK);
		highest = MAX(highest, segment.p_vaddr + segment.p_memsz);
	}
	return lowest < highest ? start + highest - lowest : 0;
}

GArray *images_find(const struct memory *memory, const struct maps *maps)
{
	GArray *images = g_array_new(FALSE, FALSE, sizeof(struct owners_image));
	for (size_t i = 0; maps && i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		if (mapping->path[0] != '/' || mapping->offset || !mapping->readable)
			continue;
		uint64_t end = image_end(memory, mapping->start);
		/* the first mapping of a loaded file; a second one of its start (ld.so maps some twice) lies inside */
		if (end <= mapping->start ||
		    (images->len && mapping->start < g_array_index(images, struct owners_image, images->len - 1).end))
			continue;
		struct owners_image image = {mapping->start, end, mapping->path};
		g_array_append_val(images, image);
	}
	return images;
}
