/* A few records on quiet cards: the loop of features/few.py, which says what it means. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HEAD, BODY, IDENTITY, WORDS }; /* of an entry */
enum { TIME_SHIFT = 16, AMOUNT_SHIFT = 14 };
enum { MOST_RECENT = 256 }; /* entries of ten minutes among which codes are told apart one by one */
static const uint64_t REVERSAL_BIT = 1 << 15, CODE_MASK = (1 << 14) - 1;
static const int64_t TEN_MINUTES_MS = 600000, WEEK_MS = 604800000;

/* Rows of the answers, each with a column for every record: features.windows.Aggregates, its windows first. */
enum {
    COUNT_TEN, TOTAL_TEN, LARGEST_TEN, COUNT_WEEK, TOTAL_WEEK, LARGEST_WEEK, SMALLEST, TIME_MS, AMOUNT_MINOR,
    PREVIOUS_MS, PREVIOUS_MINOR, COUNTRIES, MCCS, LATE_BY_MS, ROWS
};

/* Arrays of the call, in their order; those from ENTRIES on are written. */
enum { OLD, COUNTS, NEW, CARD, ENTRIES, START, POSITION, ANSWERS, ARRAYS };

typedef struct {
    Py_buffer array[ARRAYS];
    Py_ssize_t old, cards, records; /* how many */
    int64_t retention_ms;
} Call;

static int64_t integer_at(const Call *call, int array, Py_ssize_t place) {
    return ((const int64_t *)call->array[array].buf)[place];
}

static uint64_t *entries_of(const Call *call, int array) { return call->array[array].buf; }

static int64_t time_of(const uint64_t *entry) { return (int64_t)(entry[HEAD] >> TIME_SHIFT); }

static int64_t amount_of(const uint64_t *entry) { return (int64_t)(entry[BODY] >> AMOUNT_SHIFT); }

/* The first of some entries, in order of time, at a time or after it. */
static Py_ssize_t first_from(const uint64_t *entries, Py_ssize_t count, int64_t time_ms) {
    Py_ssize_t low = 0, high = count;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (time_of(entries + middle * WORDS) < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Different codes but zero in a word of some entries. */
static int64_t distinct_codes(const uint64_t *entries, Py_ssize_t count, int word) {
    int64_t distinct = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const uint64_t code = entries[i * WORDS + word] & CODE_MASK;
        bool is_new = code != 0;
        for (Py_ssize_t j = 0; is_new && j < i; j++) is_new = (entries[j * WORDS + word] & CODE_MASK) != code;
        distinct += is_new;
    }
    return distinct;
}

/* Whether some entries are in order of time, and none of them a reversal. */
static bool is_quiet(const uint64_t *entries, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        const uint64_t *entry = entries + i * WORDS;
        if ((entry[HEAD] & REVERSAL_BIT) || (i > 0 && time_of(entry) < time_of(entry - WORDS))) return false;
    }
    return true;
}

static bool knows(const uint64_t *entries, Py_ssize_t count, uint64_t identity) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (entries[i * WORDS + IDENTITY] == identity) return true;
    return false;
}

static void put(const Call *call, int row, Py_ssize_t record, int64_t value) {
    ((int64_t *)call->array[ANSWERS].buf)[row * call->records + record] = value;
}

static void put_window(const Call *call, int row, Py_ssize_t record, const uint64_t *entries, Py_ssize_t count) {
    int64_t total = 0, largest = 0, smallest = INT64_MAX;
    for (Py_ssize_t i = 0; i < count; i++) {
        const int64_t amount = amount_of(entries + i * WORDS);
        total = (int64_t)((uint64_t)total + (uint64_t)amount);
        if (amount > largest) largest = amount;
        if (amount < smallest) smallest = amount;
    }
    put(call, row, record, count);
    put(call, row + 1, record, total);
    put(call, row + 2, record, largest);
    if (row == COUNT_TEN) put(call, SMALLEST, record, smallest);
}

/* The aggregates of the last of a card's entries; false where they are too many. */
static bool answer(const Call *call, Py_ssize_t record, const uint64_t *entries, Py_ssize_t count) {
    const uint64_t *last = entries + (count - 1) * WORDS;
    const int64_t time_ms = time_of(last);
    const int64_t kept_ms = call->retention_ms;
    const Py_ssize_t week = first_from(entries, count, time_ms - (WEEK_MS < kept_ms ? WEEK_MS : kept_ms));
    const Py_ssize_t ten = first_from(entries, count, time_ms - (TEN_MINUTES_MS < kept_ms ? TEN_MINUTES_MS : kept_ms));
    const uint64_t *recent = entries + ten * WORDS;
    if (count - ten > MOST_RECENT) return false;
    put_window(call, COUNT_TEN, record, recent, count - ten);
    put_window(call, COUNT_WEEK, record, entries + week * WORDS, count - week);
    const bool has_previous = week < count - 1;
    put(call, TIME_MS, record, time_ms);
    put(call, AMOUNT_MINOR, record, amount_of(last));
    put(call, PREVIOUS_MS, record, has_previous ? time_of(last - WORDS) : -1);
    put(call, PREVIOUS_MINOR, record, has_previous ? amount_of(last - WORDS) : 0);
    put(call, COUNTRIES, record, distinct_codes(recent, count - ten, HEAD));
    put(call, MCCS, record, distinct_codes(recent, count - ten, BODY));
    put(call, LATE_BY_MS, record, 0);
    return true;
}

