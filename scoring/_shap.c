/* Adds up contributions from prepared tables: the inner loop of scoring/shapley.py.

   A group stands for a part of a tree. Its tests compare a column of the row with a split; their answers, one bit each,
   name a line of the group's table, and the line is what the part adds to the contributions of the group's targets.
   All of it is copied and checked when the tables are made, so that no row can lead outside. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MOST_TESTS = 12, MOST_FEATURES = 4096, LANES = 4, BLOCK = 64 };

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));

typedef struct {
    int32_t tests, targets;
} Group;

typedef struct {
    int32_t column;
    float split;
    int32_t missing; /* all bits where a missing value goes left, none where it goes right */
} Test;

typedef struct {
    PyObject_HEAD
    Py_ssize_t features, count; /* columns of a row; groups */
    Group *groups;
    Test *tests;      /* of all groups, one after the other */
    int32_t *targets; /* likewise */
    double *values;   /* of each group 2^tests lines of one number for each target */
} Tables;

/* Buffers of the constructor's arguments, in their order. */
enum { GROUP_TESTS, GROUP_TARGETS, COLUMNS, SPLITS, MISSING, TARGETS, VALUES, PARTS };

static bool refuse(const char *reason) {
    PyErr_SetString(PyExc_ValueError, reason);
    return false;
}

static void *copy_of(const Py_buffer *part) {
    void *copy = PyMem_Malloc(part->len ? (size_t)part->len : 1);
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    return memcpy(copy, part->buf, (size_t)part->len);
}

static bool holds(const Py_buffer *part, Py_ssize_t count, size_t size) {
    return part->len % (Py_ssize_t)size == 0 && part->len / (Py_ssize_t)size == count;
}

static bool take_groups(Tables *self, const Py_buffer *parts) {
    self->count = parts[GROUP_TESTS].len;
    if (parts[GROUP_TARGETS].len != self->count) return refuse("as many groups of tests as of targets are needed");
    self->groups = PyMem_Calloc(self->count ? (size_t)self->count : 1, sizeof(Group));
    if (self->groups == NULL) return PyErr_NoMemory() != NULL;
    const uint8_t *tests = parts[GROUP_TESTS].buf, *targets = parts[GROUP_TARGETS].buf;
    Py_ssize_t all_tests = 0, all_targets = 0, all_values = 0;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        if (tests[i] > MOST_TESTS) return refuse("a group has too many tests");
        self->groups[i] = (Group){tests[i], targets[i]};
        all_tests += tests[i];
        all_targets += targets[i];
        /* At most 255 * 2^12, of as many groups as there are bytes in memory: no overflow. */
        all_values += (Py_ssize_t)targets[i] << tests[i];
    }
    bool fits = holds(&parts[COLUMNS], all_tests, sizeof(int32_t)) && holds(&parts[SPLITS], all_tests, sizeof(float)) &&
                holds(&parts[MISSING], all_tests, 1) && holds(&parts[TARGETS], all_targets, sizeof(int32_t)) &&
                holds(&parts[VALUES], all_values, sizeof(double));
    return fits || refuse("the parts are not of the lengths that the groups need");
}

static bool is_column(const Tables *self, int32_t column) { return column >= 0 && column < self->features; }

static bool take_tests(Tables *self, const Py_buffer *parts) {
    Py_ssize_t count = parts[MISSING].len;
    self->tests = PyMem_Calloc(count ? (size_t)count : 1, sizeof(Test));
    if (self->tests == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        Test *test = &self->tests[i];
        memcpy(&test->column, (const char *)parts[COLUMNS].buf + i * (Py_ssize_t)sizeof(int32_t), sizeof(int32_t));
        memcpy(&test->split, (const char *)parts[SPLITS].buf + i * (Py_ssize_t)sizeof(float), sizeof(float));
        test->missing = ((const uint8_t *)parts[MISSING].buf)[i] ? -1 : 0;
        if (!is_column(self, test->column)) return refuse("a test names a column that is none");
    }
    return true;
}

static bool take_targets(Tables *self, const Py_buffer *parts) {
    self->targets = copy_of(&parts[TARGETS]);
    self->values = self->targets == NULL ? NULL : copy_of(&parts[VALUES]);
    if (self->values == NULL) return false;
    for (Py_ssize_t i = 0; i < parts[TARGETS].len / (Py_ssize_t)sizeof(int32_t); i++)
        if (!is_column(self, self->targets[i])) return refuse("a target names a column that is none");
    return true;
}

static PyObject *tables_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    Py_ssize_t features;
    Py_buffer parts[PARTS] = {{0}};
    Tables *self = NULL;
    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Tables takes no names");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "ny*y*y*y*y*y*y*:Tables", &features, &parts[0], &parts[1], &parts[2], &parts[3],
                          &parts[4], &parts[5], &parts[6]))
        return NULL; /* what it had taken it has given back */
    bool made = features > 0 && features <= MOST_FEATURES;
    if (!made) refuse("a row has 1 to 4096 features");
    if (made) self = (Tables *)type->tp_alloc(type, 0);
    made = self != NULL;
    if (made) self->features = features;
    made = made && take_groups(self, parts) && take_tests(self, parts) && take_targets(self, parts);
    for (int i = 0; i < PARTS; i++) PyBuffer_Release(&parts[i]);
    if (!made) Py_CLEAR(self);
    return (PyObject *)self;
}

