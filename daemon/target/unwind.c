#include "daemon/target/unwind.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/target/core.h"
#include "symbols/elf.h"
#include "symbols/pthread.h"

#define MAX_FRAMES 100000
#define MAX_STACK  (16ull << 20) /* bytes of one thread's stack that are read */
#define MAX_STACKS (64ull << 20) /* of all of them, about */
#define RED_ZONE   128           /* below the stack pointer, that functions may use (System V ABI, x86-64) */
#define MAX_VDSO   (64u << 10)
#define REGISTERS  17 /* DWARF numbers of x86-64: rax … r15, return address */

struct unwinder {
	target_t *target;
	const snapshot_t *snapshot;
	Dwfl *dwfl;
	bool attached;
};

/* one thread's walk */
struct walk {
	unwinder_t *unwinder;
	GArray *frames;
};

void unwind_prepare(const snapshot_t *snapshot)
{
	uint64_t all = 0;
	for (size_t i = 0; i < snapshot->n_threads; i++) {
		const struct snapshot_thread *thread = &snapshot->threads[i];
		struct user_regs_struct registers;
		if (!thread->has_registers)
			continue;
		memcpy(&registers, thread->registers, sizeof(registers));
		const struct memory_region *region = memory_find(&snapshot->memory, registers.rsp);
		if (!region)
			continue;
		uint64_t start = MAX(registers.rsp - RED_ZONE, region->start);
		uint64_t end = MIN(region->start + region->size, start + MAX_STACK);
		/* looking for it reads the stack */
		uint64_t descriptor = pthread_find(&snapshot->memory, start, end);
		all += (descriptor ? descriptor : end) - start;
		if (all > MAX_STACKS)
			return;
	}
}

/* ---- modules ---- */

/* The vdso is no file: a copy of it. */
static int vdso_open(const unwinder_t *unwinder, const struct mapping *mapping)
{
	uint64_t size = mapping->end - mapping->start;
	const void *bytes = size <= MAX_VDSO ? memory_at(&unwinder->snapshot->memory, mapping->start, size) : NULL;
	int fd = bytes ? memfd_create("vdso", MFD_CLOEXEC) : -1;
	if (fd >= 0 && pwrite(fd, bytes, size, 0) != (ssize_t)size) {
		close(fd);
		return -1;
	}
	return fd;
}

static void report(unwinder_t *unwinder, const struct mapping *mapping)
{
	const struct maps *maps = unwinder->snapshot->maps;
	bool vdso = !strcmp(mapping->path, "[vdso]");
	int fd = vdso ? vdso_open(unwinder, mapping)
		      : target_open_mapping(unwinder->target, &unwinder->snapshot->memory, mapping);
	if (fd < 0)
		return;
	uint64_t bias = mapping->start, start, end;
	g_autofree char *name = text_escape(mapping->path, G_MAXSIZE);
	int own = dup(fd);
	struct elf_file *elf = own >= 0 ? elf_open(own, name, NULL) : NULL;
	bool known = elf && (vdso || elf_bias(elf, maps, mapping, &bias, &start, &end));
	elf_close(elf);
	/* libdwfl takes the descriptor when it succeeds */
	if (!known || !dwfl_report_elf(unwinder->dwfl, name, name, fd, bias, true))
		close(fd);
}

static void report_all(unwinder_t *unwinder)
{
	const struct maps *maps = unwinder->snapshot->maps;
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		bool code = mapping->executable && (mapping->path[0] == '/' || !strcmp(mapping->path, "[vdso]"));
		if (code && g_hash_table_add(seen, (void *)mapping->path))
			report(unwinder, mapping);
	}
}

/* ---- what libdwfl asks ---- */

static pid_t next_thread(Dwfl *dwfl, void *data, void **state)
{
	(void)dwfl, (void)data, (void)state;
	return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *data, void **state)
{
	const unwinder_t *unwinder = data;
	(void)dwfl;
	for (size_t i = 0; i < unwinder->snapshot->n_threads; i++) {
		if (unwinder->snapshot->threads[i].tid == tid && unwinder->snapshot->threads[i].has_registers) {
			*state = &unwinder->snapshot->threads[i];
			return true;
		}
	}
	return false;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *data)
{
	const unwinder_t *unwinder = data;
	uint64_t value;
	(void)dwfl;
	if (!memory_u64(&unwinder->snapshot->memory, address, &value))
		return false;
	*word = value;
	return true;
}

