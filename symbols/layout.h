/*
 * Where things are inside the structures of one CPython build: the only place that knows how versions differ.
 *
 * `struct py_layout` has an offset (bytes, little endian, 64 bit) for every field the program reads, and the shape: the few
 * things that differ in kind and not in place. Nobody outside symbols/ compares versions; they look at offsets and shapes.
 *
 * The offsets come, in this order, from: the DWARF of the target's own interpreter (symbols/dwarf.h); _Py_DebugOffsets, which
 * 3.13 and later carry (symbols/debug_offsets.h), laid over the built-in table; the built-in table of the minor version and
 * build (symbols/layouts/, made by `make layouts` from DWARF). The shape always comes from the minor version's file.
 *
 * PY_ABSENT means that this build has no such field. It is never 0: offset 0 is a place.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define PY_ABSENT UINT32_MAX

/*
 * FIELD(member, "Struct.path.to.field|alternative")   the offset of a field from the start of Struct
 *                                                     with "@end" behind a path: the offset behind the field
 * SIZE(member, "Struct")                              sizeof
 * Names are CPython's. Alternatives (other names of the same thing in other versions) are tried left to right.
 */
#define PY_LAYOUT_FIELDS(FIELD, SIZE)											\
	/* object header */												\
	SIZE(object_size, "PyObject")											\
	FIELD(ob_refcnt, "PyObject.ob_refcnt")										\
	FIELD(ob_type, "PyObject.ob_type")										\
	FIELD(ob_size, "PyVarObject.ob_size")										\
	FIELD(ob_tid, "PyObject.ob_tid")										\
	FIELD(ob_gc_bits, "PyObject.ob_gc_bits")									\
	FIELD(ob_ref_local, "PyObject.ob_ref_local")									\
	FIELD(ob_ref_shared, "PyObject.ob_ref_shared")									\
	/* runtime */													\
	SIZE(runtime_size, "_PyRuntimeState")										\
	FIELD(runtime_interpreters_head, "_PyRuntimeState.interpreters.head")						\
	FIELD(runtime_interpreters_main, "_PyRuntimeState.interpreters.main")						\
	FIELD(runtime_finalizing, "_PyRuntimeState._finalizing|_PyRuntimeState.finalizing")				\
	FIELD(runtime_gc, "_PyRuntimeState.gc")										\
	FIELD(runtime_gil, "_PyRuntimeState.ceval.gil")									\
	FIELD(runtime_tstate_current, "_PyRuntimeState.gilstate.tstate_current")					\
	FIELD(runtime_main_interpreter, "_PyRuntimeState._main_interpreter")						\
	/* interpreter */												\
	SIZE(interp_size, "PyInterpreterState")										\
	FIELD(interp_next, "PyInterpreterState.next")									\
	FIELD(interp_tstate_head, "PyInterpreterState.threads.head|PyInterpreterState.tstate_head")			\
	FIELD(interp_threads_main, "PyInterpreterState.threads.main")							\
	FIELD(interp_initial_thread, "PyInterpreterState._initial_thread")						\
	FIELD(interp_id, "PyInterpreterState.id")									\
	FIELD(interp_gc, "PyInterpreterState.gc")									\
	FIELD(interp_gil, "PyInterpreterState.ceval.gil")								\
	FIELD(interp_own_gil, "PyInterpreterState._gil")								\
	FIELD(gil_last_holder, "_gil_runtime_state.last_holder")							\
	FIELD(gil_locked, "_gil_runtime_state.locked")									\
	FIELD(gil_enabled, "_gil_runtime_state.enabled")								\
	FIELD(interp_modules, "PyInterpreterState.imports.modules|PyInterpreterState.modules")				\
	FIELD(interp_sysdict, "PyInterpreterState.sysdict")								\
	FIELD(interp_builtins, "PyInterpreterState.builtins")								\
	FIELD(interp_obmalloc, "PyInterpreterState.obmalloc")								\
	FIELD(interp_mimalloc, "PyInterpreterState.mimalloc")								\
	FIELD(interp_static_types, "PyInterpreterState.types.builtins.initialized|PyInterpreterState.types.builtins")	\
	FIELD(interp_extension_types, "PyInterpreterState.types.for_extensions.initialized")				\
	FIELD(interp_unique_ids, "PyInterpreterState.unique_ids.table")							\
	/* of the interpreter: what it holds without owning a reference: caches, free lists. `_end`: where they end */	\
	FIELD(interp_type_cache,											\
	      "PyInterpreterState.types.type_cache.hashtable|PyInterpreterState.type_cache.hashtable")			\
	FIELD(interp_type_cache_end,											\
	      "PyInterpreterState.types.type_cache.hashtable@end|PyInterpreterState.type_cache.hashtable@end")		\
	FIELD(interp_func_version_cache, "PyInterpreterState.func_state.func_version_cache")				\
	FIELD(interp_func_version_cache_end, "PyInterpreterState.func_state.func_version_cache@end")			\
	FIELD(interp_type_version_cache, "PyInterpreterState.types.type_version_cache")					\
	FIELD(interp_type_version_cache_end, "PyInterpreterState.types.type_version_cache@end")				\
	FIELD(interp_callable_cache, "PyInterpreterState.callable_cache")						\
	FIELD(interp_callable_cache_end, "PyInterpreterState.callable_cache@end")					\
	FIELD(interp_freelists, "PyInterpreterState.object_state.freelists")						\
	FIELD(interp_freelists_end, "PyInterpreterState.object_state.freelists@end")					\
	/* of free-threaded builds, in each thread's state: pycore_tstate.h, 3.13+ */					\
	FIELD(tstate_freelists, "_PyThreadStateImpl.freelists")								\
	FIELD(tstate_freelists_end, "_PyThreadStateImpl.freelists@end")						\
	FIELD(tstate_mem_free_queue, "_PyThreadStateImpl.mem_free_queue")						\
	FIELD(interp_mem_free_queue, "PyInterpreterState.mem_free_queue.head")					\
	FIELD(interp_tuple_free, "PyInterpreterState.tuple.free_list")							\
	FIELD(interp_tuple_free_end, "PyInterpreterState.tuple.free_list@end")						\
	FIELD(interp_list_free, "PyInterpreterState.list.free_list")							\
	FIELD(interp_list_free_end, "PyInterpreterState.list.free_list@end")						\
	FIELD(interp_dict_free, "PyInterpreterState.dict_state.free_list")						\
	FIELD(interp_dict_free_end, "PyInterpreterState.dict_state.free_list@end")					\
	FIELD(interp_dict_keys_free, "PyInterpreterState.dict_state.keys_free_list")					\
	FIELD(interp_dict_keys_free_end, "PyInterpreterState.dict_state.keys_free_list@end")				\
	FIELD(interp_agen_value_free, "PyInterpreterState.async_gen.value_freelist")					\
	FIELD(interp_agen_value_free_end, "PyInterpreterState.async_gen.value_freelist@end")				\
	FIELD(interp_agen_asend_free, "PyInterpreterState.async_gen.asend_freelist")					\
	FIELD(interp_agen_asend_free_end, "PyInterpreterState.async_gen.asend_freelist@end")				\
	FIELD(interp_interned, "PyInterpreterState.cached_objects.interned_strings")					\
	/* collector */													\
	SIZE(gc_size, "_gc_runtime_state")										\
	FIELD(gc_enabled, "_gc_runtime_state.enabled")									\
	FIELD(gc_generations, "_gc_runtime_state.generations|_gc_runtime_state.young")					\
	FIELD(gc_old, "_gc_runtime_state.old")										\
	FIELD(gc_generation0, "_gc_runtime_state.generation0")								\
	FIELD(gc_permanent, "_gc_runtime_state.permanent_generation")							\
	FIELD(gc_stats, "_gc_runtime_state.generation_stats")								\
	SIZE(gc_stats_entry_size, "gc_generation_stats")								\
	FIELD(gc_stats_collections, "gc_generation_stats.collections")							\
	/* 3.15: gc_stats is a pointer to a ring a generation, with the newest entry's number behind it */		\
	FIELD(gc_stats_young, "gc_stats.young")										\
	FIELD(gc_stats_young_index, "gc_stats.young.index")								\
	FIELD(gc_stats_old, "gc_stats.old")										\
	SIZE(gc_stats_old_size, "gc_old_stats_buffer")									\
	FIELD(gc_stats_old_index, "gc_old_stats_buffer.index")								\
	FIELD(gc_collecting, "_gc_runtime_state.collecting")								\
	FIELD(gc_garbage, "_gc_runtime_state.garbage")									\
	FIELD(gc_freeze_active, "_gc_runtime_state.freeze_active")							\
	FIELD(gc_immortalize, "_gc_runtime_state.immortalize")								\
	FIELD(gc_frame, "_gc_runtime_state.frame")									\
	SIZE(gc_head_size, "PyGC_Head")											\
	FIELD(gc_head_next, "PyGC_Head._gc_next|PyGC_Head.gc.gc_next")							\
	FIELD(gc_head_prev, "PyGC_Head._gc_prev|PyGC_Head.gc.gc_prev")							\
	FIELD(gc_head_refs, "PyGC_Head.gc.gc_refs")									\
	SIZE(gc_generation_size, "gc_generation")									\
	FIELD(gc_generation_threshold, "gc_generation.threshold")							\
	FIELD(gc_generation_count, "gc_generation.count")								\
	/* thread state */												\
	SIZE(tstate_size, "PyThreadState")										\
	FIELD(tstate_prev, "PyThreadState.prev")									\
	FIELD(tstate_next, "PyThreadState.next")									\
	FIELD(tstate_interp, "PyThreadState.interp")									\
	FIELD(tstate_id, "PyThreadState.id")										\
	FIELD(tstate_status, "PyThreadState._status")									\
	FIELD(tstate_holds_gil, "PyThreadState.holds_gil")								\
	FIELD(tstate_frame, "PyThreadState.frame")									\
	FIELD(tstate_cframe, "PyThreadState.cframe")									\
	FIELD(tstate_current_frame, "PyThreadState.current_frame")							\
	FIELD(tstate_base_frame, "PyThreadState.base_frame")								\
	FIELD(tstate_thread_id, "PyThreadState.thread_id")								\
	FIELD(tstate_native_thread_id, "PyThreadState.native_thread_id")						\
	FIELD(tstate_dict, "PyThreadState.dict")									\
	FIELD(tstate_current_exception, "PyThreadState.current_exception")						\
	FIELD(tstate_curexc_type, "PyThreadState.curexc_type")								\
	FIELD(tstate_curexc_value, "PyThreadState.curexc_value")							\
	FIELD(tstate_curexc_traceback, "PyThreadState.curexc_traceback")						\
	FIELD(tstate_exc_info, "PyThreadState.exc_info")								\
	FIELD(tstate_exc_state, "PyThreadState.exc_state")								\
	FIELD(tstate_exc_type, "PyThreadState.exc_type")								\
	FIELD(tstate_async_exc, "PyThreadState.async_exc")								\
	FIELD(tstate_context, "PyThreadState.context")									\
	FIELD(tstate_delete_later,											\
	      "PyThreadState.delete_later|PyThreadState.trash.delete_later|PyThreadState.trash_delete_later")		\
	FIELD(tstate_datastack_chunk, "PyThreadState.datastack_chunk")							\
	FIELD(tstate_datastack_top, "PyThreadState.datastack_top")							\
	FIELD(tstate_datastack_cached_chunk, "PyThreadState.datastack_cached_chunk")					\
	SIZE(stack_chunk_size, "_PyStackChunk|_stack_chunk")								\
	FIELD(stack_chunk_previous, "_PyStackChunk.previous|_stack_chunk.previous")					\
	FIELD(stack_chunk_bytes, "_PyStackChunk.size|_stack_chunk.size")						\
	FIELD(stack_chunk_top, "_PyStackChunk.top|_stack_chunk.top")							\
	FIELD(stack_chunk_data, "_PyStackChunk.data|_stack_chunk.data")							\
	FIELD(tstate_refcounts, "_PyThreadStateImpl.refcounts.values")							\
	FIELD(tstate_refcounts_size, "_PyThreadStateImpl.refcounts.size")						\
	FIELD(tstate_c_stack_refs, "_PyThreadStateImpl.c_stack_refs")							\
	FIELD(tstate_mimalloc_heaps, "_PyThreadStateImpl.mimalloc.heaps")						\
	FIELD(exc_item_type, "_PyErr_StackItem.exc_type")								\
	FIELD(exc_item_value, "_PyErr_StackItem.exc_value")								\
	FIELD(exc_item_traceback, "_PyErr_StackItem.exc_traceback")							\
	FIELD(exc_item_previous, "_PyErr_StackItem.previous_item")							\
	FIELD(cframe_current_frame, "_PyCFrame.current_frame|CFrame.current_frame")					\
	/* type */													\
	SIZE(type_size, "PyTypeObject")											\
	FIELD(tp_name, "PyTypeObject.tp_name")										\
	FIELD(tp_basicsize, "PyTypeObject.tp_basicsize")								\
	FIELD(tp_itemsize, "PyTypeObject.tp_itemsize")									\
	FIELD(tp_flags, "PyTypeObject.tp_flags")									\
	FIELD(tp_traverse, "PyTypeObject.tp_traverse")									\
	FIELD(tp_weaklistoffset, "PyTypeObject.tp_weaklistoffset")							\
	FIELD(tp_base, "PyTypeObject.tp_base")										\
	FIELD(tp_dict, "PyTypeObject.tp_dict")										\
	FIELD(tp_dictoffset, "PyTypeObject.tp_dictoffset")								\
	FIELD(tp_bases, "PyTypeObject.tp_bases")									\
	FIELD(tp_mro, "PyTypeObject.tp_mro")										\
	FIELD(tp_cache, "PyTypeObject.tp_cache")									\
	FIELD(tp_subclasses, "PyTypeObject.tp_subclasses")								\
	FIELD(tp_weaklist, "PyTypeObject.tp_weaklist")									\
	SIZE(heap_type_size, "PyHeapTypeObject")									\
	FIELD(ht_name, "PyHeapTypeObject.ht_name")									\
	FIELD(ht_slots, "PyHeapTypeObject.ht_slots")									\
	FIELD(ht_qualname, "PyHeapTypeObject.ht_qualname")								\
	FIELD(ht_cached_keys, "PyHeapTypeObject.ht_cached_keys")							\
	FIELD(ht_module, "PyHeapTypeObject.ht_module")									\
	FIELD(ht_unique_id, "PyHeapTypeObject.unique_id")								\
	/* dict */													\
	SIZE(dict_size, "PyDictObject")											\
	FIELD(ma_used, "PyDictObject.ma_used")										\
	FIELD(ma_watcher_tag, "PyDictObject._ma_watcher_tag")								\
	FIELD(ma_keys, "PyDictObject.ma_keys")										\
	FIELD(ma_values, "PyDictObject.ma_values")									\
	FIELD(ma_version_tag, "PyDictObject.ma_version_tag")								\
	SIZE(dict_keys_size, "PyDictKeysObject")									\
	FIELD(dk_refcnt, "PyDictKeysObject.dk_refcnt")									\
	FIELD(dk_size, "PyDictKeysObject.dk_size")									\
	FIELD(dk_log2_size, "PyDictKeysObject.dk_log2_size")								\
	FIELD(dk_log2_index_bytes, "PyDictKeysObject.dk_log2_index_bytes")						\
	FIELD(dk_kind, "PyDictKeysObject.dk_kind")									\
	FIELD(dk_usable, "PyDictKeysObject.dk_usable")									\
	FIELD(dk_nentries, "PyDictKeysObject.dk_nentries")								\
	FIELD(dk_indices, "PyDictKeysObject.dk_indices")								\
	FIELD(dict_values_values, "PyDictValues.values")								\
	FIELD(dict_values_capacity, "PyDictValues.capacity")								\
	FIELD(dict_values_size, "PyDictValues.size")									\
	FIELD(dict_values_embedded, "PyDictValues.embedded")								\
	FIELD(dict_values_valid, "PyDictValues.valid")									\
	/* containers */												\
	SIZE(list_size, "PyListObject")											\
	FIELD(list_ob_item, "PyListObject.ob_item")									\
	FIELD(list_allocated, "PyListObject.allocated")									\
	SIZE(tuple_size, "PyTupleObject")										\
	FIELD(tuple_ob_item, "PyTupleObject.ob_item")									\
	FIELD(tuple_hash, "PyTupleObject.ob_hash")									\
	SIZE(set_size, "PySetObject")											\
	FIELD(set_used, "PySetObject.used")										\
	FIELD(set_mask, "PySetObject.mask")										\
	FIELD(set_table, "PySetObject.table")										\
	FIELD(set_smalltable, "PySetObject.smalltable")									\
	FIELD(set_weakreflist, "PySetObject.weakreflist")								\
	SIZE(set_entry_size, "setentry")										\
	FIELD(set_entry_key, "setentry.key")										\
	FIELD(set_entry_hash, "setentry.hash")										\
	/* str, bytes, numbers */											\
	SIZE(ascii_size, "PyASCIIObject")										\
	FIELD(str_length, "PyASCIIObject.length")									\
	FIELD(str_hash, "PyASCIIObject.hash")										\
	FIELD(str_state, "PyASCIIObject.state")										\
	FIELD(str_wstr, "PyASCIIObject.wstr")										\
	SIZE(compact_size, "PyCompactUnicodeObject")									\
	FIELD(str_utf8_length, "PyCompactUnicodeObject.utf8_length")							\
	FIELD(str_utf8, "PyCompactUnicodeObject.utf8")									\
	FIELD(str_wstr_length, "PyCompactUnicodeObject.wstr_length")							\
	SIZE(unicode_size, "PyUnicodeObject")										\
	FIELD(str_data, "PyUnicodeObject.data")										\
	SIZE(bytes_size, "PyBytesObject")										\
	FIELD(bytes_ob_sval, "PyBytesObject.ob_sval")									\
	SIZE(bytearray_size, "PyByteArrayObject")									\
	FIELD(bytearray_alloc, "PyByteArrayObject.ob_alloc")								\
	FIELD(bytearray_ob_bytes, "PyByteArrayObject.ob_bytes")								\
	FIELD(bytearray_bytes_object, "PyByteArrayObject.ob_bytes_object")						\
	SIZE(long_size, "PyLongObject|_longobject")									\
	FIELD(long_tag, "PyLongObject.long_value.lv_tag|_longobject.long_value.lv_tag")					\
	FIELD(long_digit,												\
	      "PyLongObject.long_value.ob_digit|PyLongObject.ob_digit|_longobject.long_value.ob_digit|"			\
	      "_longobject.ob_digit")											\
	FIELD(float_ob_fval, "PyFloatObject.ob_fval")									\
	/* functions, modules, descriptors */										\
	SIZE(func_size, "PyFunctionObject")										\
	FIELD(func_globals, "PyFunctionObject.func_globals")								\
	FIELD(func_builtins, "PyFunctionObject.func_builtins")								\
	FIELD(func_name, "PyFunctionObject.func_name")									\
	FIELD(func_qualname, "PyFunctionObject.func_qualname")								\
	FIELD(func_code, "PyFunctionObject.func_code")									\
	FIELD(func_defaults, "PyFunctionObject.func_defaults")								\
	FIELD(func_kwdefaults, "PyFunctionObject.func_kwdefaults")							\
	FIELD(func_closure, "PyFunctionObject.func_closure")								\
	FIELD(func_doc, "PyFunctionObject.func_doc")									\
	FIELD(func_dict, "PyFunctionObject.func_dict")									\
	FIELD(func_weakreflist, "PyFunctionObject.func_weakreflist")							\
	FIELD(func_module, "PyFunctionObject.func_module")								\
	FIELD(func_annotations, "PyFunctionObject.func_annotations")							\
	FIELD(func_annotate, "PyFunctionObject.func_annotate")								\
	FIELD(func_typeparams, "PyFunctionObject.func_typeparams")							\
	SIZE(method_size, "PyMethodObject")										\
	FIELD(im_func, "PyMethodObject.im_func")									\
	FIELD(im_self, "PyMethodObject.im_self")									\
	FIELD(im_weakreflist, "PyMethodObject.im_weakreflist")								\
	SIZE(cfunction_size, "PyCFunctionObject")									\
	FIELD(m_ml, "PyCFunctionObject.m_ml")										\
	FIELD(m_self, "PyCFunctionObject.m_self")									\
	FIELD(m_module, "PyCFunctionObject.m_module")									\
	FIELD(m_weakreflist, "PyCFunctionObject.m_weakreflist")								\
	FIELD(mm_class, "PyCMethodObject.mm_class")									\
	FIELD(cell_ref, "PyCellObject.ob_ref")										\
	FIELD(md_dict, "PyModuleObject.md_dict")									\
	FIELD(md_name, "PyModuleObject.md_name")									\
	SIZE(module_size, "PyModuleObject")										\
	FIELD(md_def, "PyModuleObject.md_def")										\
	FIELD(md_state, "PyModuleObject.md_state")									\
	FIELD(md_state_size, "PyModuleObject.md_state_size")								\
	FIELD(md_weaklist, "PyModuleObject.md_weaklist")								\
	FIELD(module_def_m_size, "PyModuleDef.m_size")									\
	SIZE(weakref_size, "PyWeakReference")										\
	FIELD(wr_object, "PyWeakReference.wr_object")									\
	FIELD(wr_callback, "PyWeakReference.wr_callback")								\
	FIELD(wr_prev, "PyWeakReference.wr_prev")									\
	FIELD(wr_next, "PyWeakReference.wr_next")									\
	FIELD(prop_get, "propertyobject.prop_get")									\
	FIELD(prop_set, "propertyobject.prop_set")									\
	FIELD(prop_del, "propertyobject.prop_del")									\
	FIELD(prop_doc, "propertyobject.prop_doc")									\
	FIELD(prop_name, "propertyobject.prop_name")									\
	FIELD(sm_callable, "staticmethod.sm_callable")									\
	FIELD(sm_dict, "staticmethod.sm_dict")										\
	FIELD(cm_callable, "classmethod.cm_callable")									\
	FIELD(cm_dict, "classmethod.cm_dict")										\
	FIELD(d_type, "PyDescrObject.d_type")										\
	FIELD(d_name, "PyDescrObject.d_name")										\
	FIELD(d_qualname, "PyDescrObject.d_qualname")									\
	FIELD(d_member, "PyMemberDescrObject.d_member")									\
	SIZE(member_def_size, "PyMemberDef")										\
	FIELD(member_def_type, "PyMemberDef.type")									\
	FIELD(member_def_offset, "PyMemberDef.offset")									\
	FIELD(tb_next, "PyTracebackObject.tb_next")									\
	FIELD(tb_frame, "PyTracebackObject.tb_frame")									\
	FIELD(capsule_name, "PyCapsule.name")										\
	FIELD(slice_start, "PySliceObject.start")									\
	FIELD(mapping_proxy_mapping, "mappingproxyobject.mapping")							\
	FIELD(memoryview_mbuf, "PyMemoryViewObject.mbuf")								\
	FIELD(memoryview_view, "PyMemoryViewObject.view")								\
	FIELD(managed_buffer_master, "_PyManagedBufferObject.master")							\
	/* code */													\
	SIZE(code_size, "PyCodeObject")											\
	FIELD(co_argcount, "PyCodeObject.co_argcount")									\
	FIELD(co_firstlineno, "PyCodeObject.co_firstlineno")								\
	FIELD(co_nlocals, "PyCodeObject.co_nlocals")									\
	FIELD(co_stacksize, "PyCodeObject.co_stacksize")								\
	FIELD(co_nlocalsplus, "PyCodeObject.co_nlocalsplus")								\
	FIELD(co_flags, "PyCodeObject.co_flags")									\
	FIELD(co_consts, "PyCodeObject.co_consts")									\
	FIELD(co_names, "PyCodeObject.co_names")									\
	FIELD(co_varnames, "PyCodeObject.co_varnames")									\
	FIELD(co_localsplusnames, "PyCodeObject.co_localsplusnames")							\
	FIELD(co_localspluskinds, "PyCodeObject.co_localspluskinds")							\
	FIELD(co_filename, "PyCodeObject.co_filename")									\
	FIELD(co_name, "PyCodeObject.co_name")										\
	FIELD(co_qualname, "PyCodeObject.co_qualname")									\
	FIELD(co_lnotab, "PyCodeObject.co_lnotab")									\
	FIELD(co_linetable, "PyCodeObject.co_linetable")								\
	FIELD(co_exceptiontable, "PyCodeObject.co_exceptiontable")							\
	FIELD(co_code, "PyCodeObject.co_code")										\
	FIELD(co_cell2arg, "PyCodeObject.co_cell2arg")									\
	FIELD(co_cellvars, "PyCodeObject.co_cellvars")									\
	FIELD(co_freevars, "PyCodeObject.co_freevars")									\
	FIELD(co_extra, "PyCodeObject.co_extra")									\
	FIELD(co_opcache, "PyCodeObject.co_opcache")									\
	FIELD(co_code_adaptive, "PyCodeObject.co_code_adaptive")							\
	FIELD(co_cached, "PyCodeObject._co_cached")									\
	FIELD(co_code_cached, "PyCodeObject._co_code")									\
	FIELD(co_zombieframe, "PyCodeObject.co_zombieframe")								\
	FIELD(co_weakreflist, "PyCodeObject.co_weakreflist")								\
	FIELD(co_firsttraceable, "PyCodeObject._co_firsttraceable")							\
	FIELD(co_tlbc, "PyCodeObject.co_tlbc")										\
	FIELD(co_unique_id, "PyCodeObject._co_unique_id")								\
	/* frames and generators */											\
	SIZE(frame_size, "PyFrameObject|_frame")									\
	FIELD(f_code, "PyFrameObject.f_code|_frame.f_code")								\
	FIELD(f_frame, "PyFrameObject.f_frame|_frame.f_frame")								\
	FIELD(f_localsplus, "PyFrameObject.f_localsplus|_frame.f_localsplus")						\
	FIELD(f_frame_data, "PyFrameObject._f_frame_data|_frame._f_frame_data")						\
	FIELD(f_back, "PyFrameObject.f_back|_frame.f_back")								\
	FIELD(f_builtins, "PyFrameObject.f_builtins|_frame.f_builtins")							\
	FIELD(f_globals, "PyFrameObject.f_globals|_frame.f_globals")							\
	FIELD(f_locals, "PyFrameObject.f_locals|_frame.f_locals")							\
	FIELD(f_valuestack, "PyFrameObject.f_valuestack|_frame.f_valuestack")						\
	FIELD(f_stacktop, "PyFrameObject.f_stacktop|_frame.f_stacktop")							\
	FIELD(f_stackdepth, "PyFrameObject.f_stackdepth|_frame.f_stackdepth")						\
	FIELD(f_trace, "PyFrameObject.f_trace|_frame.f_trace")								\
	FIELD(f_exc_type, "PyFrameObject.f_exc_type|_frame.f_exc_type")							\
	FIELD(f_exc_value, "PyFrameObject.f_exc_value|_frame.f_exc_value")						\
	FIELD(f_exc_traceback, "PyFrameObject.f_exc_traceback|_frame.f_exc_traceback")					\
	FIELD(f_gen, "PyFrameObject.f_gen|_frame.f_gen")								\
	FIELD(f_lasti, "PyFrameObject.f_lasti|_frame.f_lasti")								\
	FIELD(f_lineno, "PyFrameObject.f_lineno|_frame.f_lineno")							\
	FIELD(f_state, "PyFrameObject.f_state|_frame.f_state")								\
	FIELD(f_extra_locals, "PyFrameObject.f_extra_locals|_frame.f_extra_locals")					\
	FIELD(f_locals_cache, "PyFrameObject.f_locals_cache|_frame.f_locals_cache")					\
	FIELD(f_overwritten_fast_locals, "PyFrameObject.f_overwritten_fast_locals|_frame.f_overwritten_fast_locals")	\
	SIZE(iframe_size, "_PyInterpreterFrame")									\
	FIELD(iframe_code, "_PyInterpreterFrame.f_executable|_PyInterpreterFrame.f_code")				\
	FIELD(iframe_previous, "_PyInterpreterFrame.previous")								\
	FIELD(iframe_owner, "_PyInterpreterFrame.owner")								\
	FIELD(iframe_localsplus, "_PyInterpreterFrame.localsplus")							\
	FIELD(iframe_func, "_PyInterpreterFrame.f_funcobj|_PyInterpreterFrame.f_func")					\
	FIELD(iframe_globals, "_PyInterpreterFrame.f_globals")								\
	FIELD(iframe_builtins, "_PyInterpreterFrame.f_builtins")							\
	FIELD(iframe_locals, "_PyInterpreterFrame.f_locals")								\
	FIELD(iframe_frame_obj, "_PyInterpreterFrame.frame_obj")							\
	FIELD(iframe_instr, "_PyInterpreterFrame.instr_ptr|_PyInterpreterFrame.prev_instr")				\
	FIELD(iframe_stacktop, "_PyInterpreterFrame.stacktop")								\
	FIELD(iframe_stackpointer, "_PyInterpreterFrame.stackpointer")							\
	FIELD(iframe_tlbc_index, "_PyInterpreterFrame.tlbc_index")							\
	FIELD(iframe_is_entry, "_PyInterpreterFrame.is_entry")								\
	FIELD(gi_code, "PyGenObject.gi_code")										\
	FIELD(gi_iframe, "PyGenObject.gi_iframe")									\
	SIZE(gen_size, "PyGenObject")											\
	FIELD(gi_frame, "PyGenObject.gi_frame")										\
	FIELD(gi_name, "PyGenObject.gi_name")										\
	FIELD(gi_qualname, "PyGenObject.gi_qualname")									\
	FIELD(gi_weakreflist, "PyGenObject.gi_weakreflist")								\
	FIELD(gi_exc_state, "PyGenObject.gi_exc_state")									\
	FIELD(gi_origin_or_finalizer, "PyGenObject.gi_origin_or_finalizer")						\
	FIELD(gi_frame_state, "PyGenObject.gi_frame_state")								\
	FIELD(cr_origin, "PyCoroObject.cr_origin")									\
	FIELD(ag_finalizer, "PyAsyncGenObject.ag_finalizer")								\
	/* pymalloc: arena_object and pool_header have the same offsets in every version */				\
	FIELD(obmalloc_arenas, "_obmalloc_state.mgmt.arenas|struct _obmalloc_state.mgmt.arenas")			\
	FIELD(obmalloc_maxarenas, "_obmalloc_state.mgmt.maxarenas|struct _obmalloc_state.mgmt.maxarenas")		\
	FIELD(obmalloc_raw_blocks, "_obmalloc_state.mgmt.raw_allocated_blocks")						\
	/* mimalloc */													\
	FIELD(mi_segment_slices, "mi_segment_t.slices|mi_segment_s.slices")						\
	FIELD(mi_segment_slice_entries, "mi_segment_t.slice_entries|mi_segment_s.slice_entries")			\
	FIELD(mi_segment_info_slices, "mi_segment_t.segment_info_slices|mi_segment_s.segment_info_slices")		\
	FIELD(mi_segment_kind, "mi_segment_t.kind|mi_segment_s.kind")							\
	FIELD(mi_segment_used, "mi_segment_t.used|mi_segment_s.used")							\
	SIZE(mi_page_size, "mi_page_t|mi_page_s")									\
	FIELD(mi_page_slice_count, "mi_page_t.slice_count|mi_page_s.slice_count")					\
	FIELD(mi_page_slice_offset, "mi_page_t.slice_offset|mi_page_s.slice_offset")					\
	FIELD(mi_page_block_size, "mi_page_t.block_size|mi_page_s.block_size")						\
	FIELD(mi_page_xblock_size, "mi_page_t.xblock_size|mi_page_s.xblock_size")					\
	FIELD(mi_page_start, "mi_page_t.page_start|mi_page_s.page_start")						\
	FIELD(mi_page_capacity, "mi_page_t.capacity|mi_page_s.capacity")						\
	FIELD(mi_page_used, "mi_page_t.used|mi_page_s.used")								\
	FIELD(mi_page_free, "mi_page_t.free|mi_page_s.free")								\
	FIELD(mi_page_local_free, "mi_page_t.local_free|mi_page_s.local_free")						\
	FIELD(mi_page_xthread_free, "mi_page_t.xthread_free|mi_page_s.xthread_free")					\
	FIELD(mi_page_keys, "mi_page_t.keys|mi_page_s.keys")								\
	FIELD(mi_page_tag, "mi_page_t.heap_tag|mi_page_s.heap_tag")							\
	/* states of static types, in the interpreter (3.12+) */							\
	SIZE(static_type_entry_size, "managed_static_type_state|static_builtin_state")					\
	FIELD(static_type_type, "managed_static_type_state.type|static_builtin_state.type")				\
	FIELD(static_type_dict, "managed_static_type_state.tp_dict|static_builtin_state.tp_dict")			\
	FIELD(static_type_subclasses, "managed_static_type_state.tp_subclasses|static_builtin_state.tp_subclasses")	\
	FIELD(static_type_weaklist, "managed_static_type_state.tp_weaklist|static_builtin_state.tp_weaklist")		\
	/* what their __sizeof__ needs: types in C with one of their own. Their structs are private to a .c file, often of an */\
	/* extension module with a file (and DWARF) of its own in lib-dynload */					\
	FIELD(deque_leftindex, "dequeobject.leftindex")									\
	FIELD(odict_fast_nodes_size, "_odictobject.od_fast_nodes_size|PyODictObject.od_fast_nodes_size")		\
	FIELD(odict_first, "_odictobject.od_first|PyODictObject.od_first")						\
	SIZE(odict_node_size, "_odictnode|_ODictNode")									\
	FIELD(array_allocated, "arrayobject.allocated")									\
	FIELD(array_descr, "arrayobject.ob_descr")									\
	FIELD(array_item, "arrayobject.ob_item")									\
	FIELD(array_descr_itemsize, "arraydescr.itemsize")								\
	FIELD(bytesio_buf, "bytesio.buf")										\
	FIELD(buffered_buffer, "buffered.buffer")									\
	FIELD(buffered_buffer_size, "buffered.buffer_size")								\
	FIELD(pickler_memo, "PicklerObject.memo")									\
	FIELD(pickler_output, "PicklerObject.output_buffer")								\
	SIZE(memo_table_size, "PyMemoTable")										\
	SIZE(memo_entry_size, "PyMemoEntry")										\
	FIELD(memo_table_allocated, "PyMemoTable.mt_allocated")								\
	FIELD(unpickler_memo, "UnpicklerObject.memo")									\
	FIELD(unpickler_memo_size, "UnpicklerObject.memo_size")								\
	FIELD(unpickler_marks, "UnpicklerObject.marks")									\
	FIELD(unpickler_marks_size, "UnpicklerObject.marks_size")							\
	FIELD(unpickler_input_line, "UnpicklerObject.input_line")							\
	FIELD(unpickler_encoding, "UnpicklerObject.encoding")								\
	FIELD(unpickler_errors, "UnpicklerObject.errors")								\
	FIELD(struct_codes, "PyStructObject.s_codes")									\
	SIZE(format_code_size, "formatcode|_formatcode")								\
	FIELD(decimal_flags, "PyDecObject.dec.flags")									\
	FIELD(decimal_alloc, "PyDecObject.dec.alloc")									\
	FIELD(combinations_r, "combinationsobject.r")									\
	FIELD(cwr_r, "cwrobject.r")											\
	FIELD(permutations_pool, "permutationsobject.pool")								\
	FIELD(permutations_r, "permutationsobject.r")									\
	FIELD(product_pools, "productobject.pools")									\
	FIELD(element_extra, "ElementObject.extra")									\
	SIZE(element_extra_size, "ElementObjectExtra")									\
	FIELD(element_children, "ElementObjectExtra.children")								\
	FIELD(element_inline_children, "ElementObjectExtra._children")							\
	FIELD(element_allocated, "ElementObjectExtra.allocated")							\
	SIZE(stgdict_size, "StgDictObject")										\
	FIELD(stgdict_format, "StgDictObject.format")									\
	FIELD(stgdict_ndim, "StgDictObject.ndim")									\
	FIELD(stgdict_length, "StgDictObject.length")									\
	FIELD(stgdict_elements, "StgDictObject.ffi_type_pointer.elements")						\
	FIELD(stginfo_format, "StgInfo.format")                                                                        \
	FIELD(stginfo_length, "StgInfo.length")                                                                        \
	FIELD(stginfo_ndim, "StgInfo.ndim")                                                                            \
	FIELD(stginfo_elements, "StgInfo.ffi_type_pointer.elements")                                                   \
	SIZE(code_extra_size, "_PyCodeObjectExtra")									\
	FIELD(code_extra_n, "_PyCodeObjectExtra.ce_size")								\
	FIELD(co_opcache_size, "PyCodeObject.co_opcache_size")								\
	SIZE(opcache_entry_size, "_PyOpcache")										\
	/* what threads wait for, and the tasks of event loops */								\
	SIZE(gil_size, "_gil_runtime_state")										\
	FIELD(lock_semaphore, "lockobject.lock_lock")									\
	FIELD(lock_locked, "lockobject.locked")										\
	FIELD(lock_mutex, "lockobject.lock")										\
	FIELD(rlock_semaphore, "rlockobject.rlock_lock")								\
	FIELD(rlock_mutex, "rlockobject.lock.mutex")									\
	FIELD(rlock_owner, "rlockobject.rlock_owner|rlockobject.lock.thread")						\
	FIELD(rlock_count, "rlockobject.rlock_count|rlockobject.lock.level")						\
	FIELD(wait_entry_address, "wait_entry.addr")									\
	FIELD(wait_entry_semaphore, "wait_entry.sema")									\
	FIELD(buffered_raw, "buffered.raw")										\
	FIELD(buffered_lock, "buffered.lock")										\
	FIELD(buffered_owner, "buffered.owner")										\
	FIELD(method_def_name, "PyMethodDef.ml_name")									\
	FIELD(f_iblock, "PyFrameObject.f_iblock|_frame.f_iblock")							\
	FIELD(f_blockstack, "PyFrameObject.f_blockstack|_frame.f_blockstack")						\
	SIZE(try_block_size, "PyTryBlock")										\
	FIELD(try_block_level, "PyTryBlock.b_level")									\
	SIZE(task_size, "TaskObj")											\
	FIELD(task_loop, "TaskObj.task_loop")										\
	FIELD(task_state, "TaskObj.task_state")										\
	FIELD(task_fut_waiter, "TaskObj.task_fut_waiter")								\
	FIELD(task_coro, "TaskObj.task_coro")										\
	FIELD(task_name, "TaskObj.task_name")										\
	FIELD(task_node, "TaskObj.task_node")										\
	FIELD(tstate_asyncio_tasks, "_PyThreadStateImpl.asyncio_tasks_head")						\
	FIELD(tstate_asyncio_running_task, "_PyThreadStateImpl.asyncio_running_task")					\
	FIELD(interp_asyncio_tasks, "PyInterpreterState.asyncio_tasks_head")						\
	/* C types of the standard library; absent where the extension that has them is a file of its own */		\
	SIZE(deque_size, "dequeobject")											\
	FIELD(deque_leftblock, "dequeobject.leftblock")									\
	FIELD(deque_rightblock, "dequeobject.rightblock")								\
	FIELD(deque_rightindex, "dequeobject.rightindex")								\
	FIELD(deque_numfreeblocks, "dequeobject.numfreeblocks")								\
	FIELD(deque_freeblocks, "dequeobject.freeblocks")								\
	FIELD(deque_weakreflist, "dequeobject.weakreflist")								\
	SIZE(deque_block_size, "BLOCK")											\
	FIELD(deque_block_left, "BLOCK.leftlink")									\
	FIELD(deque_block_data, "BLOCK.data")										\
	FIELD(deque_block_right, "BLOCK.rightlink")									\
	FIELD(defaultdict_factory, "defdictobject.default_factory")							\
	SIZE(odict_size, "PyODictObject|_odictobject")									\
	FIELD(od_fast_nodes, "PyODictObject.od_fast_nodes|_odictobject.od_fast_nodes")					\
	FIELD(od_inst_dict, "PyODictObject.od_inst_dict|_odictobject.od_inst_dict")					\
	FIELD(od_weakreflist, "PyODictObject.od_weakreflist|_odictobject.od_weakreflist")				\
	FIELD(odict_node_key, "_odictnode.key")										\
	FIELD(odict_node_next, "_odictnode.next")									\
	FIELD(lru_root, "lru_cache_object.root")									\
	FIELD(lru_func, "lru_cache_object.func")									\
	FIELD(lru_cache, "lru_cache_object.cache")									\
	FIELD(lru_link_prev, "lru_list_elem.prev")									\
	FIELD(lru_link_next, "lru_list_elem.next")									\
	FIELD(lru_link_key, "lru_list_elem.key")									\
	FIELD(lru_link_result, "lru_list_elem.result")

