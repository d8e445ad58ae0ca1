/* Quiet cards: what features/apply.py does with their packed histories, one card after the other. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HEAD, BODY, IDENTITY, WORDS }; /* of an entry */
enum { TIME_SHIFT = 16, AMOUNT_SHIFT = 14 };
enum { HEADER_BYTES = 8, ENTRY_BYTES = WORDS * 8, PLAIN = 1, VERSION_SHIFT = 56, SETTLED_SHIFT = 32 };
enum { MOST_RECENT = 256 }; /* entries of ten minutes among which codes are told apart one by one */
static const uint64_t REVERSAL_BIT = 1 << 15, CODE_MASK = (1 << 14) - 1;
static const uint64_t MOST_SETTLED = (1 << 24) - 1, WRITTEN_MASK = 0xffffffff;
static const int64_t TEN_MINUTES_MS = 600000, WEEK_MS = 604800000;

/* Rows of the answers, each with a column for every record: features.windows.Aggregates, its windows first. */
enum {
    COUNT_TEN, TOTAL_TEN, LARGEST_TEN, COUNT_WEEK, TOTAL_WEEK, LARGEST_WEEK, SMALLEST, TIME_MS, AMOUNT_MINOR,
    PREVIOUS_MS, PREVIOUS_MINOR, COUNTRIES, MCCS, LATE_BY_MS, ROWS
};

/* Arrays of the call, in their order; those from ANSWERS on are written. */
enum { NEW, CARD, REDELIVERED, SINCE, LAST, ANSWERS, IS_QUIET, ARRAYS };

typedef struct {
    Py_buffer array[ARRAYS];
    PyObject *stored;
    Py_ssize_t cards, records; /* how many */
    int64_t retention_ms, most_entries;
    /* The first record of each card, the one after each record on its card, and how many a card has; -1: none. */
    Py_ssize_t *first, *next, *own;
} Call;

static int64_t integer_at(const Call *call, int array, Py_ssize_t place) {
    return ((const int64_t *)call->array[array].buf)[place];
}

static const uint64_t *entry_of(const Call *call, Py_ssize_t record) {
    return (const uint64_t *)call->array[NEW].buf + record * WORDS;
}

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
static bool in_order(const uint64_t *entries, Py_ssize_t count) {
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

/* Append a record to a card's entries, which have room for it; false where the card is not quiet with it. */
static bool append(const Call *call, Py_ssize_t record, uint64_t *entries, Py_ssize_t count) {
    const uint64_t *new = entry_of(call, record);
    if (((const bool *)call->array[REDELIVERED].buf)[record]) return false;
    if ((new[HEAD] & REVERSAL_BIT) || knows(entries, count, new[IDENTITY])) return false;
    if (count > 0 && time_of(new) < time_of(entries + (count - 1) * WORDS)) return false;
    memcpy(entries + count * WORDS, new, ENTRY_BYTES);
    return answer(call, record, entries, count + 1);
}

/* Where the entries of a packed history are, and how many; false where it is none of a quiet card, or the records
   that it met last may come again. */
static bool find_entries(PyObject *stored, int64_t since, const uint64_t **entries, Py_ssize_t *count) {
    *entries = NULL;
    *count = 0;
    if (stored == Py_None) return true;
    if (!PyBytes_CheckExact(stored) || PyBytes_GET_SIZE(stored) < HEADER_BYTES) return false;
    const char *bytes = PyBytes_AS_STRING(stored);
    const Py_ssize_t size = PyBytes_GET_SIZE(stored) - HEADER_BYTES;
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    if (header >> VERSION_SHIFT != PLAIN || size % ENTRY_BYTES || (uintptr_t)bytes % sizeof header) return false;
    const uint64_t ahead = ((uint64_t)since - header) & WRITTEN_MASK;
    if (ahead == 0 || ahead > WRITTEN_MASK >> 1) return false;
    *entries = (const uint64_t *)(bytes + HEADER_BYTES);
    *count = size / ENTRY_BYTES;
    return true;
}

/* The packed history of a card with its records; None where it is not quiet, NULL with an exception set. */
static PyObject *apply_to(const Call *call, Py_ssize_t card) {
    const uint64_t *old;
    Py_ssize_t count;
    const int64_t since = integer_at(call, SINCE, card);
    if (!find_entries(PyList_GET_ITEM(call->stored, card), since, &old, &count) || !in_order(old, count))
        Py_RETURN_NONE;
    if (count > 0) {
        const int64_t newest_ms = time_of(old + (count - 1) * WORDS);
        const Py_ssize_t gone = first_from(old, count, newest_ms - call->retention_ms);
        old += gone * WORDS;
        count -= gone;
    }
    if (count + call->own[card] > call->most_entries) Py_RETURN_NONE;
    PyObject *made = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + (count + call->own[card]) * ENTRY_BYTES);
    if (made == NULL) return NULL;
    char *bytes = PyBytes_AS_STRING(made);
    const uint64_t settled = (uint64_t)count < MOST_SETTLED ? (uint64_t)count : MOST_SETTLED;
    const uint64_t written = (uint64_t)integer_at(call, LAST, card) & WRITTEN_MASK;
    const uint64_t header = (uint64_t)PLAIN << VERSION_SHIFT | settled << SETTLED_SHIFT | written;
    memcpy(bytes, &header, sizeof header);
    uint64_t *entries = (uint64_t *)(bytes + HEADER_BYTES);
    if (count > 0) memcpy(entries, old, (size_t)count * ENTRY_BYTES);
    for (Py_ssize_t record = call->first[card]; record >= 0; record = call->next[record])
        if (!append(call, record, entries, count++)) {
            Py_DECREF(made);
            Py_RETURN_NONE;
        }
    return made;
}

