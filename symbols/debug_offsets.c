#include "symbols/debug_offsets.h"

#include <stdlib.h>
#include <string.h>

/* one entry of the table: where it is, and the member of the layout it says something about */
struct entry {
	uint16_t position; /* in the table, bytes */
	uint16_t member;   /* offsetof(struct py_layout, …) */
	uint16_t size;     /* of the member that holds the structure's size; for a size itself the same as `member` */
};

#define ENTRY(at, name, structure)                                                                                     \
	{                                                                                                              \
		.position = (at), .member = offsetof(struct py_layout, name),                                          \
		.size = offsetof(struct py_layout, structure)                                                          \
	}

/* no structure is this large; _PyRuntimeState of 3.15 has 400 KiB */
#define SIZE_MAX_SANE (16u << 20)

/* 3.13 */
static const struct entry entries_13[] = {
	ENTRY(24, runtime_size, runtime_size),
	ENTRY(48, interp_size, interp_size),
	ENTRY(152, tstate_size, tstate_size),
	ENTRY(224, iframe_size, iframe_size),
	ENTRY(272, code_size, code_size),
	ENTRY(352, object_size, object_size),
	ENTRY(368, type_size, type_size),
	ENTRY(400, tuple_size, tuple_size),
	ENTRY(416, ob_size, ob_size),
	ENTRY(424, list_size, list_size),
	ENTRY(448, dict_size, dict_size),
	ENTRY(488, long_size, long_size),
	ENTRY(512, bytes_size, bytes_size),
	ENTRY(536, unicode_size, unicode_size),
	ENTRY(560, ascii_size, ascii_size),
	ENTRY(568, gc_size, gc_size),
	ENTRY(32, runtime_finalizing, runtime_size),
	ENTRY(40, runtime_interpreters_head, runtime_size),
	ENTRY(56, interp_id, interp_size),
	ENTRY(64, interp_next, interp_size),
	ENTRY(72, interp_tstate_head, interp_size),
	ENTRY(80, interp_gc, interp_size),
	ENTRY(88, interp_modules, interp_size),
	ENTRY(96, interp_sysdict, interp_size),
	ENTRY(104, interp_builtins, interp_size),
	ENTRY(112, interp_gil, interp_size),
	ENTRY(120, interp_own_gil, interp_size),
	ENTRY(160, tstate_prev, tstate_size),
	ENTRY(168, tstate_next, tstate_size),
	ENTRY(176, tstate_interp, tstate_size),
	ENTRY(184, tstate_current_frame, tstate_size),
	ENTRY(192, tstate_thread_id, tstate_size),
	ENTRY(200, tstate_native_thread_id, tstate_size),
	ENTRY(208, tstate_datastack_chunk, tstate_size),
	ENTRY(216, tstate_status, tstate_size),
	ENTRY(232, iframe_previous, iframe_size),
	ENTRY(240, iframe_code, iframe_size),
	ENTRY(248, iframe_instr, iframe_size),
	ENTRY(256, iframe_localsplus, iframe_size),
	ENTRY(264, iframe_owner, iframe_size),
	ENTRY(280, co_filename, code_size),
	ENTRY(288, co_name, code_size),
	ENTRY(296, co_qualname, code_size),
	ENTRY(304, co_linetable, code_size),
	ENTRY(312, co_firstlineno, code_size),
	ENTRY(320, co_argcount, code_size),
	ENTRY(328, co_localsplusnames, code_size),
	ENTRY(336, co_localspluskinds, code_size),
	ENTRY(344, co_code_adaptive, code_size),
	ENTRY(360, ob_type, object_size),
	ENTRY(376, tp_name, type_size),
	ENTRY(392, tp_flags, type_size),
	ENTRY(408, tuple_ob_item, tuple_size),
	ENTRY(432, list_ob_item, list_size),
	ENTRY(456, ma_keys, dict_size),
	ENTRY(464, ma_values, dict_size),
	ENTRY(480, float_ob_fval, type_size),
	ENTRY(496, long_tag, long_size),
	ENTRY(504, long_digit, long_size),
	ENTRY(528, bytes_ob_sval, bytes_size),
	ENTRY(544, str_state, unicode_size),
	ENTRY(552, str_length, unicode_size),
	ENTRY(576, gc_collecting, gc_size),
};