/* how a reference count is stored */
enum py_refcount {
	PY_REFCOUNT_PLAIN,    /* <= 3.11: 64 bits, no immortals */
	PY_REFCOUNT_LOW32,    /* 3.12, 3.13: immortal when the low 32 bits are negative */
	PY_REFCOUNT_FLAGS,    /* 3.14+: u32 count, u16 overflow, u16 flags; immortal when the count is negative */
	PY_REFCOUNT_SPLIT,    /* 3.13t: local + shared >> 2, -1 when deferred */
	PY_REFCOUNT_DEFERRED, /* 3.14t+: local + shared >> 2 - 2^60 when deferred + per-thread counts */
};

/* where the heads of the gc lists are */
enum py_gc {
	PY_GC_GLOBAL,      /* 3.6: *_PyGC_generation0 */
	PY_GC_RUNTIME,     /* 3.7, 3.8: in _PyRuntime, one for the process */
	PY_GC_INTERPRETER, /* 3.9+: in every interpreter */
	PY_GC_NONE,        /* free-threaded: no lists, a bit in the object */
};

/* where an instance of a Python class keeps its attributes (CPython Objects/dictobject.c, typeobject.c) */
enum py_attributes {
	PY_ATTRIBUTES_DICTOFFSET,   /* <= 3.10: a dict pointer at tp_dictoffset */
	PY_ATTRIBUTES_VALUES,       /* 3.11: values at -32, dict at -24 from the object, with TPFLAGS_MANAGED_DICT */
	PY_ATTRIBUTES_TAGGED,       /* 3.12: one word at -24: odd = values + 1, even = dict or NULL */
	PY_ATTRIBUTES_INLINE,       /* 3.13+: dict at managed_dict_offset, values behind the object */
};