/* Every card of the call, whose arrays fit; NULL with an exception set. */
static PyObject *apply_to_all(Call *call) {
    bool *is_quiet = call->array[IS_QUIET].buf;
    for (Py_ssize_t card = 0; card < call->cards; card++) call->first[card] = -1, call->own[card] = 0;
    for (Py_ssize_t record = call->records; record-- > 0;) {
        const int64_t card = integer_at(call, CARD, record);
        call->next[record] = call->first[card];
        call->first[card] = record;
        call->own[card]++;
    }
    PyObject *packed = PyList_New(call->cards);
    for (Py_ssize_t card = 0; packed != NULL && card < call->cards; card++) {
        PyObject *made = apply_to(call, card);
        if (made == NULL) {
            Py_CLEAR(packed);
            break;
        }
        is_quiet[card] = made != Py_None;
        PyList_SET_ITEM(packed, card, made);
    }
    return packed;
}

static bool is_fit(Call *call) {
    static const Py_ssize_t SIZES[ARRAYS] = {8, 8, 1, 8, 8, 8, 1};
    for (int i = 0; i < ARRAYS; i++)
        if (call->array[i].itemsize != SIZES[i] || (uintptr_t)call->array[i].buf % (size_t)SIZES[i]) return false;
    call->cards = PyList_GET_SIZE(call->stored);
    call->records = call->array[REDELIVERED].len;
    if (call->array[NEW].len != call->records * ENTRY_BYTES || call->array[CARD].len != call->records * 8 ||
        call->array[SINCE].len != call->cards * 8 || call->array[LAST].len != call->cards * 8 ||
        call->array[ANSWERS].len != call->records * ROWS * 8 ||
        call->array[IS_QUIET].len != call->cards || call->retention_ms < 0)
        return false;
    for (Py_ssize_t record = 0; record < call->records; record++) {
        const int64_t card = integer_at(call, CARD, record);
        if (card < 0 || card >= call->cards) return false;
    }
    return true;
}

static PyObject *apply_fit(Call *call) {
    if (!is_fit(call)) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not belong together");
        return NULL;
    }
    Py_ssize_t *places = PyMem_New(Py_ssize_t, 2 * call->cards + call->records);
    if (places == NULL) return PyErr_NoMemory();
    call->first = places;
    call->own = places + call->cards;
    call->next = places + 2 * call->cards;
    PyObject *packed = apply_to_all(call);
    PyMem_Free(places);
    return packed;
}

static void release(Call *call, int arrays) {
    while (arrays-- > 0) PyBuffer_Release(&call->array[arrays]);
}

PyDoc_STRVAR(apply_doc, "apply(stored, new, card, redelivered, since, last, answers, is_quiet, retention_ms, "
                        "most_entries): see quiet.py.");

static PyObject *apply(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Call call;
    if (count != ARRAYS + 3 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "apply takes a list, seven arrays and two numbers");
        return NULL;
    }
    call.stored = args[0];
    call.retention_ms = PyLong_AsLongLong(args[ARRAYS + 1]);
    call.most_entries = PyLong_AsLongLong(args[ARRAYS + 2]);
    if (PyErr_Occurred()) return NULL;
    for (int i = 0; i < ARRAYS; i++) {
        const int flags = PyBUF_C_CONTIGUOUS | (i >= ANSWERS ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(args[i + 1], &call.array[i], flags) < 0) {
            release(&call, i);
            return NULL;
        }
    }
    PyObject *packed = apply_fit(&call);
    release(&call, ARRAYS);
    return packed;
}

static PyMethodDef METHODS[] = {
    {"apply", (PyCFunction)(void (*)(void))apply, METH_FASTCALL, apply_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_quiet", "Quiet cards.", 0, METHODS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__quiet(void) { return PyModuleDef_Init(&MODULE); }
