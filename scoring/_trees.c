/* Probabilities of a binary logistic model from its trees as columns: the inner loop of scoring/trees.py.

   Everything is copied and checked when the trees are made, so that no row can lead outside: of each node the two nodes
   that it leads to (a leaf leads to itself), the column that it compares and what with; of a leaf that is its value. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MOST_FEATURES = 4096, MOST_DEPTH = 64, MOST_NODES = 1 << 24 };

typedef struct {
    int32_t next[2]; /* right, left */
    int32_t column;
    float split;
} Node;

typedef struct {
    PyObject_HEAD
    Py_ssize_t features, trees, nodes;
    int depth; /* steps from a root to the farthest leaf */
    float base;
    int32_t *roots;
    Node *node;
} Trees;

/* Buffers of the constructor's arguments, in their order. */
enum { ROOTS, NEXT, COLUMNS, SPLITS, PARTS };

static bool refuse(const char *reason) {
    PyErr_SetString(PyExc_ValueError, reason);
    return false;
}

static int32_t number_at(const Py_buffer *part, Py_ssize_t place) {
    int32_t number;
    memcpy(&number, (const char *)part->buf + place * (Py_ssize_t)sizeof number, sizeof number);
    return number;
}

static bool is_below(int32_t number, Py_ssize_t end) { return number >= 0 && number < end; }

static bool take_nodes(Trees *self, const Py_buffer *parts) {
    for (Py_ssize_t i = 0; i < self->nodes; i++) {
        Node *node = &self->node[i];
        node->next[0] = number_at(&parts[NEXT], 2 * i);
        node->next[1] = number_at(&parts[NEXT], 2 * i + 1);
        node->column = number_at(&parts[COLUMNS], i);
        memcpy(&node->split, (const char *)parts[SPLITS].buf + i * (Py_ssize_t)sizeof(float), sizeof(float));
        if (!is_below(node->next[0], self->nodes) || !is_below(node->next[1], self->nodes))
            return refuse("a node leads to one that is none");
        if (!is_below(node->column, self->features)) return refuse("a node compares a column that is none");
    }
    for (Py_ssize_t i = 0; i < self->trees; i++) {
        self->roots[i] = number_at(&parts[ROOTS], i);
        if (!is_below(self->roots[i], self->nodes)) return refuse("a root is none of the nodes");
    }
    return true;
}

static bool take(Trees *self, const Py_buffer *parts) {
    self->trees = parts[ROOTS].len / (Py_ssize_t)sizeof(int32_t);
    self->nodes = parts[SPLITS].len / (Py_ssize_t)sizeof(float);
    if (self->nodes > MOST_NODES || parts[SPLITS].len != parts[COLUMNS].len || parts[NEXT].len != 2 * parts[COLUMNS].len)
        return refuse("the parts are not of the lengths of so many nodes");
    self->roots = PyMem_Calloc(self->trees ? (size_t)self->trees : 1, sizeof(int32_t));
    self->node = PyMem_Calloc(self->nodes ? (size_t)self->nodes : 1, sizeof(Node));
    if (self->roots == NULL || self->node == NULL) return PyErr_NoMemory() != NULL;
    return take_nodes(self, parts);
}

static PyObject *trees_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    Py_ssize_t features;
    int depth;
    float base;
    Py_buffer parts[PARTS] = {{0}};
    Trees *self = NULL;
    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Trees takes no names");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "nify*y*y*y*:Trees", &features, &depth, &base, &parts[0], &parts[1], &parts[2],
                          &parts[3]))
        return NULL; /* what it had taken it has given back */
    bool made = features > 0 && features <= MOST_FEATURES && depth >= 0 && depth <= MOST_DEPTH;
    if (!made) refuse("more features or steps than there can be");
    if (made) self = (Trees *)type->tp_alloc(type, 0);
    made = self != NULL;
    if (made) {
        self->features = features;
        self->depth = depth;
        self->base = base;
        made = take(self, parts);
    }
    for (int i = 0; i < PARTS; i++) PyBuffer_Release(&parts[i]);
    if (!made) Py_CLEAR(self);
    return (PyObject *)self;
}

static void trees_dealloc(PyObject *object) {
    Trees *self = (Trees *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(self->roots);
    PyMem_Free(self->node);
    type->tp_free(object);
    Py_DECREF(type);
}

/* In single precision and in the order of the trees, as XGBoost adds. */
static float probability(const Trees *self, const float *row) {
    float margin = self->base;
    for (Py_ssize_t tree = 0; tree < self->trees; tree++) {
        const Node *node = &self->node[self->roots[tree]];
        for (int step = 0; step < self->depth; step++) node = &self->node[node->next[row[node->column] < node->split]];
        margin += node->split;
    }
    return 1.0f / (expf(-margin) + 1.0f + 1e-16f);
}

PyDoc_STRVAR(probabilities_doc, "probabilities(rows, answers): see scoring/trees.py.");

static PyObject *trees_probabilities(PyObject *object, PyObject *args) {
    const Trees *self = (const Trees *)object;
    Py_buffer rows, answers;
    if (!PyArg_ParseTuple(args, "y*w*:probabilities", &rows, &answers)) return NULL;
    const Py_ssize_t row = self->features * (Py_ssize_t)sizeof(float), count = rows.len / row;
    bool fits = rows.len % row == 0 && answers.len == count * (Py_ssize_t)sizeof(float) &&
                (uintptr_t)rows.buf % sizeof(float) == 0 && (uintptr_t)answers.buf % sizeof(float) == 0;
    if (!fits) refuse("rows and answers are not of the same number of rows");
    for (Py_ssize_t i = 0; fits && i < count; i++)
        ((float *)answers.buf)[i] = probability(self, (const float *)rows.buf + i * self->features);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&answers);
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"probabilities", trees_probabilities, METH_VARARGS, probabilities_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot TREES_SLOTS[] = {
    {Py_tp_new, trees_new}, {Py_tp_dealloc, trees_dealloc}, {Py_tp_methods, METHODS}, {0, NULL},
};

static PyType_Spec TREES = {
    "scoring._trees.Trees", sizeof(Trees), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, TREES_SLOTS,
};

static int fill(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &TREES, NULL);
    if (type == NULL) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_trees", "Probabilities from trees as columns.", 0, NULL, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__trees(void) { return PyModuleDef_Init(&MODULE); }
