#include "daemon/target/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/target/calls.h"
#include "daemon/target/file.h"
#include "daemon/target/image.h"

#define PAGE        4096ull
#define HEAP_REACH  (1ull << 30)
#define MAX_THREADS 1000000
#define MAX_FILES   1000000
#define MAX_NOTE    (1ull << 30)

struct core {
	struct file_target file;
	int fd;
	uint64_t size; /* of the core file */
	Elf *elf;
	GArray *segments; /* of GElf_Phdr: the PT_LOADs */
	GArray *threads;  /* of struct snapshot_thread */
	GPtrArray *paths; /* of struct core_file */
	pid_t pid;
	char comm[17];
	char arguments[81];
	uint64_t program_headers; /* address: of the executable's */
	char *exe;                /* path as the process saw it, unescaped; NULL: not known */
	struct core_options options;
	bool truncated;
	char *mismatch; /* a file that isn't the one that ran; NULL: none */
};

/* an entry of the note of files */
struct core_file {
	uint64_t start, end, offset;
	char *path;
};

static void core_file_free(void *data)
{
	struct core_file *file = data;
	g_free(file->path);
	g_free(file);
}

static void core_free(struct file_target *file)
{
	struct core *core = (struct core *)file;
	elf_end(core->elf);
	close(core->fd);
	g_array_unref(core->segments);
	g_array_unref(core->threads);
	g_ptr_array_unref(core->paths);
	g_free(core->exe);
	g_free(core->mismatch);
	file_clear(file);
	g_free(core);
}

static bool fail(const struct core *core, enum reftop_error code, const char *cause, const char *fix, GError **error)
{
	error_set(error, TARGET_ERROR, code, cause, fix, "cannot read core file %s", core->file.path);
	return false;
}

/* ---- notes ---- */

static void note_thread(struct core *core, const uint8_t *bytes, size_t size)
{
	struct elf_prstatus status;
	if (size < sizeof(status) || core->threads->len >= MAX_THREADS)
		return;
	memcpy(&status, bytes, sizeof(status));
	struct snapshot_thread thread = {.tid = status.pr_pid, .has_registers = true};
	G_STATIC_ASSERT(sizeof(status.pr_reg) == sizeof(thread.registers));
	memcpy(thread.registers, status.pr_reg, sizeof(thread.registers));
	call_of_registers(thread.registers, &thread.call);
	g_array_append_val(core->threads, thread);
}

static void note_process(struct core *core, const uint8_t *bytes, size_t size)
{
	struct elf_prpsinfo info;
	if (size < sizeof(info))
		return;
	memcpy(&info, bytes, sizeof(info));
	core->pid = info.pr_pid;
	memcpy(core->comm, info.pr_fname, sizeof(info.pr_fname));
	memcpy(core->arguments, info.pr_psargs, sizeof(info.pr_psargs));
}

static void note_auxiliary(struct core *core, const uint8_t *bytes, size_t size)
{
	Elf64_auxv_t entry;
	for (size_t at = 0; size - at >= sizeof(entry); at += sizeof(entry)) {
		memcpy(&entry, bytes + at, sizeof(entry));
		if (entry.a_type == AT_PHDR)
			core->program_headers = entry.a_un.a_val;
		if (entry.a_type == AT_NULL)
			return;
	}
}

/* count, page size, {start, end, offset in pages} each, then the paths (Linux fs/binfmt_elf.c, fill_files_note()) */
static void note_files(struct core *core, const uint8_t *bytes, size_t size)
{
	uint64_t head[2], entry[3];
	if (size < sizeof(head))
		return;
	memcpy(head, bytes, sizeof(head));
	if (head[0] > MAX_FILES || head[0] > (size - sizeof(head)) / sizeof(entry) || head[1] > 1 << 30)
		return;
	const char *path = (const char *)bytes + sizeof(head) + head[0] * sizeof(entry),
		   *end = (const char *)bytes + size;
	for (uint64_t i = 0; i < head[0]; i++) {
		size_t length = strnlen(path, (size_t)(end - path));
		if (path + length >= end)
			return;
		memcpy(entry, bytes + sizeof(head) + i * sizeof(entry), sizeof(entry));
		struct core_file *file = g_new(struct core_file, 1);
		*file = (struct core_file){entry[0], entry[1], entry[2] * head[1], g_strdup(path)};
		g_ptr_array_add(core->paths, file);
		path += length + 1;
	}
}

