#include "daemon/heap/size.h"

#include "daemon/heap/buffer.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/str.h"

#define MAX_SIZE          (1ull << 46)
#define DEQUE_BLOCK_ITEMS 64 /* CPython Modules/_collectionsmodule.c, BLOCKLEN */
#define DEQUE_BLOCK_BYTES (8 * (DEQUE_BLOCK_ITEMS + 2))
#define FFI_POINTER       8

/* Read a field of the object itself; false when the layout has no such field or the object is shorter. */
static bool own_u64(const struct object *object, uint32_t offset, uint64_t *value)
{
	if (offset == PY_ABSENT || offset + 8ull > object->available)
		return false;
	*value = load_u64(object->bytes, offset);
	return true;
}

static uint64_t ob_size(const heap_t *heap, const struct object *object)
{
	int64_t size = load_i64(object->bytes, heap->layout->ob_size);
	return size < 0 ? -(uint64_t)size : (uint64_t)size;
}

static bool sane(uint64_t size, int64_t *bytes)
{
	if (size > MAX_SIZE)
		return false;
	*bytes = (int64_t)size;
	return true;
}

/* basicsize + n * unit, for n from the target */
static bool sized(const struct object *object, uint64_t n, uint64_t unit, int64_t *bytes)
{
	if (n > MAX_SIZE / (unit ? unit : 1))
		return false;
	return sane(object->type->basicsize + n * unit, bytes);
}

/*
 * Items that follow the struct lie in the same block. Where they would reach beyond it, the number is not written yet: the target was
 * stopped between the object's header and its size, and what is there is left over from another one.
 */
static bool inside(const struct object *object, const int64_t *bytes)
{
	return (uint64_t)*bytes <= object->available;
}

/* CPython Objects/typeobject.c, object___sizeof___impl */
static bool measure_object(heap_t *heap, const struct object *object, int64_t *bytes)
{
	if (!object->type->itemsize)
		return sane(object->type->basicsize, bytes);
	return sized(object, ob_size(heap, object), object->type->itemsize, bytes) && inside(object, bytes);
}

/* Objects/longobject.c, int___sizeof___impl */
static bool measure_int(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t digits =
		heap_has(layout->long_tag) ? load_u64(object->bytes, layout->long_tag) >> 3 : ob_size(heap, object);
	if (!digits && layout->shape.int_zero_has_digit)
		digits = 1;
	return digits < MAX_SIZE / 4 && sane(layout->long_digit + 4 * digits, bytes) && inside(object, bytes);
}

#define LIST_IN_SORT UINT64_MAX /* allocated: -1 while list.sort() has the items, list_sort_impl() */

/* Objects/listobject.c, list___sizeof___impl: of a list that is being sorted it says one item less than none */
static bool measure_list(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t allocated;
	if (!own_u64(object, heap->layout->list_allocated, &allocated))
		return false;
	if (allocated == LIST_IN_SORT)
		return sane(object->type->basicsize - 8, bytes);
	return sized(object, allocated, 8, bytes);
}

/* Objects/setobject.c, set___sizeof___impl */
static bool measure_set(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t table, mask;
	if (!own_u64(object, layout->set_table, &table) || !own_u64(object, layout->set_mask, &mask))
		return false;
	if (!table || table == object->address + layout->set_smalltable)
		return sized(object, 0, 0, bytes);
	return mask < MAX_SIZE && sized(object, mask + 1, layout->set_entry_size, bytes);
}

