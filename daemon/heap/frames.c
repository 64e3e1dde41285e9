#include "daemon/heap/frames.h"

#include "base/text.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/lines.h"
#include "daemon/heap/str.h"

#define OWNED_BY_GENERATOR 1 /* CPython Include/internal/pycore_frame.h, enum _frameowner */
#define OWNED_BY_C         3 /* and what is above it: shims */
#define CODE_UNIT          2
#define TAG_BITS           3
#define MAX_NAME           4096
#define MAX_TABLE          (64u << 20)
#define MAX_STACK          1000000
#define MAX_HANDLERS       4096
#define MAX_BLOCKS         20 /* CO_MAXBLOCKS, CPython Include/code.h up to 3.10 */

struct codes {
	heap_t *heap;
	GHashTable *known; /* address -> struct code, or NULL */
};

static void code_free(void *data)
{
	struct code *code = data;
	if (!code)
		return;
	g_free(code->name);
	g_free(code->qualname);
	g_free(code->filename);
	g_free(code->lines);
	g_free(code);
}

codes_t *codes_new(heap_t *heap)
{
	codes_t *codes = g_new0(codes_t, 1);
	codes->heap = heap;
	codes->known = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, code_free);
	return codes;
}

void codes_free(codes_t *codes)
{
	if (!codes)
		return;
	g_hash_table_unref(codes->known);
	g_free(codes);
}

/* ---- code ---- */

static char *escaped_text(const heap_t *heap, uint64_t str)
{
	g_autofree char *text = str_text(heap, str, MAX_NAME);
	return text_escape(text ? text : "?", G_MAXSIZE);
}

static uint64_t tuple_length(const heap_t *heap, uint64_t tuple)
{
	uint64_t n = 0;
	if (tuple)
		memory_u64(heap->memory, tuple + heap->layout->ob_size, &n);
	return n;
}

static uint64_t tuple_item(const heap_t *heap, uint64_t tuple, uint64_t i)
{
	uint64_t item = 0;
	if (i < tuple_length(heap, tuple))
		memory_u64(heap->memory, tuple + heap->layout->tuple_ob_item + 8 * i, &item);
	return item;
}

static void read_lines(const heap_t *heap, const uint8_t *bytes, struct code *code)
{
	const struct py_layout *layout = heap->layout;
	uint64_t table = load_u64(bytes, heap_has(layout->co_linetable) ? layout->co_linetable : layout->co_lnotab),
		 size;
	if (!memory_u64(heap->memory, table + layout->ob_size, &size) || !size || size > MAX_TABLE)
		return;
	code->lines = g_try_malloc(size);
	if (!code->lines || !memory_read(heap->memory, table + layout->bytes_ob_sval, code->lines, size))
		g_clear_pointer(&code->lines, g_free);
	else
		code->lines_size = size;
}

static void read_slots(const heap_t *heap, const uint8_t *bytes, struct code *code)
{
	const struct py_layout *layout = heap->layout;
	code->n_locals = load_u32(bytes, layout->co_nlocals);
	if (heap_has(layout->co_nlocalsplus))
		code->n_slots = load_u32(bytes, layout->co_nlocalsplus);
	else
		code->n_slots = code->n_locals + tuple_length(heap, load_u64(bytes, layout->co_cellvars)) +
				tuple_length(heap, load_u64(bytes, layout->co_freevars));
	code->stack_size = load_u32(bytes, layout->co_stacksize);
	code->n_slots = MIN(code->n_slots, MAX_STACK);
	code->stack_size = MIN(code->stack_size, MAX_STACK);
}

static struct code *code_read(heap_t *heap, uint64_t address)
{
	const struct py_layout *layout = heap->layout;
	const uint8_t *bytes = memory_at(heap->memory, address, layout->code_size);
	if (!bytes || !object_is(heap, address, NULL, "code"))
		return NULL;
	struct code *code = g_new0(struct code, 1);
	code->address = address;
	code->name = escaped_text(heap, load_u64(bytes, layout->co_name));
	if (heap_has(layout->co_qualname))
		code->qualname = escaped_text(heap, load_u64(bytes, layout->co_qualname));
	code->filename = escaped_text(heap, load_u64(bytes, layout->co_filename));
	code->first_line = (int)load_u32(bytes, layout->co_firstlineno);
	code->flags = load_u32(bytes, layout->co_flags);
	if (heap_has(layout->co_code_adaptive))
		code->instructions = address + layout->co_code_adaptive;
	if (heap_has(layout->co_firsttraceable))
		code->traceable = (uint64_t)load_u32(bytes, layout->co_firsttraceable) * CODE_UNIT;
	read_slots(heap, bytes, code);
	read_lines(heap, bytes, code);
	return code;
}

