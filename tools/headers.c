/*
 * Every structure that CPython's installed headers show, for their debug information: compiled with -g and
 * -fno-eliminate-unused-debug-types by tools/layouts.sh, for builds that there is no interpreter of at hand.
 */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <structmember.h>
#if __has_include(<internal/pystate.h>) && PY_VERSION_HEX < 0x03080000
#include <internal/gil.h>
#include <internal/pystate.h>
#endif
#if PY_VERSION_HEX >= 0x03080000
#include <internal/pycore_code.h>
#include <internal/pycore_gil.h>
#include <internal/pycore_object.h>
#include <internal/pycore_pystate.h>
#endif
#if __has_include(<internal/pycore_runtime.h>)
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if __has_include(<internal/pycore_gc.h>)
#include <internal/pycore_gc.h>
#endif
#if __has_include(<internal/pycore_frame.h>)
#include <internal/pycore_frame.h>
#endif
#if __has_include(<internal/pycore_interpframe.h>)
#include <internal/pycore_interpframe.h>
#endif
#if __has_include(<internal/pycore_interpframe_structs.h>)
#include <internal/pycore_interpframe_structs.h>
#endif
#if __has_include(<internal/pycore_dict.h>)
#include <internal/pycore_dict.h>
#endif
#if __has_include(<internal/pycore_genobject.h>)
#include <internal/pycore_genobject.h>
#endif
#if __has_include(<internal/pycore_typeobject.h>)
#include <internal/pycore_typeobject.h>
#endif
#if __has_include(<internal/pycore_obmalloc.h>)
#include <internal/pycore_obmalloc.h>
#endif
#if __has_include(<internal/pycore_mimalloc.h>)
#include <internal/pycore_mimalloc.h>
#endif
#if __has_include(<internal/pycore_tstate.h>)
#include <internal/pycore_tstate.h>
#endif
#if __has_include(<internal/pycore_moduleobject.h>)
#include <internal/pycore_moduleobject.h>
#endif
#if __has_include(<internal/pycore_descrobject.h>)
#include <internal/pycore_descrobject.h>
#endif
#if __has_include(<internal/pycore_memoryobject.h>)
#include <internal/pycore_memoryobject.h>
#endif
