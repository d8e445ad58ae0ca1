/* The plainest records, straight from their bytes: the quickest way of features/decode.py.

   It knows flat JSON objects with ASCII strings free of escapes, and vouches for nothing else: whatever it does not
   know it leaves, by answering None, to the Python beside it, which alone refuses records and names reasons. So its
   answers are those of `decode_plain` or none. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    TRANSACTION_ID, CARD_ID, AMOUNT, CURRENCY, EVENT_TIME, TYPE,
    MERCHANT_ID, MERCHANT_CATEGORY, COUNTRY, CHANNEL, DEVICE_ID, IP_ADDRESS, EMAIL, FIELDS
};

static const struct {
    const char *name;
    int longest; /* characters of a text; 0: it is no text of the record as it stands */
} KNOWN[FIELDS] = {
    {"transaction_id", 128}, {"card_id", 128}, {"amount", 0}, {"currency", 3}, {"event_time", 0}, {"type", 13},
    {"merchant_id", 256}, {"merchant_category", 256}, {"country", 256}, {"channel", 256}, {"device_id", 256},
    {"ip_address", 256}, {"email", 256},
};

static const char ORIGINAL[] = "original_transaction_id";
static const char AUTHORIZATION[] = "authorization";
static const int64_t MAX_AMOUNT_MINOR = 1000000000000000;
static const int64_t MAX_EVENT_MS = 253402300799999;
enum { MOST_DIGITS = 15, MOST_EXPONENT = 4, ARGUMENTS = 18 };

/* A piece of the record; `begin` is NULL where there is none. A text's quotes are outside. */
typedef struct {
    const char *begin;
    Py_ssize_t size;
    bool quoted;
} Piece;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* Behind the digits that begin here; the same place where there is none. */
static const char *skip_digits(const char *at, const char *end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

/* A string without escapes, of printable ASCII; behind its quote, or NULL. */
static const char *read_text(const char *at, const char *end, Piece *piece) {
    if (at >= end || *at != '"') return NULL;
    const char *begin = ++at;
    while (at < end && *at != '"') {
        unsigned char c = (unsigned char)*at++;
        if (c < 0x20 || c > 0x7e || c == '\\') return NULL;
    }
    if (at >= end) return NULL;
    *piece = (Piece){begin, at - begin, true};
    return at + 1;
}

/* A number by JSON's grammar; behind it, or NULL. */
static const char *read_number(const char *at, const char *end, Piece *piece) {
    const char *begin = at;
    if (at < end && *at == '-') at++;
    const char *whole = at;
    at = skip_digits(at, end);
    if (at == whole || (*whole == '0' && at - whole > 1)) return NULL;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        if ((at = skip_digits(at, end)) == fraction) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        const char *power = at;
        if ((at = skip_digits(at, end)) == power) return NULL;
    }
    *piece = (Piece){begin, at - begin, false};
    return at;
}

static const char *read_word(const char *at, const char *end, Piece *piece) {
    static const char *const WORDS[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t size = strlen(WORDS[i]);
        if ((size_t)(end - at) >= size && memcmp(at, WORDS[i], size) == 0) {
            *piece = (Piece){at, (Py_ssize_t)size, false};
            return at + size;
        }
    }
    return NULL;
}

static bool is_named(Piece key, const char *name) {
    return (size_t)key.size == strlen(name) && memcmp(key.begin, name, (size_t)key.size) == 0;
}

/* A known field's value as found. False: it is for the Python to judge. */
static bool keep(Piece key, Piece value, bool is_word, Piece found[FIELDS]) {
    for (int field = 0; field < FIELDS; field++) {
        if (!is_named(key, KNOWN[field].name)) continue;
        bool fits = KNOWN[field].longest == 0 || (value.quoted && value.size <= KNOWN[field].longest);
        if (!fits || is_word || found[field].begin != NULL) return false;
        found[field] = value;
        return true;
    }
    return !is_named(key, ORIGINAL);
}