/* how dict keys describe their own size */
enum py_dict_keys {
	PY_DICT_KEYS_SIZE, /* <= 3.10: dk_size slots, index width by size, entries of 24 bytes */
	PY_DICT_KEYS_LOG2, /* 3.11+: dk_log2_size, dk_log2_index_bytes, dk_kind (0 general 24 bytes, 1 unicode, 2 split: 16 bytes) */
};

/* how a slot of an interpreter frame says that it owns no reference (3.11+) */
enum py_stack_refs {
	PY_STACK_PLAIN,    /* it always owns one, unless NULL */
	PY_STACK_TAGGED,   /* 3.14+: bit 0 set: borrowed, immortal or NULL; 3 in the low bits: a small int */
	PY_STACK_DEFERRED, /* 3.13t: bit 0 set: deferred */
};

/* line numbers of a code object */
enum py_lines {
	PY_LINES_LNOTAB,   /* <= 3.9 */
	PY_LINES_LINETABLE, /* 3.10 */
	PY_LINES_LOCATIONS, /* 3.11+ */
};

/* where pymalloc keeps its arenas */
enum py_obmalloc {
	PY_OBMALLOC_STATIC,   /* <= 3.11: static arenas, maxarenas */
	PY_OBMALLOC_EMBEDDED, /* 3.12: struct in the interpreter */
	PY_OBMALLOC_POINTER,  /* 3.13+: pointer in the interpreter */
};