static bool set_registers(Dwfl_Thread *thread, void *state)
{
	const struct snapshot_thread *from = state;
	struct user_regs_struct at;
	memcpy(&at, from->registers, sizeof(at));
	const Dwarf_Word words[REGISTERS] = {at.rax, at.rdx, at.rcx, at.rbx, at.rsi, at.rdi, at.rbp, at.rsp, at.r8,
					     at.r9,  at.r10, at.r11, at.r12, at.r13, at.r14, at.r15, at.rip};
	dwfl_thread_state_register_pc(thread, at.rip);
	return dwfl_thread_state_registers(thread, 0, REGISTERS, words);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

/* all files were reported with a descriptor */
static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file, Elf **elf)
{
	(void)module, (void)data, (void)name, (void)base, (void)file, (void)elf;
	return -1;
}

static const Dwfl_Callbacks callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = dwfl_build_id_find_debuginfo,
};

unwinder_t *unwinder_new(target_t *target, const snapshot_t *snapshot, GError **error)
{
	unwinder_t *unwinder = g_new0(unwinder_t, 1);
	unwinder->target = target;
	unwinder->snapshot = snapshot;
	unwinder->dwfl = dwfl_begin(&callbacks);
	bool good = unwinder->dwfl != NULL;
	if (good) {
		dwfl_report_begin(unwinder->dwfl);
		report_all(unwinder);
		good = !dwfl_report_end(unwinder->dwfl, NULL, NULL) &&
		       dwfl_attach_state(unwinder->dwfl, NULL, target_pid(target), &thread_callbacks, unwinder);
	}
	if (good)
		return unwinder;
	error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, dwfl_errmsg(-1), NULL, "cannot unwind native stacks");
	unwinder_free(unwinder);
	return NULL;
}

void unwinder_free(unwinder_t *unwinder)
{
	if (!unwinder)
		return;
	if (unwinder->dwfl)
		dwfl_end(unwinder->dwfl);
	g_free(unwinder);
}

/* ---- frames ---- */

static void frame_clear(void *data)
{
	struct native_frame *frame = data;
	g_free(frame->function);
	g_free(frame->file);
}

static void describe(Dwfl_Module *module, Dwarf_Addr address, struct native_frame *frame)
{
	GElf_Off offset = 0;
	GElf_Sym symbol;
	Dwarf_Addr start = 0;
	const char *path = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
	const char *name = dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);
	frame->function = name ? text_escape(name, G_MAXSIZE) : NULL;
	frame->offset = name ? offset : address - start;
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	const char *source = line ? dwfl_lineinfo(line, NULL, &frame->line, NULL, NULL, NULL) : NULL;
	frame->file = text_escape(source ? source : path ? path : "", G_MAXSIZE);
}

static int frame_callback(Dwfl_Frame *state, void *data)
{
	struct walk *walk = data;
	Dwarf_Addr address;
	bool activation;
	if (!dwfl_frame_pc(state, &address, &activation) || walk->frames->len >= MAX_FRAMES)
		return DWARF_CB_ABORT;
	struct native_frame frame = {.address = address};
	/* behind a call that never returns another function may begin */
	Dwarf_Addr inside = activation ? address : address - 1;
	Dwfl_Module *module = dwfl_addrmodule(walk->unwinder->dwfl, inside);
	if (module)
		describe(module, inside, &frame);
	else
		frame.file = g_strdup("");
	g_array_append_val(walk->frames, frame);
	return DWARF_CB_OK;
}

GArray *unwind_thread(unwinder_t *unwinder, pid_t tid, char **broken)
{
	struct walk walk = {unwinder, g_array_new(FALSE, TRUE, sizeof(struct native_frame))};
	void *state;
	*broken = NULL;
	g_array_set_clear_func(walk.frames, frame_clear);
	if (!get_thread(unwinder->dwfl, tid, unwinder, &state)) {
		*broken = g_strdup("its registers aren't known");
		return walk.frames;
	}
	int result = dwfl_getthread_frames(unwinder->dwfl, tid, frame_callback, &walk);
	if (result < 0) {
		const char *message = dwfl_errmsg(-1);
		*broken = g_strdup(message ? message : "no unwind information");
	}
	return walk.frames;
}