static void read_notes(struct core *core, const GElf_Phdr *segment)
{
	if (segment->p_offset > core->size || segment->p_filesz > core->size - segment->p_offset ||
	    segment->p_filesz > MAX_NOTE) {
		core->truncated = true;
		return;
	}
	Elf_Data *data = elf_getdata_rawchunk(core->elf, (int64_t)segment->p_offset, segment->p_filesz, ELF_T_NHDR);
	GElf_Nhdr note;
	size_t at = 0, next, name, description;
	while (data && (next = gelf_getnote(data, at, &note, &name, &description)) > 0) {
		const uint8_t *bytes = (const uint8_t *)data->d_buf + description;
		switch (note.n_type) {
		case NT_PRSTATUS:
			note_thread(core, bytes, note.n_descsz);
			break;
		case NT_PRPSINFO:
			note_process(core, bytes, note.n_descsz);
			break;
		case NT_AUXV:
			note_auxiliary(core, bytes, note.n_descsz);
			break;
		case NT_FILE:
			note_files(core, bytes, note.n_descsz);
			break;
		}
		at = next;
	}
}

/* ---- the file ---- */

static bool read_headers(struct core *core, GError **error)
{
	size_t n = 0;
	GElf_Ehdr head;
	core->elf = elf_begin(core->fd, ELF_C_READ, NULL);
	if (!core->elf || elf_kind(core->elf) != ELF_K_ELF || !gelf_getehdr(core->elf, &head))
		return fail(core, REFTOP_ERROR_FAILED,
			    "it is neither a core file nor an image that `reftop save` wrote", NULL, error);
	if (head.e_type != ET_CORE)
		return fail(core, REFTOP_ERROR_FAILED, "it is an ELF file, but a program or library and no core", NULL,
			    error);
	if (gelf_getclass(core->elf) != ELFCLASS64 || head.e_machine != EM_X86_64)
		return fail(core, REFTOP_ERROR_UNKNOWN, "it comes from a machine of another architecture than x86-64",
			    NULL, error);
	if (elf_getphdrnum(core->elf, &n) < 0 || !n)
		return fail(core, REFTOP_ERROR_FAILED, "it has no program headers", NULL, error);
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr segment;
		if (!gelf_getphdr(core->elf, (int)i, &segment))
			return fail(core, REFTOP_ERROR_FAILED, "it ends within its program headers", NULL, error);
		if (segment.p_type == PT_NOTE)
			read_notes(core, &segment);
		else if (segment.p_type == PT_LOAD && segment.p_memsz &&
			 segment.p_vaddr <= UINT64_MAX - segment.p_memsz)
			g_array_append_val(core->segments, segment);
	}
	if (!core->threads->len || !core->segments->len)
		return fail(core, REFTOP_ERROR_FAILED,
			    core->truncated ? "it ends within its notes" : "it has no notes of a process", NULL, error);
	if (!core->pid)
		core->pid = g_array_index(core->threads, struct snapshot_thread, 0).tid;
	return true;
}

static const struct core_file *file_at(const struct core *core, uint64_t address)
{
	for (guint i = 0; i < core->paths->len; i++) {
		const struct core_file *file = core->paths->pdata[i];
		if (address >= file->start && address < file->end)
			return file;
	}
	return NULL;
}

static int segment_compare(const void *a, const void *b)
{
	const GElf_Phdr *x = a, *y = b;
	return (x->p_vaddr > y->p_vaddr) - (x->p_vaddr < y->p_vaddr);
}

/* gcore leaves out code, and doesn't even say that it was there; the note of files does. */
static void add_unsaid(struct core *core)
{
	guint n = core->segments->len;
	g_array_sort(core->segments, segment_compare);
	for (guint i = 0; i < core->paths->len; i++) {
		const struct core_file *file = core->paths->pdata[i];
		uint64_t at = file->start & ~(PAGE - 1);
		for (guint k = 0; k <= n && at < file->end; k++) {
			const GElf_Phdr *next = k < n ? &g_array_index(core->segments, GElf_Phdr, k) : NULL;
			if (next && next->p_vaddr + next->p_memsz <= at)
				continue;
			uint64_t end = next ? MIN(file->end, next->p_vaddr) : file->end;
			GElf_Phdr gap = {.p_type = PT_LOAD, .p_vaddr = at, .p_memsz = end - at, .p_flags = PF_R | PF_X};
			if (end > at)
				g_array_append_val(core->segments, gap);
			at = next ? MAX(at, next->p_vaddr + next->p_memsz) : file->end;
		}
	}
	g_array_sort(core->segments, segment_compare);
}