/* 3.14 */
static const struct entry entries_14[] = {
	ENTRY(24, runtime_size, runtime_size),
	ENTRY(48, interp_size, interp_size),
	ENTRY(176, tstate_size, tstate_size),
	ENTRY(248, iframe_size, iframe_size),
	ENTRY(312, code_size, code_size),
	ENTRY(400, object_size, object_size),
	ENTRY(416, type_size, type_size),
	ENTRY(448, tuple_size, tuple_size),
	ENTRY(464, ob_size, ob_size),
	ENTRY(472, list_size, list_size),
	ENTRY(496, set_size, set_size),
	ENTRY(528, dict_size, dict_size),
	ENTRY(568, long_size, long_size),
	ENTRY(592, bytes_size, bytes_size),
	ENTRY(616, unicode_size, unicode_size),
	ENTRY(640, ascii_size, ascii_size),
	ENTRY(648, gc_size, gc_size),
	ENTRY(664, gen_size, gen_size),
	ENTRY(32, runtime_finalizing, runtime_size),
	ENTRY(40, runtime_interpreters_head, runtime_size),
	ENTRY(56, interp_id, interp_size),
	ENTRY(64, interp_next, interp_size),
	ENTRY(72, interp_tstate_head, interp_size),
	ENTRY(80, interp_threads_main, interp_size),
	ENTRY(88, interp_gc, interp_size),
	ENTRY(96, interp_modules, interp_size),
	ENTRY(104, interp_sysdict, interp_size),
	ENTRY(112, interp_builtins, interp_size),
	ENTRY(120, interp_gil, interp_size),
	ENTRY(128, interp_own_gil, interp_size),
	ENTRY(184, tstate_prev, tstate_size),
	ENTRY(192, tstate_next, tstate_size),
	ENTRY(200, tstate_interp, tstate_size),
	ENTRY(208, tstate_current_frame, tstate_size),
	ENTRY(216, tstate_thread_id, tstate_size),
	ENTRY(224, tstate_native_thread_id, tstate_size),
	ENTRY(232, tstate_datastack_chunk, tstate_size),
	ENTRY(240, tstate_status, tstate_size),
	ENTRY(256, iframe_previous, iframe_size),
	ENTRY(264, iframe_code, iframe_size),
	ENTRY(272, iframe_instr, iframe_size),
	ENTRY(280, iframe_localsplus, iframe_size),
	ENTRY(288, iframe_owner, iframe_size),
	ENTRY(296, iframe_stackpointer, iframe_size),
	ENTRY(304, iframe_tlbc_index, iframe_size),
	ENTRY(320, co_filename, code_size),
	ENTRY(328, co_name, code_size),
	ENTRY(336, co_qualname, code_size),
	ENTRY(344, co_linetable, code_size),
	ENTRY(352, co_firstlineno, code_size),
	ENTRY(360, co_argcount, code_size),
	ENTRY(368, co_localsplusnames, code_size),
	ENTRY(376, co_localspluskinds, code_size),
	ENTRY(384, co_code_adaptive, code_size),
	ENTRY(392, co_tlbc, code_size),
	ENTRY(408, ob_type, object_size),
	ENTRY(424, tp_name, type_size),
	ENTRY(440, tp_flags, type_size),
	ENTRY(456, tuple_ob_item, tuple_size),
	ENTRY(480, list_ob_item, list_size),
	ENTRY(504, set_used, set_size),
	ENTRY(512, set_table, set_size),
	ENTRY(520, set_mask, set_size),
	ENTRY(536, ma_keys, dict_size),
	ENTRY(544, ma_values, dict_size),
	ENTRY(560, float_ob_fval, type_size),
	ENTRY(576, long_tag, long_size),
	ENTRY(584, long_digit, long_size),
	ENTRY(608, bytes_ob_sval, bytes_size),
	ENTRY(624, str_state, unicode_size),
	ENTRY(632, str_length, unicode_size),
	ENTRY(656, gc_collecting, gc_size),
	ENTRY(672, gi_name, gen_size),
	ENTRY(680, gi_iframe, gen_size),
	ENTRY(688, gi_frame_state, gen_size),
};