/* The fields of a flat object; false where it is anything else. */
static bool read_object(const char *at, const char *end, Piece found[FIELDS]) {
    at = skip_space(at, end);
    if (at >= end || *at != '{') return false;
    do {
        Piece key, value;
        at = read_text(skip_space(at + 1, end), end, &key);
        if (at == NULL) return false;
        at = skip_space(at, end);
        if (at >= end || *at != ':') return false;
        at = skip_space(at + 1, end);
        if (at >= end) return false;
        bool is_word = *at == 't' || *at == 'f' || *at == 'n';
        const char *behind =
            *at == '"' ? read_text(at, end, &value) : is_word ? read_word(at, end, &value) : read_number(at, end, &value);
        if (behind == NULL || !keep(key, value, is_word, found)) return false;
        at = skip_space(behind, end);
    } while (at < end && *at == ',');
    return at < end && *at == '}' && skip_space(at + 1, end) == end;
}

/* Minor units of a short decimal that needs no rounding; 0 where it is anything else. */
static int64_t minor_units(Piece amount, long exponent) {
    const char *at = amount.begin, *end = at + amount.size;
    uint64_t digits = 0;
    long count = 0, decimals = -1;
    for (; at < end; at++) {
        if (*at == '.' && decimals < 0 && count > 0) {
            decimals = 0;
        } else if (is_digit(*at) && count < MOST_DIGITS) {
            digits = digits * 10 + (uint64_t)(*at - '0');
            count++;
            decimals += decimals >= 0;
        } else {
            return 0;
        }
    }
    if (count == 0 || decimals == 0 || decimals > exponent || exponent > MOST_EXPONENT) return 0;
    for (long place = decimals < 0 ? 0 : decimals; place < exponent; place++) digits *= 10;
    return digits <= (uint64_t)MAX_AMOUNT_MINOR ? (int64_t)digits : 0;
}

static int number_of(const char *at, int digits) {
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit(at[i])) return -1;
        number = number * 10 + (at[i] - '0');
    }
    return number;
}

/* Days since 1970 of a date of the Gregorian calendar (years counted from March, four-hundred-year cycles). */
static int64_t days_of(int year, int month, int day) {
    int64_t y = year - (month <= 2);
    int64_t cycle = y / 400, in_cycle = y - cycle * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return cycle * 146097 + in_cycle * 365 + in_cycle / 4 - in_cycle / 100 + in_year - 719468;
}

/* `2024-03-01T12:34:56Z` or with `.789`; -1 where it is anything else. */
static int64_t rfc3339_ms(Piece time) {
    const char *t = time.begin;
    if (time.size != 20 && time.size != 24) return -1;
    bool marked = t[4] == '-' && t[7] == '-' && t[10] == 'T' && t[13] == ':' && t[16] == ':' && t[time.size - 1] == 'Z';
    if (!marked || (time.size == 24 && t[19] != '.')) return -1;
    int year = number_of(t, 4), month = number_of(t + 5, 2), day = number_of(t + 8, 2);
    int hour = number_of(t + 11, 2), minute = number_of(t + 14, 2), second = number_of(t + 17, 2);
    int ms = time.size == 24 ? number_of(t + 20, 3) : 0;
    /* A day that not every month has is left to the calendar of Python, and a leap second too. */
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 28 || hour < 0 || hour > 23) return -1;
    if (minute < 0 || minute > 59 || second < 0 || second > 59 || ms < 0) return -1;
    return ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms;
}

static int64_t event_ms_of(Piece time) {
    if (time.quoted) return rfc3339_ms(time);
    int64_t moment_ms = 0;
    if (time.size > MOST_DIGITS) return -1;
    for (Py_ssize_t i = 0; i < time.size; i++) {
        if (!is_digit(time.begin[i])) return -1;
        moment_ms = moment_ms * 10 + (time.begin[i] - '0');
    }
    return moment_ms <= MAX_EVENT_MS ? moment_ms : -1;
}

static PyObject *text_of(Piece piece) {
    if (piece.begin == NULL) Py_RETURN_NONE;
    PyObject *text = PyUnicode_New(piece.size, 127);
    if (text != NULL) memcpy(PyUnicode_1BYTE_DATA(text), piece.begin, (size_t)piece.size);
    return text;
}

/* Minor-unit decimals of a currency; -1 where it is unknown, -2 after an exception. */
static long exponent_of(PyObject *exponents, PyObject *currency) {
    PyObject *found = PyDict_GetItemWithError(exponents, currency);
    if (found == NULL) return PyErr_Occurred() ? -2 : -1;
    long exponent = PyLong_AsLong(found);
    return exponent == -1 && PyErr_Occurred() ? -2 : exponent;
}