/* Objects/dictobject.c, _PyDict_SizeOf() */
static bool dict_sizeof(heap_t *heap, const struct object *object, int64_t *bytes)
{
	struct dict_keys keys;
	uint64_t address, values;
	if (!own_u64(object, heap->layout->ma_keys, &address) || !own_u64(object, heap->layout->ma_values, &values))
		return false;
	if (!address)
		return sane(object->type->basicsize, bytes); /* allocated, and nothing more yet */
	uint64_t table = values ? 0 : dict_block_bytes(heap->dict_blocks, &heap->layout->shape, address);
	if (table)
		return sane(object->type->basicsize + table, bytes);
	if (!dict_keys_read(heap, address, &keys))
		return false;
	uint64_t size = object->type->basicsize;
	if (values)
		size += 8 * (heap->layout->shape.dict_keys == PY_DICT_KEYS_SIZE ? dict_usable_fraction(keys.slots)
										: keys.n_entries + keys.usable);
	/* a shared table is accounted with the type */
	if (keys.refcount == 1 && !(values && heap->layout->shape.dict_keys == PY_DICT_KEYS_LOG2))
		size += keys.bytes;
	return sane(size, bytes);
}

/* Objects/odictobject.c, odict_sizeof() */
static bool measure_odict(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t nodes, first, used;
	if (!dict_sizeof(heap, object, bytes) || !own_u64(object, layout->odict_fast_nodes_size, &nodes) ||
	    !own_u64(object, layout->odict_first, &first) || !own_u64(object, layout->ma_used, &used) ||
	    nodes > MAX_SIZE / 8 || used > MAX_SIZE / 64)
		return false;
	*bytes += (int64_t)(8 * nodes + (first ? layout->odict_node_size * used : 0));
	return true;
}

/* Objects/unicodeobject.c, unicode_sizeof() */
static bool measure_str(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	struct str str;
	if (object->available < layout->ascii_size || !str_read_at(heap, object->address, object->bytes, &str))
		return false;
	/* most; up to 3.11 one may have been asked for in wide characters */
	if (str.ascii && str.compact && !heap_has(layout->str_wstr))
		return sane(layout->ascii_size + (str.length + 1) * str.kind, bytes);
	uint64_t size, utf8 = 0, utf8_length = 0, wstr = 0, wstr_length = 0;
	if (str.compact)
		size = (str.ascii ? layout->ascii_size : layout->compact_size) + (str.length + 1) * str.kind;
	else
		size = layout->unicode_size + (str.data ? (str.length + 1) * str.kind : 0);
	bool compact_ascii = str.compact && str.ascii;
	if (!compact_ascii) {
		own_u64(object, layout->str_utf8, &utf8);
		own_u64(object, layout->str_utf8_length, &utf8_length);
		own_u64(object, layout->str_wstr_length, &wstr_length);
	} else {
		wstr_length = str.length;
	}
	if (heap_has(layout->str_wstr))
		own_u64(object, layout->str_wstr, &wstr);
	if (wstr && wstr != str.data && wstr_length < MAX_SIZE / 4)
		size += (wstr_length + 1) * 4;
	if (utf8 && utf8 != str.data && memory_spans(heap->memory, utf8, utf8_length))
		size += utf8_length + 1;
	return sane(size, bytes);
}