static uint64_t inode_of(const struct core *core, const char *path)
{
	for (guint i = 0; i < core->paths->len; i++) {
		if (!strcmp(((const struct core_file *)core->paths->pdata[i])->path, path))
			return i + 1;
	}
	return 0;
}

/*
 * Where the memory that brk() gives begins, which maps call [heap] and cores don't: behind the executable and its zeros, and not far from
 * them (Linux mm/util.c, arch_randomize_brk(): within 32 MB, or 1 GB). 0: not known; then malloc's main heap can't be told from other memory.
 */
static uint64_t heap_find(const struct core *core)
{
	const struct core_file *exe = core->program_headers ? file_at(core, core->program_headers) : NULL;
	uint64_t end = 0;
	for (guint i = 0; exe && i < core->paths->len; i++) {
		const struct core_file *file = core->paths->pdata[i];
		if (!strcmp(file->path, exe->path))
			end = MAX(end, (file->end + PAGE - 1) & ~(PAGE - 1));
	}
	for (guint i = 0; end && i < core->segments->len; i++) {
		const GElf_Phdr *segment = &g_array_index(core->segments, GElf_Phdr, i);
		uint64_t start = segment->p_vaddr & ~(PAGE - 1);
		if (start <= end || file_at(core, segment->p_vaddr))
			continue;
		return start - end <= HEAP_REACH && segment->p_flags & PF_W ? start : 0;
	}
	return 0;
}

/* The segments as the lines of a maps file: what /proc/PID/maps would have said. */
static bool make_maps(struct core *core, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	uint64_t end = 0, heap = heap_find(core);
	for (guint i = 0; i < core->segments->len; i++) {
		const GElf_Phdr *segment = &g_array_index(core->segments, GElf_Phdr, i);
		const struct core_file *file = file_at(core, segment->p_vaddr);
		uint64_t start = segment->p_vaddr & ~(PAGE - 1),
			 stop = (segment->p_vaddr + segment->p_memsz + PAGE - 1) & ~(PAGE - 1);
		if (start < end || stop <= start)
			return fail(core, REFTOP_ERROR_FAILED, "its segments overlap", NULL, error);
		end = stop;
		g_string_append_printf(text,
				       "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x %c%c%cp %" G_GINT64_MODIFIER
				       "x 00:01 %" G_GINT64_MODIFIER "u",
				       start, stop, segment->p_flags & PF_R ? 'r' : '-',
				       segment->p_flags & PF_W ? 'w' : '-', segment->p_flags & PF_X ? 'x' : '-',
				       file ? file->offset + (start - file->start) : 0,
				       file ? inode_of(core, file->path) : 0);
		if (file && !strchr(file->path, '\n'))
			g_string_append_printf(text, " %s", file->path);
		else if (heap && start == heap)
			g_string_append(text, " [heap]");
		g_string_append_c(text, '\n');
	}
	core->file.maps = maps_parse(text->str, text->len, error);
	return core->file.maps != NULL;
}

/* ---- files ---- */

static int open_path(const struct core *core, const char *path)
{
	g_autofree char *below =
		core->options.sysroot ? g_build_filename(core->options.sysroot, path, NULL) : g_strdup(path);
	const char *name = core->options.exe && core->exe && !strcmp(path, core->exe) ? core->options.exe : below;
	struct stat status;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
		close(fd);
		fd = -1;
		errno = EACCES;
	}
	return fd;
}

static int file_open_path(struct file_target *file, const char *path)
{
	return open_path((const struct core *)file, path);
}

/* The first page of a file tells it: its ELF header with the build-id. The kernel puts it into the core. */
static bool is_the_file(const struct core *core, int fd, const char *path)
{
	for (guint i = 0; i < core->segments->len; i++) {
		const GElf_Phdr *segment = &g_array_index(core->segments, GElf_Phdr, i);
		const struct core_file *file = file_at(core, segment->p_vaddr);
		uint8_t ours[PAGE], theirs[PAGE];
		if (!file || strcmp(file->path, path) != 0 || file->offset + (segment->p_vaddr - file->start) ||
		    segment->p_filesz < PAGE)
			continue;
		if (!file_read_at(core->fd, theirs, PAGE, segment->p_offset) || !file_read_at(fd, ours, PAGE, 0))
			return true; /* nothing to compare */
		return !memcmp(ours, theirs, PAGE);
	}
	return true;
}

