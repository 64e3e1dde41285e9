/*
 * layouts: print the built-in table of an interpreter.
 *
 *     layouts [-t TITLE] [-o FILE] [-b TABLE]... FILE... [-x BYTES FILE...]
 *
 * The first FILE is the ELF file that holds CPython (libpython or a static python), or an object made of its headers.
 * Fields it knows nothing about are looked for in the other FILEs (lib-dynload/...), in their order. Those behind -x
 * are of a build whose object header is BYTES shorter: objects' fields found there are moved by that much. What all of
 * them lack isn't printed. With -b only what differs from the tables given is.
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

/* a table being made */
struct table {
	struct py_layout layout, base;
	bool *known;
	bool has_base;
};

/* take over from `path` what isn't known yet */
static bool merge(struct table *table, const char *path, uint32_t header, bool required)
{
	g_autoptr(GError) error = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "layouts: cannot open %s\n", path);
		return false;
	}
	g_autoptr(elf_file_t) elf = elf_open(fd, path, &error);
	struct dwarf_layout read;
	if (!elf || !dwarf_layout_read(elf, DWARF_ALL, &read, &error)) {
		if (required)
			fprintf(stderr, "layouts: %s: %s\n", path, error->message);
		return !required;
	}
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		if (table->known[i] || !read.known[i])
			continue;
		table->known[i] = true;
		uint32_t value = *member(&read.layout, i);
		/* what is at 0 in an object holds the header, it doesn't come after it */
		bool moves = value != PY_ABSENT && value && read.object[i];
		*member(&table->layout, i) = moves ? value + header : value;
	}
	dwarf_layout_clear(&read);
	return true;
}

/* the lines ".name = value," of a table written before */
static bool base_read(struct table *table, const char *path)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	if (!g_file_get_contents(path, &text, NULL, &error)) {
		fprintf(stderr, "layouts: %s\n", error->message);
		return false;
	}
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char name[64], value[32];
		if (sscanf(*line, ".%63[a-z0-9_] = %31[A-Z0-9_],", name, value) != 2)
			continue;
		for (size_t i = 0; i < py_layout_n_fields; i++)
			if (!strcmp(py_layout_fields[i].name, name))
				*member(&table->base, i) = !strcmp(value, "PY_ABSENT")
								   ? PY_ABSENT
								   : (uint32_t)g_ascii_strtoull(value, NULL, 10);
	}
	table->has_base = true;
	return true;
}

static char *table_text(struct table *table, const char *title)
{
	GString *text = g_string_new(NULL);
	g_string_append_printf(text, "/* %s. Written by `make layouts`, don't edit. */\n", title);
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t value = *member(&table->layout, i);
		if (value == *member(&table->base, i))
			continue;
		if (value == PY_ABSENT)
			g_string_append_printf(text, ".%s = PY_ABSENT,\n", py_layout_fields[i].name);
		else
			g_string_append_printf(text, ".%s = %u,\n", py_layout_fields[i].name, value);
	}
	return g_string_free(text, FALSE);
}

static int usage(void)
{
	fprintf(stderr, "usage: layouts [-t TITLE] [-o FILE] [-b TABLE]... FILE... [-x BYTES FILE...]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *output = NULL, *title = NULL;
	struct table table = {.known = g_new0(bool, py_layout_n_fields)};
	uint32_t header = 0;
	bool first = true;
	for (size_t i = 0; i < py_layout_n_fields; i++)
		*member(&table.layout, i) = *member(&table.base, i) = PY_ABSENT;
	for (int i = 1; i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		if (argv[i][0] == '-' && !next)
			return usage();
		if (!strcmp(argv[i], "-o")) {
			output = argv[++i];
		} else if (!strcmp(argv[i], "-t")) {
			title = argv[++i];
		} else if (!strcmp(argv[i], "-x")) {
			header = (uint32_t)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "-b")) {
			if (!base_read(&table, argv[++i]))
				return 1;
		} else {
			if (!title)
				title = argv[i];
			if (!merge(&table, argv[i], header, first))
				return 1;
			first = false;
		}
	}
	if (first)
		return usage();
	g_autofree char *text = table_text(&table, title);
	g_autoptr(GError) error = NULL;
	if (!output) {
		fputs(text, stdout);
	} else if (!g_file_set_contents(output, text, -1, &error)) {
		fprintf(stderr, "layouts: %s\n", error->message);
		return 1;
	}
	g_free(table.known);
	return 0;
}
