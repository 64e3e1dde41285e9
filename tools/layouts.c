/*
 * layouts: print the built-in table of an interpreter, or compare two of them.
 *
 *     layouts [-o FILE] INTERPRETER [EXTENSION...]
 *
 * INTERPRETER is the ELF file that holds CPython (libpython or a static python), or an object file made of its headers. Fields
 * it knows nothing about are looked for in the EXTENSIONs (lib-dynload/…), in their order. What all of them lack isn't printed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/dwarf.h"

static uint32_t *member(struct py_layout *layout, size_t field)
{
	return (uint32_t *)(void *)((char *)layout + py_layout_fields[field].position);
}

/* take over from `path` what isn't known yet */
static bool merge(const char *path, struct py_layout *layout, bool *known, bool required)
{
	g_autoptr(GError) error = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "layouts: cannot open %s\n", path);
		return !required;
	}
	g_autoptr(elf_file_t) elf = elf_open(fd, path, &error);
	struct dwarf_layout read;
	if (!elf || !dwarf_layout_read(elf, DWARF_ALL, &read, &error)) {
		if (required)
			fprintf(stderr, "layouts: %s: %s\n", path, error->message);
		return !required;
	}
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		if (known[i] || !read.known[i])
			continue;
		known[i] = true;
		*member(layout, i) = *member(&read.layout, i);
	}
	dwarf_layout_clear(&read);
	return true;
}

int main(int argc, char **argv)
{
	const char *output = NULL, *title = NULL;
	int first = 1;
	for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
		if (!strcmp(argv[first], "-o"))
			output = argv[first + 1];
		else if (!strcmp(argv[first], "-t"))
			title = argv[first + 1];
	}
	if (first >= argc) {
		fprintf(stderr, "usage: layouts [-o FILE] [-t TITLE] INTERPRETER [EXTENSION...]\n");
		return 2;
	}
	struct py_layout layout;
	g_autofree bool *known = g_new0(bool, py_layout_n_fields);
	for (size_t i = 0; i < py_layout_n_fields; i++)
		*member(&layout, i) = PY_ABSENT;
	for (int i = first; i < argc; i++)
		if (!merge(argv[i], &layout, known, i == first))
			return 1;
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_append_printf(text, "/* %s. Written by `make layouts`, don't edit. */\n", title ? title : argv[first]);
	for (size_t i = 0; i < py_layout_n_fields; i++)
		if (*member(&layout, i) != PY_ABSENT)
			g_string_append_printf(text, ".%s = %u,\n", py_layout_fields[i].name, *member(&layout, i));
	if (!output) {
		fputs(text->str, stdout);
		return 0;
	}
	g_autoptr(GError) error = NULL;
	if (!g_file_set_contents(output, text->str, (gssize)text->len, &error)) {
		fprintf(stderr, "layouts: %s\n", error->message);
		return 1;
	}
	return 0;
}