static struct lazy_file *mapped_file(struct core *core, const struct mapping *mapping)
{
	struct lazy_file *file = g_hash_table_lookup(core->file.files.table, mapping->path);
	if (file)
		return file;
	file = g_new0(struct lazy_file, 1);
	file->fd = open_path(core, mapping->path);
	if (file->fd >= 0 && !is_the_file(core, file->fd, mapping->path)) {
		close(file->fd);
		file->fd = -1;
		if (!core->mismatch)
			core->mismatch = text_escape(mapping->path, G_MAXSIZE);
	}
	g_hash_table_insert(core->file.files.table, g_strdup(mapping->path), file);
	return file;
}

/* ---- memory ---- */

static void add_part(struct core *core, uint32_t index, uint64_t start, uint64_t end, int fd, uint64_t offset)
{
	if (start >= end)
		return;
	uint8_t *bytes = file_window(&core->file, start, end);
	struct mapping part = {.start = start, .end = end, .offset = offset};
	if (!bytes) {
		core->file.missing += end - start;
		core->file.incomplete = true;
		return;
	}
	file_region(&core->file, start, end, bytes, index, lazy_new(&part, fd, bytes));
}

static void add_segment(struct core *core, uint32_t index)
{
	const GElf_Phdr *segment = &g_array_index(core->segments, GElf_Phdr, index);
	const struct mapping *mapping = &core->file.maps->mappings[index];
	uint64_t there = segment->p_filesz;
	if (segment->p_offset > core->size)
		there = 0;
	else
		there = MIN(there, core->size - segment->p_offset);
	if (there < segment->p_filesz) {
		core->truncated = core->file.incomplete = true;
		core->file.missing += segment->p_filesz - there;
	}
	there = MIN(there & ~(PAGE - 1), mapping->end - mapping->start);
	core->file.bytes += there;
	add_part(core, index, mapping->start, mapping->start + there, core->fd, segment->p_offset);
	/* of a truncated one the rest is lost; of a file mapping it is the file's */
	if (there < (segment->p_filesz & ~(PAGE - 1)) || mapping->path[0] != '/' ||
	    g_str_has_prefix(mapping->path, "/dev/"))
		return;
	const struct lazy_file *file = mapped_file(core, mapping);
	if (file->fd >= 0)
		add_part(core, index, mapping->start + there, mapping->end, file->fd, mapping->offset + there);
}

static void find_exe(struct core *core)
{
	const struct core_file *file = core->program_headers ? file_at(core, core->program_headers) : NULL;
	if (file)
		core->exe = g_strdup(file->path);
}

/* ---- the interpreter ---- */

struct reader {
	struct core *core;
	struct memory memory;
};

static bool reader_read(void *context, uint64_t address, void *out, uint64_t size)
{
	return memory_read(&((struct reader *)context)->memory, address, out, size);
}

static int reader_open(void *context, const struct mapping *mapping)
{
	struct core *core = ((struct reader *)context)->core;
	int fd = mapping->path[0] == '/' ? open_path(core, mapping->path) : -1;
	if (fd >= 0 && !is_the_file(core, fd, mapping->path)) {
		close(fd);
		errno = ESTALE;
		return -1;
	}
	return fd;
}

static int reader_open_path(void *context, const char *path)
{
	return open_path(((struct reader *)context)->core, path);
}

/* What to say when no interpreter was found: the first reason there is for it. */
static void explain_failure(const struct core *core, GError **error)
{
	g_autofree char *exe = core->exe ? text_escape(core->exe, G_MAXSIZE) : NULL;
	g_autofree char *cause = NULL;
	if (core->mismatch)
		cause = g_strdup_printf("%s isn't the file that the process ran", core->mismatch);
	else if (exe && core->options.exe == NULL && !g_hash_table_contains(core->file.files.table, core->exe))
		return;
	else if (exe) {
		const struct lazy_file *file = g_hash_table_lookup(core->file.files.table, core->exe);
		if (!file || file->fd < 0)
			cause = g_strdup_printf("its executable %s isn't here", exe);
	}
	if (!cause && core->truncated)
		cause = g_strdup("it is truncated");
	if (!cause)
		return;
	g_clear_error(error);
	fail(core, REFTOP_ERROR_FAILED, cause,
	     core->truncated ? "raise `ulimit -c`, or write it with gcore"
			     : "name the executable behind the core, or give --sysroot DIR",
	     error);
}