const struct code *code_get(codes_t *codes, uint64_t address)
{
	void *found;
	if (g_hash_table_lookup_extended(codes->known, &address, NULL, &found))
		return found;
	struct code *code = address && address % 8 == 0 ? code_read(codes->heap, address) : NULL;
	g_hash_table_insert(codes->known, g_memdup2(&address, sizeof(address)), code);
	return code;
}

/* ---- frames that are objects (up to 3.10) ---- */

/* The blocks that are open (loops, try, with): the value stack below the innermost is in use. */
static uint64_t block_level(const heap_t *heap, uint64_t frame)
{
	const struct py_layout *layout = heap->layout;
	uint32_t n = 0, level = 0;
	if (!heap_has(layout->f_iblock) || !memory_u32(heap->memory, frame + layout->f_iblock, &n) || !n ||
	    n > MAX_BLOCKS)
		return 0;
	memory_u32(heap->memory,
		   frame + layout->f_blockstack + (n - 1) * layout->try_block_size + layout->try_block_level, &level);
	return level;
}

/* The value stack of a frame that is suspended, as generators are; of a running one the top is in a register. */
static void suspended_stack(const heap_t *heap, struct frame *frame)
{
	const struct py_layout *layout = heap->layout;
	uint64_t base = frame->slots + 8 * frame->code->n_slots, top = 0;
	uint32_t depth = UINT32_MAX;
	if (heap_has(layout->f_stackdepth)) {
		memory_u32(heap->memory, frame->address + layout->f_stackdepth, &depth);
		frame->stack_exact = (int32_t)depth >= 0;
		frame->stack = depth;
	} else if (heap_has(layout->f_stacktop)) {
		memory_u64(heap->memory, frame->address + layout->f_stacktop, &top);
		frame->stack_exact = top >= base;
		frame->stack = (top - base) / 8;
	}
	if (!frame->stack_exact)
		frame->stack = block_level(heap, frame->address);
	frame->stack = MIN(frame->stack, frame->code->stack_size);
}

static bool object_frame(codes_t *codes, uint64_t address, struct frame *frame)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t code = 0;
	uint32_t last = 0;
	if (!address || !memory_u64(heap->memory, address + layout->f_code, &code) ||
	    !memory_u32(heap->memory, address + layout->f_lasti, &last))
		return false;
	*frame = (struct frame){.address = address, .code = code_get(codes, code), .raw = address, .entry = true};
	if (!frame->code)
		return false;
	/* 3.10 counts code units */
	frame->at = (int64_t)(int32_t)last * (layout->shape.lines == PY_LINES_LINETABLE ? CODE_UNIT : 1);
	frame->slots = address + layout->f_localsplus;
	memory_u64(heap->memory, address + layout->f_globals, &frame->globals);
	suspended_stack(heap, frame);
	return true;
}

/* ---- interpreter frames (3.11+) ---- */

static uint64_t untagged(const struct py_layout *layout, uint64_t slot)
{
	return layout->shape.stack_refs == PY_STACK_PLAIN ? slot : slot & ~(uint64_t)TAG_BITS;
}

/* Where the instructions are that this frame runs: threads of free-threaded builds may have a copy of their own. */
static uint64_t frame_instructions(const heap_t *heap, uint64_t frame, const struct code *code)
{
	const struct py_layout *layout = heap->layout;
	uint64_t copies = 0, copy = 0;
	uint32_t index = 0;
	if (!heap_has(layout->iframe_tlbc_index) || !heap_has(layout->co_tlbc) ||
	    !memory_u32(heap->memory, frame + layout->iframe_tlbc_index, &index) || !index ||
	    !memory_u64(heap->memory, code->address + layout->co_tlbc, &copies) || !copies ||
	    !memory_u64(heap->memory, copies + 8 + 8 * (uint64_t)index, &copy) || !copy)
		return code->instructions;
	return copy;
}

/* an entry of the exception table */
struct handler {
	int64_t start, end;     /* bytes of code it protects */
	uint64_t target, depth; /* where it is; words of the value stack that it leaves alone */
};

/* what is left of an exception table (CPython Objects/exception_handling_notes.txt, 3.11+) */
struct handlers {
	uint8_t *bytes;
	uint64_t size, at;
};