/* 3.15 */
static const struct entry entries_15[] = {
	ENTRY(24, runtime_size, runtime_size),
	ENTRY(48, interp_size, interp_size),
	ENTRY(176, tstate_size, tstate_size),
	ENTRY(312, iframe_size, iframe_size),
	ENTRY(376, code_size, code_size),
	ENTRY(464, object_size, object_size),
	ENTRY(480, type_size, type_size),
	ENTRY(512, tp_basicsize, tp_basicsize),
	ENTRY(528, heap_type_size, heap_type_size),
	ENTRY(544, tuple_size, tuple_size),
	ENTRY(560, ob_size, ob_size),
	ENTRY(568, list_size, list_size),
	ENTRY(592, set_size, set_size),
	ENTRY(624, dict_size, dict_size),
	ENTRY(664, long_size, long_size),
	ENTRY(688, bytes_size, bytes_size),
	ENTRY(712, unicode_size, unicode_size),
	ENTRY(736, ascii_size, ascii_size),
	ENTRY(744, compact_size, compact_size),
	ENTRY(752, gc_size, gc_size),
	ENTRY(792, gen_size, gen_size),
	ENTRY(32, runtime_finalizing, runtime_size),
	ENTRY(40, runtime_interpreters_head, runtime_size),
	ENTRY(56, interp_id, interp_size),
	ENTRY(64, interp_next, interp_size),
	ENTRY(72, interp_tstate_head, interp_size),
	ENTRY(80, interp_threads_main, interp_size),
	ENTRY(88, interp_gc, interp_size),
	ENTRY(96, interp_modules, interp_size),
	ENTRY(104, interp_sysdict, interp_size),
	ENTRY(112, interp_builtins, interp_size),
	ENTRY(120, interp_gil, interp_size),
	ENTRY(128, interp_own_gil, interp_size),
	ENTRY(184, tstate_prev, tstate_size),
	ENTRY(192, tstate_next, tstate_size),
	ENTRY(200, tstate_interp, tstate_size),
	ENTRY(208, tstate_current_frame, tstate_size),
	ENTRY(216, tstate_base_frame, tstate_size),
	ENTRY(240, tstate_thread_id, tstate_size),
	ENTRY(248, tstate_native_thread_id, tstate_size),
	ENTRY(256, tstate_datastack_chunk, tstate_size),
	ENTRY(264, tstate_status, tstate_size),
	ENTRY(272, tstate_holds_gil, tstate_size),
	ENTRY(288, tstate_current_exception, tstate_size),
	ENTRY(296, tstate_exc_state, tstate_size),
	ENTRY(304, exc_item_value, type_size),
	ENTRY(320, iframe_previous, iframe_size),
	ENTRY(328, iframe_code, iframe_size),
	ENTRY(336, iframe_instr, iframe_size),
	ENTRY(344, iframe_localsplus, iframe_size),
	ENTRY(352, iframe_owner, iframe_size),
	ENTRY(360, iframe_stackpointer, iframe_size),
	ENTRY(368, iframe_tlbc_index, iframe_size),
	ENTRY(384, co_filename, code_size),
	ENTRY(392, co_name, code_size),
	ENTRY(400, co_qualname, code_size),
	ENTRY(408, co_linetable, code_size),
	ENTRY(416, co_firstlineno, code_size),
	ENTRY(424, co_argcount, code_size),
	ENTRY(432, co_localsplusnames, code_size),
	ENTRY(440, co_localspluskinds, code_size),
	ENTRY(448, co_code_adaptive, code_size),
	ENTRY(456, co_tlbc, code_size),
	ENTRY(472, ob_type, object_size),
	ENTRY(488, tp_name, type_size),
	ENTRY(504, tp_flags, type_size),
	ENTRY(520, tp_dictoffset, type_size),
	ENTRY(536, ht_cached_keys, heap_type_size),
	ENTRY(552, tuple_ob_item, tuple_size),
	ENTRY(576, list_ob_item, list_size),
	ENTRY(600, set_used, set_size),
	ENTRY(608, set_table, set_size),
	ENTRY(616, set_mask, set_size),
	ENTRY(632, ma_keys, dict_size),
	ENTRY(640, ma_values, dict_size),
	ENTRY(656, float_ob_fval, type_size),
	ENTRY(672, long_tag, long_size),
	ENTRY(680, long_digit, long_size),
	ENTRY(704, bytes_ob_sval, bytes_size),
	ENTRY(720, str_state, unicode_size),
	ENTRY(728, str_length, unicode_size),
	ENTRY(760, gc_collecting, gc_size),
	ENTRY(768, gc_frame, gc_size),
	ENTRY(784, gc_stats, gc_size),
	ENTRY(800, gi_name, gen_size),
	ENTRY(808, gi_iframe, gen_size),
	ENTRY(816, gi_frame_state, gen_size),
};

