#include "daemon/heap/buffer.h"

#include "daemon/heap/type.h"

/* PyArrayObject_fields, from the end of the object header */
#define NDARRAY_DIMENSIONS     8 /* int nd */
#define NDARRAY_SHAPE          16
#define NDARRAY_DESCR          40
#define NDARRAY_FLAGS          48
#define NDARRAY_OWNDATA        4
#define NDARRAY_MAX_DIMENSIONS 64

/* PyArray_Descr, from the end of the object header: typeobj, kind, type, byteorder, flags, type_num, … */
#define DESCR_WORD    16 /* 1.x: int elsize, int alignment; 2.x: a flag word whose upper half is 0 */
#define DESCR_ELSIZE2 24 /* 2.x: intptr elsize */

/* mmap_object (Modules/mmapmodule.c): data, size */
#define MMAP_SIZE 8

#define MAX_BYTES (1ll << 50)

static bool ndarray_bytes(heap_t *heap, const struct object *object, int64_t *bytes, uint32_t *dimensions)
{
	uint32_t header = heap->layout->object_size;
	uint64_t word, element, descr = load_u64(object->bytes, header + NDARRAY_DESCR);
	*dimensions = load_u32(object->bytes, header + NDARRAY_DIMENSIONS);
	if (*dimensions > NDARRAY_MAX_DIMENSIONS || !memory_u64(heap->memory, descr + header + DESCR_WORD, &word))
		return false;
	if (word >> 32)
		element = (uint32_t)word;
	else if (!memory_u64(heap->memory, descr + header + DESCR_ELSIZE2, &element))
		return false;
	uint64_t shape = load_u64(object->bytes, header + NDARRAY_SHAPE), length;
	double total = (double)element;
	*bytes = (int64_t)element;
	for (uint32_t i = 0; i < *dimensions; i++) {
		if (!memory_u64(heap->memory, shape + 8 * i, &length))
			return false;
		total *= (double)length;
		if (total > (double)MAX_BYTES || length > MAX_BYTES)
			return false;
		*bytes *= (int64_t)length;
	}
	return true;
}

static bool ndarray_owned(heap_t *heap, const struct object *object, int64_t *bytes)
{
	uint32_t dimensions;
	if (object->available < heap->layout->object_size + NDARRAY_FLAGS + 4)
		return false;
	if (!(load_u32(object->bytes, heap->layout->object_size + NDARRAY_FLAGS) & NDARRAY_OWNDATA)) {
		*bytes = 0;
		return true;
	}
	return ndarray_bytes(heap, object, bytes, &dimensions);
}

bool ndarray_sizeof(heap_t *heap, const struct object *object, int64_t *bytes)
{
	int64_t owned;
	if (!ndarray_owned(heap, object, &owned))
		return false;
	uint32_t dimensions = load_u32(object->bytes, heap->layout->object_size + NDARRAY_DIMENSIONS);
	*bytes = (int64_t)object->type->basicsize + owned;
	/* dimensions and strides; a subclass or an array of a later numpy counts them just so */
	*bytes += dimensions <= NDARRAY_MAX_DIMENSIONS ? 16 * (int64_t)dimensions : 0;
	return true;
}

/* The bytes of a scalar's value, by the name of its type (numpy.float64 and its like, and 1.x's bool_). */
static int64_t scalar_bytes(const heap_t *heap, const struct object *object)
{
	static const struct {
		const char *name;
		int bytes;
	} known[] = {
		{"float64", 8},      {"int64", 8},      {"bool_", 1},       {"bool", 1},        {"int8", 1},
		{"uint8", 1},        {"int16", 2},      {"uint16", 2},      {"float16", 2},     {"int32", 4},
		{"uint32", 4},       {"float32", 4},    {"uint64", 8},      {"longlong", 8},    {"ulonglong", 8},
		{"longdouble", 16},  {"float128", 16},  {"complex64", 8},   {"complex128", 16}, {"complex256", 32},
		{"clongdouble", 32}, {"datetime64", 8}, {"timedelta64", 8}, {"object_", 8},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		if (strcmp(object->type->qualname, known[i].name) == 0)
			return known[i].bytes;
	}
	/* bytes_ and void say how long they are */
	int64_t length = load_i64(object->bytes, heap->layout->ob_size);
	return length >= 0 && length < MAX_BYTES / 2 ? length : 0;
}

bool numpy_scalar_sizeof(heap_t *heap, const struct object *object, int64_t *bytes)
{
	*bytes = (int64_t)object->type->basicsize + scalar_bytes(heap, object);
	if (object->type->itemsize)
		*bytes += load_i64(object->bytes, heap->layout->ob_size) * (int64_t)object->type->itemsize;
	return *bytes > 0 && *bytes < MAX_BYTES;
}

static bool bytearray_owned(heap_t *heap, const struct object *object, int64_t *bytes)
{
	if (object->available < heap->layout->bytearray_alloc + 8ull)
		return false;
	*bytes = load_i64(object->bytes, heap->layout->bytearray_alloc);
	return *bytes >= 0 && *bytes < MAX_BYTES;
}

static bool array_owned(heap_t *heap, const struct object *object, int64_t *bytes)
{
	const struct py_layout *layout = heap->layout;
	uint32_t itemsize;
	if (!heap_has(layout->array_allocated) || !heap_has(layout->array_descr) ||
	    !heap_has(layout->array_descr_itemsize) || object->available < layout->array_descr + 8ull)
		return false;
	uint64_t allocated = load_u64(object->bytes, layout->array_allocated);
	if (!memory_u32(heap->memory, load_u64(object->bytes, layout->array_descr) + layout->array_descr_itemsize,
			&itemsize) ||
	    itemsize > 16 || allocated > MAX_BYTES / 16)
		return false;
	*bytes = (int64_t)(allocated * itemsize);
	return true;
}

static bool mmap_owned(heap_t *heap, const struct object *object, int64_t *bytes)
{
	if (object->available < heap->layout->object_size + MMAP_SIZE + 8)
		return false;
	*bytes = load_i64(object->bytes, heap->layout->object_size + MMAP_SIZE);
	return *bytes >= 0 && *bytes < MAX_BYTES;
}

/* a memoryview shows somebody else's buffer */
static bool nothing_owned(heap_t *heap, const struct object *object, int64_t *bytes)
{
	*bytes = 0;
	return true;
}

const struct buffer_rule *buffer_rule_find(const char *module, const char *qualname)
{
	static const struct buffer_rule rules[] = {
		{"numpy", "ndarray", ndarray_owned},       {"builtins", "bytearray", bytearray_owned},
		{"array", "array", array_owned},           {"mmap", "mmap", mmap_owned},
		{"builtins", "memoryview", nothing_owned},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
		if (strcmp(rules[i].qualname, qualname) == 0 && strcmp(rules[i].module, module) == 0)
			return &rules[i];
	}
	return NULL;
}