static bool handlers_begin(const heap_t *heap, const struct code *code, struct handlers *handlers)
{
	const struct py_layout *layout = heap->layout;
	uint64_t table = 0;
	*handlers = (struct handlers){0};
	if (!heap_has(layout->co_exceptiontable) ||
	    !memory_u64(heap->memory, code->address + layout->co_exceptiontable, &table) ||
	    !memory_u64(heap->memory, table + layout->ob_size, &handlers->size) || !handlers->size ||
	    handlers->size > MAX_TABLE)
		return false;
	handlers->bytes = g_try_malloc(handlers->size);
	if (handlers->bytes &&
	    memory_read(heap->memory, table + layout->bytes_ob_sval, handlers->bytes, handlers->size))
		return true;
	g_clear_pointer(&handlers->bytes, g_free);
	return false;
}

/* entries of start, size, target, depth << 1 | lasti, in code units, 6 bits a byte, the most significant first */
static bool handlers_next(struct handlers *handlers, struct handler *handler)
{
	uint64_t numbers[4];
	if (handlers->at >= handlers->size)
		return false;
	for (int k = 0; k < 4; k++) {
		uint64_t value = 0, byte;
		do {
			byte = handlers->at < handlers->size ? handlers->bytes[handlers->at++] : 0;
			value = value << 6 | (byte & 63);
		} while (byte & 64);
		numbers[k] = MIN(value, UINT32_MAX);
	}
	handler->start = (int64_t)numbers[0] * CODE_UNIT;
	handler->end = handler->start + (int64_t)numbers[1] * CODE_UNIT;
	handler->target = numbers[2];
	handler->depth = numbers[3] >> 1;
	return true;
}

/* How deep the value stack is at least at an instruction: what the handler that protects it leaves alone. */
static uint64_t handler_depth(const heap_t *heap, const struct code *code, int64_t at)
{
	struct handlers handlers;
	struct handler handler;
	uint64_t depth = 0;
	if (!handlers_begin(heap, code, &handlers))
		return 0;
	while (!depth && handlers_next(&handlers, &handler)) {
		if (at >= handler.start && at < handler.end)
			depth = handler.depth;
	}
	g_free(handlers.bytes);
	return depth;
}

static void interpreter_stack(const heap_t *heap, struct frame *frame)
{
	const struct py_layout *layout = heap->layout;
	uint64_t base = frame->slots + 8 * frame->code->n_slots, top = 0;
	uint32_t used = UINT32_MAX;
	if (heap_has(layout->iframe_stackpointer)) {
		memory_u64(heap->memory, frame->address + layout->iframe_stackpointer, &top);
		frame->stack_exact = top >= base;
		frame->stack = (top - base) / 8;
	} else {
		memory_u32(heap->memory, frame->address + layout->iframe_stacktop, &used);
		frame->stack_exact = (int32_t)used >= 0 && used >= frame->code->n_slots;
		frame->stack = used - frame->code->n_slots;
	}
	if (!frame->stack_exact)
		frame->stack = handler_depth(heap, frame->code, frame->at);
	frame->stack = MIN(frame->stack, frame->code->stack_size);
}

/* What one frame of the chain is: false when it isn't one that Python shows. */
static bool interpreter_frame(codes_t *codes, uint64_t address, struct frame *frame)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t code = 0, instruction = 0;
	uint8_t owner = 0, entry = 0;
	*frame = (struct frame){.address = address, .raw = address};
	if (!memory_u8(heap->memory, address + layout->iframe_owner, &owner) || owner >= OWNED_BY_C ||
	    !memory_u64(heap->memory, address + layout->iframe_code, &code) ||
	    !memory_u64(heap->memory, address + layout->iframe_instr, &instruction))
		return false;
	frame->code = code_get(codes, untagged(layout, code));
	if (!frame->code)
		return false;
	frame->at = (int64_t)(instruction - frame_instructions(heap, address, frame->code));
	if (owner != OWNED_BY_GENERATOR && frame->at < (int64_t)frame->code->traceable)
		return false;
	frame->slots = address + layout->iframe_localsplus;
	memory_u64(heap->memory, address + layout->iframe_globals, &frame->globals);
	memory_u64(heap->memory, address + layout->iframe_func, &frame->function);
	frame->function = untagged(layout, frame->function);
	if (heap_has(layout->iframe_is_entry))
		memory_u8(heap->memory, address + layout->iframe_is_entry, &entry);
	frame->entry = entry != 0;
	interpreter_stack(heap, frame);
	return true;
}

