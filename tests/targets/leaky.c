/*
 * An extension module in which every function makes one of the mistakes that lose references, and some make none: for the tests of `reftop
 * leaks`. Each takes what it spoils as an argument, so that the caller knows exactly what was lost.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* PyIter_Next() returns a new reference. */
static PyObject *iter_kept(PyObject *self, PyObject *iterable)
{
	PyObject *iterator = PyObject_GetIter(iterable), *item;
	Py_ssize_t n = 0;
	if (!iterator)
		return NULL;
	while ((item = PyIter_Next(iterator)))
		n += item != NULL; /* Py_DECREF(item) is missing */
	Py_DECREF(iterator);
	return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

/* PyDict_SetItem() takes a reference of its own. */
static PyObject *dict_value_kept(PyObject *self, PyObject *args)
{
	PyObject *dict, *key, *call;
	if (!PyArg_ParseTuple(args, "OOO", &dict, &key, &call))
		return NULL;
	PyObject *value = PyObject_CallObject(call, NULL);
	if (!value || PyDict_SetItem(dict, key, value))
		return NULL;
	Py_RETURN_NONE; /* Py_DECREF(value) is missing */
}

/* "O" takes a reference of its own, "N" takes yours. */
static PyObject *build_value_o(PyObject *self, PyObject *call)
{
	PyObject *value = PyObject_CallObject(call, NULL);
	return value ? Py_BuildValue("(O)", value) : NULL;
}

/* PyList_SetItem() takes yours. */
static PyObject *list_item_counted(PyObject *self, PyObject *args)
{
	PyObject *list, *call;
	Py_ssize_t at;
	if (!PyArg_ParseTuple(args, "OnO", &list, &at, &call))
		return NULL;
	PyObject *value = PyObject_CallObject(call, NULL);
	if (!value)
		return NULL;
	Py_INCREF(value);
	if (PyList_SetItem(list, at, value))
		return NULL;
	Py_RETURN_NONE;
}

/* PySequence_GetItem() returns a new reference. */
static PyObject *sequence_kept(PyObject *self, PyObject *sequence)
{
	Py_ssize_t n = PySequence_Size(sequence);
	for (Py_ssize_t i = 0; i < n; i++) {
		if (!PySequence_GetItem(sequence, i))
			return NULL;
	}
	Py_RETURN_NONE;
}

/* PyErr_Fetch() gives away what it returns. */
static PyObject *error_dropped(PyObject *self, PyObject *type)
{
	PyObject *kind, *value, *traceback;
	PyErr_SetNone(type);
	PyErr_Fetch(&kind, &value, &traceback);
	PyErr_NormalizeException(&kind, &value, &traceback);
	Py_XDECREF(kind);
	Py_XDECREF(traceback); /* Py_XDECREF(value) is missing */
	Py_RETURN_NONE;
}

/* PyObject_GetAttrString() returns a new reference. */
static PyObject *attribute_kept(PyObject *self, PyObject *object)
{
	PyObject *value = PyObject_GetAttrString(object, "attribute");
	if (!value)
		return NULL;
	Py_RETURN_NONE;
}

/* PyList_GetItem() returns a borrowed one. */
static PyObject *borrowed_released(PyObject *self, PyObject *list)
{
	PyObject *item = PyList_GetItem(list, 0);
	if (!item)
		return NULL;
	Py_DECREF(item);
	Py_RETURN_NONE;
}

/* An instance of a heap type owns a reference to it (3.8+). */
static void careless_dealloc(PyObject *self)
{
	PyObject_Free(self); /* Py_DECREF(Py_TYPE(self)) is missing */
}

static PyType_Slot careless_slots[] = {{Py_tp_dealloc, (void *)careless_dealloc}, {0, NULL}};
static PyType_Spec careless_spec = {"leaky.Careless", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, careless_slots};

/* ---- honest ones ---- */

#define CALLBACKS 64
PyObject *leaky_callbacks[CALLBACKS]; /* not static: nothing reads it, and it must not be left out */
static int n_callbacks;

/* A registry in C static data owns what it holds. */
static PyObject *registered(PyObject *self, PyObject *callback)
{
	if (n_callbacks == CALLBACKS) {
		PyErr_SetString(PyExc_ValueError, "full");
		return NULL;
	}
	Py_INCREF(callback);
	leaky_callbacks[n_callbacks++] = callback;
	Py_RETURN_NONE;
}

/* And so does one in memory from malloc(). */
struct node {
	struct node *next;
	PyObject *object;
};
static struct node *nodes;

static PyObject *chained(PyObject *self, PyObject *object)
{
	struct node *node = malloc(sizeof(*node));
	if (!node)
		return PyErr_NoMemory();
	Py_INCREF(object);
	*node = (struct node){nodes, object};
	nodes = node;
	Py_RETURN_NONE;
}

/* What was given back is forgotten, but its address may still lie in the freed memory. */
static PyObject *unchained(PyObject *self, PyObject *unused)
{
	while (nodes) {
		struct node *node = nodes;
		nodes = node->next;
		Py_DECREF(node->object);
		free(node);
	}
	Py_RETURN_NONE;
}

/* A reference taken and never given back, pure and simple. */
static PyObject *counted(PyObject *self, PyObject *object)
{
	Py_INCREF(object);
	Py_RETURN_NONE;
}

/* Wipe the stack below the caller: what lies there is left over from calls that have ended, and may look like references. */
static PyObject *scrub(PyObject *self, PyObject *unused)
{
	volatile char stack[65536];
	for (size_t i = 0; i < sizeof(stack); i++)
		stack[i] = 0;
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"iter_kept", iter_kept, METH_O, NULL},
	{"dict_value_kept", dict_value_kept, METH_VARARGS, NULL},
	{"build_value_o", build_value_o, METH_O, NULL},
	{"list_item_counted", list_item_counted, METH_VARARGS, NULL},
	{"sequence_kept", sequence_kept, METH_O, NULL},
	{"error_dropped", error_dropped, METH_O, NULL},
	{"attribute_kept", attribute_kept, METH_O, NULL},
	{"borrowed_released", borrowed_released, METH_O, NULL},
	{"registered", registered, METH_O, NULL},
	{"chained", chained, METH_O, NULL},
	{"unchained", unchained, METH_NOARGS, NULL},
	{"counted", counted, METH_O, NULL},
	{"scrub", scrub, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "leaky", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_leaky(void)
{
	PyObject *module = PyModule_Create(&definition);
	PyObject *type = module ? PyType_FromSpec(&careless_spec) : NULL;
	if (!type || PyModule_AddObject(module, "Careless", type))
		return NULL;
	return module;
}