static target_t *open_interpreter(struct core *core, GError **error)
{
	struct reader reader = {.core = core};
	struct interpreter_access access = {&reader, reader_read, reader_open, reader_open_path};
	file_memory(&core->file, &reader.memory);
	interpreter_t *interpreter = interpreter_find(core->file.maps, &access, error);
	g_free(reader.memory.regions);
	if (!interpreter) {
		explain_failure(core, error);
		core_free(&core->file);
		return NULL;
	}
	target_t *target = file_target_new(&core->file, core->pid);
	target->interpreter = interpreter;
	target->exe = text_escape(core->exe ? core->exe : "", G_MAXSIZE);
	g_autofree char *arguments = text_escape(core->arguments, sizeof(core->arguments) - 1);
	g_strchomp(arguments);
	target->cmdline = g_strsplit(arguments, " ", -1);
	return target;
}

static target_t *core_open(int fd, const struct stat *status, const struct core_options *options, GError **error)
{
	struct core *core = g_new0(struct core, 1);
	core->fd = fd;
	core->size = (uint64_t)status->st_size;
	core->options = *options;
	core->segments = g_array_new(FALSE, FALSE, sizeof(GElf_Phdr));
	core->threads = g_array_new(FALSE, FALSE, sizeof(struct snapshot_thread));
	core->paths = g_ptr_array_new_with_free_func(core_file_free);
	core->file.free = core_free;
	core->file.open = file_open_path;
	file_init(&core->file, options->path, SNAPSHOT_CORE);
	core->file.time_us = status->st_mtim.tv_sec * G_USEC_PER_SEC + status->st_mtim.tv_nsec / 1000;
	elf_version(EV_CURRENT);
	bool good = read_headers(core, error);
	add_unsaid(core);
	if (!good || !make_maps(core, error)) {
		core_free(&core->file);
		return NULL;
	}
	find_exe(core);
	for (uint32_t i = 0; i < core->segments->len; i++)
		add_segment(core, i);
	file_seal(&core->file);
	core->file.n_threads = core->threads->len;
	core->file.threads = g_memdup2(core->threads->data, core->threads->len * sizeof(struct snapshot_thread));
	return open_interpreter(core, error);
}

target_t *target_open_file(const struct core_options *options, GError **error)
{
	g_autofree char *name = text_escape(options->path, G_MAXSIZE);
	struct stat status;
	int fd = open(options->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED,
			  fd < 0 ? g_strerror(errno) : "it is no regular file", NULL, "cannot read core file %s", name);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (image_is_one(fd))
		return image_open(fd, &status, options->path, error);
	return core_open(fd, &status, options, error);
}

bool target_incomplete(const target_t *target, GError **error)
{
	if (!target->file || !target->file->missing)
		return false;
	char missing[16];
	g_autofree char *cause = g_strdup_printf("it is truncated: %s of the process's memory are missing, and needed",
						 text_bytes(missing, (int64_t)target->file->missing));
	g_clear_error(error);
	error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, cause, NULL, "cannot read %s", target->file->path);
	return true;
}

static bool same_first_page(int fd, const struct memory *memory, const struct mapping *mapping)
{
	uint8_t ours[PAGE], theirs[PAGE];
	return mapping->offset || !memory_read(memory, mapping->start, theirs, PAGE) ||
	       (file_read_at(fd, ours, PAGE, 0) && !memcmp(ours, theirs, PAGE));
}

int target_open_mapping(const target_t *target, const struct memory *memory, const struct mapping *mapping)
{
	if (!target->file)
		return maps_open(target->pid, mapping);
	struct file_target *file = target->file;
	int fd = file->open ? file->open(file, mapping->path)
			    : open(mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !same_first_page(fd, memory, mapping)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool target_is_file(const target_t *target)
{
	return target->file != NULL;
}