/* what differs in kind; filled by the minor version's file, never from DWARF */
struct py_shape {
	enum py_refcount refcount;
	enum py_gc gc;
	enum py_attributes attributes;
	enum py_dict_keys dict_keys;
	enum py_lines lines;
	enum py_obmalloc obmalloc;
	uint32_t pool_bytes, arena_bytes; /* of pymalloc; arena_bytes is the default, huge pages double it */
	uint32_t block_alignment;         /* of pymalloc: 16, 8 in old 3.6 and 3.7.0-3 (found out on the live image) */
	/* bits of PyASCIIObject.state: the first str_interned_bits are the interned state (2, or a byte), then by position */
	uint8_t str_interned_bits;
	uint8_t str_kind_shift, str_compact_shift, str_ascii_shift, str_ready_shift; /* 255: no such bit */
	uint8_t generator_cleared;        /* gi_frame_state from which there is no frame; 255: none */
	int32_t managed_dict_offset;      /* from the object; 0: no managed dicts */
	int32_t managed_weakref_offset;   /* from the object; 0: none */
	int64_t frozen_refcount;          /* 3.11: what objects frozen into the interpreter's image start at; 0: no such thing */
	bool static_builtin_dicts;        /* 3.12+: dict and subclasses of static types are in the interpreter */
	bool dicts_always_tracked;        /* 3.14+ */
	bool getsizeof_static_types_prefixed; /* 3.11, 3.12: sys.getsizeof adds a GC head to static types, which have none */
	bool int_zero_has_digit;          /* sys.getsizeof(0) counts one digit (3.11.? and later; see the minor's file) */
	enum py_stack_refs stack_refs;
	bool static_base_owned;           /* <= 3.9: a static type owns its tp_base where CPython filled in `object` */
	bool heap_types_counted;          /* 3.8+: every instance of a heap type owns its type; earlier only those of Python classes */
	bool gc_head_old_space_bit;       /* mask the low bits of gc_next (always harmless) */
};

