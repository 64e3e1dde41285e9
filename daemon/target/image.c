#include "daemon/target/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/target/calls.h"
#include "daemon/target/file.h"
#include "daemon/target/image_private.h"

#define MAX_STRUCTURE (64u << 20)
#define MAX_TEXT      (64u << 20) /* of the sections that aren't pages */

/* a PAGES section */
struct piece {
	uint64_t address, size, offset, stored;
	bool loaded, bad;
};

struct image {
	struct file_target file;
	int fd;
	uint64_t size;
	GArray *pieces; /* of struct piece, ascending */
	char *meta, *threads;
	bool complete;
	GMutex lock; /* of what is loaded */
};

static void image_free(struct file_target *file)
{
	struct image *image = (struct image *)file;
	close(image->fd);
	g_array_unref(image->pieces);
	g_free(image->meta);
	g_free(image->threads);
	g_mutex_clear(&image->lock);
	file_clear(file);
	g_free(image);
}

bool image_is_one(int fd)
{
	char magic[sizeof(IMAGE_MAGIC)];
	return file_read_at(fd, magic, sizeof(magic), 0) && !memcmp(magic, IMAGE_MAGIC, sizeof(magic));
}

static bool fail(const struct image *image, const char *cause, GError **error)
{
	error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, cause, NULL, "cannot read image %s", image->file.path);
	return false;
}

/* ---- sections ---- */

/* The content of a section to `out`. */
static bool unpack(const struct image *image, uint64_t offset, uint64_t stored, void *out, uint64_t size)
{
	if (stored == size)
		return file_read_at(image->fd, out, size, offset);
	g_autofree void *packed = g_try_malloc(stored);
	return packed && file_read_at(image->fd, packed, stored, offset) &&
	       ZSTD_decompress(out, size, packed, stored) == size;
}

static char *unpack_text(const struct image *image, const struct image_section *section, uint64_t offset)
{
	char *text = section->size <= MAX_TEXT ? g_try_malloc(section->size + 1) : NULL;
	if (text && unpack(image, offset, section->stored, text, section->size)) {
		text[section->size] = '\0';
		return text;
	}
	g_free(text);
	return NULL;
}

static bool add_regions(struct image *image, const struct image_section *section, uint64_t offset, GError **error)
{
	g_autofree char *bytes = unpack_text(image, section, offset);
	uint64_t end = 0;
	for (uint64_t at = 0; bytes && section->size - at >= sizeof(struct image_region);
	     at += sizeof(struct image_region)) {
		struct image_region region;
		memcpy(&region, bytes + at, sizeof(region));
		if (!region.size || region.start < end || region.size > UINT64_MAX / 2 || region.start > UINT64_MAX / 2)
			return fail(image, "its regions make no sense", error);
		end = region.start + region.size;
		uint8_t *window = file_window(&image->file, region.start, end);
		if (window)
			file_region(&image->file, region.start, end, window, (uint32_t)region.mapping, NULL);
		else
			image->file.incomplete = true;
	}
	return bytes || fail(image, "its list of regions is damaged", error);
}

static bool add_section(struct image *image, const struct image_section *section, uint64_t offset, GError **error)
{
	g_autofree char *maps = NULL;
	struct piece piece = {section->address, section->size, offset, section->stored, false, false};
	const struct piece *last =
		image->pieces->len ? &g_array_index(image->pieces, struct piece, image->pieces->len - 1) : NULL;
	switch (section->kind) {
	case IMAGE_META:
		image->meta = image->meta ? image->meta : unpack_text(image, section, offset);
		break;
	case IMAGE_MAPS:
		maps = unpack_text(image, section, offset);
		if (image->file.maps || !maps)
			break;
		image->file.maps = maps_parse(maps, section->size, error);
		return image->file.maps != NULL;
	case IMAGE_THREADS:
		image->threads = image->threads ? image->threads : unpack_text(image, section, offset);
		break;
	case IMAGE_REGIONS:
		return image->file.regions->len || add_regions(image, section, offset, error);
	case IMAGE_PAGES:
		if (!section->size || section->size > IMAGE_PIECE || section->address > UINT64_MAX / 2 ||
		    (last && section->address < last->address + last->size))
			return fail(image, "its pages are out of order", error);
		image->file.bytes += section->size;
		g_array_append_val(image->pieces, piece);
		break;
	case IMAGE_END:
		image->complete = true;
		break;
	}
	return true;
}

static bool read_sections(struct image *image, GError **error)
{
	uint64_t at = sizeof(IMAGE_MAGIC);
	struct image_section section;
	while (!image->complete && image->size - at >= sizeof(section) &&
	       file_read_at(image->fd, &section, sizeof(section), at)) {
		at += sizeof(section);
		if (section.stored > image->size - at)
			break;
		if (!add_section(image, &section, at, error))
			return false;
		at += section.stored;
	}
	if (image->meta && image->file.maps && image->threads && image->file.regions->len)
		return true;
	return fail(image, image->complete ? "parts of it are missing" : "it is truncated", error);
}