/* The frame at `address`, or the next further out that Python shows. */
static bool interpreter_frame_from(codes_t *codes, uint64_t address, struct frame *frame)
{
	const struct memory *memory = codes->heap->memory;
	const struct py_layout *layout = codes->heap->layout;
	for (size_t i = 0; address && i < FRAMES_MAX; i++) {
		uint64_t previous = 0;
		uint8_t owner = 0;
		if (!memory_u64(memory, address + layout->iframe_previous, &previous))
			return false;
		if (interpreter_frame(codes, address, frame)) {
			/* 3.12+: a shim stands where C called the interpreter */
			if (previous && memory_u8(memory, previous + layout->iframe_owner, &owner) &&
			    owner >= OWNED_BY_C)
				frame->entry = true;
			frame->entry |= !previous;
			return true;
		}
		address = previous;
	}
	return false;
}

bool frame_of_thread(codes_t *codes, uint64_t thread, struct frame *frame)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t address = 0;
	if (heap_has(layout->tstate_frame))
		return memory_u64(heap->memory, thread + layout->tstate_frame, &address) &&
		       object_frame(codes, address, frame);
	if (heap_has(layout->tstate_current_frame))
		memory_u64(heap->memory, thread + layout->tstate_current_frame, &address);
	else if (memory_u64(heap->memory, thread + layout->tstate_cframe, &address) && address)
		memory_u64(heap->memory, address + layout->cframe_current_frame, &address);
	return interpreter_frame_from(codes, address, frame);
}

bool frame_outer(codes_t *codes, struct frame *frame)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t address = 0;
	if (heap_has(layout->f_back) && !heap_has(layout->iframe_previous))
		return memory_u64(heap->memory, frame->raw + layout->f_back, &address) &&
		       object_frame(codes, address, frame);
	return memory_u64(heap->memory, frame->raw + layout->iframe_previous, &address) &&
	       interpreter_frame_from(codes, address, frame);
}

bool frame_of_generator(codes_t *codes, uint64_t generator, struct frame *frame)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t address = 0;
	uint8_t state = 0;
	if (heap_has(layout->gi_frame))
		return memory_u64(heap->memory, generator + layout->gi_frame, &address) &&
		       object_frame(codes, address, frame);
	return memory_u8(heap->memory, generator + layout->gi_frame_state, &state) &&
	       (int8_t)state < (int8_t)layout->shape.generator_cleared &&
	       interpreter_frame(codes, generator + layout->gi_iframe, frame);
}

/* ---- a frame ---- */

int frame_line(const codes_t *codes, const struct frame *frame)
{
	const struct code *code = frame->code;
	return line_of(codes->heap->layout->shape.lines, code->lines, code->lines_size, code->first_line, frame->at);
}

uint64_t frame_protected(const codes_t *codes, const struct frame *frame)
{
	const heap_t *heap = codes->heap;
	uint64_t n = heap_has(heap->layout->co_exceptiontable) ? handler_depth(heap, frame->code, frame->at)
							       : block_level(heap, frame->address);
	return MIN(n, frame->code->stack_size);
}

/*
 * Where the block of a with begins: handlers that leave `depth` words alone are those of the with and of what stands in its body (try
 * pushes nothing). A handler protects several pieces of code. Of those whose pieces lie around the frame's place the first to begin is the
 * with's; the instruction in front of it enters the block.
 */
static int64_t with_of_table(const heap_t *heap, const struct frame *frame, uint64_t depth)
{
	struct handlers handlers;
	struct handler handler;
	int64_t first = -1;
	if (!handlers_begin(heap, frame->code, &handlers))
		return -1;
	g_autoptr(GArray) merged = g_array_new(FALSE, FALSE, sizeof(struct handler));
	while (handlers_next(&handlers, &handler) && merged->len < MAX_HANDLERS) {
		guint i = 0;
		while (i < merged->len && g_array_index(merged, struct handler, i).target != handler.target)
			i++;
		struct handler *known = i < merged->len ? &g_array_index(merged, struct handler, i) : NULL;
		if (known)
			known->end = MAX(known->end, handler.end);
		else if (handler.depth == depth)
			g_array_append_val(merged, handler);
	}
	g_free(handlers.bytes);
	for (guint i = 0; i < merged->len; i++) {
		const struct handler *at = &g_array_index(merged, struct handler, i);
		if (at->start <= frame->at && frame->at < at->end && (first < 0 || at->start < first))
			first = at->start;
	}
	return first < 0 ? -1 : first - CODE_UNIT;
}

/* opcodes of 3.6 to 3.10 (CPython Include/opcode.h), where block stacks were */
#define SETUP_WITH       143
#define EXTENDED_ARG     144
#define SETUP_ASYNC_WITH 154