struct py_layout {
#define PY_MEMBER(member, path) uint32_t member;
	PY_LAYOUT_FIELDS(PY_MEMBER, PY_MEMBER)
#undef PY_MEMBER
	struct py_shape shape;
};

/* one entry a member, in the order of the members, for everybody who fills, prints or compares layouts */
struct py_layout_field {
	const char *name; /* of the member */
	const char *path; /* CPython's names, alternatives separated by | */
	uint16_t position; /* offsetof(struct py_layout, member) */
	bool is_size;
};
extern const struct py_layout_field py_layout_fields[];
extern const size_t py_layout_n_fields;

/* a built-in table: one minor version and build kind, from one interpreter's DWARF */
struct py_builtin {
	uint32_t version;  /* PY_VERSION_HEX of the interpreter it was made from */
	uint8_t minor;     /* of 3.x */
	bool debug, free_threaded, trace_refs;
	const char *origin; /* which interpreter, in words */
	const struct py_layout *layout;
};

/* The built-in table of 3.minor for this build kind, or NULL. `version` (PY_VERSION_HEX) picks where a minor has several. */
const struct py_builtin *py_builtin_find(uint32_t version, bool debug, bool free_threaded, bool trace_refs);

/* All of them, for `reftop version` and the tests. */
const struct py_builtin *py_builtin_all(size_t *n);

/* The shape of this version and build kind; false: unknown version. */
bool py_shape_find(uint32_t version, bool free_threaded, struct py_shape *shape);