static bool has_all(const Piece found[FIELDS]) {
    for (int field = 0; field <= EVENT_TIME; field++)
        if (found[field].begin == NULL) return false;
    Piece type = found[TYPE];
    bool authorizes = type.begin == NULL || is_named(type, AUTHORIZATION);
    return authorizes && found[TRANSACTION_ID].size > 0 && found[CARD_ID].size > 0;
}

/* The transaction, None, or NULL after an exception. */
static PyObject *made_of(const Piece found[FIELDS], PyObject *exponents, PyObject *make, PyObject *type) {
    static const int TEXTS[] = {MERCHANT_ID, MERCHANT_CATEGORY, COUNTRY, CHANNEL, DEVICE_ID, IP_ADDRESS, EMAIL};
    PyObject *currency = text_of(found[CURRENCY]), *answer = NULL;
    if (currency == NULL) return NULL;
    long exponent = exponent_of(exponents, currency);
    int64_t amount_minor = exponent < 0 ? 0 : minor_units(found[AMOUNT], exponent);
    int64_t event_ms = event_ms_of(found[EVENT_TIME]);
    if (exponent == -2 || amount_minor == 0 || event_ms < 0) {
        Py_DECREF(currency);
        if (exponent == -2) return NULL;
        Py_RETURN_NONE;
    }
    /* In the order of features.transaction.Transaction. */
    PyObject *arguments[ARGUMENTS] = {
        text_of(found[TRANSACTION_ID]), text_of(found[CARD_ID]), PyLong_FromLongLong(amount_minor), currency,
        PyLong_FromLong(exponent), PyLong_FromLongLong(event_ms), Py_NewRef(type), Py_NewRef(Py_None),
    };
    for (int i = 0; i < 7; i++) arguments[8 + i] = text_of(found[TEXTS[i]]);
    arguments[15] = Py_NewRef(Py_None);
    arguments[16] = PyTuple_New(0);
    arguments[17] = PyBytes_FromStringAndSize(found[CARD_ID].begin, found[CARD_ID].size);
    bool whole = true;
    for (int i = 0; i < ARGUMENTS; i++) whole = whole && arguments[i] != NULL;
    if (whole) answer = PyObject_Vectorcall(make, arguments, ARGUMENTS, NULL);
    for (int i = 0; i < ARGUMENTS; i++) Py_XDECREF(arguments[i]);
    return answer;
}

PyDoc_STRVAR(plain_doc, "plain(value, exponents, make, authorization): see the stub.");

static PyObject *plain(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 4 || !PyBytes_CheckExact(args[0]) || !PyDict_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "plain takes bytes, a dict, the record's class and its type");
        return NULL;
    }
    Piece found[FIELDS] = {{NULL, 0, false}};
    const char *begin = PyBytes_AS_STRING(args[0]);
    if (!read_object(begin, begin + PyBytes_GET_SIZE(args[0]), found) || !has_all(found)) Py_RETURN_NONE;
    return made_of(found, args[1], args[2], args[3]);
}

PyDoc_STRVAR(murmur2_doc, "murmur2(data): see the stub.");

static PyObject *murmur2(PyObject *Py_UNUSED(module), PyObject *data) {
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "murmur2 takes bytes");
        return NULL;
    }
    const uint32_t factor = 0x5bd1e995u;
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t left = PyBytes_GET_SIZE(data);
    uint32_t state = 0x9747b28cu ^ (uint32_t)left;
    for (; left >= 4; at += 4, left -= 4) {
        uint32_t word = ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24) * factor;
        state = state * factor ^ (word ^ word >> 24) * factor;
    }
    uint32_t rest = 0;
    for (Py_ssize_t i = left; i-- > 0;) rest = rest << 8 | at[i];
    if (left > 0) state = (state ^ rest) * factor;
    state = (state ^ state >> 13) * factor;
    return PyLong_FromUnsignedLong(state ^ state >> 15);
}

static PyMethodDef METHODS[] = {
    {"plain", (PyCFunction)(void (*)(void))plain, METH_FASTCALL, plain_doc},
    {"murmur2", murmur2, METH_O, murmur2_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_decode", "The plainest records, straight from their bytes.", 0, METHODS, SLOTS,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__decode(void) { return PyModuleDef_Init(&MODULE); }
