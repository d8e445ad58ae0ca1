/* Outcomes of authorizations, from columns to records: what streams/answers.py otherwise makes of one object after the
   other. The bytes are those of `encode_outcome`.

   Doubles are written as the shortest decimal that reads back as the same double, by Schubfach (Raffaello Giulietti,
   "The Schubfach way to render doubles", 2020), laid out as msgspec lays them out. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ---- text that grows ----------------------------------------------------------------------------------------- */

typedef struct {
    char *data;
    size_t used, size;
} Text;

/* Room for so many more bytes; NULL after an exception. */
static char *room(Text *text, size_t more) {
    if (text->size - text->used < more) {
        size_t size = text->size * 2 + more;
        char *data = PyMem_Realloc(text->data, size);
        if (data == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        text->data = data;
        text->size = size;
    }
    return text->data + text->used;
}

static bool put(Text *text, const char *bytes, size_t size) {
    char *at = room(text, size);
    if (at == NULL) return false;
    memcpy(at, bytes, size);
    text->used += size;
    return true;
}

#define PUT(text, literal) put(text, literal, sizeof(literal) - 1)

static bool put_bytes(Text *text, PyObject *bytes) {
    return put(text, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

/* At least `width` digits, with zeros before them. */
static bool put_digits(Text *text, uint64_t number, int width) {
    char digits[24];
    int begin = 24;
    for (; number != 0 || width > 0; number /= 10, width--) digits[--begin] = (char)('0' + number % 10);
    return put(text, digits + begin, (size_t)(24 - begin));
}

static bool put_integer(Text *text, int64_t number) {
    if (number < 0 && !PUT(text, "-")) return false;
    return put_digits(text, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

/* ---- strings --------------------------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c) { return c >= 0x20 && c != '"' && c != '\\'; }

static bool put_escaped(Text *text, unsigned char c) {
    static const char HEX[] = "0123456789abcdef", SHORT[] = "\"\\\b\f\n\r\t", LETTERS[] = "\"\\bfnrt";
    const char *found = c == 0 ? NULL : strchr(SHORT, c);
    if (found != NULL) return put(text, (char[]){'\\', LETTERS[found - SHORT]}, 2);
    return put(text, (char[]){'\\', 'u', '0', '0', HEX[c >> 4], HEX[c & 15]}, 6);
}

/* A string with its quotes. */
static bool put_string(Text *text, PyObject *string) {
    Py_ssize_t size;
    const char *at = PyUnicode_AsUTF8AndSize(string, &size);
    if (at == NULL || !PUT(text, "\"")) return false;
    const char *end = at + size;
    while (at < end) {
        const char *run = at;
        while (at < end && is_plain((unsigned char)*at)) at++;
        if (!put(text, run, (size_t)(at - run))) return false;
        if (at < end && !put_escaped(text, (unsigned char)*at++)) return false;
    }
    return PUT(text, "\"");
}

/* ---- doubles ---------------------------------------------------------------------------------------------------- */

enum { LEAST_POWER = -292, MOST_POWER = 324, POWER_BYTES = 16 };

typedef struct {
    uint64_t digits;
    int exponent;
} Decimal;

static int floor_log2_pow10(int e) { return (e * 1741647) >> 19; }

static uint64_t word_at(const unsigned char *bytes) {
    uint64_t word = 0;
    for (int i = 8; i-- > 0;) word = word << 8 | bytes[i];
    return word;
}

static uint64_t rounded_to_odd(uint64_t high, uint64_t low, uint64_t factor) {
    unsigned __int128 product = (unsigned __int128)high * factor + (uint64_t)(((unsigned __int128)low * factor) >> 64);
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/* The shortest decimal of a positive finite double; of several the closest. `powers` holds 10^k for k from LEAST_POWER
   to MOST_POWER as 128 bits, the low word first. */
static Decimal shortest(double value, const unsigned char *powers) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int)(bits >> 52);
    uint64_t c = biased != 0 ? fraction | UINT64_C(1) << 52 : fraction;
    int q = (biased != 0 ? biased : 1) - 1075;
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) return (Decimal){c >> -q, 0};
    bool is_even = (c & 1) == 0, is_closer_below = fraction == 0 && biased > 1;
    int k = (q * 1262611 - (is_closer_below ? 524031 : 0)) >> 22;
    int h = q + floor_log2_pow10(-k) + 1;
    const unsigned char *power = powers + (-k - LEAST_POWER) * POWER_BYTES;
    uint64_t low = word_at(power), high = word_at(power + 8);
    uint64_t lower = rounded_to_odd(high, low, (4 * c - 2 + is_closer_below) << h) + !is_even;
    uint64_t middle = rounded_to_odd(high, low, 4 * c << h);
    uint64_t upper = rounded_to_odd(high, low, (4 * c + 2) << h) - !is_even;
    uint64_t s = middle / 4;
    if (s >= 10) {
        uint64_t tenth = s / 10;
        bool below = lower <= 40 * tenth, above = 40 * tenth + 40 <= upper;
        if (below != above) return (Decimal){tenth + above, k + 1};
    }
    bool below = lower <= 4 * s, above = 4 * s + 4 <= upper;
    if (below != above) return (Decimal){s + above, k};
    bool up = middle > 4 * s + 2 || (middle == 4 * s + 2 && (s & 1) != 0);
    return (Decimal){s + up, k};
}

static bool put_zeros(Text *text, int count) {
    while (count-- > 0)
        if (!PUT(text, "0")) return false;
    return true;
}

/* Digits that stand for `digits * 10^exponent`, where the first of them is at 10^(point - 1). */
static bool put_decimal(Text *text, const char *digits, int count, int point) {
    if (point > 0 && point <= 16) {
        int whole = count < point ? count : point;
        if (!put(text, digits, (size_t)whole) || !put_zeros(text, point - whole) || !PUT(text, ".")) return false;
        return count > whole ? put(text, digits + whole, (size_t)(count - whole)) : PUT(text, "0");
    }
    if (point > -5 && point <= 0)
        return PUT(text, "0.") && put_zeros(text, -point) && put(text, digits, (size_t)count);
    if (!put(text, digits, 1)) return false;
    if (count > 1 && !(PUT(text, ".") && put(text, digits + 1, (size_t)count - 1))) return false;
    return PUT(text, "e") && put_integer(text, point - 1);
}

static bool put_double(Text *text, double value, const unsigned char *powers) {
    if (!isfinite(value)) return PUT(text, "null");
    if (signbit(value) && !PUT(text, "-")) return false;
    if (value == 0) return PUT(text, "0.0");
    Decimal decimal = shortest(fabs(value), powers);
    for (; decimal.digits % 10 == 0; decimal.digits /= 10) decimal.exponent++;
    char digits[24];
    int begin = 24;
    for (uint64_t left = decimal.digits; left != 0; left /= 10) digits[--begin] = (char)('0' + left % 10);
    return put_decimal(text, digits + begin, 24 - begin, 24 - begin + decimal.exponent);
}

/* ---- money and time ---------------------------------------------------------------------------------------------- */

static bool put_amount(Text *text, int64_t amount_minor, long exponent) {
    uint64_t unit = 1;
    for (long i = 0; i < exponent; i++) unit *= 10;
    if (!put_integer(text, amount_minor / (int64_t)unit)) return false;
    return exponent == 0 || (PUT(text, ".") && put_digits(text, (uint64_t)amount_minor % unit, (int)exponent));
}

/* RFC 3339 in UTC with milliseconds, of a moment from 1970 to 9999 (years counted from March, four-hundred-year cycles). */
static bool put_time(Text *text, int64_t moment_ms) {
    int64_t days = moment_ms / 86400000 + 719468, rest_ms = moment_ms % 86400000;
    int64_t cycle = days / 146097, day = days % 146097;
    int64_t in_cycle = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t in_year = day - (365 * in_cycle + in_cycle / 4 - in_cycle / 100), month = (5 * in_year + 2) / 153;
    int64_t year = in_cycle + cycle * 400 + (month >= 10);
    const struct {
        int64_t number;
        int width;
        char behind;
    } parts[] = {
        {year, 4, '-'}, {month < 10 ? month + 3 : month - 9, 2, '-'}, {in_year - (153 * month + 2) / 5 + 1, 2, 'T'},
        {rest_ms / 3600000, 2, ':'}, {rest_ms / 60000 % 60, 2, ':'}, {rest_ms / 1000 % 60, 2, '.'},
        {rest_ms % 1000, 3, 'Z'},
    };
    for (int i = 0; i < 7; i++)
        if (!put_digits(text, (uint64_t)parts[i].number, parts[i].width) || !put(text, &parts[i].behind, 1)) return false;
    return true;
}

/* ---- what is written ------------------------------------------------------------------------------------------- */

/* Columns of a batch, each of one item per row unless it says otherwise. */
enum { AMOUNT_MINOR, EVENT_MS, FEATURES, PROBABILITY, SCORE, CANARY, COLUMNS };

static const struct {
    const char *format;
    Py_ssize_t item;
} COLUMN[COLUMNS] = {{"l", 8}, {"l", 8}, {"d", 8}, {"f", 4}, {"l", 8}, {"?", 1}};

/* What all outcomes of a batch have in common, a tuple in this order. */
enum { ATTRIBUTES, TOPIC, NAMES, WHOLE, VERSIONS, CHALLENGER, SOURCE, NOW_MS, POWERS, VERDICT_HEADERS, SCORE_HEADERS, MAKE, COMMON };

/* Attributes of a record and of its transaction, by their places in the first of these. */
enum {
    TRANSACTION, BROKER_MS, PARTITION, OFFSET, EXPONENT, TRANSACTION_ID, CARD_ID, TYPE, CURRENCY,
    CARD_LAST4, MERCHANT_ID, MERCHANT_CATEGORY, COUNTRY, CHANNEL, DEVICE_ID, IP_ADDRESS, EMAIL, ALL_ATTRIBUTES
};

typedef struct {
    Py_buffer column[COLUMNS];
    Py_ssize_t rows, features;
    PyObject *verdicts, *rules, *reasons, *unusual; /* two lists, two dicts */
    PyObject *const *common;
    const unsigned char *powers, *whole;
    int64_t now_ms;
} Batch;

static const void *at_row(const Batch *batch, int column, Py_ssize_t row) {
    return (const char *)batch->column[column].buf + row * COLUMN[column].item;
}

static int64_t integer_at(const Batch *batch, int column, Py_ssize_t row) {
    int64_t number;
    memcpy(&number, at_row(batch, column, row), sizeof number);
    return number;
}

static PyObject *attribute(const Batch *batch, PyObject *object, int name) {
    return PyObject_GetAttr(object, PyTuple_GET_ITEM(batch->common[ATTRIBUTES], name));
}

/* A whole number that an object has; false after an exception. */
static bool integer_of(const Batch *batch, PyObject *object, int name, int64_t *number) {
    PyObject *found = attribute(batch, object, name);
    if (found == NULL) return false;
    *number = PyLong_AsLongLong(found);
    Py_DECREF(found);
    return !(*number == -1 && PyErr_Occurred());
}

/* `,"name":"value"`; with nothing, nothing. `key` is the comma, the name with its quotes and the colon. */
static bool put_field(Text *text, const Batch *batch, PyObject *object, int name, const char *key) {
    PyObject *found = attribute(batch, object, name);
    if (found == NULL) return false;
    bool done = found == Py_None || (put(text, key, strlen(key)) && put_string(text, found));
    Py_DECREF(found);
    return done;
}

static bool put_money(Text *text, const Batch *batch, Py_ssize_t row, PyObject *transaction) {
    int64_t exponent, amount_minor = integer_at(batch, AMOUNT_MINOR, row);
    if (!integer_of(batch, transaction, EXPONENT, &exponent)) return false;
    if (exponent < 0 || exponent > 4) {
        PyErr_SetString(PyExc_ValueError, "a currency of more decimals than there are");
        return false;
    }
    return PUT(text, ",\"amount\":") && put_amount(text, amount_minor, (long)exponent) &&
           PUT(text, ",\"amount_minor\":") && put_integer(text, amount_minor) &&
           put_field(text, batch, transaction, CURRENCY, ",\"currency\":");
}

static bool put_transaction(Text *text, const Batch *batch, Py_ssize_t row, PyObject *transaction) {
    static const struct {
        int name;
        const char *key;
    } OPTIONAL[] = {
        {CARD_LAST4, ",\"card_last4\":"}, {MERCHANT_ID, ",\"merchant_id\":"},
        {MERCHANT_CATEGORY, ",\"merchant_category\":"}, {COUNTRY, ",\"country\":"}, {CHANNEL, ",\"channel\":"},
        {DEVICE_ID, ",\"device_id\":"}, {IP_ADDRESS, ",\"ip_address\":"}, {EMAIL, ",\"email\":"},
    };
    if (!put_field(text, batch, transaction, TRANSACTION_ID, "{\"transaction_id\":") ||
        !put_field(text, batch, transaction, CARD_ID, ",\"card_id\":") ||
        !put_field(text, batch, transaction, TYPE, ",\"type\":") || !put_money(text, batch, row, transaction) ||
        !PUT(text, ",\"event_time\":\"") || !put_time(text, integer_at(batch, EVENT_MS, row)) || !PUT(text, "\""))
        return false;
    for (size_t i = 0; i < sizeof OPTIONAL / sizeof *OPTIONAL; i++)
        if (!put_field(text, batch, transaction, OPTIONAL[i].name, OPTIONAL[i].key)) return false;
    return true;
}

/* A feature that counts; no number is not one. */
static bool put_whole(Text *text, double value) {
    if (fabs(value) < 9e15) return put_integer(text, (int64_t)value);
    PyErr_SetString(PyExc_ValueError, "a count that is no whole number");
    return false;
}

static bool put_features(Text *text, const Batch *batch, Py_ssize_t row) {
    for (Py_ssize_t i = 0; i < batch->features; i++) {
        double value;
        memcpy(&value, at_row(batch, FEATURES, row * batch->features + i), sizeof value);
        /* The name comes with what stands before and behind it. */
        if (!put_bytes(text, PyTuple_GET_ITEM(batch->common[NAMES], i))) return false;
        if (!(batch->whole[i] ? put_whole(text, value) : put_double(text, value, batch->powers))) return false;
    }
    return true;
}

/* What a row has in a dictionary of bytes; without, something else. */
static bool put_given(Text *text, PyObject *given, Py_ssize_t row, const char *otherwise) {
    PyObject *found = NULL;
    if (PyDict_GET_SIZE(given) != 0) {
        PyObject *key = PyLong_FromSsize_t(row);
        if (key == NULL) return false;
        found = PyDict_GetItemWithError(given, key);
        Py_DECREF(key);
        if (found == NULL && PyErr_Occurred()) return false;
    }
    if (found == NULL) return put(text, otherwise, strlen(otherwise));
    if (PyBytes_Check(found)) return put_bytes(text, found);
    PyErr_SetString(PyExc_TypeError, "what is given of a row is bytes");
    return false;
}

static bool put_decision(Text *text, const Batch *batch, Py_ssize_t row, PyObject *item) {
    int64_t broker_ms, partition, offset;
    if (!integer_of(batch, item, BROKER_MS, &broker_ms) || !integer_of(batch, item, PARTITION, &partition) ||
        !integer_of(batch, item, OFFSET, &offset))
        return false;
    float probability;
    memcpy(&probability, at_row(batch, PROBABILITY, row), sizeof probability);
    bool is_canary = *(const char *)at_row(batch, CANARY, row) != 0;
    PyObject *rule = PyList_GET_ITEM(batch->rules, row);
    return PUT(text, ",\"fraud\":{\"score\":") && put_integer(text, integer_at(batch, SCORE, row)) &&
           PUT(text, ",\"probability\":") && put_double(text, (double)probability, batch->powers) &&
           PUT(text, ",\"outcome\":") && put_string(text, PyList_GET_ITEM(batch->verdicts, row)) &&
           PUT(text, ",\"rule\":") && (rule == Py_None ? PUT(text, "null") : put_string(text, rule)) &&
           PUT(text, ",\"reasons\":") && put_given(text, batch->reasons, row, "[]") && PUT(text, ",\"features\":") &&
           put_features(text, batch, row) && put_bytes(text, batch->common[is_canary ? CHALLENGER : VERSIONS]) &&
           put_integer(text, batch->now_ms - broker_ms) && put_bytes(text, batch->common[SOURCE]) &&
           put_integer(text, partition) && PUT(text, ",\"offset\":") && put_integer(text, offset) && PUT(text, "}") &&
           put_given(text, batch->unusual, row, "") && PUT(text, "}}");
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* The UTF-8 of a text that an object has. */
static PyObject *utf8_of(const Batch *batch, PyObject *object, int name) {
    PyObject *text = attribute(batch, object, name);
    if (text == NULL) return NULL;
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    Py_DECREF(text);
    return bytes;
}

static PyObject *headers_of(const Batch *batch, Py_ssize_t row, PyObject *transaction) {
    int64_t score = integer_at(batch, SCORE, row);
    PyObject *scores = batch->common[SCORE_HEADERS];
    PyObject *verdict = PyDict_GetItemWithError(batch->common[VERDICT_HEADERS], PyList_GET_ITEM(batch->verdicts, row));
    if (verdict == NULL || score < 0 || score >= PyList_GET_SIZE(scores)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a verdict or a score that there is not");
        return NULL;
    }
    PyObject *name = utf8_of(batch, transaction, TRANSACTION_ID);
    if (name == NULL) return NULL;
    PyObject *named = Py_BuildValue("(sN)", "transaction_id", name);
    return named == NULL ? NULL : Py_BuildValue("[ONO]", verdict, named, PyList_GET_ITEM(scores, score));
}

static PyObject *record_of(const Batch *batch, Py_ssize_t row, PyObject *item, PyObject *transaction, const Text *text) {
    PyObject *arguments[] = {
        Py_NewRef(batch->common[TOPIC]), utf8_of(batch, transaction, CARD_ID),
        PyBytes_FromStringAndSize(text->data, (Py_ssize_t)text->used), headers_of(batch, row, transaction),
        attribute(batch, item, PARTITION),
    };
    bool whole = true;
    for (int i = 0; i < 5; i++) whole = whole && arguments[i] != NULL;
    PyObject *record = whole ? PyObject_Vectorcall(batch->common[MAKE], arguments, 5, NULL) : NULL;
    for (int i = 0; i < 5; i++) Py_XDECREF(arguments[i]);
    return record;
}

/* The record of a row. */
static PyObject *row_of(const Batch *batch, Py_ssize_t row, PyObject *item, Text *text) {
    PyObject *transaction = attribute(batch, item, TRANSACTION), *record = NULL;
    if (transaction == NULL) return NULL;
    text->used = 0;
    if (put_transaction(text, batch, row, transaction) && put_decision(text, batch, row, item))
        record = record_of(batch, row, item, transaction, text);
    Py_DECREF(transaction);
    return record;
}

static PyObject *rows_of(const Batch *batch, PyObject *items) {
    PyObject *answer = PyList_New(batch->rows);
    Text text = {NULL, 0, 0};
    for (Py_ssize_t row = 0; answer != NULL && row < batch->rows; row++) {
        PyObject *record = row_of(batch, row, PyList_GET_ITEM(items, row), &text);
        if (record == NULL)
            Py_CLEAR(answer);
        else
            PyList_SET_ITEM(answer, row, record);
    }
    PyMem_Free(text.data);
    return answer;
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static bool refuse(const char *what) {
    PyErr_SetString(PyExc_TypeError, what);
    return false;
}

static bool read_common(Batch *batch, PyObject *common) {
    if (!PyTuple_CheckExact(common) || PyTuple_GET_SIZE(common) != COMMON) return refuse("common is a tuple");
    batch->common = &PyTuple_GET_ITEM(common, 0);
    PyObject *const *c = batch->common;
    if (!PyTuple_CheckExact(c[ATTRIBUTES]) || PyTuple_GET_SIZE(c[ATTRIBUTES]) != ALL_ATTRIBUTES ||
        !PyTuple_CheckExact(c[NAMES]) || !PyBytes_CheckExact(c[WHOLE]) || !PyBytes_CheckExact(c[VERSIONS]) || !PyBytes_CheckExact(c[CHALLENGER]) ||
        !PyBytes_CheckExact(c[SOURCE]) || !PyBytes_CheckExact(c[POWERS]) || !PyDict_CheckExact(c[VERDICT_HEADERS]) ||
        !PyList_CheckExact(c[SCORE_HEADERS]))
        return refuse("something in common is of another kind");
    batch->features = PyTuple_GET_SIZE(c[NAMES]);
    for (Py_ssize_t i = 0; i < batch->features; i++)
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(c[NAMES], i))) return refuse("names are bytes");
    if (PyBytes_GET_SIZE(c[WHOLE]) != batch->features ||
        PyBytes_GET_SIZE(c[POWERS]) != (MOST_POWER - LEAST_POWER + 1) * POWER_BYTES)
        return refuse("names or powers of another number");
    batch->whole = (const unsigned char *)PyBytes_AS_STRING(c[WHOLE]);
    batch->powers = (const unsigned char *)PyBytes_AS_STRING(c[POWERS]);
    batch->now_ms = PyLong_AsLongLong(c[NOW_MS]);
    return !(batch->now_ms == -1 && PyErr_Occurred());
}

static void release(Batch *batch, int columns) {
    while (columns-- > 0) PyBuffer_Release(&batch->column[columns]);
}

static bool read_columns(Batch *batch, PyObject *columns) {
    if (!PyTuple_CheckExact(columns) || PyTuple_GET_SIZE(columns) != COLUMNS) return refuse("columns is a tuple");
    for (int i = 0; i < COLUMNS; i++) {
        Py_buffer *column = &batch->column[i];
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(columns, i), column, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
            release(batch, i);
            return false;
        }
        Py_ssize_t items = batch->rows * (i == FEATURES ? batch->features : 1);
        bool is_kind = strcmp(column->format, COLUMN[i].format) == 0 && column->itemsize == COLUMN[i].item;
        if (!is_kind || column->len != items * COLUMN[i].item) {
            release(batch, i + 1);
            return refuse("a column of another kind or length");
        }
    }
    return true;
}

PyDoc_STRVAR(records_doc, "records(items, verdicts, rules, reasons, unusual, columns, common): see streams/answers.py.");

static PyObject *records(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Batch batch = {.rows = 0};
    if (count != 7 || !PyList_CheckExact(args[0]) || !PyList_CheckExact(args[1]) || !PyList_CheckExact(args[2]) ||
        !PyDict_CheckExact(args[3]) || !PyDict_CheckExact(args[4])) {
        PyErr_SetString(PyExc_TypeError, "records takes three lists, two dicts and two tuples");
        return NULL;
    }
    batch.rows = PyList_GET_SIZE(args[0]);
    batch.verdicts = args[1];
    batch.rules = args[2];
    batch.reasons = args[3];
    batch.unusual = args[4];
    if (PyList_GET_SIZE(args[1]) != batch.rows || PyList_GET_SIZE(args[2]) != batch.rows) {
        PyErr_SetString(PyExc_ValueError, "lists of another length");
        return NULL;
    }
    if (!read_common(&batch, args[6]) || !read_columns(&batch, args[5])) return NULL;
    PyObject *answer = rows_of(&batch, args[0]);
    release(&batch, COLUMNS);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"records", (PyCFunction)(void (*)(void))records, METH_FASTCALL, records_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_outcome", "Outcomes of authorizations, from columns to records.", 0, METHODS, SLOTS,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__outcome(void) { return PyModuleDef_Init(&MODULE); }