/* The nth SETUP_WITH in front of the frame's place whose block reaches beyond it. */
static int64_t with_of_code(const heap_t *heap, const struct frame *frame, unsigned nth)
{
	const struct py_layout *layout = heap->layout;
	uint64_t object = 0, size = 0;
	int64_t unit = layout->shape.lines == PY_LINES_LINETABLE ? CODE_UNIT : 1;
	if (!memory_u64(heap->memory, frame->code->address + layout->co_code, &object) ||
	    !memory_u64(heap->memory, object + layout->ob_size, &size) || !size || size > MAX_TABLE)
		return -1;
	g_autofree uint8_t *bytes = g_try_malloc(size);
	if (!bytes || !memory_read(heap->memory, object + layout->bytes_ob_sval, bytes, size))
		return -1;
	uint64_t argument = 0;
	for (int64_t i = 0; i + 1 < (int64_t)size && i <= frame->at; i += CODE_UNIT) {
		argument = (argument << 8 | bytes[i + 1]) & UINT32_MAX;
		if (bytes[i] == EXTENDED_ARG)
			continue;
		bool with = bytes[i] == SETUP_WITH || bytes[i] == SETUP_ASYNC_WITH;
		if (with && i + CODE_UNIT + (int64_t)argument * unit > frame->at && nth-- == 0)
			return i;
		argument = 0;
	}
	return -1;
}

int frame_with_line(const codes_t *codes, const struct frame *frame, uint64_t depth, unsigned nth)
{
	const heap_t *heap = codes->heap;
	int64_t at = heap_has(heap->layout->co_exceptiontable) ? with_of_table(heap, frame, depth)
							       : with_of_code(heap, frame, nth);
	const struct code *code = frame->code;
	return at < 0 ? LINE_NONE
		      : line_of(heap->layout->shape.lines, code->lines, code->lines_size, code->first_line, at);
}

uint64_t frame_slot(const codes_t *codes, const struct frame *frame, uint64_t i)
{
	uint64_t slot = 0;
	if (!memory_u64(codes->heap->memory, frame->slots + 8 * i, &slot))
		return 0;
	/* 3.15: both bits set say that it is a number and no address */
	if (codes->heap->layout->shape.stack_refs == PY_STACK_TAGGED && (slot & TAG_BITS) == TAG_BITS)
		return 0;
	return untagged(codes->heap->layout, slot);
}

uint64_t frame_slot_name(const codes_t *codes, const struct frame *frame, uint64_t i)
{
	const heap_t *heap = codes->heap;
	const struct py_layout *layout = heap->layout;
	const uint8_t *bytes = memory_at(heap->memory, frame->code->address, layout->code_size);
	if (!bytes || i >= frame->code->n_slots)
		return 0;
	if (heap_has(layout->co_localsplusnames))
		return tuple_item(heap, load_u64(bytes, layout->co_localsplusnames), i);
	const uint32_t parts[] = {layout->co_varnames, layout->co_cellvars, layout->co_freevars};
	for (size_t k = 0; k < G_N_ELEMENTS(parts); k++) {
		uint64_t tuple = load_u64(bytes, parts[k]);
		uint64_t n = k == 0 ? frame->code->n_locals : tuple_length(heap, tuple);
		if (i < n)
			return tuple_item(heap, tuple, i);
		i -= n;
	}
	return 0;
}

uint64_t frame_local(const codes_t *codes, const struct frame *frame, uint64_t i)
{
	uint64_t value = frame_slot(codes, frame, i), inside = 0;
	/* a cell may also be the value of a plain local variable, but hardly anybody has one */
	if (value && object_is(codes->heap, value, NULL, "cell"))
		return memory_u64(codes->heap->memory, value + codes->heap->layout->cell_ref, &inside) ? inside : 0;
	return value;
}

uint64_t frame_variable(const codes_t *codes, const struct frame *frame, const char *name)
{
	for (uint64_t i = 0; i < frame->code->n_slots; i++) {
		if (str_equals(codes->heap, frame_slot_name(codes, frame, i), name)) {
			uint64_t value = frame_local(codes, frame, i);
			if (value)
				return value;
		}
	}
	return 0;
}

uint64_t generator_awaited(codes_t *codes, uint64_t generator)
{
	struct frame frame;
	if (!frame_of_generator(codes, generator, &frame) || !frame.stack_exact || !frame.stack)
		return 0;
	uint64_t top = frame_slot(codes, &frame, frame.code->n_slots + frame.stack - 1);
	/* 3.15: above the iterator stands an index, or NULL */
	return top || frame.stack < 2 ? top : frame_slot(codes, &frame, frame.code->n_slots + frame.stack - 2);
}