/* Objects/typeobject.c, type___sizeof___impl */
static bool measure_type(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t keys_address, size = layout->type_size;
	struct dict_keys keys;
	if (load_u64(object->bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE) {
		size = layout->heap_type_size;
		if (!own_u64(object, layout->ht_cached_keys, &keys_address))
			return false;
		if (keys_address) {
			if (!dict_keys_read(heap, keys_address, &keys))
				return false;
			size += keys.bytes;
		}
	}
	return sane(size, bytes);
}

/* Objects/bytearrayobject.c, bytearray_sizeof(); from 3.15 the characters are in a bytes object of its own */
static bool measure_bytearray(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t allocated, at = 0;
	if (!own_u64(object, layout->bytearray_alloc, &allocated) || allocated > MAX_SIZE / 2)
		return false;
	/* it is given its characters before their number (PyByteArray_FromStringAndSize()) */
	if (allocated && own_u64(object, layout->bytearray_ob_bytes, &at) && !memory_spans(heap->memory, at, allocated))
		return false;
	if (allocated && heap_has(layout->bytearray_bytes_object))
		allocated += layout->bytes_ob_sval + 1;
	return sized(object, allocated, 1, bytes);
}

static bool tuple_length(const heap_t *heap, uint64_t tuple, uint64_t *length)
{
	*length = 0;
	if (!tuple)
		return true;
	return memory_u64(heap->memory, tuple + heap->layout->ob_size, length) && *length < MAX_SIZE / 8;
}

/* Objects/codeobject.c, code_sizeof() */
static bool measure_code(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t extra = 0, n = 0, size = object->type->basicsize;
	if (object->type->itemsize)
		/* _PyObject_VAR_SIZE rounds up to a pointer */
		size = (size + ob_size(heap, object) * object->type->itemsize + 7) & ~7ull;
	uint64_t cells = 0, cell_names, cell_count, opcache = 0;
	if (own_u64(object, layout->co_cell2arg, &cells) && cells &&
	    own_u64(object, layout->co_cellvars, &cell_names)) {
		if (!tuple_length(heap, cell_names, &cell_count))
			return false;
		size += 8 * cell_count;
	}
	if (own_u64(object, layout->co_opcache, &opcache) && opcache && heap_has(layout->co_opcache_size) &&
	    heap_has(layout->opcache_entry_size)) {
		/* co_opcache_size counts the entries, one byte (3.8 to 3.10) */
		size += object->bytes[layout->co_opcache_size] * (uint64_t)layout->opcache_entry_size;
	}
	if (own_u64(object, layout->co_extra, &extra) && extra && heap_has(layout->code_extra_size)) {
		if (!memory_u64(heap->memory, extra + layout->code_extra_n, &n) || n > MAX_SIZE / 8)
			return false;
		size += layout->code_extra_size + 8 * n - 8;
	}
	return sane(size, bytes);
}

/* locals, cells and stack of a code object's frame, in words */
static bool code_slots(const heap_t *heap, uint64_t code, uint64_t *slots)
{
	const struct py_layout *layout = heap->layout;
	uint32_t locals, stack;
	uint64_t cells, frees, names;
	if (!memory_u32(heap->memory, code + layout->co_stacksize, &stack))
		return false;
	if (heap_has(layout->co_nlocalsplus)) {
		if (!memory_u32(heap->memory, code + layout->co_nlocalsplus, &locals))
			return false;
		*slots = (uint64_t)locals + stack;
		return true;
	}
	if (!memory_u32(heap->memory, code + layout->co_nlocals, &locals) ||
	    !memory_u64(heap->memory, code + layout->co_cellvars, &names) || !tuple_length(heap, names, &cells) ||
	    !memory_u64(heap->memory, code + layout->co_freevars, &names) || !tuple_length(heap, names, &frees))
		return false;
	*slots = (uint64_t)locals + stack + cells + frees;
	return true;
}

/* The code object of an interpreter frame; its pointer may carry a tag (3.14+). */
static uint64_t frame_code(const heap_t *heap, uint64_t frame)
{
	uint64_t code = 0;
	memory_u64(heap->memory, frame + heap->layout->iframe_code, &code);
	return code & ~3ull;
}

/* Objects/frameobject.c, frame_sizeof() */
static bool measure_frame(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t slots, frame, code;
	if (heap_has(layout->f_frame)) {
		if (!own_u64(object, layout->f_frame, &frame) || !code_slots(heap, frame_code(heap, frame), &slots))
			return false;
		return sane(layout->f_frame_data + layout->iframe_localsplus + 8 * slots, bytes) &&
		       inside(object, bytes);
	}
	if (!own_u64(object, layout->f_code, &code) || !code_slots(heap, code, &slots))
		return false;
	return sane(layout->frame_size + 8 * slots - 8, bytes) && inside(object, bytes);
}

/* Objects/genobject.c, gen_sizeof() (3.11+) */
static bool measure_generator(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t code = 0, slots;
	if (!heap_has(layout->gi_iframe))
		return measure_object(heap, object, bytes);
	if (!heap_has(layout->gi_code) || !own_u64(object, layout->gi_code, &code))
		code = frame_code(heap, object->address + layout->gi_iframe);
	const uint64_t without = layout->gi_iframe + layout->iframe_localsplus;
	if (code_slots(heap, code, &slots) && sane(without + 8 * slots, bytes) && inside(object, bytes))
		return true;
	/* it is listed before it is given its frame (make_gen()) */
	return heap_has(layout->gi_frame_state) &&
	       object->bytes[layout->gi_frame_state] == layout->shape.generator_cleared && sane(without, bytes);
}

/* Modules/_collectionsmodule.c, deque___sizeof___impl */
static bool measure_deque(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t left;
	if (!own_u64(object, heap->layout->deque_leftindex, &left) || left > DEQUE_BLOCK_ITEMS)
		return false;
	uint64_t blocks = (left + ob_size(heap, object) + DEQUE_BLOCK_ITEMS - 1) / DEQUE_BLOCK_ITEMS;
	return sized(object, blocks, DEQUE_BLOCK_BYTES, bytes);
}

/* Modules/arraymodule.c, array_array___sizeof___impl */
static bool measure_array(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t allocated, descr;
	uint32_t itemsize = 0;
	if (!own_u64(object, heap->layout->array_allocated, &allocated) ||
	    !own_u64(object, heap->layout->array_descr, &descr))
		return false;
	if (!allocated)
		return sized(object, 0, 0, bytes); /* descr may not be there yet */
	return heap_has(heap->layout->array_descr_itemsize) &&
	       memory_u32(heap->memory, descr + heap->layout->array_descr_itemsize, &itemsize) && itemsize <= 16 &&
	       sized(object, allocated, itemsize, bytes);
}

/* sys.getsizeof() of another object that this one counts as its own; 0 is none */
static bool add_getsizeof(heap_t *heap, uint64_t address, int64_t *bytes)
{
	struct object object;
	int64_t size;
	if (!address)
		return true;
	if (!object_at(heap, address, &object) || !object_getsizeof(heap, &object, &size))
		return false;
	*bytes += size;
	return true;
}

/* Modules/_io/bytesio.c, bytesio_sizeof(): the buffer counts while nobody else has it */
static bool measure_bytesio(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t buffer;
	if (!own_u64(object, heap->layout->bytesio_buf, &buffer) || !sized(object, 0, 0, bytes))
		return false;
	if (!buffer)
		return true;
	const uint8_t *at = memory_at(heap->memory, buffer, heap->layout->object_size);
	if (!at)
		return false;
	struct refcount refcount = object_refcount(heap->layout, at);
	if (refcount.immortal || refcount.count > 1)
		return true;
	return add_getsizeof(heap, buffer, bytes);
}

/* Modules/_io/bufferedio.c, buffered_sizeof() */
static bool measure_buffered(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t buffer, size;
	return own_u64(object, heap->layout->buffered_buffer, &buffer) &&
	       own_u64(object, heap->layout->buffered_buffer_size, &size) && sized(object, buffer ? size : 0, 1, bytes);
}

/* Modules/_pickle.c, _pickle_Pickler___sizeof___impl */
static bool measure_pickler(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t memo, output, allocated;
	if (!own_u64(object, layout->pickler_memo, &memo) || !own_u64(object, layout->pickler_output, &output) ||
	    !sized(object, 0, 0, bytes))
		return false;
	if (memo) {
		if (!memory_u64(heap->memory, memo + layout->memo_table_allocated, &allocated) ||
		    allocated > MAX_SIZE / 64)
			return false;
		*bytes += (int64_t)(layout->memo_table_size + allocated * layout->memo_entry_size);
	}
	return add_getsizeof(heap, output, bytes);
}

/* Add strlen() + 1 of a C string the object owns; 0 is none. */
static bool add_string(const heap_t *heap, uint64_t address, int64_t *bytes)
{
	uint8_t byte;
	if (!address)
		return true;
	for (uint64_t i = 0; i < 1u << 20; i++) {
		if (!memory_u8(heap->memory, address + i, &byte))
			return false;
		++*bytes;
		if (!byte)
			return true;
	}
	return false;
}

/* Modules/_pickle.c, _pickle_Unpickler___sizeof___impl */
static bool measure_unpickler(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t memo, memo_size, marks, marks_size, line, encoding, errors;
	if (!own_u64(object, layout->unpickler_memo, &memo) ||
	    !own_u64(object, layout->unpickler_memo_size, &memo_size) ||
	    !own_u64(object, layout->unpickler_marks, &marks) ||
	    !own_u64(object, layout->unpickler_marks_size, &marks_size) ||
	    !own_u64(object, layout->unpickler_input_line, &line) ||
	    !own_u64(object, layout->unpickler_encoding, &encoding) ||
	    !own_u64(object, layout->unpickler_errors, &errors) || memo_size > MAX_SIZE / 8 ||
	    marks_size > MAX_SIZE / 8)
		return false;
	return sized(object, (memo ? memo_size : 0) + (marks ? marks_size : 0), 8, bytes) &&
	       add_string(heap, line, bytes) && add_string(heap, encoding, bytes) && add_string(heap, errors, bytes);
}

/* Modules/_struct.c, s_sizeof() */
static bool measure_struct(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t codes, definition, n = 0;
	if (!own_u64(object, heap->layout->struct_codes, &codes) || !heap_has(heap->layout->format_code_size))
		return false;
	definition = codes; /* without a format, it has none yet */
	/* the array ends with an entry without a definition; the definition is the first field */
	while (n < 1u << 20 && definition) {
		if (!memory_u64(heap->memory, codes + n * heap->layout->format_code_size, &definition))
			return false;
		n++;
	}
	return sized(object, n, heap->layout->format_code_size, bytes);
}

#define MPD_DATAFLAGS (0x20 | 0x40 | 0x80) /* Modules/_decimal/libmpdec/mpdecimal.h: static, const and shared data */

/* Modules/_decimal/_decimal.c, dec_sizeof() */
static bool measure_decimal(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t flags, allocated;
	if (!own_u64(object, heap->layout->decimal_flags, &flags) ||
	    !own_u64(object, heap->layout->decimal_alloc, &allocated))
		return false;
	return sized(object, flags & MPD_DATAFLAGS ? 0 : allocated, 8, bytes);
}

static bool measure_words(const struct object *object, uint32_t offset, int64_t *bytes)
{
	uint64_t n;
	return own_u64(object, offset, &n) && sized(object, n, 8, bytes);
}

/* Modules/itertoolsmodule.c: the index arrays of combinatoric iterators */
static bool measure_combinations(heap_t *heap, const struct object *object, int64_t *bytes)
{
	return measure_words(object, heap->layout->combinations_r, bytes);
}

static bool measure_cwr(heap_t *heap, const struct object *object, int64_t *bytes)
{
	return measure_words(object, heap->layout->cwr_r, bytes);
}

static bool measure_permutations(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t pool, n, r;
	return own_u64(object, heap->layout->permutations_pool, &pool) && tuple_length(heap, pool, &n) &&
	       own_u64(object, heap->layout->permutations_r, &r) && r < MAX_SIZE / 8 && sized(object, n + r, 8, bytes);
}

static bool measure_product(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint64_t pools, n;
	return own_u64(object, heap->layout->product_pools, &pools) && tuple_length(heap, pools, &n) &&
	       sized(object, n, 8, bytes);
}

/* Modules/_elementtree.c, _elementtree_Element___sizeof___impl */
static bool measure_element(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t extra, children, allocated;
	if (!own_u64(object, layout->element_extra, &extra) || !sized(object, 0, 0, bytes))
		return false;
	if (!extra)
		return true;
	if (!memory_u64(heap->memory, extra + layout->element_children, &children) ||
	    !memory_u64(heap->memory, extra + layout->element_allocated, &allocated) || allocated > MAX_SIZE / 8)
		return false;
	*bytes += layout->element_extra_size;
	if (children != extra + layout->element_inline_children)
		*bytes += (int64_t)(8 * allocated);
	return true;
}

/* Modules/_ctypes/_ctypes.c, PyCStgDict_sizeof() (up to 3.12) */
static bool measure_stgdict(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t format, length, elements;
	uint32_t dimensions;
	if (!heap_has(layout->stgdict_size) || !dict_sizeof(heap, object, bytes) ||
	    !own_u64(object, layout->stgdict_format, &format) || !own_u64(object, layout->stgdict_length, &length) ||
	    !own_u64(object, layout->stgdict_elements, &elements))
		return false;
	dimensions = load_u32(object->bytes, layout->stgdict_ndim);
	if (length > MAX_SIZE / 8)
		return false;
	*bytes += layout->stgdict_size - layout->dict_size + 8 * (int64_t)dimensions;
	if (elements)
		*bytes += (int64_t)((length + 1) * FFI_POINTER);
	return add_string(heap, format, bytes);
}

#define TYPE_DATA_ALIGNMENT                                                                                            \
	16 /* PyObject_GetTypeData(): what a metatype adds lies aligned behind its base's struct                       \
	    */

/* Modules/_ctypes/_ctypes.c, CType_Type_sizeof() (3.13+) */
static bool measure_ctype(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint64_t format, length, elements;
	uint32_t info = (layout->heap_type_size + TYPE_DATA_ALIGNMENT - 1) & ~(TYPE_DATA_ALIGNMENT - 1u);
	if (!heap_has(layout->stginfo_format) || !measure_object(heap, object, bytes) ||
	    !own_u64(object, info + layout->stginfo_format, &format) ||
	    !own_u64(object, info + layout->stginfo_length, &length) ||
	    !own_u64(object, info + layout->stginfo_elements, &elements) || length > MAX_SIZE / 8)
		return false;
	*bytes += 8 * (int64_t)load_u32(object->bytes, info + layout->stginfo_ndim);
	if (elements)
		*bytes += (int64_t)((length + 1) * FFI_POINTER);
	return add_string(heap, format, bytes);
}

const struct size_rule size_of_object = {NULL, NULL, measure_object, true};
const struct size_rule size_unknown = {NULL, NULL, measure_object, false};

static const struct size_rule rules[] = {
	{"builtins", "int", measure_int, true},
	{"builtins", "str", measure_str, true},
	{"builtins", "dict", dict_sizeof, true},
	{"builtins", "frozendict", dict_sizeof, true},
	{"builtins", "list", measure_list, true},
	{"builtins", "set", measure_set, true},
	{"builtins", "frozenset", measure_set, true},
	{"builtins", "type", measure_type, true},
	{"builtins", "bytearray", measure_bytearray, true},
	{"builtins", "code", measure_code, true},
	{"builtins", "frame", measure_frame, true},
	{"builtins", "generator", measure_generator, true},
	{"builtins", "coroutine", measure_generator, true},
	{"builtins", "async_generator", measure_generator, true},
	{"collections", "deque", measure_deque, true},
	{"collections", "OrderedDict", measure_odict, true},
	{"array", "array", measure_array, true},
	{"_io", "BytesIO", measure_bytesio, true},
	{"_io", "BufferedReader", measure_buffered, true},
	{"_io", "BufferedWriter", measure_buffered, true},
	{"_io", "BufferedRandom", measure_buffered, true},
	{"_pickle", "Pickler", measure_pickler, true},
	{"_pickle", "Unpickler", measure_unpickler, true},
	{"_struct", "Struct", measure_struct, true},
	{"builtins", "Struct", measure_struct, true}, /* up to 3.8 */
	{"decimal", "Decimal", measure_decimal, true},
	{"itertools", "combinations", measure_combinations, true},
	{"itertools", "combinations_with_replacement", measure_cwr, true},
	{"itertools", "permutations", measure_permutations, true},
	{"itertools", "product", measure_product, true},
	{"xml.etree.ElementTree", "Element", measure_element, true},
	{"builtins", "StgDict", measure_stgdict, true},
	{"_ctypes", "StgDict", measure_stgdict, true},
	{"_ctypes", "CType_Type", measure_ctype, true},
	{"numpy", "ndarray", ndarray_sizeof, true},
	{"numpy", "generic", numpy_scalar_sizeof, true},
};

/* Whether the smallest instance has the word at `offset`: what is only named like one of Python's types may be smaller. */
static bool has_word(const struct type *type, uint32_t offset)
{
	return heap_has(offset) && offset + 8ull <= type->least;
}

enum size_form size_form_of(const heap_t *heap, const struct type *type)
{
	const struct py_layout *layout = heap->layout;
	if (type->flags & PY_FLAG_TYPE)
		return SIZE_ASKED;
	if (type->size == &size_of_object)
		return !type->itemsize ? SIZE_FIXED : type->itemsize <= 64 ? SIZE_ITEMS : SIZE_ASKED;
	if (type->flags & PY_FLAG_HEAPTYPE)
		return SIZE_ASKED;
	if (type->size->measure == measure_int && has_word(type, layout->long_tag))
		return SIZE_DIGITS;
	if (type->size->measure == measure_int && !heap_has(layout->long_tag) && has_word(type, layout->ob_size))
		return SIZE_SIGNED_DIGITS;
	if (type->size->measure == measure_str && type->flags & PY_FLAG_UNICODE)
		return SIZE_TEXT;
	if (type->size->measure == measure_list && has_word(type, layout->list_allocated))
		return SIZE_LIST;
	if (type->size->measure == dict_sizeof && heap->dict_blocks && has_word(type, layout->ma_keys) &&
	    has_word(type, layout->ma_values))
		return SIZE_DICT;
	return SIZE_ASKED;
}

struct size_terms size_terms_of(const heap_t *heap, enum size_form form, const struct object *like)
{
	const struct py_layout *layout = heap->layout;
	const struct type *type = like->type;
	struct size_terms terms = {.base = type->basicsize, .shape = &layout->shape};
	switch (form) {
	case SIZE_ITEMS:
		terms.count = layout->ob_size;
		terms.unit = type->itemsize;
		break;
	case SIZE_DIGITS:
		terms.count = layout->long_tag;
		terms.base = layout->long_digit;
		terms.unit = 4;
		break;
	case SIZE_SIGNED_DIGITS:
		terms.count = layout->ob_size;
		terms.base = layout->long_digit;
		terms.unit = 4;
		break;
	case SIZE_TEXT:
		terms.count = layout->str_length;
		terms.base = layout->ascii_size + 1;
		terms.unit = 1;
		break;
	case SIZE_LIST:
		terms.count = layout->list_allocated;
		terms.unit = 8;
		break;
	case SIZE_DICT:
		terms.unit = 1;
		terms.table = layout->ma_keys;
		terms.values = layout->ma_values;
		terms.blocks = heap->dict_blocks;
		break;
	case SIZE_FIXED:
	case SIZE_ASKED:
		break;
	}
	if (form == SIZE_LIST)
		terms.most = MIN(MAX_SIZE, heap->largest) / 8;
	else if (terms.unit && like->available > terms.base)
		terms.most = (like->available - terms.base) / terms.unit;
	terms.base += type->prefix;
	return terms;
}

const struct size_rule *size_rule_find(const char *module, const char *qualname)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		if (strcmp(rules[i].qualname, qualname) == 0 && strcmp(rules[i].module, module) == 0)
			return &rules[i];
	}
	return NULL;
}