/* Append a record to a card's entries; false where the card is not quiet with it. */
static bool append(const Call *call, Py_ssize_t record, uint64_t *entries, Py_ssize_t count) {
    const uint64_t *new = entries_of(call, NEW) + record * WORDS;
    if ((new[HEAD] & REVERSAL_BIT) || knows(entries, count, new[IDENTITY])) return false;
    if (count > 0 && time_of(new) < time_of(entries + (count - 1) * WORDS)) return false;
    memcpy(entries + count * WORDS, new, WORDS * sizeof *new);
    return answer(call, record, entries, count + 1);
}

/* Every card of the call, whose numbers are checked; false where one is not quiet. */
static bool append_all(const Call *call) {
    const uint64_t *old = entries_of(call, OLD);
    uint64_t *entries = entries_of(call, ENTRIES);
    int64_t *start = call->array[START].buf, *position = call->array[POSITION].buf;
    start[0] = 0;
    for (Py_ssize_t card = 0; card < call->cards; card++) {
        Py_ssize_t count = (Py_ssize_t)integer_at(call, COUNTS, card);
        memcpy(entries, old, (size_t)count * WORDS * sizeof *old);
        if (!is_quiet(entries, count)) return false;
        old += count * WORDS;
        for (Py_ssize_t record = 0; record < call->records; record++) {
            if (integer_at(call, CARD, record) != card) continue;
            if (!append(call, record, entries, count)) return false;
            position[record] = start[card] + count++;
        }
        entries += count * WORDS;
        start[card + 1] = start[card] + count;
    }
    return true;
}

static bool is_fit(Call *call) {
    const Py_ssize_t item = sizeof(int64_t), entry = WORDS * item;
    for (int i = 0; i < ARRAYS; i++)
        if (call->array[i].itemsize != item || (uintptr_t)call->array[i].buf % (size_t)item) return false;
    call->old = call->array[OLD].len / entry;
    call->cards = call->array[COUNTS].len / item;
    call->records = call->array[CARD].len / item;
    if (call->array[OLD].len % entry || call->array[NEW].len != call->records * entry ||
        call->array[ENTRIES].len != (call->old + call->records) * entry ||
        call->array[START].len != (call->cards + 1) * item || call->array[POSITION].len != call->records * item ||
        call->array[ANSWERS].len != call->records * ROWS * item || call->retention_ms < 0)
        return false;
    Py_ssize_t left = call->old;
    for (Py_ssize_t card = 0; card < call->cards; card++) {
        const int64_t count = integer_at(call, COUNTS, card);
        if (count < 0 || count > left) return false;
        left -= (Py_ssize_t)count;
    }
    for (Py_ssize_t record = 0; record < call->records; record++) {
        const int64_t card = integer_at(call, CARD, record);
        if (card < 0 || card >= call->cards) return false;
    }
    return left == 0;
}

static void release(Call *call, int arrays) {
    while (arrays-- > 0) PyBuffer_Release(&call->array[arrays]);
}

PyDoc_STRVAR(append_doc, "append(words, counts, new, card, entries, start, position, answers, retention_ms): see few.py.");

static PyObject *append_few(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Call call;
    if (count != ARRAYS + 1) {
        PyErr_SetString(PyExc_TypeError, "append takes eight arrays and a number");
        return NULL;
    }
    call.retention_ms = PyLong_AsLongLong(args[ARRAYS]);
    if (call.retention_ms == -1 && PyErr_Occurred()) return NULL;
    for (int i = 0; i < ARRAYS; i++) {
        const int flags = PyBUF_C_CONTIGUOUS | (i >= ENTRIES ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(args[i], &call.array[i], flags) < 0) {
            release(&call, i);
            return NULL;
        }
    }
    const bool fit = is_fit(&call);
    const bool quiet = fit && append_all(&call);
    release(&call, ARRAYS);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not belong together");
        return NULL;
    }
    return PyBool_FromLong(quiet);
}

static PyMethodDef METHODS[] = {
    {"append", (PyCFunction)(void (*)(void))append_few, METH_FASTCALL, append_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_few", "A few records on quiet cards.", 0, METHODS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__few(void) { return PyModuleDef_Init(&MODULE); }