static void tables_dealloc(PyObject *object) {
    Tables *self = (Tables *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(self->groups);
    PyMem_Free(self->tests);
    PyMem_Free(self->targets);
    PyMem_Free(self->values);
    type->tp_free(object);
    Py_DECREF(type);
}

/* The lines that LANES rows name; `columns` holds their values, column by column. */
static inline Bits lines_of(const float *columns, const Test *tests, int32_t count) {
    Bits lines = {0};
    for (int32_t i = 0; i < count; i++) {
        Floats value;
        memcpy(&value, columns + (Py_ssize_t)tests[i].column * LANES, sizeof value);
        const int32_t bit = 1 << i;
        lines |= ((value < tests[i].split) & bit) | ((value != value) & (tests[i].missing & bit));
    }
    return lines;
}

/* One line for each of some rows; inlined with a number of targets that is known, so that nothing is left to guess. */
static inline void add_lines(const double *values, Bits lines, const int32_t *targets, int32_t count,
                             double *sums, Py_ssize_t width, Py_ssize_t rows) {
    for (Py_ssize_t lane = 0; lane < rows; lane++, sums += width) {
        const double *line = values + (Py_ssize_t)lines[lane] * count;
#pragma GCC unroll 8
        for (int32_t k = 0; k < count; k++) sums[targets[k]] += line[k];
    }
}

#define CASE(n) case n: add_lines(values, lines, targets, n, sum, width, here); break;

static void add_block(const Tables *self, const float *columns, Py_ssize_t rows, double *sums) {
    const Py_ssize_t width = self->features + 1, step = self->features * LANES;
    const Test *tests = self->tests;
    const int32_t *targets = self->targets;
    const double *values = self->values;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        const Group group = self->groups[i];
        for (Py_ssize_t first = 0; first < rows; first += LANES) {
            const Bits lines = lines_of(columns + first / LANES * step, tests, group.tests);
            const Py_ssize_t here = rows - first < LANES ? rows - first : LANES;
            double *sum = sums + first * width;
            switch (group.targets) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
                default: add_lines(values, lines, targets, group.targets, sum, width, here);
            }
        }
        tests += group.tests;
        targets += group.targets;
        values += (Py_ssize_t)group.targets << group.tests;
    }
}

static bool add_all(const Tables *self, const Py_buffer *rows, const Py_buffer *sums) {
    const Py_ssize_t row = self->features * (Py_ssize_t)sizeof(float);
    const Py_ssize_t count = rows->len / row;
    if (rows->len % row || !holds(sums, count * (self->features + 1), sizeof(double)))
        return refuse("rows and sums are not of the same number of rows");
    if ((uintptr_t)rows->buf % sizeof(float) || (uintptr_t)sums->buf % sizeof(double))
        return refuse("rows and sums must be aligned");
    float *columns = PyMem_Calloc((size_t)self->features * BLOCK, sizeof(float));
    if (columns == NULL) return PyErr_NoMemory() != NULL;
    const float *from = rows->buf;
    double *to = sums->buf;
    for (Py_ssize_t first = 0; first < count; first += BLOCK) {
        const Py_ssize_t here = count - first < BLOCK ? count - first : BLOCK;
        for (Py_ssize_t i = 0; i < here; i++)
            for (Py_ssize_t column = 0; column < self->features; column++)
                columns[(i / LANES * self->features + column) * LANES + i % LANES] =
                    from[(first + i) * self->features + column];
        add_block(self, columns, here, to + first * (self->features + 1));
    }
    PyMem_Free(columns);
    return true;
}

PyDoc_STRVAR(add_doc, "add(rows, sums): see scoring/shapley.py.");

static PyObject *tables_add(PyObject *self, PyObject *args) {
    Py_buffer rows, sums;
    if (!PyArg_ParseTuple(args, "y*w*:add", &rows, &sums)) return NULL;
    bool added = add_all((const Tables *)self, &rows, &sums);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&sums);
    if (!added) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {{"add", tables_add, METH_VARARGS, add_doc}, {NULL, NULL, 0, NULL}};

static PyType_Slot TABLES_SLOTS[] = {
    {Py_tp_new, tables_new}, {Py_tp_dealloc, tables_dealloc}, {Py_tp_methods, METHODS}, {0, NULL},
};

static PyType_Spec TABLES = {"scoring._shap.Tables", sizeof(Tables), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, TABLES_SLOTS};

static int fill(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &TABLES, NULL);
    if (type == NULL) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_shap", "Contributions from prepared tables.", 0, NULL, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__shap(void) { return PyModuleDef_Init(&MODULE); }