/* Where the file ends early nothing is known of what lies behind its last pages. */
static void cut_regions(struct image *image)
{
	const GArray *pieces = image->pieces;
	uint64_t end = 0;
	if (pieces->len) {
		const struct piece *last = &g_array_index(pieces, struct piece, pieces->len - 1);
		end = last->address + last->size;
	}
	image->file.incomplete = true;
	for (guint i = image->file.regions->len; i-- > 0;) {
		struct memory_region *region = &g_array_index(image->file.regions, struct file_region, i).region;
		if (region->start + region->size <= end)
			break;
		uint64_t keep = region->start < end ? end - region->start : 0;
		image->file.missing += region->size - keep;
		region->size = keep;
		if (!keep)
			g_array_remove_index(image->file.regions, i);
	}
}

/* ---- pages ---- */

static guint piece_find(const GArray *pieces, uint64_t address)
{
	guint low = 0, high = pieces->len;
	while (low < high) {
		guint middle = low + (high - low) / 2;
		const struct piece *piece = &g_array_index(pieces, struct piece, middle);
		if (piece->address + piece->size <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void piece_load(const struct image *image, struct piece *piece, const struct memory_region *region)
{
	piece->loaded = true;
	piece->bad = piece->address < region->start || piece->size > region->size - (piece->address - region->start) ||
		     !unpack(image, piece->offset, piece->stored,
			     (uint8_t *)region->bytes + (piece->address - region->start), piece->size);
}

static bool load(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	struct image *image = memory->context;
	uint64_t start = region->start + offset;
	bool good = true;
	g_mutex_lock(&image->lock);
	for (guint i = piece_find(image->pieces, start); i < image->pieces->len && good; i++) {
		struct piece *piece = &g_array_index(image->pieces, struct piece, i);
		if (piece->address >= start + size)
			break;
		if (!piece->loaded)
			piece_load(image, piece, region);
		good = !piece->bad;
	}
	g_mutex_unlock(&image->lock);
	return good;
}

/* ---- the target ---- */

static void read_threads(struct image *image)
{
	g_auto(GStrv) lines = g_strsplit(image->threads, "\n", -1);
	image->file.threads = g_new0(struct snapshot_thread, g_strv_length(lines) + 1);
	for (char **line = lines; *line && **line; line++) {
		struct snapshot_thread thread = {0};
		char *at = *line;
		thread.tid = (pid_t)strtol(at, &at, 10);
		while (*at == ' ')
			at++;
		thread.state = *at == '?' ? '\0' : *at;
		if (*at)
			thread.has_registers = strtol(at + 1, &at, 10);
		for (size_t i = 0; i < G_N_ELEMENTS(thread.registers); i++)
			thread.registers[i] = g_ascii_strtoull(at, &at, 16);
		g_autofree char *name = g_strcompress(*at ? at + 1 : at);
		memcpy(thread.name, name, MIN(strlen(name), sizeof(thread.name)));
		if (thread.has_registers)
			call_of_registers(thread.registers, &thread.call);
		image->file.threads[image->file.n_threads++] = thread;
	}
}

static void set_layout(struct py_layout *layout, const char *name, uint32_t value)
{
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		if (!strcmp(py_layout_fields[i].name, name))
			memcpy((char *)layout + py_layout_fields[i].position, &value, sizeof(value));
	}
}

/* what META says; names this version doesn't know are skipped */
struct meta {
	interpreter_t *interpreter;
	GPtrArray *arguments;
	char *exe;
	int64_t pid, start_time, block_alignment;
};

static void read_line(struct image *image, struct meta *meta, const char *name, const char *text)
{
	interpreter_t *interpreter = meta->interpreter;
	int64_t number = g_ascii_strtoll(text, NULL, 10);
	g_autofree char *value = g_strcompress(text);
	for (size_t i = 0; i < image_n_numbers; i++) {
		if (!strcmp(name, image_numbers[i].name))
			image_number_set(interpreter, &image_numbers[i], (uint64_t)number);
	}
	if (g_str_has_prefix(name, "layout."))
		set_layout(&interpreter->layout, name + strlen("layout."), (uint32_t)g_ascii_strtoull(text, NULL, 10));
	else if (!strcmp(name, "pid"))
		meta->pid = number;
	else if (!strcmp(name, "start_time"))
		meta->start_time = number;
	else if (!strcmp(name, "time"))
		image->file.time_us = number;
	else if (!strcmp(name, "consistent"))
		image->file.torn = !number;
	else if (!strcmp(name, "missing"))
		image->file.missing += (uint64_t)number;
	else if (!strcmp(name, "block_alignment"))
		meta->block_alignment = number;
	else if (!strcmp(name, "argument"))
		g_ptr_array_add(meta->arguments, text_escape(value, G_MAXSIZE));
	else if (!strcmp(name, "exe") && !meta->exe)
		meta->exe = text_escape(value, G_MAXSIZE);
	else if (!strcmp(name, "path") && !interpreter->path)
		interpreter->path = text_escape(value, G_MAXSIZE);
	else if (!strcmp(name, "version_text"))
		g_strlcpy(interpreter->version_text, value, sizeof(interpreter->version_text));
}

static void meta_read(struct image *image, struct meta *meta)
{
	g_auto(GStrv) lines = g_strsplit(image->meta, "\n", -1);
	for (size_t i = 0; i < py_layout_n_fields; i++)
		set_layout(&meta->interpreter->layout, py_layout_fields[i].name, PY_ABSENT);
	for (char **line = lines; *line; line++) {
		char *value = strchr(*line, '=');
		if (!value)
			continue;
		*value = '\0';
		read_line(image, meta, *line, value + 1);
	}
}

/* whether two lists of a structure's names ("PyFrameObject|_frame", "PyFrameObject.f_code|_frame.f_code") have one in common */
static bool same_structure(const char *size, const char *field)
{
	g_auto(GStrv) sizes = g_strsplit(size, "|", -1), fields = g_strsplit(field, "|", -1);
	for (char **x = sizes; *x; x++) {
		for (char **y = fields; *y; y++) {
			if (g_str_has_prefix(*y, *x) && (*y)[strlen(*x)] == '.')
				return true;
		}
	}
	return false;
}

static uint32_t member(const struct py_layout *layout, size_t i)
{
	uint32_t value;
	memcpy(&value, (const char *)layout + py_layout_fields[i].position, sizeof(value));
	return value;
}

/* A layout from a file is as foreign as the rest of it: what it says must lie inside of the structures. */
static bool layout_sane(const struct py_layout *layout)
{
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t value = member(layout, i);
		if (value != PY_ABSENT && value > MAX_STRUCTURE)
			return false;
		for (size_t k = 0; value != PY_ABSENT && !py_layout_fields[i].is_size && k < py_layout_n_fields; k++) {
			if (py_layout_fields[k].is_size &&
			    same_structure(py_layout_fields[k].path, py_layout_fields[i].path) &&
			    (member(layout, k) == PY_ABSENT || value > member(layout, k)))
				return false;
		}
	}
	/* without these nothing works; free-threaded interpreters count references in two halves */
	bool counted = layout->ob_refcnt != PY_ABSENT ||
		       (layout->ob_ref_local != PY_ABSENT && layout->ob_ref_shared != PY_ABSENT);
	return counted && layout->ob_type != PY_ABSENT && layout->type_size != PY_ABSENT &&
	       layout->code_size != PY_ABSENT && layout->interp_size != PY_ABSENT;
}

static target_t *make_target(struct image *image, GError **error)
{
	interpreter_t *interpreter = g_new0(interpreter_t, 1);
	struct meta meta = {.interpreter = interpreter, .arguments = g_ptr_array_new_with_free_func(g_free)};
	meta_read(image, &meta);
	g_ptr_array_add(meta.arguments, NULL);
	bool known = py_shape_find(interpreter->version, interpreter->free_threaded, &interpreter->layout.shape);
	if (!known || !layout_sane(&interpreter->layout)) {
		fail(image, known ? "its layout makes no sense" : "it is of a CPython this version doesn't know",
		     error);
		g_ptr_array_unref(meta.arguments);
		g_free(meta.exe);
		interpreter_free(interpreter);
		image_free(&image->file);
		return NULL;
	}
	if (meta.block_alignment == 8 || meta.block_alignment == 16)
		interpreter->layout.shape.block_alignment = (uint32_t)meta.block_alignment;
	if (interpreter->origin > LAYOUT_BUILTIN)
		interpreter->origin = LAYOUT_BUILTIN;
	if (!interpreter->path)
		interpreter->path = g_strdup("");
	target_t *target = file_target_new(&image->file, (pid_t)meta.pid);
	target->interpreter = interpreter;
	target->start_time = meta.start_time;
	target->exe = meta.exe ? meta.exe : g_strdup("");
	g_ptr_array_set_free_func(meta.arguments, NULL);
	target->cmdline = (char **)g_ptr_array_free(meta.arguments, FALSE);
	return target;
}

target_t *image_open(int fd, const struct stat *status, const char *path, GError **error)
{
	struct image *image = g_new0(struct image, 1);
	image->fd = fd;
	image->size = (uint64_t)status->st_size;
	image->pieces = g_array_new(FALSE, FALSE, sizeof(struct piece));
	image->file.free = image_free;
	image->file.load = load;
	g_mutex_init(&image->lock);
	file_init(&image->file, path, SNAPSHOT_IMAGE);
	if (!read_sections(image, error)) {
		image_free(&image->file);
		return NULL;
	}
	file_seal(&image->file);
	if (!image->complete)
		cut_regions(image);
	read_threads(image);
	return make_target(image, error);
}