static const struct table {
	uint8_t minor;
	uint16_t bytes; /* of the whole table */
	uint16_t n;
	const struct entry *entries;
} tables[] = {
	{13, 584, sizeof(entries_13) / sizeof(*entries_13), entries_13},
	{14, 760, sizeof(entries_14) / sizeof(*entries_14), entries_14},
	{15, 888, sizeof(entries_15) / sizeof(*entries_15), entries_15},
};

static uint64_t word(const uint8_t *bytes, size_t position)
{
	uint64_t value;
	memcpy(&value, bytes + position, sizeof(value));
	return value;
}

bool debug_offsets_version(const uint8_t *bytes, size_t size, uint32_t *version, bool *free_threaded)
{
	if (size < 24 || memcmp(bytes, DEBUG_OFFSETS_COOKIE, 8))
		return false;
	uint64_t value = word(bytes, 8);
	if (value >> 24 != 3 || (value >> 16 & 0xff) < 13)
		return false;
	*version = (uint32_t)value;
	*free_threaded = word(bytes, 16) & 1;
	return true;
}

static const struct table *table_find(uint32_t version)
{
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		if (tables[i].minor == (version >> 16 & 0xff))
			return &tables[i];
	return NULL;
}

static uint32_t *member_at(struct py_layout *layout, uint16_t position)
{
	return (uint32_t *)(void *)((char *)layout + position);
}

bool debug_offsets_apply(const uint8_t *bytes, size_t size, struct py_layout *layout, unsigned *n_changed)
{
	uint32_t version;
	bool free_threaded;
	if (!debug_offsets_version(bytes, size, &version, &free_threaded))
		return false;
	const struct table *table = table_find(version);
	if (!table || size < table->bytes)
		return false;
	struct py_layout found = *layout;
	unsigned changed = 0;
	for (size_t i = 0; i < table->n; i++) {
		const struct entry *entry = &table->entries[i];
		uint64_t value = word(bytes, entry->position);
		uint32_t *member = member_at(&found, entry->member);
		/* the sizes come first in our list, so that of the structure is known already */
		bool is_size = entry->member == entry->size;
		uint32_t structure = *member_at(&found, entry->size);
		if (is_size ? !value || value > SIZE_MAX_SANE : structure == PY_ABSENT || value > structure)
			return false;
		/* builds without the field write 0 */
		if (!value && *member == PY_ABSENT)
			continue;
		changed += *member != value;
		*member = (uint32_t)value;
	}
	*layout = found;
	if (n_changed)
		*n_changed = changed;
	return true;
}
